"""Group commit: whatever queued while the last commit ran goes into the next one.

No timer is needed: under light load a commit holds one item and takes one round trip, under
heavy load batches grow by themselves up to `max_batch`.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from model import fault
from model.device import Item
from storage.store import StorageUnavailable, Store

Settled = Callable[[bool], None]
"""Told once: True when the item is durable, False when it is not known to be."""

Batch = list[tuple[Item, Settled | None]]

MAX_KEPT = 10_000
AT_ONCE = 2  # batches with the store


@dataclass(slots=True)
class WriterFigures:
    committed: int = 0
    failed: int = 0
    batches: int = 0
    last_batch: int = 0
    last_commit_s: float = 0.0


class Writer:
    """The one road into the store. Not thread-safe; lives on the loop that runs it."""

    def __init__(self, store: Store, *, max_batch: int = 4000, max_queue: int = 100_000) -> None:
        self._store = store
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._queue: deque[tuple[Item, Settled | None]] = deque()
        self._kept: deque[Item] = deque(maxlen=MAX_KEPT)
        self._wake = asyncio.Event()
        self._flying = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.figures = WriterFigures()

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def crowded(self) -> bool:
        """True while sessions should stop reading."""
        return len(self._queue) >= self._max_queue

    def submit(self, item: Item, settled: Settled | None = None) -> None:
        """Queue `item`; `settled` is called from the loop once its fate is known.

        What nobody waits for (the end of a contact) is kept through an outage, the newest
        MAX_KEPT of it, and goes with the next commit that succeeds.
        """
        self._queue.append((item, settled))
        if len(self._queue) == 1:
            self._idle.clear()
            self._wake.set()

    async def run(self) -> None:
        """Commit until cancelled. Call once. Any error but StorageUnavailable ends it.

        While one batch is with the store the next is packed behind it, so that neither waits for
        the other; verdicts are given in the order of submission all the same.
        """
        try:
            async with asyncio.TaskGroup() as commits:
                await self._feed(commits)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from group

    async def _feed(self, commits: asyncio.TaskGroup) -> None:
        turn = asyncio.Semaphore(AT_ONCE)
        before: asyncio.Task[None] | None = None
        while True:
            await self._wake.wait()
            await turn.acquire()
            # One turn of the loop, so that what arrived together is committed together.
            await asyncio.sleep(0)
            batch, kept = self._take(), list(self._kept)
            self._kept.clear()
            self._flying += 1
            if not self._queue:
                self._wake.clear()
            before = commits.create_task(self._commit(batch, kept, before))
            before.add_done_callback(lambda _: turn.release())

    async def _commit(
        self, batch: Batch, kept: list[Item], before: "asyncio.Task[None] | None"
    ) -> None:
        loop = asyncio.get_running_loop()
        fault("writer.before_commit")
        begun = loop.time()
        try:
            await self._store.commit([*kept, *(item for item, _ in batch)])
            durable = True
        except StorageUnavailable:
            durable = False
        if before is not None:
            await asyncio.wait([before])
        if durable:
            fault("writer.after_commit")
            self.figures.last_commit_s = loop.time() - begun
            self.figures.committed += len(batch)
        else:
            self._kept.extend(kept)
            self._kept.extend(item for item, settled in batch if settled is None)
            self.figures.failed += len(batch)
        self._settle(batch, durable=durable)
        self.figures.batches += 1
        self.figures.last_batch = len(batch)
        self._flying -= 1
        if not (self._queue or self._flying):
            self._idle.set()

    async def drained(self) -> None:
        """Return when nothing is queued and nothing is being committed.

        What was kept through an outage gets one more commit.
        """
        if self._kept:
            self._idle.clear()
            self._wake.set()
        await self._idle.wait()

    def _take(self) -> Batch:
        if len(self._queue) <= self._max_batch:
            batch = list(self._queue)
            self._queue.clear()
            return batch
        return [self._queue.popleft() for _ in range(self._max_batch)]

    @staticmethod
    def _settle(batch: Batch, *, durable: bool) -> None:
        for _, settled in batch:
            if settled is not None:
                settled(durable)
