"""What brokers differ in: passwords, refusals, certificates, hanging up, losing their memory."""

import asyncio
import json
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme

from gateway.supervisor import Backoff
from gateway.transports import mqtt
from gateway.transports.mqtt_settings import settings_from
from tests.gateway.mosquitto import SAVES_AT_ONCE, Broker
from tests.gateway.subscriber import WITHIN_S, Gateway, publish, publishing, running, settings_at


async def test_credentials_are_shown_to_the_broker_and_wrong_ones_are_told(tmp_path):
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "gateway", "p:s/s"], check=True)
    broker = Broker(tmp_path, f"password_file {passwords}", anonymous=False)
    await broker.start()
    try:
        url = f"mqtt://gateway:{quote('p:s/s', safe='')}@127.0.0.1:{broker.port}"
        right = settings_from(url, "gt06", client_id="a", environ={})
        async with running(right, Gateway()) as gateway:
            async with publishing(broker, username="gateway", password="p:s/s") as client:
                await client.publish("frames/gt06/1", b"one", qos=1)
            await gateway.heard(1)
        gateway = Gateway()
        task = asyncio.create_task(
            mqtt.run(replace(right, password="no"), gateway.accept, report=gateway.report)
        )
        await gateway.until(lambda: any("trying again" in text for text in gateway.told))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert "ot authori" in gateway.told[-1]
    finally:
        broker.kill()


async def test_a_broker_that_grants_no_subscription_is_told(tmp_path):
    plugin = next(Path("/usr/lib").glob("**/mosquitto_dynamic_security.so"), None)
    if plugin is None:
        pytest.skip("this mosquitto has no dynamic security, so no refused subscription was tested")
    rules = tmp_path / "rules.json"
    access = dict.fromkeys(("publishClientSend", "publishClientReceive", "unsubscribe"), True)
    rules.write_text(json.dumps({"defaultACLAccess": {**access, "subscribe": False}}))
    broker = Broker(tmp_path, f"plugin {plugin}", f"plugin_opt_config_file {rules}")
    await broker.start()
    gateway = Gateway()
    task = asyncio.create_task(mqtt.run(settings_at(broker), gateway.accept, report=gateway.report))
    try:
        await gateway.until(lambda: any("trying again" in text for text in gateway.told))
        assert "refuses to let us subscribe to frames/gt06/+" in gateway.told[-1]
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        broker.kill()


async def test_a_broker_that_hangs_up_on_the_subscription_is_left_at_once():
    """The library would wait for its answer until a time-out."""
    calls = 0

    async def hang_up(reader, writer):
        nonlocal calls
        calls += 1
        await reader.read(100)
        writer.write(b"\x20\x02\x00\x00")  # CONNACK
        await reader.read(100)  # SUBSCRIBE
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    url = f"mqtt://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    settings = settings_from(url, "gt06", client_id="a", environ={})
    gateway = Gateway()
    backoff = Backoff(first_s=0.01, longest_s=0.02)
    task = asyncio.create_task(
        mqtt.run(settings, gateway.accept, report=gateway.report, backoff=backoff)
    )
    try:
        await gateway.until(lambda: len(gateway.told) > 1)
        assert "connection lost" in gateway.told[1]
        async with asyncio.timeout(WITHIN_S / 2):
            while calls < 3:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        server.close()
        await server.wait_closed()


async def test_tls_with_a_private_authority_and_a_full_window(tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    lines = (f"certfile {tmp_path}/cert.pem", f"keyfile {tmp_path}/key.pem")
    broker = Broker(tmp_path, *lines, "max_inflight_messages 0")
    await broker.start()
    try:
        url = f"mqtts://127.0.0.1:{broker.port}?ca={quote(str(tmp_path / 'ca.pem'))}"
        settings = settings_from(url, "gt06", client_id="a", max_inflight=7, environ={})
        async with running(settings, Gateway(store=False)) as gateway:
            secure = {"tls_context": settings.secure}
            async with publishing(broker, **secure) as client:
                for n in range(300):
                    await client.publish("frames/gt06/1", b"%d" % n, qos=1)
            await gateway.heard(7)
            while len(gateway.payloads) < 300:
                gateway.confirm()
                await gateway.heard(len(gateway.payloads) + 1)
                assert len(gateway.unconfirmed) <= 7
        assert gateway.payloads == [b"%d" % n for n in range(300)]
    finally:
        broker.kill()


async def test_a_killed_broker_loses_nothing_that_it_had_saved(tmp_path):
    """Mosquitto at its safest saves a change with the next one: the last ack is not covered."""
    broker = Broker(tmp_path, *SAVES_AT_ONCE)
    await broker.start()
    try:
        settings = settings_at(broker)
        async with running(settings, Gateway()):
            pass  # the subscription is known to the broker
        await broker.forgets("gateway")
        await publish(broker, "frames/gt06/1", *[b"%d" % n for n in range(51)])
        broker.kill()
        await broker.start()
        async with running(settings, Gateway()) as gateway:
            await gateway.heard(50)
        assert gateway.payloads[:50] == [b"%d" % n for n in range(50)]
    finally:
        broker.kill()
