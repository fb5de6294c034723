"""The archive of frames, read again by a better decoder.

    async for frame in archived(url, ...):      oldest first
        events = decoder of today, fed frame.raw
        store.write_again([Reread(frame, events), ...])

What is read again is linked to the frame it came from, which is not archived a second time. A
fix that the new reading no longer yields is moved to the quarantine with the reason, so that
nothing is lost and nothing is shown twice. Doing it all again changes nothing.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from model import DeviceIdentity, Event, Rejected, Report
from model.device import Contact, Device, Durability, Entry, IdentityStrength
from storage import packing
from storage.batch import pack
from storage.digest import fix_digest
from storage.register import device_of
from storage.schema import latest_position, position
from storage.store import StorageUnavailable

PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedFrame:
    """A frame as it came, with all that was known around it."""

    id: int
    received_at: datetime
    device: Device | None
    contact: Contact  # of one whose row is gone, only the number and the source are known
    kind: str  # what the decoder of then made of it
    reason: str | None  # why it was rejected
    decoder: str
    durability: Durability
    raw: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Reread:
    """A frame with what it says to the decoder of today."""

    frame: ArchivedFrame
    events: Sequence[Event]
    decoder: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewritten:
    """What reading again changed."""

    frames: int
    positions: int  # new ones
    superseded: int  # old ones that the new reading does not yield


_SELECT = """
SELECT frame.id, frame.received_at, frame.contact_id, frame.source, frame.kind, frame.reason,
       frame.decoder, frame.durability, frame.raw,
       contact.transport, contact.peer, contact.opened_at, contact.strength,
       device.id, device.protocol, device.ident, device.state, device.settings
FROM raw.frame
LEFT JOIN raw.contact ON contact.id = frame.contact_id
LEFT JOIN ref.device ON device.id = frame.device_id
WHERE received_at >= coalesce(%(since)s::timestamptz, '-infinity')
  AND received_at < coalesce(%(until)s::timestamptz, 'infinity')
  AND (%(source)s::text IS NULL OR frame.source = %(source)s)
  AND (%(protocol)s::text IS NULL
       OR device.protocol = %(protocol)s AND device.ident = %(ident)s)
