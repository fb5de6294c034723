"""Brokers' URLs, and topics that name devices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.transports.mqtt_settings import filters_of, identity_of, settings_from


def test_a_url_says_it_all():
    settings = settings_from(
        "mqtt://us%40er:p%3Ass@broker:1884", "gt06", client_id="a", group="g", environ={}
    )
    assert (settings.host, settings.port, settings.protocol) == ("broker", 1884, "gt06")
    assert (settings.username, settings.password) == ("us@er", "p:ss")
    assert (settings.client_id, settings.group, settings.secure) == ("a", "g", None)


def test_credentials_come_from_the_environment_where_the_url_has_none():
    environ = {"TRUETRACK_MQTT_USERNAME": "u", "TRUETRACK_MQTT_PASSWORD": "p"}
    settings = settings_from("mqtt://broker", "gt06", client_id="a", environ=environ)
    assert (settings.username, settings.password) == ("u", "p")
    settings = settings_from("mqtt://v:q@broker", "gt06", client_id="a", environ=environ)
    assert (settings.username, settings.password) == ("v", "q")


def test_the_ports_are_those_of_the_scheme():
    assert settings_from("mqtt://b", "gt06", client_id="a", environ={}).port == 1883
    secure = settings_from("mqtts://b", "gt06", client_id="a", environ={})
    assert secure.port == 8883
    assert secure.secure is not None
    assert secure.secure.check_hostname


def test_a_password_is_not_shown():
    settings = settings_from("mqtt://u:hidden@b", "gt06", client_id="a", environ={})
    assert "hidden" not in repr(settings)


@pytest.mark.parametrize(
    ("url", "more", "complaint"),
    [
        ("http://b", {}, "expected mqtt://HOST:PORT"),
        ("mqtt://", {}, "expected mqtt://HOST:PORT"),
        ("mqtt://u:hidden@b/topic", {}, "expected mqtt://HOST:PORT"),
        ("mqtt://u:hidden@b:port", {}, "port must be a number"),
        ("mqtt://u:hidden@b?qos=2", {}, "unknown qos; known: ca"),
        ("mqtt://b?ca=x", {}, "ca is for mqtts"),
        ("mqtts://u:hidden@b?ca=/nowhere", {}, "ca=/nowhere"),
        ("mqtt://b", {"client_id": ""}, "identifier must not be empty"),
        ("mqtt://b", {"group": "a/b"}, "not a group's name"),
        ("mqtt://b", {"max_inflight": 0}, "max_inflight must be at least 1"),
    ],
)
def test_a_wrong_url_is_refused_with_a_reason(url, more, complaint):
    with pytest.raises(ValueError, match=complaint) as caught:
        settings_from(url, "gt06", **{"client_id": "a", "environ": {}, **more})
    assert "hidden" not in str(caught.value)


def test_what_is_subscribed_to_follows_the_protocol():
    assert filters_of("owntracks", None) == ["owntracks/+/+", "owntracks/+/+/+"]
    assert filters_of("nmea0183", None) == ["nmea/+"]
    assert filters_of("gt06", "fleet") == ["$share/fleet/frames/gt06/+"]


@pytest.mark.parametrize(
    ("protocol", "topic", "found"),
    [
        ("owntracks", "owntracks/ann/phone", ("owntracks/ann/phone", "owntracks/ann/phone")),
        ("owntracks", "owntracks/ann/phone/event", ("owntracks/ann/phone", "owntracks/ann/phone")),
        ("owntracks", "owntracks/ann/phone/cmd", None),
        ("nmea0183", "nmea/boat", ("nmea/boat", "boat")),
        ("gt06", "frames/gt06/863586034567890", ("frames/gt06/863586034567890", "863586034567890")),
        ("gt06", "frames/gt06/", None),
        ("gt06", "frames/gt06/a\x07b", None),
        ("gt06", "frames/gt06/" + "9" * 65, None),
    ],
)
def test_a_topic_names_its_device(protocol, topic, found):
    assert identity_of(protocol, topic) == found


@given(st.sampled_from(["owntracks", "nmea0183", "gt06"]), st.text(max_size=200))
def test_no_topic_makes_an_identity_that_cannot_be(protocol, topic):
    found = identity_of(protocol, topic)
    assert found is None or (0 < len(found[1]) <= 64 and found[1].isprintable())
