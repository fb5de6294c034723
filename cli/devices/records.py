"""Finding a device by what people type, and showing it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

import protocols
from cli.database import Database, Opened
from cli.output import Output, moment
from gateway.directory import profile_from
from model import DeviceIdentity
from protocols.base import DeviceProfile

if TYPE_CHECKING:  # `--help` need not load a database driver
    from storage.register import Register, Registered

R = TypeVar("R")

SETTINGS = [field.name for field in fields(DeviceProfile)]
SECRETS = {"secret"}
COLUMNS = ("state", "protocol", "ident", "name", "heard", "place", "settings")


class Setting(click.ParamType[tuple[str, str | None]]):
    """`name=value`; `name=` takes it away."""

    name = "NAME=VALUE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str | None]:
        name, equals, said = str(value).partition("=")
        if not equals or name not in SETTINGS:
            self.fail(f"{value!r} is none of {'=..., '.join(SETTINGS)}=...", param, ctx)
        try:
            profile_from({name: said} if said else {})
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return name, said or None


def identity(protocol: str, ident: str) -> DeviceIdentity:
    """Raises UnknownProtocol, click.BadParameter."""
    if protocol not in protocols.names():
        protocols.load(protocol)
    try:
        return DeviceIdentity(protocol=protocol, ident=ident)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="IDENT") from error


@contextmanager
def register(database: Database) -> Iterator["Register"]:
    """The register of the database that is meant."""
    with database.ready() as opened, entered(opened) as found:
        yield found


@contextmanager
def entered(opened: Opened) -> Iterator["Register"]:
    """The register of an open database; what it does not hold fails in one line."""
    from storage.register import DeviceExists, NoSuchDevice, Register  # noqa: PLC0415 - as above

    try:
        with Register(opened.url) as found:
            yield found
    except (NoSuchDevice, DeviceExists) as error:
        raise click.ClickException(str(error)) from error


def one(found: "Register", ident: str, protocol: str | None) -> DeviceIdentity:
    """The identity that is meant: the protocol is only needed where two share a number."""
    if protocol is not None:
        return found.show(identity(protocol, ident)).device.identity
    several = [each.device.identity for each in found.find(ident)]
    if not several:
        raise click.ClickException(f"no device {ident}; `truetrack devices list` shows them")
    if len(several) > 1:
        names = ", ".join(each.protocol for each in several)
        raise click.UsageError(f"{ident} is a device of {names}: choose with --protocol")
    return several[0]


def device_options(function: Callable[..., R]) -> Callable[..., R]:
    """Adds IDENT and --protocol."""

    @click.argument("ident")
    @click.option("--protocol", help="Where devices of two protocols share the number.")
    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> R:
        return function(*args, **kwargs)

    return wrapped


def record(each: "Registered") -> dict[str, Any]:
    device = each.device
    return {
        "id": device.id,
        "protocol": device.identity.protocol,
        "ident": device.identity.ident,
        "name": each.name,
        "state": device.state,
        "state_since": moment(each.state_since),
        "created_at": moment(each.created_at),
        "latest_time": moment(each.latest_time),
        "latest_received_at": moment(each.latest_received_at),
        "latitude_deg": each.latitude_deg,
        "longitude_deg": each.longitude_deg,
        "settings": masked(device.settings),
    }


def masked(settings: Mapping[str, str]) -> dict[str, str]:
    """A key that protects what a device sends is not for screens and logs."""
    return {name: "***" if name in SECRETS else value for name, value in settings.items()}


def show(output: Output, devices: list["Registered"]) -> None:
    """JSON has every key, a table what people look for."""
    records = [record(each) for each in devices]
    if not output.as_json:
        for said in records:
            said["heard"] = (said["latest_received_at"] or "")[:19].replace("T", " ")
            if said["latitude_deg"] is not None:
                said["place"] = f"{said['latitude_deg']:.5f}, {said['longitude_deg']:.5f}"
    output.table(records, COLUMNS)
