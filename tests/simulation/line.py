"""A protocol for the simulation: one line a message, with everything that a receipt can depend on.

    L ident*hh;                                 login, answered `A 0;`
    R number b|- [time lat lon]+*hh;            a report of fixes, answered `A number;`
    ?*hh;                                       heartbeat, answered `H;`

`hh` is the sum of the bytes before it, in hexadecimal.
`b` marks a resend: that must not make it another fix. Times are whole seconds since 1970,
coordinates thousandths of a degree, so that nothing is rounded. `QuietDecoder` has no receipts
and ends a message by silence or the next message, as NMEA receivers do.
"""

import re
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace

import gateway.core
import protocols
from model import DeviceIdentity, Event, Fix, Heartbeat, Login, Rejected, Report
from protocols.base import Decoder, ProtocolError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ACK = re.compile(rb"A (\d+);")
_MAX_FRAME_BYTES = 4096

Place = tuple[int, int, int]  # seconds since 1970, latitude and longitude in 1/1000 degree


def place_of(fix: Fix) -> Place:
    seconds = round((fix.time - _EPOCH).total_seconds())
    return seconds, round(fix.latitude_deg * 1000), round(fix.longitude_deg * 1000)


class LineDecoder(Decoder):
    def __init__(self, **known):
        super().__init__(**known)
        self._buffer = b""

    @property
    def pending(self) -> bool:
        return bool(self._buffer)

    def feed(self, data: bytes, now: datetime) -> list[Event]:
        *frames, self._buffer = (self._buffer + data).split(b";")
        if len(self._buffer) > _MAX_FRAME_BYTES:
            raise ProtocolError("no end of a message in sight")
        return [self._event(frame + b";") for frame in frames]

    def flush(self, now: datetime) -> list[Event]:
        rest, self._buffer = self._buffer, b""
        return [self._rejected(rest, "cut short")] if rest else []

    def reply_to(self, event: Event, *, accepted: bool, now: datetime) -> bytes:
        match event:
            case Login() if accepted:
                return b"A 0;"
            case Report() if accepted:
                return b"A %s;" % event.raw.split(b" ", 2)[1]
            case Heartbeat():
                return b"H;"
        return b""

    def _event(self, frame: bytes) -> Event:
        body, _, checksum = frame[:-1].rpartition(b"*")
        if checksum != _sum(body):
            return self._rejected(frame, "wrong checksum")
        kind, _, rest = body.partition(b" ")
        try:
            words = rest.decode("ascii").split()
            if kind == b"L":
                self._ident = words[0]
                return Login(raw=frame, device=self._identity())
            if kind == b"?":
                return Heartbeat(raw=frame, device=self._identity())
            if kind == b"R":
                return Report(raw=frame, device=self._identity(), fixes=_fixes(words))
        except (ValueError, IndexError) as error:
            return self._rejected(frame, str(error))
        return self._rejected(frame, "no such kind")

    def _identity(self) -> DeviceIdentity | None:
        return DeviceIdentity(protocol="line", ident=self._ident) if self._ident else None

    def _rejected(self, frame: bytes, reason: str) -> Rejected:
        return Rejected(raw=frame, device=self._identity(), reason=reason)


def _fixes(words: list[str]) -> tuple[Fix, ...]:
    number, resent, *rest = words
    return tuple(
        Fix(
            time=_EPOCH + timedelta(seconds=int(seconds)),
            valid=True,
            latitude_deg=int(lat) / 1000,
            longitude_deg=int(lon) / 1000,
            telemetry={"index": int(number), **({"backfill": True} if resent == "b" else {})},
        )
        for seconds, lat, lon in zip(rest[::3], rest[1::3], rest[2::3], strict=True)
    )


class QuietDecoder(LineDecoder):
    """Holds each message until the next one or half a second of silence shows that it is whole."""

    silence_s = 0.5
    acknowledges = False

    def feed(self, data: bytes, now: datetime) -> list[Event]:
        *frames, self._buffer = (self._buffer + data).split(b"\n")
        return [self._event(frame) for frame in frames if frame]

    def flush(self, now: datetime) -> list[Event]:
        frame, self._buffer = self._buffer, b""
        return [self._event(frame)] if frame else []


def _sum(body: bytes) -> bytes:
    return b"%02x" % (sum(body) & 0xFF)


# the device's half


def login(ident: str) -> bytes:
    return _framed(f"L {ident}")


def report(number: int, places: tuple[Place, ...], *, resent: bool) -> bytes:
    said = " ".join(str(value) for place in places for value in place)
    return _framed(f"R {number} {'b' if resent else '-'} {said}")


def _framed(text: str) -> bytes:
    body = text.encode()
    return b"%s*%s;" % (body, _sum(body))


def receipts(reply: bytes) -> list[int]:
    return [int(number) for number in _ACK.findall(reply)]


def install() -> None:
    """Make `line` and `quiet` protocols of this process's gateway."""
    load = cache(protocols.load)  # it looks into the folder each time
    ours = {
        "line": SimpleNamespace(Decoder=LineDecoder, DEFAULT_PORT=5998),
        "quiet": SimpleNamespace(Decoder=QuietDecoder, DEFAULT_PORT=5997),
    }
    gateway.core.load = lambda name: ours.get(name) or load(name)  # type: ignore[assignment,attr-defined,return-value]
