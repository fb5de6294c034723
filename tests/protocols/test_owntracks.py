"""What must hold of OwnTracks over HTTP and MQTT beyond the vectors."""

import base64
import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nacl.secret import SecretBox

from model import DeviceIdentity, Heartbeat, Rejected, Report, Status
from protocols.base import ProtocolError
from protocols.owntracks import ACTIONS, MAX_BODY_BYTES, encode
from tests.protocols.driver import NOW, decode_message, decoder
from tests.protocols.test_osmand import NAMES, ODD, TIMES, VALUES, finite, storable

TOPIC = "owntracks/jane/phone"
PLACE = {"_type": "location", "lat": 1.5, "lon": 2.5, "tst": 1736161169, "tid": "jp"}
TYPES = [
    "location", "transition", "waypoint", "waypoints", "lwt", "status", "steps", "beacon", "card",
    "cmd", "configuration", "dump", "request", "encrypted", "teapot", "", None, 5, ["location"],
]  # fmt: skip


def mqtt(payload: bytes, ident: str | None = TOPIC, **profile) -> Any:
    """As the MQTT link does it: the payload whole, then its end."""
    subject = decoder("owntracks", ident, **profile)
    assert subject.feed(payload, NOW) == []
    assert subject.pending == bool(payload)
    (event,) = subject.flush(NOW)
    assert not subject.pending
    assert not subject.finished
    for accepted in (True, False):
        assert subject.reply_to(event, accepted=accepted, now=NOW) == b""
    return event


def post(body: bytes, *headers: str, target: str = "/", **profile) -> Any:
    lines = [f"POST {target} HTTP/1.1", "Host: x", *headers, f"Content-Length: {len(body)}"]
    (event,) = decode_message(
        "owntracks", "\r\n".join(lines).encode() + b"\r\n\r\n" + body, **profile
    )
    return event


def said(message) -> bytes:
    return json.dumps(message).encode()


class TestNumbers:
    @given(
        st.fixed_dictionaries(
            {"lat": finite(-90, 90), "lon": finite(-180, 180)},
            optional={
                "acc": finite(0, 1e6),
                "alt": finite(-9999, 1e6),
                "vac": finite(0, 1e6),
                "vel": finite(0, 1e4),
                "cog": finite(0, 359.99),
                "batt": finite(0, 100),
                "p": finite(0, 200),
                "m": st.integers(-1, 2),
            },
        ),
        TIMES,
    )
    def test_a_location_says_what_its_sender_meant(self, message, time):
        time = time.replace(microsecond=0)
        wire = said({"_type": "location", "tst": round(time.timestamp()), **message})
        (fix,) = mqtt(wire).fixes
        assert fix.time == time
        assert (fix.latitude_deg, fix.longitude_deg) == (message["lat"], message["lon"])
        assert (fix.accuracy_m, fix.altitude_m) == (message.get("acc"), message.get("alt"))
        assert fix.course_deg == message.get("cog")
        assert (fix.speed_mps is None) == ("vel" not in message)
        if "vel" in message:
            assert math.isclose(fix.speed_mps * 3.6, message["vel"], abs_tol=1e-9)
        assert fix.telemetry.get("vertical_accuracy_m") == message.get("vac")
        assert fix.telemetry.get("battery_percent") == message.get("batt")
        assert fix.telemetry.get("monitoring_mode") == message.get("m")
        if "p" in message:
            assert math.isclose(fix.telemetry["pressure_pa"], message["p"] * 1000)

    @pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "null", '"x"', "91", "9" * 400])
    def test_a_place_that_is_none_is_refused(self, value):
        wire = '{"_type":"location","tst":1,"lon":2,"lat":%s}'.replace("%s", value)
        assert isinstance(mqtt(wire.encode()), Rejected)

    @given(st.integers() | st.floats() | st.text(max_size=12) | st.none() | st.lists(st.none()))
    @example(10**30)
    @example(True)
    def test_any_tst_is_a_time_or_refused(self, tst):
        event = mqtt(json.dumps({**PLACE, "tst": tst}).encode())
        storable(event)
        assert isinstance(event, Report | Rejected)

    @given(
        st.integers(0, 999), st.integers(0, 999), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFF)
    )
    def test_cells_are_hexadecimal(self, mcc, mnc, lac, cid):
        message = {**PLACE, "mcc": mcc, "mnc": mnc, "lac": f"{lac:04X}", "cid": f"{cid:x}"}
        (cell,) = mqtt(said(message)).fixes[0].cells
        assert (cell.mcc, cell.mnc, cell.lac, cell.cid) == (mcc, mnc, lac, cid)

    def test_a_cell_that_is_none_is_kept_as_it_was_said(self):
        (fix,) = mqtt(said({**PLACE, "mcc": 232, "mnc": 1, "lac": "xyz", "cid": "1"})).fixes
        assert fix.cells == ()
        assert fix.telemetry["io_lac"] == "xyz"


