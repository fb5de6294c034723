"""The server on real sockets, with the store as a model: who hears what, and when."""

import asyncio
import json
import socket
import ssl
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from firmware_sim import gt06
from gateway.config import from_table
from gateway.errors import ConfigError, StartError
from gateway.server import Server
from model.device import CloseCause, IdentityStrength
from storage.model_store import ModelStore
from storage.store import StorageUnavailable

IMEI = "864717003664467"
TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Store(ModelStore):
    """A store that can be away, or take its time."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def devices(self):
        if self.away:
            raise StorageUnavailable("the model is away")
        return await super().devices()

    async def commit(self, items):
        await self.gate.wait()
        if self.away:
            raise StorageUnavailable("the model is away")
        await super().commit(items)


async def nothing() -> None:
    """No upkeep: a model needs none."""


@asynccontextmanager
async def serving(folder: Path, listen: list[str], store: ModelStore, **more):
    """A server that runs; `server.addresses` are where it listens."""
    table = {
        "data_dir": str(folder),
        "policy": "register",
        "health": "http://127.0.0.1:0",
        "sources": {"gt06": {"listen": listen, **more}},
    }
    server = Server(from_table(table), store, upkeep=nothing, report=print)
    outcome: dict[str, bool] = {}
    async with server:
        task = asyncio.create_task(server.serve())
        try:
            yield server, [url.rsplit(":", 1)[1] for _, url in server.open_ways()], outcome
        finally:
            server.stop()
            outcome["drained"] = await task


async def talk(port: str, data: bytes, *, secure: ssl.SSLContext | None = None):
    return await send(await asyncio.open_connection("127.0.0.1", int(port), ssl=secure), data)


async def send(connection, data: bytes):
    connection[1].write(data)
    await connection[1].drain()
    return connection


async def answered(connection, count: int) -> list[int]:
    async with asyncio.timeout(10):
        serials, rest = gt06.receipts(await connection[0].readexactly(10 * count))
    assert not rest
    return serials


async def ended(connection):
    """All that comes until the other side closes."""
    async with asyncio.timeout(10):
        data = await connection[0].read()
    connection[1].close()
    return data


LOGIN_AND_FIX = gt06.login(IMEI, 1) + gt06.location(TIME, 52.5, 13.25, 2)


async def test_over_tcp_a_fix_is_answered_and_stored(tmp_path):
    store = Store()
    async with serving(tmp_path, ["tcp://127.0.0.1:0"], store) as (_, (port,), _):
        device = await talk(port, LOGIN_AND_FIX)
        assert await answered(device, 2) == [1, 2]
        device[1].close()
        await device[1].wait_closed()
    (fix,) = store.positions.values()
    assert (fix.time, fix.latitude_deg, fix.longitude_deg) == (TIME, 52.5, 13.25)
    (closed,) = store.closed.values()
    assert closed.contact.transport == "tcp"
    assert closed.cause in (CloseCause.PEER, CloseCause.SHUTDOWN)
    assert closed.frames == 2


async def test_over_udp_too(tmp_path):
    store = Store()
    async with serving(tmp_path, ["udp://127.0.0.1:0"], store) as (_, (port,), _):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            device.setblocking(False)
            device.connect(("127.0.0.1", int(port)))
            loop = asyncio.get_running_loop()
            for frame in (gt06.login(IMEI, 1), gt06.location(TIME, 52.5, 13.25, 2)):
                await loop.sock_sendall(device, frame)
                async with asyncio.timeout(10):
                    assert len(await loop.sock_recv(device, 100)) == 10
    assert len(store.positions) == 1


async def test_over_tls_a_client_certificate_shows_who_it_is(tmp_path):
    ca = trustme.CA()
    served, shown = ca.issue_cert("127.0.0.1"), ca.issue_cert("tracker.example")
    certificate, key, authority = (tmp_path / name for name in ("c.pem", "k.pem", "ca.pem"))
    served.cert_chain_pems[0].write_to_path(certificate)
    served.private_key_pem.write_to_path(key)
    ca.cert_pem.write_to_path(authority)
    tls = {"certificate": str(certificate), "key": str(key), "client_ca": str(authority)}
    device_side = ssl.create_default_context(cafile=str(authority))
    store = Store()
    async with serving(tmp_path, ["tls://127.0.0.1:0"], store, tls=tls) as (_, (port,), _):
        # TLS 1.3 tells a client without a certificate so only when it reads.
        refused = (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)
        stranger = await asyncio.open_connection("127.0.0.1", int(port), ssl=device_side)
        with pytest.raises(refused):
            await answered(await send(stranger, LOGIN_AND_FIX), 2)
        stranger[1].close()
        with suppress(*refused):
            await stranger[1].wait_closed()
        shown.configure_cert(device_side)
        device = await talk(port, LOGIN_AND_FIX, secure=device_side)
        assert await answered(device, 2) == [1, 2]
        device[1].close()
    assert len(store.positions) == 1
    assert {entry.contact.strength for entry in store.frames} == {IdentityStrength.MTLS}
    assert {entry.contact.transport for entry in store.frames} == {"tls"}


async def test_no_receipt_before_the_commit(tmp_path):
    store = Store()
    async with serving(tmp_path, ["tcp://127.0.0.1:0"], store) as (_, (port,), _):
        store.gate.clear()
        device = await talk(port, LOGIN_AND_FIX)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await device[0].read(1)
        store.gate.set()
        assert await answered(device, 2) == [1, 2]
        device[1].close()


async def test_without_storage_the_link_closes_unanswered_and_the_resend_is_stored(tmp_path):
    store = Store()
    async with serving(tmp_path, ["tcp://127.0.0.1:0"], store) as (server, (port,), _):
        store.away = True
        assert await ended(await talk(port, LOGIN_AND_FIX)) == b""
        assert not store.positions
        store.away = False
        for _ in range(2):  # a resend of what was answered changes nothing
            device = await talk(port, LOGIN_AND_FIX)
            assert await answered(device, 2) == [1, 2]
            device[1].close()
        assert len(store.positions) == 1
        source = server.core.sources["gt06"]
        assert source.figures.ended[CloseCause.STORAGE] == 1


async def test_a_drain_answers_what_is_owed(tmp_path):
    store = Store()
    async with serving(tmp_path, ["tcp://127.0.0.1:0"], store) as (server, (port,), outcome):
        store.gate.clear()
        device = await talk(port, LOGIN_AND_FIX)
        async with asyncio.timeout(10):
            while not any(s.busy for s in server.core.sources["gt06"].sessions):
                await asyncio.sleep(0.01)
        server.stop()
        await asyncio.sleep(0.05)
        store.gate.set()
        assert await answered(device, 2) == [1, 2]
        assert await ended(device) == b""
    assert outcome == {"drained": True}
    assert {one.cause for one in store.closed.values()} == {CloseCause.SHUTDOWN}


async def test_health_tells_the_truth(tmp_path):
    store = Store()
    async with serving(tmp_path, ["tcp://127.0.0.1:0"], store) as (server, (port,), _):
        health = server.health_url.rsplit(":", 1)[1]
        device = await talk(port, LOGIN_AND_FIX)
        await answered(device, 2)
        status, said = await get(health, "/healthz")
        assert (status, json.loads(said)) == (200, {"status": "ok"})
        status, text = await get(health, "/metrics")
        assert status == 200
        assert 'truetrack_fixes_total{source="gt06"} 1.0' in text
        assert 'truetrack_links_open{source="gt06"} 1.0' in text
        assert (await get(health, "/"))[0] == 404
        assert (await get(health, "/metrics", "POST"))[0] == 405
        store.away = True
        with suppress(StorageUnavailable):
            await server.core.refresh()
        status, said = await get(health, "/readyz")
        assert status == 503
        assert "the model is away" in json.loads(said)["reason"]
        device[1].close()


async def get(port: str, path: str, method: str = "GET") -> tuple[int, str]:
    request = f"{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
    head, _, body = (await ended(await talk(port, request))).partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


async def test_a_port_in_use_is_named_and_nothing_stays_bound(tmp_path):
    with socket.socket() as taken, socket.socket() as probe:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        probe.bind(("127.0.0.1", 0))
        free, busy = probe.getsockname()[1], taken.getsockname()[1]
        probe.close()
        listen = [f"tcp://127.0.0.1:{free}", f"tcp://127.0.0.1:{busy}"]
        with pytest.raises(StartError, match=f"{busy}.*source gt06.*in use"):
            async with serving(tmp_path, listen, Store()):
                pass
        with socket.socket() as again:
            again.bind(("127.0.0.1", free))


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        ({"open": "serial:///dev/ttyUSB0?bauds=9600"}, ConfigError, "sources.gt06.open: .*bauds"),
        ({"open": "serial:///etc/hostname"}, StartError, "/etc/hostname is no serial port"),
        ({"connect": "mqtt://h:1/path"}, ConfigError, "sources.gt06.connect: mqtt://h"),
    ],
)
async def test_ways_out_are_checked_at_the_start(tmp_path, settings, error, told):
    with pytest.raises(error, match=told):
        async with serving(tmp_path, [], Store(), **settings):
            pass
