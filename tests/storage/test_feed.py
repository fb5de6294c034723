"""The change feed misses nothing, however transactions overlap."""

import asyncio

import psycopg
import pytest

from model import Alarm, Rejected
from model.device import DevicePolicy
from storage import feed
from storage.migrate import migrate
from storage.postgres import PostgresStore
from storage.store import StorageUnavailable
from tests.storage.things import contact, entry, fix, identity, report, rows

BY_HAND = """
INSERT INTO raw.position (device_id, time, digest, valid, latitude_deg, longitude_deg, frame_id,
                          received_at, source, time_source, durability, identity_strength)
VALUES (%s, now(), %s, true, 1, 2, 0, now(), 'gnss', 'device', 'commit', 'none')
"""


@pytest.fixture
async def store(postgres_url):
    store = PostgresStore(postgres_url)
    yield store
    await store.close()


@pytest.fixture
async def tracker(store):
    return await store.admit(identity(), DevicePolicy.REGISTER)


async def test_a_transaction_that_commits_late_is_not_missed(store, tracker, postgres_url):
    """It took its number first and commits last: a cursor by number or time would pass it over."""
    seen = []
    cursor = 0

    async def read():
        nonlocal cursor
        async for change in feed.changes(postgres_url, after=cursor, follow=False):
            seen.append(change.latitude)
            cursor = change.cursor

    async with await psycopg.AsyncConnection.connect(postgres_url) as slow:
        await slow.execute(BY_HAND, [tracker.id, 1])
        await store.commit([report(tracker, fix(latitude_deg=50), over=contact())])
        await read()
        assert seen == []  # the quick one waits for the slow one: order is kept
        await store.commit([report(tracker, fix(latitude_deg=51), over=contact())])
        await slow.commit()
    await read()
    assert seen == [1, 50, 51]
    await read()
    assert seen == [1, 50, 51]


async def test_one_that_rolls_back_holds_nothing_up(store, tracker, postgres_url):
    async with await psycopg.AsyncConnection.connect(postgres_url) as slow:
        await slow.execute(BY_HAND, [tracker.id, 1])
        await store.commit([report(tracker, fix(latitude_deg=50), over=contact())])
        await slow.rollback()
    found = [c.latitude async for c in feed.changes(postgres_url, after=0, follow=False)]
    assert found == [50]


async def test_pages_are_whole_transactions(store, tracker, postgres_url):
    for batch in range(5):
        await store.commit(
            [report(tracker, *map(fix, range(batch * 7, batch * 7 + 7)), over=contact())]
        )
    cursor, sizes = 0, []
    while page := rows(postgres_url, "SELECT cursor FROM api_v1.changes(%s, 3)", cursor):
        cursor = page[-1][0]
        sizes.append(len(page))
    assert sizes == [7] * 5


async def test_a_follower_is_woken(store, tracker, postgres_url):
    heard: asyncio.Queue[feed.Change] = asyncio.Queue()

    async def follow():
        async for change in feed.changes(postgres_url, after=0):
            heard.put_nowait(change)

    following = asyncio.create_task(follow())
    for turn in range(3):
        await store.commit(
            [report(tracker, fix(turn), over=contact(), alarms=[Alarm.SOS] if turn == 2 else [])]
        )
        change = await asyncio.wait_for(heard.get(), 10)
        assert (change.kind, change.time, change.ident) == (
            "position",
            fix(turn).time,
            tracker.identity.ident,
        )
    alarm = await asyncio.wait_for(heard.get(), 10)
    assert (alarm.kind, alarm.alarms) == ("alarm", ("sos",))
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following


async def test_every_commit_notifies(store, tracker, postgres_url):
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as listener:
        await listener.execute("LISTEN truetrack_changes")
        await store.commit([entry(None, Rejected(raw=b"", device=None, reason=""), contact())])
        async for note in listener.notifies(timeout=10, stop_after=1):
            assert (note.channel, note.payload) == ("truetrack_changes", "")
            break
        else:
            pytest.fail("no notice")


async def test_from_now_on(store, tracker, postgres_url):
    await store.commit([report(tracker, fix(), over=contact())])
    assert [c async for c in feed.changes(postgres_url, follow=False)] == []


async def test_recent(store, tracker, postgres_url):
    await store.commit([report(tracker, *map(fix, range(10)), over=contact())])
    assert [c.time for c in await feed.recent(postgres_url, 3)] == [fix(n).time for n in (7, 8, 9)]
    assert len(await feed.recent(postgres_url, 100)) == 10


async def test_nobody_listens():
    with pytest.raises(StorageUnavailable):
        await feed.recent("postgresql://truetrack@/truetrack?host=/nowhere", 1)
    with pytest.raises(StorageUnavailable):
        async for _ in feed.changes("postgresql://truetrack@/truetrack?host=/nowhere"):
            pass


async def test_the_feed_reads_an_index(postgres_url):
    """A reader far behind must not sort everything for each page."""
    async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
        # Empty tables would be read and sorted at once: may an index give the order at all?
        await connection.execute("SET enable_seqscan = off")
        await connection.execute("SET enable_sort = off")
        cursor = await connection.execute("EXPLAIN SELECT * FROM api_v1.changes(5, 10)")
        plan = "\n".join(row[0] for row in await cursor.fetchall())
    page_end = plan[plan.index("InitPlan") :]
    for table in ("position", "device_event"):
        assert f"Index Scan using {table}_default_ingest_idx" in page_end


async def test_a_dump_restored_into_another_server_goes_on_where_it_was(
    store, tracker, postgres_url
):
    """There transactions count from lower on; here the numbers of the old ones are raised."""
    await store.commit([report(tracker, fix(latitude_deg=50), over=contact())])
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE raw.position SET ingest = ingest + 1000000000")
    assert [c async for c in feed.changes(postgres_url, after=0, follow=False)] == []
    migrate(postgres_url)
    (old,) = [c async for c in feed.changes(postgres_url, after=0, follow=False)]
    await store.commit([report(tracker, fix(1, latitude_deg=51), over=contact())])
    migrate(postgres_url)  # and only once
    (new,) = [c async for c in feed.changes(postgres_url, after=old.cursor, follow=False)]
    assert (old.latitude, new.latitude) == (50, 51)
