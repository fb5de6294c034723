"""Who is who: lookups without waiting, one admission an identity, and guessing that gets slow."""

import asyncio

import pytest

from gateway.directory import Directory, profile_from
from model import DeviceIdentity
from model.device import DevicePolicy, DeviceState
from protocols.base import Datum, DeviceProfile
from storage.store import QuarantineFull, StorageUnavailable
from tests.gateway.rig import GateStore, virtual


def named(ident: str) -> DeviceIdentity:
    return DeviceIdentity(protocol="line", ident=ident)


async def span_of(admission) -> float:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await admission
    return round(loop.time() - begun, 6)


@virtual
async def test_who_is_in_the_register_is_found_without_asking():
    store = GateStore()
    device = store.know("1")
    directory = Directory(store, policy=DevicePolicy.KNOWN)
    assert directory.get(named("1")) is None
    await directory.refresh()
    assert directory.get(named("1")) == device
    assert len(directory) == 1
    assert store.admissions == 0


@virtual
async def test_a_stranger_is_admitted_once_however_many_ask():
    store = GateStore()
    directory = Directory(store, policy=DevicePolicy.KNOWN)
    found = await asyncio.gather(*(directory.admit(named("1"), f"net{n}") for n in range(20)))
    assert store.admissions == 1
    assert {device.id for device in found} == {1}
    assert directory.get(named("1")) is found[0]


@virtual
async def test_who_stops_waiting_does_not_stop_the_others():
    store = GateStore()
    directory = Directory(store, policy=DevicePolicy.REGISTER)
    first, second = (asyncio.create_task(directory.admit(named("1"), "n")) for _ in range(2))
    await asyncio.sleep(0.001)
    first.cancel()
    assert (await second).state is DeviceState.ACTIVE
    assert store.admissions == 1


@virtual
async def test_a_failed_admission_is_tried_anew():
    store = GateStore()
    store.away = True
    directory = Directory(store, policy=DevicePolicy.KNOWN)
    with pytest.raises(StorageUnavailable):
        await directory.admit(named("1"), "n")
    store.away = False
    assert (await directory.admit(named("1"), "n")).state is DeviceState.QUARANTINED


@virtual
async def test_a_full_quarantine_says_so():
    directory = Directory(GateStore(max_quarantined=1), policy=DevicePolicy.KNOWN)
    await directory.admit(named("1"), "n")
    with pytest.raises(QuarantineFull):
        await directory.admit(named("2"), "n")


@virtual
async def test_guessing_gets_slow_and_only_for_the_guesser():
    directory = Directory(GateStore(), policy=DevicePolicy.KNOWN, guesses_per_hour=5)
    spans = [await span_of(directory.admit(named(f"guess{n}"), "bad")) for n in range(16)]
    assert spans == sorted(spans)
    assert max(spans[:5]) < 0.1
    assert spans[5] >= 0.5
    assert 60 <= spans[-1] < 61
    assert await span_of(directory.admit(named("honest"), "good")) < 0.1
    await asyncio.sleep(3600)
    assert await span_of(directory.admit(named("later"), "bad")) < 0.1


@virtual
async def test_registering_strangers_is_no_guessing():
    directory = Directory(GateStore(), policy=DevicePolicy.REGISTER, guesses_per_hour=1)
    spans = [await span_of(directory.admit(named(str(n)), "site")) for n in range(30)]
    assert max(spans) < 0.1


@virtual
async def test_local_ports_are_not_slowed_down():
    directory = Directory(GateStore(), policy=DevicePolicy.KNOWN, guesses_per_hour=1)
    spans = [await span_of(directory.admit(named(str(n)), "")) for n in range(30)]
    assert max(spans) < 0.1


@virtual
async def test_the_memory_of_guessers_is_bounded(monkeypatch):
    monkeypatch.setattr("gateway.directory._MAX_NETWORKS", 10)
    directory = Directory(GateStore(), policy=DevicePolicy.KNOWN)
    for n in range(50):
        await directory.admit(named(str(n)), f"net{n}")
    assert list(directory._guesses) == [f"net{n}" for n in range(40, 50)]


@virtual
async def test_a_device_admitted_while_the_register_is_read_is_not_forgotten():
    store = GateStore()
    directory = Directory(store, policy=DevicePolicy.REGISTER)
    snapshot = await store.devices()

    async def slow():
        await asyncio.sleep(5)
        return snapshot

    store.devices = slow  # type: ignore[method-assign]
    reading = asyncio.create_task(directory.refresh())
    await asyncio.sleep(1)
    await directory.admit(named("1"), "n")
    await reading
    assert directory.get(named("1")) is not None


@virtual
async def test_the_register_is_kept_while_the_database_is_away():
    store = GateStore()
    store.know("1")
    directory = Directory(store, policy=DevicePolicy.KNOWN)
    await directory.refresh()
    store.away = True
    with pytest.raises(StorageUnavailable):
        await directory.refresh()
    assert directory.get(named("1")) is not None


@virtual
async def test_settings_become_a_profile():
    store = GateStore()
    store.know("1", datum="bd09", model="x")
    directory = Directory(store, policy=DevicePolicy.KNOWN)
    await directory.refresh()
    default = DeviceProfile(model="of the source")
    assert directory.profile("line", "1", default).datum is Datum.BD09
    assert directory.profile("line", "2", default) is default


def test_a_setting_that_is_none_is_refused():
    with pytest.raises(ValueError, match="mars"):
        profile_from({"datum": "mars"})
