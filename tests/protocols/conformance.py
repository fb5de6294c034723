"""Real messages, read by us and by the reference: the same fixes in the same places?

    python -m tests.protocols.conformance gt06 [--all]

prints each message that differs, and how. The rules are those of the vectors' README.
"""

import json
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model import CommandResult, Event, Fix, Heartbeat, Login, Report, Status
from protocols.base import ProtocolError
from tests.protocols.driver import NOW, SHARED, decode_message, decoder

MPS_PER_KNOT = 1852 / 3600
DEVICE = "123456789012345"
# Vector file -> protocol; the same name where it is not listed.
FILES = {
    "gt06": "gt06",
    "h02": "h02",
    "t55": "nmea0183",
    "osmand": "osmand",
    "owntracks": "owntracks",
}
EXCEPTIONS = Path(__file__).parents[1] / "conformance_exceptions.toml"


def same(value: Any) -> Any:
    return value


def over(divisor: float) -> Callable[[Any], Any]:
    return lambda value: value / divisor


# The reference's attribute -> our term, and its unit turned into ours.
TERMS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "ignition": ("ignition", same),
    "charge": ("charging", same),
    "blocked": ("blocked", same),
    "armed": ("armed", same),
    "batteryLevel": ("battery_percent", same),
    "battery": ("battery_v", same),
    "power": ("external_v", same),
    "odometer": ("odometer_m", same),
    "adc1": ("adc_1_v", same),
    "adc2": ("adc_2_v", same),
    "hours": ("engine_hours_s", over(1000)),
    "iccid": ("iccid", str),
    "driverUniqueId": ("driver_id", str),
    "temp1": ("temperature_c", same),
    "humidity": ("humidity_percent", same),
    "steps": ("steps", same),
    "motion": ("motion", same),
    "fuelUsed": ("fuel_used_l", same),
    "coolantTemp": ("coolant_c", same),
    "obdSpeed": ("obd_speed_mps", over(3.6)),
    "rpm": ("engine_rpm", same),
    "activity": ("activity", same),
    "satVisible": ("satellites_in_view", same),
    "operator": ("operator", same),
    "input": ("inputs", same),
    "output": ("outputs", same),
    "door": ("door", same),
    "externalBatteryLevel": ("external_percent", same),
    "vdop": ("vdop", same),
}
"""Those whose meaning and unit are one for all protocols."""


@dataclass(frozen=True, slots=True)
class Difference:
    id: str
    what: tuple[str, ...]
    listed: str | None  # the reason, when it is a known exception


def rows(file: str, kind: str) -> list[dict[str, Any]]:
    path = SHARED / "traccar" / f"{file}.jsonl"
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [row for row in found if row["kind"] == kind]


def exceptions(protocol: str) -> dict[str, str]:
    listed: dict[str, str] = tomllib.loads(EXCEPTIONS.read_text()).get(protocol, {})
    return listed


def differences(file: str) -> list[Difference]:
    listed = exceptions(FILES[file])
    found = []
    for row in rows(file, "message"):
        what = tuple(compare(file, row))
        if what or row["id"] in listed:
            found.append(Difference(row["id"], what, listed.get(row["id"])))
    return found


def model_of(row: dict[str, Any]) -> str | None:
    """The device model in force: the setup lists every override so far, the newest last."""
    setup = row.get("setup") or []
    return setup[-1].split('"')[1] if setup else None


