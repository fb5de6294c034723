"""Partitions ahead, retention, and our own outages."""

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from model import Heartbeat
from model.device import DevicePolicy
from storage import maintenance
from storage.maintenance import Maintained, Retention, maintain
from storage.postgres import PostgresStore
from storage.store import StorageUnavailable
from tests.storage.things import contact, entry, fix, identity, report, rows, value

DAY = timedelta(days=1)


@pytest.fixture
async def store(postgres_url):
    store = PostgresStore(postgres_url)
    yield store
    await store.close()


@pytest.fixture
async def tracker(store):
    return await store.admit(identity(), DevicePolicy.REGISTER)


def now(url):
    return value(url, "SELECT now()")


def partitions(url, table):
    return [
        name
        for (name,) in rows(
            url,
            "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
            "WHERE inhparent = %s::regclass ORDER BY 1",
            f"raw.{table}",
        )
    ]


def drop_partitions(url, table):
    with psycopg.connect(url) as connection:
        for name in partitions(url, table):
            if not name.endswith("_default"):
                connection.execute(f"DROP TABLE raw.{name}")


async def test_partitions_are_there_before_they_are_needed(postgres_url):
    today = now(postgres_url).astimezone(UTC).date()
    expected = [f"{today + n * DAY:%Y%m%d}" for n in range(-1, 8)] + ["default"]
    for table in ("frame", "position", "device_event"):
        assert partitions(postgres_url, table) == [f"{table}_{day}" for day in expected]
        drop_partitions(postgres_url, table)
    assert (await maintain(postgres_url)).made == 27
    for table in ("frame", "position", "device_event"):
        assert partitions(postgres_url, table) == [f"{table}_{day}" for day in expected]
    assert await maintain(postgres_url) == Maintained(leading=True)


async def test_rows_move_out_of_the_default_partition(store, tracker, postgres_url):
    drop_partitions(postgres_url, "position")
    arrival = now(postgres_url)
    at = [arrival - fix(0).time + timedelta(hours=h) for h in range(-72, 24, 5)]
    item = report(
        tracker, *(fix(d.total_seconds()) for d in at), over=contact(), received_at=arrival
    )
    await store.commit([item])
    before = rows(postgres_url, "SELECT * FROM raw.position ORDER BY time")
    assert value(postgres_url, "SELECT count(*) FROM raw.position_default") == len(at)
    await maintain(postgres_url)
    assert rows(postgres_url, "SELECT * FROM raw.position ORDER BY time") == before
    edge = arrival.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - DAY
    assert value(postgres_url, "SELECT count(*) FROM raw.position_default") == sum(
        fix(d.total_seconds()).time < edge for d in at
    )
    await store.commit([item])  # and the store's prepared plans follow
    assert rows(postgres_url, "SELECT * FROM raw.position ORDER BY time") == before


async def test_a_day_with_much_late_data_gets_a_partition(
    store, tracker, postgres_url, monkeypatch
):
    monkeypatch.setattr(maintenance, "CROWDED_BYTES", 0)
    monkeypatch.setattr(maintenance, "CROWDED_ROWS", 50)
    await store.commit([report(tracker, *map(fix, range(60)), over=contact())])
    assert (await maintain(postgres_url)).made == 1
    assert "position_20260504" in partitions(postgres_url, "position")
    assert value(postgres_url, "SELECT count(*) FROM raw.position_20260504") == 60


