"""Work by the clock: partitions ahead, retention, and the mark that we were up.

`maintain` is called every minute by every gateway process. The one that gets the advisory lock
does the work on partitions; all of them leave their mark. The time is the database's own.

Nothing here may stand in the way of a commit: whatever cannot get its lock within two seconds
is left for the next minute.
"""

import logging
from dataclasses import dataclass, fields

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from storage.store import StorageUnavailable

log = logging.getLogger(__name__)

DAYS_BEHIND, DAYS_AHEAD = 1, 7
LOCK = 0x7472_7565_6D61_696E
SPAN = "150 seconds"  # marks closer than this belong to one span of service
CHUNK = 20_000  # rows deleted in one transaction: a long one would hold up the change feed
CHUNKS = 50  # per call and table
CROWDED_BYTES = 64 << 20  # size of a default partition worth looking into
CROWDED_ROWS = 50_000  # rows of one day in it that earn the day a partition

_TODAY = "(now() AT TIME ZONE 'UTC')::date"

PARTITIONS_SQL = f"""
SELECT raw.make_day(parent, day)
FROM unnest(ARRAY['frame', 'position', 'device_event']) AS parent,
     (SELECT {_TODAY} + n AS day FROM generate_series(-{DAYS_BEHIND}, {DAYS_AHEAD}) AS n) AS days
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """For how many days each kind of data is kept; None keeps it for ever."""

    frame_days: int | None = None
    position_days: int | None = None  # of the time of the fix; latest positions included
    event_days: int | None = None
    contact_days: int | None = None
    quarantine_days: int | None = None  # positions with absurd times, and refused items

    def __post_init__(self) -> None:
        for field in fields(self):
            days = getattr(self, field.name)
            if days is not None and days < 1:
                raise ValueError(f"{field.name} must be at least 1, not {days}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintained:
    """What one call did."""

    leading: bool  # False: another process held the lock
    made: int = 0  # partitions
    dropped: int = 0  # partitions
    deleted: int = 0  # rows of tables without partitions
    postponed: int = 0  # what did not get its lock in time


@dataclass(frozen=True, slots=True)
class _Partitioned:
    table: str
    key: str
    days: int | None


KEEP_ALL = Retention()


async def maintain(
    url: str, *, gateway: str = "gateway", starting: bool = False, keep: Retention = KEEP_ALL
) -> Maintained:
    """One minute's work. `starting` begins a new span of service, so that a restart shows.

    Raises StorageUnavailable; whatever was done by then stays done.
    """
    try:
        async with await AsyncConnection.connect(
            url, autocommit=True, connect_timeout=10
        ) as connection:
            await connection.execute("SET statement_timeout = '5min'")
            await beat(connection, gateway, starting=starting)
            cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            row = await cursor.fetchone()
            if row is None or not row[0]:
                return Maintained(leading=False)
            return await _lead(connection, keep)
    except psycopg.Error as error:
        raise StorageUnavailable(str(error).strip()) from error


async def beat(
    connection: AsyncConnection[TupleRow], gateway: str, *, starting: bool = False
) -> None:
    """Lengthen this gateway's span of service, or begin a new one after a silence."""
    await connection.execute(
        f"""
        WITH longer AS (
            UPDATE raw.gateway_heartbeat SET until = now()
            WHERE NOT %(starting)s AND gateway = %(gateway)s
              AND until > now() - interval '{SPAN}'
              AND since = (SELECT max(since) FROM raw.gateway_heartbeat
                           WHERE gateway = %(gateway)s)
            RETURNING 1)
        INSERT INTO raw.gateway_heartbeat (gateway, since, until)
        SELECT %(gateway)s, now(), now() WHERE NOT EXISTS (SELECT FROM longer)
        """,
        {"gateway": gateway, "starting": starting},
    )


