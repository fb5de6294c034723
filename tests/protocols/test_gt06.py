"""GT06 beyond its vectors: values round the globe, damaged streams, answers, commands.

Frames are made here by an encoder of their own, with the checksum taken bit by bit.
"""

import random
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import CommandResult, Event, Fix, Heartbeat, Login, Rejected, Report, Status
from model.telemetry import is_known
from protocols import gt06
from protocols.base import Decoder
from protocols.fields import crc16_x25
from tests.protocols.conformance import DEVICE, model_of, rows
from tests.protocols.driver import NOW, SHARED, decoder, vectors

IMEI = "864717003664467"
real_messages = pytest.mark.skipif(
    not SHARED.is_dir(), reason=f"no real messages: {SHARED} is not there"
)


def crc_bitwise(data: bytes) -> int:
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return crc ^ 0xFFFF


def frame(kind: int, content: bytes, serial: int = 1, *, long: bool = False) -> bytes:
    body = bytes([kind]) + content + serial.to_bytes(2, "big")
    body = (len(body) + 2).to_bytes(2 if long else 1, "big") + body
    return (b"yy" if long else b"xx") + body + crc_bitwise(body).to_bytes(2, "big") + b"\r\n"


def login(imei: str = IMEI, tail: bytes = b"") -> bytes:
    return frame(0x01, bytes.fromhex("0" + imei) + tail)


def location(fix: Fix, kind: int = 0x12, tail: bytes = b"", serial: int = 1) -> bytes:
    """The fix as a device would send it."""
    word = int(fix.course_deg or 0) | 0x1000 * fix.valid
    word |= 0x400 * (fix.latitude_deg >= 0) | 0x800 * (fix.longitude_deg < 0)
    time = fix.time
    content = bytes([time.year - 2000, time.month, time.day, time.hour, time.minute, time.second])
    content += bytes([0xC0 | (fix.satellites or 0)])
    content += round(abs(fix.latitude_deg) * 1_800_000).to_bytes(4, "big")
    content += round(abs(fix.longitude_deg) * 1_800_000).to_bytes(4, "big")
    content += bytes([round((fix.speed_mps or 0) * 3.6)]) + word.to_bytes(2, "big")
    cell = fix.cells[0] if fix.cells else None
    content += (cell.mcc if cell else 0).to_bytes(2, "big") + bytes([cell.mnc if cell else 0])
    content += (cell.lac if cell else 0).to_bytes(2, "big")
    content += (cell.cid if cell else 0).to_bytes(3, "big")
    return frame(kind, content + tail, serial)


FIXES = st.builds(
    Fix,
    time=st.integers(0, 3_155_000_000).map(
        lambda second: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    ),
    valid=st.booleans(),
    latitude_deg=st.integers(-162_000_000, 162_000_000).map(lambda n: n / 1_800_000),
    longitude_deg=st.integers(-324_000_000, 324_000_000).map(lambda n: n / 1_800_000),
    speed_mps=st.integers(0, 255).map(lambda kmh: kmh / 3.6),
    course_deg=st.integers(0, 359).map(float),
    satellites=st.integers(0, 15),
)


def kept(subject: Decoder) -> int:
    assert isinstance(subject, gt06.Decoder)
    return len(subject._framer._held)


def feed(subject: Decoder, data: bytes) -> list[Event]:
    return subject.feed(data, NOW)


def read(data: bytes, *, size: int | None = None) -> list[Event]:
    """All events of a stream that comes in chunks of `size`."""
    subject = decoder("gt06", ident=IMEI)
    events = []
    for at in range(0, len(data), size or len(data) or 1):
        events += feed(subject, data[at : at + (size or len(data))])
    return events + subject.flush(NOW)


# values


@given(FIXES, st.sampled_from([0x12, 0x22]))
def test_what_was_sent_is_read_in_all_hemispheres(fix: Fix, kind: int):
    tail = b"\1\0\1" if kind == 0x22 else b""
    (event,) = read(location(fix, kind, tail))
    assert isinstance(event, Report)
    (ours,) = event.fixes
    assert (ours.time, ours.valid, ours.satellites) == (fix.time, fix.valid, fix.satellites)
    assert ours.latitude_deg == pytest.approx(fix.latitude_deg, abs=1e-9)
    assert ours.longitude_deg == pytest.approx(fix.longitude_deg, abs=1e-9)
    assert ours.speed_mps == pytest.approx(fix.speed_mps)
    assert ours.course_deg == fix.course_deg
    if kind == 0x22:
        assert ours.telemetry == {"ignition": True, "trigger": "interval", "backfill": True}


