"""What the fuzzer starts from: whole messages of each lane, and the streams that they make.

A lane is a protocol in one of its forms. H02's sentences and binary frames have a lane each, since
only the latter are without any proof; so have OwnTracks' two transports.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import protocols
from model import Event, Rejected
from protocols import gt06
from protocols.base import Decoder, ProtocolError
from protocols.h02_parts.framing import has_long_id
from tests.protocols.driver import NOW, SHARED, decoder, vectors

KIB = 1024
SENTENCE = re.compile(rb"[$!][^$!\r\n]*")
UNDOUBTED = 24  # bytes of a binary H02 frame, up to its speed


@dataclass(frozen=True, slots=True)
class Lane:
    """`held_bytes` bounds what a decoder may keep of whatever comes, its own tables included."""

    name: str
    protocol: str
    held_bytes: int
    marks: tuple[bytes, ...]  # what its frames begin and end with, for floods
    belongs: Callable[[bytes], bool]
    ident: str | None = None
    datagrams: bool = False  # each message comes whole, as a topic's payload does
    real: str = ""  # the file of real messages, without its ending
    neighbours: int = 0  # good messages that a fault may cost beside the one it hits
    answered: bool = False  # the sender keeps each message until it is answered

    def decoder(self) -> Decoder:
        return decoder(self.protocol, self.ident)


def _gt06_proven(wire: bytes) -> bool:
    return len(wire) >= gt06.MIN_FRAME_BYTES and gt06._proven(wire, 0, len(wire))


_HTTP = (b"GET /?", b" HTTP/1.1\r\n", b"\r\n\r\n", b"POST / HTTP/1.1\r\n", b"Host: h\r\n", b"\n",
         b"Content-Length: 9\r\n", b"Transfer-Encoding: chunked\r\n", b"1\r\n{\r\n", b"id=1&", b"[{",
         b"0\r\n\r\n", b"Expect: 100-continue\r\n")  # fmt: skip

LANES = {
    lane.name: lane
    for lane in (
        Lane("gt06", "gt06", 32 * KIB,
             (b"xx", b"yy", b"\r\n", b"x", b"\r", b"\x05", b"\x01", b"\x0f\xff", b"\x17\x01\x01"),
             _gt06_proven, ident="864717003664467"),
        Lane("h02", "h02", 16 * KIB,
             (b"*HQ,", b"#", b"*", b"$", b"X", b"\x24", b"1234567890,", b"V1,", b"\0"),
             lambda wire: wire.startswith(b"*")),
        Lane("h02-binary", "h02", 16 * KIB,
             (b"$", b"X", b"\x41\x09\x17\x90\x24", b"\x10\x57\x59", b"\x28\x01\x22", b"\0", b"\x58"),
             lambda wire: not wire.startswith(b"*"), real="h02",
             neighbours=1),
        Lane("nmea0183", "nmea0183", 256 * KIB,
             (b"$", b"!", b"*", b"\r\n", b"GPRMC,", b",", b"GPGSV,3,1,11,", b"\xb5\x62", b"\xd3\x00"),
             lambda _wire: True, real="t55"),
        Lane("osmand", "osmand", 1200 * KIB, _HTTP, lambda _wire: True, answered=True),
        Lane("owntracks", "owntracks", 4400 * KIB, _HTTP,
             lambda wire: not wire.startswith((b"{", b"[")), answered=True),
        Lane("owntracks-mqtt", "owntracks", 4400 * KIB,
             (b"{", b"}", b"[", b"]", b'"_type":', b'"location"', b",", b'"', b"1e9", b"\\ud800"),
             lambda wire: wire.startswith((b"{", b"[")), ident="a/b", datagrams=True),
    )
}  # fmt: skip


@cache
def seeds(lane: Lane) -> tuple[bytes, ...]:
    """Every message at hand, understood or not, with its end mark."""
    complete = getattr(protocols.load(lane.protocol), "complete", bytes)
    wires = [vector.octets("wire") for vector in vectors(lane.protocol)]
    path = SHARED / "traccar" / f"{lane.real or lane.protocol}.jsonl"
    if path.exists():
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        wires += [complete(bytes.fromhex(row["wire_hex"])) for row in rows]
    return tuple(dict.fromkeys(wire for wire in wires if wire and lane.belongs(wire)))


@cache
def good(lane: Lane) -> tuple[bytes, ...]:
    """The messages that are one event on their own, which is not a `Rejected`."""
    return tuple(wire for wire in seeds(lane) if _is_one(lane, wire))


def _is_one(lane: Lane, wire: bytes) -> bool:
    subject = lane.decoder()
    try:
        events = [*subject.feed(wire, NOW), *subject.flush(NOW)]
    except ProtocolError:
        return False
    return (
        len(events) == 1
        and not subject.finished
        and not isinstance(events[0], Rejected)
        and events[0].raw == wire
    )


@cache
def logs() -> tuple[tuple[bytes, ...], ...]:
    """The sentences of each receiver's log whose checksums hold."""
    found = []
    for path in sorted((SHARED / "gpsd").glob("*.log")):
        lines = path.read_bytes().splitlines(keepends=True)
        sound = tuple(line for line in lines if line[:1] in (b"$", b"!") and _holds(line))
        if len(sound) >= 40:
            found.append(sound)
    return tuple(found)


