"""`truetrack redecode`: a better reader makes more of the archive, and nothing is lost or doubled."""

from datetime import timedelta

import psycopg
import pytest

from model import Rejected
from tests.cli.conftest import one_line
from tests.cli.receiver import capture, epoch
from tests.cli.rows import decoded, store
from tests.protocols.driver import NOW, decode_message

pytestmark = pytest.mark.usefixtures("toy_protocol")


@pytest.fixture
def redecode(truetrack, postgres_url):
    return lambda *arguments: truetrack("redecode", "--database-url", postgres_url, *arguments)


def positions(url: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT ident, latitude, longitude, time FROM api_v1.positions ORDER BY 1, 4, 2"
        ).fetchall()


def once_rejected(url: str, *frames: bytes) -> None:
    """Frames of device 7 that the decoder of then could not read."""
    store(url, decoded("toy", b"7,0,0;"))
    device = decoded("toy", b"7,0,0;")[0].device
    store(url, [Rejected(raw=raw, device=device, reason="unknown type") for raw in frames])


def test_what_was_rejected_is_read(redecode, postgres_url):
    once_rejected(postgres_url, b"7,1,2;", b"7,3,4;", b"rubbish;")
    (dry,) = redecode("--dry-run").records
    assert dry["positions"] is None
    assert dry["changed"] == {"rejected -> report": 2}
    assert len(positions(postgres_url)) == 1

    (said,) = redecode().records
    assert (said["frames"], said["positions"], said["superseded"]) == (4, 2, 0)
    assert said["changed"] == {"rejected -> report": 2}
    assert [row[:3] for row in positions(postgres_url)] == [
        ("7", 0.0, 0.0), ("7", 1.0, 2.0), ("7", 3.0, 4.0),
    ]  # fmt: skip


def test_doing_it_again_changes_nothing(redecode, postgres_url):
    once_rejected(postgres_url, b"7,1,2;")
    redecode()
    before = positions(postgres_url)
    (said,) = redecode().records
    assert (said["positions"], said["superseded"]) == (0, 0)
    assert positions(postgres_url) == before


def test_only_what_is_asked_for(redecode, postgres_url):
    once_rejected(postgres_url, b"7,1,2;")
    store(postgres_url, decoded("toy", b"8,5,6;"), received_at=NOW + timedelta(days=1))
    assert redecode("--device", "8", "--dry-run").records[0]["frames"] == 1
    assert redecode("--rejected", "--dry-run").records[0]["frames"] == 1
    assert redecode("--since", "2026-01-03T00:00Z", "--dry-run").records[0]["frames"] == 1
    assert redecode("--until", "2026-01-03", "--dry-run").records[0]["frames"] == 2
    assert redecode("--source", "trackers", "--dry-run").records[0]["frames"] == 3
    assert redecode("--source", "others", "--dry-run").records[0]["frames"] == 0


def test_a_device_that_was_entered_since(redecode, truetrack, postgres_url):
    store(postgres_url, [Rejected(raw=b"9,1,2;", device=None, reason="unknown type")])
    assert redecode().records[0]["positions"] == 0
    truetrack("devices", "add", "toy", "9", "--database-url", postgres_url)
    assert redecode().records[0]["positions"] == 1
    assert [row[:3] for row in positions(postgres_url)] == [("9", 1.0, 2.0)]


def test_frames_that_cannot_be_read_are_left_as_they_are(redecode, postgres_url):
    store(postgres_url, decoded("toy", b"7,0,0;"), decoder="gone/1")
    once_rejected(postgres_url, b"!;")
    (said,) = redecode().records
    assert set(said["unread"].values()) == {1}
    assert any("unknown protocol 'gone'" in reason for reason in said["unread"])
    assert "the device talks nonsense" in said["unread"]
    assert said["superseded"] == 0


def test_a_device_s_settings_decide_how_it_is_read(redecode, truetrack, postgres_url):
    store(postgres_url, decoded("toy", b"7,39.9,116.4;"))
    truetrack("devices", "set", "7", "datum=gcj02", "--database-url", postgres_url)
    (said,) = redecode().records
    assert (said["positions"], said["superseded"]) == (1, 1)
    ((_, latitude, longitude, _),) = positions(postgres_url)
    assert latitude == pytest.approx(39.8986, abs=1e-3)
    assert longitude == pytest.approx(116.3938, abs=1e-3)


def test_the_same_decoder_reads_the_same_again(redecode, postgres_url):
    """Whole captures of receivers: epochs, dates carried over, satellites."""
    for name in ("ublox-8", "bu353s4", "gr601-w"):
        events = decoded("nmea0183", capture(name).read_bytes(), ident=name)
        store(postgres_url, events, decoder="nmea0183/0")
    before = positions(postgres_url)
    assert {row[0] for row in before} == {"ublox-8", "bu353s4", "gr601-w"}
    (said,) = redecode().records
    assert said["changed"] == {}
    assert (said["positions"], said["superseded"]) == (0, 0)
    assert positions(postgres_url) == before


def test_a_report_for_people(redecode, postgres_url):
    once_rejected(postgres_url, b"7,1,2;")
    assert redecode("--table").out.splitlines() == [
        "2 frames read",
        "1 new positions",
        "0 old positions superseded, now in quarantine",
        "1 frames: rejected -> report",
    ]


def test_wrong_filters(redecode):
    assert redecode("--protocol", "toy").code == 2
    said = redecode("--device", "404")
    assert said.code == 1
    assert "no device 404" in one_line(said)


def test_a_damaged_sentence_stays_damaged(redecode, postgres_url):
    """Read alone, it could pass for one of a tracker that computes its checksums otherwise."""
    (event,) = decode_message("nmea0183", epoch(1), ident="boat")
    torn = event.raw.replace(b"*", b"*F", 1)
    wrong = Rejected(raw=torn, device=event.device, reason="wrong checksum")
    store(postgres_url, [wrong, event], decoder="nmea0183/0")
    (said,) = redecode().records
    assert (said["positions"], said["superseded"]) == (0, 0)
    assert said["unread"] == {"wrong checksum": 1}
