"""Configuration: what is right is read, what is wrong names its key and says what was expected."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Config, default, from_table, load
from gateway.errors import ConfigError
from gateway.source import Limits
from model.device import DevicePolicy
from protocols.base import Datum

SOURCE = {"protocol": "gt06", "listen": ["tcp://0.0.0.0:5023"]}


def test_a_whole_file(tmp_path: Path):
    file = tmp_path / "truetrack.toml"
    file.write_text("""
        policy = "register"
        data_dir = "/var/lib/truetrack"
        drain_s = 5
        [retention]
        frame_days = 90
        [sources.trackers]
        protocol = "gt06"
        listen = ["tcp://0.0.0.0:5023", "tls://0.0.0.0:5024", "udp://[::]:5023"]
        tls = { certificate = "a.pem", key = "a.key" }
        limits = { idle_s = 900, connections = 10 }
        [sources.trackers.profile]
        datum = "gcj02"
        [sources.boat]
        protocol = "nmea0183"
        open = "serial:///dev/ttyUSB0?baud=9600"
        [sources.owntracks]
        connect = "mqtts://broker.example"
        group = "a"
    """)
    read = load(file)
    assert read.policy is DevicePolicy.REGISTER
    assert read.data_dir == Path("/var/lib/truetrack")
    assert read.drain_s == 5.0
    assert read.retention.frame_days == 90
    trackers = read.sources["trackers"]
    assert trackers.profile.datum is Datum.GCJ02
    assert trackers.limits.idle_s == 900.0
    assert trackers.limits.outstanding == Limits().outstanding
    assert read.sources["boat"].open.startswith("serial:")


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"polcy": "known"}, "polcy: unknown key; known here: data_dir,"),
        ({"policy": "open"}, "policy: 'open' is not one of known, register"),
        ({"drain_s": "5"}, "drain_s: expected a number, not '5'"),
        ({"drain_s": -1}, "drain_s: must not be negative"),
        ({"spool_bytes": True}, "spool_bytes: expected a whole number, not True"),
        ({"health": "https://x:1"}, "health: 'https://x:1' is not http://HOST:PORT"),
        ({"sources": []}, "sources: expected tables [sources.NAME]"),
        ({"sources": {"a": {"listen": ["tcp://h:1"]}}}, "sources.a.protocol: unknown protocol 'a'; there are: "),
        ({"sources": {"gt06": {}}}, "sources.gt06: no way in; expected listen"),
        ({"sources": {"gt06": {"listen": "tcp://h:1"}}}, "sources.gt06.listen: expected a list"),
        ({"sources": {"gt06": {"listen": ["tcp://h"]}}}, "sources.gt06.listen[0]: 'tcp://h' is not tcp://HOST:PORT or udp://"),
        ({"sources": {"gt06": {"listen": ["tcp://h:99999"]}}}, "sources.gt06.listen[0]: "),
        ({"sources": {"gt06": {"listen": ["tls://h:1"]}}}, "sources.gt06.tls: a tls:// listener needs certificate and key"),
        ({"sources": {"gt06": {"open": "tcp://h:1"}}}, "sources.gt06.open: 'tcp://h:1' is not serial://..."),
        ({"sources": {"gt06": {**SOURCE, "limits": {"idle": 1}}}}, "sources.gt06.limits.idle: unknown key; known here: idle_s"),
        ({"sources": {"gt06": {**SOURCE, "profile": {"datum": "utm"}}}}, "sources.gt06.profile.datum: 'utm' is not one of wgs84"),
        ({"sources": {"gt06": SOURCE, "b": SOURCE}}, "sources.b.listen[0]: tcp://0.0.0.0:5023 is taken by sources.gt06"),
        ({"database_url": "env:NOT_THERE"}, "database_url: the environment has no NOT_THERE"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(table, told):
    with pytest.raises(ConfigError) as error:
        from_table(table, environ={})
    assert str(error.value).startswith(told)


def test_secrets_come_from_the_environment():
    read = from_table({"database_url": "env:URL"}, environ={"URL": "postgresql:///x"})
    assert read.database_url == "postgresql:///x"


@pytest.mark.parametrize(
    ("text", "told"),
    [("a = ", "Invalid value"), ("", "sources: there is none"), ("\x00", "Invalid statement")],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, text, told):
    file = tmp_path / "t.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=told) as error:
        load(file)
    assert str(error.value).startswith(str(file))
    with pytest.raises(ConfigError, match="No such file"):
        load(tmp_path / "missing.toml")


def test_the_default_is_reached_from_this_machine_only():
    read = default()
    ways = [url for source in read.sources.values() for url in source.listen]
    assert ways
    assert all("//127.0.0.1:" in url for url in ways)
    assert len(ways) == len(set(ways))
    assert read.policy is DevicePolicy.KNOWN


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from([*Config.__slots__, "gt06", "listen", "x"]), inner, max_size=3),
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(sorted(Config.__slots__)), values, max_size=4))
def test_whatever_the_file_says_the_error_is_a_config_error(table):
    try:
        from_table(table, environ={})
    except ConfigError as error:
        assert str(error)
