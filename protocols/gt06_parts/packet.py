"""One packet while it is read, and the blocks that many types share.

    GPS  satellites(1) latitude(4) longitude(4) km/h(1) course and flags(2)
    LBS  mcc(2) mnc(1 or 2) lac(2 or 4) cid(3, 4 or 8)

A block is a function that reads on in a `Packet`. Documents as in `protocols/gt06.py`.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from model import Alarm, Cell, Scalar, WifiAp
from protocols.fields import storable, unix_time

ALARMS = {  # [N] and [VL03], alarm: the byte of 16, 19, 26, 27, 32, A4
    0x01: Alarm.SOS, 0x02: Alarm.POWER_CUT, 0x03: Alarm.VIBRATION, 0x04: Alarm.GEOFENCE_ENTER,
    0x05: Alarm.GEOFENCE_EXIT, 0x06: Alarm.OVERSPEED, 0x09: Alarm.MOVEMENT, 0x0A: Alarm.GNSS_LOST,
    0x0B: Alarm.GNSS_FOUND, 0x0C: Alarm.POWER_ON, 0x0D: Alarm.GNSS_FOUND, 0x0E: Alarm.LOW_EXTERNAL,
    0x0F: Alarm.LOW_EXTERNAL, 0x10: Alarm.SIM_CHANGED, 0x11: Alarm.POWER_OFF,
    0x12: Alarm.AIRPLANE_MODE, 0x13: Alarm.TAMPER, 0x14: Alarm.DOOR, 0x15: Alarm.POWER_OFF,
    0x16: Alarm.VOICE, 0x17: Alarm.FALSE_BASE_STATION, 0x18: Alarm.TAMPER,
    0x19: Alarm.LOW_BATTERY, 0x20: Alarm.SLEEP, 0x23: Alarm.FALL, 0x28: Alarm.HARSH_BRAKING,
    0x29: Alarm.HARSH_ACCELERATION, 0x2A: Alarm.HARSH_CORNERING, 0x2B: Alarm.HARSH_CORNERING,
    0x2C: Alarm.COLLISION, 0x30: Alarm.HARSH_BRAKING, 0x32: Alarm.REMOVED,
    0xFE: Alarm.IGNITION_ON, 0xFF: Alarm.IGNITION_OFF,
}  # fmt: skip
MODEL_ALARMS: dict[str | None, dict[int, Alarm]] = {
    "LW4G-4B": {**ALARMS, 0x19: Alarm.HARSH_ACCELERATION},
}
STATUS_ALARMS = {  # [1.0], terminal information: bits 5 to 3 of the status byte
    1: Alarm.VIBRATION, 2: Alarm.POWER_CUT, 3: Alarm.LOW_BATTERY, 4: Alarm.SOS,
    6: Alarm.GEOFENCE, 7: Alarm.REMOVED,
}  # fmt: skip

LOCAL_TIME = {0x10, 0x11, 0x12, 0x16, 0x17, 0x18, 0x1A}
"""Documents leave the zone of the time open here, so that the login's counts; others say UTC."""
MAX_LATITUDE = 162_000_000  # 90 degrees
MPS = tuple(kmh / 3.6 for kmh in range(256))


class TooShort(ValueError):
    """The content ends before the block does."""


