"""`truetrack devices`: the register."""

import click

from cli.lazy import LazyGroup

COMMANDS = {
    "list": "All devices, or those of one state.",
    "show": "One device, with everything that is known of it.",
    "add": "Enter a device before it is heard.",
    "adopt": "Make a quarantined or retired device active.",
    "retire": "Take a device out of service; its data stay.",
    "set": "Name a device, or change how it is read.",
    "forget": "Drop an unknown device from the quarantine.",
}


@click.group(name="devices", cls=LazyGroup, package="cli.devices", table=COMMANDS)
def command() -> None:
    """The register: who may speak, and how they are read.

    A device whose number is not in the register is quarantined under the policy `known`: it is
    stored and answered, and shown nowhere until it is adopted. A running gateway follows changes
    within seconds.

    \b
    Example:
      truetrack devices list --state quarantined
      truetrack devices adopt 863300000000001
    """  # noqa: D301
