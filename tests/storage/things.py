"""Items to commit, and looks into the database."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg

from model import DeviceIdentity, Event, Fix, Report
from model.device import Contact, Device, DeviceState, Durability, Entry, IdentityStrength

NOW = datetime(2026, 5, 4, 12, 0, 0, 250_000, tzinfo=UTC)
_frames = itertools.count()


def contact(number: int | None = None, **more) -> Contact:
    said = {"source": "gt06", "transport": "tcp", "peer": "192.0.2.1:5000", "opened_at": NOW}
    return Contact(id=uuid4() if number is None else UUID(int=number), **{**said, **more})


def identity(ident: str = "863300000000001") -> DeviceIdentity:
    return DeviceIdentity(protocol="gt06", ident=ident)


def device(number: int, ident: str | None = None) -> Device:
    return Device(id=number, identity=identity(ident or f"{number:015d}"), state=DeviceState.ACTIVE)


def fix(seconds: float = 0.0, **more) -> Fix:
    said = {"valid": True, "latitude_deg": 22.5, "longitude_deg": 114.25}
    return Fix(time=NOW + timedelta(seconds=seconds), **{**said, **more})


def entry(of: Device | None, event: Event, over: Contact, **more) -> Entry:
    said = {"received_at": NOW, "decoder": "gt06 1", "durability": Durability.COMMIT}
    return Entry(event=event, device=of, contact=over, **{**said, **more})


def report(of: Device, *fixes: Fix, over: Contact, alarms=(), raw: bytes | None = None, **more):
    """An entry whose frame is unlike any other."""
    raw = b"\x78\x78%d\r\n" % next(_frames) if raw is None else raw
    event = Report(raw=raw, device=of.identity, fixes=fixes, alarms=frozenset(alarms))
    return entry(of, event, over, **more)


def rows(url: str, sql: str, *values) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(sql, values or None).fetchall()


def value(url: str, sql: str, *values):
    ((only,),) = rows(url, sql, *values)
    return only


__all__ = [
    "NOW", "IdentityStrength", "contact", "device", "entry", "fix", "identity", "report", "rows",
    "value",
]  # fmt: skip
