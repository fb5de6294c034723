"""The two scanners are one: the same items and the same counts for any bytes in any chunks."""

from functools import reduce
from operator import xor
from pathlib import Path
from random import Random
from struct import pack

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core_ext import _nmea, nmea_py
from core_ext.nmea_layout import GOOD, MAX_SENTENCE, MISSING, TEXT, TORN, WRONG

CORPUS = sorted((Path(__file__).parents[3] / "shared" / "vectors" / "gpsd").glob("*.log"))


@pytest.fixture(params=[nmea_py, _nmea], ids=["python", "compiled"])
def scanner(request):
    return request.param.Scanner()


def summed(body: bytes) -> bytes:
    return b"$%b*%02X\r\n" % (body, reduce(xor, body, 0))


def chunked(data: bytes, sizes):
    at = 0
    for size in sizes:
        yield data[at : at + size]
        at += size
    yield data[at:]


def scan(kind, chunks, *, flush=True):
    subject = kind.Scanner()
    items = [item for chunk in chunks for item in subject.feed(chunk)]
    if flush:
        items += subject.flush()
    return items, subject.dropped, subject.held


GGA = b"GPGGA,092725.00,4717.11399,N,00833.91590,E,1,08,1.01,499.6,M,48.0,M,,"
GSV = b"GLGSV,3,3,09,88,07,028,,4,61,251.5,39,1"
PIECES = [
    summed(GGA),
    summed(GSV),
    summed(b"GNGSA,A,3,10,07,,,,,,,,,,,1.9,1.0,1.6,1"),
    summed(b"GPRMC,,V,,,,,,,,,,N"),
    summed(b"PQGSV,1,1,01,33,10,100,40"),
    summed(b"PGRMC,A,3"),
    b"!AIVDM,1,1,,A,15M67FC000G?ufbE`FepT@3n00Sa,0*5C\r\n",
    b"$GPRMC,161229.487,A,3723.2475,N,12158.3416,W,0.13,309.62,120598,,*10,1,2\n",
    b"$GPGLL,4916.45,N,12311.12,W,225444,A\r",
    b"IMEI 351467108700000\r\n",
    b"123456789",
    b"$$",
    b"$*",
    b"*4",
    b"\r",
    b"\n",
    b"$GP" + b"," * 90,
    b"\xb5\x62\x05\x01\x02\x00\x06\x01\x0f\x38",
    b"\xb5\x62\x05",
    b"\xd3\x00\x13>\xd7\xd3\x02\x02\x98\x0e\xde\xef4\xb4\xbdb\xacl\x80\x01\x03\x00\x00\x00\x00\x00",
    b"\xa0\xa2\x00\x02\x81\x02\x00\x83\xb0\xb3",
    b"\xa0\xa1\x00\x02\x81\x02\x83\x0d\x0a",
    b"\xba\xce\x04\x00\x01\x02" + b"\x01\x02\x03\x04" + pack("<I", 0x06050605 & 0xFFFFFFFF),
    b"\xf1\xd9\x05\x01\x02\x00\x06\x01\x0f\x38",
]
streams = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=12))).map(b"".join)
sizes = st.lists(st.integers(0, 40))


@given(streams, sizes, st.booleans())
@example(b"$A,1*\r\n$AB*4\r\n$AB*4", [], True)
def test_both_scanners_give_the_same(data, sizes, flush):
    parts = list(chunked(data, sizes))
    assert scan(nmea_py, parts, flush=flush) == scan(_nmea, parts, flush=flush)


@given(
    st.text(alphabet="0123456789.,+-NSEWAV* abc", max_size=120),
    st.sampled_from(
        [
            "GPGGA",
            "GPRMC",
            "GPGLL",
            "GNGNS",
            "GPVTG",
            "GPGSA",
            "GPGSV",
            "GPZDA",
            "GPGST",
            "GPGBS",
            "GPRMA",
        ]
    ),
)
def test_both_read_the_same_values(text, address):
    data = summed(f"{address},{text}".encode())
    ours, theirs = scan(nmea_py, [data]), scan(_nmea, [data])
    assert ours == theirs
    assert repr(ours) == repr(theirs)  # int or float, and the sign of zero


@given(streams, sizes)
def test_chunks_do_not_matter(data, sizes):
    assert scan(_nmea, [data]) == scan(_nmea, chunked(data, sizes))
    assert scan(nmea_py, [data]) == scan(nmea_py, chunked(data, sizes))


@given(streams, sizes)
def test_every_byte_is_accounted_for(data, sizes):
    items, dropped, held = scan(_nmea, chunked(data, sizes))
    assert sum(len(item[3]) for item in items) + sum(dropped.values()) + held == len(data)


@given(st.binary(max_size=3000))
def test_what_is_held_is_bounded(noise):
    for kind in (nmea_py, _nmea):
        subject = kind.Scanner()
        for byte in b"$GP" + noise:
            subject.feed(bytes([byte]))
            assert subject.held <= 8192
        assert all(len(item[3]) <= MAX_SENTENCE + 2 for item in subject.flush())


