"""What one message said, by its `_type`, and how each field is turned into our terms."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from model import Alarm, Cell, Fix, FixSource, Scalar, TimeSource, WifiAp
from protocols.fields import extra_name, number, scalar, storable, unix_time, within

Json = Mapping[str, Any]
MAX_TEXT = 256  # characters of one value; pictures and the like stay in the archived frame only

BSSID = re.compile(r"(?:[0-9a-f]{1,2}:){5}[0-9a-f]{1,2}")
HEX = re.compile(r"[0-9a-fA-F]{1,9}")

TIMED = {"transition", "steps", "beacon", "status"}  # their `tst` is when it happened
LAST_KNOWN = {"l", "L"}  # [B json] "Greenwich": where the tracker was before it lost its fix
CHARGING = {1: False, 2: True, 3: True}  # 0 is unknown
NETWORKS = {"w": "wifi", "m": "mobile", "o": "offline"}
EVENT_ALARMS = {"enter": Alarm.GEOFENCE_ENTER, "leave": Alarm.GEOFENCE_EXIT}
# [B json] "Queclink": what a trigger says beyond being one.
TRIGGER_ALARMS = {
    "!": Alarm.TOW,
    "e": Alarm.POWER_CUT,
    "E": Alarm.POWER_RESTORED,
    "1": Alarm.POWER_ON,
    "9": Alarm.LOW_BATTERY,
    "h": Alarm.GENERAL,  # "harsh behavior", of which kind is not said
    "s": Alarm.OVERSPEED,
}
TRIGGER_TERMS = {
    "i": ("ignition", True),
    "I": ("ignition", False),
    "2": ("charging", False),
    "3": ("charging", True),
}

# Field: our term, the range in which it is believed, the factor to our unit.
NUMBERS: dict[str, tuple[str, float, float, float]] = {
    "batt": ("battery_percent", 0, 100.5, 1),
    "vac": ("vertical_accuracy_m", 0, 1e9, 1),
    "p": ("pressure_pa", 0, 1e4, 1000),  # kPa
    "m": ("monitoring_mode", -1, 10, 1),
    "steps": ("steps", 0, 1e12, 1),  # -1: cannot be counted
    # Queclink
    "odometer": ("odometer_m", 0, 1e9, 1000),  # km
    "hmc": ("engine_hours_s", 0, 1e12, 1),
    "ubatt": ("battery_v", 0, 100, 1),
    "uext": ("external_v", 0, 1000, 1),
    "rpm": ("engine_rpm", 0, 1e6, 1),
    "flvl": ("fuel_percent", 0, 100.5, 1),
}
WHOLE = {"monitoring_mode", "steps"}
TRUTHS = {"ign": "ignition", "motion": "motion", "din1": "input_1", "din2": "input_2"}
TEXTS = {"t": "trigger", "tid": "tracker_id"}
LISTS = {"inregions": "regions", "motionactivities": "activity"}

# Read elsewhere, pictures, the frame once more, or the secrets of a phone's settings.
SILENT = {"_type", "topic", "image", "face", "raw_line", "configuration"}
OF_A_FIX = SILENT | {"lat", "lon", "tst", "acc", "alt", "vel", "cog"}
CELLULAR = {"mcc", "mnc", "lac", "cid"}
# [B json] "configuration": those that set how much a phone reports.
SETTINGS = {
    "monitoring", "locatorInterval", "locatorDisplacement", "locatorPriority", "ping",
    "moveModeLocatorInterval", "adapt", "downgrade", "ignoreInaccurateLocations",
    "extendedData", "remoteConfiguration", "cmd", "mode", "pubQos", "pubRetain",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one message said: a fix, or the other things."""

    fix: Fix | None = None
    time: datetime | None = None
    alarms: frozenset[Alarm] = frozenset()
    telemetry: Mapping[str, Scalar]


def read(data: Json, now: datetime) -> Reading:
    kind = data.get("_type")
    return READERS.get(kind, _other)(data, now) if isinstance(kind, str) else _other(data, now)


def _location(data: Json, now: datetime) -> Reading:
    cell, ap = _cell(data), _access_point(data)
    telemetry = _telemetry(
        data, OF_A_FIX | (CELLULAR if cell else set()) | ({"BSSID"} if ap else set())
    )
    trigger = data["t"] if isinstance(data.get("t"), str) else ""
    alarms = _alarms(data)
    if trigger in TRIGGER_TERMS:
        name, truth = TRIGGER_TERMS[trigger]
        telemetry[name] = truth
    if trigger in TRIGGER_ALARMS:
        alarms |= {TRIGGER_ALARMS[trigger]}
    fix = _fix(data, now, telemetry, valid=trigger not in LAST_KNOWN, cell=cell, ap=ap)
    return Reading(fix=fix, alarms=alarms, telemetry=telemetry)


def _transition(data: Json, now: datetime) -> Reading:
    """`event` is why it was sent; `t` says only what kind of region it was."""
    if data.get("lat") is None or data.get("lon") is None:
        return _other(data, now)
    telemetry = _telemetry(data, OF_A_FIX | {"event", "t"})
    telemetry |= _texts({"trigger": data.get("event"), "io_t": data.get("t")})
    fix = _fix(data, now, telemetry)
    return Reading(fix=fix, alarms=_alarms(data), telemetry=telemetry)


def _configuration(data: Json, _now: datetime) -> Reading:
    """A phone's settings. The passwords among them go no further than the archived frame."""
    inside = data.get("configuration")
    settings = inside if isinstance(inside, dict) else data
    known = {name: value for name, value in settings.items() if name in SETTINGS}
    telemetry = {**_telemetry(known, set()), **_texts({"io_type": data.get("_type")})}
    mode = within(settings.get("monitoring"), -1, 10)
    if mode is not None:
        telemetry["monitoring_mode"] = int(mode)
    return Reading(telemetry=telemetry)


