"""A real broker between phones and a gateway that is killed: all that was published is stored."""

import asyncio
import json
from pathlib import Path

import aiomqtt
import psycopg

from storage.embedded import EmbeddedPostgres
from tests.faults.processes import Gateway
from tests.gateway.mosquitto import SAVES_AT_ONCE, Broker

PHONES = 20
MESSAGES = 60
FIRST = 1_767_225_600  # 2026-01-01
WITHIN_S = 120


def location(number: int) -> bytes:
    said = {"_type": "location", "lat": 52.5, "lon": number / 1000, "tst": FIRST + number}
    return json.dumps(said).encode()


async def publish(port: int, numbers: range) -> None:
    """Returns when the broker has answered every message."""
    async with aiomqtt.Client("127.0.0.1", port) as client:
        for number in numbers:
            for phone in range(PHONES):
                await client.publish(f"owntracks/u/{phone}", location(number), qos=1)


def stored(url: str) -> list[tuple[str, int]]:
    query = """
        select d.ident, extract(epoch from p.time)::bigint - %s
        from raw.position p join ref.device d on d.id = p.device_id
    """
    with psycopg.connect(url) as connection:
        return [(ident, int(number)) for ident, number in connection.execute(query, [FIRST])]


async def test_all_that_was_published_is_stored_once(tmp_path: Path):
    broker = Broker(tmp_path, *SAVES_AT_ONCE, "max_inflight_messages 100")
    postgres = EmbeddedPostgres(tmp_path / "db")
    postgres.start()
    await broker.start()
    gateway = Gateway(
        tmp_path,
        f'[sources.owntracks]\nconnect = "mqtt://127.0.0.1:{broker.port}"\n',
        postgres.url,
    )
    try:
        gateway.start()
        await gateway.ready()
        # The broker keeps messages only for a subscriber that it has met.
        async with asyncio.timeout(WITHIN_S):
            while len(stored(postgres.url)) < PHONES:
                await publish(broker.port, range(1))
                await asyncio.sleep(0.1)
        chunk = MESSAGES // 6
        for begin in range(1, MESSAGES, chunk):
            publishing = asyncio.create_task(
                publish(broker.port, range(begin, min(begin + chunk, MESSAGES)))
            )
            await asyncio.sleep(0.2)
            gateway.kill()
            await asyncio.to_thread(postgres.stop)
            await publishing
            await asyncio.to_thread(postgres.start)
            gateway.start()
            await gateway.ready()
            await asyncio.to_thread(postgres.stop)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(postgres.start)
        sent = {(f"owntracks/u/{phone}", n) for phone in range(PHONES) for n in range(MESSAGES)}
        async with asyncio.timeout(WITHIN_S):
            while len(found := stored(postgres.url)) < len(sent):
                await asyncio.sleep(0.2)
        assert len(found) == len(set(found)), "a fix is there twice"
        assert set(found) == sent
        assert await gateway.stop() == 0
    finally:
        gateway.kill()
        postgres.stop()
        broker.stop()
