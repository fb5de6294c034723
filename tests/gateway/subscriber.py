"""The session's side of MQTT links, and both sides' way to a broker, for tests."""

import asyncio
from contextlib import asynccontextmanager, suppress
from random import Random
from typing import Any

import aiomqtt

from gateway.supervisor import Backoff
from gateway.transports import mqtt
from gateway.transports.mqtt_settings import settings_from

WITHIN_S = 10.0  # a test that waits longer has failed


class Conversation:
    """The session's side of one device's link."""

    def __init__(self, gateway, link):
        self.gateway = gateway
        self.link = link
        self.payloads: list[bytes] = []
        self.dones: list[Any] = []
        self.boundaries = 0
        self.ends: list[BaseException | None] = []

    def received(self, data, done=None):
        assert done is not None
        self.payloads.append(data)
        self.dones.append(done)
        self.gateway.received(self, data, done)

    def boundary(self):
        self.boundaries += 1

    def lost(self, error):
        self.ends.append(error)
        self.link.close()
        self.gateway.changed.set()


class Gateway:
    """All sessions. `store` False: nothing is acked until `confirm`."""

    def __init__(self, *, store=True):
        self.store = store
        self.conversations: list[Conversation] = []
        self.payloads: list[bytes] = []  # of all, in order of arrival
        self.unconfirmed: list[Any] = []
        self.told: list[str] = []
        self.changed = asyncio.Event()

    def accept(self, link):
        conversation = Conversation(self, link)
        self.conversations.append(conversation)
        return conversation

    def received(self, conversation, data, done):
        self.payloads.append(data)
        if self.store:
            done()
        else:
            self.unconfirmed.append(done)
        self.changed.set()

    def confirm(self):
        waiting, self.unconfirmed = self.unconfirmed, []
        for done in waiting:
            done()

    def report(self, text):
        self.told.append(text)
        self.changed.set()

    async def until(self, condition):
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def heard(self, count):
        await self.until(lambda: len(self.payloads) >= count)


def settings_at(broker, protocol="gt06", client_id="gateway", **more):
    return settings_from(
        f"mqtt://127.0.0.1:{broker.port}", protocol, client_id=client_id, environ={}, **more
    )


@asynccontextmanager
async def running(settings, gateway):
    backoff = Backoff(first_s=0.02, longest_s=0.1, rng=Random(1))
    known = len(gateway.told)
    task = asyncio.create_task(
        mqtt.run(settings, gateway.accept, report=gateway.report, backoff=backoff)
    )
    try:
        await gateway.until(lambda: any("subscribed" in text for text in gateway.told[known:]))
        yield gateway
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def publishing(broker, **more):
    async with aiomqtt.Client("127.0.0.1", broker.port, **more) as client:
        client.pending_calls_threshold = 10_000
        try:
            yield client
        finally:
            if client._disconnected.done():
                client._disconnected.exception()  # otherwise complained of when it is collected


async def publish(broker, topic, *payloads, qos=1, retain=False):
    async with publishing(broker) as client:
        for payload in payloads:
            await client.publish(topic, payload, qos=qos, retain=retain)


async def queued_for(broker, client_id="gateway") -> list[bytes]:
    """What the broker still holds for that client, asked for in its name."""
    await broker.forgets(client_id)
    held: list[bytes] = []
    client = aiomqtt.Client("127.0.0.1", broker.port, identifier=client_id, clean_session=False)
    client._client.manual_ack_set(True)
    async with client:
        # The broker sends what it holds before it answers to what was asked later.
        await client.publish("probe", b"", qos=1)
        held += [client._queue.get_nowait().payload for _ in range(client._queue.qsize())]
    return held