def _command(data: Json, _now: datetime) -> Reading:
    return Reading(
        telemetry=_texts({"io_type": data.get("_type"), "io_action": data.get("action")})
    )


def _other(data: Json, _now: datetime) -> Reading:
    kind = data.get("_type")
    timed = kind in TIMED if isinstance(kind, str) else False
    telemetry = _telemetry(data, SILENT | ({"tst"} if timed else set()))
    telemetry |= _texts({"io_type": kind})
    return Reading(time=_time(data) if timed else None, alarms=_alarms(data), telemetry=telemetry)


READERS: dict[str, Callable[[Json, datetime], Reading]] = {
    "location": _location,
    "transition": _transition,
    "configuration": _configuration,
    "dump": _configuration,
    "cmd": _command,
}


def _fix(
    data: Json,
    now: datetime,
    telemetry: Mapping[str, Scalar],
    *,
    valid: bool = True,
    cell: Cell | None = None,
    ap: WifiAp | None = None,
) -> Fix:
    latitude, longitude = number(data.get("lat")), number(data.get("lon"))
    if latitude is None or longitude is None:
        raise ValueError("no lat and lon in degrees")
    time = _time(data)
    speed_kph, course = within(data.get("vel"), 0, 3e5), within(data.get("cog"), 0, 360.5)
    return Fix(
        time=time or now,
        time_source=TimeSource.DEVICE if time else TimeSource.RECEIVED,
        valid=valid,
        latitude_deg=latitude,
        longitude_deg=longitude,
        altitude_m=within(data.get("alt"), -99_999, 1e7),
        speed_mps=None if speed_kph is None else speed_kph / 3.6,
        course_deg=None if course is None else course % 360,
        accuracy_m=within(data.get("acc"), 0, 1e9),
        source=FixSource.FUSED,
        telemetry=telemetry,
        cells=(cell,) if cell else (),
        wifi=(ap,) if ap else (),
    )


def _time(data: Json) -> datetime | None:
    """`tst`; `created_at` is when the message was written, which may be much later."""
    if data.get("tst") is None:
        return None
    found = number(data["tst"])
    if found is None:
        raise ValueError("tst is no time")
    return unix_time(found)


def _alarms(data: Json) -> frozenset[Alarm]:
    event = data.get("event")
    alarm = EVENT_ALARMS.get(event) if isinstance(event, str) else None
    return frozenset({alarm} if alarm else ())


def _cell(data: Json) -> Cell | None:
    """The country and network are numbers, lac and cid hexadecimal text."""
    mcc, mnc = within(data.get("mcc"), 0, 1000), within(data.get("mnc"), 0, 1000)
    lac, cid = (_hex(data.get(name)) for name in ("lac", "cid"))
    if mcc is None or mnc is None or lac is None or cid is None:
        return None
    return Cell(mcc=int(mcc), mnc=int(mnc), lac=lac, cid=cid)


def _hex(value: object) -> int | None:
    if isinstance(value, str):
        return int(value, 16) if HEX.fullmatch(value) else None
    found = within(value, 0, 2**36)
    return None if found is None else int(found)


def _access_point(data: Json) -> WifiAp | None:
    """The one the phone is connected to. iOS leaves out leading zeros."""
    mac = data.get("BSSID")
    if not isinstance(mac, str) or not BSSID.fullmatch(mac.lower()):
        return None
    return WifiAp(mac=":".join(octet.zfill(2) for octet in mac.lower().split(":")))


def _telemetry(data: Json, skip: set[str]) -> dict[str, Scalar]:
    """Our terms where there is one, else `io_` and the field's own name, one level deep."""
    said: dict[str, Scalar] = {}
    for name, value in data.items():
        if name in skip or value is None:
            continue
        if name in NUMBERS:
            term, low, high, factor = NUMBERS[name]
            found = within(value, low, high)
            if found is not None:
                said[term] = int(found) if term in WHOLE else found * factor
        elif name == "bs":
            if isinstance(value, int) and value in CHARGING:
                said["charging"] = CHARGING[value]
        elif name == "conn":
            said |= _texts(
                {"network_type": NETWORKS.get(value, value) if isinstance(value, str) else None}
            )
        elif name in TRUTHS and isinstance(value, bool):
            said[TRUTHS[name]] = value
        elif name in TEXTS:
            said |= _texts({TEXTS[name]: value})
        elif name in LISTS and isinstance(value, list):
            said |= _texts({LISTS[name]: _joined(value)})
        else:
            said |= _beyond(name, value)
    return said


def _beyond(name: str, value: object) -> dict[str, Scalar]:
    own = extra_name(name)
    parts: dict[str, object] = {own: value}
    if isinstance(value, dict):
        parts = {f"{own}_{extra_name(inner)[3:]}": part for inner, part in value.items()}
    elif isinstance(value, list):  # words as they are, other things counted
        words = all(isinstance(part, str) for part in value)
        parts = {own: _joined(value) if words else len(value)}
    said = {term: scalar(part, max_text=MAX_TEXT) for term, part in parts.items()}
    return {term: part for term, part in said.items() if part is not None}


def _joined(words: list[Any]) -> str:
    return ", ".join(word for word in words if isinstance(word, str))


def _texts(named: Mapping[str, object]) -> dict[str, Scalar]:
    """Those that are text, and not too long to be anything but a picture."""
    return {
        name: storable(value)
        for name, value in named.items()
        if isinstance(value, str) and 0 < len(value) <= MAX_TEXT
    }
