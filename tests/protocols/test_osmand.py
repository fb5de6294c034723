"""What must hold of OsmAnd, Traccar Client and SDK requests beyond the vectors."""

import json
import math
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model import (
    Alarm,
    DeviceIdentity,
    Event,
    FixSource,
    Heartbeat,
    Rejected,
    Report,
    Status,
    TimeSource,
)
from model.codec import from_json, to_json
from model.telemetry import is_known
from tests.protocols.conformance import rows
from tests.protocols.driver import NOW, SHARED, decode_message, decoder


def ask(query: str, **profile) -> Any:
    wire = f"GET /?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode("latin-1")
    (event,) = decode_message("osmand", wire, **profile)
    return event


def post(body: bytes, kind: str = "application/json", query: str = "") -> Any:
    head = (
        f"POST /?{query} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
    )
    (event,) = decode_message("osmand", head.encode() + b"\r\n\r\n" + body)
    return event


def sent(location, **more) -> Any:
    return post(json.dumps({"device_id": "d", "location": location, **more}).encode())


def storable(event: Event) -> None:
    """What a database and a JSON reader take, under names of the vocabulary only."""
    text = json.dumps(to_json(event), ensure_ascii=False, allow_nan=False)
    assert "\0" not in text
    assert "\\u0000" not in text
    text.encode("utf-8")
    assert from_json(json.loads(text)) == event
    parts = event.fixes if isinstance(event, Report) else [event]
    for part in parts:
        assert all(map(is_known, getattr(part, "telemetry", {})))


def finite(low: float, high: float):
    return st.floats(low, high, allow_nan=False).map(lambda value: value + 0.0)


# Whole milliseconds, from 1990 to the year 2100.
TIMES = st.integers(631_152_000_000, 4_102_444_800_000).map(
    lambda stamp: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=stamp)
)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real messages: {SHARED} is not there")
@pytest.mark.parametrize("protocol", ["osmand", "owntracks"])
def test_answers_have_the_status_that_the_reference_gives(protocol):
    for row in rows(protocol, "message"):
        subject = decoder(protocol)
        (event,) = subject.feed(bytes.fromhex(row["wire_hex"]), NOW)
        reply = subject.reply_to(event, accepted=True, now=NOW)
        wanted = [ack["status"] for ack in row["expect"]["acks"]]
        assert [int(reply.split()[1])] == wanted, row["id"]
        assert event.device is not None
        assert [event.device.ident] == row["expect"]["device_ids"]


PLACED = '{"device_id":"d","location":{"coords":{"latitude":VALUE,"longitude":2}}}'