async def test_retention(store, tracker, postgres_url):
    arrival = now(postgres_url)
    over, who = contact(opened_at=arrival - 50 * DAY), tracker.identity
    for days in (0, 5, 20, 40):
        at = arrival - days * DAY
        await store.commit(
            [
                report(tracker, fix((at - fix(0).time).total_seconds()), over=over, received_at=at),
                entry(tracker, Heartbeat(raw=b"h", device=who), over, received_at=at),
                report(tracker, fix(-86400 * 20000), over=over, received_at=at),
            ]
        )  # fmt: skip
    with psycopg.connect(postgres_url) as connection:
        for table in ("frame", "position", "device_event"):
            connection.execute("SELECT raw.make_day(%s, %s)", [table, (arrival - 5 * DAY).date()])

    def left(table):
        return value(postgres_url, f"SELECT count(*) FROM raw.{table}")

    assert (await maintain(postgres_url)).dropped == 0
    keep = Retention(
        frame_days=30, position_days=10, event_days=3, contact_days=60, quarantine_days=10
    )
    done = await maintain(postgres_url, keep=keep)
    assert (left("frame"), left("position"), left("device_event")) == (9, 2, 1)
    assert (left("contact"), left("latest_position"), left("position_quarantine")) == (1, 1, 1)
    assert done.dropped == 1
    assert done.deleted == 3 + 2 + 2
    await maintain(postgres_url, keep=Retention(position_days=1, contact_days=1))
    assert (left("frame"), left("contact")) == (9, 0)


def test_retention_of_no_time_at_all():
    with pytest.raises(ValueError, match="frame_days"):
        Retention(frame_days=0)


async def test_one_leads(postgres_url):
    for _ in range(3):
        done = await asyncio.gather(*(maintain(postgres_url, gateway=f"{n}") for n in range(4)))
        assert any(each.leading for each in done)
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [maintenance.LOCK])
        assert not (await maintain(postgres_url)).leading
    assert value(postgres_url, "SELECT count(DISTINCT gateway) FROM raw.gateway_heartbeat") == 5


async def test_a_reader_is_not_in_the_way_for_long(store, tracker, postgres_url, monkeypatch):
    """What cannot get its lock waits for the next minute, and commits go on meanwhile."""
    drop_partitions(postgres_url, "position")
    with psycopg.connect(postgres_url) as reader:
        reader.execute("SELECT * FROM raw.position")  # holds its lock until it ends
        task = asyncio.create_task(maintain(postgres_url))
        await store.commit([report(tracker, fix(), over=contact())])
        done = await task
        assert done.postponed > 0
        await store.commit([report(tracker, fix(1), over=contact())])
    assert (await maintain(postgres_url)).made == 9
    assert value(postgres_url, "SELECT count(*) FROM raw.position") == 2


async def test_our_own_outages(postgres_url):
    spans = "SELECT gateway, until - since FROM raw.gateway_heartbeat ORDER BY since"

    def earlier(seconds):
        with psycopg.connect(postgres_url) as connection:
            connection.execute(
                "UPDATE raw.gateway_heartbeat SET since = since - %(s)s * interval '1 s', "
                "until = until - %(s)s * interval '1 s'",
                {"s": seconds},
            )

    await maintain(postgres_url, gateway="a", starting=True)
    earlier(60)
    await maintain(postgres_url, gateway="a")
    ((_, length),) = rows(postgres_url, spans)
    assert timedelta(seconds=59) < length < timedelta(seconds=70)
    earlier(200)  # the database was away
    await maintain(postgres_url, gateway="a")
    assert len(rows(postgres_url, spans)) == 2
    earlier(5)  # restarted at once
    await maintain(postgres_url, gateway="a", starting=True)
    assert len(rows(postgres_url, spans)) == 3
    await maintain(postgres_url, gateway="b")
    assert [name for name, _ in rows(postgres_url, spans)] == ["a", "a", "a", "b"]


async def test_nobody_listens():
    with pytest.raises(StorageUnavailable):
        await maintain("postgresql://truetrack@/truetrack?host=/nowhere")


def test_a_day_is_a_day_of_utc(postgres_url):
    with psycopg.connect(postgres_url, options="-c timezone=Asia/Shanghai") as connection:
        connection.execute("SELECT raw.make_day('position', '2020-02-29')")
    bound = (
        "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'position_20200229'"
    )
    with psycopg.connect(postgres_url, options="-c timezone=UTC") as connection:
        ((said,),) = connection.execute(bound).fetchall()
    assert said == "FOR VALUES FROM ('2020-02-29 00:00:00+00') TO ('2020-03-01 00:00:00+00')"
    assert datetime(2020, 2, 29, tzinfo=UTC)
