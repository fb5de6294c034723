"""`truetrack devices add`: a device that shall be known when it first speaks."""

import click

from cli.database import Database, database_options
from cli.devices import records
from cli.output import Output, output_options


@click.command(name="add")
@click.argument("protocol")
@click.argument("ident")
@click.option("--name", help="What people call it.")
@click.option(
    "--set",
    "settings",
    type=records.Setting(),
    multiple=True,
    help=f"How it is read: {', '.join(records.SETTINGS)}. May be repeated.",
)
@database_options
@output_options
def command(
    protocol: str,
    ident: str,
    name: str | None,
    settings: tuple[tuple[str, str | None], ...],
    *,
    database: Database,
    output: Output,
) -> None:
    """Enter a device before it is heard.

    IDENT is what the device calls itself: IMEI, terminal number, user.

    \b
    Example:
      truetrack devices add gt06 863300000000001 --name 'Van 7'
      truetrack devices add h02 1234567890 --set datum=gcj02
    """  # noqa: D301
    device = records.identity(protocol, ident)
    stated = {key: value for key, value in settings if value is not None}
    with records.register(database) as register:
        records.show(output, [register.add(device, name=name, settings=stated)])
