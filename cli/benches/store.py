"""Durable commits of fixes, against a bare COPY of the same fixes.

Ours: frame archive, idempotent position, dirty day, latest position, notice to readers, one
transaction a batch, fsync on. The peer: binary COPY straight into the position table and a
commit, which would store a resend twice. Both alternate on one server, so that what else the
machine does falls on both.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from model import DeviceIdentity, Fix, Report
from model.device import Contact, Device, DevicePolicy, Entry
from storage.batch import pack
from storage.digest import fix_digest
from storage.embedded import EmbeddedPostgres
from storage.migrate import migrate
from storage.postgres import PostgresStore

BATCHES = (100, 1000, 4000)
DEVICES = 1000
ROWS = 40_000  # of each side, for each size of batch
RAW = bytes.fromhex(
    "787822220f0c1d023305c9027ac8180c46586000140001cc00287d001f71000001000820860d0a"
)

COLUMNS = {
    "device_id": "int8", "time": "timestamptz", "digest": "int8", "latitude_deg": "float8",
    "longitude_deg": "float8", "altitude_m": "float8", "speed_mps": "float8",
    "course_deg": "float8", "accuracy_m": "float8", "hdop": "float8", "frame_id": "int8",
    "received_at": "timestamptz", "satellites": "int4", "valid": "bool", "source": "text",
    "time_source": "text", "durability": "text", "identity_strength": "text",
    "telemetry": "jsonb",
}  # fmt: skip


def run() -> Iterator[dict[str, object]]:
    """One row for each size of batch, and one for what packing costs in this process."""
    folder = Path(tempfile.mkdtemp(prefix="truetrack-bench-"))
    folder.chmod(0o755)  # as root the server is another user
    server = EmbeddedPostgres(folder)
    try:
        server.start()
        migrate(server.url)
        for size in BATCHES:
            yield _row(size, *asyncio.run(_measure(server.url, size)))
        yield asyncio.run(_packing(server.url))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _row(size: int, ours: float, bare: float) -> dict[str, object]:
    return {
        "name": f"store: durable fixes, {size} a commit",
        "value": round(ours),
        "unit": "rows/s",
        "peer": "bare binary COPY, not idempotent",
        "peer_value": round(bare),
        "ratio": round(ours / bare, 3),
    }


async def _measure(url: str, size: int) -> tuple[float, float]:
    """Rows a second of ours and of the peer."""
    store = PostgresStore(url)
    devices = await _devices(store)
    contacts = _contacts()
    rounds = max(4, ROWS // size)
    spent = {"ours": 0.0, "bare": 0.0}
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        for turn in range(rounds + 2):
            for side, side_run in (("ours", store.commit), ("bare", _copier(connection))):
                entries = _entries(devices, contacts, size)
                seconds = await _timed(side_run, entries)
                if turn >= 2:  # the first two warm caches and plans
                    spent[side] += seconds
    await store.close()
    return rounds * size / spent["ours"], rounds * size / spent["bare"]


async def _packing(url: str) -> dict[str, object]:
    """What a fix costs this process, the database left out."""
    store = PostgresStore(url)
    devices = await _devices(store)
    await store.close()
    entries = _entries(devices, _contacts(), 1000)
    known = {entry.contact.id: entry.device.id for entry in entries if entry.device}
    best = min(_seconds(lambda: pack(entries, range(1, 1001), known)) for _ in range(15))
    digest = min(
        _seconds(lambda: [fix_digest(entry.event.fixes[0]) for entry in entries]) for _ in range(15)
    )
    return {
        "name": "store: packing a fix and its frame",
        "value": round(best * 1e3, 2),
        "unit": "us",
        "peer": "its digest alone",
        "peer_value": round(digest * 1e3, 2),
        "ratio": round(best / digest, 2),
    }


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


async def _timed(
    work: Callable[[list["_Entry"]], Coroutine[None, None, None]], entries: list["_Entry"]
) -> float:
    begun = time.perf_counter()
    await work(entries)
    return time.perf_counter() - begun


class _Entry(Entry):
    """An entry whose event is known to be a report."""

    event: Report


async def _devices(store: PostgresStore) -> list[Device]:
    return [
        await store.admit(DeviceIdentity(protocol="gt06", ident=f"{n:015d}"), DevicePolicy.REGISTER)
        for n in range(DEVICES)
    ]


def _contacts() -> list[Contact]:
    return [
        Contact(
            id=UUID(int=n + 1),
            source="gt06",
            transport="tcp",
            peer=f"127.0.0.1:{n}",
            opened_at=datetime.now(UTC),
        )
        for n in range(DEVICES)
    ]


_serial = 0


def _entries(devices: list[Device], contacts: list[Contact], size: int) -> list[_Entry]:
    """As a gateway of many devices makes them: each fix new, each device some seconds on."""
    global _serial  # noqa: PLW0603 - fixes must differ over the whole run
    now = datetime.now(UTC)
    entries = []
    for _ in range(size):
        _serial += 1
        device = devices[_serial % DEVICES]
        fix = Fix(
            time=now.replace(microsecond=0) - timedelta(seconds=_serial // DEVICES % 3000),
            valid=True,
            latitude_deg=22.5 + _serial % 9999 / 1e5,
            longitude_deg=114.0 + _serial / 1e9,
            speed_mps=_serial % 30 / 1.8,
            course_deg=float(_serial % 360),
            satellites=9,
            telemetry={"ignition": True, "gsm_level": 4},
        )
        entries.append(
            _Entry(
                event=Report(raw=RAW, device=device.identity, fixes=(fix,)),
                device=device,
                contact=contacts[_serial % DEVICES],
                received_at=now,
                decoder="gt06 1",
            )
        )
    return entries


def _copier(
    connection: AsyncConnection[TupleRow],
) -> Callable[[list[_Entry]], Coroutine[None, None, None]]:
    async def copy(entries: list[_Entry]) -> None:
        sql = f"COPY raw.position ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
        async with connection.cursor() as cursor, cursor.copy(sql.encode()) as stream:
            stream.set_types(list(COLUMNS.values()))
            for entry in entries:
                fix = entry.event.fixes[0]
                assert entry.device is not None
                await stream.write_row(
                    (
                        entry.device.id, fix.time, fix_digest(fix), fix.latitude_deg,
                        fix.longitude_deg, fix.altitude_m, fix.speed_mps, fix.course_deg,
                        fix.accuracy_m, fix.hdop, 0, entry.received_at, fix.satellites,
                        fix.valid, str(fix.source), str(fix.time_source), "commit", "none",
                        psycopg.types.json.Jsonb(fix.telemetry),
                    )
                )  # fmt: skip

    return copy
