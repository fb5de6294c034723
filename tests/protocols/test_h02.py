"""H02: an encoder of its own writes what the decoder must read back, whole, cut and spoilt."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from model import Alarm, Cell, Event, Fix, Rejected, Report, Status, TimeSource
from model.telemetry import is_known
from protocols import h02
from protocols.base import DeviceProfile
from tests.protocols.conformance import rows
from tests.protocols.driver import NOW, SHARED, decode_message, decoder, vectors

KNOT = 1852 / 3600

# what a device may mean

times = st.integers(0, 36_524 * 86_400).map(
    lambda seconds: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)
short_ids = st.integers(0, 10**10 - 1).map(lambda number: f"{number:010d}")
long_ids = st.integers(0, 10**15 - 1).map(lambda number: f"{number:015d}")
ids = short_ids | long_ids
minutes_north = st.integers(-90 * 60 * 10_000, 90 * 60 * 10_000)  # of 1e-4 minute of arc
minutes_east = st.integers(-180 * 60 * 10_000 + 1, 180 * 60 * 10_000 - 1)
places = st.tuples(minutes_north, minutes_east)
words = st.integers(0, 2**32 - 1)


def arc(value: int, width: int) -> tuple[int, int, str]:
    """Whole degrees and 1e-4 minutes of an angle, and its place in the hemisphere's letters."""
    degrees, minutes = divmod(abs(value), 600_000)
    return degrees, minutes, "" if value >= 0 else "-"


def letters(north: int, east: int) -> tuple[str, str]:
    return "S" if north < 0 else "N", "W" if east < 0 else "E"


def with_point(value: int, width: int) -> str:
    degrees, minutes, _ = arc(value, width)
    return f"{degrees:0{width}d}{minutes // 10_000:02d}.{minutes % 10_000:04d}"


def narrow(value: int, width: int) -> str:
    degrees, minutes, _ = arc(value, width)
    return f"{degrees or ''}{minutes // 10_000:02d}.{minutes % 10_000:04d}"


def without_point(value: int, width: int) -> str:
    degrees, minutes, _ = arc(value, width)
    return f"{degrees:0{width}d}{minutes:06d}"


def with_dash(value: int, width: int) -> str:
    degrees, minutes, sign = arc(value, width)
    return f"{sign}{degrees}-{minutes // 10_000}.{minutes % 10_000:04d}"


DIALECTS = [with_point, narrow, without_point, with_dash]


def sentence(
    ident="4109179024",
    moment=datetime(2022, 1, 28, 10, 57, 59, tzinfo=UTC),
    north=-23_319_583,
    east=-37_259_170,
    *,
    keyword="V1",
    write=with_point,
    state="A",
    speed="012.50",
    course="173",
    word="FFFFFBFF",
    tail="",
) -> bytes:
    n, e = letters(north, east)
    return (
        f"*HQ,{ident},{keyword},{moment:%H%M%S},{state},{write(north, 2)},{n},{write(east, 3)},{e},"
        f"{speed},{course},{moment:%d%m%y},{word}{tail}#"
    ).encode()


def binary(
    ident="4109179024",
    moment=datetime(2022, 1, 28, 10, 57, 59, tzinfo=UTC),
    north=-23_319_583,
    east=-37_259_170,
    *,
    size=45,
    mark="24",
    valid=True,
    speed=12,
    course=173,
    word=0xFFFFFBFF,
    battery=0,
    tail=None,
) -> bytes:
    flags = 2 * valid | 4 * (north >= 0) | 8 * (east >= 0)
    head = (
        f"{mark}{ident}{'0' if len(ident) == 15 else ''}{moment:%H%M%S%d%m%y}"
        f"{without_point(north, 2)}{battery:02x}{without_point(east, 3)}{flags:x}"
        f"{speed:03d}{course:03d}{word:08x}"
    )
    frame = bytes.fromhex(head) + b"\xff"
    rest = size - len(frame)
    return frame + (bytes(rest) if tail is None else tail[:rest].ljust(rest, b"\0"))


