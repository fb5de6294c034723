"""`truetrack devices forget`: room in the quarantine."""

import click

from cli.database import Database, database_options
from cli.devices import records
from cli.output import Output, output_options


@click.command(name="forget")
@records.device_options
@database_options
@output_options
def command(ident: str, protocol: str | None, database: Database, output: Output) -> None:
    """Drop an unknown device from the quarantine.

    Its frames stay in the archive. If it speaks again it is quarantined again.

    \b
    Example:
      truetrack devices forget 863300000000001
    """  # noqa: D301
    with records.register(database) as register:
        device = records.one(register, ident, protocol)
        register.forget(device)
    output.text(f"forgot {device.protocol} {ident}", protocol=device.protocol, ident=ident)
