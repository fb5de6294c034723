"""One NMEA 0183 epoch, all sentences of one time of day, made into one fix.

    $GPGGA,092725.00,...  $GPGSA,...  $GPGSV,...  $GPRMC,092725.00,...  $GPVTG,...   -> Fix

[0183]  NMEA 0183 4.11: fields, status and mode letters, quality indicators
[PUBX]  u-blox 8 / M8 receiver description, section 31.3 (PUBX,00)

Of sentences that state a position the last valid one speaks. A receiver that says "void" anywhere
makes the fix invalid: then a position is its last known one, and without a position there is no
fix at all.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from math import hypot

from core_ext.nmea import Value
from model import DeviceIdentity, Fix, FixSource, Satellite, Scalar, TimeSource
from protocols.fields import MPS_PER_KNOT

MPS_PER_KMH = 1 / 3.6
NO_DOP = 99.0  # receivers write 99.0, 99.9, 99.99 for "none"
PIVOT_YEAR = 80  # two-digit years from 80 on are of the last century: GPS began in 1980

Values = tuple[Value, ...]
Place = tuple[float, float]

TIME_AT = {"GGA": 0, "RMC": 0, "GLL": 2, "GNS": 0, "ZDA": 0, "GST": 0, "GBS": 0, "PUBX": 0}
"""Where a kind states the time of day; kinds that are not here join the epoch that is open."""

# Where latitude and longitude stand; [0183] of each.
PLACE_AT = {"GGA": 1, "RMC": 2, "GLL": 0, "GNS": 1, "RMA": 1, "PUBX": 1}

SOURCES = {  # RMC, GLL, GNS mode letters; GGA quality indicators
    "E": FixSource.ESTIMATED, "M": FixSource.MANUAL, "S": FixSource.SIMULATED,
    6: FixSource.ESTIMATED, 7: FixSource.MANUAL, 8: FixSource.SIMULATED,
}  # fmt: skip


class Epoch:
    """Sentences as they come; `fix` is what they say together."""

    __slots__ = (
        "device", "extra", "opened", "parts", "said", "satellites", "size", "time_us",
    )  # fmt: skip

    def __init__(self, device: DeviceIdentity | None, opened: datetime) -> None:
        self.device = device
        self.opened = opened  # when the first sentence came
        self.time_us: int | None = None  # UTC time of day
        self.parts: list[bytes] = []
        self.size = 0
        self.said: dict[str, Values] = {}  # the newest of each kind, in order of arrival
        self.extra: dict[str, Scalar] = {}  # what a dialect adds
        self.satellites: int | None = None  # likewise

    @property
    def raw(self) -> bytes:
        return b"".join(self.parts)

    def keep(self, raw: bytes) -> None:
        self.parts.append(raw)
        self.size += len(raw)

    def say(self, kind: str, values: Values) -> None:
        self.said.pop(kind, None)
        self.said[kind] = values

    @property
    def date(self) -> date | None:
        """The date that its own sentences state."""
        said = self.said
        if (zda := said.get("ZDA")) and (found := _date(zda[3], zda[2], zda[1])):
            return found
        if (rmc := said.get("RMC")) and isinstance(rmc[6], int):
            day, month, year = rmc[6] // 10000, rmc[6] // 100 % 100, rmc[6] % 100
            return _date(year + (1900 if year >= PIVOT_YEAR else 2000), month, day)
        return None

    def fix(
        self,
        time: datetime,
        time_source: TimeSource,
        sky: tuple[Satellite, ...],
        used: int | None,
    ) -> Fix | None:
        """None when no sentence states a position."""
        said = self.said
        place: Place | None = None
        last_known: Place | None = None
        verdicts: list[bool] = []
        source = FixSource.GNSS
        for kind, values in said.items():
            if (at := PLACE_AT.get(kind)) is None:
                continue
            verdict, manner = _verdict(kind, values)
            if verdict is not None:
                verdicts.append(verdict)
            latitude, longitude = values[at], values[at + 1]
            if isinstance(latitude, float) and isinstance(longitude, float):
                last_known = latitude, longitude
                if verdict:
                    place = last_known
                    source = manner
        place = place or last_known
        if place is None:
            return None
        gga, gns, rmc, rma = (said.get(kind) for kind in ("GGA", "GNS", "RMC", "RMA"))
        vtg, gsa, pubx = said.get("VTG"), said.get("GSA"), said.get("PUBX")
        speed = _speed(rmc, vtg, pubx, rma)
        course = _first(rmc and rmc[5], vtg and vtg[0], pubx and pubx[8], rma and rma[4])
        hdop = _first(gga and gga[5], gns and gns[5], gsa and gsa[15], pubx and pubx[11])
        count = _first(gga and gga[4], gns and gns[4], pubx and pubx[14], self.satellites, used)
        return Fix(
            time=time,
            valid=bool(verdicts) and all(verdicts),
            latitude_deg=place[0],
            longitude_deg=place[1],
            altitude_m=_within(
                # SPEC-GAP: [PUBX] counts from the ellipsoid; taken where nothing else is said.
                _first(gga and gga[6], gns and gns[6], pubx and pubx[3]),
                -1e5,
                1e8,
            ),
            speed_mps=_within(speed, 0, 9e4),
            course_deg=None if course is None or not 0 <= course <= 360 else course % 360,
            accuracy_m=_accuracy(said),
            hdop=_dop(hdop),
            satellites=None if count is None or not 0 <= count < 1000 else int(count),
            source=source,
            time_source=time_source,
            telemetry=self._telemetry(gga, gns, sky),
            sky=sky,
        )

    def _telemetry(
        self, gga: Values | None, gns: Values | None, sky: tuple[Satellite, ...]
    ) -> Mapping[str, Scalar]:
        gsa, gst, pubx = self.said.get("GSA"), self.said.get("GST"), self.said.get("PUBX")
        climb = _first(pubx and pubx[9])
        told = {
            "fix_quality": _first(gga and gga[3]),
            "geoid_separation_m": _first(gga and gga[7], gns and gns[7]),
            "pdop": _dop(_first(gsa and gsa[14])),
            "vdop": _dop(_first(gsa and gsa[16], pubx and pubx[12])),
            "vertical_accuracy_m": _first(gst and gst[7], pubx and pubx[6]),
            "climb_mps": None if climb is None else -climb,
        }
        stated = {name: said for name, said in told.items() if said is not None}
        return {**stated, **in_view(sky), **self.extra}


def in_view(sky: tuple[Satellite, ...]) -> dict[str, Scalar]:
    """A satellite counts once, however many of its signals are received."""
    count = len({(one.system, one.svid) for one in sky})
    return {"satellites_in_view": count} if count else {}


def nearest(time_us: int, expected: datetime) -> datetime:
    """The moment with this time of day that is nearest to the one expected."""
    midnight = expected.replace(hour=0, minute=0, second=0, microsecond=0)
    moment = midnight + timedelta(microseconds=time_us)
    half = timedelta(hours=12)
    if moment - expected > half:
        return moment - timedelta(days=1)
    if expected - moment > half:
        return moment + timedelta(days=1)
    return moment


def at(day: date, time_us: int) -> datetime:
    """A leap second, 23:59:60, is the first of the next day."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(microseconds=time_us)