def compare(file: str, row: dict[str, Any]) -> Iterator[str]:
    """How our reading of one message differs; nothing when it conforms."""
    try:
        events = decode_message(
            FILES[file], bytes.fromhex(row["wire_hex"]), ident=DEVICE, model=model_of(row)
        )
    except ProtocolError as error:
        events = []
        yield f"ProtocolError: {error}"
    ours = [fix for event in events if isinstance(event, Report) for fix in event.fixes]
    positions = row["expect"]["positions"]
    theirs = [p for p in positions if p["fix_time"] is not None and not p.get("outdated")]
    if len(ours) != len(theirs):
        yield f"{len(ours)} fixes, the reference has {len(theirs)} ({[type(e).__name__ for e in events]})"
        return
    for fix, position in zip(ours, theirs, strict=True):
        relative = bool(row.get("time_relative") or row["expect"].get("time_relative"))
        yield from compare_fix(fix, position, relative=relative)
        yield from compare_attributes({"satellites": fix.satellites, **fix.telemetry}, position)
    if not theirs and positions:
        yield from compare_attributes(telemetry_of(events), positions[0])


def telemetry_of(events: list[Event]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for event in events:
        if isinstance(event, Status | Heartbeat | Login):
            said.update(event.telemetry)
        if isinstance(event, CommandResult):
            said["result"] = event.text
    return said


def compare_fix(fix: Fix, position: dict[str, Any], *, relative: bool) -> Iterator[str]:
    if not relative:
        time = fix.time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{fix.time.microsecond // 1000:03d}Z"
        if time != position["fix_time"]:
            yield f"time {time}, reference {position['fix_time']}"
    if fix.valid != position["valid"]:
        yield f"valid {fix.valid}, reference {position['valid']}"
    for name, ours, theirs, tolerance in (
        ("latitude", fix.latitude_deg, position["lat"], 1e-5),
        ("longitude", fix.longitude_deg, position["lon"], 1e-5),
        ("speed", fix.speed_mps or 0, position["speed_knots"] * MPS_PER_KNOT, 0.2),
        ("altitude", fix.altitude_m or 0, position["altitude"], 1),
    ):
        if abs(ours - theirs) > tolerance:
            yield f"{name} {ours}, reference {theirs}"
    course = abs((fix.course_deg or 0) - position["course"]) % 360
    if min(course, 360 - course) > 1:
        yield f"course {fix.course_deg}, reference {position['course']}"


def compare_attributes(said: dict[str, Any], position: dict[str, Any]) -> Iterator[str]:
    """What the reference states and we have a name for must be stated by us, and be equal."""
    for name, theirs in position["attributes"].items():
        if name == "sat":
            if "satellites" in said and said["satellites"] != theirs:
                yield f"satellites {said['satellites']}, reference {theirs}"
            continue
        if name not in TERMS:
            continue
        term, convert = TERMS[name]
        wanted, ours = convert(theirs), said.get(term)
        alike = ours == wanted
        if isinstance(wanted, int | float) and isinstance(ours, int | float):
            alike = abs(ours - wanted) <= 1e-6 * max(1, abs(wanted))
        if not alike:
            yield f"{term} {ours}, reference {wanted}"


def cut(file: str, row: dict[str, Any]) -> str | None:
    """A framing case: the first frame we cut out of the bytes, in hex."""
    subject = decoder(FILES[file], DEVICE)
    wire = bytes.fromhex(row["wire_hex"])
    events = [*subject.feed(wire, NOW), *subject.flush(NOW)]
    return events[0].raw.hex() if events else None


def main() -> None:
    """Print the differences of the vector files named, or of all."""
    names = [name for name in sys.argv[1:] if not name.startswith("-")] or list(FILES)
    for file in names:
        total, found = len(rows(file, "message")), differences(file)
        for one in found:
            if one.listed is None or "--all" in sys.argv:
                print(
                    f"{one.id}: {'; '.join(one.what)}" + (f"  [{one.listed}]" if one.listed else "")
                )
        frames = rows(file, "frame")
        for row in frames:
            if (ours := cut(file, row)) != row["expect"]["frame_hex"]:
                print(f"{row['id']}: frame {ours}, reference {row['expect']['frame_hex']}")
        unlisted = sum(one.listed is None for one in found)
        print(
            f"{file}: {total - len(found)} of {total} conform, {len(found) - unlisted} listed, "
            f"{unlisted} unexplained; {len(frames)} framing cases"
        )


if __name__ == "__main__":
    main()
