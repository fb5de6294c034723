"""The whole way of a message: broker, session, writer, store, ack."""

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import uuid4

import aiomqtt
import pytest

from gateway.directory import Directory
from gateway.metrics import SourceFigures
from gateway.session import Session
from gateway.source import Limits, Source
from gateway.supervisor import Backoff
from gateway.transports import mqtt
from model import DeviceIdentity, Fix, Rejected, Report
from model.device import DevicePolicy, Durability
from protocols.base import Decoder, DeviceProfile, ProtocolError
from storage.model_store import ModelStore
from storage.store import StorageUnavailable
from storage.writer import Writer
from tests.gateway.mosquitto import Broker
from tests.gateway.subscriber import (
    WITHIN_S,
    Gateway,
    publish,
    publishing,
    queued_for,
    running,
    settings_at,
)


@pytest.fixture
async def broker(tmp_path):
    broker = Broker(tmp_path)
    await broker.start()
    yield broker
    broker.kill()


class Numbered(Decoder):
    """A message is a number, which stands for a place and a time."""

    def feed(self, data, now):
        if data == b"nonsense":
            raise ProtocolError("nonsense")
        n = int(data)
        fix = Fix(
            time=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=n),
            valid=True,
            latitude_deg=0.0,
            longitude_deg=n / 1000,
        )
        device = DeviceIdentity(protocol="gt06", ident=self._ident or "")
        return [Report(raw=data, device=device, fixes=(fix,))]


class Moody(ModelStore):
    """A store that is away at times, and at times has committed what it does not confirm."""

    def __init__(self):
        super().__init__()
        self.mood = Random(0)
        self.away = 0.0  # chance that a commit is refused, or applied and not confirmed

    async def commit(self, items):
        if self.mood.random() < self.away:
            raise StorageUnavailable("away")
        self.apply(items)
        if self.mood.random() < self.away:
            raise StorageUnavailable("the answer was lost")


@asynccontextmanager
async def storing(store):
    writer = Writer(store)
    directory = Directory(store, policy=DevicePolicy.REGISTER)
    source = Source(
        name="test",
        protocol="gt06",
        decoder=Numbered,
        version="test",
        profile=DeviceProfile(),
        limits=Limits(),
        directory=directory,
        converse=Session,
        submit=writer.submit,
        spool=None,
        crowded=lambda: writer.crowded,
        wall_clock=lambda: datetime(2026, 1, 2, tzinfo=UTC),
        new_id=uuid4,
        figures=SourceFigures(),
    )
    task = asyncio.create_task(writer.run())
    try:
        yield source
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def stored(store, count):
    async with asyncio.timeout(2 * WITHIN_S):
        while len(store.positions) < count:
            await asyncio.sleep(0.01)


async def test_nothing_is_lost_or_doubled_over_restarts_and_failures(broker):
    """R9: the broker restarts, the store fails, and a commit goes unconfirmed."""
    store = Moody()
    told: list[str] = []
    count, devices = 600, 5

    async def send():
        left = list(range(count))
        while left:
            with suppress(aiomqtt.MqttError):
                async with publishing(broker, timeout=1) as client:
                    while left:
                        n = left[0]
                        await client.publish(f"frames/gt06/{n % devices}", b"%d" % n, qos=1)
                        del left[0]
            await asyncio.sleep(0.02)

    async with storing(store) as source:
        backoff = Backoff(first_s=0.02, longest_s=0.1, rng=Random(1))
        task = asyncio.create_task(
            mqtt.run(settings_at(broker), source.accept, report=told.append, backoff=backoff)
        )
        async with asyncio.timeout(WITHIN_S):
            while not any("subscribed" in text for text in told):
                await asyncio.sleep(0.01)
        store.away = 0.1
        sending = asyncio.create_task(send())
        for step in range(1, 4):
            await stored(store, step * count // 5)
            broker.stop()
            await broker.start()
        await sending
        store.away = 0.0
        await stored(store, count)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    assert len(store.positions) == count
    assert set(store.inserts.values()) == {1}
    assert {entry.durability for entry in store.frames} == {Durability.BROKER}
    assert any("could not be stored" in text for text in told)


async def test_a_message_that_makes_no_sense_is_archived_once_and_acked(broker):
    class Stored(Gateway):
        def accept(self, link):
            return source.accept(link)

    store = ModelStore()
    async with storing(store) as source, running(settings_at(broker), Stored()):
        await publish(broker, "frames/gt06/1", b"nonsense", b"1")
        await stored(store, 1)
        await asyncio.sleep(0.3)  # several waits before a redelivery
    assert [type(entry.event) for entry in store.frames].count(Rejected) == 1
    assert await queued_for(broker) == []