def edited(content: bytes, at: int, byte: int) -> bytes:
    return content[: at % len(content)] + bytes([byte]) + content[at % len(content) + 1 :]


@given(
    FIXES,
    st.sampled_from([(0x12, b""), (0x22, b"\1\5\0"), (0x22, b"\0\2\1\0\1\2\3")]),
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 255)), max_size=3),
    st.booleans(),
)
def test_the_fast_reader_says_what_the_layouts_say(fix, kind_and_tail, edits, zoned):
    kind, tail = kind_and_tail
    content = location(fix, kind, tail)[4:-6]
    for at, byte in edits:
        content = edited(content, at, byte)
    said = []
    for usual in (gt06.USUAL, set()):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gt06, "USUAL", usual)
            subject = decoder("gt06")
            feed(subject, login(tail=b"\0\1\x32\0" if zoned else b""))
            said.append(feed(subject, frame(kind, content)))
    assert said[0] == said[1]
    assert len(said[0]) == 1


@given(
    hours=st.integers(0, 14),
    minutes=st.sampled_from([0, 15, 30, 45]),
    west=st.booleans(),
    fix=FIXES,
)
def test_the_zone_of_the_login_is_taken_off_the_times_that_documents_leave_open(
    hours, minutes, west, fix
):
    subject = decoder("gt06")
    word = (hours * 100 + minutes) << 4 | west << 3 | 2
    feed(subject, login(tail=b"\0\1" + word.to_bytes(2, "big")))
    east = timedelta(hours=hours, minutes=minutes) * (-1 if west else 1)
    open_, utc = feed(subject, location(fix) + location(fix, 0x22, b"\0\0\0"))
    assert isinstance(open_, Report)
    assert open_.fixes[0].time == fix.time - east
    assert isinstance(utc, Report)
    assert utc.fixes[0].time == fix.time


@given(st.binary(max_size=200))
def test_the_checksum_is_that_of_the_standard(data: bytes):
    assert crc16_x25(data) == crc_bitwise(data)
    assert crc16_x25(b"123456789") == 0x906E


def test_the_login_s_identity_holds_for_the_connection():
    fix = Fix(time=NOW, valid=True, latitude_deg=1.0, longitude_deg=2.0)
    subject = decoder("gt06")
    before, first, after, second, last = feed(
        subject, location(fix) + login() + location(fix) + login("359339075005244") + location(fix)
    )
    assert before.device is None
    assert isinstance(first, Login)
    assert isinstance(second, Login)
    idents = [event.device and event.device.ident for event in (first, after, second, last)]
    assert idents == [IMEI, IMEI, "359339075005244", "359339075005244"]


# any content


@settings(max_examples=500)
@given(st.integers(0, 255), st.binary(max_size=240), st.booleans(), st.booleans())
def test_every_frame_is_one_event_whatever_it_holds(kind, content, long, shaped):
    if shaped:  # past the date, so that the blocks behind it are met too
        content = bytes([24, 2, 3, 4, 5, 6, 0xC7]) + content[:220]
    wire = frame(kind, content, long=long)
    subject = decoder("gt06", ident=IMEI)
    (event,) = feed(subject, wire) + subject.flush(NOW)
    assert event.raw == wire
    subject.reply_to(event, accepted=True, now=NOW)
    assert subject.reply_to(event, accepted=False, now=NOW) == b""
    said = [event.telemetry] if isinstance(event, Status | Heartbeat | Login) else []
    if isinstance(event, Report):
        said = [fix.telemetry for fix in event.fixes]
    assert all(is_known(name) for telemetry in said for name in telemetry)


