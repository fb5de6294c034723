"""What trackers and routers send beside NMEA 0183's own sentences: who they are, and positions.

    IMEI 351467108700000           $IMEI=355797031609284            086415031C20
    $PGID,359853000144328*0F       $DEVID,0x0103846677F21422*41     $PCPTI,CradlePoint Test,...*57
    $GPTXT,NET,1003,A1,-53,232 01*77
    123456789$GPGGA,...            4711/022789000688081/$GPRMC,...
    $GPRMC,...*71,11,865733027593268,1,090,086
    $PUBX,00,...,24,01012,0*6D     $TRCCR,20140111000000.000,A,60.0,60.0,...    $ID,350030950116536,...

[PUBX]  u-blox 8 / M8 receiver description, section 31.3 (PUBX,00)

Of the others no document is at hand: every form here is SPEC-GAP, read as it is seen on the wire.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime

from core_ext.nmea import Value
from model import Fix, Scalar
from protocols.fields import MPS_PER_KNOT, degrees_from_dm, number, within

MIN_DIGITS = 6  # of a bare identity: fewer make it a word

LOGINS = {"PGID", "DEVID", "GPFID", "GPID", "PCPTI", "IMEI", "GPIMEI", "PIMEI"}
"""Sentences whose first field is the identity."""

IMEI_LINE = re.compile(r"\W?(?:IMEI|imei)[ :=,]{1,3}(?P<ident>\w{8,20})\W*")
BARE_LINE = re.compile(r"[\[(<#]?(?P<ident>\w{8,20})[\])>#,;]?")
PREFIX = re.compile(r"(?:[^/$!]{1,20}/){0,2}(?P<ident>[\w-]{4,32})[/,;: ]?")
NET = re.compile(
    r"GPTXT,NET,(?P<ident>[^,]{1,32}),(?P<operator>[^,]*),(?P<rssi>-?\d{1,3})?,"
    r"(?P<mcc>\d{3})? ?(?P<mnc>\d{1,3})?"
)
# Behind an RMC's checksum: satellites, IMEI, ignition, fuel, battery, inputs.
TAIL = re.compile(
    r"\*[0-9A-Fa-f]{2},(?P<satellites>\d{1,2}),(?P<ident>\d{8,16}),(?P<ignition>[01])"
    r"(?:,(?P<fuel>\d{1,3}))?(?:,(?P<battery>\d{1,4}))?(?P<rest>(?:,[^,]*)*)\s*"
)
TRCCR = re.compile(
    r"TRCCR,(?P<time>\d{14})(?:\.(?P<fraction>\d{1,6}))?,(?P<valid>[AV]),"
    r"(?P<lat>-?\d+\.\d+),(?P<lon>-?\d+\.\d+),"
    r"(?P<knots>-?[\d.]*),(?P<course>-?[\d.]*),(?P<altitude>-?[\d.]*),(?P<battery>[\d.]*).*"
)
POSITIONED_ID = re.compile(
    r"ID,(?P<ident>\w{4,20}),(?P<head>.*?)"
    r"GPSE[A-Z]+,(?P<valid>[AV]),D,(?P<date>\d{6}),T,(?P<time>\d{6}),"
    r"S,(?P<in_view>\d+):(?P<used>\d+),"
    r"La,(?P<lat>\d+\.\d+),(?P<ns>[NS]),Lo,(?P<lon>\d+\.\d+),(?P<ew>[EW])(?P<tail>(?:,.*)?)"
)


@dataclass(frozen=True, slots=True)
class Said:
    """What a sentence of a dialect says: an identity, a fix, telemetry, or several of them."""

    ident: str | None = None
    fix: Fix | None = None
    satellites: int | None = None
    telemetry: dict[str, Scalar] = field(default_factory=dict)


def line(text: str) -> tuple[str, bool] | None:
    """The identity that a line of text states, and whether it says that it is one."""
    if found := IMEI_LINE.fullmatch(text):
        return found["ident"], True
    if (found := BARE_LINE.fullmatch(text)) and _digits(found["ident"]) >= MIN_DIGITS:
        return found["ident"], False
    return None


def prefix(text: str) -> str | None:
    """The identity that stands before a sentence."""
    if found := IMEI_LINE.fullmatch(text):
        return found["ident"]
    if (found := PREFIX.fullmatch(text)) and _digits(found["ident"]) >= min(
        MIN_DIGITS, len(found["ident"])
    ):
        return found["ident"]
    return None


def _digits(text: str) -> int:
    return sum(letter.isdecimal() for letter in text)


def sentence(address: str, body: str) -> Said | None:
    """What stands in a sentence (between the start mark and the checksum), when it is one of ours."""
    if address in LOGINS:
        ident = body.split(",")[1].strip() if "," in body else ""
        return Said(ident=ident) if ident else None
    if found := IMEI_LINE.fullmatch(body):
        return Said(ident=found["ident"])
    if address == "GPTXT" and (found := NET.match(body)):
        return Said(ident=found["ident"].strip(), telemetry=_network(found))
    if address == "TRCCR" and (found := TRCCR.fullmatch(body)):
        return _trccr(found)
    if address == "ID" and (found := POSITIONED_ID.fullmatch(body)):
        return _positioned(found)
    if address == "ID" and body.count(",") == 1:
        return Said(ident=body.split(",")[1].strip() or None)
    return None


def _network(found: re.Match[str]) -> dict[str, Scalar]:
    told: dict[str, Scalar] = {}
    if found["operator"]:
        told["operator"] = found["operator"]
    if found["rssi"]:
        told["rssi_dbm"] = int(found["rssi"])
    if found["mcc"] and found["mnc"]:
        told["io_mcc"], told["io_mnc"] = int(found["mcc"]), int(found["mnc"])
    return told


def _trccr(found: re.Match[str]) -> Said:
    moment = datetime.strptime(found["time"], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    battery = number(found["battery"])
    fix = Fix(
        time=moment.replace(microsecond=int((found["fraction"] or "").ljust(6, "0"))),
        valid=found["valid"] == "A",
        latitude_deg=float(found["lat"]),
        longitude_deg=float(found["lon"]),
        altitude_m=within(found["altitude"], -1e5, 1e8),
        speed_mps=_knots(found["knots"]),
        course_deg=within(found["course"], 0, 360),
        # The unit is not known; taken as volts, as other readers of this sentence do.
        telemetry={} if battery is None else {"battery_v": battery},
    )
    return Said(fix=fix)


def _positioned(found: re.Match[str]) -> Said:
    moment = datetime.strptime(found["date"] + found["time"], "%d%m%y%H%M%S").replace(tzinfo=UTC)
    words = found["tail"].split(",")[1:]
    tail = dict(zip(words[::2], words[1::2], strict=False))
    head = dict(re.findall(r"(ALARM|[OI]),(0x[0-9A-Fa-f]+)", found["head"]))
    told: dict[str, Scalar] = {"satellites_in_view": int(found["in_view"])}
    for name, term in (("O", "outputs"), ("I", "inputs")):
        if name in head:
            told[term] = int(head[name], 16)
    if "ALARM" in head:
        told["status_word"] = head["ALARM"].removeprefix("0x")
    if (distance := number(tail.get("DD"))) is not None:
        told["io_dd"] = distance
    fix = Fix(
        time=moment,
        valid=found["valid"] == "A",
        latitude_deg=float(found["lat"]) * (-1 if found["ns"] == "S" else 1),
        longitude_deg=float(found["lon"]) * (-1 if found["ew"] == "W" else 1),
        speed_mps=_knots(tail.get("V", "")),
        course_deg=within(tail.get("H"), 0, 360),
        satellites=int(found["used"]),
        telemetry=told,
    )
    return Said(ident=found["ident"], fix=fix)


def _knots(word: str) -> float | None:
    knots = within(word, 0, 1e5)
    return None if knots is None else knots * MPS_PER_KNOT


def tail(raw: str) -> Said | None:
    """What a tracker writes behind the checksum of its RMC."""
    found = TAIL.search(raw)
    if found is None or found.end() != len(raw):
        return None
    told: dict[str, Scalar] = {"ignition": found["ignition"] == "1"}
    if found["fuel"]:
        told["fuel_percent"] = int(found["fuel"])
    if found["battery"]:
        # The unit is not known; taken as volts, as other readers of this sentence do.
        told["battery_v"] = int(found["battery"])
    for number_of, word in enumerate(found["rest"].split(",")[1:], 1):
        if word.strip():
            told[f"io_{number_of}"] = word.strip()
    return Said(ident=found["ident"], satellites=int(found["satellites"]), telemetry=told)


def pubx(body: str) -> tuple[tuple[Value, ...], str | None] | None:
    """[PUBX] of `PUBX,00`: its values, positions in degrees, and the identity that some units
    write into the reserved field. None when it is cut short or another PUBX.
    """
    words = body.split(",")
    if len(words) < 20 or words[1] != "00":
        return None
    told: list[Value] = [_time_us(words[2]), *_place(words[3:7])]
    told.append(number(words[7]))
    told.append(words[8] or None)
    told += [number(word) for word in words[9:19]]
    ident = words[19].strip() if len(words[19].strip()) >= 4 else None
    return tuple(told), ident


def _time_us(word: str) -> int | None:
    found = re.fullmatch(r"([01]\d|2[0-3])([0-5]\d)([0-5]\d|60)(?:\.(\d*))?", word, re.ASCII)
    if found is None:
        return None
    seconds = int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3])
    return seconds * 1_000_000 + int((found[4] or "").ljust(6, "0")[:6])


def _place(words: list[str]) -> tuple[float | None, float | None]:
    if words[1] not in ("N", "S") or words[3] not in ("E", "W"):
        return None, None
    if not all(re.fullmatch(r"\d{3,5}\.\d+", word, re.ASCII) for word in (words[0], words[2])):
        return None, None
    try:
        place = degrees_from_dm(words[0], words[1]), degrees_from_dm(words[2], words[3])
    except ValueError:
        return None, None
    return place if abs(place[0]) <= 90 and abs(place[1]) <= 180 else (None, None)