ORDER BY received_at, frame.id
"""


async def archived(
    url: str,
    *,
    device: DeviceIdentity | None = None,
    source: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> AsyncIterator[ArchivedFrame]:
    """Frames in order of arrival, of one device, one source, a span of time, or all.

    The frames of one contact are in order; those of several are mixed. Raises StorageUnavailable.
    """
    asked = {
        "since": since,
        "until": until,
        "source": source,
        "protocol": device.protocol if device else None,
        "ident": device.ident if device else None,
    }
    try:
        async with (
            await AsyncConnection.connect(url, connect_timeout=10) as connection,
            connection.cursor("archived") as cursor,
        ):
            cursor.itersize = PAGE
            await cursor.execute(_SELECT, asked)
            async for row in cursor:
                yield _frame(row)
    except psycopg.Error as error:
        raise StorageUnavailable(str(error).strip()) from error


async def write_again(url: str, rereads: Sequence[Reread]) -> Rewritten:
    """Store what frames say now, in one transaction. Raises StorageUnavailable, ValueError."""
    if not rereads:
        return Rewritten(frames=0, positions=0, superseded=0)
    try:
        async with await AsyncConnection.connect(url, connect_timeout=10) as connection:
            packing.register(connection)
            return await _write(connection, rereads)
    except psycopg.Error as error:
        raise StorageUnavailable(str(error).strip()) from error


async def _write(connection: AsyncConnection[TupleRow], rereads: Sequence[Reread]) -> Rewritten:
    entries, frame_ids = _entries(rereads)
    if entries:
        batch = pack(entries, frame_ids, {}, archive=False)
        await connection.execute(batch.sql, batch.parameters)
    keys = [
        (entry.device.id, fix.time, fix_digest(fix))
        for entry in entries
        if entry.device is not None and isinstance(entry.event, Report)
        for fix in entry.event.fixes
    ]
    ids = [reread.frame.id for reread in rereads]
    cursor = await connection.execute(
        _SUPERSEDE.encode(),
        {
            "ids": ids,
            "low": min(ids),
            "high": max(ids),
            "devices": [key[0] for key in keys],
            "times": [key[1] for key in keys],
            "digests": [key[2] for key in keys],
            "reason": packing.clean(f"superseded by {rereads[0].decoder}"),
        },
    )
    superseded = await _one(cursor)
    read_now = [r.frame.id for r in rereads if not any(type(e) is Rejected for e in r.events)]
    arrivals = [reread.frame.received_at for reread in rereads]
    await connection.execute(_NOT_REJECTED, [min(arrivals), max(arrivals), read_now])
    await connection.execute(_LATEST_AGAIN.encode())
    made = await _one(
        await connection.execute(
            "SELECT count(*) FROM raw.position WHERE ingest = (SELECT raw.feed_number())"
        )
    )
    return Rewritten(frames=len(rereads), positions=made, superseded=superseded)


def _entries(rereads: Sequence[Reread]) -> tuple[list[Entry], list[int]]:
    entries, frame_ids = [], []
    for reread in rereads:
        frame = reread.frame
        for event in reread.events:
            entries.append(
                Entry(
                    event=event,
                    device=frame.device,
                    contact=frame.contact,
                    received_at=frame.received_at,
                    durability=frame.durability,
                    decoder=reread.decoder,
                )
            )
            frame_ids.append(frame.id)
    return entries, frame_ids


async def _one(cursor: psycopg.AsyncCursor[TupleRow]) -> int:
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


def _frame(row: TupleRow) -> ArchivedFrame:
    return ArchivedFrame(
        id=row[0],
        received_at=row[1],
        contact=Contact(
            id=row[2],
            source=row[3],
            transport=row[9] or "",
            peer=row[10] or "",
            opened_at=row[11] or row[1],
            strength=IdentityStrength(row[12] or IdentityStrength.NONE),
        ),
        kind=row[4],
        reason=row[5],
        decoder=row[6],
        durability=Durability(row[7]),
        raw=bytes(row[8]),
        device=device_of(row[13:]) if row[13] is not None else None,
    )


_NAMES = ", ".join(column.name for column in position.columns)

_SUPERSEDE = f"""
WITH old AS (
    DELETE FROM raw.position AS old
    WHERE frame_id BETWEEN %(low)s AND %(high)s AND frame_id = ANY (%(ids)s)
      AND NOT EXISTS (
          SELECT FROM unnest(%(devices)s::bigint[], %(times)s::timestamptz[],
                             %(digests)s::bigint[]) AS said (device_id, time, digest)
          WHERE said.device_id = old.device_id AND said.time = old.time
            AND said.digest = old.digest)
    RETURNING {_NAMES}
), kept AS (
    INSERT INTO raw.position_quarantine ({_NAMES}, reason)
    SELECT {_NAMES}, %(reason)s FROM old ON CONFLICT DO NOTHING
), latest AS (
    -- Marked by a time that anything is newer than.
    UPDATE raw.latest_position AS latest SET time = '-infinity' FROM old
    WHERE latest.device_id = old.device_id AND latest.time = old.time
      AND latest.digest = old.digest
), dirty AS (
    INSERT INTO raw.device_day_dirty (device_id, day)
    SELECT DISTINCT device_id, (time AT TIME ZONE 'UTC')::date FROM old ORDER BY 1, 2
    ON CONFLICT (device_id, day) DO UPDATE
    SET marked_at = excluded.marked_at, claimed_at = NULL, claimed_by = NULL
)
SELECT count(*) FROM old
"""

_NOT_REJECTED = """
DELETE FROM raw.device_event
WHERE kind = 'rejected' AND time BETWEEN %s AND %s AND frame_id = ANY (%s)
"""

_LATEST_NAMES = ", ".join(column.name for column in latest_position.columns)

_LATEST_AGAIN = f"""
WITH stale AS (
    DELETE FROM raw.latest_position WHERE time = '-infinity' RETURNING device_id
)
INSERT INTO raw.latest_position ({_LATEST_NAMES})
SELECT {", ".join(f"newest.{column.name}" for column in latest_position.columns)}
FROM stale CROSS JOIN LATERAL (
    SELECT {_LATEST_NAMES} FROM raw.position
    WHERE position.device_id = stale.device_id AND valid ORDER BY time DESC LIMIT 1) AS newest
"""
