"""`truetrack devices list`: the register, or a part of it."""

import click

from cli.database import Database, database_options
from cli.devices import records
from cli.output import Output, output_options
from model.device import DeviceState


@click.command(name="list")
@click.option(
    "--state",
    type=click.Choice(list(DeviceState), case_sensitive=False),
    help="Only devices of this state.",
)
@database_options
@output_options
def command(state: DeviceState | None, database: Database, output: Output) -> None:
    """All devices, or those of one state.

    \b
    Example:
      truetrack devices list
      truetrack devices list --state quarantined --json | jq -r .ident
    """  # noqa: D301
    with records.register(database) as register:
        records.show(output, register.devices(state))
