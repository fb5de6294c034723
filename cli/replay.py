"""`truetrack replay`: a capture, sent as its device would send it."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO
from urllib.parse import parse_qs, urlsplit

import click

import protocols
from cli.decode import CHUNK_BYTES, hex_messages
from cli.output import Output, output_options
from gateway.clock import system_clock
from gateway.errors import StartError
from model import Event, Report
from protocols.base import Decoder

LONGEST_PAUSE_S = 3600.0
CONNECT_S = 10.0
TAIL_BYTES = 40


@dataclass(frozen=True, slots=True)
class Frame:
    data: bytes
    time: datetime | None  # of its newest fix: what the speed is measured against


@dataclass(frozen=True, slots=True)
class Target:
    scheme: str  # tcp, udp, serial
    host: str = ""
    port: int = 0
    path: str = ""
    baud: int = 9600

    def __str__(self) -> str:
        return self.path or f"{self.host} port {self.port}"


@click.command(name="replay")
@click.argument("protocol")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--to",
    "url",
    required=True,
    metavar="URL",
    help="tcp://host:port, udp://host:port, serial:///dev/tty?baud=9600 or a pty.",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    help="Keep the capture's pace, so many times faster. Default: no pauses.",
)
@click.option("--hex-lines", is_flag=True, help="FILE holds one whole message in hex a line.")
@click.option(
    "--wait",
    "wait_s",
    default=2.0,
    show_default=True,
    help="Seconds of silence to wait for replies at the end.",
)
@output_options
def command(
    protocol: str,
    file: BinaryIO,
    *,
    url: str,
    speed: float | None,
    hex_lines: bool,
    wait_s: float,
    output: Output,
) -> int:
    """Send a capture to a gateway as its device would.

    The capture is cut into frames by the protocol's decoder; over UDP each is a datagram. The
    replies are printed in hex.

    \b
    Example:
      truetrack replay gt06 capture.bin --to tcp://localhost:5023
      truetrack replay nmea0183 receiver.log --to /dev/pts/3 --speed 10
    """  # noqa: D301
    module = protocols.load(protocol)
    target = parse_target(url, module.DEFAULT_PORT)
    if hex_lines:
        frames = list(_from_hex(file, getattr(module, "complete", bytes)))
    else:
        datagrams = target.scheme == "udp"
        frames = list(from_stream(file.read(), module.Decoder(), datagrams=datagrams))
    if not frames:
        output.note("truetrack: the capture holds no frame of this protocol")
        return 1
    replies = 0

    def show(data: bytes) -> None:
        nonlocal replies
        replies += 1
        output.text(f"<<< {data.hex()}", reply=data.hex())
        output.flush()

    asyncio.run(_send(frames, target, speed, wait_s, show))
    size = sum(len(frame.data) for frame in frames)
    output.note(f"sent {len(frames)} frames, {size} bytes; {replies} replies")
    return 0


def parse_target(url: str, default_port: int) -> Target:
    """Where to send. Raises click.BadParameter."""
    parts = urlsplit(url)
    if parts.scheme in ("", "serial") or url.startswith("/"):
        baud = parse_qs(parts.query).get("baud", ["9600"])[0]
        if not parts.path or not baud.isdigit():
            raise click.BadParameter(f"no serial port: {url!r}", param_hint="--to")
        return Target("serial", path=parts.path, baud=int(baud))
    if parts.scheme not in ("tcp", "udp", "http"):
        raise click.BadParameter(f"{url!r} is not tcp://, udp:// or serial://", param_hint="--to")
    try:
        port = parts.port or default_port
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--to") from error
    scheme = "udp" if parts.scheme == "udp" else "tcp"
    return Target(scheme, host=parts.hostname or "localhost", port=port)


def from_stream(data: bytes, decoder: Decoder, *, datagrams: bool) -> Iterator[Frame]:
    """Each frame; in a stream with all that stands before it, so that every byte is sent once."""
    events = decoder.feed(data, system_clock()) + decoder.flush(system_clock())
    sent = 0
    for event in events:
        if datagrams:
            yield Frame(event.raw, _time(event))
        elif (end := _end(data, event.raw, sent)) > sent:
            yield Frame(data[sent:end], _time(event))
            sent = end
    if not datagrams and sent < len(data):
        yield Frame(data[sent:], None)


def _end(data: bytes, raw: bytes, since: int) -> int:
    """Where a frame ends in the stream, -1 where that cannot be told.

    A frame may be made of parts that are not side by side: then its last bytes are looked for.
    """
    for part in (raw, raw[-TAIL_BYTES:]):
        if part and (begin := data.find(part, since)) >= 0:
            return begin + len(part)
    return -1


def _from_hex(file: BinaryIO, complete: Callable[[bytes], bytes]) -> Iterator[Frame]:
    for number, message in hex_messages(file):
        if isinstance(message, ValueError):
            raise click.BadParameter(f"line {number}: not hex: {message}", param_hint="FILE")
        yield Frame(complete(message), None)


def _time(event: Event) -> datetime | None:
    times = [fix.time for fix in event.fixes] if isinstance(event, Report) else []
    return max(times, default=None)


def pauses(frames: list[Frame], speed: float | None) -> Iterator[tuple[float, Frame]]:
    """Each frame with the seconds to wait before it."""
    last: datetime | None = None
    for frame in frames:
        pause = 0.0
        if speed is not None and frame.time is not None and last is not None:
            passed = (frame.time - last).total_seconds()
            pause = min(max(passed, 0.0), LONGEST_PAUSE_S) / speed
        last = frame.time or last
        yield pause, frame


async def _send(
    frames: list[Frame],
    target: Target,
    speed: float | None,
    wait_s: float,
    show: Callable[[bytes], None],
) -> None:
    link = await LINKS[target.scheme](target)
    listening = asyncio.create_task(_listen(link, show))
    try:
        for pause, frame in pauses(frames, speed):
            if pause:
                await asyncio.sleep(pause)
            await link.send(frame.data)
        await link.finish(listening, wait_s)
    except ConnectionError as error:
        raise StartError(f"{target}: hung up before all was sent: {error.strerror}") from error
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        link.close()


async def _listen(link: "Link", show: Callable[[bytes], None]) -> None:
    with suppress(ConnectionError):  # whoever sends hears of it
        while data := await link.receive():
            link.heard = asyncio.get_running_loop().time()
            show(data)


class Link:
    """A socket or a port, reduced to what a replay needs."""

    def __init__(self) -> None:
        self.heard = asyncio.get_running_loop().time()

    async def send(self, data: bytes) -> None:
        raise NotImplementedError

    async def receive(self) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    async def finish(self, listening: "asyncio.Task[None]", wait_s: float) -> None:
        """Wait until the other side has been silent for `wait_s`, or closed."""
        loop = asyncio.get_running_loop()
        self.heard = loop.time()
        while (left := self.heard + wait_s - loop.time()) > 0:
            done, _ = await asyncio.wait([listening], timeout=left)
            if done:
                return


class SocketLink(Link):
    def __init__(self, link: socket.socket) -> None:
        super().__init__()
        self._socket = link

    @classmethod
    async def open(cls, target: Target) -> "SocketLink":
        kind = socket.SOCK_DGRAM if target.scheme == "udp" else socket.SOCK_STREAM
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(target.host, target.port, type=kind)
        except socket.gaierror as error:
            raise StartError(f"{target.host}: {error.strerror}") from error
        refused = StartError(f"{target.host}: no address")
        for family, _, _, _, address in found:
            link = socket.socket(family, kind)
            link.setblocking(False)
            try:
                async with asyncio.timeout(CONNECT_S):
                    await loop.sock_connect(link, address)
            except OSError as error:  # the time-out is one
                link.close()
                reason = os.strerror(error.errno) if error.errno else "no answer"
                refused = StartError(f"{target}: {reason}")
                continue
            return cls(link)
        raise refused

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def receive(self) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self._socket, CHUNK_BYTES)

    def close(self) -> None:
        self._socket.close()


class SerialLink(Link):
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__()
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, target: Target) -> "SerialLink":
        import serial_asyncio_fast  # noqa: PLC0415 - sockets need not load it

        from cli.serial.port import opening  # noqa: PLC0415 - as above

        with opening(target.path):
            return cls(
                *await serial_asyncio_fast.open_serial_connection(
                    url=target.path, baudrate=target.baud, exclusive=True
                )
            )

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def receive(self) -> bytes:
        return await self._reader.read(CHUNK_BYTES)

    def close(self) -> None:
        self._writer.close()


LINKS: dict[str, Callable[[Target], Awaitable[Link]]] = {
    "tcp": SocketLink.open,
    "udp": SocketLink.open,
    "serial": SerialLink.open,
}
