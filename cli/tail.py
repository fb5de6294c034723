"""`truetrack tail`: what devices send, as it becomes durable."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from cli.database import Database, database_options
from cli.output import Output, moment, output_options
from storage.store import StorageUnavailable

if TYPE_CHECKING:  # `--help` need not load a database driver
    from storage.feed import Change

RETRY_S = 1.0
WIDTHS = {
    "time": 24, "kind": 14, "device": 18, "latitude": 12, "longitude": 12, "speed_mps": 9,
    "what": 0,
}  # fmt: skip

Wanted = Callable[["Change"], bool]


@click.command(name="tail")
@click.option(
    "-n",
    "--lines",
    "count",
    default=10,
    show_default=True,
    type=click.IntRange(min=0),
    help="How many of the newest changes to begin with.",
)
@click.option("--after", type=int, help="Begin after this cursor instead.")
@click.option("--follow/--no-follow", default=True, help="Wait for more, or leave. Default: wait.")
@click.option("--device", metavar="IDENT", help="Only of this device.")
@click.option("--kind", help="Only of this kind: position, login, heartbeat, alarm, rejected, ...")
@database_options
@output_options
def command(
    count: int,
    after: int | None,
    *,
    follow: bool,
    device: str | None,
    kind: str | None,
    database: Database,
    output: Output,
) -> None:
    """Follow positions and events as they become durable.

    JSON lines have the columns of api_v1.changes. A program that keeps the largest `cursor` it
    has seen and goes on with --after misses nothing. Quarantined devices are not shown.

    \b
    Example:
      truetrack tail --device 863300000000001
      truetrack tail --kind alarm --json | while read -r alarm; do notify "$alarm"; done
    """  # noqa: D301

    def wanted(change: "Change") -> bool:
        return device in (None, change.ident) and kind in (None, change.kind)

    # Following keeps no server alive that would be in the gateway's way when it starts.
    with database.ready(start=not follow) as opened:
        asyncio.run(_tail(opened.url, count, after, wanted, follow=follow, output=output))


async def _tail(
    url: str, count: int, after: int | None, wanted: Wanted, *, follow: bool, output: Output
) -> None:
    show = output.stream(WIDTHS)
    async for change in _changes(url, count, after, follow=follow, output=output):
        if wanted(change):
            show(_record(change) if output.as_json else _row(change))
            output.flush()


async def _changes(
    url: str, count: int, after: int | None, *, follow: bool, output: Output
) -> AsyncIterator["Change"]:
    """The newest ones, then each as it comes; a database that is away is waited for."""
    from storage import feed  # noqa: PLC0415 - loads the driver

    if after is None:
        newest = await feed.recent(url, count) if count else []
        for change in newest:
            yield change
        # Without any, from the start: there is none, or none was asked for.
        after = newest[-1].cursor if newest else None
        if after is None and not follow:
            return
    told = False
    while True:
        try:
            async for change in feed.changes(url, after=after, follow=follow):
                after, told = change.cursor, False
                yield change
        except StorageUnavailable as error:
            if not follow or after is None:
                raise
            if not told:
                output.note(f"truetrack: {str(error).splitlines()[0]}; waiting for the database")
                told = True
            await asyncio.sleep(RETRY_S)
        else:
            return


def _record(change: "Change") -> dict[str, Any]:
    return {
        **asdict(change),
        "time": moment(change.time),
        "received_at": moment(change.received_at),
    }


def _row(change: "Change") -> dict[str, Any]:
    """For people: a name is more than a number."""
    said = _record(change)
    what = [change.alarms, change.detail, change.telemetry]
    return {
        **said,
        "device": change.name or change.ident,
        "what": [
            part for part in ["" if change.valid is not False else "not valid", *what] if part
        ],
    }
