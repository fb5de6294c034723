"""`truetrack serial list`: the ports there are, by names that survive a replug."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from serial.tools import list_ports

from cli.output import Output, output_options

BY_ID = Path("/dev/serial/by-id")


@click.command(name="list")
@output_options
def command(output: Output) -> None:
    """The serial ports of this machine, by names that last.

    `stable` is the name to put into a configuration: /dev/ttyUSB0 may be another device after
    the next start.

    \b
    Example:
      truetrack serial list
      truetrack serial list --json | jq -r .port
    """  # noqa: D301
    output.table(ports(), ["port", "description", "usb", "maker", "serial_number", "stable"])


def ports() -> Iterator[dict[str, Any]]:
    links = stable_names(BY_ID)
    for port in sorted(list_ports.comports()):
        usb = None if port.vid is None else f"{port.vid:04x}:{port.pid:04x}"
        yield {
            "port": port.device,
            "description": None if port.description == "n/a" else port.description,
            "usb": usb,
            "maker": port.manufacturer,
            "serial_number": port.serial_number,
            "stable": links.get(port.device),
        }


def stable_names(folder: Path) -> dict[str, str]:
    """Each port with the link that names it by its maker and serial number."""
    if not folder.is_dir():
        return {}
    return {str(link.resolve()): str(link) for link in sorted(folder.iterdir())}