class Packet:
    """The content of one frame: where the reader stands in it, and what was found so far."""

    __slots__ = (
        "alarms", "altitude_m", "at", "cells", "content", "course_word", "hdop", "ident", "kind",
        "known", "located", "model", "network", "place", "result", "satellites", "speed_mps",
        "telemetry", "time", "wifi", "zone",
    )  # fmt: skip

    def __init__(
        self, kind: int, content: bytes, model: str | None = None, zone: timedelta | None = None
    ) -> None:
        self.kind, self.content, self.model, self.zone = kind, content, model, zone
        self.at = 0
        self.known = False  # something was read for whose sake the frame is worth an event
        self.time: datetime | None = None
        self.located = False  # coordinates were read, whatever they are
        self.place: tuple[float, float] | None = None  # degrees north and east, on this planet
        self.course_word = 0
        self.speed_mps: float | None = None
        self.altitude_m: float | None = None
        self.satellites: int | None = None
        self.hdop: float | None = None
        self.ident: str | None = None  # a terminal number that the packet repeats
        self.result: tuple[str, str] | None = None  # a command's answer, and its flag
        self.network = (0, 0)  # mcc, mnc
        self.telemetry: dict[str, Scalar] = {}
        self.alarms: set[Alarm] = set()
        self.cells: list[Cell] = []
        self.wifi: list[WifiAp] = []

    @property
    def left(self) -> int:
        return len(self.content) - self.at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise TooShort(f"type {self.kind:02X}: the content is too short")
        self.at += size
        return self.content[self.at - size : self.at]

    def number(self, size: int, *, signed: bool = False) -> int:
        return int.from_bytes(self.take(size), "big", signed=signed)

    def text(self, size: int | None = None) -> str:
        """Text without its padding; what is not ASCII is not lost."""
        raw = self.take(self.left if size is None else size)
        return storable(raw.decode("utf-8", "replace").strip(" \0"))

    def say(self, name: str, value: Scalar) -> None:
        self.telemetry[name] = value
        self.known = True

    def event(self, code: int, table: Mapping[int, Alarm]) -> None:
        """An event number: an alarm, or kept as a number where no table has it; 0 is none."""
        self.known = True
        if alarm := table.get(code):
            self.alarms.add(alarm)
        elif code:
            self.say("event_code", code)

    def locate(self, latitude: int, longitude: int, course_word: int) -> None:
        """[1.0], latitude, course: 1/30000 minute of arc; bits 10 and 11 are north and west."""
        self.known = self.located = True
        self.course_word = course_word
        if latitude <= MAX_LATITUDE and longitude <= 2 * MAX_LATITUDE:
            self.place = (
                latitude / (1_800_000 if course_word & 0x400 else -1_800_000),
                longitude / (-1_800_000 if course_word & 0x800 else 1_800_000),
            )
        if course_word & 0x4000:  # SPEC-GAP: clones say here whether bit 15 means anything
            self.telemetry["ignition"] = bool(course_word & 0x8000)

    def inside(self, content: bytes, block: "Block") -> None:
        """Read a part that has its own bounds; one that is cut short says what it says."""
        outer, self.content, self.at = (self.content, self.at), content, 0
        with suppress(TooShort):
            block(self)
        self.content, self.at = outer


Block = Callable[[Packet], object]

# blocks that many packets share


def ident_of(number: bytes) -> str | None:
    """A terminal number in BCD, 15 digits behind a zero."""
    text = number.hex()
    return text.removeprefix("0") if text.isdecimal() and any(number) else None


def checked(ident: str) -> bool:
    """The IMEI's own check digit (Luhn) holds."""
    digits = [int(digit) for digit in reversed(ident)]
    return sum(digits[::2] + [2 * d - 9 * (d > 4) for d in digits[1::2]]) % 10 == 0


