"""Trackers that keep a fix in flash until the server says that it has it."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from firmware_sim import gt06

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ANSWER_S = 5.0
RETRY_S = 0.2
WINDOW = 4  # fixes sent before the first of them is answered


def imei(number: int) -> str:
    return f"86{number:013d}"


class Tracker:
    """Sends fixes 0, 1, 2, ... of which the time tells the number."""

    def __init__(self, number: int, port: int, on_ack: Callable[[], None]) -> None:
        self.imei = imei(number)
        self.made = 0  # fixes made so far
        self.acked: set[int] = set()
        self._port = port
        self._on_ack = on_ack
        self._latitude_deg = -60 + number % 120

    def fix(self, index: int) -> bytes:
        return gt06.location(
            EPOCH + timedelta(seconds=index), self._latitude_deg, index / 1000, index & 0xFFFF
        )

    @property
    def unanswered(self) -> list[int]:
        return [index for index in range(self.made) if index not in self.acked]

    async def live(self, target: int, pause_s: float) -> None:
        """Make fixes until there are `target`, and send all until all are answered."""
        while self.made < target or self.unanswered:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                await self._session(target, pause_s)
            await asyncio.sleep(RETRY_S)

    async def _session(self, target: int, pause_s: float) -> None:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(gt06.login(self.imei, 1))
            await self._answers(reader, 1)
            while True:
                waiting = self.unanswered[:WINDOW]
                while len(waiting) < WINDOW and self.made < target:
                    waiting.append(self.made)
                    self.made += 1
                if not waiting:
                    return
                writer.write(b"".join(self.fix(index) for index in waiting))
                for serial in await self._answers(reader, len(waiting)):
                    (index,) = (i for i in waiting if i & 0xFFFF == serial)
                    self.acked.add(index)
                    self._on_ack()
                await asyncio.sleep(pause_s)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    @staticmethod
    async def _answers(reader: asyncio.StreamReader, count: int) -> list[int]:
        async with asyncio.timeout(ANSWER_S):
            data = await reader.readexactly(10 * count)
        found, rest = gt06.receipts(data)
        assert not rest
        return found