class TestNumbers:
    @given(
        st.fixed_dictionaries(
            {
                "lat": finite(-90, 90),
                "lon": finite(-180, 180),
                "altitude": finite(-9999, 1e6),
                "speed": finite(0, 1e4),
                "bearing": finite(0, 359.99),
                "accuracy": finite(0, 1e6),
                "hdop": finite(0, 100),
                "batt": finite(0, 100),
                "valid": st.sampled_from(["true", "false"]),
            }
        ),
        TIMES,
        st.sampled_from(["s", "ms", "iso", "text"]),
    )
    def test_a_query_says_what_its_sender_meant(self, said, time, form):
        if form in ("s", "text"):
            time = time.replace(microsecond=0)
        stamp = {
            "s": str(round(time.timestamp())),
            "ms": str(round(time.timestamp() * 1000)),
            "iso": time.isoformat(),
            "text": f"{time:%Y-%m-%d %H:%M:%S}",
        }[form]
        query = urlencode({"id": "d", "timestamp": stamp, **said})
        (fix,) = ask(query).fixes
        assert (fix.latitude_deg, fix.longitude_deg) == (said["lat"], said["lon"])
        assert (fix.time, fix.time_source) == (time, TimeSource.DEVICE)
        assert str(fix.valid).lower() == said["valid"]
        assert fix.source is FixSource.FUSED
        assert (fix.altitude_m, fix.course_deg) == (said["altitude"], said["bearing"])
        assert (fix.accuracy_m, fix.hdop) == (said["accuracy"], said["hdop"])
        assert math.isclose(fix.speed_mps, said["speed"] * 1852 / 3600, abs_tol=1e-9)
        assert fix.telemetry == {"battery_percent": said["batt"]}
        assert post(query.encode(), "application/x-www-form-urlencoded").fixes == (fix,)

    @given(
        st.fixed_dictionaries(
            {
                "latitude": finite(-90, 90),
                "longitude": finite(-180, 180),
                "altitude": finite(-9999, 1e6),
                "speed": finite(0, 1e4),
                "heading": finite(0, 359.99),
                "accuracy": finite(0, 1e6),
            }
        ),
        TIMES,
        finite(0, 1),
    )
    def test_json_says_what_its_sender_meant(self, coords, time, level):
        stamp = time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event = sent({"timestamp": stamp, "coords": coords, "battery": {"level": level}})
        (fix,) = event.fixes
        assert (fix.latitude_deg, fix.longitude_deg) == (coords["latitude"], coords["longitude"])
        assert (fix.time, fix.speed_mps) == (time, coords["speed"])
        assert (fix.altitude_m, fix.course_deg) == (coords["altitude"], coords["heading"])
        assert fix.accuracy_m == coords["accuracy"]
        assert math.isclose(fix.telemetry["battery_percent"], level * 100, abs_tol=1e-4)

    @given(st.text("0123456789.+-eEinfaNxX_ ", max_size=12))
    def test_any_number_is_one_or_none(self, text):
        event = ask(f"id=7&lat=1&lon=2&speed={quote(text)}&altitude={quote(text)}&x={quote(text)}")
        storable(event)
        assert isinstance(event, Report)

    @given(st.floats(), st.floats())
    def test_a_place_is_on_earth_or_refused(self, latitude, longitude):
        event = ask(f"id=7&lat={latitude!r}&lon={longitude!r}".replace("+", "%2B"))
        on_earth = -90 <= latitude <= 90 and -180 <= longitude <= 180
        assert isinstance(event, Report if on_earth else Rejected)

    @given(st.integers(-(10**30), 10**30))
    @example(10**4299)
    @example(-1)
    def test_any_number_is_a_time_or_none(self, stamp):
        event = ask(f"id=7&lat=1&lon=2&timestamp={stamp}")
        storable(event)
        if isinstance(event, Report):
            (fix,) = event.fixes
            assert fix.time >= datetime(1990, 1, 1, tzinfo=UTC)
        else:
            assert event.device is None or event.device.ident == "7"

    def test_a_long_row_of_digits_takes_no_time(self):
        """Patterns that try a number at every length would take hours."""
        for text in ("1" * 200_000 + "x", "1." + "1" * 200_000 + "x", ":00." + "0" * 200_000):
            body = f"id=7&lat=1&lon=2&speed={text}&timestamp={text}".encode()
            assert isinstance(post(body, "application/x-www-form-urlencoded"), Rejected)

    @pytest.mark.parametrize(
        ("value", "kept"),
        [
            ("NaN", None),
            ("Infinity", None),
            ("-Infinity", None),
            ("1e999", None),
            ("null", None),
            ("1e3", 1000.0),
            ("9223372036854775807", 9223372036854775807),
            ("9223372036854775808", "9223372036854775808"),
            ("true", True),
            ("0", 0),
            ("1.0", 1.0),
            ('"007"', "007"),
            ('""', None),
            ('"a\\u0000b\\ud800"', "a\ufffdb\ufffd"),
            ("[1]", None),
            ("{}", None),
        ],
    )
    def test_json_values_beyond_json_are_nothing(self, value, kept):
        body = (
            '{"device_id":"d","location":{"coords":{"latitude":1,"longitude":2,"speed":%s,'
            '"altitude":%s},"odometer":%s,"extras":{"x":%s}}}' % ((value,) * 4)
        )
        event = post(body.encode())
        storable(event)
        got = event.fixes[0].telemetry.get("io_x")
        assert (got, type(got)) == (kept, type(kept))

    @pytest.mark.parametrize("value", ["NaN", "null"])
    def test_a_place_that_is_no_number_is_no_fix(self, value):
        body = PLACED.replace("VALUE", value)
        assert isinstance(post(body.encode()), Heartbeat)

    @pytest.mark.parametrize("value", ["1e999", '"x"', "[]", "true", "9" * 5000])
    def test_a_place_that_is_nonsense_is_refused(self, value):
        body = PLACED.replace("VALUE", value)
        assert isinstance(post(body.encode()), Rejected)


