"""`truetrack decode` keeps its contract, whatever the protocol makes of the bytes."""

import json

import pytest

from tests.cli.conftest import one_line

pytestmark = pytest.mark.usefixtures("toy_protocol")

KEYS = ["line", "kind", "device", "raw", "fixes", "alarms", "reason", "reply"]
FIX_KEYS = [
    "time", "valid", "latitude_deg", "longitude_deg", "altitude_m", "speed_mps", "course_deg",
    "accuracy_m", "hdop", "satellites", "telemetry",
]  # fmt: skip
NOW = ("--now", "2026-01-02T03:04:05Z")


def lines(*messages: bytes) -> bytes:
    return b"".join(message.hex().encode() + b"\n" for message in messages)


def test_one_object_an_event_with_every_key(truetrack):
    said = truetrack("decode", "toy", "--reply", *NOW, stdin=b"a1,1.5,2.5;?;rubbish;")
    assert said.code == 0
    assert said.err == ""
    report, heartbeat, rejected = said.records
    assert list(report) == [*KEYS, "protocol"]
    assert report == {
        "line": 1, "kind": "report", "device": "a1", "raw": b"a1,1.5,2.5;".hex(),
        "fixes": [
            {
                "time": "2026-01-02T03:04:05.000Z", "valid": True, "latitude_deg": 1.5,
                "longitude_deg": 2.5, "altitude_m": None, "speed_mps": None, "course_deg": None,
                "accuracy_m": None, "hdop": None, "satellites": None, "telemetry": {},
            }
        ],
        "alarms": ["sos"], "reason": None, "reply": b"ok\n".hex(), "protocol": "toy",
    }  # fmt: skip
    assert set(FIX_KEYS) == set(report["fixes"][0])
    assert (heartbeat["line"], heartbeat["kind"]) == (2, "heartbeat")
    assert heartbeat["telemetry"] == {"battery_percent": 80}
    assert (heartbeat["fixes"], heartbeat["alarms"], heartbeat["reply"]) == ([], [], None)
    assert (rejected["line"], rejected["kind"]) == (3, "rejected")
    assert rejected["reason"]


def test_without_reply_none_is_shown(truetrack):
    (report,) = truetrack("decode", "toy", stdin=b"a1,1,2;").records
    assert report["reply"] is None


def test_hex_lines_number_the_lines_and_supply_the_end_mark(truetrack):
    text = b"# a comment\n\n" + lines(b"a1,1,2") + lines(b"a2,3,4;")
    said = truetrack("decode", "toy", "--hex-lines", stdin=text)
    assert [(r["line"], r["device"]) for r in said.records] == [(3, "a1"), (4, "a2")]


def test_hex_may_be_in_capitals_and_spaced(truetrack):
    said = truetrack("decode", "toy", "--hex-lines", stdin=b"61 31 2C 31 2C 32 3B\r\n")
    assert [r["device"] for r in said.records] == ["a1"]


def test_each_line_meets_a_decoder_that_has_heard_nothing(truetrack):
    said = truetrack("decode", "toy", "--hex-lines", stdin=lines(b"a1,1~", b"a2,3,4"))
    first, second = said.records
    assert (first["line"], first["kind"]) == (1, "error")
    assert first["reason"] == "the message is not complete"
    assert first["raw"] == b"a1,1~".hex()
    assert (second["line"], second["device"]) == (2, "a2")


def test_device_is_the_identity_that_a_login_would_have_given(truetrack):
    (record,) = truetrack("decode", "toy", "--device", "863300000000001", stdin=b"?;").records
    assert record["device"] == "863300000000001"
    (record,) = truetrack("decode", "toy", stdin=b"?;").records
    assert record["device"] is None


def test_a_line_that_is_not_hex_fails_and_the_others_are_read(truetrack):
    said = truetrack("decode", "toy", "--hex-lines", stdin=b"zz\n" + lines(b"a1,1,2"))
    assert said.code == 1
    assert said.err.startswith("truetrack: line 1: not hex: ")
    assert [r["line"] for r in said.records] == [2]


