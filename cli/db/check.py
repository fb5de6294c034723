"""`truetrack db check`: is a commit of this server worth a receipt?"""

import click

from cli.checks import database, report
from cli.database import database_option
from cli.output import Output, output_options


@click.command(name="check")
@database_option()
@output_options
def command(database_url: str, output: Output) -> int:
    """Is the database as durable as our receipts promise?

    Exit code 1 when a setting would make a receipt untrue.

    \b
    Example:
      truetrack db check --database-url postgresql://truetrack@db.example/truetrack
    """  # noqa: D301
    return report(database(database_url), output)
