"""The gateway's process: a Core with its spool and its way to the database, until it is killed."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from gateway.core import Core
from gateway.session import Session
from gateway.source import Limits, Source
from model import DeviceIdentity
from model.device import Device, DevicePolicy, Item
from protocols.base import Checksum, DeviceProfile
from storage.model_store import ModelStore
from storage.spool import Spool, SpoolBroken
from storage.store import StorageUnavailable
from tests.simulation.dialects import SOURCES
from tests.simulation.disk import Killed, SimDisk
from tests.simulation.network import Wire

if TYPE_CHECKING:
    from tests.simulation.world import World

# A cable that is pulled out leaves half a sentence: without a checksum it could pass for one.
STRICT = DeviceProfile(checksum=Checksum.REQUIRE)


def sessions_of(source: Source) -> list[Session]:
    """A source's conversations as what they are, for those who look inside."""
    return [session for session in source.sessions if isinstance(session, Session)]


class SimStore:
    """One process's connection to the model of the database."""

    def __init__(self, world: "World", model: ModelStore) -> None:
        self._world = world
        self._model = model
        self.dead = False
        self._turn = asyncio.Lock()  # one connection: commits come one after the other

    async def commit(self, items: Sequence[Item]) -> None:
        async with self._turn:
            await self._commit(items)

    async def _commit(self, items: Sequence[Item]) -> None:
        faults, loop = self._world.faults, self._world.loop
        span_s = self._world.commit_s() + 8.0 * faults.strikes("commit slow")
        try:
            await asyncio.sleep(span_s)
        except asyncio.CancelledError:
            # The process is gone; the server may yet do what it had been sent.
            if faults.strikes("commit applied after the kill"):
                loop.call_later(span_s, self._model.apply, list(items))
            raise
        self._reachable()
        if faults.strikes("commit refused"):
            raise StorageUnavailable("refused")
        await self._model.commit(items)
        if faults.strikes("commit applied, answer lost"):
            raise StorageUnavailable("answer lost")

    async def devices(self) -> list[Device]:
        await self._asked()
        return await self._model.devices()

    async def admit(self, identity: DeviceIdentity, policy: DevicePolicy) -> Device:
        await self._asked()
        return await self._model.admit(identity, policy)

    async def close(self) -> None:
        """Nothing to give back."""

    async def _asked(self) -> None:
        await asyncio.sleep(self._world.commit_s())
        self._reachable()
        if self._world.faults.strikes("register unavailable"):
            raise StorageUnavailable("register unavailable")

    def _reachable(self) -> None:
        if self.dead:
            raise Killed
        if self._world.store_away:
            raise StorageUnavailable("away")


class Process:
    """From start to death. Raises OSError and SpoolBroken where the disk does not let it start."""

    def __init__(self, world: "World") -> None:
        self.alive = True
        self.wires: dict[Wire, None] = {}
        self.contacts: set[UUID] = set()
        self.disk = SimDisk(world.platter, world.faults)
        self.store = SimStore(world, world.model)
        scenario = world.scenario
        self.core = Core(
            self.store,
            policy=scenario.policy,
            wall_clock=world.wall_clock,
            new_id=self._new_id,
            spool=Spool(
                self.disk, segment_bytes=scenario.segment_bytes, max_bytes=scenario.spool_bytes
            ),
            version="1",
        )
        self._world = world
        limits = Limits(idle_s=45.0, outstanding=scenario.outstanding)
        for name in SOURCES:
            self.core.source(name, name, profile=STRICT, limits=limits)
        self.core.writer._max_batch = scenario.max_batch
        self.core.writer._max_queue = scenario.max_queue
        self.task = world.loop.create_task(self.core.run())
        self.task.add_done_callback(self._ended)

    def _new_id(self) -> UUID:
        contact = UUID(int=self._world.chance.getrandbits(128), version=4)
        self.contacts.add(contact)
        return contact

    def die(self) -> None:
        """SIGKILL: from this instant nothing of the process has any effect."""
        self.alive = False
        self.disk.dead = self.store.dead = True
        self.task.cancel()
        for wire in list(self.wires):
            wire.reset()
        for source in self.core.sources.values():
            for session in sessions_of(source):
                session.closed = True
                if session._timer is not None:
                    session._timer.cancel()
                if session._admitting is not None:
                    session._admitting.cancel()
        for admitting in list(self.core.directory._admitting.values()):
            admitting.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A process that ends by itself does so because its disk failed, and is started again."""
        error = None if task.cancelled() else task.exception()
        if self.alive and not self._world.over:
            if not _only(error, (OSError, SpoolBroken)):
                self._world.problem(f"the gateway ended by itself: {error!r}")
            self._world.died("its disk failed")
        elif error is not None and not _only(error, (Killed, OSError, SpoolBroken)):
            self._world.problem(f"the gateway failed while dying: {error!r}")


def _only(error: BaseException | None, kinds: tuple[type[BaseException], ...]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_only(part, kinds) for part in error.exceptions)
    return isinstance(error, kinds)
