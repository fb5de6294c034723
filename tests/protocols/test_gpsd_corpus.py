"""Captures of real receivers, read by us and by gpsd: one fix an epoch, and the same places.

    python -m tests.protocols.test_gpsd_corpus

prints the figures. gpsd reports several times in an epoch; its last report of each time counts.
"""

import json
import tomllib
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from model import Fix, Report
from tests.protocols.driver import NOW, SHARED, decoder

FOLDER = SHARED / "gpsd"
LOGS = sorted(FOLDER.glob("*.log"))
EXCEPTIONS: dict[str, dict[str, Any]] = tomllib.loads(
    (Path(__file__).parents[1] / "gpsd_exceptions.toml").read_text()
)
TOLERANCE_DEG = 1e-7
SHARE = 0.97

pytestmark = pytest.mark.skipif(not LOGS, reason=f"no captures: {FOLDER} is not there")


@dataclass(frozen=True, slots=True)
class Figures:
    log: str
    epochs: int  # distinct times of gpsd's located reports
    agreeing: int
    repeated: int  # of our fixes, those of a time that came before
    more: int  # times with a fix of ours and no located report of gpsd's

    @property
    def deviations(self) -> int:
        return self.epochs - self.agreeing


def fixes(path: Path, sizes: Random | None = None) -> list[Fix]:
    subject = decoder("nmea0183", ident="receiver")
    data, events = path.read_bytes(), []
    while data:
        size = sizes.randrange(1, 700) if sizes else len(data)
        events += subject.feed(data[:size], NOW)
        data = data[size:]
    events += subject.flush(NOW)
    return [fix for event in events if isinstance(event, Report) for fix in event.fixes]


def reports(path: Path) -> dict[datetime, tuple[float, float]]:
    """gpsd's last located report of each time, on the receiver's own calendar."""
    ahead = timedelta(days=EXCEPTIONS.get(path.name, {}).get("gpsd_ahead_days", 0))
    said = json.loads(path.with_name(path.name + ".json").read_text())["tpv"]
    return {
        datetime.fromisoformat(one["time"]) - ahead: (one["lat"], one["lon"])
        for one in said
        if "time" in one and "lat" in one and "lon" in one
    }


def figures(path: Path) -> Figures:
    ours = fixes(path)
    theirs = reports(path)
    # gpsd writes milliseconds.
    places = {
        fix.time.replace(microsecond=fix.time.microsecond // 1000 * 1000): fix for fix in ours
    }
    return Figures(
        log=path.name,
        epochs=len(theirs),
        agreeing=sum(
            time in places
            and abs(places[time].latitude_deg - latitude) < TOLERANCE_DEG
            and abs(places[time].longitude_deg - longitude) < TOLERANCE_DEG
            for time, (latitude, longitude) in theirs.items()
        ),
        repeated=len(ours) - len({fix.time for fix in ours}),
        more=len(places.keys() - theirs.keys()),
    )


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_one_fix_a_time_and_gpsds_places(path: Path):
    listed = EXCEPTIONS.get(path.name, {})
    found = figures(path)
    assert found.repeated == listed.get("repeated", 0)
    assert found.deviations == listed.get("deviations", 0)


def test_nearly_all_epochs_agree():
    found = [figures(path) for path in LOGS]
    epochs = sum(one.epochs for one in found)
    assert epochs > 1000
    assert sum(one.agreeing for one in found) >= SHARE * epochs


def test_every_exception_names_a_capture_and_says_why():
    assert set(EXCEPTIONS) <= {path.name for path in LOGS}
    assert all(len(one["reason"]) > 20 for one in EXCEPTIONS.values())


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_chunks_do_not_matter(path: Path):
    assert fixes(path, Random(path.stem)) == fixes(path)


def main() -> None:
    found = [figures(path) for path in LOGS]
    for one in found:
        note = EXCEPTIONS.get(one.log, {}).get("reason", "")
        print(
            f"{one.log:<36} {one.agreeing:4d} of {one.epochs:4d} epochs agree, "
            f"{one.repeated} repeated, {one.more} more than gpsd's  {note}"
        )
    epochs, agreeing = sum(f.epochs for f in found), sum(f.agreeing for f in found)
    print(f"{agreeing} of {epochs} epochs agree: {agreeing / epochs:.2%} in {len(found)} captures")


if __name__ == "__main__":
    main()
