"""`truetrack doctor`: what is right here, what is not, and what to do."""

from collections.abc import Iterator
from pathlib import Path

import click

from cli import checks
from cli.database import database_option
from cli.output import Output, output_options


@click.command(name="doctor")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=Path("data"),
    envvar="TRUETRACK_DATA_DIR",
    show_default=True,
    help="Where database and spool live.",
)
@click.option(
    "--listen",
    "urls",
    multiple=True,
    metavar="URL",
    help="A tcp:// address where the gateway should answer; may be repeated.",
)
@database_option(required=False)
@output_options
def command(data_dir: Path, urls: tuple[str, ...], database_url: str | None, output: Output) -> int:
    """Check this machine and its configuration, and say what to do.

    Each line is ok, warn or fail. Exit code 1 when one fails.

    \b
    Example:
      truetrack doctor --data-dir /var/lib/truetrack
      truetrack doctor --json | jq 'select(.verdict != "ok")'
    """  # noqa: D301
    return checks.report(_all(data_dir, urls, database_url), output)


def _all(data_dir: Path, urls: tuple[str, ...], database_url: str | None) -> Iterator[checks.Check]:
    yield checks.python()
    yield checks.extension()
    yield checks.clock()
    yield checks.disk_space(data_dir)
    yield checks.spool(data_dir / "spool")
    if database_url:
        yield from checks.database(database_url)
    yield from map(checks.listening, urls)
