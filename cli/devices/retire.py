"""`truetrack devices retire`: out of service."""

import click

from cli.database import Database, database_options
from cli.devices import records
from cli.output import Output, output_options


@click.command(name="retire")
@records.device_options
@database_options
@output_options
def command(ident: str, protocol: str | None, database: Database, output: Output) -> None:
    """Take a device out of service; its data stay.

    It is answered as before, so that it does not fill its memory, and its data are kept.

    \b
    Example:
      truetrack devices retire 863300000000001
    """  # noqa: D301
    with records.register(database) as register:
        device = records.one(register, ident, protocol)
        records.show(output, [register.retire(device)])
