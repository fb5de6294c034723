"""Peers that mean harm, over TCP to a whole server: what each costs, and that others do not pay.

Beside every attack an honest tracker goes on being answered.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from firmware_sim import gt06
from gateway.config import from_table
from gateway.directory import Directory
from gateway.server import Server
from gateway.transports import tcp
from model import DeviceIdentity, Rejected
from model.device import CloseCause, Device, DeviceState
from storage.model_store import ModelStore

IMEI = "864717003664467"
TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PATIENCE_S = 30.0  # only a hang is longer

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def nothing() -> None:
    """No upkeep: a model needs none."""


class Gateway:
    """A server that runs, and the peers of one source."""

    def __init__(self, server: Server, protocol: str, store: ModelStore) -> None:
        self.store = store
        self.server = server
        self.source = server.core.sources[protocol]
        (url,) = (url for name, url in server.open_ways() if name == protocol)
        self.port = int(url.rsplit(":", 1)[1])
        self._writers: list[asyncio.StreamWriter] = []

    async def peer(self, sock: socket.socket | None = None) -> Connection:
        where = ("127.0.0.1", self.port) if sock is None else (None, None)
        connection = await asyncio.open_connection(*where, sock=sock)
        self._writers.append(connection[1])
        return connection

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def honest(self) -> "Tracker":
        tracker = Tracker(await self.peer())
        assert await tracker.says(gt06.login(IMEI, 1)) == gt06.frame(0x01, b"", 1)
        return tracker

    async def until(self, cause: CloseCause) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not self.source.figures.ended[cause]:
                await asyncio.sleep(0.01)


class Tracker:
    """An honest one: it sends a position and waits for its receipt."""

    def __init__(self, connection: Connection) -> None:
        self.reader, self.writer = connection
        self._serial = 1

    async def says(self, frame: bytes) -> bytes:
        self.writer.write(frame)
        async with asyncio.timeout(PATIENCE_S):
            return await self.reader.readexactly(10)

    async def is_heard(self) -> None:
        self._serial += 1
        answer = await self.says(gt06.location(TIME, 52.5, self._serial / 1000, self._serial))
        assert gt06.receipts(answer) == ([self._serial], b"")


@asynccontextmanager
async def serving(
    folder: Path, protocol: str = "gt06", *, known: bool = True, **limits: Any
) -> AsyncIterator[Gateway]:
    store = ModelStore()
    if known:
        identity = DeviceIdentity(protocol="gt06", ident=IMEI)
        store.register[identity] = Device(id=1, identity=identity, state=DeviceState.ACTIVE)
    table = {
        "data_dir": str(folder),
        "health": "",
        "sources": {protocol: {"listen": ["tcp://127.0.0.1:0"], "limits": limits}},
    }
    async with Server(from_table(table), store, upkeep=nothing) as server:
        task = asyncio.create_task(server.serve())
        gateway = Gateway(server, protocol, store)
        try:
            yield gateway
        finally:
            gateway.hang_up()
            server.stop()
            await task


async def thrown_out(connection: Connection) -> bytes:
    """All that is still said before the other side closes."""
    reader, writer = connection
    said = b""
    async with asyncio.timeout(PATIENCE_S):
        try:
            while part := await reader.read(65_536):
                said += part
        except ConnectionError:
            pass
    writer.close()
    return said


async def floods(connection: Connection, data: bytes) -> None:
    """Send without end, until the other side has had enough."""
    with pytest.raises(ConnectionError):
        async with asyncio.timeout(PATIENCE_S):
            while True:
                connection[1].write(data)
                await connection[1].drain()
                await asyncio.sleep(0)
                if connection[0].at_eof():
                    raise ConnectionResetError
    connection[1].close()


async def test_a_peer_that_trickles_bytes_must_say_something_in_time(tmp_path):
    async with serving(tmp_path, first_frame_s=1.0) as gateway:
        tracker, slow = await gateway.honest(), await gateway.peer()
        closing = asyncio.create_task(thrown_out(slow))
        for byte in b"xx\xff" + bytes(1000):
            if closing.done():
                break
            slow[1].write(bytes([byte]))
            await tracker.is_heard()
            await asyncio.sleep(0.02)
        assert await closing == b""
        assert gateway.source.figures.ended == {CloseCause.LIMIT: 1}


@pytest.mark.parametrize(
    ("protocol", "data"),
    [
        ("gt06", b"xx\xff" + bytes(40)),
        ("gt06", b"\0" * 1000),
        ("gt06", b"x"),
        ("h02", b"*HQ,"),
        ("h02", b"\xff" * 1000),
        (
            "osmand",
            b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 262144\r\n\r\n" + b" " * 300_000,
        ),
    ],
)
async def test_bytes_without_a_frame_are_borne_to_a_bound(tmp_path, protocol, data):
    async with serving(tmp_path, protocol, bytes_without_frame=20_000) as gateway:
        await floods(await gateway.peer(), data * max(1, 4096 // len(data)))
        async with asyncio.timeout(PATIENCE_S):
            while not gateway.source.figures.ended:
                await asyncio.sleep(0.01)
        assert not gateway.source.sessions
        assert not gateway.store.positions


@pytest.mark.parametrize(
    ("protocol", "data", "answer"),
    [
        ("osmand", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % 10**15, b" 413 "),
        ("osmand", b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: " + b"9" * 9000, None),
        ("owntracks", b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                      + b"F" * 15 + b"\r\n", None),
        ("gt06", b"yy\xff\xff" + bytes(100), None),
        ("gt06", b"yy\x0f\xff" + bytes(100), None),
    ],
)  # fmt: skip
async def test_a_giant_length_reserves_nothing_and_is_waited_for_in_vain(
    tmp_path, protocol, data, answer
):
    async with serving(tmp_path, protocol, first_frame_s=1.0) as gateway:
        peer = await gateway.peer()
        peer[1].write(data)
        said = await thrown_out(peer)
        assert said == b"" if answer is None else answer in said
        assert all(isinstance(entry.event, Rejected) for entry in gateway.store.frames)


@pytest.mark.parametrize("junk", [b"xx\r\n", b"yy\r\n", gt06.frame(0x12, b"", 1)[:-1] + b"\0"])
async def test_a_flood_of_what_nobody_can_read_ends_the_link(tmp_path, junk):
    async with serving(tmp_path) as gateway:
        tracker = await gateway.honest()
        flood = asyncio.create_task(floods(await gateway.peer(), junk * 500))
        while not flood.done():
            await tracker.is_heard()
        await flood
        await gateway.until(CloseCause.LIMIT)
        await tracker.is_heard()


async def test_a_peer_that_never_reads_its_answers_is_not_read_from_either(tmp_path, monkeypatch):
    async with serving(tmp_path) as gateway:
        tracker = await gateway.honest()
        small = socket.socket()  # else the kernel takes megabytes for a peer that reads nothing
        small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        small.setblocking(False)
        await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", gateway.port))
        deaf = await gateway.peer(sock=small)
        deaf[1].transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(PATIENCE_S):
            while len(gateway.source.sessions) < 2:
                await asyncio.sleep(0.01)
        *_, session = gateway.source.sessions
        server_side = session._link._transport  # type: ignore[attr-defined]
        server_side.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        async with asyncio.timeout(PATIENCE_S):
            while server_side.is_reading():
                deaf[1].write(gt06.heartbeat(7) * 100)
                await tracker.is_heard()
        while session.busy:
            await tracker.is_heard()
        before = len(gateway.store.frames)
        for _ in range(20):
            await tracker.is_heard()
        assert len(gateway.store.frames) == before + 20
        # Closed, it does not keep the socket for ever either.
        monkeypatch.setattr(tcp, "LAST_WORDS_S", 0.01)
        assert server_side.get_write_buffer_size()
        session.close(CloseCause.IDLE)
        async with asyncio.timeout(PATIENCE_S):
            while server_side.get_write_buffer_size():
                await asyncio.sleep(0.01)


async def test_half_open_connections_do_not_cost_an_honest_tracker_its_answers(tmp_path):
    async with serving(tmp_path) as gateway:
        tracker = await gateway.honest()
        silent = []
        try:
            for number in range(1000):
                silent.append(await gateway.peer())
                if number % 3 == 0:  # some have begun to speak
                    silent[-1][1].write(b"xx\x1f\x12")
                if number % 50 == 0:
                    await tracker.is_heard()
            assert len(gateway.source.sessions) == 1001
            for _ in range(20):
                await tracker.is_heard()
        finally:
            for _, writer in silent:
                writer.close()
        async with asyncio.timeout(PATIENCE_S):
            while len(gateway.source.sessions) > 1:
                await asyncio.sleep(0.01)
        await tracker.is_heard()


async def test_more_connections_than_an_address_may_have_are_closed_at_once(tmp_path):
    async with serving(tmp_path, connections_per_address=3) as gateway:
        tracker = await gateway.honest()
        others = [await gateway.peer(), await gateway.peer()]
        assert await thrown_out(await gateway.peer()) == b""
        assert gateway.source.figures.refused == 1
        await tracker.is_heard()
        for _, writer in others:
            writer.close()


def conversation(imei: str) -> list[bytes]:
    return [gt06.login(imei, 1), gt06.location(TIME, 52.5, 13.25, 2), gt06.heartbeat(3)]


async def test_whoever_guesses_idents_learns_nothing_from_the_answers(tmp_path, monkeypatch):
    """Two hundred strangers and a known device say the same and hear the same, byte for byte."""
    monkeypatch.setattr(Directory, "_penalty", lambda *_: 0.0)  # its waits are tried elsewhere
    async with serving(tmp_path) as gateway:
        tracker = Tracker(await gateway.peer())
        known = [await tracker.says(frame) for frame in conversation(IMEI)]
        for number in range(200):
            guess = Tracker(await gateway.peer())
            heard = [
                await guess.says(frame) for frame in conversation(f"{864717003700000 + number}")
            ]
            assert heard == known
            guess.writer.close()
    states = [device.state for device in gateway.store.register.values()]
    assert states.count(DeviceState.QUARANTINED) == 200


async def test_guessing_slows_the_guesser_down_and_nobody_else(tmp_path):
    async with serving(tmp_path) as gateway:
        tracker = await gateway.honest()
        guesses = [await gateway.peer() for _ in range(60)]
        for number, (_, writer) in enumerate(guesses):
            writer.write(gt06.login(f"{864717003800000 + number}", 1))
        async with asyncio.timeout(PATIENCE_S):
            while len(gateway.store.register) < 15:
                await asyncio.sleep(0.01)
        for _ in range(20):
            await tracker.is_heard()
        for _, writer in guesses:
            writer.close()
