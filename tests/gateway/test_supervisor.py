"""The supervisor never gives up, waits longer each time, and stops when told to."""

import asyncio
from contextlib import suppress
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.supervisor import Backoff, keep


class Script:
    """Runs of a link: each entry is an exception to raise or None to end quietly."""

    def __init__(self, *outcomes: Exception | None):
        self.outcomes = list(outcomes)
        self.waits: list[float] = []
        self.told: list[str] = []
        self.over = asyncio.Event()

    async def once(self):
        if not self.outcomes:
            self.over.set()
            await asyncio.Event().wait()
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            raise outcome

    async def sleep(self, span_s: float):
        self.waits.append(span_s)
        await asyncio.sleep(0)

    async def play(self, backoff: Backoff):
        task = asyncio.create_task(
            keep(self.once, name="x", report=self.told.append, backoff=backoff, sleep=self.sleep)
        )
        await self.over.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@given(
    st.floats(0.001, 10), st.floats(1, 1000), st.integers(1, 10_000), st.integers(0, 2**32)
)  # fmt: skip
def test_a_wait_lies_in_the_upper_half_of_its_doubled_span(first, factor, failures, seed):
    backoff = Backoff(first_s=first, longest_s=first * factor, rng=Random(seed))
    full = min(backoff.longest_s, first * 2.0 ** min(failures - 1, 64))
    assert full / 2 <= backoff.wait_s(failures) <= full


def test_the_same_seed_waits_the_same():
    one, two = (Backoff(rng=Random(7)) for _ in range(2))
    assert [one.wait_s(n) for n in range(1, 9)] == [two.wait_s(n) for n in range(1, 9)]


def test_a_backoff_without_a_wait_is_refused():
    with pytest.raises(ValueError, match="not a backoff"):
        Backoff(first_s=0.0)


async def test_failures_wait_longer_and_longer_up_to_a_limit():
    script = Script(*[OSError("no") for _ in range(8)])
    await script.play(Backoff(first_s=1, longest_s=8, rng=Random(1)))
    spans = [1, 2, 4, 8, 8, 8, 8, 8]
    for wait, span in zip(script.waits, spans, strict=True):
        assert span / 2 <= wait <= span


async def test_the_same_failure_is_told_once_and_a_new_one_again():
    script = Script(OSError("gone"), OSError("gone"), OSError("busy"), OSError("gone"))
    await script.play(Backoff())
    assert script.told == [f"x: {why}; trying again" for why in ("gone", "busy", "gone")]


async def test_a_quiet_end_is_restarted_too_and_a_textless_error_is_named():
    script = Script(None, KeyError())
    await script.play(Backoff())
    assert script.told == ["x: ended; trying again", "x: KeyError; trying again"]


async def test_a_healthy_span_resets_the_wait_and_the_telling():
    script = Script(*[OSError("gone") for _ in range(5)])
    await script.play(Backoff(first_s=1, longest_s=64, healthy_s=0))
    assert all(wait <= 1 for wait in script.waits)
    assert len(script.told) == 5


async def test_an_order_to_stop_survives_a_clean_up_that_fails():
    started = asyncio.Event()

    async def stubborn():
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("clean-up failed")

    task = asyncio.create_task(keep(stubborn, name="x", report=print, backoff=Backoff()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)


async def test_an_order_to_stop_survives_a_link_that_swallows_it():
    runs = 0
    started = asyncio.Event()

    async def deaf():
        nonlocal runs
        runs += 1
        started.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    task = asyncio.create_task(keep(deaf, name="x", report=print, backoff=Backoff()))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    assert runs == 1
