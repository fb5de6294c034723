"""What a commit leaves in a real Postgres."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model import (
    Alarm,
    Cell,
    CommandResult,
    FixSource,
    Heartbeat,
    Login,
    Rejected,
    Satellite,
    Status,
    TimeSource,
    WifiAp,
    faults,
)
from model.device import CloseCause, ContactClosed, DevicePolicy, Durability, IdentityStrength
from storage.embedded import EmbeddedPostgres
from storage.migrate import migrate
from storage.postgres import PostgresStore
from storage.store import QuarantineFull, StorageUnavailable
from tests.storage.things import NOW, contact, entry, fix, identity, report, rows, value


@pytest.fixture
async def store(postgres_url):
    store = PostgresStore(postgres_url, max_quarantined=3)
    yield store
    await store.close()


@pytest.fixture
async def tracker(store):
    return await store.admit(identity(), DevicePolicy.REGISTER)


async def test_every_field_comes_back(store, tracker, postgres_url):
    over = contact(strength=IdentityStrength.TOKEN)
    one = fix(
        -10.000001, altitude_m=-3.25, speed_mps=0.1, course_deg=359.9, accuracy_m=12.5, hdop=0.9,
        satellites=11, source=FixSource.FUSED, time_source=TimeSource.DATE_ASSUMED, mock=False,
        telemetry={"ignition": True, "odometer_m": 123456789.5, "operator": "中国 🚗", "io_9": 7},
        cells=(Cell(mcc=460, mnc=0, lac=1, cid=2, rssi_dbm=-70),),
        wifi=(WifiAp(mac="aa:bb:cc:dd:ee:ff", rssi_dbm=-40),),
        sky=(Satellite(system="G", svid=3, signal="1", cn0_dbhz=41.0, used=True),),
    )  # fmt: skip
    await store.commit([report(tracker, one, over=over, raw=b"frame", durability=Durability.SPOOL)])
    names = (
        "time, latitude, longitude, altitude_m, speed_mps, course_deg, accuracy_m, hdop, "
        "satellites, valid, source, time_source, mock, identity_strength, durability, received_at, "
        "telemetry, cells, wifi, sky"
    )
    assert rows(postgres_url, f"SELECT {names} FROM api_v1.positions") == [
        (
            one.time, 22.5, 114.25, -3.25, 0.1, 359.9, 12.5, 0.9, 11, True, "fused",
            "date_assumed", False, "token", "spool", NOW, one.telemetry,
            [{"mcc": 460, "mnc": 0, "lac": 1, "cid": 2, "rssi_dbm": -70}],
            [{"mac": "aa:bb:cc:dd:ee:ff", "rssi_dbm": -40}],
            [{"system": "G", "svid": 3, "signal": "1", "cn0_dbhz": 41.0, "used": True}],
        )
    ]  # fmt: skip
    assert rows(
        postgres_url,
        "SELECT device_id, received_at, contact_id, source, kind, reason, decoder, durability, raw "
        "FROM raw.frame WHERE id = (SELECT frame_id FROM raw.position)",
    ) == [(tracker.id, NOW, over.id, "gt06", "report", None, "gt06 1", "spool", b"frame")]


async def test_what_is_not_said_is_null(store, tracker, postgres_url):
    await store.commit([report(tracker, fix(), over=contact())])
    names = (
        "altitude_m, speed_mps, course_deg, accuracy_m, hdop, satellites, mock, telemetry, cells"
    )
    assert rows(postgres_url, f"SELECT {names} FROM raw.position") == [(None,) * 9]


async def test_a_resend_changes_nothing_but_its_frame_is_archived(store, tracker, postgres_url):
    first = report(tracker, fix(), fix(1), over=contact(), alarms=[Alarm.SOS])
    again = replace(first, contact=contact(), received_at=NOW + timedelta(minutes=5))
    await store.commit([first, first])
    before = rows(postgres_url, "SELECT * FROM raw.position ORDER BY time")
    await store.commit([again])
    assert rows(postgres_url, "SELECT * FROM raw.position ORDER BY time") == before
    assert value(postgres_url, "SELECT count(*) FROM raw.frame") == 3
    assert value(postgres_url, "SELECT count(*) FROM raw.device_event") == 1


async def test_the_latest_position_never_goes_back(store, tracker, postgres_url):
    over = contact()
    latest = "SELECT time FROM api_v1.latest_positions"
    await store.commit([report(tracker, fix(5), fix(7), fix(6), over=over)])
    assert value(postgres_url, latest) == fix(7).time
    await store.commit([report(tracker, fix(-500), over=over)])
    assert value(postgres_url, latest) == fix(7).time
    await store.commit([report(tracker, fix(9, valid=False), fix(8), over=over)])
    assert value(postgres_url, latest) == fix(8).time


async def test_days_are_marked_again_once_a_worker_has_claimed_them(store, tracker, postgres_url):
    over = contact()
    await store.commit([report(tracker, fix(0), fix(-86400), over=over)])
    days = "SELECT day::text, claimed_at IS NULL FROM raw.device_day_dirty ORDER BY 1"
    assert rows(postgres_url, days) == [("2026-05-03", True), ("2026-05-04", True)]
    with psycopg.connect(postgres_url) as worker:
        worker.execute("UPDATE raw.device_day_dirty SET claimed_at = now()")
    await store.commit([report(tracker, fix(0), over=over)])  # known already
    assert rows(postgres_url, days) == [("2026-05-03", False), ("2026-05-04", False)]
    await store.commit([report(tracker, fix(1), over=over)])
    assert rows(postgres_url, days) == [("2026-05-03", False), ("2026-05-04", True)]


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        (datetime(1, 1, 1, tzinfo=UTC), "before 1990"),
        (datetime(1989, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "before 1990"),
        (NOW + timedelta(days=1, microseconds=1), "more than a day ahead of its arrival"),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), "more than a day ahead of its arrival"),
    ],
)  # fmt: skip
async def test_absurd_times_are_kept_apart(store, tracker, postgres_url, time, reason):
    good, bad = fix(), replace(fix(hdop=1.5), time=time)
    await store.commit([report(tracker, good, bad, over=contact())])
    assert rows(postgres_url, "SELECT time FROM raw.position") == [(good.time,)]
    kept = "SELECT extract(epoch FROM time)::numeric, reason, hdop FROM raw.position_quarantine"
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    ((seconds, why, hdop),) = rows(postgres_url, kept)
    assert (int(seconds * 1_000_000), why, hdop) == (
        (time - epoch) // timedelta(microseconds=1), reason, 1.5,
    )  # fmt: skip
    assert value(postgres_url, "SELECT time FROM api_v1.latest_positions") == good.time


async def test_the_edges_of_plausible_time(store, tracker, postgres_url):
    edges = [datetime(1990, 1, 1, tzinfo=UTC), NOW + timedelta(days=1)]
    await store.commit([report(tracker, *(replace(fix(), time=t) for t in edges), over=contact())])
    assert value(postgres_url, "SELECT array_agg(time ORDER BY time) FROM raw.position") == edges


async def test_every_kind_of_event(store, tracker, postgres_url):
    who, over = tracker.identity, contact()
    stated = NOW - timedelta(hours=1)
    await store.commit(
        [
            entry(None, Rejected(raw=b"\0?", device=None, reason="no \0 reader"), over),
            entry(tracker, Login(raw=b"hi", device=who, telemetry={"model": "X3"}), over),
            entry(tracker, Heartbeat(raw=b"hb", device=who), over),
            entry(tracker, CommandResult(raw=b"ok", device=who, text="DONE", token="7"), over),
            entry(
                tracker,
                Status(
                    raw=b"st", device=who, time=stated, alarms=frozenset({Alarm.SOS, Alarm.DOOR}),
                    cells=(Cell(mcc=460, mnc=0, lac=1, cid=2),),
                ),
                over,
            ),
            report(tracker, fix(-5), over=over, alarms=[Alarm.TOW]),
        ]
    )  # fmt: skip
    sql = (
        "SELECT kind, ident, time, device_time, alarms, detail, token, telemetry "
        "FROM api_v1.events ORDER BY frame_id"
    )
    ident = who.ident
    assert rows(postgres_url, sql) == [
        ("rejected", None, NOW, None, [], "no � reader", None, {}),
        ("login", ident, NOW, None, [], None, None, {"model": "X3"}),
        ("heartbeat", ident, NOW, None, [], None, None, {}),
        ("command_result", ident, NOW, None, [], "DONE", "7", {}),
        ("status", ident, stated, stated, ["door", "sos"], None, None, {}),
        ("alarm", ident, fix(-5).time, fix(-5).time, ["tow"], None, None, {}),
    ]
    assert value(postgres_url, "SELECT reason FROM raw.frame WHERE kind = 'rejected'") == (
        "no � reader"
    )


async def test_contacts(store, tracker, postgres_url):
    over, short = contact(), contact()
    who = tracker.identity
    await store.commit([entry(None, Rejected(raw=b"?", device=None, reason="?"), over)])
    seen = "SELECT device_id, closed_at, cause, frames, bytes_in FROM raw.contact WHERE id = %s"
    assert rows(postgres_url, seen, over.id) == [(None, None, None, None, None)]
    await store.commit([entry(tracker, Heartbeat(raw=b"h", device=who), over)])
    assert rows(postgres_url, seen, over.id) == [(tracker.id, None, None, None, None)]
    end = ContactClosed(
        contact=over, device=None, closed_at=NOW, cause=CloseCause.IDLE, frames=2, bytes_in=9
    )
    await store.commit(
        [
            end,
            end,
            entry(tracker, Heartbeat(raw=b"h", device=who), short),
            ContactClosed(contact=short, device=None, closed_at=NOW, cause=CloseCause.PEER),
        ]
    )
    assert rows(postgres_url, seen, over.id) == [(tracker.id, NOW, "idle", 2, 9)]
    assert rows(postgres_url, seen, short.id) == [(tracker.id, NOW, "peer", 0, 0)]


# what a hostile device may send

SCALARS = st.one_of(
    st.text(max_size=20),
    st.integers(),
    st.integers(min_value=10**20),
    st.floats(),
    st.booleans(),
    st.sampled_from(["\0", "\ud800", "\udfff\0", "\\u0000", "\N{REPLACEMENT CHARACTER}"]),
    st.just(10**5000),
)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(telemetry=st.dictionaries(st.text(min_size=1, max_size=9), SCALARS, max_size=6))
def test_no_telemetry_is_refused(postgres_server, shared_url, telemetry):
    async def commit():
        store = PostgresStore(shared_url)
        tracker = await store.admit(identity(), DevicePolicy.REGISTER)
        over = contact()
        who = tracker.identity
        await store.commit(
            [
                report(tracker, fix(telemetry=telemetry), over=over),
                entry(tracker, Status(raw=b"", device=who, telemetry=telemetry), over),
            ]
        )
        await store.close()

    asyncio.run(commit())
    assert value(shared_url, "SELECT count(*) FROM raw.rejected_item") == 0


@pytest.fixture(scope="module")
def shared_url(postgres_server):
    """One database for the examples of one property."""
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE shared TEMPLATE template_truetrack")
        yield postgres_server.url_of("shared")
        connection.execute("DROP DATABASE shared WITH (FORCE)")


async def test_an_item_that_nothing_holds_is_parked_and_its_neighbours_are_not(
    store, tracker, postgres_url
):
    over = contact()
    batch = [report(tracker, fix(n), over=over) for n in range(50)]
    batch[17] = report(tracker, fix(17, satellites=2**40), over=over, raw=b"offender")
    batch[33] = report(tracker, fix(33, telemetry={"a": object()}), over=over, raw=b"another")
    await store.commit(batch)
    assert value(postgres_url, "SELECT count(*) FROM raw.position") == 48
    parked = rows(
        postgres_url,
        "SELECT raw, device_id, contact_id, received_at, decoder, error <> '', record ~ 'Fix' "
        "FROM raw.rejected_item ORDER BY id",
    )
    assert parked == [
        (raw, tracker.id, over.id, NOW, "gt06 1", True, True) for raw in (b"offender", b"another")
    ]
    await store.commit([report(tracker, fix(99), over=over)])
    assert value(postgres_url, "SELECT count(*) FROM raw.position") == 49


async def test_what_only_postgres_refuses_is_parked(store, tracker, postgres_url):
    with psycopg.connect(postgres_url) as connection:
        connection.execute("ALTER TABLE raw.position ADD CHECK (latitude_deg <> 13)")
    over = contact()
    await store.commit([report(tracker, fix(n, latitude_deg=n), over=over) for n in range(20)])
    assert value(postgres_url, "SELECT count(*) FROM raw.position") == 19
    assert "check constraint" in value(postgres_url, "SELECT error FROM raw.rejected_item")


# when the database is away


async def test_a_schema_that_is_not_there_is_an_outage_not_a_refusal(postgres_server):
    store = PostgresStore(postgres_server.url_of("postgres"))
    with pytest.raises(StorageUnavailable):
        await store.commit([entry(None, Rejected(raw=b"", device=None, reason=""), contact())])
    with pytest.raises(StorageUnavailable):
        await store.devices()
    await store.close()


async def test_nobody_listens():
    store = PostgresStore("postgresql://truetrack@/truetrack?host=/nowhere")
    for asked in (store.devices(), store.admit(identity(), DevicePolicy.KNOWN)):
        with pytest.raises(StorageUnavailable):
            await asked
    with pytest.raises(StorageUnavailable):
        await store.commit([entry(None, Rejected(raw=b"", device=None, reason=""), contact())])
    await store.commit([])
    await store.close()


async def test_a_connection_that_is_cut_is_made_anew(store, tracker, postgres_url):
    over = contact()
    await store.commit([report(tracker, fix(0), over=over)])
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with pytest.raises(StorageUnavailable):
        await store.commit([report(tracker, fix(1), over=over)])
    with pytest.raises(StorageUnavailable):
        await store.devices()
    await store.commit([report(tracker, fix(1), over=over)])
    assert [d.id for d in await store.devices()] == [tracker.id]
    assert value(postgres_url, "SELECT count(*) FROM raw.position") == 2


async def test_the_answer_to_a_commit_may_be_lost(store, tracker, postgres_url):
    item = report(tracker, fix(), over=contact())

    def lose(point):
        if point == "store.after_commit":
            raise StorageUnavailable("lost")

    faults.install(lose)
    try:
        with pytest.raises(StorageUnavailable):
            await store.commit([item])
    finally:
        faults.install(None)
    await store.commit([item])
    assert value(postgres_url, "SELECT count(*) FROM raw.position") == 1


async def test_a_cancelled_commit_leaves_a_store_that_works(store, tracker, postgres_url):
    over = contact()
    await store.commit([report(tracker, fix(0), over=over)])
    async with await psycopg.AsyncConnection.connect(postgres_url) as blocker:
        await blocker.execute("LOCK TABLE raw.position IN ACCESS EXCLUSIVE MODE")
        task = asyncio.create_task(store.commit([report(tracker, fix(1), over=over)]))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        while value(postgres_url, waiting) == 0:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await store.commit([report(tracker, fix(1), over=over)])
    assert value(postgres_url, "SELECT count(*) FROM raw.position") == 2


async def test_commits_and_admissions_at_once(store, tracker, postgres_url):
    over = contact()
    await asyncio.gather(
        store.commit([report(tracker, fix(n), over=over) for n in range(1000)]),
        *(store.admit(identity(f"{n}"), DevicePolicy.REGISTER) for n in range(20)),
        *(store.devices() for _ in range(5)),
    )
    assert value(postgres_url, "SELECT count(*) FROM raw.position") == 1000
    assert len(await store.devices()) == 21


async def test_two_stores_write_the_same_fixes(store, tracker, postgres_url):
    """Two gateways that a device spoke to, in each other's way."""
    other = PostgresStore(postgres_url)
    over = contact()
    items = [report(tracker, fix(n), over=over) for n in range(500)]
    for _ in range(3):
        await asyncio.gather(store.commit(items), other.commit(items[::-1]))
    await other.close()
    assert value(postgres_url, "SELECT count(*) FROM raw.position") == 500