@pytest.mark.parametrize("vector", vectors("gt06"), ids=lambda vector: vector.name)
def test_a_message_cut_short_at_any_offset_or_with_any_bit_wrong_costs_no_other(vector):
    """A neighbour on each side comes through, whatever became of the one in between."""
    wire = vector.octets("wire")
    fix = Fix(time=NOW, valid=True, latitude_deg=1.0, longitude_deg=2.0)
    before, after = location(fix, serial=0x1111), location(fix, serial=0x2222)
    damaged = [wire[:cut] for cut in range(len(wire))]
    damaged += [wire[cut:] for cut in range(1, len(wire))]
    for bit in range(len(wire) * 8):
        flipped = bytearray(wire)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for middle in damaged:
        raws = [event.raw for event in read(before + middle + after)]
        assert raws[0] == before
        assert after in raws, middle.hex()


# streams


@cache
def some_frames() -> list[bytes]:
    """Frames of all kinds that their checksum proves."""
    return [
        wire
        for vector in vectors("gt06")
        if gt06._sound(wire := vector.octets("wire")) and len(wire) > 20
    ]


@st.composite
def damaged_streams(draw: st.DrawFn) -> bytes:
    pieces = []
    for wire in draw(st.lists(st.sampled_from(some_frames()), min_size=1, max_size=8)):
        match draw(st.sampled_from(["whole", "whole", "cut", "flip", "noise", "marks"])):
            case "whole":
                pieces.append(wire)
            case "cut":
                pieces.append(wire[: draw(st.integers(0, len(wire)))])
            case "flip":
                at = draw(st.integers(0, len(wire) - 1))
                pieces.append(edited(wire, at, wire[at] ^ 1 << draw(st.integers(0, 7))))
            case "noise":
                pieces += [draw(st.binary(max_size=60)), wire]
            case "marks":
                marks = st.sampled_from([b"xx", b"yy", b"\r\n", b"x", b"\r", b"\x05", b"\1"])
                pieces += [b"".join(draw(st.lists(marks, max_size=20))), wire]
    return b"".join(pieces)


@settings(max_examples=300)
@given(damaged_streams(), st.integers(1, 50))
def test_how_a_stream_is_chunked_does_not_matter(stream: bytes, size: int):
    """Into which pieces garbage falls may differ; what a checksum proves may not."""
    whole, in_chunks = (
        [event for event in read(stream, size=step) if event.raw in some_frames()]
        for step in (None, size)
    )
    assert in_chunks == whole


@given(st.lists(st.sampled_from(some_frames()), min_size=2, max_size=6), st.data())
def test_a_stream_spliced_into_another_costs_one_message(frames, data):
    """The splice cuts one frame in two; all others, of both streams, are read."""
    *mine, victim, other = frames
    at = data.draw(st.integers(1, len(victim) - 1))
    place = data.draw(st.integers(0, len(mine)))
    spliced = [*mine[:place], victim[:at], other, victim[at:], *mine[place:]]
    raws = [event.raw for event in read(b"".join(spliced))]
    for wire in [*mine, other]:
        assert raws.count(wire) >= [*mine, other].count(wire)


@given(st.lists(st.sampled_from(some_frames()), max_size=8))
def test_undamaged_frames_are_one_event_each_and_leave_nothing(frames):
    subject = decoder("gt06", ident=IMEI)
    events = feed(subject, b"".join(frames))
    assert [event.raw for event in events] == frames
    assert not subject.pending


def test_noise_is_passed_over_and_not_kept():
    chance = random.Random(6)
    subject = decoder("gt06", ident=IMEI)
    fix = Fix(time=NOW, valid=True, latitude_deg=1.0, longitude_deg=2.0)
    wire = location(fix)
    for _ in range(50):
        events = feed(subject, chance.randbytes(100_000) + wire)
        events += feed(subject, wire)
        assert [event.raw for event in events if isinstance(event, Report)] == [wire, wire]
        assert kept(subject) <= 3 * gt06.MAX_FRAME_BYTES


@pytest.mark.parametrize("flood", [b"x", b"y", b"xx\x05", b"xx\r\n", b"yy\r\n", b"yy\x0f\xff"])
def test_a_flood_of_marks_is_neither_kept_nor_deadly(flood: bytes):
    subject = decoder("gt06", ident=IMEI)
    for _ in range(20):
        feed(subject, flood * 500)
        assert kept(subject) <= 3 * gt06.MAX_FRAME_BYTES
    subject.flush(NOW)
    assert not subject.pending


