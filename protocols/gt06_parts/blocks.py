"""The blocks of single GT06 packets. Documents as in `protocols/gt06.py`."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from model import Alarm, Scalar
from protocols.fields import storable
from protocols.gt06_parts.packet import (
    MPS,
    Block,
    Packet,
    access_points,
    alarm,
    altitude,
    clock,
    digits,
    external,
    gps,
    gsm,
    lbs,
    lbs_2g,
    neighbours,
    number,
    odometer,
    own_number,
    place,
    run,
    skip,
    status,
    unix_clock,
    volt,
)

CAMERA_ALARMS = {  # SPEC-GAP: type 95
    0x01: Alarm.SOS, 0x90: Alarm.HARSH_ACCELERATION, 0x91: Alarm.HARSH_BRAKING,
    0x92: Alarm.HARSH_CORNERING,
}  # fmt: skip
UPLOAD_MODES = (  # [N], data upload mode: why a 22 or A0 was sent
    "interval", "distance", "corner", "ignition", "stopped", "before_link_loss", "ephemeris", "key",
    "power_on", "9", "static_last_fix", "wifi", "on_demand", "static_last_fix", "static_interval",
)  # fmt: skip


def uploaded(p: Packet) -> None:
    p.telemetry.update(upload(p.take(3)))


@lru_cache(maxsize=512)
def upload(data: bytes) -> Mapping[str, Scalar]:
    """[N], data upload mode: ignition, why it was sent, and whether it was stored before that."""
    ignition, mode, again = data
    trigger = UPLOAD_MODES[mode] if mode < len(UPLOAD_MODES) else str(mode)
    return MappingProxyType({"ignition": ignition != 0, "trigger": trigger, "backfill": again == 1})


def location_tail(p: Packet) -> None:
    """SPEC-GAP: what follows the cell in a 12 is told by its length."""
    size = p.left
    if size == 2:
        word = p.number(2)
        p.say("ignition", bool(word & 0x8000))
        p.say("input_2", bool(word & 0x4000))
        p.say("adc_1_v", (word & 0x3FFF) / 10)
    elif size == 5:
        run(p, (status, external, gsm))
    elif size >= 4:
        odometer(p)
        if size > 5 and (card := p.text(p.number(1))):
            if card != "0":
                p.say("driver_id", card)
            if p.number(1) == 1:
                p.alarms.add(Alarm.GENERAL)
            p.take(1)
            p.say("io_driving_time", p.number(2))


BEHIND_LBS = {0x16: (5, 13), 0x26: (5, 13), 0x27: (6, 14), 0x32: (5, 7), 0xA4: (6, 14)}
"""How many bytes follow the cell: status to language, with what devices add to it."""


def alarm_report(p: Packet) -> None:
    """The byte before the cell counts the cell, with or without itself; the rest decides."""
    left, head = p.left, p.content[p.at : p.at + 2]
    if left == 13 or not head or head[0] > 17 or 0 < head[0] < 8:
        run(p, (lbs_2g, status, volt, gsm))  # SPEC-GAP: older form without counter, alarm
        return
    count = p.number(1)
    mnc = 2 if p.kind == 0x32 or head[1:] >= b"\x80" else 1
    usual = 2 + mnc + (12 if count >= 15 else 6 if p.kind == 0x32 else 5)
    sizes = (0, usual) if count == 0 else (usual, usual + 1, count - 1, count)
    size = next((n for n in sizes if left - 1 - n in BEHIND_LBS[p.kind]), sizes[0])
    if size:
        lac = 4 if size - mnc >= 14 else 2
        lbs(lac, size - 2 - mnc - lac, mnc)(p)
    run(p, (status, volt, gsm, alarm, skip(1)))
    if p.kind in (0x27, 0xA4) and (fence := p.number(1)) != 0xFF:
        p.say("geofence", fence)
    if p.left == 2:
        altitude(p)
    elif p.left == 8:
        digits("driver_id", 8)(p)


def heartbeat(p: Packet) -> None:
    if p.left == 16:  # SPEC-GAP: with a thermometer
        p.say("battery_percent", p.content[5])
        p.say("temperature_c", (int.from_bytes(p.content[-2:], "big") & 0x7FFF) / 10)
    else:
        run(p, (status, volt, gsm))


def answer(p: Packet) -> None:
    """15: length, the command's flag, text, language. Some tell the SIM's number so."""
    size, flag = p.number(1), p.number(4)
    text = p.text(size - 4 if 4 < size <= p.left + 4 else max(0, p.left - 2))
    if flag == 0 and text.strip("<>").startswith("ICCID:"):
        p.say("iccid", text.strip("<>")[6:].strip())
    else:
        p.result = (text, str(flag))


def long_answer(p: Packet) -> None:
    flag, coding = p.number(4), p.number(1)
    raw = p.take(p.left)
    text = raw.decode("utf-16-be" if coding == 2 else "utf-8", "replace")
    p.result = (storable(text.strip(" \0")), str(flag))


def camera(p: Packet) -> None:
    """SPEC-GAP: 95 in three forms; the shortest bears no place, and its 01 is no call for help."""
    table = CAMERA_ALARMS
    if p.content.startswith(b"\xff\xff"):
        run(p, (skip(3), clock))
        p.satellites = p.number(1) & 0x0F
        place(p)
        p.speed_mps = p.number(2) / 3.6
        number("external_v", 2, per=10)(p)
    else:
        clock(p)
        if p.left > 8:
            place(p)
        else:
            table = {**CAMERA_ALARMS, 0x01: Alarm.GENERAL}
    p.event(p.number(1), table)
    if p.left > 2:
        p.take(2)
        p.say("io_files", p.text())


OBD = {  # SPEC-GAP: keys of 8C, whose values are hex of hundredths
    b"283": ("odometer_m", 10.0), b"473": ("fuel_used_l", 0.01), b"2D3": ("coolant_c", 0.01),
    b"353": ("obd_speed_mps", 1 / 360), b"363": ("engine_rpm", 0.01),
    b"493": ("engine_hours_s", 36.0), b"2B3": ("io_2B3", 0.01),
}  # fmt: skip


def obd(p: Packet) -> None:
    """SPEC-GAP: time, 01, `key=hex,` and a GPS block at the end."""
    run(p, (clock, skip(1)))
    text = p.take(max(0, p.left - 12))
    for key, equals, figures in (part.partition(b"=") for part in text.split(b",")):
        if not equals or not 0 < len(figures) <= 16:
            continue
        try:
            value = int(figures, 16)
        except ValueError:
            continue
        if key == b"223":
            p.say("ignition", value != 0)
        elif key in OBD:
            name, scale = OBD[key]
            p.say(name, round(value * scale, 9))
    gps(p)


def asset_report(p: Packet) -> None:
    """AZ735, SPEC-GAP: 7979 with 32 or 33."""
    clock(p)
    if (size := p.number(1)) >= 12:
        p.inside(p.take(size), gps)
    if (size := p.number(1)) > 1:
        p.inside(p.take(size - 1), lbs_2g)
    gsm(p)
    neighbours(p, p.number(1) // 6, 2, 3)
    access_points(p, p.number(1) // 7)
    number("status_word", 1)(p)
    if p.kind == 0x33:
        alarm(p)


def tagged(length_bytes: int, tags: Mapping[int, Block]) -> Block:
    """Tag, length, value; tags without a reader stay in the raw frame."""

    def read(p: Packet) -> None:
        while p.left >= 2 + length_bytes:
            tag = p.number(2)
            value = p.take(p.number(length_bytes))
            if block := tags.get(tag):
                p.inside(value, block)
        p.known = True

    return read


def _module_fix(p: Packet) -> None:
    unix_clock(p)
    p.satellites = p.number(1)
    altitude(p)
    latitude, longitude = p.number(4), p.number(4)
    p.speed_mps = MPS[p.number(1)]
    p.locate(latitude, longitude, p.number(2))


def _module_inputs(p: Packet) -> None:
    bits = p.number(1)
    p.say("inputs", bits)
    p.say("door", bool(bits & 1))
    p.say("tamper", bool(bits & 0x10))


def _module_hdop(p: Packet) -> None:
    p.hdop = p.number(1) / 10


def _module_time(p: Packet) -> None:
    if p.time is None:  # that of the fix counts
        unix_clock(p)


def _satellites(p: Packet) -> None:
    if p.satellites is None:
        p.satellites = p.number(1)


def _iccid(p: Packet) -> None:
    p.say("iccid", p.take(10).hex().rstrip("f"))


def _imsi(p: Packet) -> None:
    p.say("imsi", p.take(8).hex().lstrip("0").rstrip("f"))


def _door(p: Packet) -> None:
    clock(p)
    bits = p.number(1)
    p.say("door", bool(bits & 1))
    p.say("input_1", bool(bits & 4))


def _fuel_sensor(p: Packet) -> None:
    """SPEC-GAP: `[time] !AIOIL,02,008.290,029.600,519J,0400,008.430,...`."""
    if not p.content.startswith(b"!", p.at):
        clock(p)
    fields = p.text().split(",")
    for name, index in (("temperature_c", 3), ("fuel_l", 6)):
        if index < len(fields) and fields[index].replace(".", "", 1).isdecimal():
            p.say(name, float(fields[index]))


def _climate(p: Packet) -> None:
    p.say("temperature_c", p.number(4, signed=True) / 10)
    p.say("humidity_percent", p.number(4) / 10)


def _settings(p: Packet) -> None:
    """`ALM1=45;STA1=40;DYD=01;...` [N], information transfer."""
    for name, equals, value in (part.partition("=") for part in p.text().split(";")):
        if equals and name.isalnum() and name.isascii():
            p.say(f"io_{name}", value)


def _voltage(p: Packet) -> None:
    """[N], information transfer: of the supply. SPEC-GAP: 2.37 V was seen, perhaps of an input."""
    p.say("external_v", p.number(2) / 100)
    p.say("adc_1_v", p.telemetry["external_v"])


def information(p: Packet) -> None:
    subtype = p.number(1)
    if block := INFORMATION.get(subtype):
        block(p)
    else:
        p.say(f"io_94_{subtype:02x}", p.take(p.left).hex())


def serial_port(p: Packet) -> None:
    number("io_port", 1)(p)
    p.say("io_serial", p.take(p.left).hex())


def nothing(p: Packet) -> None:
    """A packet that says no more than that the device is there, or that is only archived."""
    p.known = True


def address_request(p: Packet) -> None:
    """[1.0]: GPS, phone, language. The position is that of the reports around it."""
    p.take(12)
    p.say("phone", p.text(21))


def picture(p: Packet) -> None:
    """SPEC-GAP: a picture is offered; its number, last in the packet, fetches it."""
    p.say("io_picture", p.content[-4:].hex())


def driver_number(p: Packet) -> None:
    if number := p.number(4):
        p.say("driver_id", str(number))


def driver_text(p: Packet) -> None:
    if p.left:
        p.say("driver_id", p.take(p.left).hex())


INFORMATION: dict[int, Block] = {  # [N], information transfer: the sub-types of a long 94
    0x00: _voltage,
    0x04: _settings,
    0x05: _door,
    0x0A: lambda p: run(p, (own_number, _imsi, _iccid)),
    0x0B: external,
    0x0D: _fuel_sensor,
    0x1B: lambda p: p.say("driver_id", p.text()),
    0x1E: _climate,
}

MODULE: dict[int, Block] = {  # SPEC-GAP: the tags of 70
    0x01: own_number,
    0x02: _imsi,
    0x03: _iccid,
    0x09: _satellites,
    0x0A: number("satellites_in_view", 1),
    0x11: lbs(2, 4, 2),
    0x18: number("battery_v", 2, per=100),
    0x28: _module_hdop,
    0x29: number("index", 4),
    0x2A: _module_inputs,
    0x2B: number("boot_reason", 1),
    0x2C: _module_time,
    0x2E: odometer,
    0x33: _module_fix,
    0x34: lambda p: p.event(p.number(1), {0x12: Alarm.REMOVED}),
}
VEHICLE: dict[int, Block] = {  # SPEC-GAP: the tags of 37 and 38
    0x2E: odometer,
    0x3B: number("io_3b", 2),
    0x3C: number("status_word", 4),
}
