"""A part of the fuzzing in every test run: the same mutants each time. See `python -m tests.fuzz`."""

import pytest

from tests.fuzz.material import LANES, Lane, good, seeds
from tests.fuzz.run import Tally, cut_everywhere, hear_noise, mutant

MUTANTS = 500
NOISE_BYTES = 1_000_000
MARKS_BYTES = 200_000
CUT_BYTES = 1_000  # of messages that are cut at every offset


@pytest.fixture(params=LANES)
def lane(request: pytest.FixtureRequest) -> Lane:
    return LANES[request.param]


def test_mutants_make_events_and_cost_no_more_than_they_may(lane: Lane):
    tally = Tally()
    for number in range(MUTANTS):
        try:
            mutant(lane, number, tally)
        except Exception as error:
            error.add_note(f"python -m tests.fuzz --protocol {lane.name} --mutant {number}")
            raise
    assert tally.mutants == MUTANTS
    assert tally.kinds.total()


def test_a_cut_at_any_offset_costs_no_neighbour(lane: Lane):
    wires, size = [], 0
    for wire in seeds(lane):
        if size + len(wire) <= CUT_BYTES:
            wires.append(wire)
            size += len(wire)
    cut_everywhere(lane, tuple(wires), Tally())
    assert wires


@pytest.mark.parametrize(("marks", "size"), [(False, NOISE_BYTES), (True, MARKS_BYTES)])
def test_noise_leaves_nothing_behind(lane: Lane, marks: bool, size: int):
    tally = Tally()
    hear_noise(lane, 7, size, tally, marks=marks)
    assert 0 < tally.peak_bytes <= lane.held_bytes


def test_there_is_something_to_start_from(lane: Lane):
    assert len(good(lane)) >= 5
