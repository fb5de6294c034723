"""The one place where the gateway learns what time it is.

Everything else is handed a `WallClock`, or asks the loop for a span of time. A test greps for
any other reading of a clock.
"""

from collections.abc import Callable
from datetime import UTC, datetime

WallClock = Callable[[], datetime]


def system_clock() -> datetime:
    """The machine's UTC time."""
    return datetime.now(UTC)