def read(*chunks: bytes, **profile: str) -> list[Event]:
    subject = decoder("h02", **profile)
    events = [event for chunk in chunks for event in subject.feed(chunk, NOW)]
    return events + subject.flush(NOW)


def one_fix(events: list[Event]) -> tuple[Report, Fix]:
    (event,) = events
    assert isinstance(event, Report)
    (fix,) = event.fixes
    return event, fix


# what was meant comes back


@given(ids, times, places, st.sampled_from(DIALECTS), st.booleans())
@example("4109179024", NOW, (0, 0), narrow, True)
@example("4109179024", NOW, (-1, -1), with_dash, True)
def test_places_and_times_of_sentences_come_back(ident, moment, place, write, valid):
    north, east = place
    wire = sentence(ident, moment, north, east, write=write, state="A" if valid else "V")
    event, fix = one_fix(read(wire))
    assert event.device is not None
    assert event.device.ident == ident
    assert event.raw == wire
    assert (fix.time, fix.time_source, fix.valid) == (moment, TimeSource.DEVICE, valid)
    assert fix.latitude_deg == pytest.approx(north / 600_000, abs=1e-9)
    assert fix.longitude_deg == pytest.approx(east / 600_000, abs=1e-9)


@given(short_ids, times, places, st.sampled_from([32, 45, 46, 48]), words)
def test_places_and_times_of_binary_frames_come_back(ident, moment, place, size, word):
    north, east = place
    wire = binary(ident, moment, north, east, size=size, word=word)
    event, fix = one_fix(read(wire))
    assert event.device is not None
    assert (event.device.ident, event.raw, fix.time) == (ident, wire, moment)
    assert fix.latitude_deg == pytest.approx(north / 600_000, abs=1e-9)
    assert fix.longitude_deg == pytest.approx(east / 600_000, abs=1e-9)
    assert fix.telemetry["status_word"] == f"{word:08X}"


@given(long_ids, times, places)
def test_binary_frames_with_ids_of_15_digits_come_back(ident, moment, place):
    north, east = place
    event, fix = one_fix(read(binary(ident, moment, north, east, size=42)))
    assert event.device is not None
    assert (event.device.ident, fix.time) == (ident, moment)
    assert fix.latitude_deg == pytest.approx(north / 600_000, abs=1e-9)
    assert fix.longitude_deg == pytest.approx(east / 600_000, abs=1e-9)


@given(st.integers(0, 999), st.integers(0, 360), st.booleans())
def test_speed_and_course_come_back_from_both_forms(knots, course, valid):
    text = sentence(speed=f"{knots:03d}.00", course=str(course), state="A" if valid else "V")
    for wire in (text, binary(speed=knots, course=course, valid=valid)):
        _, fix = one_fix(read(wire))
        assert fix.speed_mps == pytest.approx(knots * KNOT)
        assert fix.course_deg == course % 360
        assert fix.valid == valid


@given(words)
def test_a_status_bit_is_in_effect_when_it_is_low(word):
    for wire in (sentence(word=f"{word:08X}"), sentence(word=f"{word:08x}"), binary(word=word)):
        event, fix = one_fix(read(wire))
        low = {bit for bit in range(32) if not word >> bit & 1}
        assert fix.telemetry["ignition"] == (10 not in low)
        assert fix.telemetry["door"] == (8 in low)
        assert fix.telemetry["armed"] == (9 in low)
        assert fix.telemetry["blocked"] == (27 in low)
        assert (Alarm.SOS in event.alarms) == bool({1, 18} & low)
        assert (Alarm.VIBRATION in event.alarms) == (0 in low)
        assert (Alarm.OVERSPEED in event.alarms) == (2 in low)
        assert (Alarm.POWER_CUT in event.alarms) == (19 in low)
        assert event.alarms <= {Alarm.SOS, Alarm.VIBRATION, Alarm.OVERSPEED, Alarm.POWER_CUT}


