"""One conversation with one device, whatever link it came over.

    bytes -> decoder -> events -> device -> writer -> (durable) -> reply -> done

The session is called by the link and by the writer; it has no task of its own while it waits,
so that an idle connection costs little.
"""

import asyncio
from collections import deque
from datetime import datetime

from gateway.datum import event_to_wgs84
from gateway.link import Done, Link
from gateway.source import Source
from model import Event, Rejected, Report, fault
from model.device import CloseCause, Contact, ContactClosed, Device, Durability, Entry
from model.records import DeviceIdentity
from protocols.base import ProtocolError
from storage.store import QuarantineFull, StorageUnavailable

MAX_KEPT_JUNK = 4096  # bytes of an unreadable stream that are archived


class Session:
    """See the module's text. Every method is called on the loop and none blocks."""

    __slots__ = (
        "_admitting", "_bytes_in", "_contact", "_decoder", "_device", "_ending", "_held",
        "_identity", "_junk", "_link", "_outstanding", "_rejected", "_source", "_spooled",
        "_stopping", "_timer", "_waiting", "closed", "frames", "last_heard", "opened", "paused",
    )  # fmt: skip

    def __init__(self, source: Source, link: Link) -> None:
        self._source = source
        self._link = link
        info = link.info
        self._decoder = source.decoder(ident=info.ident, profile_of=source.profile_of)
        # It cannot be answered and does not wait for the database: holding it back is losing.
        self._spooled = source.spool is not None and info.durability is Durability.SPOOL
        self._device: Device | None = None
        self._identity: DeviceIdentity | None = None  # that `_device` was found by
        self._contact: Contact | None = None
        self._outstanding: deque[tuple[Event, bool, tuple[Done, ...]]] | None = None
        self._waiting: deque[tuple[Event, datetime, tuple[Done, ...]]] | None = None
        self._admitting: asyncio.Task[None] | None = None
        self._ending: tuple[CloseCause, str, datetime] | None = None
        self._held: list[Done] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._junk = 0
        self._rejected = 0
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

    # what the link calls

    def received(self, data: bytes, done: Done | None = None) -> None:
        if self.closed:
            return
        self.last_heard = asyncio.get_running_loop().time()
        self._bytes_in += len(data)
        self._source.figures.bytes_in += len(data)
        if done is not None:
            self._held = [*(self._held or ()), done]
        now = self._source.wall_clock()  # one reading: redecode has it as the time of arrival
        try:
            events = self._decoder.feed(data, now)
        except ProtocolError as error:
            self._lose_track(data, error)
            return
        if events:
            self._take(events, now)
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
        self._source.ended(self, self._link.info.network, cause)
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
        rejected = Rejected(raw=data[:MAX_KEPT_JUNK], device=identity, reason=str(error))
        self._take([rejected], self._source.wall_clock(), last=True)
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
        now = self._source.wall_clock()
        try:
            events = self._decoder.flush(now)
        except ProtocolError as error:
            self._lose_track(b"", error)
            return
        if events or self._held:
            self._take(events, now)

    def _take(self, events: list[Event], now: datetime, *, last: bool = False) -> None:
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
        source = self._source
        end = events[-1]
        for event in events:
            self.frames += 1
            source.figures.count(event)
            self._rejected = self._rejected + 1 if isinstance(event, Rejected) else 0
            if source.any_datum and event.device is not None:
                datum = source.profile_of(event.device.ident).datum
                self._route(event_to_wgs84(event, datum), now, dones if event is end else ())
            else:
                self._route(event, now, dones if event is end else ())
        if self._rejected > source.limits.rejected_in_row and not self.local:
            self.close(CloseCause.LIMIT, "too many frames that nobody can read")
        elif not self.paused and self._too_much() and not self._spooled:
            self.paused = True
            self._link.pause()

    def _route(self, event: Event, now: datetime, dones: tuple[Done, ...]) -> None:
        if self._spooled and self._source.spool is not None:
            self._source.spool(event, now, self._contact_now(), self._source.version, dones)
            return
        if self._waiting is not None:  # order is kept while a stranger is admitted
            self._waiting.append((event, now, dones))
            return
        identity = event.device
        if identity is None:
            self._submit(event, now, None, dones)
            return
        if identity is not self._identity and identity != self._identity:
            device = self._source.directory.get(identity)
            if device is None:
                self._admit(identity, event, now, dones)
                return
            self._device, self._identity = device, identity
        self._submit(event, now, self._device, dones)

    def _admit(
        self, identity: DeviceIdentity, event: Event, now: datetime, dones: tuple[Done, ...]
    ) -> None:
        self._waiting = deque([(event, now, dones)])
        self._link.pause()
        self.paused = True
        self._admitting = asyncio.get_running_loop().create_task(self._admitted(identity))

    async def _admitted(self, identity: DeviceIdentity) -> None:
        try:
            self._device = await self._source.directory.admit(identity, self._link.info.network)
            self._identity = identity
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
            for event, now, dones in waiting:
                refused = Rejected(raw=event.raw, device=None, reason=str(error))
                self._submit(refused, now, None, dones)
            return
        for event, _, _ in waiting:
            self._answer(event, accepted=False)
        away = isinstance(error, StorageUnavailable)
        self.close(CloseCause.STORAGE if away else CloseCause.LIMIT, str(error))

    def _submit(
        self, event: Event, now: datetime, device: Device | None, dones: tuple[Done, ...]
    ) -> None:
        entry = Entry(
            event=event,
            device=device,
            contact=self._contact or self._contact_now(),
            received_at=now,
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
