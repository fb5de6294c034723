"""An event loop whose clock stands still while there is work and jumps to the next timer.

It has no sockets, no threads and no real time: what runs on it runs the same way again.
"""

import asyncio
from typing import Any


class Deadlock(Exception):
    """Nothing is ready and no timer is set: whoever waits waits for ever."""


class VirtualLoop(asyncio.BaseEventLoop):
    """`BaseEventLoop` with itself as the selector: to wait is to move the clock."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = self

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock(f"nothing will ever happen after {self._now:.3f} s")
        self._now += timeout
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody else could wake this loop."""
