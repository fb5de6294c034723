"""Reading the archive again with a better decoder."""

from dataclasses import replace
from datetime import timedelta

import pytest

from model import Alarm, Rejected, Report
from model.device import DevicePolicy, Durability, IdentityStrength
from storage.archive import Reread, Rewritten, archived, write_again
from storage.postgres import PostgresStore
from storage.store import StorageUnavailable
from tests.storage.things import NOW, contact, entry, fix, identity, report, rows, value


@pytest.fixture
async def store(postgres_url):
    store = PostgresStore(postgres_url)
    yield store
    await store.close()


@pytest.fixture
async def tracker(store):
    return await store.admit(identity(), DevicePolicy.REGISTER)


def reread(frame, *fixes, alarms=()):
    events = []
    if fixes:
        events = [
            Report(
                raw=frame.raw, device=frame.device.identity, fixes=fixes, alarms=frozenset(alarms)
            )
        ]
    return Reread(frame=frame, events=events, decoder="gt06 2")


async def test_frames_come_back_as_they_were(store, tracker, postgres_url):
    over = contact(strength=IdentityStrength.MTLS, peer="[2001:db8::1]:9")
    first = report(tracker, fix(), over=over, raw=bytes(range(256)), durability=Durability.SPOOL)
    second = entry(
        None, Rejected(raw=b"?", device=None, reason="why"), contact(source="other"),
        received_at=NOW + timedelta(hours=1),
    )  # fmt: skip
    await store.commit([first, second])
    one, two = [frame async for frame in archived(postgres_url)]
    assert (one.raw, one.device, one.contact, one.received_at) == (
        bytes(range(256)), tracker, over, NOW,
    )  # fmt: skip
    assert (one.kind, one.reason, one.decoder, one.durability) == (
        "report", None, "gt06 1", Durability.SPOOL,
    )  # fmt: skip
    assert (two.device, two.kind, two.reason) == (None, "rejected", "why")

    async def found(**asked):
        return [frame.raw async for frame in archived(postgres_url, **asked)]

    assert await found(device=tracker.identity) == [one.raw]
    assert await found(device=identity("unknown")) == []
    assert await found(source="other") == [b"?"]
    assert await found(since=NOW + timedelta(minutes=1)) == [b"?"]
    assert await found(until=NOW + timedelta(minutes=1)) == [one.raw]


async def test_reading_again_what_was_read_right_changes_nothing(store, tracker, postgres_url):
    await store.commit([report(tracker, fix(), fix(1), over=contact(), alarms=[Alarm.SOS])])
    tables = ("frame", "position", "device_event", "latest_position", "position_quarantine")

    def all_rows():
        return [rows(postgres_url, f"SELECT * FROM raw.{table} ORDER BY 1, 2") for table in tables]

    before = all_rows()
    (frame,) = [frame async for frame in archived(postgres_url)]
    again = [reread(frame, fix(), fix(1), alarms=[Alarm.SOS])]
    for _ in range(2):
        assert await write_again(postgres_url, again) == Rewritten(
            frames=1, positions=0, superseded=0
        )
    assert all_rows() == before


async def test_a_frame_that_nobody_could_read(store, tracker, postgres_url):
    over = contact(strength=IdentityStrength.TOKEN)
    bad = Rejected(raw=b"new dialect", device=tracker.identity, reason="no reader")
    await store.commit([entry(tracker, bad, over, durability=Durability.SPOOL)])
    (frame,) = [frame async for frame in archived(postgres_url)]
    done = await write_again(postgres_url, [reread(frame, fix(5), fix(6))])
    assert (done.positions, done.superseded) == (2, 0)
    assert rows(
        postgres_url,
        "SELECT time, frame_id, received_at, durability, identity_strength "
        "FROM raw.position ORDER BY 1",
    ) == [(fix(n).time, frame.id, NOW, "spool", "token") for n in (5, 6)]
    assert value(postgres_url, "SELECT count(*) FROM raw.device_event") == 0
    assert value(postgres_url, "SELECT time FROM raw.latest_position") == fix(6).time
    assert value(postgres_url, "SELECT count(*) FROM raw.frame") == 1
    assert value(postgres_url, "SELECT count(*) FROM api_v1.changes(0)") == 2


async def test_what_was_read_wrong_is_superseded_and_kept(store, tracker, postgres_url):
    over = contact()
    wrong = [fix(n, speed_mps=100.0) for n in range(3)]
    await store.commit([report(tracker, f, over=over) for f in wrong])
    await store.commit([report(tracker, fix(-99, speed_mps=1.0), over=over)])
    frames = [frame async for frame in archived(postgres_url)][:3]
    with_days = rows(postgres_url, "DELETE FROM raw.device_day_dirty RETURNING day")
    right = [replace(f, speed_mps=27.8) for f in wrong]
    again = [reread(frame, f) for frame, f in zip(frames, right, strict=True)]
    again[2] = reread(frames[2])  # what it says now is no position at all
    for expected in (
        Rewritten(frames=3, positions=2, superseded=3),
        Rewritten(frames=3, positions=0, superseded=0),
    ):
        assert await write_again(postgres_url, again) == expected
    assert rows(postgres_url, "SELECT time, speed_mps FROM api_v1.positions ORDER BY 1") == [
        (fix(-99).time, 1.0), (fix(0).time, 27.8), (fix(1).time, 27.8),
    ]  # fmt: skip
    assert rows(
        postgres_url, "SELECT time, speed_mps, reason FROM raw.position_quarantine ORDER BY 1"
    ) == [(f.time, 100.0, "superseded by gt06 2") for f in wrong]
    assert rows(postgres_url, "SELECT time, speed_mps FROM api_v1.latest_positions") == [
        (fix(1).time, 27.8)
    ]
    assert rows(postgres_url, "SELECT day FROM raw.device_day_dirty") == with_days


async def test_nothing_and_nobody(postgres_url):
    assert (await write_again(postgres_url, [])).frames == 0
    with pytest.raises(StorageUnavailable):
        [frame async for frame in archived("postgresql:///x?host=/nowhere")]
