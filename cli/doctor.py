"""`truetrack doctor`: what is right here, what is not, and what to do."""

from collections.abc import Iterator

import click

from cli import checks
from cli.database import Database, database_options
from cli.output import Output, output_options


@click.command(name="doctor")
@click.option(
    "--listen",
    "urls",
    multiple=True,
    metavar="URL",
    help="A tcp:// address where the gateway should answer; may be repeated.",
)
@database_options
@output_options
def command(urls: tuple[str, ...], database: Database, output: Output) -> int:
    """Check this machine and its configuration, and say what to do.

    Each line is ok, warn or fail. Exit code 1 when one fails. Nothing is changed or started.

    \b
    Example:
      truetrack doctor --config /etc/truetrack.toml
      truetrack doctor --json | jq 'select(.verdict != "ok")'
    """  # noqa: D301
    return checks.report(_all(urls, database), output)


def _all(urls: tuple[str, ...], database: Database) -> Iterator[checks.Check]:
    yield checks.python()
    yield checks.extension()
    yield checks.clock()
    yield checks.disk_space(database.data_dir)
    yield checks.spool(database.data_dir / "spool")
    if database.given is None:
        yield checks.programs()
    if (url := database.given or database.running()) is not None:
        yield from checks.database(url)
    else:
        yield checks.no_database(database.data_dir, made=database.cluster is not None)
    configured = database.config.sources.values() if database.config else ()
    listened = [url for source in configured for url in source.listen]
    yield from map(checks.listening, [*listened, *urls])
