"""`truetrack serial`: what a technician does with a receiver on a port."""

import click

from cli.lazy import LazyGroup

COMMANDS = {
    "list": "The serial ports of this machine, by names that last.",
    "probe": "Find out a port's speed, its talkers and who made the receiver.",
    "monitor": "Watch a receiver live: fix, sky, rates, errors, sentences.",
    "send": "Send a sentence with its checksum and show what is answered.",
}


@click.group(name="serial", cls=LazyGroup, package="cli.serial", table=COMMANDS)
def command() -> None:
    """Serial receivers: find them, watch them, talk to them.

    \b
    Example:
      truetrack serial list
      truetrack serial monitor /dev/ttyUSB0
    """  # noqa: D301
