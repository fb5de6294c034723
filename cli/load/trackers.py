"""Many GT06 trackers in one process: `python -m cli.load.trackers PORT --connections 1000`.

Each sends a fix, waits for its receipt and sends the next; with --rate all together send so
many a second. Prints one JSON object: receipts a second, and latencies in milliseconds.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from time import perf_counter
from typing import Any

import click
import uvloop

from cli.load.processes import resident_kib
from firmware_sim import gt06

EPOCH = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
RECEIPT_BYTES = 10
CONNECT_AT_ONCE = 200


class Tracker(asyncio.Protocol):
    """One connection. Its frames are made beforehand, so that making them costs no time now."""

    def __init__(self, number: int, frames: list[bytes], figures: "Figures") -> None:
        self.ready = asyncio.get_running_loop().create_future()
        self._login = gt06.login(f"86{number:013d}", 0)
        self._frames = iter(frames)
        self._figures = figures
        self._transport: Any = None
        self._due = RECEIPT_BYTES  # bytes until the answer is whole
        self._sent_at = 0.0
        self._logged_in = False
        self.closed_loop = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.write(self._login)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("refused"))

    def send(self) -> None:
        """The next fix, if the one before it was answered."""
        frame = next(self._frames, None)
        if frame is not None and not self._transport.is_closing():
            self._sent_at = perf_counter()
            self._transport.write(frame)

    def data_received(self, data: bytes) -> None:
        self._due -= len(data)
        if self._due > 0:
            return
        self._due += RECEIPT_BYTES
        if not self._logged_in:
            self._logged_in = True
            self.ready.set_result(None)
            return
        self._figures.latencies.append(perf_counter() - self._sent_at)
        if self.closed_loop:
            self.send()

    @property
    def waiting(self) -> bool:
        return self._due != RECEIPT_BYTES


class Figures:
    def __init__(self) -> None:
        self.latencies: list[float] = []


def frames(number: int, count: int) -> list[bytes]:
    """Fixes of one tracker, a second apart."""
    latitude_deg = -60 + number % 120
    return [
        gt06.location(
            EPOCH + timedelta(seconds=index),
            latitude_deg,
            index % 180 + number / 1000,
            index & 0xFFFF,
            speed_kph=index % 120,
            course_deg=index % 360,
        )
        for index in range(count)
    ]


async def load(
    port: int,
    *,
    connections: int,
    seconds: float,
    warm_up_s: float,
    rate: float | None,
    first: int,
    watch: int | None = None,
) -> dict[str, float]:
    """Receipts a second and latencies; of process `watch` the memory while all are connected."""
    figures = Figures()
    total_s = seconds + warm_up_s
    each = int((rate or 60_000) * total_s / connections) + 10
    loop = asyncio.get_running_loop()
    trackers = [Tracker(first + n, frames(first + n, each), figures) for n in range(connections)]
    for begin in range(0, connections, CONNECT_AT_ONCE):
        group = trackers[begin : begin + CONNECT_AT_ONCE]
        await asyncio.gather(
            *(loop.create_connection(partial(_itself, t), "127.0.0.1", port) for t in group)
        )
        await asyncio.gather(*(tracker.ready for tracker in group))
    if rate is None:
        for tracker in trackers:
            tracker.send()
        await asyncio.sleep(warm_up_s)
        figures.latencies = []
        began = perf_counter()
        await asyncio.sleep(seconds)
    else:
        pacing = loop.create_task(_pace(trackers, rate))
        await asyncio.sleep(warm_up_s)
        figures.latencies = []
        began = perf_counter()
        await asyncio.sleep(seconds)
        pacing.cancel()
    spent = perf_counter() - began
    latencies = sorted(figures.latencies)
    if not latencies:
        raise ConnectionError("no receipt came")
    watched = {} if watch is None else {"resident_kib": float(resident_kib(watch))}
    return {
        **watched,
        "per_s": len(latencies) / spent,
        "p50_ms": latencies[len(latencies) // 2] * 1000,
        "p99_ms": latencies[int(len(latencies) * 0.99)] * 1000,
        "max_ms": latencies[-1] * 1000,
    }


def _itself(tracker: Tracker) -> Tracker:
    return tracker


async def _pace(trackers: list[Tracker], rate: float) -> None:
    """One after the other, evenly, so that no burst is measured that no fleet makes."""
    began, sent = perf_counter(), 0
    for tracker in trackers:
        tracker.closed_loop = False
    while True:
        due = int((perf_counter() - began) * rate)
        for index in range(sent, due):
            trackers[index % len(trackers)].send()
        sent = due
        await asyncio.sleep(0.002)


@click.command()
@click.argument("port", type=int)
@click.option("--connections", default=1000, show_default=True)
@click.option("--seconds", default=8.0, show_default=True)
@click.option("--warm-up", "warm_up_s", default=2.0, show_default=True)
@click.option("--rate", type=float, help="Fixes a second in all; default: as fast as answered.")
@click.option("--first", default=0, help="Number of the first tracker.")
@click.option("--watch", type=int, help="A process whose memory is of interest.")
def main(port: int, **options: Any) -> None:
    """Send fixes and time their receipts."""
    json.dump(uvloop.run(load(port, **options)), sys.stdout)


if __name__ == "__main__":
    main()