class TestIdentity:
    @given(st.text(min_size=1, max_size=80))
    @example("../../etc/passwd")
    @example("'; DROP TABLE position; --")
    @example("a\r\nSet-Cookie: x")
    @example("\0")
    @example("\ud800")
    @example("小明的手机")
    @example("\u202egnp.exe")
    @example("x" * 64)
    @example("x" * 65)
    @example("   ")
    def test_is_taken_as_it_is_or_not_at_all(self, ident):
        for event in (
            ask(f"id={quote(ident, errors='surrogatepass')}&lat=1&lon=2"),
            post(json.dumps({"device_id": ident, "location": {}}).encode()),
        ):
            storable(event)
            plain = ident.strip()
            if 0 < len(plain) <= 64 and plain.isprintable():
                assert event.device.ident == plain
            elif event.device is not None:  # octets that are no UTF-8 are shown as such
                assert "\ud800" <= ident <= "\udfff" or "\ufffd" in event.device.ident
            else:
                assert isinstance(event, Rejected)
                assert len(event.reason) <= 200

    def test_of_the_query_serves_json_that_names_none(self):
        event = post(b'{"location":{"coords":{"latitude":1,"longitude":2}}}', query="id=7")
        assert event.device.ident == "7"

    @pytest.mark.parametrize("value", [b"null", b"true", b'""', b"[]", b"{}", b'" "'])
    def test_must_be_one(self, value):
        event = post(b'{"device_id":%s,"location":{}}' % value)
        assert isinstance(event, Rejected)

    def test_each_request_of_a_link_has_its_own(self):
        subject = decoder("osmand")
        wire = b"".join(b"GET /?id=%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(3))
        devices = [event.device for event in subject.feed(wire, NOW)]
        assert devices == [DeviceIdentity(protocol="osmand", ident=str(n)) for n in range(3)]


NAMES = st.text(max_size=80)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
KEYS = [
    "timestamp", "coords", "is_moving", "odometer", "event", "mock", "activity", "battery",
    "alarm", "extras", "geofence", "latitude", "longitude", "speed", "level", "type", "action",
    "identifier", "device_id", "id", "location", "ignition", "power", "hours", "sat", "steps",
]  # fmt: skip
ODD = st.recursive(
    SCALARS | st.sampled_from(["2025-06-15T13:45:12Z", "sos", "ENTER", 1, -1, 91]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | NAMES, inner, max_size=8)
    ),
    max_leaves=20,
)


