"""`truetrack devices adopt`: an unknown device becomes a known one."""

import click

from cli.database import Database, database_options
from cli.devices import records
from cli.output import Output, output_options


@click.command(name="adopt")
@records.device_options
@database_options
@output_options
def command(ident: str, protocol: str | None, database: Database, output: Output) -> None:
    """Make a quarantined or retired device active.

    What it sent while it was in quarantine is shown from now on, too.

    \b
    Example:
      truetrack devices adopt 863300000000001
    """  # noqa: D301
    with records.register(database) as register:
        device = records.one(register, ident, protocol)
        records.show(output, [register.adopt(device)])
