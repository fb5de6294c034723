"""`truetrack db psql`: psql, connected."""

import shutil
import signal
import subprocess

import click

from cli.database import Database, database_options
from storage import binaries


@click.command(
    name="psql", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@database_options
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(database: Database, arguments: tuple[str, ...]) -> int:
    """An SQL prompt, or one statement.

    What follows `--` is handed to psql, whose exit code becomes ours. No psql need be
    installed: the one that belongs to our own server is used when none is on the PATH.

    \b
    Example:
      truetrack db psql
      truetrack db psql -- -c 'select * from api_v1.latest_positions'
    """  # noqa: D301
    with database.opened() as opened:
        program = shutil.which("psql") or opened.psql or binaries.find().psql
        # A Ctrl-C is for psql, which cancels its statement; we stay to stop what we started.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            return subprocess.call(  # noqa: S603 - the user's own arguments
                [str(program), *arguments, "--dbname", opened.url],
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        finally:
            signal.signal(signal.SIGINT, before)
