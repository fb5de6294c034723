"""`truetrack db`: the database under the program."""

import click

from cli.lazy import LazyGroup

COMMANDS = {
    "url": "The address of the database, for other programs.",
    "migrate": "Bring the database's schema to this program's version.",
    "psql": "An SQL prompt, or one statement.",
    "check": "Is the database as durable as our receipts promise?",
}


@click.group(name="db", cls=LazyGroup, package="cli.db", table=COMMANDS)
def command() -> None:
    """The database: where it is, its schema, its health.

    \b
    Example:
      truetrack db psql -- -c 'select count(*) from api_v1.positions'
      truetrack db check --database-url postgresql:///truetrack
    """  # noqa: D301
