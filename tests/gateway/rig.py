"""A gateway without sockets on a loop with a clock of its own, for tests of its parts."""

import asyncio
import functools
import itertools
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from gateway.core import Core
from gateway.link import Done, LinkInfo
from gateway.source import Limits, Source
from gateway.transports.memory import MemoryLink
from model import DeviceIdentity
from model.device import Device, DevicePolicy, DeviceState, Durability, Item
from storage.model_store import ModelStore
from storage.spool import Spool
from storage.store import StorageUnavailable
from tests.simulation import line
from tests.simulation.disk import Platter, SimDisk
from tests.simulation.faults import Faults
from tests.simulation.loop import VirtualLoop

line.install()

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT_S = int(START.timestamp())


def virtual(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test in virtual time: an hour's wait takes no time, and a hang is an error."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        loop = VirtualLoop()
        try:
            loop.run_until_complete(test(*arguments, **named))
        finally:
            for task in asyncio.all_tasks(loop):
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    return run


class GateStore(ModelStore):
    """The model store behind a gate: a commit waits for it, and may be refused or half heard."""

    def __init__(self, **limits: int) -> None:
        super().__init__(**limits)
        self.open = asyncio.Event()
        self.open.set()
        self.away = False
        self.answer_lost = False
        self.commits: list[list[Item]] = []
        self.admissions = 0

    async def commit(self, items: Sequence[Item]) -> None:
        self.commits.append(list(items))
        await self.open.wait()
        if self.away:
            raise StorageUnavailable("away")
        await super().commit(items)
        if self.answer_lost:
            raise StorageUnavailable("answer lost")

    async def devices(self) -> list[Device]:
        if self.away:
            raise StorageUnavailable("away")
        return await super().devices()

    async def admit(self, identity: DeviceIdentity, policy: DevicePolicy) -> Device:
        self.admissions += 1
        await asyncio.sleep(0.01)
        if self.away:
            raise StorageUnavailable("away")
        return await super().admit(identity, policy)

    def know(self, ident: str, **settings: str) -> Device:
        identity = DeviceIdentity(protocol="line", ident=ident)
        device = Device(
            id=len(self.register) + 1,
            identity=identity,
            state=DeviceState.ACTIVE,
            settings=settings,
        )
        self.register[identity] = device
        return device


class Rig:
    """A core that runs, with one source."""

    def __init__(
        self,
        *,
        store: GateStore | None = None,
        policy: DevicePolicy = DevicePolicy.KNOWN,
        limits: Limits | None = None,
        protocol: str = "line",
        platter: Platter | None = None,
        spool_bytes: int = 1 << 20,
    ) -> None:
        self.store = store or GateStore()
        self.disk = SimDisk(platter or Platter(), Faults(0, lambda: 0.0, frozenset()))
        numbers = itertools.count(1)
        self.core = Core(
            self.store,
            policy=policy,
            wall_clock=self.wall_clock,
            new_id=lambda: UUID(int=next(numbers)),
            spool=Spool(self.disk, max_bytes=spool_bytes),
            version="1",
        )
        self.source: Source = self.core.source("here", protocol, limits=limits)
        self.running: asyncio.Task[None] | None = None

    @staticmethod
    def wall_clock() -> datetime:
        return START + timedelta(seconds=asyncio.get_running_loop().time())

    async def start(self) -> "Rig":
        self.running = asyncio.create_task(self.core.run())
        await asyncio.sleep(0.1)
        return self

    def link(
        self,
        *,
        network: str = "10.0.0.1",
        ident: str | None = None,
        durability: Durability = Durability.COMMIT,
    ) -> MemoryLink:
        info = LinkInfo(
            transport="memory",
            peer=f"{network}:4000",
            network=network,
            durability=durability,
            ident=ident,
        )
        return MemoryLink(self.source.accept, info=info)


def said(number: int, *, resent: bool = False, fixes: int = 1) -> bytes:
    """A report, with places that its number makes its own."""
    places = tuple((AT_S - 1000 + number, number % 80_000, k) for k in range(fixes))
    return line.report(number, places, resent=resent)


def noted(into: list[int], number: int) -> Done:
    return lambda: into.append(number)
