"""Keeps an outgoing link alive: whatever ends it, it is tried again, later and later.

    run_once ends or fails -> wait -> run_once ...      wait: 0.5, 1, 2, 4 ... 10 s, each +- jitter

A link that held for a healthy span starts again from the shortest wait. The jitter keeps many
gateways from coming back to one broker in step. It is the gateway's only randomness, and its
source can be injected.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

Report = Callable[[str], None]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """How long to wait before the next attempt."""

    first_s: float = 0.5
    longest_s: float = 10.0
    healthy_s: float = 20.0  # a link that held so long had been in order
    rng: Random = field(default_factory=Random, repr=False)

    def __post_init__(self) -> None:
        if not 0 < self.first_s <= self.longest_s:
            raise ValueError(f"not a backoff: {self.first_s} s to {self.longest_s} s")

    def wait_s(self, failures: int) -> float:
        """The wait after so many failures in a row (1 or more); the upper half is chance."""
        doublings = min(failures - 1, 64)
        full = min(self.longest_s, self.first_s * 2.0**doublings)
        return full * (1.0 + self.rng.random()) / 2.0


def heed_cancellation() -> None:
    """Raise CancelledError if this task was told to stop and something swallowed the order.

    A clean-up that fails does so, and `asyncio.wait_for` before Python 3.12 when its result comes
    at the same moment.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def keep(
    run_once: Callable[[], Awaitable[None]],
    *,
    name: str,
    report: Report,
    backoff: Backoff,
    sleep: Sleep = asyncio.sleep,
) -> None:
    """Run `run_once` for ever; a failure is reported when it is news. Ends by being cancelled."""
    loop = asyncio.get_running_loop()
    failures = 0
    told = None
    while True:
        began = loop.time()
        try:
            await run_once()
            why = "ended"
        except Exception as error:  # whatever it is: one link's fault must not end the gateway
            why = str(error) or type(error).__name__
        heed_cancellation()
        if loop.time() - began >= backoff.healthy_s:
            failures, told = 0, None
        failures += 1
        if why != told:
            report(f"{name}: {why}; trying again")
            told = why
        await sleep(backoff.wait_s(failures))
