"""`truetrack devices set`: what people call a device, and what must be known to read it."""

import click

from cli.database import Database, database_options
from cli.devices import records
from cli.output import Output, output_options


@click.command(name="set")
@records.device_options
@click.argument("settings", type=records.Setting(), nargs=-1)
@click.option("--name", help="What people call it; '' takes the name away.")
@database_options
@output_options
def command(
    ident: str,
    protocol: str | None,
    settings: tuple[tuple[str, str | None], ...],
    name: str | None,
    *,
    database: Database,
    output: Output,
) -> None:
    """Name a device, or change how it is read.

    Settings are model, datum (wgs84, gcj02, bd09), checksum (require, accept_missing, ignore),
    speed_unit (knots, mps, kph) and secret; `datum=` goes back to the source's own.

    \b
    Example:
      truetrack devices set 863300000000001 --name 'Van 7'
      truetrack devices set 1234567890 datum=gcj02 model=VT200
    """  # noqa: D301
    if not settings and name is None:
        raise click.UsageError("nothing to set: give NAME=VALUE or --name")
    with records.register(database) as register:
        device = records.one(register, ident, protocol)
        if settings:
            register.change_settings(device, dict(settings))
        if name is not None:
            register.rename(device, name or None)
        records.show(output, [register.show(device)])
