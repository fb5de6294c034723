"""H02's binary frames, drawn in protocols/h02_parts/framing.py; documents in protocols/h02.py."""

import re
from datetime import datetime

from model import DeviceIdentity, Event
from protocols.fields import match
from protocols.h02_parts.framing import SHORTEST, has_long_id
from protocols.h02_parts.said import LATITUDE, LONGITUDE, MAX_CSQ, Frame, Said, degrees, time_of

BINARY = re.compile(
    r"(?P<time>\d{6})(?P<date>\d{6})(?P<lat>\d{8})(?P<battery>[0-9a-f]{2})"
    r"(?P<lon>\d{9})(?P<flags>[0-9a-f])(?P<knots>\d{3})(?P<course>\d{3})(?P<status>[0-9a-f]{8})"
)
VALID, NORTH, EAST = 0b0010, 0b0100, 0b1000  # of the flags


def read_binary(raw: bytes, device: DeviceIdentity | None, now: datetime) -> Event:
    if device is None:
        raise ValueError("no H02 frame: the head is not decimal")
    if len(raw) < SHORTEST:
        raise ValueError(f"cut short: {len(raw)} bytes")
    after_id = 9 if has_long_id(raw) else 6
    head = match(BINARY, raw[after_id : after_id + 23].hex(), "binary body")
    said = Said.of_status(head["status"])
    said.take_battery(int(head["battery"], 16))
    TAILS.get(len(raw), _no_tail)(raw, said)
    flags = int(head["flags"], 16)
    return said.located(
        Frame(raw, device, now),
        time_of(head["time"], head["date"], now),
        bool(flags & VALID),
        (
            degrees(head["lat"], "N" if flags & NORTH else "S", LATITUDE),
            degrees(head["lon"], "E" if flags & EAST else "W", LONGITUDE),
        ),
        knots=head["knots"],
        course=head["course"],
    )


def _short_tail(raw: bytes, said: Said) -> None:
    """[H08] user alarm, reserved, serial number."""
    said.take_user_alarm(raw[29])
    said.telemetry["index"] = raw[31]


def _long_tail(raw: bytes, said: Said) -> None:
    """[H08] user alarm, reserved, gsm, gps, mileage, mcc, mnc, lac, cid, serial number.

    SPEC-GAP: neither the scale of `gps` nor the unit of the mileage is known.
    """
    said.take_user_alarm(raw[29])
    if raw[31] <= MAX_CSQ:  # others have something else there
        said.take_gsm(raw[31])
    said.telemetry["io_gps"] = raw[32]
    said.telemetry["io_mileage"] = int.from_bytes(raw[33:37])
    mcc, lac, cid = (int.from_bytes(raw[i : i + 2]) for i in (37, 40, 42))
    said.take_cells(str(mcc), str(raw[39]), [(str(lac), str(cid), "")])
    said.telemetry["index"] = raw[44]


def _odometer_tail(raw: bytes, said: Said) -> None:
    """SPEC-GAP: user alarm, 3 unknown, odometer in BCD, 1 unknown, fuel, altitude, lac, cid.

    Seen in one message only. The altitude agrees with the same device's text within a metre, but
    stays beside the fix until more is known.
    """
    said.take_user_alarm(raw[29])
    odometer = raw[33:37].hex()
    if odometer.isdecimal():
        said.telemetry["odometer_m"] = int(odometer)
    for name, at in ("io_fuel", 38), ("io_altitude", 40), ("io_lac", 42), ("io_cid", 44):
        said.telemetry[name] = int.from_bytes(raw[at : at + 2])


def _no_tail(_raw: bytes, _said: Said) -> None:
    """SPEC-GAP: what follows the status in frames of 42 and 48 bytes is unknown."""


TAILS = {32: _short_tail, 45: _long_tail, 46: _odometer_tail}