cells = st.builds(
    Cell,
    mcc=st.integers(200, 799),
    mnc=st.integers(0, 999),
    lac=st.integers(1, 0xFFFF),
    cid=st.integers(1, 0xFFFFFFF),
)


@given(cells)
def test_cells_in_decimal(cell):
    tail = f",{cell.mcc},{cell.mnc:02d}, {cell.lac},{cell.cid},6"
    _, fix = one_fix(read(sentence(tail=tail)))
    assert fix.cells == (cell,)
    assert fix.telemetry["battery_percent"] == 100


@given(cells, st.sampled_from(["x", "06x"]))
def test_cells_in_hex(cell, form):
    fields = [format(value, form) for value in (cell.mcc, cell.mnc, cell.lac, cell.cid)]
    # Without a letter, and with a country that makes sense in decimal, nobody can tell.
    assume(any(not f.isdecimal() for f in fields) or not 200 <= int(fields[0]) <= 799)
    _, fix = one_fix(read(sentence("353505220903211", tail="," + ",".join(fields))))
    assert fix.cells == (cell,)


@given(
    cells, st.lists(st.tuples(st.integers(1, 99999), st.integers(1, 99999), st.integers(1, 120)))
)
def test_neighbour_cells(cell, heard):
    heard = heard[:20]
    groups = "".join(f",{lac},{cid},{rx}" for lac, cid, rx in heard)
    wire = (
        f"*HQ,4206119130,NBR,102416,{cell.mcc},{cell.mnc},0,{len(heard)}{groups},110117,FFFFFBFF,6#"
    )
    (event,) = read(wire.encode())
    assert isinstance(event, Status)
    assert event.time == datetime(2017, 1, 11, 10, 24, 16, tzinfo=UTC)
    wanted = [Cell(mcc=cell.mcc, mnc=cell.mnc, lac=a, cid=c, rssi_dbm=-rx) for a, c, rx in heard]
    assert event.cells == tuple(dict.fromkeys(wanted))


# time that the device does not know


@given(st.times().map(lambda t: t.replace(microsecond=0)), times)
def test_a_time_without_date_is_put_on_the_nearest_day(clock: time, now: datetime):
    wire = sentence(moment=NOW).replace(NOW.strftime("%d%m%y").encode(), b"")
    wire = wire.replace(NOW.strftime(",%H%M%S,").encode(), clock.strftime(",%H%M%S,").encode())
    _, fix = one_fix(decode_message("h02", wire, now=now))
    assert fix.time_source is TimeSource.DATE_ASSUMED
    assert fix.time.time() == clock
    assert abs(fix.time - now) <= timedelta(hours=12)


def test_neither_time_nor_date_is_the_time_of_receipt():
    wire = b"*HQ,353505220873067,V1,,V,4605.75732,N,01430.73863,E,0.00,0,,FFFFFFEF#"
    _, fix = one_fix(read(wire))
    assert (fix.time, fix.time_source) == (NOW, TimeSource.RECEIVED)


@pytest.mark.parametrize("date", ["000000", "310222", "010022", "000122"])
def test_a_date_in_no_calendar_is_no_fix(date: str):
    for wire in (
        sentence().replace(b"280122", date.encode()),
        binary().replace(bytes.fromhex("280122"), bytes.fromhex(date)),
    ):
        (event,) = read(wire)
        assert isinstance(event, Status)
        assert event.time is None


# streams

MESSAGES = [vector.octets("raw") or vector.octets("wire") for vector in vectors("h02")]
# The others have no good head, so that a binary frame before them does not see its end.
GOOD = [
    message
    for message in MESSAGES
    if message != b"*4210051415,V1,105759#"
    and message != bytes.fromhex("2410307310010561162209022212874500113466574c014028fffffbffff0000")
]


