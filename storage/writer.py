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
AT_ONCE = 4  # batches with the store, one being committed and others packed behind it


@dataclass(slots=True)
class WriterFigures:
    committed: int = 0
    failed: int = 0
    batches: int = 0
    last_batch: int = 0
    last_commit_s: float = 0.0


class Writer:
    """The one road into the store. Not thread-safe; lives on the loop that runs it."""

    def __init__(self, store: Store, *, max_batch: int = 400, max_queue: int = 100_000) -> None:
        self._store = store
        self._max_batch = max_batch
        self._worthwhile = max(2, max_batch // 2)
        self._max_queue = max_queue
        self._queue: deque[tuple[Item, Settled | None]] = deque()
        self._kept: deque[Item] = deque(maxlen=MAX_KEPT)
        self._wake = asyncio.Event()
        self._flying = 0
        self._draining = False
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
        if len(self._queue) in (1, self._worthwhile):
            self._idle.clear()
            self._wake.set()

    async def run(self) -> None:
        """Commit until cancelled. Call once. Any error but StorageUnavailable ends it.

        While a batch is with the store, what queues waits for the next, unless it has become
        worth a batch of its own: then it is packed at once and stands behind the first, so that
        neither side waits for the other. Verdicts are given in the order of submission.
        """
        try:
            async with asyncio.TaskGroup() as commits:
                await self._feed(commits)
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from group

    async def _feed(self, commits: asyncio.TaskGroup) -> None:
        before: asyncio.Task[None] | None = None
        while True:
            await self._wake.wait()
            self._wake.clear()
            # One turn of the loop, so that what arrived together is committed together.
            await asyncio.sleep(0)
            while self._due():
                batch, kept = self._take(), list(self._kept)
                self._kept.clear()
                self._flying += 1
                before = commits.create_task(self._commit(batch, kept, before))

    def _due(self) -> bool:
        if not self._flying:
            return bool(self._queue) or (self._draining and bool(self._kept))
        return self._flying < AT_ONCE and len(self._queue) >= self._worthwhile

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
        if self._queue:
            self._wake.set()
        elif not self._flying:
            self._idle.set()

    async def drained(self) -> None:
        """Return when nothing is queued and nothing is being committed.

        What was kept through an outage gets one more commit.
        """
        self._draining = True
        if self._kept:
            self._idle.clear()
            self._wake.set()
        await self._idle.wait()
        self._draining = False

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