def _verdict(kind: str, values: Values) -> tuple[bool | None, FixSource]:
    """Whether the sentence calls its position valid, if it says so, and how it came to be."""
    if kind == "GGA":
        quality = values[3]
        verdict = None if quality is None else quality != 0
        return verdict, SOURCES.get(_key(quality), FixSource.GNSS)
    if kind == "GNS":
        letters = str(values[3] or "N")
        best = next((letter for letter in letters if letter != "N"), "N")
        return best != "N", SOURCES.get(best, FixSource.GNSS)
    if kind == "PUBX":  # [PUBX]: NF none, DR dead reckoning, G2 G3 D2 D3 RK TT
        state = values[4]
        manner = FixSource.ESTIMATED if state == "DR" else FixSource.GNSS
        return state not in (None, "NF"), manner
    status, mode = {"RMC": (1, 9), "GLL": (3, 4), "RMA": (0, 0)}[kind]
    manner = SOURCES.get(_key(values[mode]), FixSource.GNSS)
    if values[status] is None:  # SPEC-GAP: the GLL of NMEA 1.5 had no status
        return (True if kind == "GLL" else None), manner
    return values[status] in ("A", "D") and values[mode] != "N", manner


def _key(value: Value) -> int | str:
    return value if isinstance(value, int | str) else ""


def _first(*values: Values | Value) -> float | int | None:
    """The first number among them: an empty tuple or a None says nothing."""
    for value in values:
        if isinstance(value, int | float):
            return value
    return None


def _speed(
    rmc: Values | None, vtg: Values | None, pubx: Values | None, rma: Values | None
) -> float | None:
    knots = _first(rmc and rmc[4], vtg and vtg[3], rma and rma[3])
    if knots is not None:
        return knots * MPS_PER_KNOT
    kmh = _first(vtg and vtg[4], pubx and pubx[7])
    return None if kmh is None else kmh * MPS_PER_KMH


def _accuracy(said: dict[str, Values]) -> float | None:
    """Horizontal error: GST's standard deviations, GBS's expected errors, or PUBX's own figure."""
    for kind, at_north in (("GST", 5), ("GBS", 1)):
        if values := said.get(kind):
            north, east = values[at_north], values[at_north + 1]
            if isinstance(north, float) and isinstance(east, float):
                return _within(hypot(north, east), 0, 1e8)
    pubx = said.get("PUBX")
    return _within(_first(pubx and pubx[5]), 0, 1e8)


def _dop(value: float | None) -> float | None:
    return value if value is not None and 0 <= value < NO_DOP else None


def _within(value: float | None, low: float, high: float) -> float | None:
    return value if value is not None and low <= value < high else None


def _date(year: Value, month: Value, day: Value) -> date | None:
    if not (isinstance(year, int) and isinstance(month, int) and isinstance(day, int)):
        return None
    if not 1980 <= year <= 2200:
        return None
    try:
        return date(year, month, day)
    except ValueError:
        return None
