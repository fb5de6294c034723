"""The register as people change it."""

import pytest

from model.device import DevicePolicy, DeviceState
from storage.postgres import PostgresStore
from storage.register import DeviceExists, NoSuchDevice, Register
from storage.store import QuarantineFull, StorageUnavailable
from tests.storage.things import contact, fix, identity, report, value

ONE, OTHER = identity("1"), identity("2")


@pytest.fixture
def register(postgres_url):
    with Register(postgres_url) as register:
        yield register


@pytest.fixture
async def store(postgres_url):
    store = PostgresStore(postgres_url, max_quarantined=1)
    yield store
    await store.close()


def test_add_show_list(register):
    added = register.add(ONE, name="Van 7", settings={"datum": "gcj02"})
    assert added == register.show(ONE)
    assert (added.name, added.device.state) == ("Van 7", DeviceState.ACTIVE)
    assert dict(added.device.settings) == {"datum": "gcj02"}
    register.add(OTHER)
    assert [r.device.identity for r in register.devices()] == [ONE, OTHER]
    assert register.devices(DeviceState.RETIRED) == []
    assert [r.device.identity for r in register.find("2")] == [OTHER]


def test_twice_is_an_error_and_nothing_changes(register):
    register.add(ONE, name="Van 7")
    with pytest.raises(DeviceExists):
        register.add(ONE, name="Van 8")
    assert register.show(ONE).name == "Van 7"


def test_settings(register):
    register.add(ONE, settings={"datum": "gcj02", "model": "X"})
    changed = register.change_settings(ONE, {"model": None, "secret": "s'\"%"})
    assert dict(changed.device.settings) == {"datum": "gcj02", "secret": "s'\"%"}
    assert register.rename(ONE, "Boat").name == "Boat"
    assert register.rename(ONE, None).name is None


@pytest.mark.parametrize("act", [Register.show, Register.adopt, Register.retire, Register.forget])
def test_a_device_that_is_not_there(register, act):
    with pytest.raises(NoSuchDevice, match="no gt06 device 1"):
        act(register, ONE)


async def test_the_life_of_a_stranger(register, store, postgres_url):
    stranger = await store.admit(ONE, DevicePolicy.KNOWN)
    await store.commit([report(stranger, fix(), over=contact())])
    assert register.show(ONE).device.state is DeviceState.QUARANTINED
    assert register.show(ONE).latest_time == fix().time
    with pytest.raises(QuarantineFull):
        await store.admit(OTHER, DevicePolicy.KNOWN)
    register.adopt(ONE)
    assert (await store.devices())[0].state is DeviceState.ACTIVE
    assert value(postgres_url, "SELECT count(*) FROM api_v1.positions") == 1
    await store.admit(OTHER, DevicePolicy.KNOWN)  # there is room again
    register.forget(OTHER)
    with pytest.raises(NoSuchDevice):
        register.show(OTHER)
    with pytest.raises(NoSuchDevice, match="not in quarantine"):
        register.forget(ONE)
    before = register.retire(ONE)
    assert before.device.state is DeviceState.RETIRED
    assert register.retire(ONE).state_since == before.state_since


def test_nobody_listens():
    with pytest.raises(StorageUnavailable), Register("postgresql:///x?host=/nowhere"):
        pass
