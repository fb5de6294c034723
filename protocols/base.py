"""What every protocol module provides: a `Decoder` class and a `DEFAULT_PORT`.

Some modules also have `encode(command) -> bytes`. Nothing else is edited to add a protocol.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from model import Event


class ProtocolError(Exception):
    """The byte stream cannot be followed any further; the session closes the link."""


class Datum(StrEnum):
    """The coordinate system that a device reports in; the gateway converts to WGS-84."""

    WGS84 = "wgs84"
    GCJ02 = "gcj02"
    BD09 = "bd09"


class Checksum(StrEnum):
    """What to make of a sentence's checksum, for protocols in which it is optional."""

    REQUIRE = "require"
    ACCEPT_MISSING = "accept_missing"
    IGNORE = "ignore"


class SpeedUnit(StrEnum):
    """The unit of a speed that the protocol leaves open."""

    KNOTS = "knots"
    MPS = "mps"
    KPH = "kph"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """What must be known of a device beforehand to read it right. The defaults fit most."""

    model: str | None = None  # where dialects of one protocol differ by model
    datum: Datum = Datum.WGS84
    checksum: Checksum = Checksum.ACCEPT_MISSING
    speed_unit: SpeedUnit = SpeedUnit.KNOTS
    secret: str | None = None  # key of encrypted payloads


ProfileLookup = Callable[[str], DeviceProfile]
_DEFAULT_PROFILE = DeviceProfile()


def default_profile(_ident: str) -> DeviceProfile:
    return _DEFAULT_PROFILE


class Decoder:
    """One device's side of a conversation. It does no I/O and reads no clock: time is an argument.

    A protocol must implement `feed`; the rest has defaults. One frame makes one event, and an
    event earns at most one reply. `feed` and `flush` raise ProtocolError and nothing else.
    """

    finished = False  # True: the peer will send no more, close after the last reply
    silence_s: float | None = None  # a stream whose frames end by silence: flush after so long
    max_frame_bytes = 0  # of a protocol whose frames may be larger than a link's usual patience
    spans_messages = False  # True: what belongs together may come in several datagrams
    acknowledges = True  # False: the protocol has no receipts, so links of it may be spooled

    def __init__(
        self, *, ident: str | None = None, profile_of: ProfileLookup = default_profile
    ) -> None:
        """`ident` is known before the device speaks: an MQTT topic, a serial port's owner."""
        self._ident = ident
        self._profile_of = profile_of

    def feed(self, data: bytes, now: datetime) -> list[Event]:
        """Take bytes as they came, at `now`; return the events they completed."""
        raise NotImplementedError

    def flush(self, now: datetime) -> list[Event]:
        """Nothing more belongs to what was fed: a datagram's end, the stream's end, or silence."""
        return []

    @property
    def pending(self) -> bool:
        """True while bytes were taken that no event has returned yet."""
        return False

    def reply_to(self, event: Event, *, accepted: bool, now: datetime) -> bytes:
        """The bytes owed for `event` once its fate is known; b"" where nothing is owed.

        `accepted` is True when the event is durable, and for a `Rejected` when its frame is.
        When it is False nothing may be said that the device could take for a receipt.
        """
        return b""
