"""A configured source: what all conversations with its devices share, and how many there may be."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from uuid import UUID

from gateway.clock import WallClock
from gateway.directory import Directory
from gateway.link import Done, Link, Receiver
from gateway.metrics import SourceFigures
from model import Event
from model.device import CloseCause, Contact, Item
from protocols.base import Datum, Decoder, DeviceProfile

NewId = Callable[[], UUID]
Submit = Callable[[Item, Callable[[bool], None] | None], None]
SpoolAway = Callable[[Event, datetime, Contact, str, tuple[Done, ...]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one peer may cost."""

    idle_s: float = 600.0  # silence after which a link is closed
    first_frame_s: float = 30.0  # time to say something readable
    bytes_without_frame: int = 65_536
    rejected_in_row: int = 200  # frames that nobody can read, one after the other
    outstanding: int = 2_000  # events of one link that wait for their commit
    connections: int = 50_000
    connections_per_address: int = 2_000


class Conversation(Receiver, Protocol):
    """What a source asks of the sessions that it holds."""

    paused: bool
    frames: int
    opened: float
    last_heard: float

    @property
    def local(self) -> bool: ...
    @property
    def busy(self) -> bool: ...
    def read_on(self) -> None: ...
    def stop_reading(self) -> None: ...
    def close(self, cause: CloseCause, detail: str = "") -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One `[sources.NAME]`. `accept` is what a transport calls for each new link."""

    name: str
    protocol: str
    decoder: type[Decoder]
    version: str  # of the decoder, archived with every frame
    profile: DeviceProfile  # for devices that have no settings of their own
    limits: Limits
    directory: Directory
    converse: Callable[["Source", Link], Conversation]
    submit: Submit
    spool: SpoolAway | None
    crowded: Callable[[], bool]
    wall_clock: WallClock
    new_id: NewId
    figures: SourceFigures
    sessions: dict[Conversation, None] = field(default_factory=dict)  # in order of opening

    def accept(self, link: Link) -> Conversation:
        """A new link; refused ones are closed at once."""
        session = self.converse(self, link)
        network = link.info.network
        if len(self.sessions) >= self.limits.connections or (
            network and self.figures.connections[network] >= self.limits.connections_per_address
        ):
            self.figures.refused += 1
            session.close(CloseCause.LIMIT)
            return session
        self.sessions[session] = None
        self.figures.opened(network)
        return session

    def ended(self, session: Conversation, network: str, cause: CloseCause) -> None:
        """A session is over; one that was refused was never among ours."""
        if session in self.sessions:
            del self.sessions[session]
            self.figures.closed(network, cause)

    @property
    def any_datum(self) -> bool:
        """Whether any device may report in another system than WGS-84."""
        return self.directory.profiled or self.profile.datum is not Datum.WGS84

    def profile_of(self, ident: str) -> DeviceProfile:
        return self.directory.profile(self.protocol, ident, self.profile)

    def sweep(self, now: float) -> None:
        """Close links that have been silent too long; called every second."""
        idle, first = now - self.limits.idle_s, now - self.limits.first_frame_s
        for session in list(self.sessions):
            if session.paused:
                session.read_on()  # the crowd for which it stopped may have gone without it
            elif session.last_heard < idle:
                session.close(CloseCause.IDLE)
            elif not session.frames and session.opened < first and not session.local:
                session.close(CloseCause.LIMIT, "no frame in time")