def test_a_line_that_cannot_be_followed_is_an_error_of_that_line_only(truetrack):
    said = truetrack("decode", "toy", "--hex-lines", stdin=lines(b"!", b"a1,1,2"))
    assert said.code == 0
    assert [(r["kind"], r["reason"]) for r in said.records] == [
        ("error", "the device talks nonsense"),
        ("report", None),
    ]


def test_a_stream_that_cannot_be_followed_ends_with_1(truetrack):
    said = truetrack("decode", "toy", stdin=b"a1,1,2;" * 3 + b"!;")
    assert said.code == 1
    assert said.err == "truetrack: after 0 frames: the device talks nonsense\n"
    assert said.records[-1]["kind"] == "error"


def test_a_file_is_read_as_a_stream(truetrack, tmp_path):
    capture = tmp_path / "capture.bin"
    capture.write_bytes(b"a1,1,2;" * 20_000)
    said = truetrack("decode", "toy", capture)
    assert said.code == 0
    assert [json.loads(line)["line"] for line in said.out.splitlines()[-2:]] == [19_999, 20_000]


def test_coordinates_are_shown_in_wgs84(truetrack):
    (shifted,) = truetrack("decode", "toy", "--datum", "gcj02", stdin=b"a1,39.9,116.4;").records
    fix = shifted["fixes"][0]
    assert fix["latitude_deg"] == pytest.approx(39.8986, abs=1e-3)
    assert fix["longitude_deg"] == pytest.approx(116.3938, abs=1e-3)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2026-01-02T03:04:05+01:00", "2026-01-02T02:04:05.000Z"),
        ("2026-01-02", "2026-01-02T00:00:00.000Z"),
        ("2026-01-02T03:04:05.999999", "2026-01-02T03:04:05.999Z"),
    ],
)
def test_now_is_utc_and_cut_to_milliseconds(truetrack, given, meant):
    (record,) = truetrack("decode", "toy", "--now", given, stdin=b"a1,1,2;").records
    assert record["fixes"][0]["time"] == meant


def test_a_table_holds_what_people_need(truetrack):
    said = truetrack("decode", "toy", "--table", "--reply", *NOW, stdin=b"a1,1.5,2.5;?;")
    header, report, heartbeat = said.out.splitlines()
    assert header.split()[:4] == ["line", "kind", "device", "time"]
    assert report.split() == [
        "1", "report", "a1", "2026-01-02T03:04:05.000Z", "yes", "1.5", "2.5", "sos",
        "reply=6f6b0a",
    ]  # fmt: skip
    assert heartbeat.split() == ["2", "heartbeat", "battery_percent=80"]


def test_a_device_cannot_repaint_the_terminal(truetrack):
    said = truetrack("decode", "toy", "--table", stdin=b"\x1b[2Jevil\x07\x9b1m,1,2;a1,[red]1[/],2;")
    assert said.code == 0
    assert set(said.out) >= {"\n"}
    assert all(c.isprintable() or c == "\n" for c in said.out)
    assert "evil" in said.out
    assert "[red]1[/]" in said.out  # markup is text


def test_an_unknown_protocol_names_those_there_are(truetrack):
    said = truetrack("decode", "nothing", stdin=b"")
    assert said.code == 2
    assert one_line(said).startswith("truetrack: unknown protocol 'nothing'; there are: ")
    assert "toy" in said.err


def test_a_file_that_is_not_there(truetrack, tmp_path):
    said = truetrack("decode", "toy", tmp_path / "nothing")
    assert said.code == 2
    assert "nothing': No such file or directory" in one_line(said)
    assert "is a directory" in truetrack("decode", "toy", tmp_path).err.lower()


def test_nonsense_for_a_time(truetrack):
    said = truetrack("decode", "toy", "--now", "yesterday")
    assert said.code == 2
    assert "'yesterday' is no time like 2026-01-02T03:04:05Z" in said.err
