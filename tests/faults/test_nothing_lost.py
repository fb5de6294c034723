"""Real processes, killed: every acknowledged fix is in the table, exactly once."""

import asyncio
import itertools
from pathlib import Path

import psycopg
import pytest

from storage.embedded import EmbeddedPostgres
from tests.faults.processes import Gateway, free_port
from tests.faults.trackers import EPOCH, Tracker

TRACKERS = 200
FIXES = 200
PAUSE_S = 0.1
KILLS, STOPS = 10, 5


@pytest.fixture
def postgres(tmp_path: Path):
    server = EmbeddedPostgres(tmp_path / "db")
    server.start()
    yield server
    server.stop()


def stored(url: str) -> list[tuple[str, int]]:
    """Every position as (ident, number of the fix), in no order."""
    query = """
        select d.ident, extract(epoch from p.time - %s)::int
        from raw.position p join ref.device d on d.id = p.device_id
    """
    with psycopg.connect(url) as connection:
        return [(ident, number) for ident, number in connection.execute(query, [EPOCH])]


class Acks:
    """Counts receipts, so that a test can say when there must be none."""

    def __init__(self) -> None:
        self.count = 0

    def one(self) -> None:
        self.count += 1


async def test_killed_and_cut_off_nothing_is_lost_and_nothing_doubled(postgres, tmp_path: Path):
    port = free_port()
    gateway = Gateway(
        tmp_path, f'[sources.gt06]\nlisten = ["tcp://127.0.0.1:{port}"]\n', postgres.url
    )
    acks = Acks()
    trackers = [Tracker(number, port, acks.one) for number in range(TRACKERS)]
    gateway.start()
    try:
        await gateway.ready()
        async with asyncio.timeout(240), asyncio.TaskGroup() as group:
            for tracker in trackers:
                group.create_task(tracker.live(FIXES, PAUSE_S))
            await strike(gateway, postgres, acks)
        assert await gateway.stop() == 0
    finally:
        gateway.kill()
    assert all(len(tracker.acked) == FIXES for tracker in trackers)
    found = stored(postgres.url)
    assert len(found) == len(set(found)), "a fix is there twice"
    sent = {(t.imei, n) for t, n in itertools.product(trackers, range(FIXES))}
    assert set(found) == sent


async def strike(gateway: Gateway, postgres: EmbeddedPostgres, acks: Acks) -> None:
    """Ten times SIGKILL for the gateway, five times a stopped database, in turns."""
    for blow in range(KILLS):
        await progress(acks, 300)
        gateway.kill()
        gateway.start()
        await gateway.ready()
        if blow % (KILLS // STOPS):
            await progress(acks, 300)
            await asyncio.to_thread(postgres.stop)
            # What was confirmed before the stop may still be on its way to the trackers.
            await asyncio.sleep(0.3)
            before = acks.count
            await asyncio.sleep(0.7)
            assert acks.count == before, "a receipt while the database was down"
            await asyncio.to_thread(postgres.start)


async def progress(acks: Acks, more: int) -> None:
    """Wait for so many receipts: a fault that strikes an idle gateway shows nothing."""
    goal = min(acks.count + more, TRACKERS * FIXES)
    while acks.count < goal:
        await asyncio.sleep(0.02)
