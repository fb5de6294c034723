"""What a link that cannot be answered brought outlives the process, and a failing disk ends it."""

import asyncio
import errno
from datetime import UTC, datetime
from uuid import UUID

import pytest

from gateway.spooling import contact_from_json, contact_to_json
from model.device import Contact, Durability, IdentityStrength
from storage.spool import SpoolBroken
from tests.gateway.rig import GateStore, Rig, noted, said, virtual
from tests.simulation.disk import Platter
from tests.simulation.process import sessions_of

ME = "860000000000001"


async def stop(rig: Rig) -> None:
    assert rig.running is not None
    rig.running.cancel()
    await asyncio.wait([rig.running])


@virtual
async def test_another_process_carries_on_where_one_was_killed():
    platter, store = Platter(), GateStore()
    store.away = True
    first = await Rig(store=store, platter=platter).start()
    link = first.link(ident=ME, durability=Durability.SPOOL)
    for number in range(1, 6):
        link.send(said(number), whole=True)
    await asyncio.sleep(1)
    (contact,) = {session._contact.id for session in sessions_of(first.source) if session._contact}
    await stop(first)
    store.away = False
    second = await Rig(store=store, platter=platter).start()
    await asyncio.sleep(5)
    assert len(store.positions) == 5
    assert set(store.inserts.values()) == {1}
    # The link and the hour of arrival are those of the process that heard it.
    assert {entry.contact.id for entry in store.frames} == {contact}
    assert all(entry.received_at < second.wall_clock() for entry in store.frames)
    assert {entry.durability for entry in store.frames} == {Durability.SPOOL}


@virtual
async def test_what_was_carried_and_not_released_is_carried_again_and_changes_nothing():
    platter, store = Platter(), GateStore()
    store.answer_lost = True
    first = await Rig(store=store, platter=platter).start()
    first.link(ident=ME, durability=Durability.SPOOL).send(said(1), whole=True)
    await asyncio.sleep(5)
    assert len(store.frames) > 1
    await stop(first)
    store.answer_lost = False
    await Rig(store=store, platter=platter).start()
    await asyncio.sleep(5)
    assert set(store.inserts.values()) == {1}


@virtual
async def test_a_disk_that_fails_ends_the_gateway_and_nothing_is_done():
    rig = await Rig().start()

    def fail(name: str) -> None:
        raise OSError(errno.EIO, "sync")

    rig.disk.sync = fail  # type: ignore[method-assign]
    done: list[int] = []
    rig.link(ident=ME, durability=Durability.SPOOL).send(said(1), noted(done, 1), whole=True)
    assert rig.running is not None
    with pytest.RaisesGroup(SpoolBroken):
        await rig.running
    assert done == []


@virtual
async def test_one_sync_serves_all_that_came_in_one_turn():
    rig = await Rig().start()
    for number in range(1, 40):
        rig.link(ident=str(number), durability=Durability.SPOOL).send(said(number), whole=True)
    await asyncio.sleep(0.001)
    assert len(rig.disk.safe) == 1


def test_a_contact_survives_the_way_through_json():
    contact = Contact(
        id=UUID(int=7),
        source="serial",
        transport="serial",
        peer="/dev/ttyUSB0",
        opened_at=datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC),
        strength=IdentityStrength.NETWORK,
    )
    assert contact_from_json(contact_to_json(contact)) == contact