def _holds(line: bytes) -> bool:
    body, star, digits = line[1:].rstrip(b"\r\n").rpartition(b"*")
    total = 0
    for byte in body:
        total ^= byte
    return bool(star) and digits.upper() == b"%02X" % total and len(line) < 300


def stream(lane: Lane, chance: random.Random) -> tuple[bytes, ...]:
    """Some messages one after the other, as a device would send them."""
    if lane.protocol == "nmea0183" and logs() and chance.random() < 0.8:
        log = chance.choice(logs())
        size = chance.randint(10, 40)
        begin = chance.randrange(max(1, len(log) - size))
        return log[begin : begin + size]
    if lane.name == "h02-binary":
        return _one_device(chance.choice(good(lane)), chance)
    wires = good(lane)
    chosen = chance.sample(wires, min(len(wires), chance.randint(3, 8)))
    if lane.protocol == "nmea0183":  # where the message is the sentence, not the epoch
        chosen = [line for wire in chosen for line in wire.splitlines(keepends=True)]
    return tuple(chosen)


def _one_device(frame: bytes, chance: random.Random) -> tuple[bytes, ...]:
    """What only its device's habit tells apart must be of one device: the frame at other times."""
    at = 9 if has_long_id(frame) else 6
    minutes = chance.sample(range(60), chance.randint(4, 10))
    return tuple(
        frame[: at + 1] + bytes((minute // 10 * 16 + minute % 10,)) + frame[at + 2 :]
        for minute in minutes
    )


def units(lane: Lane, events: list[Event]) -> Counter[bytes]:
    """The messages that came through: whole frames, or the sentences of which an event is made."""
    return Counter(_units(lane, events))


def lost(lane: Lane, sent: Counter[bytes], events: list[Event]) -> Counter[bytes]:
    """What was sent in vain.

    A request whose head or length is spoilt may take whole requests behind it for its own. They
    are in its archived frame and unanswered, so that their sender has them still.
    """
    missing = sent - units(lane, events)
    if lane.answered:
        kept = b"".join(event.raw for event in events)
        missing = Counter({wire: n for wire, n in missing.items() if wire.rstrip() not in kept})
    return missing


def _units(lane: Lane, events: list[Event]) -> Iterator[bytes]:
    for event in events:
        if isinstance(event, Rejected):
            continue
        if lane.protocol == "nmea0183":
            yield from SENTENCE.findall(event.raw)
        elif lane.name == "h02-binary" and not event.raw.startswith(b"*"):
            yield event.raw[:UNDOUBTED]  # noise behind may be taken for its tail
        else:
            yield event.raw
