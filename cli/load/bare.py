"""The bare loop: the same sockets, the same decoder, COPY and commit, and nothing else.

`python -m cli.load.bare PORT URL`. The position that was decoded goes by binary COPY into a
temporary stage and from there into one table whose primary key is device and time, where a resend
changes nothing; then the device is answered. No register, no archive, no live state, no dirty
days, no feed, no limits. With --floor it is copied straight into the table: not even a resend is
borne, and nothing can be faster.
"""

import asyncio
from typing import Any

import click
import psycopg
import uvloop

from gateway.clock import system_clock
from model import Event, Report
from protocols.gt06 import Decoder

TABLE = """
    create table if not exists bare_position (
        device int8, time timestamptz, valid boolean, latitude float8, longitude float8,
        altitude float8, speed float8, course float8, hdop float8, satellites int4,
        primary key (device, time)
    )
"""
STAGE = "create temporary table stage (like bare_position) on commit delete rows"
COPY = "copy {} from stdin (format binary)"
INSERT = "insert into bare_position select * from stage on conflict do nothing"
TYPES = [
    "int8", "timestamptz", "bool", "float8", "float8", "float8", "float8", "float8", "float8",
    "int4",
]  # fmt: skip


class Device(asyncio.Protocol):
    """One connection; a login is answered at once, a fix after its commit."""

    def __init__(self, queue: list[tuple["Device", Event]], wake: asyncio.Event) -> None:
        self._queue = queue
        self._wake = wake
        self._decoder = Decoder()
        self._transport: Any = None
        self.number = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for event in self._decoder.feed(data, system_clock()):
            if isinstance(event, Report):
                self._queue.append((self, event))
                self._wake.set()
            else:
                if event.device is not None:
                    self.number = int(event.device.ident)
                self.answer(event)

    def answer(self, event: Event) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._decoder.reply_to(event, accepted=True, now=system_clock()))


async def commit(connection: Any, batch: list[tuple[Device, Event]], *, floor: bool) -> None:
    into = "bare_position" if floor else "stage"
    async with connection.cursor() as cursor, cursor.copy(COPY.format(into)) as copy:
        copy.set_types(TYPES)
        for device, event in batch:
            if isinstance(event, Report):
                for fix in event.fixes:
                    await copy.write_row(
                        (
                            device.number,
                            fix.time,
                            fix.valid,
                            fix.latitude_deg,
                            fix.longitude_deg,
                            fix.altitude_m,
                            fix.speed_mps,
                            fix.course_deg,
                            fix.hdop,
                            fix.satellites,
                        )
                    )
    if not floor:
        await connection.execute(INSERT)
    await connection.commit()


async def serve(port: int, url: str, *, floor: bool) -> None:
    queue: list[tuple[Device, Event]] = []
    wake = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(TABLE)
        await connection.execute(STAGE)
        await connection.commit()
        await loop.create_server(lambda: Device(queue, wake), "127.0.0.1", port, backlog=4096)
        while True:
            await wake.wait()
            wake.clear()
            await asyncio.sleep(0)
            batch, queue[:] = list(queue), []
            if batch:
                await commit(connection, batch, floor=floor)
                for device, event in batch:
                    device.answer(event)


@click.command()
@click.argument("port", type=int)
@click.argument("url")
@click.option("--floor", is_flag=True, help="Copy straight into the table.")
def main(port: int, url: str, *, floor: bool) -> None:
    """Serve until killed."""
    uvloop.run(serve(port, url, floor=floor))


if __name__ == "__main__":
    main()
