"""What both forms of an H02 frame say, field by field, and the event made of it.

[2020], [H08] and the meaning of SPEC-GAP: see protocols/h02.py.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time

from model import Alarm, Cell, DeviceIdentity, Fix, Report, Scalar, Status, TimeSource
from protocols.fields import MPS_PER_KNOT, match, on_nearest_date

NUMBER = re.compile(r"\d+(?:\.\d*)?|\.\d+")
SIGNED = re.compile(r"-?\d+(?:\.\d+)?")
SIGNAL = re.compile(r"-?\d{1,3}")
WHOLE = re.compile(r"\d{1,11}")
SIX_DIGITS = re.compile(r"\d{6}")
STATUS_WORD = re.compile(r"[0-9A-Fa-f]{8}")
HEX = re.compile(r"[0-9A-Fa-f]{1,11}")
ICCID = re.compile(r"(89\d{16,18})[F?]{0,2}")

# [2020] 1, [H08]: negative logic, a bit at 0 is in effect; bit 0 is the lowest of the fourth
# byte. Bits that makes without the sensor hold low raise no alarm: 14, another overspeed, is in
# effect in FFFFBBFF at 0 knots. `status_word` keeps them.
ALARM_BITS = {
    0: Alarm.VIBRATION,
    1: Alarm.SOS,
    2: Alarm.OVERSPEED,
    18: Alarm.SOS,
    19: Alarm.POWER_CUT,
}
ACC_OFF_BIT = 10
STATE_BITS = {8: "door", 9: "armed", 27: "blocked"}

# SPEC-GAP: six steps of charge; only 6 is seen in full, 3 in a related protocol.
BATTERY_STEPS = {1: 0, 2: 10, 3: 20, 4: 60, 5: 80, 6: 100}
MAX_CSQ, UNKNOWN_CSQ = 31, 99
NO_USER_ALARM = 0xFF
MOBILE_COUNTRIES = range(200, 800)

LATITUDE, LONGITUDE = ("N", "S"), ("E", "W")
WITH_POINT = re.compile(r"-?(\d{0,3}?)(\d{1,2}\.\d*)")
WITHOUT_POINT = re.compile(r"-?(\d{0,3})(\d{6})")
WITH_DASH = re.compile(r"-?(\d{1,3})-(\d{1,2}(?:\.\d*)?)")


@dataclass(frozen=True, slots=True)
class Frame:
    raw: bytes
    device: DeviceIdentity
    now: datetime


@dataclass(slots=True)
class Said:
    """What a frame says beside place and time, while it is read."""

    alarms: frozenset[Alarm] = frozenset()
    telemetry: dict[str, Scalar] = field(default_factory=dict)
    cells: tuple[Cell, ...] = ()
    altitude_m: float | None = None

    @classmethod
    def of_status(cls, word: str) -> "Said":
        if not word:
            return cls()
        if not STATUS_WORD.fullmatch(word):
            return cls(telemetry={"status_word": word})
        bits = int(word, 16)
        telemetry: dict[str, Scalar] = {
            "status_word": word.upper(),
            "ignition": bool(bits >> ACC_OFF_BIT & 1),
        }
        telemetry |= {name: not bits >> bit & 1 for bit, name in STATE_BITS.items()}
        alarms = frozenset(alarm for bit, alarm in ALARM_BITS.items() if not bits >> bit & 1)
        return cls(alarms, telemetry)

    def take_extras(self, extras: Sequence[str]) -> None:
        """What may follow the status: the serving cell, or odometer and the like, or anything."""
        if len(extras) == 6 and "." in extras[2] and all(map(SIGNED.fullmatch, extras[:4])):
            odometer, temperature, fuel, altitude = extras[:4]
            self.telemetry["odometer_m"] = float(odometer)
            self.telemetry["temperature_c"] = float(temperature)
            self.telemetry["fuel_percent"] = float(fuel)
            self.altitude_m = float(altitude)
            extras = ["", "", "", "", *extras[4:]]  # a cell without its network is no cell
        elif len(extras) >= 4 and all(map(HEX.fullmatch, extras[:4])):
            base = _base_of(extras[:4])
            mcc, mnc, lac, cid = (str(int(extra, base)) for extra in extras[:4])
            self.take_cells(mcc, mnc, [(lac, cid, "")])
            if base == 10 and len(extras) == 5:
                self.take_step(extras[4])
        self.take_unread(extras)

    def take_unread(self, extras: Iterable[str]) -> None:
        for place, extra in enumerate(extras, 1):
            if found := ICCID.fullmatch(extra):
                self.telemetry["iccid"] = found[1]
            elif extra:
                self.telemetry[f"io_{place}"] = extra

    def take_step(self, step: str) -> None:
        if step.isdecimal() and int(step) in BATTERY_STEPS:
            self.telemetry["battery_percent"] = BATTERY_STEPS[int(step)]

    def take_percent(self, text: str) -> bool:
        """The battery in percent as text; False where it is none."""
        if not text.isdecimal() or int(text) > 100:
            return False
        self.telemetry["battery_percent"] = int(text)
        return True

    def take_battery(self, value: int) -> None:
        """[H08] 0 is not given; steps, or percent as a binary number (SPEC-GAP)."""
        if value in BATTERY_STEPS:
            self.telemetry["battery_percent"] = BATTERY_STEPS[value]
        elif 0 < value <= 100:
            self.telemetry["battery_percent"] = value

    def take_gsm(self, level: int | None) -> None:
        if level is None or level == UNKNOWN_CSQ:
            return
        self.telemetry["gsm_level"] = level
        if level <= MAX_CSQ:
            self.telemetry["rssi_dbm"] = 2 * level - 113

    def take_user_alarm(self, flags: int) -> None:
        if flags != NO_USER_ALARM:
            self.telemetry["io_user_alarm"] = flags

    def take_cells(
        self, mcc: str, mnc: str, groups: Iterable[Sequence[str]], *, base: int = 10
    ) -> None:
        """(lac, cid, rx) of one network, each once; a zero lac or cid is an unknown cell."""
        if not (HEX.fullmatch(mcc) and HEX.fullmatch(mnc)):
            return
        country, network = int(mcc, base), int(mnc, base)
        if country not in MOBILE_COUNTRIES or network > 999:
            return
        area = HEX if base == 16 else WHOLE
        found = [
            Cell(
                mcc=country,
                mnc=network,
                lac=int(match(area, lac, "cell")[0], base),
                cid=int(match(area, cid, "cell")[0], base),
                rssi_dbm=_dbm(rx),
            )
            for lac, cid, rx in groups
            if lac.strip("0") and cid.strip("0")
        ]
        self.cells = tuple(dict.fromkeys(found))

    def located(
        self,
        frame: Frame,
        when: tuple[datetime, TimeSource] | None,
        valid: bool,
        place: tuple[float | None, float | None],
        *,
        knots: str,
        course: str,
    ) -> Report | Status:
        """A report, or a status where place or date are none."""
        latitude, longitude = place
        if when is None or latitude is None or longitude is None:
            stated = when[0] if when and when[1] is TimeSource.DEVICE else None
            return self.status(frame, stated)
        speed, heading = _number(knots), _number(course)
        if heading is not None and heading > 360:
            raise ValueError(f"course out of range: {course}")
        fix = Fix(
            time=when[0],
            time_source=when[1],
            valid=valid,
            latitude_deg=latitude,
            longitude_deg=longitude,
            altitude_m=self.altitude_m,
            speed_mps=None if speed is None else speed * MPS_PER_KNOT,
            course_deg=None if heading is None else heading % 360,
            telemetry=self.telemetry,
            cells=self.cells,
        )
        return Report(raw=frame.raw, device=frame.device, fixes=(fix,), alarms=self.alarms)

    def status(self, frame: Frame, stated: datetime | None) -> Status:
        return Status(
            raw=frame.raw,
            device=frame.device,
            time=stated,
            alarms=self.alarms,
            telemetry=self.telemetry,
            cells=self.cells,
        )


def _base_of(fields: Sequence[str]) -> int:
    """Is a cell written in decimal, or in hex as by the makes with an IMEI for id?"""
    decimal = all(field.isdecimal() for field in fields) and int(fields[0]) in MOBILE_COUNTRIES
    return 10 if decimal else 16


def _dbm(text: str) -> int | None:
    """Devices leave out the sign; 0 is no measurement."""
    return -abs(int(match(SIGNAL, text, "signal strength")[0])) or None if text else None


def degrees(text: str, hemisphere: str, letters: tuple[str, str]) -> float | None:
    """Signed decimal degrees in any dialect; None where field or hemisphere (0) says nothing.

    DDMM.MMMM with degrees of any width or none; DDMMMMMM; [-]DD-MM.MMMM, whose sign is not to
    be trusted, so the hemisphere alone decides.
    """
    if not text or hemisphere in ("", "0"):
        return None
    if (letter := hemisphere.upper()) not in letters:
        raise ValueError(f"not a hemisphere: {hemisphere!r}")
    if found := WITHOUT_POINT.fullmatch(text):
        minutes = int(found[2]) / 10_000
    elif found := WITH_POINT.fullmatch(text) or WITH_DASH.fullmatch(text):
        minutes = float(found[2])
    else:
        raise ValueError(f"not a coordinate: {text!r}")
    if minutes >= 60:
        raise ValueError(f"minutes out of range: {text}")
    angle = int(found[1] or "0") + minutes / 60
    return angle if letter == letters[0] else -angle


def time_of(clock: str, date: str, now: datetime) -> tuple[datetime, TimeSource] | None:
    """DDMMYY and HHMMSS, either of which may be missing; None for what is in no calendar.

    SPEC-GAP: a date alone is its midnight, as in VP1.
    """
    if not clock and not date:
        return now, TimeSource.RECEIVED
    if date:
        stated = stated_time(clock or "000000", date)
        return (stated, TimeSource.DEVICE) if stated else None
    hour, minute, second = _pairs(clock)
    try:
        return on_nearest_date(time(hour, minute, second), now), TimeSource.DATE_ASSUMED
    except ValueError:
        return None


def stated_time(clock: str, date: str) -> datetime | None:
    """None unless both are given and in the calendar."""
    if not clock or not date:
        return None
    hour, minute, second = _pairs(clock)
    day, month, year = _pairs(date)
    try:
        return datetime(2000 + year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None


def _pairs(text: str) -> tuple[int, int, int]:
    match(SIX_DIGITS, text, "time or date")
    return int(text[:2]), int(text[2:4]), int(text[4:])


def _number(text: str) -> float | None:
    return float(match(NUMBER, text, "number")[0]) if text else None


def whole(text: str) -> int:
    return int(match(WHOLE, text, "whole number")[0])


def at_least(count: int, fields: list[str]) -> list[str]:
    if len(fields) < count:
        raise ValueError(f"{len(fields)} fields, at least {count} expected")
    return fields


def groups_of(fields: Sequence[str], size: int) -> list[Sequence[str]]:
    return [fields[at : at + size] for at in range(0, len(fields), size)]
