"""`truetrack db`: the database under the program."""

import click

from cli.lazy import LazyGroup

COMMANDS = {
    "check": "Is the database as durable as our receipts promise?",
    "psql": "An SQL prompt, or one statement.",
}


@click.group(name="db", cls=LazyGroup, package="cli.db", table=COMMANDS)
def command() -> None:
    """The database: its durability, and a way in.

    \b
    Example:
      truetrack db check --database-url postgresql:///truetrack
      truetrack db psql -- -c 'select count(*) from api_v1.position'
    """  # noqa: D301
