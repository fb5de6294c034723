"""The writer tells each item's fate once, in order, and never better than it is."""

import asyncio
from functools import partial
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import DeviceIdentity, Rejected
from model.device import CloseCause, Contact, ContactClosed, Entry
from storage.model_store import ModelStore
from storage.store import StorageUnavailable
from storage.writer import MAX_KEPT, Writer
from tests.gateway.rig import START, GateStore, virtual

CONTACT = Contact(id=UUID(int=1), source="s", transport="memory", peer="p", opened_at=START)


def entry(number: int) -> Entry:
    device = DeviceIdentity(protocol="line", ident="1")
    event = Rejected(raw=b"%d" % number, device=device, reason="a test")
    return Entry(event=event, device=None, contact=CONTACT, received_at=START)


def ending(number: int) -> ContactClosed:
    contact = Contact(
        id=UUID(int=number), source="s", transport="memory", peer="p", opened_at=START
    )
    return ContactClosed(contact=contact, device=None, closed_at=START, cause=CloseCause.PEER)


def stored(store: ModelStore) -> list[int]:
    return [int(kept.event.raw) for kept in store.frames]


@virtual
async def test_one_item_is_one_commit_and_is_told_after_it():
    store = GateStore()
    store.open.clear()
    told: list[bool] = []
    writer = Writer(store)
    running = asyncio.create_task(writer.run())
    writer.submit(entry(1), told.append)
    await asyncio.sleep(5)
    assert told == []
    store.open.set()
    await writer.drained()
    assert told == [True]
    assert stored(store) == [1]
    running.cancel()


@virtual
async def test_what_queues_while_a_commit_runs_is_committed_together():
    store = GateStore()
    store.open.clear()
    writer = Writer(store)
    running = asyncio.create_task(writer.run())
    writer.submit(entry(0))
    await asyncio.sleep(1)
    for number in range(1, 8):
        writer.submit(entry(number))
    store.open.set()
    await writer.drained()
    assert [len(items) for items in store.commits] == [1, 7]
    assert stored(store) == list(range(8))
    running.cancel()


@virtual
async def test_a_batch_has_a_limit():
    store = GateStore()
    writer = Writer(store, max_batch=3)
    for number in range(8):
        writer.submit(entry(number))
    running = asyncio.create_task(writer.run())
    await writer.drained()
    assert [len(items) for items in store.commits] == [3, 3, 2]
    assert writer.figures.committed == 8
    assert writer.figures.batches == 3
    running.cancel()


@virtual
async def test_a_long_queue_is_a_crowd_until_it_is_shorter():
    writer = Writer(GateStore(), max_queue=2)
    writer.submit(entry(1))
    assert not writer.crowded
    writer.submit(entry(2))
    assert writer.crowded
    running = asyncio.create_task(writer.run())
    await writer.drained()
    assert not writer.crowded
    running.cancel()


@virtual
async def test_an_unconfirmed_commit_is_told_as_such_even_if_it_was_applied():
    store = GateStore()
    store.answer_lost = True
    told: list[bool] = []
    writer = Writer(store)
    running = asyncio.create_task(writer.run())
    writer.submit(entry(1), told.append)
    await writer.drained()
    assert told == [False]
    assert stored(store) == [1]
    assert writer.figures.failed == 1
    running.cancel()


@virtual
async def test_endings_of_contacts_outlast_an_outage():
    store = GateStore()
    store.away = True
    writer = Writer(store)
    running = asyncio.create_task(writer.run())
    for number in range(3):
        writer.submit(ending(number))
        writer.submit(entry(number), lambda durable: None)
        await writer.drained()
    store.away = False
    writer.submit(entry(9))
    await writer.drained()
    assert sorted(contact.int for contact in store.closed) == [0, 1, 2]
    assert stored(store) == [9]
    running.cancel()


@virtual
async def test_a_last_commit_takes_what_was_kept():
    store = GateStore()
    store.away = True
    writer = Writer(store)
    running = asyncio.create_task(writer.run())
    writer.submit(ending(1))
    await asyncio.sleep(5)
    await writer.drained()  # still away: it returns all the same
    assert store.closed == {}
    store.away = False
    await writer.drained()
    assert len(store.closed) == 1
    assert len(store.commits) == 3
    running.cancel()


@virtual
async def test_of_endings_the_newest_are_kept():
    store = GateStore()
    store.away = True
    writer = Writer(store)
    running = asyncio.create_task(writer.run())
    for number in range(MAX_KEPT + 5):
        writer.submit(ending(number))
    await writer.drained()
    store.away = False
    writer.submit(entry(0))
    await writer.drained()
    assert len(store.closed) == MAX_KEPT
    assert UUID(int=MAX_KEPT + 4) in store.closed
    running.cancel()


@virtual
async def test_what_is_submitted_while_being_told_is_committed_too():
    store = GateStore()
    writer = Writer(store)
    running = asyncio.create_task(writer.run())
    writer.submit(entry(1), lambda durable: writer.submit(entry(2)))
    await writer.drained()
    assert stored(store) == [1, 2]
    running.cancel()


@virtual
async def test_any_other_error_ends_the_writer():
    class Broken(GateStore):
        async def commit(self, items):
            raise ZeroDivisionError

    told: list[bool] = []
    writer = Writer(Broken())
    writer.submit(entry(1), told.append)
    with pytest.raises(ZeroDivisionError):
        await writer.run()
    assert told == []


@given(
    batches=st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["ok", "refused", "lost"]))),
    max_batch=st.integers(1, 5),
)
def test_every_item_is_told_once_in_order_and_truly(batches, max_batch):
    @virtual
    async def check() -> None:
        outcomes = iter([outcome for _, outcome in batches])

        class Moody(ModelStore):
            async def commit(self, items):
                outcome = next(outcomes, "ok")
                await asyncio.sleep(0.1)
                if outcome == "refused":
                    raise StorageUnavailable("refused")
                await super().commit(items)
                if outcome == "lost":
                    raise StorageUnavailable("lost")

        store, number = Moody(), 0
        told: list[tuple[int, bool]] = []

        def note(number: int, durable: bool) -> None:
            told.append((number, durable))

        writer = Writer(store, max_batch=max_batch)
        running = asyncio.create_task(writer.run())
        for size, _ in batches:
            for _ in range(size):
                writer.submit(entry(number), partial(note, number))
                number += 1
            await asyncio.sleep(0.05)
        await writer.drained()
        assert [n for n, _ in told] == list(range(number))
        assert {n for n, durable in told if durable} <= set(stored(store))
        assert writer.figures.committed + writer.figures.failed == number
        running.cancel()

    check()
