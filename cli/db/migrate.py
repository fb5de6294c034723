"""`truetrack db migrate`: the schema, brought up to date."""

import click

from cli.database import Database, database_options
from cli.output import Output, output_options


@click.command(name="migrate")
@database_options
@output_options
def command(database: Database, output: Output) -> None:
    """Bring the database's schema to this program's version.

    One transaction: it is done whole or not at all. A database that is up to date is left as
    it is. The gateway does the same at its start; migrate first where its user may not.

    \b
    Example:
      truetrack db migrate
      truetrack db migrate --database-url postgresql://owner@db.example/truetrack
    """  # noqa: D301
    from storage.migrate import migrate, versions  # noqa: PLC0415 - loads Alembic

    with database.opened(create=True) as opened:
        before, after = versions(opened.url)
        migrate(opened.url)
    done = "is up to date" if before == after else f"was {before or 'empty'}, is now {after}"
    output.text(f"schema {after}: {done}", before=before, after=after)
