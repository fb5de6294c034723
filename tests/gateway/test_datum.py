"""WGS-84, GCJ-02 and BD-09: known points, and the way there and back."""

from datetime import UTC, datetime
from math import cos, hypot, radians

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway import datum
from gateway.datum import to_wgs84
from model import Fix
from protocols.base import Datum

METRES_PER_DEGREE = 111_320


def metres(a, b):
    north = (a[0] - b[0]) * METRES_PER_DEGREE
    return hypot(north, (a[1] - b[1]) * METRES_PER_DEGREE * cos(radians(a[0])))


# China and a good way round it; the seam of the rough box is no place of China.
SEAM = 0.02
in_china = st.tuples(
    st.floats(datum.SOUTH + SEAM, datum.NORTH - SEAM),
    st.floats(datum.WEST + SEAM, datum.EAST - SEAM),
)

FORWARD = {Datum.GCJ02: datum.gcj02_from_wgs84, Datum.BD09: datum.bd09_from_wgs84}
BACK = {Datum.GCJ02: datum.wgs84_from_gcj02, Datum.BD09: datum.wgs84_from_bd09}


@pytest.mark.parametrize("system", FORWARD)
@given(place=in_china)
@example(place=(39.9087, 116.3975))
@example(place=(35.0, 105.0))  # the root in the formula has its kink here
@example(place=(30.0, 105.0 + 1e-12))
def test_there_and_back_within_a_micrometre(system, place):
    assert metres(BACK[system](*FORWARD[system](*place)), place) < 1e-6


@pytest.mark.parametrize("system", FORWARD)
@given(place=in_china)
def test_the_offset_is_of_the_size_that_maps_show(system, place):
    assert 10 < metres(FORWARD[system](*place), place) < 3000


@pytest.mark.parametrize("shift", [*FORWARD.values(), *BACK.values()])
@given(place=st.tuples(st.floats(-90, 90), st.floats(-180, 180)))
def test_outside_the_box_nothing_moves(shift, place):
    if not datum.inside(*place):
        assert shift(*place) == place


@pytest.mark.parametrize("place", [(51.5, -0.12), (-33.9, 151.2), (40.7, -74.0), (0.0, 0.0)])
def test_the_rest_of_the_world(place):
    assert not datum.inside(*place)


@given(place=st.tuples(st.floats(-90, 90), st.floats(-180, 180)))
def test_a_fix_is_always_a_place(place):
    fix = Fix(
        time=datetime(2026, 1, 2, tzinfo=UTC),
        valid=True,
        latitude_deg=place[0],
        longitude_deg=place[1],
        speed_mps=3.0,
    )
    assert to_wgs84(fix, Datum.WGS84) is fix
    for system in FORWARD:
        moved = to_wgs84(fix, system)
        assert moved.speed_mps == 3.0
        assert metres((moved.latitude_deg, moved.longitude_deg), place) < 5000
