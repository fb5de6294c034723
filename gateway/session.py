"""One conversation with one device, whatever link it came over.

    bytes -> decoder -> events -> device -> writer -> (durable) -> reply -> done

The session is called by the link and by the writer; it has no task of its own while it waits,
so that an idle connection costs little.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from gateway.clock import WallClock
from gateway.datum import event_to_wgs84
from gateway.directory import Directory
from gateway.link import Done, Link
from gateway.metrics import SourceFigures
from model import Event, Rejected, Report, fault
from model.device import CloseCause, Contact, ContactClosed, Device, Durability, Entry, Item
from model.records import DeviceIdentity
from protocols.base import Datum, Decoder, DeviceProfile, ProtocolError
from storage.store import QuarantineFull, StorageUnavailable

log = logging.getLogger(__name__)

NewId = Callable[[], UUID]

MAX_KEPT_JUNK = 4096  # bytes of an unreadable stream that are archived


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one peer may cost."""

    idle_s: float = 600.0  # silence after which a link is closed
    first_frame_s: float = 30.0  # time to say something readable
    bytes_without_frame: int = 65_536
    outstanding: int = 2_000  # events of one link that wait for their commit
    connections: int = 50_000
    connections_per_address: int = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What all sessions of one configured source share."""

    name: str
    protocol: str
    decoder: type[Decoder]
    version: str  # of the decoder, archived with every frame
    profile: DeviceProfile  # for devices that have no settings of their own
    limits: Limits
    directory: Directory
    submit: Callable[[Item, Callable[[bool], None] | None], None]
    spool: Callable[[Event, Contact, str, tuple[Done, ...]], None] | None
    crowded: Callable[[], bool]
    wall_clock: WallClock
    new_id: NewId
    figures: SourceFigures
    sessions: dict["Session", None] = field(default_factory=dict)  # in order of opening

    def accept(self, link: Link) -> "Session":
        """A new link; refused ones are closed at once."""
        session = Session(self, link)
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


class Session:
    """See the module's text. Every method is called on the loop and none blocks."""

    __slots__ = (
        "_admitting", "_bytes_in", "_contact", "_decoder", "_device", "_ending", "_held", "_junk", "_link",
        "_outstanding", "_source", "_stopping", "_timer", "_waiting", "closed", "frames",
        "last_heard", "opened", "paused",
    )  # fmt: skip

    def __init__(self, source: Source, link: Link) -> None:
        self._source = source
        self._link = link
        info = link.info
        self._decoder = source.decoder(ident=info.ident, profile_of=self._profile_of)
        self._device: Device | None = None
        self._contact: Contact | None = None
        self._outstanding: deque[tuple[Event, bool, tuple[Done, ...]]] | None = None
        self._waiting: deque[tuple[Event, tuple[Done, ...]]] | None = None
        self._admitting: asyncio.Task[None] | None = None
        self._ending: tuple[CloseCause, str, datetime] | None = None
        self._held: list[Done] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._junk = 0
        self._bytes_in = 0
        self.paused = False
        self._stopping = False
        self.frames = 0
        self.closed = False
        self.opened = self.last_heard = asyncio.get_running_loop().time()

    @property
    def local(self) -> bool:
        """A link without a peer that could be hostile: it may be silent from the start."""
        return not self._link.info.network

    def _profile_of(self, ident: str) -> DeviceProfile:
        return self._source.directory.profile(self._source.protocol, ident, self._source.profile)

    # what the link calls

    def received(self, data: bytes, done: Done | None = None) -> None:
        if self.closed:
            return
        self.last_heard = asyncio.get_running_loop().time()
        self._bytes_in += len(data)
        self._source.figures.bytes_in += len(data)
        if done is not None:
            self._held = [*(self._held or ()), done]
        try:
            events = self._decoder.feed(data, self._source.wall_clock())
        except ProtocolError as error:
            self._lose_track(data, error)
            return
        if events:
            self._take(events)
        elif self._held is None:
            self._junk += len(data)
            limits = self._source.limits
            if self._junk > max(limits.bytes_without_frame, self._decoder.max_frame_bytes):
                self.close(CloseCause.LIMIT, "too many bytes without a frame")
                return
        if self._decoder.silence_s is not None and self._timer is None and self._decoder.pending:
            self._timer = asyncio.get_running_loop().call_later(
                self._decoder.silence_s, self._silence
            )

    def boundary(self) -> None:
        """A datagram or message is whole. Streams that cross messages wait for silence instead."""
        if not self.closed and not self._decoder.spans_messages:
            self._flush()

    def lost(self, error: BaseException | None) -> None:
        if not self.closed:
            self._flush()
            cause = CloseCause.PEER if error is None else CloseCause.ERROR
            self.close(cause, "" if error is None else str(error))

    # what the gateway calls

    def close(self, cause: CloseCause, detail: str = "") -> None:
        """End the conversation. What was read is still committed, but no longer answered."""
        if self.closed:
            return
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._link.close()
        if self in self._source.sessions:
            del self._source.sessions[self]
            self._source.figures.closed(self._link.info.network, cause)
        self._ending = (cause, detail[:200], self._source.wall_clock())
        if self._waiting is None:
            self._tell_end()

    def _tell_end(self) -> None:
        """The contact's last record, once it is over and behind all that it brought."""
        if self._ending is not None and self._contact is not None:
            cause, detail, closed_at = self._ending
            self._ending = None
            closed = ContactClosed(
                contact=self._contact,
                device=self._device,
                closed_at=closed_at,
                cause=cause,
                detail=detail,
                frames=self.frames,
                bytes_in=self._bytes_in,
            )
            self._source.submit(closed, None)

    def stop_reading(self) -> None:
        """Hear no more; what is owed is still answered."""
        self.paused = self._stopping = True
        self._link.pause()
        if self._spooled and not self.closed:
            self._flush()  # nobody will send again what the decoder still holds

    def read_on(self) -> None:
        """Hear the device again, unless there is still too much that it waits for."""
        if self._waiting is None and not (self.closed or self._stopping or self._too_much()):
            self.paused = False
            self.last_heard = asyncio.get_running_loop().time()  # the silence was ours
            self._link.resume()

    @property
    def busy(self) -> bool:
        """True while a device is owed an answer."""
        return bool(self._outstanding) or bool(self._waiting)

    @property
    def _answered_by_broker(self) -> bool:
        return self._link.info.durability is Durability.BROKER

    # the way of an event

    def _lose_track(self, data: bytes, error: ProtocolError) -> None:
        """The stream makes no sense: keep its last bytes as evidence and close."""
        identity = self._device.identity if self._device else None
        self._take(
            [Rejected(raw=data[:MAX_KEPT_JUNK], device=identity, reason=str(error))], last=True
        )
        self.close(CloseCause.PROTOCOL, str(error))

    def _silence(self) -> None:
        """Flush after silence; a timer that fires too early sleeps on for the remainder."""
        self._timer = None
        loop = asyncio.get_running_loop()
        span = self._decoder.silence_s
        if span is None or self.closed:
            return
        left = self.last_heard + span - loop.time()
        if left > 1e-6:
            self._timer = loop.call_later(left, self._silence)
            return
        self._flush()

    def _flush(self) -> None:
        try:
            events = self._decoder.flush(self._source.wall_clock())
        except ProtocolError as error:
            self._lose_track(b"", error)
            return
        if events or self._held:
            self._take(events)

    def _take(self, events: list[Event], *, last: bool = False) -> None:
        """Send events on their way; what the link holds back is done with the last of them.

        `last`: the decoder has nothing more to say of what it was fed.
        """
        dones: tuple[Done, ...] = ()
        if self._held is not None:
            # Bytes that the decoder still keeps belong to the newest message.
            keep = self._held[-1:] if self._decoder.pending and not last else []
            dones = tuple(self._held[: len(self._held) - len(keep)])
            self._held = keep or None
        if not events:
            for done in dones:
                done()
            return
        self._junk = 0
        end = len(events) - 1
        for index, event in enumerate(events):
            self.frames += 1
            self._source.figures.count(event)
            device = event.device
            datum = Datum.WGS84 if device is None else self._profile_of(device.ident).datum
            self._route(event_to_wgs84(event, datum), dones if index == end else ())
        if not self.paused and self._too_much() and not self._spooled:
            self.paused = True
            self._link.pause()

    def _route(self, event: Event, dones: tuple[Done, ...]) -> None:
        if self._spooled and self._source.spool is not None:
            self._source.spool(event, self._contact_now(), self._source.version, dones)
            return
        if self._waiting is not None:  # order is kept while a stranger is admitted
            self._waiting.append((event, dones))
            return
        identity = event.device
        if identity is None:
            self._submit(event, None, dones)
            return
        device = self._device
        if device is None or device.identity != identity:
            device = self._source.directory.get(identity)
            if device is None:
                self._admit(identity, event, dones)
                return
            self._device = device
        self._submit(event, device, dones)

    def _admit(self, identity: DeviceIdentity, event: Event, dones: tuple[Done, ...]) -> None:
        self._waiting = deque([(event, dones)])
        self._link.pause()
        self.paused = True
        self._admitting = asyncio.get_running_loop().create_task(self._admitted(identity))

    async def _admitted(self, identity: DeviceIdentity) -> None:
        try:
            self._device = await self._source.directory.admit(identity, self._link.info.network)
        except (StorageUnavailable, QuarantineFull) as error:
            self._turned_away(error)
        else:
            waiting, self._waiting = self._waiting or deque(), None
            while waiting:
                self._route(*waiting.popleft())
                if self._waiting is not None:  # another stranger behind the first: its turn comes
                    self._waiting.extend(waiting)
                    return
        self._tell_end()
        self.read_on()

    def _turned_away(self, error: StorageUnavailable | QuarantineFull) -> None:
        waiting, self._waiting = self._waiting or deque(), None
        if isinstance(error, QuarantineFull) and self._answered_by_broker:
            # Left unanswered it would hold up all others; its bytes are kept as nobody's.
            for event, dones in waiting:
                self._submit(Rejected(raw=event.raw, device=None, reason=str(error)), None, dones)
            return
        for event, _ in waiting:
            self._answer(event, accepted=False)
        away = isinstance(error, StorageUnavailable)
        self.close(CloseCause.STORAGE if away else CloseCause.LIMIT, str(error))

    def _submit(self, event: Event, device: Device | None, dones: tuple[Done, ...]) -> None:
        entry = Entry(
            event=event,
            device=device,
            contact=self._contact_now(),
            received_at=self._source.wall_clock(),
            durability=self._link.info.durability,
            decoder=self._source.version,
        )
        if self._outstanding is None:
            self._outstanding = deque()
        # Nobody may be told "received" for positions that belong to no device.
        receipt = device is not None or not isinstance(event, Report)
        self._outstanding.append((event, receipt, dones))
        self._source.submit(entry, self._settled)

    def _settled(self, durable: bool) -> None:
        """The writer's verdict on the oldest outstanding event."""
        assert self._outstanding
        event, receipt, dones = self._outstanding.popleft()
        if not durable:
            if not self.closed:
                self._answer(event, accepted=False)
                self.close(CloseCause.STORAGE, "storage did not confirm")
            return
        fault("session.before_reply")
        self._answer(event, accepted=receipt)
        for done in dones:
            done()
        if self._decoder.finished and not self.busy and not self.closed:
            self.close(CloseCause.PEER)
        elif self.paused:
            self.read_on()

    def _answer(self, event: Event, *, accepted: bool) -> None:
        if self.closed:
            return
        reply = self._decoder.reply_to(event, accepted=accepted, now=self._source.wall_clock())
        if reply:
            self._link.write(reply)

    def _too_much(self) -> bool:
        waiting = len(self._outstanding) if self._outstanding else 0
        return waiting > self._source.limits.outstanding or self._source.crowded()

    @property
    def _spooled(self) -> bool:
        """It cannot be answered and does not wait for the database: holding it back is losing."""
        return self._source.spool is not None and self._link.info.durability is Durability.SPOOL

    def _contact_now(self) -> Contact:
        if self._contact is None:
            info = self._link.info
            self._contact = Contact(
                id=self._source.new_id(),
                source=self._source.name,
                transport=info.transport,
                peer=info.peer,
                opened_at=self._source.wall_clock(),
                strength=info.strength,
            )
        return self._contact
