"""`truetrack serial monitor`: a receiver, live, on a screen or as JSON lines."""

import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import BinaryIO

import click

import protocols
from cli.output import Output, output_options
from cli.serial.port import DEFAULT_BAUD, chunks, open_port
from cli.serial.screen import FORMATS, UNITS, View, screen
from cli.serial.state import MonitorState
from gateway.clock import system_clock
from protocols.base import Checksum, DeviceProfile

REFRESH_S = 0.2
SILENCE_S = 0.3  # an epoch is whole after so long without a byte
FILE_CHUNK_BYTES = 4096


@click.command(name="monitor")
@click.argument("port", required=False)
@click.option(
    "--from",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A capture instead of a port.",
)
@click.option("--baud", default=DEFAULT_BAUD, show_default=True, help="The port's speed.")
@click.option(
    "--speed",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0),
    help="How much faster than it was captured; 0 is as fast as can be.",
)
@click.option("--units", type=click.Choice(list(UNITS)), default="metric", show_default=True)
@click.option("--degrees", type=click.Choice(FORMATS), default="dd", show_default=True)
@click.option(
    "--checksum",
    type=click.Choice(list(Checksum), case_sensitive=False),
    default=Checksum.ACCEPT_MISSING,
    help="What to make of optional checksums.",
)
@click.option("--explain", is_flag=True, help="Name the fields instead of raw sentences.")
@click.option("--seconds", type=click.FloatRange(min=0), help="Leave after so long.")
@output_options
def command(
    port: str | None,
    file: Path | None,
    *,
    baud: int,
    speed: float,
    units: str,
    degrees: str,
    checksum: Checksum,
    explain: bool,
    seconds: float | None,
    output: Output,
) -> int:
    """Watch a receiver live: fix, sky, rates, errors, sentences.

    PORT is a device; a regular file is played back at the speed at which it was captured.
    Keys: q quit, u units, f form of degrees, p pause, e explain. With --json one object is
    printed for every epoch.

    \b
    Example:
      truetrack serial monitor /dev/ttyUSB0 --baud 115200
      truetrack serial monitor --from receiver.log --speed 5 --units nautical
    """  # noqa: D301
    if file is None and port is None:
        raise click.UsageError("name a PORT, or a capture with --from FILE")
    if file is None and port is not None and Path(port).is_file():
        file = Path(port)
    profile = DeviceProfile(checksum=checksum)
    module = protocols.load("nmea0183")
    decoder = module.Decoder(ident="monitor", profile_of=lambda _ident: profile)
    state = MonitorState(decoder, live=file is None)
    if file is not None:
        source = _playback(file, state, 0.0 if output.as_json and speed == 1.0 else speed)
        title = f"{file.name}  x{speed:g}" if speed else file.name
    else:
        opened = open_port(str(port), baud, timeout_s=REFRESH_S / 2)
        source = _live(chunks(opened, seconds), state)
        title = f"{port}  {baud} baud"
    if output.as_json:
        _print(source, state, output)
    else:
        _show(source, state, View(units=units, degrees=degrees, explain=explain), title, seconds)
    return 0


def _live(data: Iterator[bytes], state: MonitorState) -> Iterator[float]:
    """Feeds the state from a port; yields the time after every read."""
    heard = monotonic()
    for chunk in data:
        at = monotonic()
        if chunk:
            heard = at
            state.feed(chunk, system_clock(), at)
        elif at - heard > SILENCE_S:
            state.flush(system_clock(), at)
        yield at


def _playback(path: Path, state: MonitorState, speed: float) -> Iterator[float]:
    """Feeds the state from a file, waiting as long as the receiver did; yields its own time."""
    at, last = 0.0, None
    with path.open("rb") as file:
        for line in _pieces(file):
            before = state.epochs
            state.feed(line, system_clock(), at)
            if state.epochs > before and state.fix is not None:
                passed = 0.0 if last is None else (state.fix.time - last).total_seconds()
                last = state.fix.time
                passed = min(max(passed, 0.0), 10.0)  # a jump of the clock is no pause
                if speed and passed:
                    yield from _wait(passed / speed, at)
                at += passed
                yield at
    state.flush(system_clock(), at)
    yield at


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """Line by line, and what has no lines in pieces."""
    while data := file.readline(FILE_CHUNK_BYTES):
        yield data


def _wait(seconds: float, at: float) -> Iterator[float]:
    """Sleep in slices, so that the screen and the keys stay alive."""
    end = monotonic() + seconds
    while (left := end - monotonic()) > 0:
        sleep(min(left, REFRESH_S / 2))
        yield at


def _print(source: Iterator[float], state: MonitorState, output: Output) -> None:
    epochs = 0
    for at in source:
        if state.epochs > epochs:
            epochs = state.epochs
            output.line(state.record(at))
            output.flush()
    if not epochs:
        output.line(state.record(0.0))


def _show(
    source: Iterator[float], state: MonitorState, view: View, title: str, seconds: float | None
) -> None:
    from rich.console import Console  # noqa: PLC0415 - JSON needs no screen
    from rich.live import Live  # noqa: PLC0415

    console = Console()
    end = None if seconds is None else monotonic() + seconds
    drawn = 0.0
    with _keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as live:
        for at in _until_end(source):
            now = monotonic()
            if not all(view.press(key) for key in pressed()) or (end is not None and now > end):
                return
            if not view.paused and now - drawn >= REFRESH_S:
                size = (console.width, console.height)
                live.update(screen(state, view, title, at, size), refresh=True)
                drawn = now


def _until_end(source: Iterator[float]) -> Iterator[float]:
    """After a file's end the last picture stays until a key is pressed."""
    at = 0.0
    for at in source:
        yield at
    while sys.stdin.isatty():
        sleep(REFRESH_S)
        yield at


@contextmanager
def _keys() -> Iterator[Callable[[], str]]:
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
        return os.read(descriptor, 64).decode("ascii", "replace")

    try:
        yield pressed
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
