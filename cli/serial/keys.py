"""Single keys from the terminal, as they are pressed."""

import os
import re
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What arrows, function keys and the mouse send: none of it means "leave" or a letter of ours.
SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|O.)")


@contextmanager
def keys() -> Iterator[Callable[[], str]]:
    """A function that gives the keys pressed since it was last asked; none without a terminal."""
    if not sys.stdin.isatty():
        yield lambda: ""
        return
    import termios  # noqa: PLC0415 - not on every platform
    import tty  # noqa: PLC0415

    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)

    def pressed() -> str:
        if not select.select([descriptor], [], [], 0)[0]:
            return ""
        data = os.read(descriptor, 64)
        return SEQUENCE.sub("", data.decode("ascii", "replace")) if data else "q"

    try:
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
