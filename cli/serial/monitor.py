"""`truetrack serial monitor`: a receiver, live, on a screen or as JSON lines."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import BinaryIO

import click

import protocols
from cli.output import Output, output_options
from cli.serial.feeds import BAUDS, TICK_S, live, playback
from cli.serial.keys import keys
from cli.serial.port import open_port
from cli.serial.screen import View, screen
from cli.serial.state import MonitorState
from cli.serial.words import FORMATS, UNITS
from protocols.base import Checksum, DeviceProfile

REFRESH_S = 0.2


@click.command(name="monitor")
@click.argument("port", required=False)
@click.option(
    "--from",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A capture instead of a port.",
)
@click.option("--baud", type=int, help="The port's speed. Default: the usual ones are tried.")
@click.option(
    "--speed",
    type=click.FloatRange(min=0),
    help="Of a capture: so many times its own; 0 at once. Default: 1, with --json 0.",
)
@click.option(
    "--units",
    type=click.Choice(list(UNITS)),
    default="metric",
    show_default=True,
    help="Of speed and altitude.",
)
@click.option(
    "--degrees",
    type=click.Choice(FORMATS),
    default="dd",
    show_default=True,
    help="Decimal, with minutes, with seconds.",
)
@click.option(
    "--checksum",
    type=click.Choice(list(Checksum), case_sensitive=False),
    default=Checksum.ACCEPT_MISSING,
    help="What to make of optional checksums.",
)
@click.option("--explain", is_flag=True, help="Name the fields instead of raw sentences.")
@click.option("--log", type=click.File("ab"), help="Append every byte of PORT to this file.")
@click.option("--seconds", type=click.FloatRange(min=0), help="Leave after so long.")
@output_options
def command(
    port: str | None,
    file: Path | None,
    *,
    baud: int | None,
    speed: float | None,
    units: str,
    degrees: str,
    checksum: Checksum,
    explain: bool,
    log: BinaryIO | None,
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
    if (file is None) == (port is None):
        raise click.UsageError("name a PORT, or a capture with --from FILE")
    if port is not None and Path(port).is_file():
        file = Path(port)
    profile = DeviceProfile(checksum=checksum)
    module = protocols.load("nmea0183")
    decoder = module.Decoder(ident="monitor", profile_of=lambda _ident: profile)
    state = MonitorState(decoder, live=file is None)
    if file is not None:
        pace = speed if speed is not None else float(not output.as_json)
        feed = playback(file, state, pace)
        capture = f"{file.name}  x{pace:g}"
        title: Callable[[], str] = lambda: capture  # noqa: E731 - as the other branch
    else:
        context = click.get_current_context()
        opened = context.with_resource(open_port(str(port), baud or BAUDS[0], timeout_s=TICK_S))
        feed = live(opened, state, seconds, hunt=baud is None, log=log)
        title = lambda: f"{port}  {opened.baudrate} baud"  # noqa: E731 - the speed may change
    if output.as_json:
        _print(feed, state, output)
    else:
        view = View(units=units, degrees=degrees, explain=explain)
        _show(feed, state, view, title, seconds)
    return 0


def _print(feed: Iterator[float], state: MonitorState, output: Output) -> None:
    epochs = 0
    for at in feed:
        if state.epochs > epochs:
            epochs = state.epochs
            output.line(state.record(at))
            output.flush()
    if not epochs:  # what was heard all the same: rates, faults, binary protocols
        output.line(state.record(0.0))


def _show(
    feed: Iterator[float],
    state: MonitorState,
    view: View,
    title: Callable[[], str],
    seconds: float | None,
) -> None:
    from rich.console import Console, ConsoleDimensions  # noqa: PLC0415 - JSON needs no screen
    from rich.live import Live  # noqa: PLC0415

    console = Console()
    end = None if seconds is None else monotonic() + seconds
    drawn, drawn_size = 0.0, (0, 0)
    with keys() as pressed, Live(console=console, screen=True, auto_refresh=False) as picture:
        for at in _to_the_end(feed, view, live=state.live):
            now = monotonic()
            struck = pressed()
            if not all(view.press(key) for key in struck) or (end is not None and now > end):
                return
            size = _window()
            due = not view.paused and now - drawn >= REFRESH_S
            if due or struck or size != drawn_size:
                console.size = ConsoleDimensions(*size)
                picture.update(screen(state, view, title(), at, size), refresh=True)
                drawn, drawn_size = now, size


def _window() -> tuple[int, int]:
    """Columns and rows as they are now; COLUMNS and LINES may be of another time."""
    try:
        return os.get_terminal_size(sys.stdout.fileno())
    except OSError:  # not a terminal: --table was asked for all the same
        return 120, 40


def _to_the_end(feed: Iterator[float], view: View, *, live: bool) -> Iterator[float]:
    """A pause holds a capture; a port is read on, or bytes would be lost.

    After a capture's end the last picture stays until a key is pressed.
    """
    at = 0.0
    for at in feed:
        yield at
        while view.paused and not live:
            sleep(TICK_S)
            yield at
    while sys.stdin.isatty():
        sleep(TICK_S)
        yield at
