"""What one position's worth of a request said, in either form, and what becomes of it."""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from model import Alarm, Cell, Fix, FixSource, Scalar, TimeSource, WifiAp
from protocols.fields import extra_name, scalar, within

MAX_TEXT = 4096  # characters of one value; more stays in the archived frame only

# [Traccar] names alarms in camel case: `powerCut` is our `power_cut`. These have other names.
ALARMS = {alarm.replace("_", ""): alarm for alarm in Alarm} | {
    "accident": Alarm.COLLISION,
    "falldown": Alarm.FALL,
    "fatiguedriving": Alarm.FATIGUE,
    "gpsantennacut": Alarm.GNSS_ANTENNA,
    "hardacceleration": Alarm.HARSH_ACCELERATION,
    "hardbraking": Alarm.HARSH_BRAKING,
    "hardcornering": Alarm.HARSH_CORNERING,
    "lowpower": Alarm.LOW_EXTERNAL,
    "removing": Alarm.REMOVED,
    "tampering": Alarm.TAMPER,
}


class Said:
    """What one position's worth of a request said, in either form."""

    __slots__ = (
        "alarms", "cells", "ident", "latitude", "longitude", "mock", "numbers", "speed",
        "telemetry", "time", "valid", "wifi", "wrong",
    )  # fmt: skip

    def __init__(self) -> None:
        self.ident: str | None = None
        self.time: datetime | None = None
        self.latitude: float | None = None
        self.longitude: float | None = None
        self.valid = True
        self.wrong: ValueError | None = None  # a place or time that is none
        self.mock: bool | None = None
        self.speed: float | None = None  # of form 1, in its sender's unit
        self.numbers: dict[str, Any] = {}  # of a Fix, by field
        self.telemetry: dict[str, Scalar] = {}
        self.alarms: set[Alarm] = set()
        self.cells: list[Cell] = []
        self.wifi: list[WifiAp] = []

    def number(self, field: str, value: object, low: float, high: float) -> None:
        found = within(value, low, high)
        if found is not None:
            self.numbers[field] = found

    def term(self, name: str, value: Scalar | None) -> None:
        if value is not None:
            self.telemetry[name] = value

    def raise_alarms(self, words: str) -> None:
        for word in words.split(","):
            plain = re.sub(r"[\W_]", "", word).lower()
            if plain:
                self.alarms.add(ALARMS.get(plain, Alarm.GENERAL))
                if plain not in ALARMS:
                    self.term("io_alarm", text(word.strip()))

    def beyond(self, name: str, value: object) -> None:
        """What the protocol has no parameter for: a name of ours, or `io_` and its own."""
        known = ATTRIBUTES.get(name)
        if known is not None and known(self, value):
            return
        self.term(extra_name(name), scalar(value, max_text=MAX_TEXT))

    def fix(self, unit: float, now: datetime) -> Fix | None:
        """None where no place was said. Raises ValueError."""
        if self.wrong is not None:
            raise self.wrong
        if self.latitude is None or self.longitude is None:
            return None
        if self.speed is not None:
            self.number("speed_mps", self.speed * unit, 0, 1e5)
        return Fix(
            time=self.time or now,
            time_source=TimeSource.DEVICE if self.time else TimeSource.RECEIVED,
            valid=self.valid,
            latitude_deg=self.latitude,
            longitude_deg=self.longitude,
            source=FixSource.FUSED,
            mock=self.mock,
            telemetry=self.telemetry,
            cells=tuple(self.cells),
            wifi=tuple(self.wifi),
            **self.numbers,
        )


def text(value: object) -> Scalar | None:
    return scalar(value, max_text=MAX_TEXT) if isinstance(value, str) else None


# SPEC-GAP: senders that were written for this interface use the names of its attributes, with
# their units, for what has no parameter.

Take = Callable[[Said, object], bool]


def _is_number(name: str, low: float, high: float, factor: float = 1) -> Take:
    def take(said: Said, value: object) -> bool:
        found = within(value, low, high)
        said.term(name, None if found is None else found * factor)
        return found is not None

    return take


def _is_count(name: str, high: float) -> Take:
    def take(said: Said, value: object) -> bool:
        found = within(value, 0, high)
        said.term(name, None if found is None else int(found))
        return found is not None

    return take


def _is_truth(name: str) -> Take:
    def take(said: Said, value: object) -> bool:
        truth = value in (True, False)  # 1 and 0 as well
        said.term(name, bool(value) if truth else None)
        return truth

    return take


def _is_text(name: str) -> Take:
    def take(said: Said, value: object) -> bool:
        found = None if isinstance(value, dict | list | None) else text(str(value))
        said.term(name, found)
        return found is not None

    return take


def _satellites(said: Said, value: object) -> bool:
    found = within(value, 0, 1000)
    if found is not None:
        said.numbers["satellites"] = int(found)
    return found is not None


ATTRIBUTES: dict[str, Take] = {
    "ignition": _is_truth("ignition"),
    "motion": _is_truth("motion"),
    "charge": _is_truth("charging"),
    "blocked": _is_truth("blocked"),
    "armed": _is_truth("armed"),
    "door": _is_truth("door"),
    "batteryLevel": _is_number("battery_percent", 0, 100.5),
    # Some senders give per cent by this name, which no battery of a phone has in volts.
    "battery": _is_number("battery_v", 0, 30),
    "power": _is_number("external_v", 0, 1000),
    "adc1": _is_number("adc_1_v", -1e6, 1e6),
    "adc2": _is_number("adc_2_v", -1e6, 1e6),
    "odometer": _is_number("odometer_m", 0, 1e12),
    "hours": _is_number("engine_hours_s", 0, 1e15, 1e-3),
    "rpm": _is_number("engine_rpm", 0, 1e6),
    "obdSpeed": _is_number("obd_speed_mps", 0, 1e4, 1 / 3.6),
    "coolantTemp": _is_number("coolant_c", -273.15, 1e4),
    "fuelUsed": _is_number("fuel_used_l", 0, 1e9),
    "temp1": _is_number("temperature_c", -273.15, 1e4),
    "humidity": _is_number("humidity_percent", 0, 100.5),
    "steps": _is_count("steps", 1e12),
    "vdop": _is_number("vdop", 0, 1e6),
    "pdop": _is_number("pdop", 0, 1e6),
    "input": _is_count("inputs", 2**53),
    "output": _is_count("outputs", 2**53),
    "satVisible": _is_count("satellites_in_view", 1000),
    "sat": _satellites,
    "event": _is_text("trigger"),
    "activity": _is_text("activity"),
    "driverUniqueId": _is_text("driver_id"),
    "iccid": _is_text("iccid"),
    "operator": _is_text("operator"),
}