class TestWhatNobodyChose:
    @given(st.dictionaries(NAMES, VALUES, max_size=5))
    def test_extras_keep_their_types_under_names_that_are_allowed(self, extras):
        event = sent({"coords": {"latitude": 1, "longitude": 2}, "extras": extras})
        storable(event)
        (fix,) = event.fixes
        for name, value in extras.items():
            if (
                isinstance(value, bool)
                and name.isidentifier()
                and name.isascii()
                and len(name) < 60
            ):
                assert fix.telemetry.get("io_" + name, fix.telemetry.get(name, value)) == value

    @given(st.lists(st.tuples(NAMES, st.text(max_size=30)), max_size=8))
    def test_parameters_are_kept_under_names_that_are_allowed(self, said):
        query = "&".join(
            f"{quote(a, errors='surrogatepass')}={quote(b, errors='surrogatepass')}"
            for a, b in said
            if a not in ("id", "deviceid", "deviceId", "timestamp", "lat", "lon", "location")
        )
        event = ask(f"{query}&id=7&lat=1&lon=2")
        storable(event)
        assert isinstance(event, Report)

    @given(ODD)
    def test_json_of_any_shape_makes_an_event(self, body):
        for kind in ("application/json", "text/plain"):
            storable(post(json.dumps(body).encode(), kind))
        storable(sent(body))
        storable(sent({"coords": {"latitude": 1, "longitude": 2}, "extras": body, "battery": body}))

    @given(st.binary(max_size=200))
    def test_bodies_of_any_octets_make_an_event(self, body):
        for kind in ("application/json", "application/x-www-form-urlencoded"):
            storable(post(body, kind, "id=7"))

    @pytest.mark.parametrize("depth", [900, 5000, 60_000])
    @pytest.mark.parametrize("body", ["[", '{"a":', '{"location":', '[{"extras":'])
    def test_nesting_never_escapes(self, body, depth):
        closing = "".join({"[": "]", "{": "}"}[c] for c in reversed(body) if c in "[{")
        depth = min(depth, 250_000 // (len(body) + len(closing)))
        for wire in (body * depth, body * depth + "1" + closing * depth):
            event = post(wire.encode(), query="id=7")
            assert isinstance(event, Rejected | Heartbeat)

    def test_a_place_nested_as_deep_as_the_reader_goes(self):
        for depth in (50, 400, 900, 980):
            nest = b"[" * depth + b"]" * depth
            body = b'{"device_id":"d","location":{"timestamp":%s}}' % nest
            assert isinstance(post(body), Rejected)

    def test_a_compressed_body_that_unpacks_to_too_much(self):
        body = zlib.compress(b'{"device_id":"d","x":"' + b" " * 300_000 + b'"}')
        wire = b"POST / HTTP/1.1\r\nContent-Encoding: deflate\r\nContent-Length: %d\r\n\r\n" % len(
            body
        )
        (event,) = decode_message("osmand", wire + body)
        assert isinstance(event, Rejected)
        assert event.reason.startswith("HTTP 413: ")

    @given(st.text("abcdefghijklmnopqrstuvwxyzABC_, ", min_size=1, max_size=30))
    def test_an_alarm_is_always_raised(self, words):
        event = ask(f"id=7&alarm={quote(words)}")
        storable(event)
        if any(word.strip("_ ") for word in words.split(",")):
            assert event.alarms

    @pytest.mark.parametrize("alarm", Alarm)
    def test_every_alarm_can_be_named(self, alarm):
        camel = alarm.split("_")[0] + "".join(part.title() for part in alarm.split("_")[1:])
        for name in (alarm, camel, alarm.upper()):
            assert ask(f"id=7&alarm={name}").alarms == {alarm}


class TestStatus:
    def test_one_coordinate_is_no_place(self):
        assert isinstance(ask("id=7&lat=1&timestamp=1377177267"), Status)
        assert isinstance(ask("id=7&lon=1"), Heartbeat)

    @pytest.mark.parametrize("body", [b"[]", b'{"location":[]}', b'{"location":null}', b"{}"])
    def test_nothing_said_is_a_heartbeat(self, body):
        assert isinstance(post(body, query="id=7"), Heartbeat)

    @pytest.mark.parametrize(
        ("stamp", "time"),
        [
            ("2016-01-27T18:55:47+02:00", "2016-01-27T16:55:47"),  # the plus was not escaped
            ("2016-01-27T18:55:47.25%2B0200", "2016-01-27T16:55:47.250"),
            ("2016-01-27T18:55:47-05:30", "2016-01-28T00:25:47"),
            ("2016-01-27 18:55:47", "2016-01-27T18:55:47"),
            ("1453920947.5", "2016-01-27T18:55:47.500"),
            ("99999999999", "5138-11-16T09:46:39"),
            ("631152000000", "1990-01-01T00:00:00"),
        ],
    )
    def test_times(self, stamp, time):
        assert ask(f"id=7&timestamp={stamp}").time == datetime.fromisoformat(time + "+00:00")

    @pytest.mark.parametrize(
        "stamp", ["yesterday", "2016-13-01T00:00:00Z", "2016-01-27", "0001-01-01T00:00:00%2B14:00",
                  "9999-12-31T23:59:59-14:00", "1e15", "18:55:47 27.01.2016"],
    )  # fmt: skip
    def test_what_is_no_time_is_refused(self, stamp):
        assert isinstance(ask(f"id=7&lat=1&lon=2&timestamp={stamp}"), Rejected)

    def test_cells_and_access_points_that_make_no_sense_are_left_out(self):
        event = ask(
            "id=7&cell=257,02,16,2224,2147483647&cell=257,02,16,68719476735,-90.5&cell=a,b,c,d"
            "&cell=999,999,0,0,5&wifi=aa-bb-cc-dd-ee-ff&wifi=AA:BB:CC:DD:EE:0F,-61&wifi=x,-1"
        )
        assert [(cell.cid, cell.rssi_dbm) for cell in event.cells] == [
            (68719476735, -90),
            (0, None),
        ]
        assert [(ap.mac, ap.rssi_dbm) for ap in event.wifi] == [
            ("aa:bb:cc:dd:ee:ff", None),
            ("aa:bb:cc:dd:ee:0f", -61),
        ]

    def test_a_batch_keeps_its_order_and_every_time(self):
        start = datetime(2026, 1, 1, tzinfo=UTC)
        times = [start + timedelta(minutes=n) for n in (5, 1, 3)]
        batch = [
            {"timestamp": t.isoformat(), "coords": {"latitude": 1, "longitude": 2}} for t in times
        ]
        assert [fix.time for fix in sent(batch).fixes] == times