def bcd_time(data: bytes) -> datetime | None:
    try:
        return datetime.strptime(data.hex(), "%y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def clock(p: Packet) -> None:
    """[1.0], date and time. A time that no calendar has is no time."""
    year, month, day, hour, minute, second = p.take(6)
    try:
        p.time = datetime(2000 + year, month, day, hour, minute, second, 0, UTC)
    except ValueError:
        return
    if p.zone is not None and p.kind in LOCAL_TIME:
        p.time -= p.zone


def unix_clock(p: Packet) -> None:
    p.time = unix_time(p.number(4))


def place(p: Packet) -> None:
    p.locate(p.number(4), p.number(4), p.number(2))


def gps(p: Packet) -> None:
    p.satellites = p.number(1) & 0x0F
    latitude, longitude = p.number(4), p.number(4)
    p.speed_mps = MPS[p.number(1)]
    p.locate(latitude, longitude, p.number(2))


def cell(mcc: int, mnc: int, lac: int, cid: int, rssi: int | None = None) -> tuple[Cell, ...]:
    """The cell, if the numbers can be one: 0, or more than 24 and 36 bits, is none."""
    if mcc > 999 or mnc > 999 or not 0 < lac < 1 << 24 or not 0 < cid < 1 << 36:
        return ()
    return (Cell(mcc=mcc, mnc=mnc, lac=lac, cid=cid, rssi_dbm=rssi),)


def _dbm(p: Packet) -> int:
    """Without its sign; SPEC-GAP: above 127 it can only be a two's complement."""
    byte = p.number(1)
    return byte - 256 if byte > 127 else -byte


def network(p: Packet, mnc_bytes: int = 0) -> None:
    """[N], MCC: bit 15 of the mcc says that the mnc has two bytes."""
    mcc = p.number(2)
    p.network = (mcc & 0x7FFF, p.number(mnc_bytes or 1 + (mcc >> 15)))
    p.known = True


def lbs(lac: int = 2, cid: int = 3, mnc: int = 0) -> Block:
    """The serving cell; the arguments are widths."""

    def read(p: Packet) -> None:
        network(p, mnc)
        p.cells += cell(*p.network, p.number(lac), p.number(cid))

    return read


def neighbours(p: Packet, count: int, lac: int, cid: int) -> None:
    """Cells of the same network; a cell that is named again is left out."""
    for _ in range(min(count, p.left // (lac + cid + 1))):
        found = cell(*p.network, p.number(lac), p.number(cid), _dbm(p))
        if all((one.lac, one.cid) != (known.lac, known.cid) for one in found for known in p.cells):
            p.cells += found


def scan(lac: int, cid: int) -> Block:
    """The serving cell and six neighbours, zeros where there are fewer."""

    def read(p: Packet) -> None:
        network(p)
        neighbours(p, 7, lac, cid)

    return read


def access_points(p: Packet, count: int) -> None:
    for _ in range(min(count, p.left // 7)):
        mac, rssi_dbm = p.take(6), _dbm(p)
        if any(mac):
            p.wifi.append(WifiAp(mac=mac.hex(":"), rssi_dbm=rssi_dbm))


def status(p: Packet) -> None:
    bits = p.number(1)
    for name, mask in (("armed", 1), ("ignition", 2), ("charging", 4), ("blocked", 128)):
        p.say(name, bool(bits & mask))
    if alarm := STATUS_ALARMS.get(bits >> 3 & 7):
        p.alarms.add(alarm)


def volt(p: Packet) -> None:
    """[1.0], voltage level: seven levels; SPEC-GAP: above them, percent."""
    level = p.number(1)
    if level <= 100:
        p.say("battery_percent", level * 100 // 6 if level <= 6 else level)


def skip(size: int) -> Block:
    return lambda p: p.take(size)


def number(name: str, size: int, *, per: int = 1, times: int = 1) -> Block:
    """A term, the width of its unsigned number, and its scale."""
    if per > 1:
        return lambda p: p.say(name, p.number(size) / per)
    return lambda p: p.say(name, p.number(size) * times)


def flag(name: str) -> Block:
    return lambda p: p.say(name, p.number(1) != 0)


def digits(name: str, size: int) -> Block:
    """A number that is written, not counted; nothing but zeros is none."""

    def read(p: Packet) -> None:
        raw = p.take(size)
        if any(raw):
            p.say(name, raw.hex())

    return read


def altitude(p: Packet) -> None:
    p.altitude_m = float(p.number(2, signed=True))


def own_number(p: Packet) -> None:
    p.ident = ident_of(p.take(8))


lbs_2g, lbs_4g, lbs_wide = lbs(), lbs(4, 8), lbs(cid=4)
external, gsm = number("external_v", 2, per=100), number("gsm_level", 1)
odometer, minutes = number("odometer_m", 4), number("engine_hours_s", 3, times=60)
alarm: Block = lambda p: p.event(p.number(1), MODEL_ALARMS.get(p.model, ALARMS))  # noqa: E731
wifi: Block = lambda p: access_points(p, p.take(2)[1])  # noqa: E731 - as the rows above
"""Timing advance, number of access points, and they."""


def run(p: Packet, blocks: tuple[Block, ...]) -> None:
    for block in blocks:
        block(p)
