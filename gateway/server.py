"""The gateway with its surroundings: sockets, ports, brokers, upkeep and signals, around a Core.

start: bind everything or nothing     serve: until told to stop     stop: drain, then close
"""

import asyncio
import errno
import fcntl
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit
from uuid import uuid4

from prometheus_client import CollectorRegistry

from gateway import health
from gateway.clock import WallClock, system_clock
from gateway.config import Config, SourceConfig, parse_listen
from gateway.core import Core
from gateway.errors import ConfigError, StartError
from gateway.metrics import GatewayCollector
from gateway.source import Source
from gateway.supervisor import Report
from gateway.transports import mqtt, serial, tcp, udp
from model.device import Durability
from storage.spool import FileDisk, Spool
from storage.store import StorageUnavailable, Store

log = logging.getLogger(__name__)

UPKEEP_S = 60.0

Upkeep = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Listener:
    """Something that accepts; what `close` does depends on what it is."""

    name: str  # of the source
    url: str
    close: Callable[[], None]


class Server:
    """Build it, then `async with server: await server.serve()`."""

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        upkeep: Upkeep,
        version: str = "",
        report: Report = log.info,
        wall_clock: WallClock = system_clock,
    ) -> None:
        """`upkeep` keeps the database in order; it raises StorageUnavailable."""
        self._config = config
        self._upkeep = upkeep
        self._report = report
        self._claim = Claim(config.data_dir)
        self._disk = FileDisk(config.data_dir / "spool")
        self.core = Core(
            store,
            policy=config.policy,
            wall_clock=wall_clock,
            new_id=uuid4,
            spool=Spool(self._disk, max_bytes=config.spool_bytes),
            version=version,
        )
        self._outgoing: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._listeners: list[Listener] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._stop = asyncio.Event()
        self.health_url = ""
        for name, settings in config.sources.items():
            protocol = settings.protocol or name
            self.core.source(name, protocol, profile=settings.profile, limits=settings.limits)
        self._registry = CollectorRegistry()
        figures = {name: source.figures for name, source in self.core.sources.items()}
        self._collector = GatewayCollector(figures, self.core.writer, self.core.desk)
        self._registry.register(self._collector)

    def open_ways(self) -> list[tuple[str, str]]:
        """Each source with its addresses, with the ports that were found for `:0`."""
        ways = [(listener.name, listener.url) for listener in self._listeners if listener.name]
        for name, settings in self._config.sources.items():
            ways += [
                (name, urlsplit(url)._replace(netloc=urlsplit(url).hostname or "").geturl())
                for url in (settings.open, settings.connect)
                if url
            ]
        return ways

    async def __aenter__(self) -> Self:
        """Bind every address. Raises StartError and ConfigError, and then nothing is bound."""
        try:
            for name, settings in self._config.sources.items():
                self._prepare(name, settings, self.core.sources[name])
            await self.core.refresh()
            for name, settings in self._config.sources.items():
                await self._listen(name, settings, self.core.sources[name])
            if self._config.health:
                await self._listen_health(self._config.health)
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._close_listeners()
        self._disk.close()
        self._claim.release()

    def stop(self) -> None:
        """Ask `serve` to drain and return."""
        self._stop.set()

    async def serve(self, *, signals: bool = False) -> bool:
        """Serve until `stop`, or a signal; True when everything owed was answered.

        SIGTERM and SIGINT drain; a second one ends at once.
        """
        loop = asyncio.get_running_loop()
        if signals:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._signalled)
        core = loop.create_task(self.core.run(), name="core")
        self._tasks = [
            core,
            loop.create_task(self._keep_up(), name="upkeep"),
            *(loop.create_task(_run(run), name=name) for name, run in self._outgoing),
        ]
        stopping = loop.create_task(self._stop.wait())
        try:
            await asyncio.wait([stopping, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
            await self._close_listeners()
            return not core.done() and await self.core.drain(self._config.drain_s)
        finally:
            failed = [task for task in self._tasks if task.done()]
            for task in (stopping, *self._tasks):
                task.cancel()
            await asyncio.wait([stopping, *self._tasks])
            if signals:
                for number in (signal.SIGTERM, signal.SIGINT):
                    loop.remove_signal_handler(number)
            for task in failed:
                task.result()  # a task that ended by itself failed; its error is ours

    def _signalled(self) -> None:
        if self._stop.is_set():
            os._exit(1)
        self._report("stopping: answering what is owed")
        self._stop.set()

    # opening

    async def _listen(self, name: str, settings: SourceConfig, source: Source) -> None:
        can_spool = not source.decoder.acknowledges
        durability = Durability.SPOOL if can_spool else Durability.COMMIT
        reuse_port = self._config.reuse_port
        for index, url in enumerate(settings.listen):
            scheme, host, port = parse_listen(f"sources.{name}.listen[{index}]", url)
            secure = None
            if scheme == "tls" and settings.tls.certificate and settings.tls.key:
                secure = tcp.secured(
                    settings.tls.certificate, settings.tls.key, settings.tls.client_ca
                )
            try:
                if scheme == "udp":
                    transport = await udp.listen(
                        host, port, source.accept, durability=durability, reuse_port=reuse_port
                    )
                    bound = transport.get_extra_info("sockname")
                    self._listeners.append(Listener(name, _url(scheme, bound), transport.close))
                else:
                    server = await tcp.listen(
                        host,
                        port,
                        source.accept,
                        durability=durability,
                        secure=secure,
                        reuse_port=reuse_port,
                    )
                    bound = server.sockets[0].getsockname()
                    self._listeners.append(Listener(name, _url(scheme, bound), server.close))
            except OSError as error:
                raise StartError(_not_bound(f"{url} (source {name})", error)) from error

    async def _listen_health(self, url: str) -> None:
        parts = urlsplit(url)
        try:
            server = await health.listen(
                parts.hostname or "", parts.port or 0, self._registry, lambda: self.core.trouble
            )
        except OSError as error:
            raise StartError(_not_bound(f"{url} (health)", error)) from error
        bound = server.sockets[0].getsockname()
        self.health_url = _url("http", bound)
        self._listeners.append(Listener("", self.health_url, server.close))

    def _prepare(self, name: str, settings: SourceConfig, source: Source) -> None:
        """Outgoing links begin with `serve`; what is wrong with them is said now."""
        if settings.open:
            try:
                port = serial.settings_from(settings.open)
            except ValueError as error:
                raise ConfigError(f"sources.{name}.open: {error}") from error
            _check_port(port.path)
            self._outgoing.append(
                (name, lambda: serial.run(port, source.accept, report=self._report))
            )
        if settings.connect:
            try:
                broker = mqtt.settings_from(
                    settings.connect,
                    source.protocol,
                    client_id=f"truetrack-{name}-{self._claim.instance}",
                    group=settings.group,
                    max_inflight=settings.max_inflight,
                )
            except ValueError as error:
                raise ConfigError(f"sources.{name}.connect: {error}") from error
            self._outgoing.append(
                (name, lambda: mqtt.run(broker, source.accept, report=self._report))
            )

    async def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        await asyncio.sleep(0)

    # keeping

    async def _keep_up(self) -> None:
        while True:
            with suppress(StorageUnavailable):
                await self._upkeep()
            await asyncio.sleep(UPKEEP_S)


class Claim:
    """A data directory is one process's; its name tells that process from all others for ever.

    A broker keeps what is unanswered under that name, so it must outlive the process.
    """

    def __init__(self, folder: Path) -> None:
        """Raises StartError when another process has it."""
        path = folder / "instance"
        try:
            folder.mkdir(mode=0o711, parents=True, exist_ok=True)
            self._file = path.open("a+")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(
                f"data directory {folder}: another gateway runs there; stop it or choose another"
            ) from None
        except OSError as error:
            raise StartError(f"data directory {folder}: {error.strerror}") from error
        self._file.seek(0)
        self.instance = self._file.read().strip()
        if not self.instance:
            self.instance = uuid4().hex[:12]
            self._file.write(self.instance)
            self._file.flush()

    def release(self) -> None:
        self._file.close()


async def _run(run: Callable[[], Awaitable[None]]) -> None:
    await run()


def _url(scheme: str, bound: tuple[str | int, ...]) -> str:
    host = f"[{bound[0]}]" if ":" in str(bound[0]) else bound[0]
    return f"{scheme}://{host}:{bound[1]}"


def _not_bound(what: str, error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        reason = "the port is in use; stop the other program or choose another port"
    if error.errno == errno.EACCES:
        reason = "permission denied; ports below 1024 need privileges"
    return f"cannot listen on {what}: {reason}"


def _check_port(path: str) -> None:
    """A port that is absent may be plugged in later; one that cannot be used is said now."""
    port = Path(path)
    if not port.exists():
        return
    if not port.is_char_device():
        raise StartError(f"{path} is no serial port")
    if not os.access(port, os.R_OK | os.W_OK):
        raise StartError(f"{path}: permission denied; add the user to the port's group (dialout)")
