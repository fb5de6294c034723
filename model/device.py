"""What the system knows of a device, and what it hears from it: the records between gateway and storage."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from uuid import UUID

from model.records import DeviceIdentity, Event


class DevicePolicy(StrEnum):
    """What becomes of an identity that is not in the register."""

    KNOWN = "known"  # quarantined, and answered exactly as a known one
    REGISTER = "register"  # registered at once


class DeviceState(StrEnum):
    ACTIVE = "active"
    QUARANTINED = "quarantined"  # stored and answered, shown nowhere until adopted
    RETIRED = "retired"


class IdentityStrength(StrEnum):
    """How strongly a contact showed who it is."""

    NONE = "none"  # whoever knows the number can speak as it
    NETWORK = "network"  # came from an address range bound to it, or from a local port
    TOKEN = "token"  # noqa: S105 - a word, not a secret
    MTLS = "mtls"


class Durability(StrEnum):
    """What the device's own receipt rests on."""

    COMMIT = "commit"  # told after the commit
    SPOOL = "spool"  # cannot be told; on disk before it is read on
    BROKER = "broker"  # told by a broker that is not ours


class CloseCause(StrEnum):
    """How a contact ended."""

    PEER = "peer"  # the device closed
    IDLE = "idle"
    ERROR = "error"  # reset, time-out of the network
    PROTOCOL = "protocol"  # the stream could not be followed
    LIMIT = "limit"  # it cost too much
    STORAGE = "storage"  # nothing could be confirmed, so that the device keeps its data
    SHUTDOWN = "shutdown"  # we drained


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A row of the register. `settings` holds a DeviceProfile's fields by name."""

    id: int
    identity: DeviceIdentity
    state: DeviceState
    settings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One link from its first identified frame to its end."""

    id: UUID
    source: str  # the configured source's name
    transport: str  # tcp, udp, tls, serial, mqtt, memory
    peer: str  # address and port, port path, topic
    opened_at: datetime
    strength: IdentityStrength = IdentityStrength.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One event on its way into the database."""

    event: Event
    device: Device | None  # None: the frame bore no identity, or one that found no place
    contact: Contact
    received_at: datetime
    durability: Durability = Durability.COMMIT
    decoder: str = ""  # protocol and version that read the frame


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactClosed:
    """The end of a contact that had at least one entry."""

    contact: Contact
    device: Device | None
    closed_at: datetime
    cause: CloseCause
    detail: str = ""
    frames: int = 0
    bytes_in: int = 0


Item = Entry | ContactClosed
