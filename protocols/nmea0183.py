"""NMEA 0183: receivers on a serial port, sounders, routers and trackers that pass its sentences on.

    $GPRMC,161229.487,A,3723.2475,N,12158.3416,W,0.13,309.62,120598,,*10 CR LF
    ^talker, formatter                                                 ^XOR of all between $ and *

[0183]  NMEA 0183 4.11 / IEC 61162-1
[PUBX]  u-blox 8 / M8 receiver description, section 31.3 (PUBX,00)

The scanner of `core_ext.nmea` cuts sentences; `nmea0183_parts.epoch` makes one fix of an epoch's sentences;
`nmea0183_parts.sky` keeps the satellites; `nmea0183_parts.dialects` knows what trackers add. Here is the stream:

- Sentences with one UTC time of day are an epoch, and those without a time join the one that is
  open; however often a type comes, it closes nothing. A new time closes, and so does silence.
  One epoch makes one event, whose `raw` holds all its sentences: a Report, or a Status when no
  position was stated. Sentences that come late for an epoch that is told already are a Status.
- "Void" (RMC V, GGA 0) is never a position: with coordinates it makes a fix that is not valid, a
  last known position; without them there is none.
- The date is that of RMC or ZDA in the epoch, else the one that makes it nearest to what went
  before, over midnight too. Before the first date it is nearest to `now`, and marked
  DATE_ASSUMED: an archived epoch without a date reads the same again with its time of arrival.
  What a receiver reports after a week rollover is reported.
- Checksum.ACCEPT_MISSING rejects a missing checksum where the same sentence had one before: then
  its end was lost. It rejects a wrong one, but for a device that never once got one right: some
  trackers compute it otherwise. Their fixes bear `io_checksum = "wrong"`.
- A sentence that states an identity (`$PGID`, IMEI) sets the device from there on; one before the
  start mark, or a bare line, does so where none is configured.
"""

from collections import Counter, deque
from dataclasses import replace
from datetime import UTC, datetime

from core_ext.nmea import GOOD, MISSING, TEXT, TORN, Item, Scanner
from model import (
    DeviceIdentity,
    Event,
    Login,
    Rejected,
    Report,
    Satellite,
    Scalar,
    Status,
    TimeSource,
)
from protocols import base
from protocols.base import Checksum, ProfileLookup, default_profile
from protocols.nmea0183_parts import dialects
from protocols.nmea0183_parts.epoch import PLACE_AT, TIME_AT, Epoch, Values, at, in_view, nearest
from protocols.nmea0183_parts.sky import Sky

DEFAULT_PORT = 5005
MAX_EPOCH_BYTES = 16_384
MAX_DOUBTFUL = 32  # sentences with wrong checksums that wait for the first right one
MAX_ADDRESSES = 256  # of sentences whose checksums are remembered to have been right
TOLD_EPOCHS = 4  # whose times are remembered: late sentences; further back the clock was set back

SILENCE_S = 0.4
SILENCE_OF_PERIOD = 0.4
SILENCE_RANGE_S = (0.02, 1.0)
MAX_PERIOD_S = 60.0

REASONS = {MISSING: "no checksum", TORN: "the sentence is cut short"}


def complete(wire: bytes) -> bytes:
    """A message whose line end was taken off."""
    return wire if wire.endswith((b"\r", b"\n")) else wire + b"\r\n"


