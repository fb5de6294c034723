"""Which database a command means."""

from collections.abc import Callable
from typing import TypeVar

import click

F = TypeVar("F", bound=Callable[..., object])


def database_option(*, required: bool = True) -> Callable[[F], F]:
    """Adds --database-url, which the environment may give so that no password is in a history."""
    return click.option(
        "--database-url",
        envvar="TRUETRACK_DATABASE_URL",
        show_envvar=True,
        required=required,
        metavar="URL",
        help="postgresql://user@host/name, or a socket's folder as ?host=.",
    )
