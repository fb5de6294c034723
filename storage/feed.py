"""What changes, as it changes: the feed `api_v1.changes` as an iterator.

NOTIFY wakes, the cursor decides. A row appears once no transaction can still commit before it,
so that a reader who keeps the largest cursor it has seen misses nothing, however late a
transaction commits. One that holds a row back need not notify when it ends: hence the patience.
"""

import dataclasses
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from storage.ingest import CHANNEL
from storage.store import StorageUnavailable

PATIENCE_S = 1.0
PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A row of `api_v1.changes`; the columns' comments say what each is."""

    cursor: int
    kind: str
    device_id: int | None
    protocol: str | None
    ident: str | None
    name: str | None
    time: datetime
    latitude: float | None
    longitude: float | None
    altitude_m: float | None
    speed_mps: float | None
    course_deg: float | None
    accuracy_m: float | None
    valid: bool | None
    alarms: tuple[str, ...]
    detail: str | None
    telemetry: Mapping[str, object]
    received_at: datetime


_COLUMNS = ", ".join(field.name for field in dataclasses.fields(Change))

# Each branch along its index, as `api_v1.changes(after)` does it.
_RECENT = f"""
SELECT {_COLUMNS} FROM api_v1.changes
WHERE cursor >= coalesce((
    SELECT min(page.cursor) FROM (
        SELECT each.cursor FROM (
            (SELECT cursor FROM api_v1.positions ORDER BY cursor DESC LIMIT %(count)s)
            UNION ALL
            (SELECT cursor FROM api_v1.events ORDER BY cursor DESC LIMIT %(count)s)) AS each
        ORDER BY each.cursor DESC LIMIT %(count)s) AS page), 0)
ORDER BY cursor DESC, time DESC LIMIT %(count)s
"""


async def changes(
    url: str, *, after: int | None = None, follow: bool = True
) -> AsyncIterator[Change]:
    """Every change after a cursor, oldest first; without one, from now on.

    Without `follow` it ends where there is nothing more. Raises StorageUnavailable; go on with
    the last cursor seen.
    """
    try:
        async with await AsyncConnection.connect(
            url, autocommit=True, connect_timeout=10
        ) as connection:
            # Before the first look, or what comes between would wake nobody.
            await connection.execute(f"LISTEN {CHANNEL}".encode())
            cursor = await horizon(connection) if after is None else after
            while True:
                page = await _page(connection, cursor)
                for change in page:
                    yield change
                if page:
                    cursor = page[-1].cursor
                elif follow:
                    async for _ in connection.notifies(timeout=PATIENCE_S, stop_after=1):
                        pass
                else:
                    return
    except psycopg.Error as error:
        raise StorageUnavailable(str(error).strip()) from error


async def recent(url: str, count: int) -> list[Change]:
    """The last `count` changes, oldest first."""
    try:
        async with await AsyncConnection.connect(url, connect_timeout=10) as connection:
            cursor = await connection.execute(_RECENT.encode(), {"count": count})
            return [_change(row) for row in reversed(await cursor.fetchall())]
    except psycopg.Error as error:
        raise StorageUnavailable(str(error).strip()) from error


async def horizon(connection: AsyncConnection[TupleRow]) -> int:
    """The greatest cursor that nothing can be added at or below any more."""
    cursor = await connection.execute("SELECT api_v1.horizon() - 1")
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def _page(connection: AsyncConnection[TupleRow], after: int) -> list[Change]:
    cursor = await connection.execute(
        f"SELECT {_COLUMNS} FROM api_v1.changes(%s, %s)".encode(), [after, PAGE]
    )
    return [_change(row) for row in await cursor.fetchall()]


def _change(row: TupleRow) -> Change:
    said = dict(zip(_COLUMNS.split(", "), row, strict=True))
    said["alarms"] = tuple(said["alarms"] or ())
    return Change(**said)