@pytest.mark.skipif(not CORPUS, reason="no captures: ../shared/vectors/gpsd is not there")
@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_both_read_real_captures_alike(path):
    data = path.read_bytes()[:60_000]
    random = Random(path.stem)
    whole = scan(_nmea, [data])
    assert scan(nmea_py, [data]) == whole
    assert scan(_nmea, chunked(data, [random.randrange(1, 300) for _ in range(400)])) == whole


def one(scanner, data: bytes):
    (item,) = scanner.feed(data) + scanner.flush()
    return item


def test_values_of_a_sentence(scanner):
    state, kind, address, raw, fields = one(scanner, summed(GGA))
    assert (state, kind, address, raw) == (GOOD, "GGA", "GPGGA", summed(GGA))
    assert fields == (
        34_045_000_000, 47 + 17.11399 / 60, 8 + 33.91590 / 60, 1, 8, 1.01, 499.6, 48.0, None, None,
    )  # fmt: skip


def test_satellites_repeat_and_the_signal_is_last(scanner):
    assert one(scanner, summed(GSV))[4] == (3, 3, 9, 88, 7, 28, None, 4, 61, 251.5, 39, "1")
    assert one(scanner, summed(b"GPGSV,1,1,01,05,10,020,33"))[4] == (1, 1, 1, 5, 10, 20, 33)


@pytest.mark.parametrize(
    ("wire", "state"),
    [
        (b"$GPTXT,a*00\r\n", WRONG),
        (b"$GPTXT,a\r\n", MISSING),
        (b"$GPTXT,a$", TORN),
        (b"$GPTXT,a*\r\n", WRONG),
        (b"$GPZDA\x80", TORN),
        (b"hello\r\n", TEXT),
    ],
)
def test_states(scanner, wire, state):
    assert [item[0] for item in scanner.feed(wire)] == [state]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n", b"", b"$", b"\x00"])
def test_ends_of_a_sentence(scanner, end):
    sentence = summed(GGA)[:-2]
    items = scanner.feed((sentence + end) * 3) + scanner.flush()
    assert [item[0] for item in items] == [GOOD] * 3


def test_a_kilobyte_is_read_and_more_is_counted(scanner):
    long = summed(b"PABCD," + b"x" * (MAX_SENTENCE - 11))
    assert [item[0] for item in scanner.feed(long)] == [GOOD]
    too_long = summed(b"PABCD," + b"x" * MAX_SENTENCE)
    assert [item[0] for item in scanner.feed(too_long + long)] == [GOOD]
    assert scanner.dropped["overlong"] == MAX_SENTENCE


def test_binary_is_passed_over_only_when_its_checksum_holds(scanner):
    hidden = summed(b"GPTXT,in a frame")
    payload = b"\x05\x01" + pack("<H", len(hidden)) + hidden
    a = b = 0
    for byte in payload:
        a = (a + byte) & 255
        b = (b + a) & 255
    frame = b"\xb5\x62" + payload + bytes((a, b))
    assert scanner.feed(frame) == []
    assert scanner.dropped["ubx"] == len(frame)
    broken = frame[:-1] + bytes((b ^ 1,))
    assert [item[2] for item in scanner.feed(broken)] == ["GPTXT"]
    assert scanner.dropped["ubx"] == len(frame)


def test_false_marks_cost_little_and_alike():
    """Each would have 8 KB checked: only so many are, until good bytes are seen again."""
    marks = b"\xb5\x62\x01\x02\xf0\x1f" * 20_000
    frame = PIECES[-1]
    data = marks + frame + summed(GGA) + frame
    items, dropped, held = scan(nmea_py, [data])
    assert (items, dropped, held) == scan(_nmea, [data]) == scan(_nmea, chunked(data, [4096] * 40))
    assert [item[0] for item in items] == [GOOD]
    assert dropped["allystar"] == 2 * len(frame)


def test_silence_keeps_what_may_go_on(scanner):
    begun, rest = b"$GPRMC,161229.487,A,3723.2475,N,121", b"58.3416,W,0.13,309.62,120598,,*10\r\n"
    assert scanner.feed(begun) + scanner.flush() == []
    assert scanner.held == len(begun)
    assert [item[0] for item in scanner.feed(rest)] == [GOOD]


def test_silence_ends_what_is_whole(scanner):
    whole = b"$GPRMC,082350.000,A,5355.0314,N,01044.1271,E,26.20,184.27,080518,,"
    assert scanner.feed(whole) == []
    assert [item[0] for item in scanner.flush()] == [MISSING]
    assert scanner.held == 0


def test_text_is_read_from_the_start_of_a_line_only(scanner):
    items = scanner.feed(b"\x01123456789$GPTXT,x\r\n123456789$GPTXT,x\r\n")
    assert [item[0] for item in items] == [MISSING, TEXT, MISSING]
    assert scanner.dropped["text"] == 9