def test_a_frame_is_read_though_an_earlier_one_was_cut_short_and_none_follows():
    """A device that waits for its answer must not wait for the rest of a broken frame."""
    fix = Fix(time=NOW, valid=True, latitude_deg=1.0, longitude_deg=2.0)
    wire = location(fix)
    long = frame(0x94, bytes(300), long=True)
    for broken in (wire[:20], long[:50], long[:6]):
        events = feed(decoder("gt06", ident=IMEI), broken + wire)
        assert [type(event) for event in events] == [Rejected, Report]


def test_clones_without_serial_are_read_without_waiting_for_more():
    bare = bytes.fromhex("78780d0103563140414198583c0d0a")
    events = feed(decoder("gt06"), bare + bytes.fromhex(
        "7878121011091c0b1e2e98058507f80097a6ac03344a0d0a"
    ))  # fmt: skip
    assert [type(event) for event in events] == [Login, Report]
    assert events[1].device is not None
    assert events[1].device.ident == "356314041419858"


# answers and commands


@real_messages
def test_answers_are_those_of_the_reference():
    for row in rows("gt06", "message"):
        subject = decoder("gt06", DEVICE, model=model_of(row))
        wire = gt06.complete(bytes.fromhex(row["wire_hex"]))
        (event,) = [*feed(subject, wire), *subject.flush(NOW)]
        assert event.raw == wire
        ours = subject.reply_to(event, accepted=True, now=NOW).hex()
        assert [ours] * bool(ours) == [ack["hex"] for ack in row["expect"]["acks"]], row["id"]
        if row["expect"]["device_ids"]:
            assert event.device is not None
            assert [event.device.ident] == row["expect"]["device_ids"]


def test_the_time_is_told_as_the_document_shows():
    subject = decoder("gt06", ident=IMEI)
    (event,) = feed(subject, frame(0x8A, b"", 6))
    now = datetime(2026, 11, 23, 10, 14, tzinfo=UTC)
    assert subject.reply_to(event, accepted=True, now=now) == frame(
        0x8A, bytes([26, 11, 23, 10, 14, 0]), 6
    )


def test_what_could_not_be_read_and_is_damaged_is_not_answered():
    """So the device keeps it; what is whole but strange is answered, or it would block the rest."""
    subject = decoder("gt06", ident=IMEI)
    strange = frame(0x5A, b"\1\2\3")
    damaged = edited(strange, 5, 9)
    for wire, answered in ((strange, True), (damaged, False)):
        (event,) = feed(subject, wire)
        assert isinstance(event, Rejected)
        assert bool(subject.reply_to(event, accepted=True, now=NOW)) is answered


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=243),
       st.integers(0, 65535), st.integers(0, 2**32 - 1))  # fmt: skip
def test_a_command_and_its_answer_bear_the_same_flag(command: str, serial: int, flag: int):
    wire = gt06.encode(command, serial=serial, flag=flag)
    length = 4 + len(command)
    content = bytes([length]) + flag.to_bytes(4, "big") + command.encode() + b"\0\2"
    assert wire == frame(0x80, content, serial)
    answer = frame(0x21, flag.to_bytes(4, "big") + b"\1" + command.encode(), serial, long=True)
    (event,) = read(answer)
    assert isinstance(event, CommandResult)
    assert (event.text, event.token) == (command.strip(), str(flag))


def test_the_document_s_command():
    wire = "787815800D0000000154494D45522C3330230002000190C60D0A"
    assert gt06.encode("TIMER,30#", serial=1, flag=1) == bytes.fromhex(wire)


@pytest.mark.parametrize("command", ["", "x" * 244, "Привет#", "A\r\nB"])
def test_what_is_no_command_is_refused(command: str):
    with pytest.raises(ValueError, match="not a command"):
        gt06.encode(command, serial=1, flag=1)


@pytest.mark.parametrize("vector", vectors("gt06"), ids=lambda vector: vector.name)
def test_a_missing_end_mark_is_supplied(vector):
    wire = vector.octets("wire")
    assert gt06.complete(wire) == wire
    assert gt06.complete(wire[:-1]) == wire
    assert gt06.complete(wire[:-2]) == wire
