"""The register of devices, for people: list, show, add, settings, adopt, retire."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Self

import psycopg
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from model import DeviceIdentity
from model.device import Device, DeviceState
from storage.store import StorageUnavailable


class NoSuchDevice(LookupError):
    """The register does not hold it; the text says what was asked for."""


class DeviceExists(Exception):
    """There is one of this identity already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A device with what people know of it, and the newest that was heard from it."""

    device: Device
    name: str | None
    created_at: datetime
    state_since: datetime
    latest_time: datetime | None
    latest_received_at: datetime | None
    latitude_deg: float | None
    longitude_deg: float | None


_SELECT = """
SELECT device.id, protocol, ident, state, settings, name, created_at, state_since,
       latest.time, latest.received_at, latest.latitude_deg, latest.longitude_deg
FROM ref.device LEFT JOIN raw.latest_position AS latest ON latest.device_id = device.id
"""


class Register:
    """On one connection of its own. Every method raises StorageUnavailable.

    with Register(url) as register:
        register.adopt(register.find("867...").device)
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[TupleRow] | None = None

    def __enter__(self) -> Self:
        with _translated():
            self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=10)
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def devices(self, state: DeviceState | None = None) -> list[Registered]:
        """All devices, or those of one state, in order of entry."""
        where = "WHERE state = %s " if state else ""
        return self._read(f"{where}ORDER BY device.id", [str(state)] if state else [])

    def show(self, identity: DeviceIdentity) -> Registered:
        """Raises NoSuchDevice."""
        found = self._read(
            "WHERE protocol = %s AND ident = %s", [identity.protocol, identity.ident]
        )
        if not found:
            raise NoSuchDevice(f"no {identity.protocol} device {identity.ident}")
        return found[0]

    def find(self, ident: str) -> list[Registered]:
        """Devices of this identity in any protocol."""
        return self._read("WHERE ident = %s ORDER BY protocol", [ident])

    def add(
        self,
        identity: DeviceIdentity,
        *,
        name: str | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> Registered:
        """Enter an active device. Raises DeviceExists."""
        done = self._change(
            "INSERT INTO ref.device (protocol, ident, state, name, settings) "
            "VALUES (%s, %s, 'active', %s, %s) ON CONFLICT DO NOTHING",
            [identity.protocol, identity.ident, name, Jsonb(dict(settings))],
        )
        if not done:
            raise DeviceExists(f"there is a {identity.protocol} device {identity.ident} already")
        return self.show(identity)

    def rename(self, identity: DeviceIdentity, name: str | None) -> Registered:
        """Raises NoSuchDevice, as the others below."""
        return self._set(identity, "name = %s", [name])

    def change_settings(
        self, identity: DeviceIdentity, changes: Mapping[str, str | None]
    ) -> Registered:
        """Set these settings and leave the others; None takes one away."""
        return self._set(
            identity,
            "settings = jsonb_strip_nulls(settings || %s)",
            [Jsonb(dict(changes))],
        )

    def adopt(self, identity: DeviceIdentity) -> Registered:
        """Make a quarantined or retired device active."""
        return self._become(identity, DeviceState.ACTIVE)

    def retire(self, identity: DeviceIdentity) -> Registered:
        """Take a device out of service. Its data stay, and it is answered as before."""
        return self._become(identity, DeviceState.RETIRED)

    def forget(self, identity: DeviceIdentity) -> None:
        """Give a stranger's place in quarantine to another. Its frames stay in the archive."""
        stranger = self.show(identity)
        if stranger.device.state is not DeviceState.QUARANTINED:
            raise NoSuchDevice(f"{identity.protocol} device {identity.ident} is not in quarantine")
        self._change(
            "WITH gone AS (DELETE FROM ref.device WHERE id = %s AND state = 'quarantined' "
            "RETURNING id), latest AS (DELETE FROM raw.latest_position USING gone "
            "WHERE device_id = gone.id) "
            "DELETE FROM raw.device_day_dirty USING gone WHERE device_id = gone.id",
            [stranger.device.id],
        )

    def _become(self, identity: DeviceIdentity, state: DeviceState) -> Registered:
        return self._set(
            identity,
            "state_since = CASE state WHEN %s THEN state_since ELSE now() END, state = %s",
            [str(state), str(state)],
        )

    def _set(self, identity: DeviceIdentity, what: str, values: list[object]) -> Registered:
        self._change(
            f"UPDATE ref.device SET {what} WHERE protocol = %s AND ident = %s",
            [*values, identity.protocol, identity.ident],
        )
        return self.show(identity)

    def _change(self, sql: str, values: list[object]) -> int:
        assert self._connection is not None, "used outside of its `with`"
        with _translated():
            return self._connection.execute(sql.encode(), values).rowcount

    def _read(self, rest: str, values: list[str]) -> list[Registered]:
        assert self._connection is not None, "used outside of its `with`"
        with _translated():
            found = self._connection.execute((_SELECT + rest).encode(), values).fetchall()
        return [_registered(row) for row in found]


def device_of(row: TupleRow) -> Device:
    """From the columns id, protocol, ident, state, settings."""
    number, protocol, ident, state, settings = row
    return Device(
        id=number,
        identity=DeviceIdentity(protocol=protocol, ident=ident),
        state=DeviceState(state),
        settings=MappingProxyType({str(name): str(value) for name, value in settings.items()}),
    )


def _registered(row: TupleRow) -> Registered:
    return Registered(
        device=device_of(row[:5]),
        name=row[5],
        created_at=row[6],
        state_since=row[7],
        latest_time=row[8],
        latest_received_at=row[9],
        latitude_deg=row[10],
        longitude_deg=row[11],
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise StorageUnavailable(str(error).strip()) from error