@given(
    st.lists(st.sampled_from(MESSAGES), max_size=8),
    st.lists(st.integers(0, 400), max_size=12),
    st.sampled_from([b"", b"\r\n"]),
)
def test_chunks_do_not_matter(messages, cuts, between):
    stream = between.join(messages)
    cuts = sorted(cut for cut in cuts if cut < len(stream))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]
    assert read(*chunks) == read(stream)


@given(st.lists(st.sampled_from(GOOD), max_size=12))
def test_both_forms_and_all_lengths_mix_in_one_stream(messages):
    assert [event.raw for event in read(b"".join(messages))] == messages


@given(st.sampled_from(MESSAGES))
def test_a_datagram_is_a_frame(message):
    subject = decoder("h02")
    for _ in range(2):
        (event,) = [*subject.feed(message, NOW), *subject.flush(NOW)]
        assert event.raw == message
        assert not subject.pending


def test_only_a_binary_frame_that_may_be_whole_waits_for_silence():
    subject = decoder("h02")
    frame = binary(size=45)
    for size in range(1, 49):
        events = subject.feed((frame + bytes(3))[size - 1 : size], NOW)
        assert events == []
        assert (subject.silence_s is not None) == (size in (32, 45, 46, 48)), size
    (event,) = subject.flush(NOW)
    assert len(event.raw) == 48
    assert subject.silence_s is None
    subject.feed(sentence()[:-1], NOW)
    assert subject.pending
    assert subject.silence_s is None


@pytest.mark.parametrize("size", [32, 45, 46, 48])
def test_a_profile_settles_the_length(size: int):
    subject = decoder("h02", model=f"binary-{size}")
    frame = binary(size=size)
    assert [event.raw for event in subject.feed(frame * 2, NOW)] == [frame, frame]
    assert not subject.pending


def test_frames_without_a_doubtful_length_are_read_at_once():
    for frame in (binary(size=32, mark="58"), binary("352483084193293", size=42), sentence()):
        subject = decoder("h02")
        assert [event.raw for event in subject.feed(frame, NOW)] == [frame]


# spoilt streams

BEFORE = sentence("4109179001", tail=",310,260,49101,1753,5")
AFTER = sentence("4109179003", write=with_dash)
SPOILT_TEXT = [
    sentence("4109179002"),
    b"*HQ,4109179002,NBR,102416,238,1,0,2,1111,2264,53,1111,2265,60,110117,FFFFFBFF,6#",
    b"*HQ,4109179002,HTBT,100#",
]


def survivors(stream: bytes, *good: bytes) -> list[bytes]:
    raws = [event.raw for event in read(stream) if not isinstance(event, Rejected)]
    return [message for message in good if message in raws]


@pytest.mark.parametrize("message", SPOILT_TEXT)
def test_a_sentence_cut_anywhere_takes_no_other_with_it(message: bytes):
    for at in range(len(message)):
        for part in (message[:at], message[at:]):
            assert survivors(BEFORE + part + AFTER, BEFORE, AFTER) == [BEFORE, AFTER], part


@pytest.mark.parametrize("message", SPOILT_TEXT)
def test_a_sentence_with_a_bit_flipped_takes_no_other_with_it(message: bytes):
    for at in range(len(message)):
        for bit in range(8):
            spoilt = bytearray(message)
            spoilt[at] ^= 1 << bit
            assert survivors(BEFORE + spoilt + AFTER, BEFORE, AFTER) == [BEFORE, AFTER], spoilt


def lost_fixes(stream: bytes, *good: bytes) -> list[Fix]:
    """The fixes of good binary frames that the stream did not yield.

    Noise behind a frame may be taken for its tail, so telemetry is not compared.
    """
    wanted = [replace(one_fix(read(frame))[1], telemetry={}, cells=()) for frame in good]
    found = [
        replace(fix, telemetry={}, cells=())
        for event in read(stream)
        if isinstance(event, Report)
        for fix in event.fixes
    ]
    assert len({fix.time for fix in wanted}) == len(wanted)
    return [fix for fix in wanted if fix not in found]


