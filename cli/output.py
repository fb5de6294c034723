"""What commands print: JSON lines into a pipe or with --json, tables for people.

Results go to stdout, all else to stderr.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import wraps
from math import isfinite
from typing import Any, TypeVar

import click

from model.codec import stamp

R = TypeVar("R")
Record = Mapping[str, Any]

_COMPACT = json.JSONEncoder(allow_nan=False, default=str)


class Output:
    """Prints records in the form that was asked for."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def table(self, records: Iterable[Record], columns: Sequence[str]) -> None:
        """Records that are all there. JSON gives every key, the table the columns named."""
        if self.as_json:
            for record in records:
                self.line(record)
            return
        from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - pipes need not load it
        from rich.console import Console  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
        for name in columns:
            table.add_column(name, overflow="fold")  # rather than cut: what is shown is copied
        for record in records:
            # Text, not markup: names come from devices, and `[red]` is a name like any other.
            table.add_row(*(Text(printable(cell(record.get(name)))) for name in columns))
        if not table.row_count:
            self.note("nothing to show")
            return
        Console().print(table)

    def stream(self, widths: Mapping[str, int]) -> Callable[[Record], None]:
        """For records that come one by one: columns of fixed width, the last as wide as it is."""
        if self.as_json:
            return self.line
        header = False

        def show(record: Record) -> None:
            nonlocal header
            if not header:
                click.secho(_aligned(widths, dict(zip(widths, widths, strict=True))), bold=True)
                header = True
            click.echo(_aligned(widths, record))

        return show

    def line(self, record: Record) -> None:
        """One JSON object; the caller flushes when it waits."""
        try:
            text = _COMPACT.encode(record)
        except ValueError:  # a number that JSON does not have
            text = _COMPACT.encode(_finite(record))
        sys.stdout.write(text + "\n")

    def text(self, text: str, **record: Any) -> None:
        """A sentence for people, the record for programs."""
        if self.as_json:
            self.line(record)
        else:
            click.echo(printable(text))

    @staticmethod
    def flush() -> None:
        sys.stdout.flush()

    @staticmethod
    def note(text: str) -> None:
        """Said beside the results, on stderr."""
        click.echo(printable(text), err=True)


def output_options(function: Callable[..., R]) -> Callable[..., R]:
    """Adds --json/--table and hands the command its `output`."""

    @click.option(
        "--json/--table",
        "as_json",
        default=None,
        help="JSON lines, or tables. Default: tables on a terminal.",
    )
    @wraps(function)
    def wrapped(*args: Any, as_json: bool | None, **kwargs: Any) -> R:
        if as_json is None:
            as_json = not sys.stdout.isatty()
        return function(*args, output=Output(as_json=as_json), **kwargs)

    return wrapped


def moment(time: datetime | None) -> str | None:
    """UTC in ISO 8601 to the millisecond, cut, not rounded: no fix moves to the next day."""
    if time is None:
        return None
    return stamp(time.astimezone(UTC))[:-4] + "Z"


def cell(value: Any) -> str:
    """A value as people read it."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.7f}".rstrip("0").rstrip(".")
        case Mapping():
            return " ".join(f"{name}={cell(part)}" for name, part in value.items())
        case list() | tuple():
            return " ".join(map(cell, value))
    return str(value)


def printable(text: str) -> str:
    """Without the control characters by which a device could repaint a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else f"\\x{ord(c):02x}" for c in text)


def _aligned(widths: Mapping[str, int], record: Record) -> str:
    cells = (f"{printable(cell(record.get(name))):<{width}}" for name, width in widths.items())
    return "  ".join(cells).rstrip()


def _finite(value: Any) -> Any:
    match value:
        case float() if not isfinite(value):
            return None
        case Mapping():
            return {name: _finite(part) for name, part in value.items()}
        case list() | tuple():
            return [_finite(part) for part in value]
    return value
