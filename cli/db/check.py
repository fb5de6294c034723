"""`truetrack db check`: is a commit of this server worth a receipt?"""

import click

from cli import checks
from cli.database import Database, database_options
from cli.output import Output, output_options


@click.command(name="check")
@database_options
@output_options
def command(database: Database, output: Output) -> int:
    """Is the database as durable as our receipts promise?

    Exit code 1 when a setting would make a receipt untrue.

    \b
    Example:
      truetrack db check --database-url postgresql://truetrack@db.example/truetrack
    """  # noqa: D301
    with database.opened() as opened:
        return checks.report(checks.database(opened.url), output)