def frames(size: int) -> tuple[bytes, bytes, bytes, bytes]:
    ident = "352483084193293" if size == 42 else "4109179002"
    moments = (datetime(2022, 1, 28, 10, minute, tzinfo=UTC) for minute in (1, 2, 3, 4))
    mark = "58" if size == 31 else "24"
    a, b, c, d = (binary(ident, m, size=max(size, 32), mark=mark) for m in moments)
    return a, b, c, d


@pytest.mark.parametrize("size", [31, 32, 42, 45, 46, 48])  # 31 stands for an X frame
def test_a_binary_frame_cut_anywhere_takes_no_other_with_it(size: int):
    good = first, second, _, last = frames(size)
    for at in range(len(last)):
        for part in (good[2][:at], good[2][at:]):
            stream = first + second + part + last
            assert lost_fixes(stream, first, second, last) == [], (at, part)


@pytest.mark.parametrize("size", [31, 32, 42, 45, 46, 48])
def test_a_bit_flipped_in_a_binary_frame_takes_no_other_with_it(size: int):
    first, second, third, last = frames(size)
    for at in range(len(third)):
        for bit in range(8):
            spoilt = bytearray(third)
            spoilt[at] ^= 1 << bit
            # There is no checksum: the spoilt frame may be believed. Its neighbours are whole.
            stream = first + second + spoilt + last
            assert lost_fixes(stream, first, second, last) == [], (at, bit)


@given(st.binary(max_size=80), st.sampled_from([sentence(), binary(size=45), binary(size=32)]))
def test_noise_costs_at_most_one_message(noise, message):
    later = sentence("4109179009")
    assert later in survivors(noise + message + later + later, later)


