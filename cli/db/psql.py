"""`truetrack db psql`: psql, connected."""

import os
import shutil

import click

from cli.database import database_option
from gateway.errors import StartError


@click.command(
    name="psql", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@database_option()
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(database_url: str, arguments: tuple[str, ...]) -> None:
    """An SQL prompt, or one statement.

    What follows `--` is handed to psql, whose exit code becomes ours.

    \b
    Example:
      truetrack db psql
      truetrack db psql -- -c 'select now()'
    """  # noqa: D301
    program = shutil.which("psql")
    if program is None:
        raise StartError("there is no psql on the PATH; install postgresql-client")
    os.execv(program, [program, *arguments, "--dbname", database_url])  # noqa: S606
