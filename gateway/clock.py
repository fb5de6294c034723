"""The one place where the gateway learns what time it is.

Everything else is handed a `WallClock`, or asks the loop for a span of time. A test greps for
any other reading of a clock.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

WallClock = Callable[[], datetime]


system_clock: WallClock = partial(datetime.now, UTC)
"""The machine's UTC time."""
