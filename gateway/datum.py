"""The coordinate systems of Chinese maps, to and from WGS-84.

    WGS-84  -- offset of 100 to 700 m, smooth in place -->  GCJ-02  -- twist -->  BD-09

GCJ-02 ("Mars coordinates") is what AMap, Tencent and trackers made for them report, BD-09 is
Baidu's. Neither has an official inverse: ours iterates until the forward formula gives the
input again, to 1e-11 degree (a micrometre). Outside a rough box around the mainland all three
are the same. In the box's own seam, some 700 m wide and everywhere outside China, no inverse
can be exact, since the forward formula jumps there.

SPEC-GAP: no official document of either system is public; the formulas are the ones that all
open map software uses and that agree with the providers' own services to a few centimetres.
"""

from collections.abc import Callable
from dataclasses import replace
from math import atan2, cos, hypot, pi, radians, sin, sqrt

from model import Event, Fix, Report
from protocols.base import Datum

Point = tuple[float, float]  # latitude, longitude, in degrees
Shift = Callable[[float, float], Point]

SOUTH, NORTH, WEST, EAST = 0.8293, 55.8271, 72.004, 137.8347
_SEMI_MAJOR_M = 6_378_245.0  # Krasovsky 1940
_ECCENTRICITY_SQUARED = 0.00669342162296594323
_ORIGIN = (35.0, 105.0)
_BAIDU_TURNS = 3000 * pi / 180
_BAIDU_SHIFT = (0.006, 0.0065)

_PRECISION_DEG = 1e-11
_MAX_ROUNDS = 30  # five are the rule: each gains two digits


def inside(latitude_deg: float, longitude_deg: float) -> bool:
    """In the rough box around the mainland, where the systems differ."""
    return SOUTH <= latitude_deg <= NORTH and WEST <= longitude_deg <= EAST


def gcj02_from_wgs84(latitude_deg: float, longitude_deg: float) -> Point:
    if not inside(latitude_deg, longitude_deg):
        return latitude_deg, longitude_deg
    north_m, east_m = _offset_m(latitude_deg - _ORIGIN[0], longitude_deg - _ORIGIN[1])
    phi = radians(latitude_deg)
    bend = 1 - _ECCENTRICITY_SQUARED * sin(phi) ** 2
    meridian_m = _SEMI_MAJOR_M * (1 - _ECCENTRICITY_SQUARED) / (bend * sqrt(bend))
    parallel_m = _SEMI_MAJOR_M / sqrt(bend) * cos(phi)
    return (
        latitude_deg + north_m / radians(meridian_m),
        longitude_deg + east_m / radians(parallel_m),
    )


def wgs84_from_gcj02(latitude_deg: float, longitude_deg: float) -> Point:
    if not inside(latitude_deg, longitude_deg):
        return latitude_deg, longitude_deg
    return _inverse(gcj02_from_wgs84, latitude_deg, longitude_deg)


def bd09_from_gcj02(latitude_deg: float, longitude_deg: float) -> Point:
    if not inside(latitude_deg, longitude_deg):
        return latitude_deg, longitude_deg
    radius = hypot(latitude_deg, longitude_deg) + 0.00002 * sin(latitude_deg * _BAIDU_TURNS)
    angle = atan2(latitude_deg, longitude_deg) + 0.000003 * cos(longitude_deg * _BAIDU_TURNS)
    return radius * sin(angle) + _BAIDU_SHIFT[0], radius * cos(angle) + _BAIDU_SHIFT[1]


def gcj02_from_bd09(latitude_deg: float, longitude_deg: float) -> Point:
    if not inside(latitude_deg, longitude_deg):
        return latitude_deg, longitude_deg
    return _inverse(bd09_from_gcj02, latitude_deg, longitude_deg)


def bd09_from_wgs84(latitude_deg: float, longitude_deg: float) -> Point:
    return bd09_from_gcj02(*gcj02_from_wgs84(latitude_deg, longitude_deg))


def wgs84_from_bd09(latitude_deg: float, longitude_deg: float) -> Point:
    return wgs84_from_gcj02(*gcj02_from_bd09(latitude_deg, longitude_deg))


_TO_WGS84: dict[Datum, Shift] = {
    Datum.GCJ02: wgs84_from_gcj02,
    Datum.BD09: wgs84_from_bd09,
}


def to_wgs84(fix: Fix, datum: Datum) -> Fix:
    """The fix, whose coordinates are in `datum`, in WGS-84."""
    shift = _TO_WGS84.get(datum)
    if shift is None:
        return fix
    latitude_deg, longitude_deg = shift(fix.latitude_deg, fix.longitude_deg)
    return replace(fix, latitude_deg=latitude_deg, longitude_deg=longitude_deg)


def event_to_wgs84(event: Event, datum: Datum) -> Event:
    """The event with all its fixes in WGS-84; what has no fix is as it was."""
    if datum is Datum.WGS84 or not isinstance(event, Report):
        return event
    return replace(event, fixes=tuple(to_wgs84(fix, datum) for fix in event.fixes))


def _inverse(forward: Shift, latitude_deg: float, longitude_deg: float) -> Point:
    """The point that `forward` moves to the one given: correct the guess by what it misses."""
    lat, lon = latitude_deg, longitude_deg
    for _ in range(_MAX_ROUNDS):
        there = forward(lat, lon)
        north, east = latitude_deg - there[0], longitude_deg - there[1]
        lat, lon = lat + north, lon + east
        if abs(north) < _PRECISION_DEG and abs(east) < _PRECISION_DEG:
            break
    return lat, lon


def _offset_m(y: float, x: float) -> Point:
    """Metres north and east by which GCJ-02 moves a place `y`, `x` degrees from the origin."""
    shared = (20 * sin(6 * pi * x) + 20 * sin(2 * pi * x)) * 2 / 3
    root = sqrt(abs(x))
    north = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root + shared
    north += (20 * sin(pi * y) + 40 * sin(pi / 3 * y)) * 2 / 3
    north += (160 * sin(pi / 12 * y) + 320 * sin(pi / 30 * y)) * 2 / 3
    east = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root + shared
    east += (20 * sin(pi * x) + 40 * sin(pi / 3 * x)) * 2 / 3
    east += (150 * sin(pi / 12 * x) + 300 * sin(pi / 30 * x)) * 2 / 3
    return north, east
