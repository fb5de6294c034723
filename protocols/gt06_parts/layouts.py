"""Which blocks each GT06 packet is made of.

    12  clock(6) GPS(12) LBS(8) tail           22  clock GPS LBS acc(1) mode(1) re-upload(1)

LAYOUTS goes by type, DIALECTS by model and type. Documents as in `protocols/gt06.py`; known from
messages only (SPEC-GAP): 11, 17 with a length, 25, 31, 32, 34 to 38, 70, 8C, 95, A2 with GPS, A3,
F2, the XT40 form, the tails of 12.
"""

from protocols.gt06_parts.blocks import (
    MODULE,
    VEHICLE,
    address_request,
    alarm_report,
    answer,
    asset_report,
    camera,
    driver_number,
    driver_text,
    heartbeat,
    information,
    location_tail,
    long_answer,
    nothing,
    obd,
    picture,
    serial_port,
    tagged,
    uploaded,
)
from protocols.gt06_parts.packet import (
    Block,
    Packet,
    TooShort,
    access_points,
    alarm,
    altitude,
    bcd_time,
    checked,
    clock,
    digits,
    external,
    flag,
    gps,
    gsm,
    ident_of,
    lbs,
    lbs_2g,
    lbs_4g,
    lbs_wide,
    minutes,
    neighbours,
    network,
    number,
    odometer,
    own_number,
    run,
    scan,
    skip,
    status,
    unix_clock,
    volt,
    wifi,
)

_XT40_TAIL = (status, external, number("battery_v", 1, per=10), gsm, alarm, skip(1))
_XT40_HEAD = (skip(1), own_number, skip(6), clock, gps, skip(1))
_XT40_COUNTERS = (number("odometer_m", 3), minutes)
XT40: dict[int, tuple[Block, ...]] = {
    0x22: (*_XT40_HEAD, lbs_2g, *_XT40_TAIL, *_XT40_COUNTERS),
    0x25: (*_XT40_HEAD, lbs_wide, skip(1), *_XT40_TAIL, *_XT40_COUNTERS, skip(2), driver_text),
}
A2_WITH_GPS: tuple[Block, ...] = (
    clock, gps, lbs_4g, skip(1), status, external, volt, gsm, alarm, skip(1), odometer,
    number("engine_hours_s", 4, times=60), own_number, number("inputs", 2),
)  # fmt: skip

_CELLS_2G: tuple[Block, ...] = (clock, scan(2, 3))
_LOCATION: tuple[Block, ...] = (clock, gps, lbs_2g)
_ALARM: tuple[Block, ...] = (clock, gps, alarm_report)
LAYOUTS: dict[int, tuple[Block, ...]] = {
    **dict.fromkeys((0x08, 0x1F, 0x84, 0x86, 0x8A, 0x9C), (nothing,)),
    **dict.fromkeys((0x10, 0x11), (clock, gps)),
    **dict.fromkeys((0x16, 0x26, 0x27, 0x32, 0xA4), _ALARM),
    **dict.fromkeys((0x18, 0x24, 0x28, 0x2E), _CELLS_2G),
    **dict.fromkeys((0x1A, 0x2A), (clock, address_request)),
    0x12: (*_LOCATION, location_tail),
    0x13: (heartbeat,),
    0x15: (answer,),
    0x17: (*_LOCATION, digits("driver_id", 8)),
    0x19: (lbs_2g, status, volt, gsm, alarm),
    0x21: (long_answer,),
    0x22: (*_LOCATION, uploaded, odometer),
    0x23: (status, external, volt, gsm),
    0x25: _LOCATION,
    0x2C: (*_CELLS_2G, wifi),
    0x31: (clock, gps, lbs(2, 4, 2), uploaded, odometer, altitude),
    0x34: (
        skip(4), clock, gps, skip(2), odometer, lbs_wide, driver_number, external,
        number("battery_v", 2, per=100), skip(4), number("inputs", 1), number("outputs", 1),
        number("adc_1_v", 2, per=100), number("adc_2_v", 2, per=100),
    ),
    0x35: (picture,),
    0x36: (
        clock, gps, lbs_wide, uploaded, odometer, external, number("battery_v", 1, per=10),
        minutes, digits("driver_id", 8),
    ),
    0x37: (*_LOCATION, flag("ignition"), skip(2), tagged(1, VEHICLE)),
    0x38: (clock, gps, skip(3), lbs_4g, skip(2), tagged(1, VEHICLE)),
    0x70: (skip(5), tagged(2, MODULE)),
    0x8C: (obd,),
    0x94: (external,),
    0x95: (camera,),
    0x9B: (serial_port,),
    0xA0: (clock, gps, lbs_4g, uploaded, odometer),
    0xA1: (clock, scan(4, 8)),
    0xA2: (clock, scan(4, 8), wifi),
    0xA3: (
        status, skip(3), gsm, number("external_v", 1), skip(1), number("steps", 6),
        number("battery_percent", 1), skip(1), flag("motion"),
    ),
    0xA7: (lbs_4g, lambda p: p.say("phone", p.text(21))),
    0xF2: (unix_clock, skip(3), number("external_percent", 1), number("battery_cycles", 2)),
}  # fmt: skip
LONG_LAYOUTS: dict[int, tuple[Block, ...]] = {  # where a 7979 frame holds something else
    0x32: (asset_report,),
    0x33: (asset_report,),
    0x94: (information,),
}
DIALECTS: dict[tuple[str | None, int], tuple[Block, ...]] = {
    ("QH302R", 0x12): (own_number, *LAYOUTS[0x12]),
    ("R11", 0x13): (status, external, gsm),
    ("SEEWORLD", 0x13): (status, volt, gsm, number("external_v", 1)),
}


def layout_of(p: Packet, *, long: bool) -> tuple[Block, ...] | None:
    """The blocks of a packet: by model, by shape where a shape is unmistakable, by type."""
    kind, content = p.kind, p.content
    if (dialect := DIALECTS.get((p.model, kind))) is not None:
        return dialect
    if long and kind in LONG_LAYOUTS:
        return LONG_LAYOUTS[kind]
    if kind in XT40 and len(content) >= 50 and content[0] == 1 and ident_of(content[1:9]):
        return XT40[kind]  # no packet of the usual form is of the year 2001
    if kind == 0xA2 and len(content) > 6 and content[6] >= 0xC0:
        return A2_WITH_GPS  # no mobile country code is so high
    if kind == 0x12 and len(content) >= 26 and content[1] > 12:
        ident = ident_of(content[:8])
        if ident is not None and checked(ident):
            return DIALECTS["QH302R", kind]  # no such month, but an IMEI
    return LAYOUTS.get(kind)


def read(p: Packet, *, long: bool) -> str | None:
    """Read the packet; the reason if that is not possible.

    Blocks behind what matters may be missing or cut short: devices differ in how much they add.
    """
    layout = layout_of(p, long=long)
    if layout is None:
        return f"type {p.kind:02X}: no reader"
    if not p.content:
        return None
    try:
        run(p, layout)
    except TooShort as error:
        return None if p.known or p.result else str(error)
    return None


def read_wifi_form(p: Packet, count: int) -> None:
    """SPEC-GAP: 17 and 69 without length, serial and crc."""
    p.time = bcd_time(p.take(6))
    access_points(p, count)
    cells = p.number(1)
    network(p, 1)
    neighbours(p, cells, 2, 2)
