"""`truetrack db url`: where other programs find the database."""

import click

from cli.database import Database, database_options
from cli.output import Output, output_options
from gateway.errors import StartError


@click.command(name="url")
@database_options
@output_options
def command(database: Database, output: Output) -> None:
    """The address of the database, for other programs.

    Our own server is reachable on this machine only, while the gateway runs.

    \b
    Example:
      truetrack db url
      psql "$(truetrack db url --table)"
    """  # noqa: D301
    url = database.given or database.running()
    if url is None:
        raise StartError(
            f"no database is running in {database.data_dir}; `truetrack run` starts it"
        )
    output.text(url, url=url)
