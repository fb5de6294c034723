"""The register at the command line, on a real database."""

import pytest

from model.device import DevicePolicy
from tests.cli.conftest import one_line
from tests.cli.rows import decoded, store

pytestmark = pytest.mark.usefixtures("toy_protocol")


@pytest.fixture
def devices(truetrack, postgres_url):
    return lambda *arguments: truetrack("devices", *arguments, "--database-url", postgres_url)


def test_the_life_of_a_device(devices, postgres_url):
    (added,) = devices("add", "toy", "7", "--name", "Van 7", "--set", "datum=gcj02").records
    assert added["state"] == "active"
    assert (added["protocol"], added["ident"], added["name"]) == ("toy", "7", "Van 7")
    assert added["settings"] == {"datum": "gcj02"}
    assert added["latest_time"] is None

    store(postgres_url, decoded("toy", b"7,1.5,2.5;"))
    (shown,) = devices("show", "7").records
    assert shown["latest_time"] == shown["latest_received_at"] == "2026-01-02T03:04:05.000Z"
    assert (shown["latitude_deg"], shown["longitude_deg"]) == (1.5, 2.5)

    (changed,) = devices("set", "7", "datum=", "model=x", "speed_unit=kph", "--name", "").records
    assert changed["settings"] == {"model": "x", "speed_unit": "kph"}
    assert changed["name"] is None

    (retired,) = devices("retire", "7").records
    assert retired["state"] == "retired"
    assert [r["ident"] for r in devices("list", "--state", "retired").records] == ["7"]
    assert devices("list", "--state", "active").records == []
    (active,) = devices("adopt", "7").records
    assert active["state"] == "active"


def test_a_stranger_is_adopted_or_forgotten(devices, postgres_url):
    for ident in ("8", "9"):
        store(postgres_url, decoded("toy", f"{ident},1,2;".encode()), policy=DevicePolicy.KNOWN)
    strangers = devices("list", "--state", "quarantined").records
    assert [r["ident"] for r in strangers] == ["8", "9"]
    assert devices("adopt", "8").code == 0
    assert devices("forget", "9").records == [{"protocol": "toy", "ident": "9"}]
    assert [(r["ident"], r["state"]) for r in devices("list").records] == [("8", "active")]
    said = devices("forget", "8")
    assert said.code == 1
    assert "not in quarantine" in one_line(said)


def test_two_devices_of_one_number(devices):
    devices("add", "toy", "7")
    devices("add", "h02", "7")
    said = devices("show", "7")
    assert said.code == 2
    assert "7 is a device of h02, toy: choose with --protocol" in one_line(said)
    assert devices("show", "7", "--protocol", "h02").records[0]["protocol"] == "h02"
    assert devices("retire", "7", "--protocol", "toy").code == 0
    assert devices("show", "7", "--protocol", "h02").records[0]["state"] == "active"


def test_a_secret_is_not_shown(devices):
    devices("add", "toy", "7", "--set", "secret=hunter2")
    for arguments in (["list"], ["show", "7"], ["show", "7", "--table"], ["list", "--table"]):
        said = devices(*arguments)
        assert "hunter2" not in said.out + said.err
        assert "***" in said.out


def test_tables(devices):
    devices("add", "toy", "7", "--name", "[red]\x1b[2J")
    shown = devices("list", "--table").out
    assert "active" in shown
    assert "[red]" in shown
    assert "\x1b" not in shown
    assert devices("show", "7", "--table").out.splitlines()[1] == "protocol             toy"


CANNOT_BE = [
    (["show", "404"], 1, "no device 404; `truetrack devices list` shows them"),
    (["adopt", "404", "--protocol", "toy"], 1, "no toy device 404"),
    (["add", "nothing", "1"], 2, "unknown protocol 'nothing'"),
    (["add", "toy", "1", "--set", "colour=red"], 2, "'colour=red' is none of model=..."),
    (["add", "toy", "1", "--set", "datum=mars"], 2, "'mars' is not a valid Datum"),
    (["add", "toy", "x" * 65], 2, "not a device's identity"),
    (["set", "1"], 2, "nothing to set"),
    (["list", "--state", "lost"], 2, "'lost' is not one of"),
]


def test_what_cannot_be(devices):
    for arguments, code, says in CANNOT_BE:
        said = devices(*arguments)
        assert said.code == code, arguments
        assert says in one_line(said)


def test_a_device_is_added_once(devices):
    assert devices("add", "toy", "7").code == 0
    said = devices("add", "toy", "7")
    assert said.code == 1
    assert "there is a toy device 7 already" in one_line(said)
