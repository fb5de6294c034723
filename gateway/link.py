"""What the session needs of a link, and what a link needs of the session.

Every transport (tcp, udp, tls, serial, mqtt, memory) is a `Link`; one `Session` serves them all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from model.device import Durability, IdentityStrength

Done = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkInfo:
    """What is known of a link before its first byte."""

    transport: str  # tcp, udp, tls, serial, mqtt, memory
    peer: str  # address and port, port path, topic
    network: str  # what counts against the limits per peer: the address, "" for local links
    strength: IdentityStrength = IdentityStrength.NONE
    durability: Durability = Durability.COMMIT  # SPOOL: the device cannot be told, so spool first
    ident: str | None = None  # identity known before the device speaks


class Link(Protocol):
    """A way to one device. No method blocks or raises; after `close` they do nothing."""

    @property
    def info(self) -> LinkInfo: ...

    def write(self, data: bytes) -> None:
        """Send to the device; links that cannot answer drop it."""

    def pause(self) -> None:
        """Read no more for now (backpressure)."""

    def resume(self) -> None:
        """Read on."""

    def close(self) -> None:
        """End the link after what was written has gone out."""


class Receiver(Protocol):
    """The session's side, called by the transport."""

    def received(self, data: bytes, done: Done | None = None) -> None:
        """Bytes came. `done` is called once everything in them is durable; never after a failure.

        A datagram or message is followed by `boundary`.
        """

    def boundary(self) -> None:
        """What was received is whole: a datagram or message has ended."""

    def lost(self, error: BaseException | None) -> None:
        """The link is gone: closed by the peer (None) or broken."""


Accept = Callable[[Link], Receiver]
"""Called by a transport for each new link."""
