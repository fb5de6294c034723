"""OsmAnd, Traccar Client and the Transistorsoft SDK: phones that report over HTTP, GET or POST.

    GET /?id=123456&lat=60.0&lon=30.0&timestamp=1377177267&speed=0.0&batt=87 HTTP/1.1

    POST / HTTP/1.1                      form 1 may also be the body, as a form
    Content-Type: application/json

    {"location": {"timestamp": "2025-06-15T13:45:12.862Z", "coords": {"latitude": 37.4, ...},
                  "battery": {"level": 0.79}, "extras": {...}}, "device_id": "48241179"}

`location` may be an array (the SDK's `batchSync`), and so may the whole. Both forms say the same
things in other words, so each is read by a table into one `Said`, which becomes the event.

A value beside the position that is unreadable or impossible is left out, and stays in the
archived frame; a wrong position, time or identity makes the request `Rejected`, answered 400.

[OsmAnd] OsmAnd help, "Trip recording", online tracking    [Traccar] OsmAnd protocol description
[SDK]    Transistorsoft background geolocation, "Location Data Schema"
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from model import (
    Alarm,
    Cell,
    DeviceIdentity,
    Event,
    Fix,
    Heartbeat,
    Rejected,
    Report,
    Scalar,
    Status,
    WifiAp,
)
from protocols import base, http
from protocols.base import ProfileLookup, SpeedUnit, default_profile
from protocols.fields import EARLIEST, MPS_PER_KNOT, NUMBER, json_value, number, unix_time, within
from protocols.osmand_parts.said import Said, text

DEFAULT_PORT = 5055
MAX_BODY_BYTES = 262_144

complete = http.complete

TRUTH = {"true": True, "1": True, "false": False, "0": False}
MPS_PER_UNIT = {SpeedUnit.KNOTS: MPS_PER_KNOT, SpeedUnit.MPS: 1.0, SpeedUnit.KPH: 1 / 3.6}

CELL = re.compile(r"(\d{1,3}),(\d{1,3}),(\d{1,9}),(\d{1,12})(?:,(-?\d{1,3})(?:\.\d*)?)?", re.ASCII)
WIFI = re.compile(r"((?:[0-9a-fA-F]{2}[-:]){5}[0-9a-fA-F]{2})(?:,(-?\d{1,3})(?:\.\d*)?)?", re.ASCII)
WHOLE = re.compile(r"[+-]?(?:0|[1-9]\d{0,17})", re.ASCII)
OFFSET_BLANK = re.compile(r"(:\d\d(?:\.\d+)?) (\d\d:?\d\d)")


class Decoder(base.Decoder):
    """One phone's link, or a proxy's with many phones behind it: each request names its own."""

    max_frame_bytes = 2 * MAX_BODY_BYTES + http.MAX_HEAD_BYTES  # chunks cost as much again

    def __init__(
        self, *, ident: str | None = None, profile_of: ProfileLookup = default_profile
    ) -> None:
        super().__init__(ident=ident, profile_of=profile_of)
        self._requests = http.Requests(max_body_bytes=MAX_BODY_BYTES)

    @property
    def pending(self) -> bool:
        return self._requests.pending

    def feed(self, data: bytes, now: datetime) -> list[Event]:
        events = [self._event(message, now) for message in self._requests.feed(data)]
        self.finished = self._requests.finished
        return events

    def flush(self, now: datetime) -> list[Event]:
        self._requests.drop()  # a request cut short was never answered: the phone has it still
        return []

    def reply_to(self, event: Event, *, accepted: bool, now: datetime) -> bytes:
        return http.reply(event, accepted=accepted)

    def _event(self, message: http.Message, now: datetime) -> Event:
        if not isinstance(message, http.Request):
            return message.event()
        device = None
        try:
            named, said = _read(message)
            if (ident := named or self._ident) is None:
                raise ValueError("no device id")  # noqa: TRY301 - one road for what is wrong
            device = DeviceIdentity(protocol="osmand", ident=ident)
            unit = MPS_PER_UNIT[self._profile_of(ident).speed_unit]
            return _assemble(message.raw, device, said, unit, now)
        except ValueError as error:
            return Rejected(raw=message.raw, device=device, reason=str(error)[:200])


def _assemble(
    raw: bytes, device: DeviceIdentity, said: list[Said], unit: float, now: datetime
) -> Event:
    fixes: list[Fix] = []
    wrong: ValueError | None = None
    for part in said:
        try:
            fix = part.fix(unit, now)
        except ValueError as error:  # one bad element may not hold back the rest of a batch
            wrong = error
        else:
            fixes += [fix] if fix else []
    if wrong and not fixes:
        raise wrong
    alarms = frozenset(alarm for part in said for alarm in part.alarms)
    if fixes:
        return Report(raw=raw, device=device, fixes=tuple(fixes), alarms=alarms)
    last = said[-1] if said else Said()
    if not (alarms or last.time or last.telemetry or last.cells or last.wifi):
        return Heartbeat(raw=raw, device=device)
    return Status(
        raw=raw,
        device=device,
        time=last.time,
        alarms=alarms,
        telemetry=last.telemetry,
        cells=tuple(last.cells),
        wifi=tuple(last.wifi),
    )


def _read(request: http.Request) -> tuple[str | None, list[Said]]:
    body = request.body
    said = Said()
    _read_form(said, request.query)
    kind = request.headers.get(b"content-type", b"")
    if body and (b"json" in kind.lower() or body.lstrip()[:1] in (b"{", b"[")):
        return _read_json(json_value(body), said.ident)
    if body:
        _read_form(said, body.decode("utf-8", "replace"))
    return said.ident, [said]


# ---- form 1: parameters


def _read_form(said: Said, form: str) -> None:
    for name, value in http.pairs(form):
        read = PARAMETERS.get(name)
        if read is None:
            said.beyond(name, _typed(value))
            continue
        try:
            read(said, value)
        except ValueError as error:  # the id may be still to come
            said.wrong = error


def _ident(said: Said, value: str) -> None:
    said.ident = value


def _latitude(said: Said, value: object) -> None:
    said.latitude = _degrees(value)


def _longitude(said: Said, value: object) -> None:
    said.longitude = _degrees(value)


def _place(said: Said, value: str) -> None:
    latitude, _, longitude = value.partition(",")
    said.latitude, said.longitude = _degrees(latitude.strip()), _degrees(longitude.strip())


def _time(said: Said, value: str) -> None:
    said.time = _moment(value)


def _valid(said: Said, value: str) -> None:
    said.valid = TRUTH.get(value.lower(), True)


def _mock(said: Said, value: str) -> None:
    said.mock = TRUTH.get(value.lower())


def _speed(said: Said, value: str) -> None:
    said.speed = number(value)


def _charge(said: Said, value: str) -> None:
    said.term("charging", TRUTH.get(value.lower()))


def _alarm(said: Said, value: str) -> None:
    said.raise_alarms(value)


def _driver(said: Said, value: str) -> None:
    said.term("driver_id", text(value))


def _course(said: Said, value: object) -> None:
    found = within(value, 0, 360.5)  # a negative course is unknown, 360 is north
    said.numbers["course_deg"] = None if found is None else found % 360


def _altitude(said: Said, value: object) -> None:
    said.number("altitude_m", value, -99_999, 1e7)


def _accuracy(said: Said, value: object) -> None:
    said.number("accuracy_m", value, 0, 1e9)


def _hdop(said: Said, value: object) -> None:
    said.number("hdop", value, 0, 1e6)


def _battery(said: Said, value: str) -> None:
    said.term("battery_percent", within(value.rstrip("%"), 0, 100.5))


def _cell(said: Said, value: str) -> None:
    if found := CELL.fullmatch(value):
        mcc, mnc, lac, cid = (int(part) for part in found.groups()[:4])
        said.cells.append(Cell(mcc=mcc, mnc=mnc, lac=lac, cid=cid, rssi_dbm=_rssi(found[5])))


def _wifi(said: Said, value: str) -> None:
    if found := WIFI.fullmatch(value):
        mac = found[1].replace("-", ":").lower()
        said.wifi.append(WifiAp(mac=mac, rssi_dbm=_rssi(found[2])))


def _not_telemetry(said: Said, value: str) -> None:
    """A push token belongs to the app, not to what it measured; it stays in the frame."""


PARAMETERS: dict[str, Callable[[Said, str], None]] = {
    "id": _ident,
    "deviceid": _ident,
    "deviceId": _ident,
    "lat": _latitude,
    "lon": _longitude,
    "location": _place,
    "timestamp": _time,
    "valid": _valid,
    "mock": _mock,
    "speed": _speed,
    "bearing": _course,
    "heading": _course,
    "altitude": _altitude,
    "accuracy": _accuracy,
    "hdop": _hdop,
    "batt": _battery,
    "charge": _charge,
    "driverUniqueId": _driver,
    "alarm": _alarm,
    "cell": _cell,
    "wifi": _wifi,
    "notificationToken": _not_telemetry,
}


# ---- form 2: JSON


def _read_json(data: object, ident: str | None) -> tuple[str | None, list[Said]]:
    """`ident` is what the query said, for bodies that name no device."""
    said: list[Said] = []
    idents: set[str] = set()
    for whole in data if isinstance(data, list) else [data]:
        if not isinstance(whole, dict):
            raise ValueError("the JSON is no object with a location")  # noqa: TRY004 - the sender's fault
        if (named := _name(whole)) is not None:
            idents.add(named)
        # SPEC-GAP: with the SDK's `httpRootProperty: "."` the location is the root itself.
        location = whole if "coords" in whole else whole.get("location")
        for part in location if isinstance(location, list) else [location]:
            said.append(Said())
            if isinstance(part, dict):
                try:
                    _read_location(said[-1], part)
                except ValueError as error:
                    said[-1].wrong = error
    if len(idents) > 1:
        raise ValueError("one request for several devices")
    return (idents.pop() if idents else ident), said


def _name(whole: Mapping[str, Any]) -> str | None:
    for key in ("device_id", "deviceId", "deviceid", "id"):
        value = whole.get(key)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()
    return None


def _read_location(said: Said, location: Mapping[str, Any]) -> None:
    """[SDK] in SI units; a negative speed, heading, level is unknown."""
    coords, battery, activity, fence, extras = (
        found if isinstance(found := location.get(part), dict) else {}
        for part in ("coords", "battery", "activity", "geofence", "extras")
    )
    if location.get("timestamp") is not None:
        said.time = _moment(location["timestamp"])
    if coords.get("latitude") is not None and coords.get("longitude") is not None:
        _latitude(said, coords["latitude"])
        _longitude(said, coords["longitude"])
    said.number("speed_mps", coords.get("speed"), 0, 1e5)
    _course(said, coords.get("heading"))
    _altitude(said, coords.get("altitude"))
    _accuracy(said, coords.get("accuracy"))
    if location.get("mock") is True:
        said.mock = True
    level = within(battery.get("level"), 0, 1.005)
    if level is not None:
        said.term("battery_percent", round(level * 100, 4))
    if battery.get("is_charging") is True:
        said.term("charging", True)
    if isinstance(location.get("is_moving"), bool):
        said.term("motion", location["is_moving"])
    said.term("odometer_m", within(location.get("odometer"), 0, 1e12))
    said.term("trigger", text(location.get("event")))
    said.term("activity", text(activity.get("type")))
    if isinstance(location.get("alarm"), str):
        said.raise_alarms(location["alarm"])
    if isinstance(fence.get("action"), str):  # ENTER, EXIT, DWELL
        said.alarms |= FENCE_ALARMS.get(fence["action"].upper(), frozenset())
        said.term("io_geofence_action", text(fence["action"]))
        said.term("io_geofence_identifier", text(fence.get("identifier")))
    for name, value in extras.items():
        said.beyond(name, value)


FENCE_ALARMS = {
    "ENTER": frozenset({Alarm.GEOFENCE_ENTER}),
    "EXIT": frozenset({Alarm.GEOFENCE_EXIT}),
}


# ---- values


def _degrees(value: object) -> float:
    found = number(value)
    if found is None:
        raise ValueError(f"not a coordinate: {_shown(value)}")
    return found


def _moment(value: object) -> datetime | None:
    """Seconds, milliseconds, or ISO 8601 in UTC unless it says otherwise; None before 1990."""
    found = number(value)
    if found is not None:
        return unix_time(found)
    if not isinstance(value, str) or len(value) < len("2014-06-04 09:10"):
        raise ValueError(f"not a time: {_shown(value)}")
    # An unescaped `+` of an offset has become a blank on its way.
    text = OFFSET_BLANK.sub(r"\1+\2", value)
    try:
        time = datetime.fromisoformat(text)
        time = time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(f"not a time: {_shown(value)}") from None
    return time if time >= EARLIEST else None


def _shown(value: object) -> str:
    """For a reason: short, and never the inside of something nested."""
    return repr(value[:40]) if isinstance(value, str) else type(value).__name__


def _rssi(value: str | None) -> int | None:
    """dBm; what is none (Android's "unknown" is a huge number) is left out."""
    found = within(value, -200, 1)
    return None if found is None else int(found)


def _typed(value: str) -> Scalar | None:
    """Form 1 has only text: numbers and truth values are taken for what they look like.

    Digits with a leading zero, or too many of them, are a name and stay text.
    """
    if WHOLE.fullmatch(value):
        return int(value)
    if NUMBER.fullmatch(value) and not value.lstrip("+-").isdigit():
        return number(value)
    return {"true": True, "false": False}.get(value.lower(), text(value))
