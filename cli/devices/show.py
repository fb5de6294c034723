"""`truetrack devices show`: all about one device."""

import click

from cli.database import Database, database_options
from cli.devices import records
from cli.output import Output, cell, output_options


@click.command(name="show")
@records.device_options
@database_options
@output_options
def command(ident: str, protocol: str | None, database: Database, output: Output) -> None:
    """One device, with everything that is known of it.

    \b
    Example:
      truetrack devices show 863300000000001
    """  # noqa: D301
    with records.register(database) as register:
        said = records.record(register.show(records.one(register, ident, protocol)))
    if output.as_json:
        output.line(said)
        return
    for name, value in said.items():
        output.text(f"{name:<20} {cell(value) or '-'}")