class TestIdentity:
    @given(st.text(min_size=1, max_size=80))
    @example("../../etc/passwd")
    @example("'; DROP TABLE position; --")
    @example("a\r\nb")
    @example("\ud800")
    @example("x" * 65)
    def test_is_taken_as_it_is_or_not_at_all(self, ident):
        for event in (
            post(said({**PLACE, "topic": ident})),
            mqtt(said({**PLACE, "tid": ident}), ident=None),
        ):
            storable(event)
            if len(ident) <= 64 and ident.isprintable():
                assert event.device.ident == ident
                assert isinstance(event, Report)
            else:
                assert isinstance(event, Rejected)
                assert event.device is None

    @pytest.mark.parametrize(
        ("topic", "device"),
        [
            (TOPIC, TOPIC),
            (TOPIC + "/event", TOPIC),
            (TOPIC + "/status", TOPIC),
            (TOPIC + "/other", TOPIC + "/other"),
            ("owntracks/jane/event", "owntracks/jane/event"),
            ("a/b/c/d/waypoint", "a/b/c/d"),
            ("jane", "jane"),
        ],
    )
    def test_is_the_topic_without_what_the_app_appends(self, topic, device):
        assert post(said({**PLACE, "topic": topic})).device.ident == device

    def test_the_first_that_is_said_counts(self):
        basic = "Authorization: Basic " + base64.b64encode(b"basic:x").decode()
        limit = ("X-Limit-U: lu", "X-Limit-D: ld")
        target = "/pub?u=qu&d=qd"
        named = {**PLACE, "topic": "t/o/p"}
        for wanted, args, message in [
            ("t/o/p", (*limit, basic), named),
            ("lu/ld", (*limit, basic), PLACE),
            ("qu/qd", (basic,), PLACE),
        ]:
            assert post(said(message), *args, target=target).device.ident == wanted
        assert post(said(PLACE), basic, target="/pub").device.ident == "basic"
        assert post(said(PLACE), target="/pub?u=qu").device.ident == "qu"
        assert post(said(PLACE)).device.ident == "jp"

    def test_a_payload_cannot_speak_for_another_topic(self):
        assert mqtt(said({**PLACE, "topic": "owntracks/mallory/phone"})).device.ident == TOPIC