async def _lead(connection: AsyncConnection[TupleRow], keep: Retention) -> Maintained:
    tables = [
        _Partitioned("frame", "received_at", keep.frame_days),
        _Partitioned("position", "time", keep.position_days),
        _Partitioned("device_event", "time", keep.event_days),
    ]
    made = dropped = deleted = postponed = 0
    await connection.execute("SET lock_timeout = '2s'")
    for table in tables:
        for day in await _days_wanted(connection, table):
            done = await _attempt(connection, "SELECT raw.make_day(%s, %s)", [table.table, day])
            made, postponed = made + done, postponed + (not done)
            if not done:
                break  # whoever is in the way of one day is in the way of the next
        for child in await _days_over(connection, table):
            done = await _attempt(connection, f"DROP TABLE raw.{child}", None)
            dropped, postponed = dropped + done, postponed + (not done)
            if not done:
                break
    for name, key, days in [
        *((f"{t.table}_default", t.key, t.days) for t in tables),
        ("latest_position", "time", keep.position_days),
        ("contact", "coalesce(closed_at, opened_at)", keep.contact_days),
        ("position_quarantine", "received_at", keep.quarantine_days),
        ("rejected_item", "received_at", keep.quarantine_days),
    ]:
        if days is not None:
            deleted += await _delete_old(connection, name, key, days)
    return Maintained(
        leading=True, made=made, dropped=dropped, deleted=deleted, postponed=postponed
    )


async def _attempt(
    connection: AsyncConnection[TupleRow], sql: str, parameters: list[object] | None
) -> bool:
    try:
        await connection.execute(sql.encode(), parameters)
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        log.info("left for the next minute: %s", str(error).strip())
        return False
    return True


async def _days_wanted(connection: AsyncConnection[TupleRow], table: _Partitioned) -> list[object]:
    """Days that should have a partition and have none: those around today, and crowded ones."""
    cursor = await connection.execute(
        f"""
        SELECT day FROM (SELECT {_TODAY} + n AS day
                         FROM generate_series(-{DAYS_BEHIND}, {DAYS_AHEAD}) AS n) AS days
        WHERE to_regclass(format('raw.%%I', %s || to_char(day, '"_"YYYYMMDD'))) IS NULL
        ORDER BY day
        """,
        [table.table],
    )
    days = [row[0] for row in await cursor.fetchall()]
    cursor = await connection.execute(
        f"SELECT pg_relation_size('raw.{table.table}_default') > {CROWDED_BYTES}".encode()
    )
    row = await cursor.fetchone()
    if row is not None and row[0]:
        cursor = await connection.execute(
            f"""
            SELECT ({table.key} AT TIME ZONE 'UTC')::date FROM raw.{table.table}_default
            GROUP BY 1 HAVING count(*) >= {CROWDED_ROWS} ORDER BY count(*) DESC LIMIT 3
            """.encode()
        )
        days += [row[0] for row in await cursor.fetchall() if row[0] not in days]
    return days


async def _days_over(connection: AsyncConnection[TupleRow], table: _Partitioned) -> list[str]:
    """Partitions whose whole day is older than is kept. Their names hold the day."""
    if table.days is None:
        return []
    cursor = await connection.execute(
        f"""
        SELECT child.relname FROM pg_inherits
        JOIN pg_class AS child ON child.oid = inhrelid
        WHERE inhparent = 'raw.{table.table}'::regclass
          AND child.relname ~ '_[0-9]{{8}}$'
          AND to_date(right(child.relname, 8), 'YYYYMMDD') < {_TODAY} - %s::integer
        ORDER BY 1
        """.encode(),
        [table.days],
    )
    return [row[0] for row in await cursor.fetchall()]


async def _delete_old(
    connection: AsyncConnection[TupleRow], table: str, key: str, days: int
) -> int:
    deleted = 0
    for _ in range(CHUNKS):
        cursor = await connection.execute(
            f"""
            DELETE FROM raw.{table} WHERE ctid = ANY (ARRAY(
                SELECT ctid FROM raw.{table}
                WHERE {key} < ({_TODAY} - %s::integer)::timestamp AT TIME ZONE 'UTC'
                LIMIT {CHUNK}))
            """.encode(),
            [days],
        )
        deleted += cursor.rowcount
        if cursor.rowcount < CHUNK:
            break
    return deleted