class Decoder(base.Decoder):
    """See the module's text."""

    spans_messages = True  # an epoch is several sentences, and a datagram often is one
    acknowledges = False

    def __init__(
        self, *, ident: str | None = None, profile_of: ProfileLookup = default_profile
    ) -> None:
        super().__init__(ident=ident, profile_of=profile_of)
        self.silence_s = SILENCE_S
        self._scanner = Scanner()
        self._device = _identity(ident)
        self._checksum = profile_of(ident or "").checksum
        self._epoch: Epoch | None = None
        self._sky = Sky()
        self._prefix = b""  # text that stands before the sentence to come
        self._unread = 0  # bytes of text that say nothing
        # Checksums: whose ever held, whether none did so far, and what waits for the answer.
        self._summed: set[str] = set()
        self._never_right = False
        self._doubtful: list[tuple[bytes, Item]] = []
        # Dates: the newest dated epoch and when it came; the epochs that are told.
        self._dated: tuple[datetime, datetime] | None = None
        self._told: deque[datetime] = deque(maxlen=TOLD_EPOCHS)
        self._last: datetime | None = None
        # Of the call at hand:
        self._now = datetime.min.replace(tzinfo=UTC)
        self._events: list[Event] = []

    def feed(self, data: bytes, now: datetime) -> list[Event]:
        self._now, self._events = now, []
        for item in self._scanner.feed(data):
            self._take(item)
        return self._events

    def flush(self, now: datetime) -> list[Event]:
        self._now, self._events = now, []
        for item in self._scanner.flush():
            self._take(item)
        self._settle()
        if not self._scanner.held:  # else a sentence that has begun follows the prefix
            self._line(self._taken_prefix())
        self._close()
        return self._events

    @property
    def pending(self) -> bool:
        return bool(self._epoch or self._doubtful or self._prefix or self._scanner.held)

    @property
    def sky(self) -> tuple[Satellite, ...]:
        """The satellites as last heard of, signal by signal."""
        return self._sky.latest()

    @property
    def dropped(self) -> dict[str, int]:
        """Bytes that are part of no event, by reason."""
        return dict(Counter(self._scanner.dropped) + Counter(text=self._unread))

    # one item of the scanner

    def _take(self, item: Item) -> None:
        state = item[0]
        if state == GOOD:
            if item[2] not in self._summed:
                self._first_right(item[2])
            self._sentence(item)
        elif state == TEXT:
            self._text(item[3])
        elif state == TORN or (state == MISSING and not self._may_lack(item[2])):
            self._reject(self._taken_prefix(), item)
        elif state == MISSING or self._checksum == Checksum.IGNORE:
            self._sentence(item)
        elif self._summed or self._checksum == Checksum.REQUIRE:
            self._reject(self._taken_prefix(), item)
        elif self._never_right:
            self._sentence(item, {"io_checksum": "wrong"})
        else:
            self._doubtful.append((self._taken_prefix(), item))
            if len(self._doubtful) >= MAX_DOUBTFUL:
                self._settle()

    def _settle(self) -> None:
        """All that was heard so far had wrong checksums: this device computes them otherwise."""
        doubtful, self._doubtful = self._doubtful, []
        if doubtful:
            self._never_right = True
            following = self._taken_prefix()
            for prefix, item in doubtful:
                self._prefix = prefix
                self._sentence(item, {"io_checksum": "wrong"})
            self._prefix = following

    def _may_lack(self, address: str) -> bool:
        """Whether a checksum may be missing: not where this sentence had one before."""
        if self._checksum == Checksum.ACCEPT_MISSING:
            return address not in self._summed
        return self._checksum == Checksum.IGNORE

    def _first_right(self, address: str) -> None:
        if len(self._summed) < MAX_ADDRESSES:
            self._summed.add(address)
        doubtful, self._doubtful = self._doubtful, []
        for prefix, item in doubtful:
            self._reject(prefix, item)

    def _reject(self, prefix: bytes, item: Item) -> None:
        reason = REASONS.get(item[0], "wrong checksum")
        self._events.append(Rejected(raw=prefix + item[3], device=self._device, reason=reason))

    def _text(self, raw: bytes) -> None:
        self._unread += len(self._taken_prefix())
        if raw.endswith((b"\r", b"\n")):
            self._line(raw)
        else:
            self._prefix = raw

    def _line(self, raw: bytes) -> None:
        stated = dialects.line(raw.decode("ascii").strip())
        if stated is None:
            self._unread += len(raw)
            return
        ident, explicit = stated
        self._login(ident if explicit or self._ident is None else None, raw)

    def _taken_prefix(self) -> bytes:
        prefix, self._prefix = self._prefix, b""
        return prefix

    # sentences

    def _sentence(self, item: Item, extra: dict[str, Scalar] | None = None) -> None:
        _, kind, address, raw, values = item
        device = None
        if self._prefix:
            prefix = self._taken_prefix()
            device = _identity(dialects.prefix(prefix.decode("ascii").strip()))
            if device is None:
                self._unread += len(prefix)
            else:
                raw = prefix + raw
                if self._ident is None:
                    self._become(device)
        if not kind:
            text = item[3][1:].decode("ascii").rstrip("\r\n")
            text = text[: text.rfind("*")] if "*" in text else text
            if self._dialect(address, text, raw, extra or {}):
                return
            if address == "PUBX" and (found := dialects.pubx(text)):
                kind, values = "PUBX", found[0]
                device = self._named(found[1]) or device
        said = None
        if kind == "RMC" and b"," in raw[raw.rfind(b"*") :]:
            said = dialects.tail(raw.decode("ascii").rstrip())
            device = self._named(said.ident if said else None) or device
        epoch = self._join(kind, values, raw, device)
        if kind == "GSV":
            self._sky.in_view(address[:2], values)
        elif kind:
            epoch.say(kind, values)
            if kind == "GSA":
                self._sky.uses(address[:2], values)
        if extra:
            epoch.extra.update(extra)
        if said is not None:
            epoch.extra.update(said.telemetry)
            epoch.satellites = said.satellites

    def _dialect(self, address: str, text: str, raw: bytes, extra: dict[str, Scalar]) -> bool:
        """True when the sentence made an event of its own."""
        try:
            said = dialects.sentence(address, text)
        except ValueError as error:  # a month 13, a latitude of 91
            self._events.append(Rejected(raw=raw, device=self._device, reason=str(error)))
            return True
        if said is None:
            return False
        if said.fix is None and not said.telemetry:
            self._login(said.ident, raw)
            return True
        self._close()
        device = self._named(said.ident) or self._device
        if said.fix is not None:
            fix = replace(said.fix, telemetry={**said.fix.telemetry, **extra})
            self._events.append(Report(raw=raw, device=device, fixes=(fix,)))
        else:
            told = {**said.telemetry, **extra}
            self._events.append(Status(raw=raw, device=device, telemetry=told))
        return True

    def _join(self, kind: str, values: Values, raw: bytes, device: DeviceIdentity | None) -> Epoch:
        """The epoch that a sentence belongs to, with it."""
        where = TIME_AT.get(kind)
        time_us = None if where is None else values[where]
        epoch = self._epoch
        if epoch is not None and (
            (time_us is not None and epoch.time_us is not None and time_us != epoch.time_us)
            or (device is not None and epoch.device != device)
            or epoch.size + len(raw) > MAX_EPOCH_BYTES
            or (time_us is None and kind in PLACE_AT and _apart(epoch, kind, values))
        ):
            self._close()
            epoch = None
        if epoch is None:
            epoch = self._epoch = Epoch(device or self._device, self._now)
            self._sky.next_epoch()
        if isinstance(time_us, int):
            epoch.time_us = time_us
        epoch.keep(raw)
        return epoch

    # identity

    def _named(self, ident: str | None) -> DeviceIdentity | None:
        """The device that a sentence names, which it stays."""
        device = _identity(ident)
        if device is not None:
            self._become(device)
        return device

    def _become(self, device: DeviceIdentity) -> None:
        if device != self._device:
            self._device = device
            self._checksum = self._profile_of(device.ident).checksum

    def _login(self, ident: str | None, raw: bytes) -> None:
        self._close()
        self._named(ident)
        self._events.append(Login(raw=raw, device=self._device))

    # the end of an epoch

    def _close(self) -> None:
        epoch, self._epoch = self._epoch, None
        if epoch is None:
            return
        time, source, dated = self._moment(epoch)
        sky = self._sky.now()
        fix = None
        if time not in self._told:
            fix = epoch.fix(time, source, sky, self._sky.used())
        if fix is not None:
            if fix.valid and source is not TimeSource.RECEIVED:
                self._told.append(time)
            self._events.append(Report(raw=epoch.raw, device=epoch.device, fixes=(fix,)))
        else:
            self._events.append(
                Status(
                    raw=epoch.raw,
                    device=epoch.device,
                    time=time if dated else None,
                    telemetry={**in_view(sky), **epoch.extra},
                )
            )
        if source is not TimeSource.RECEIVED:
            self._learn(time)

    def _moment(self, epoch: Epoch) -> tuple[datetime, TimeSource, bool]:
        """The epoch's time, where it comes from, and whether the device stated a date for it."""
        if epoch.time_us is None:
            return epoch.opened, TimeSource.RECEIVED, False
        if (day := epoch.date) is not None:
            time = at(day, epoch.time_us)
        elif self._dated is not None:
            then, heard = self._dated
            time = nearest(epoch.time_us, then + (epoch.opened - heard))
        else:
            return nearest(epoch.time_us, epoch.opened), TimeSource.DATE_ASSUMED, False
        self._dated = time, epoch.opened
        return time, TimeSource.DEVICE, True

    def _learn(self, time: datetime) -> None:
        """The period of the epochs says how long a silence ends one."""
        if self._last is not None:
            period = (time - self._last).total_seconds()
            if 0 < period <= MAX_PERIOD_S:
                low, high = SILENCE_RANGE_S
                self.silence_s = min(max(SILENCE_OF_PERIOD * period, low), high)
        self._last = time


def _identity(ident: str | None) -> DeviceIdentity | None:
    if not ident or len(ident) > 64:
        return None
    return DeviceIdentity(protocol="nmea0183", ident=ident)


def _apart(epoch: Epoch, kind: str, values: Values) -> bool:
    """Whether a position sentence without a time of day is of another epoch than the open one.

    Where there is no time at all, the next of its kind is; after a time, one that has lost it.
    """
    if epoch.time_us is None:
        return kind in epoch.said
    return values[PLACE_AT[kind]] is None
