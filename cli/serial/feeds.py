"""What feeds the monitor: a port as it speaks, or a capture at the pace at which it was made.

A feed puts bytes into the state and yields the time in seconds whenever there may be something
to show; between two of its yields it waits no longer than TICK_S.
"""

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from time import monotonic, sleep
from typing import BinaryIO

import serial

from cli.serial.port import chunks, using
from cli.serial.state import MonitorState
from gateway.clock import system_clock

TICK_S = 0.1
SILENCE_S = 0.3  # an epoch is whole after so long without a byte
LONGEST_PAUSE_S = 10.0  # a jump of the capture's clock is no pause
PIECE_BYTES = 4096

# The commonest first, then as receivers are sold. 230400 and above are RTK receivers.
BAUDS = (9600, 115_200, 4800, 38_400, 57_600, 19_200, 230_400, 460_800, 921_600)
DWELL_S = 2.2  # longer than the period of a 1 Hz receiver, or a good speed would be passed over
CLAIM_SENTENCES = 3  # with valid checksums: chance does not make them


def live(
    port: serial.Serial,
    state: MonitorState,
    seconds: float | None,
    *,
    hunt: bool,
    log: BinaryIO | None = None,
) -> Iterator[float]:
    """A port, whose every byte goes to `log` too. With `hunt` its speed, which must be the first of BAUDS, is changed until sentences
    with right checksums come.
    """
    heard = since = monotonic()
    speeds = cycle((*BAUDS[1:], BAUDS[0]))
    for chunk in chunks(port, seconds):
        at = monotonic()
        if chunk:
            heard = at
            state.feed(chunk, system_clock(), at)
            if log is not None:
                log.write(chunk)
        elif at - heard > SILENCE_S:
            state.flush(system_clock(), at)
        hunt = hunt and state.tally.valid < CLAIM_SENTENCES
        if hunt and at - since > DWELL_S and not state.tally.valid:
            since = at
            with using(port):
                port.baudrate = next(speeds)
                port.reset_input_buffer()
            state.restart()
        yield at


def playback(path: Path, state: MonitorState, speed: float) -> Iterator[float]:
    """A capture, waiting as long as the receiver did; yields the capture's own time."""
    at, last = 0.0, None
    with path.open("rb") as file:
        while line := file.readline(PIECE_BYTES):
            before = state.epochs
            state.feed(line, system_clock(), at)
            if state.epochs > before and state.fix is not None:
                passed = 0.0 if last is None else (state.fix.time - last).total_seconds()
                last = state.fix.time
                passed = min(max(passed, 0.0), LONGEST_PAUSE_S)
                if speed and passed:
                    yield from _wait(passed / speed, at)
                at += passed
                yield at
    state.flush(system_clock(), at)
    yield at


def _wait(seconds: float, at: float) -> Iterator[float]:
    end = monotonic() + seconds
    while (left := end - monotonic()) > 0:
        sleep(min(left, TICK_S))
        yield at
