"""Named points at which a simulation may strike. In production each is one test of None.

A simulation installs a hook that may raise, so that a process "dies" or storage "fails" at
exactly this point of the code that also runs in the field.
"""

from collections.abc import Callable

_strike: Callable[[str], None] | None = None


def fault(point: str) -> None:
    """Name this point of the code: `fault("writer.before_commit")`."""
    if _strike is not None:
        _strike(point)


def install(strike: Callable[[str], None] | None) -> None:
    """Let `strike` be called at every fault point; None restores production's silence."""
    global _strike  # noqa: PLW0603 - one switch for the process, off in production
    _strike = strike