class TestWhatNobodyChose:
    @given(st.sampled_from(TYPES), st.dictionaries(NAMES, VALUES, max_size=6))
    def test_every_type_is_stored(self, kind, message):
        message = {**message, "_type": kind}
        for event in (mqtt(json.dumps(message).encode()), post(json.dumps(message).encode())):
            storable(event)
            wanted = Rejected if kind in ("location", "encrypted") else Status
            if event.device is not None and "lat" not in message:
                assert isinstance(event, wanted)

    @given(
        st.sampled_from(TYPES),
        st.dictionaries(
            st.sampled_from(
                ["lat", "lon", "tst", "t", "event", "acc", "vel", "cog", "batt", "bs", "conn", "m",
                 "inregions", "motionactivities", "SSID", "BSSID", "mcc", "mnc", "lac", "cid", "topic",
                 "tid", "configuration", "action", "data", "ign", "odometer", "android", "steps"]
            ),
            ODD | st.sampled_from(["enter", "w", 1.5, "l", "i"]),
        ),
    )  # fmt: skip
    def test_fields_of_any_shape_make_an_event(self, kind, message):
        message = json.dumps({**message, "_type": kind}).encode()
        storable(mqtt(message, secret="s"))
        storable(post(message, "X-Limit-U: a", "X-Limit-D: b"))

    @given(ODD)
    def test_json_of_any_shape_makes_an_event(self, body):
        storable(post(json.dumps(body).encode(), "X-Limit-U: a", "X-Limit-D: b"))
        storable(mqtt(json.dumps(body).encode()))

    @given(st.binary(min_size=1, max_size=100).filter(lambda data: not data[:1].isalpha()))
    @example(b"\xff\xfe")
    @example(b'"')
    @example(b"  ")
    @example(b"[")
    @example(b"[[1]]")
    def test_payloads_of_any_octets_are_kept(self, payload):
        subject = decoder("owntracks", TOPIC)
        events = subject.feed(payload, NOW) + subject.flush(NOW)
        assert b"".join(event.raw for event in events) == payload
        for event in events:
            assert isinstance(event, Rejected | Status | Heartbeat)
            storable(event)

    @pytest.mark.parametrize("payload", [b"POST", b"PUT / HTT", b"G", b"GET / HTTP/1.1\r\n"])
    def test_nor_is_what_looks_like_half_a_request_lost(self, payload):
        subject = decoder("owntracks", TOPIC)
        (event,) = subject.feed(payload, NOW) + subject.flush(NOW)
        device = DeviceIdentity(protocol="owntracks", ident=TOPIC)
        assert (event.raw, event.device) == (payload, device)

    @pytest.mark.parametrize("depth", [900, 5000, 200_000])
    @pytest.mark.parametrize("body", ["[", '{"a":', '{"_type":"encrypted","data":'])
    def test_nesting_never_escapes(self, body, depth):
        closing = "]" if body == "[" else "}"
        depth = min(depth, 1_000_000 // (len(body) + 1))
        for wire in (body * depth, body * depth + "1" + closing * depth):
            for event in (mqtt(wire.encode(), secret="s"), post(wire.encode(), "X-Limit-U: a")):
                assert isinstance(event, Rejected | Status)

    def test_nesting_within_what_was_encrypted(self):
        box = SecretBox(b"s".ljust(32, b"\0"))
        data = base64.b64encode(bytes(box.encrypt(b"[" * 100_000))).decode()
        event = mqtt(said({"_type": "encrypted", "data": data}), secret="s")
        assert event.reason == "JSON nested too deeply"

    def test_a_message_that_never_ends(self):
        subject = decoder("owntracks", TOPIC)
        events = [e for _ in range(300) for e in subject.feed(b"[" + b" " * 9999, NOW)]
        assert {type(event) for event in events} == {Rejected}
        assert len(events) == 300 * 10_000 // MAX_BODY_BYTES
        with pytest.raises(ProtocolError):
            decoder("owntracks").feed(b"[" * (MAX_BODY_BYTES + 1), NOW)


class TestMqtt:
    def test_an_empty_payload_is_nothing(self):
        """So a retained message is cleared."""
        subject = decoder("owntracks", TOPIC)
        assert subject.feed(b"", NOW) + subject.flush(NOW) == []

    @given(st.lists(st.sampled_from([said(PLACE), b"nonsense", b"\x00", b"{"]), max_size=5))
    def test_one_bad_payload_spoils_no_other(self, payloads):
        subject = decoder("owntracks", TOPIC)
        for payload in payloads:
            assert subject.feed(payload, NOW) == []
            (event,) = subject.flush(NOW)
            assert isinstance(event, Report if payload == said(PLACE) else Rejected)

    @given(st.lists(st.sampled_from([said(PLACE), b'{"_type":"lwt","tst":1}', b"[]"]), max_size=5))
    def test_a_recorded_stream_is_cut_into_its_messages(self, messages):
        subject = decoder("owntracks")
        wire = b"\n".join(messages)
        events = [e for octet in wire for e in subject.feed(bytes([octet]), NOW)]
        events += subject.flush(NOW)
        assert [event.raw.strip() for event in events] == messages


class TestEncrypted:
    @given(
        st.text(min_size=1, max_size=40).filter(lambda key: "\0" not in key and key.isprintable()),
        st.binary(min_size=24, max_size=24),
    )
    def test_is_read_with_the_devices_key_alone(self, key, nonce):
        secret = key.encode()
        if len(secret) > 32:
            event = mqtt(said({"_type": "encrypted", "data": ""}), secret=key)
            assert event.reason == "the key of this device is over 32 bytes"
            return
        sealed = SecretBox(secret.ljust(32, b"\0")).encrypt(said(PLACE), nonce)
        message = said({"_type": "encrypted", "data": base64.b64encode(bytes(sealed)).decode()})
        event = mqtt(message, secret=key)
        assert event.fixes[0].latitude_deg == 1.5
        assert event.raw == message
        for wrong in (None, "other" + key[:10]):
            refused = mqtt(message, secret=wrong)
            assert (refused.raw, refused.device.ident) == (message, TOPIC)
            assert isinstance(refused, Rejected)
            assert refused.reason.startswith("encrypted")

    @given(st.binary(max_size=80))
    def test_damage_is_refused(self, data):
        text = base64.b64encode(data).decode()
        for broken in (text, text[1:], "ü" + text):
            event = mqtt(said({"_type": "encrypted", "data": broken}), secret="s")
            assert isinstance(event, Rejected)

    @pytest.mark.parametrize("inside", [b"[]", b"5", b"\xff", b'{"_type":"encrypted","data":""}'])
    def test_what_was_encrypted_must_be_a_message(self, inside):
        sealed = SecretBox(b"s".ljust(32, b"\0")).encrypt(inside)
        message = {"_type": "encrypted", "data": base64.b64encode(bytes(sealed)).decode()}
        assert isinstance(mqtt(said(message), secret="s"), Rejected)


class TestArrays:
    def test_one_bad_message_does_not_hold_back_the_others(self):
        event = post(said([{**PLACE, "lat": 99}, PLACE, {"_type": "lwt"}]))
        assert [fix.latitude_deg for fix in event.fixes] == [1.5]
        assert isinstance(post(said([{**PLACE, "lat": 99}])), Rejected)

    def test_nothing_in_it_is_a_heartbeat(self):
        assert isinstance(mqtt(b"[]"), Heartbeat)


class TestSettingsOfAPhone:
    def test_its_secrets_are_in_no_telemetry(self):
        settings = {"_type": "configuration", "password": "pw", "encryptionKey": "pw", "ping": 30}
        for message in (settings, {"_type": "dump", "configuration": settings},
                        {"_type": "cmd", "action": "setConfiguration", "configuration": settings},
                        {"_type": "teapot", "configuration": settings}):  # fmt: skip
            event = mqtt(said(message))
            assert "pw" not in event.telemetry.values()


class TestCommands:
    def test_report_location(self):
        assert encode("reportLocation") == b'{"_type":"cmd","action":"reportLocation"}'

    def test_set_configuration(self):
        command = json.loads(encode("setConfiguration", monitoring=2, locatorInterval=60))
        assert command == {
            "_type": "cmd",
            "action": "setConfiguration",
            "configuration": {"_type": "configuration", "monitoring": 2, "locatorInterval": 60},
        }

    def test_set_waypoints(self):
        command = json.loads(encode("setWaypoints", waypoints=[{"_type": "waypoint", "desc": "x"}]))
        assert command["waypoints"]["waypoints"][0]["desc"] == "x"

    def test_steps_of_a_time(self):
        command = json.loads(encode("reportSteps", **{"from": 1, "to": 2}))
        assert command == {"_type": "cmd", "action": "reportSteps", "from": 1, "to": 2}

    @pytest.mark.parametrize("action", sorted(ACTIONS))
    def test_a_phones_echo_of_one_is_a_status(self, action):
        assert mqtt(encode(action)).telemetry == {"io_type": "cmd", "io_action": action}

    def test_what_is_none_is_an_error(self):
        with pytest.raises(ValueError, match="no such action"):
            encode("selfDestruct")
        with pytest.raises(ValueError, match="not a setting of reports: password"):
            encode("setConfiguration", password="x")
        with pytest.raises(ValueError, match="JSON"):
            encode("setConfiguration", ping=math.nan)
