"""The store on Postgres: one prepared statement, one round trip, one transaction for a batch.

    items -> sections of packed columns (rows) -> one statement (ingest) -> durable

A batch that Postgres refuses for what is in it, not for the state of the server, is halved until
the offender is alone; that one goes to `raw.rejected_item` with its bytes, and is durable too.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, LiteralString, cast
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow

from model import DeviceIdentity, fault
from model.device import (
    ContactClosed,
    Device,
    DevicePolicy,
    DeviceState,
    Entry,
    Item,
)
from storage import packing
from storage.batch import Batch, pack
from storage.committer import Committer
from storage.register import device_of
from storage.store import QuarantineFull, StorageUnavailable

log = logging.getLogger(__name__)

AT_A_TIME = 200
FRAME_BLOCK = 10_000  # as raw.frame_block counts
MAX_KNOWN_CONTACTS = 200_000
ADMISSION_LOCK = 0x7472_7565_6164_6D74

# What is wrong with the data, not with the server: their neighbours can still be stored.
REFUSALS = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    ValueError,
    TypeError,
    OverflowError,
)
# Two writers in each other's way; the same batch passes when tried again.
COLLISIONS = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)

OPTIONS = {
    # A generic plan from the start: planning costs more than a small batch.
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "timezone": "UTC",
    "statement_timeout": "30s",
    "application_name": "truetrack",
}
PREPARATIONS: list[tuple[LiteralString, list[str]]] = [
    *(("SELECT set_config(%s, %s, false)", [name, value]) for name, value in OPTIONS.items()),
    # A receipt rests on it, whatever the server's default is.
    (
        """SELECT set_config('synchronous_commit', 'on', false)
           WHERE current_setting('synchronous_commit') = 'off'""",
        [],
    ),
]
NETWORK: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
PARK = (
    "INSERT INTO raw.rejected_item "
    "(received_at, device_id, contact_id, decoder, raw, record, error) "
    "VALUES (%s, %s, %s, %s, %s, %s, %s)"
)


class PostgresStore:
    """See `storage.store.Store`. Connects when first used and again after every failure."""

    def __init__(self, url: str, *, max_quarantined: int = 1000) -> None:
        self._url = url
        self._max_quarantined = max_quarantined
        self._committer = Committer(self._connect_to_commit)
        self._reconnected = False  # so what is remembered may hold of another database
        self._asking: AsyncConnection[TupleRow] | None = None
        self._turn = asyncio.Lock()
        self._numbering = asyncio.Lock()
        self._next_frame = self._last_frame = 0
        # Contacts that are in the database, with the device they are known to be of.
        self._contacts: dict[UUID, int | None] = {}

    async def commit(self, items: Sequence[Item]) -> None:
        fault("store.before_commit")
        if items:
            await self._commit(items)
        fault("store.after_commit")

    async def devices(self) -> list[Device]:
        fault("store.devices")
        async with self._ask() as connection:
            cursor = await connection.execute(
                "SELECT id, protocol, ident, state, settings FROM ref.device ORDER BY id"
            )
            found = []
            for row in await cursor.fetchall():
                found.append(device_of(row))
                if len(found) % AT_A_TIME == 0:  # the loop has receipts to give meanwhile
                    await asyncio.sleep(0)
            return found

    async def admit(self, identity: DeviceIdentity, policy: DevicePolicy) -> Device:
        fault("store.admit")
        state = DeviceState.ACTIVE
        if policy is DevicePolicy.KNOWN:
            state = DeviceState.QUARANTINED
        async with self._ask() as connection, connection.transaction():
            # One stranger at a time, so that the limit is exact with many gateways.
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", [ADMISSION_LOCK])
            cursor = await connection.execute(
                "SELECT id, protocol, ident, state, settings FROM ref.device "
                "WHERE protocol = %s AND ident = %s",
                [identity.protocol, identity.ident],
            )
            if (found := await cursor.fetchone()) is not None:
                return device_of(found)
            if state is DeviceState.QUARANTINED:
                cursor = await connection.execute(
                    "SELECT count(*) FROM ref.device WHERE state = 'quarantined'"
                )
                row = await cursor.fetchone()
                if row is not None and row[0] >= self._max_quarantined:
                    raise QuarantineFull(f"{row[0]} devices are in quarantine already")
            cursor = await connection.execute(
                "INSERT INTO ref.device (protocol, ident, state) VALUES (%s, %s, %s) "
                "RETURNING id, protocol, ident, state, settings",
                [identity.protocol, identity.ident, str(state)],
            )
            made = await cursor.fetchone()
            assert made is not None
            return device_of(made)

    async def close(self) -> None:
        await self._committer.close()
        asking, self._asking = self._asking, None
        if asking is not None:
            await asking.close()

    # committing

    async def _commit(self, items: Sequence[Item]) -> None:
        """All of `items`, in halves where need be."""
        try:
            await self._write(items)
        except REFUSALS as error:
            if len(items) == 1:
                await self._park(items[0], error)
                return
            half = len(items) // 2
            await self._commit(items[:half])
            await self._commit(items[half:])

    async def _write(self, items: Sequence[Item]) -> None:
        """One transaction. Raises StorageUnavailable, and REFUSALS after nothing was written."""
        for last_try in (False, True):
            try:
                first = await self._frame_ids(len(items))
                batch = pack(items, range(first, first + len(items)), self._contacts)
                await self._committer.run(batch.sql, batch.parameters)
            except REFUSALS:
                raise
            except COLLISIONS as error:
                if last_try:
                    raise StorageUnavailable(_text(error)) from error
            except psycopg.Error as error:
                raise StorageUnavailable(_text(error)) from error
            else:
                self._remember(batch)
                return

    async def _frame_ids(self, count: int) -> int:
        """The first of `count` numbers in a row, for frames of the connection that is open."""
        async with self._numbering:
            if self._reconnected:
                self._reconnected = False
                self._next_frame = self._last_frame = 0
                self._contacts.clear()
            if self._next_frame + count > self._last_frame:
                blocks = -(-count // FRAME_BLOCK)
                self._next_frame = await self._committer.call(partial(_take_blocks, blocks))
                self._last_frame = self._next_frame + blocks * FRAME_BLOCK
            first = self._next_frame
            self._next_frame += count
            return first

    def _remember(self, batch: Batch) -> None:
        for contact, device in batch.opened:
            self._contacts[contact.id] = device
        for closed in batch.closed:
            self._contacts.pop(closed.contact.id, None)
        while len(self._contacts) > MAX_KNOWN_CONTACTS:
            del self._contacts[next(iter(self._contacts))]

    async def _park(self, item: Item, error: Exception) -> None:
        """Keep what cannot be stored in its place."""
        log.warning("an item goes to raw.rejected_item: %s", _text(error))
        entry = item if isinstance(item, Entry) else None
        values = [
            entry.received_at if entry else cast("ContactClosed", item).closed_at,
            item.device.id if item.device else None,
            item.contact.id,
            packing.clean(entry.decoder) if entry else "",
            entry.event.raw if entry else b"",
            _record(item),
            packing.clean(_text(error)),
        ]
        try:
            await self._committer.call(lambda connection: connection.execute(PARK, values))
        except psycopg.Error as failure:
            raise StorageUnavailable(_text(failure)) from failure

    # connections

    def _connect_to_commit(self) -> Connection[TupleRow]:
        """For the committer's thread. Raises psycopg.Error."""
        connection = psycopg.connect(self._url, autocommit=True, **NETWORK)
        try:
            for sql, values in PREPARATIONS:
                connection.execute(sql, values)
        except psycopg.Error:
            connection.close()
            raise
        self._reconnected = True
        return connection

    @asynccontextmanager
    async def _ask(self) -> AsyncIterator[AsyncConnection[TupleRow]]:
        """The connection for everything but commits, to one caller at a time."""
        async with self._turn:
            if self._asking is None:
                self._asking = await self._connect()
            connection = self._asking
            try:
                yield connection
            except QuarantineFull:
                raise
            except BaseException as error:
                self._asking = None
                await connection.close()
                if isinstance(error, psycopg.Error):
                    raise StorageUnavailable(_text(error)) from error
                raise

    async def _connect(self) -> AsyncConnection[TupleRow]:
        try:
            connection = await AsyncConnection.connect(self._url, autocommit=True, **NETWORK)
        except psycopg.Error as error:
            raise StorageUnavailable(_text(error)) from error
        try:
            for sql, values in PREPARATIONS:
                await connection.execute(sql, values)
        except psycopg.Error as error:
            await connection.close()
            raise StorageUnavailable(_text(error)) from error
        return connection


def _take_blocks(count: int, connection: Connection[TupleRow]) -> int:
    """The first number of so many blocks in a row, for a batch that is larger than one."""
    while True:
        cursor = connection.execute(
            "SELECT nextval('raw.frame_block') FROM generate_series(1, %s)", [count]
        )
        numbers: list[int] = [row[0] for row in cursor.fetchall()]
        if numbers[-1] - numbers[0] == (count - 1) * FRAME_BLOCK:
            return numbers[0]


def _text(error: BaseException) -> str:
    """The first line of what an error says."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _record(item: Item) -> str:
    """The item as text, for people; its bytes are kept beside it."""
    try:
        return packing.clean(repr(item)[:100_000])
    except Exception as error:  # what made it an offender may well have no text
        return f"{type(item).__name__} without a text: {_text(error)}"
