"""The gateway without its surroundings: what is shared by all links of one process.

    Source.accept -> Session -> Directory, Writer, SpoolDesk -> Store

It opens no socket and reads no clock but the loop's and the one that it is given, so that the
simulation runs this very code.
"""

import asyncio
import logging

from gateway.clock import WallClock
from gateway.directory import Directory
from gateway.metrics import SourceFigures
from gateway.session import Session
from gateway.source import Limits, NewId, Source
from gateway.spooling import SpoolDesk
from model.device import CloseCause, DevicePolicy
from protocols import load
from protocols.base import DeviceProfile
from storage.spool import Spool
from storage.store import StorageUnavailable, Store
from storage.writer import Writer

log = logging.getLogger(__name__)

SWEEP_S = 1.0
REFRESH_S = 10.0
RETRY_S = 1.0
DRAIN_S = 10.0


class Core:
    """The sources of a gateway, and the tasks that serve them."""

    def __init__(
        self,
        store: Store,
        *,
        policy: DevicePolicy,
        wall_clock: WallClock,
        new_id: NewId,
        spool: Spool | None = None,
        version: str = "",
    ) -> None:
        """`new_id` gives contacts their UUIDs; `version` is archived with every frame."""
        self.store = store
        self.writer = Writer(store)
        self.directory = Directory(store, policy=policy)
        self.desk = None if spool is None else SpoolDesk(spool, self.writer, self.directory)
        self.sources: dict[str, Source] = {}
        self.trouble = "starting"  # why receipts cannot be given now; "" when they can
        self._wall_clock = wall_clock
        self._new_id: NewId = new_id
        self._version = version

    def source(
        self,
        name: str,
        protocol: str,
        *,
        profile: DeviceProfile | None = None,
        limits: Limits | None = None,
    ) -> Source:
        """Add a source. Raises UnknownProtocol."""
        source = Source(
            name=name,
            protocol=protocol,
            decoder=load(protocol).Decoder,
            version=f"{protocol}/{self._version}",
            profile=profile or DeviceProfile(),
            limits=limits or Limits(),
            directory=self.directory,
            converse=Session,
            submit=self.writer.submit,
            spool=None if self.desk is None else self.desk.put,
            crowded=lambda: self.writer.crowded,
            wall_clock=self._wall_clock,
            new_id=self._new_id,
            figures=SourceFigures(),
        )
        self.sources[name] = source
        return source

    async def run(self) -> None:
        """Serve until cancelled. Any other end is a fault that only a restart mends."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.writer.run())
            tasks.create_task(self._sweep())
            tasks.create_task(self._refresh())
            if self.desk is not None:
                tasks.create_task(self.desk.run())

    async def drain(self, within_s: float = DRAIN_S) -> bool:
        """Hear no more, answer what is owed, close all links; True when nothing is left over.

        Call it while `run` runs and when nothing is accepted any more.
        """
        for source in self.sources.values():
            for session in list(source.sessions):
                session.stop_reading()
        try:
            async with asyncio.timeout(within_s):
                while self._owing():
                    await self.writer.drained()
                    await asyncio.sleep(0.01)
                self._close_all()
                await self.writer.drained()
        except TimeoutError:
            self._close_all()
            return False
        return True

    def _owing(self) -> bool:
        """True while a device waits for an answer, or something is in memory alone."""
        return (self.desk is not None and self.desk.held > 0) or any(
            session.busy for source in self.sources.values() for session in source.sessions
        )

    def _close_all(self) -> None:
        for source in self.sources.values():
            for session in list(source.sessions):
                session.close(CloseCause.SHUTDOWN)

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(SWEEP_S)
            for source in self.sources.values():
                source.sweep(loop.time())

    async def refresh(self) -> None:
        """Read the register anew, which also shows whether the store is there.

        Raises StorageUnavailable.
        """
        try:
            await self.directory.refresh()
        except StorageUnavailable as error:
            self.trouble = f"the database does not answer: {error}"
            raise
        self.trouble = ""

    async def _refresh(self) -> None:
        """What an operator changed in the register holds within seconds."""
        while True:
            try:
                await self.refresh()
            except StorageUnavailable as error:
                log.info("the register waits for the database: %s", error)
            await asyncio.sleep(RETRY_S if self.trouble else REFRESH_S)