async def test_quarantine_is_bounded_across_stores(store, postgres_url):
    others = [PostgresStore(postgres_url, max_quarantined=3) for _ in range(4)]
    admitted = await asyncio.gather(
        *(s.admit(identity(f"{n}"), DevicePolicy.KNOWN) for n, s in enumerate(others)),
        return_exceptions=True,
    )
    assert sorted(type(a).__name__ for a in admitted) == ["Device"] * 3 + ["QuarantineFull"]
    with pytest.raises(QuarantineFull):
        await store.admit(identity("one more"), DevicePolicy.KNOWN)
    await store.admit(identity("registered"), DevicePolicy.REGISTER)
    for each in others:
        await each.close()


async def test_quarantined_devices_are_stored_and_not_shown(store, postgres_url):
    stranger = await store.admit(identity("stranger"), DevicePolicy.KNOWN)
    await store.commit([report(stranger, fix(), over=contact(), alarms=[Alarm.SOS])])
    for view in ("positions", "latest_positions", "events", "contacts", "changes"):
        assert value(postgres_url, f"SELECT count(*) FROM api_v1.{view}") == 0, view
    assert value(postgres_url, "SELECT count(*) FROM raw.position") == 1


async def test_frame_numbers_are_never_given_twice(store, tracker, postgres_url):
    over, who = contact(), tracker.identity
    batch = [entry(tracker, Heartbeat(raw=b"%d" % n, device=who), over) for n in range(9000)]
    await store.commit(batch)
    await store.commit(batch)
    await store.commit(batch * 3)
    assert rows(postgres_url, "SELECT count(*), count(DISTINCT id) FROM raw.frame") == [
        (45_000, 45_000)
    ]


def test_under_uvloop(postgres_url):
    async def run():
        store = PostgresStore(postgres_url)
        tracker = await store.admit(identity(), DevicePolicy.REGISTER)
        await store.commit([report(tracker, fix(), over=contact())])
        await store.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
    assert value(postgres_url, "SELECT count(*) FROM raw.position") == 1


async def test_stopped_and_started(tmp_path_factory, cluster_folder):
    """No commit is confirmed while the server is away; afterwards the same store goes on."""
    with EmbeddedPostgres(cluster_folder) as server:
        migrate(server.url)
        store = PostgresStore(server.url)
        tracker = await store.admit(identity(), DevicePolicy.REGISTER)
        await store.commit([report(tracker, fix(0), over=contact())])
        server.stop()
        with pytest.raises(StorageUnavailable):
            await store.commit([report(tracker, fix(1), over=contact())])
        server.start()
        await store.commit([report(tracker, fix(1), over=contact())])
        assert value(server.url, "SELECT count(*) FROM raw.position") == 2
        await store.close()