@pytest.mark.parametrize(
    "noise",
    [b"*", b"$", b"X", b"#", b"*HQ,", b"*HQ,1234567890,", b"$\x41\x06", b"\0", b"*$", b"X*",
     b"$\x41\x09\x17\x90\x24\x10\x57\x59", b"*HQ,1234567890,V1,$\x41\x09\x17\x90\x24"],
)  # fmt: skip
def test_memory_is_bounded_whatever_comes(noise: bytes):
    subject = h02.Decoder()
    stream = noise * (200_000 // len(noise))
    held = 0
    for at in range(0, len(stream), 4096):
        subject.feed(stream[at : at + 4096], NOW)
        held = max(held, len(subject._framer._kept))
    assert held <= 512
    assert read(stream, AFTER, AFTER)[-1].raw == AFTER


@given(st.binary(max_size=300))
def test_what_is_read_is_a_part_of_what_came(data: bytes):
    at = 0
    for event in read(data):
        at = data.index(event.raw, at) + len(event.raw)


# replies, commands, words


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real messages: {SHARED} is not there")
def test_receipts_are_those_of_the_reference():
    for row in rows("h02", "message"):
        subject = decoder("h02")
        wire = bytes.fromhex(row["wire_hex"])
        now = datetime(2026, 11, 23, 9, 6, tzinfo=UTC)
        (event,) = [*subject.feed(h02.complete(wire), now), *subject.flush(now)]
        said = subject.reply_to(event, accepted=True, now=now)
        theirs = b"".join(bytes.fromhex(ack["hex"]) for ack in row["expect"]["acks"])
        # [HQ]: the device checks the maker's letters, which the reference does not echo.
        assert said.replace(wire[1:3], b"HQ", 1) == theirs, row["id"]
        assert subject.reply_to(event, accepted=False, now=now) == b""


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real messages: {SHARED} is not there")
def test_every_real_message_names_its_device():
    for row in rows("h02", "message"):
        (event,) = decode_message("h02", bytes.fromhex(row["wire_hex"]))
        assert event.device is not None
        assert event.device.ident in (row["expect"]["device_ids"] or [event.device.ident])
        assert not isinstance(event, Rejected), row["id"]


def test_telemetry_speaks_the_vocabulary():
    for message in MESSAGES:
        for event in read(message):
            said = list(getattr(event, "telemetry", {}))
            said += [name for fix in getattr(event, "fixes", ()) for name in fix.telemetry]
            assert [name for name in said if not is_known(name)] == []


def test_complete_supplies_the_end_mark_alone():
    wire = sentence()
    assert h02.complete(wire[:-1]) == wire
    assert h02.complete(wire[:-1] + b"\r\n") == wire
    assert h02.complete(wire) == wire
    assert h02.complete(binary()) == binary()


@pytest.mark.parametrize(
    ("command", "parameters", "wire"),
    [
        ("engine_stop", {}, b"*HQ,4210051415,S20,130305,1,1#"),
        ("engine_resume", {}, b"*HQ,4210051415,S20,130305,1,0#"),
        ("report_interval", {"seconds": 30}, b"*HQ,4210051415,S71,130305,22,30#"),
        ("arm", {}, b"*HQ,4210051415,SCF,130305,0,0#"),
        ("disarm", {}, b"*HQ,4210051415,SCF,130305,1,1#"),
        ("restart", {}, b"*HQ,4210051415,R1,130305#"),
        ("cancel_alarms", {}, b"*HQ,4210051415,R7,130305#"),
        ("listen", {"phone": "+491701234567"}, b"*HQ,4210051415,R8,130305,+491701234567#"),
        ("track", {"seconds": 10, "count": 6}, b"*HQ,4210051415,D1,130305,10,6#"),
        (
            "speed_limits",
            {"maximum": 100, "minimum": 10, "number": 1, "times": 3},
            b"*HQ,4210051415,S14,130305,100,10,1,3#",
        ),
        ("server", {"host": "10.0.0.1", "port": 5013}, b"*HQ,4210051415,S23,130305,10.0.0.1:5013#"),
        ("apn", {"apn": "internet"}, b"*HQ,4210051415,S24,130305,internet#"),
    ],
)
def test_commands_as_they_go_out(command: str, parameters: dict[str, Any], wire: bytes):
    now = datetime(2026, 1, 2, 13, 3, 5, tzinfo=UTC)
    assert h02.encode(command, ident="4210051415", now=now, **parameters) == wire
    assert wire.replace(b"*HQ", b"*TH") == h02.encode(
        command, ident="4210051415", now=now, maker="TH", **parameters
    )


def test_every_command_of_the_table_is_tried_above():
    tried = test_commands_as_they_go_out.pytestmark[0].args[1]
    assert {case[0] for case in tried} == set(h02.COMMANDS)


@pytest.mark.parametrize(
    ("command", "parameters"),
    [
        ("fly", {}),
        ("engine_stop", {"seconds": 1}),
        ("apn", {}),
        ("apn", {"apn": ""}),
        ("apn", {"apn": "a,b"}),
        ("apn", {"apn": "a#*HQ,1,R1#"}),
        ("server", {"host": "a\r\n", "port": 1}),
    ],
)
def test_a_command_that_would_not_be_one_is_refused(command, parameters):
    with pytest.raises(ValueError, match=r"command|takes|value of"):
        h02.encode(command, ident="4210051415", now=NOW, **parameters)


def test_a_profile_is_asked_by_the_devices_identity():
    asked = []

    def profile_of(ident: str) -> DeviceProfile:
        asked.append(ident)
        return DeviceProfile()

    subject = h02.Decoder(profile_of=profile_of)
    subject.feed(binary("4109179024") * 2 + binary("352483084193293", size=42), NOW)
    assert set(asked) == {"4109179024", "352483084193293"}
