"""`truetrack run`: the gateway with its database, until it is told to stop."""

import asyncio
import gc
import os
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from socket import gethostname
from typing import Any, ParamSpec

import click

from cli.database import DatabaseUrl
from gateway import config as configuration
from gateway.config import Config
from gateway.errors import StartError
from gateway.server import Claim, Server
from model.device import DevicePolicy
from storage.embedded import EmbeddedPostgres
from storage.maintenance import maintain
from storage.migrate import migrate
from storage.postgres import PostgresStore
from storage.store import StorageUnavailable

P = ParamSpec("P")

POLICIES = {
    DevicePolicy.KNOWN: "unknown devices are quarantined, see `truetrack devices list`",
    DevicePolicy.REGISTER: "unknown devices are registered as they come",
}


@click.command(name="run")
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="TRUETRACK_CONFIG",
    help="A TOML file. Default: every protocol on loopback.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="TRUETRACK_DATA_DIR",
    help="Where database and spool live. Default: the file's data_dir, else ./data.",
)
@click.option(
    "--database-url",
    type=DatabaseUrl(),
    envvar="TRUETRACK_DATABASE_URL",
    show_envvar=True,
    metavar="URL",
    help="A Postgres of yours instead of our own.",
)
@click.option(
    "--policy",
    type=click.Choice(list(DevicePolicy), case_sensitive=False),
    help="What becomes of unknown devices. Default: the file's, else known.",
)
def command(
    file: Path | None,
    data_dir: Path | None,
    database_url: str | None,
    policy: DevicePolicy | None,
) -> int:
    """Receive, store and answer: the gateway with its database.

    A device is told "received" after its position is durable in Postgres. SIGTERM or Ctrl-C
    answers what is owed and stops; exit code 1 when something was left unanswered.

    \b
    Example:
      truetrack run --policy register
      truetrack run --config /etc/truetrack.toml --data-dir /var/lib/truetrack
    """  # noqa: D301
    config = configuration.load(file) if file else configuration.default()
    if data_dir is not None:
        config = replace(config, data_dir=data_dir)
    if database_url is not None:
        config = replace(config, database_url=database_url)
    if policy is not None:
        config = replace(config, policy=policy)
    try:
        return 0 if _loop(_run(config)) else 1
    except asyncio.CancelledError:  # told to stop before it listened: nothing was owed
        return 0


def _loop(main: Coroutine[Any, Any, bool]) -> bool:
    try:
        import uvloop  # noqa: PLC0415 - faster, and not on every platform
    except ImportError:
        return asyncio.run(main)
    return uvloop.run(main)


async def _run(config: Config) -> bool:
    task = asyncio.current_task()
    assert task is not None
    # Until the server listens for it; Ctrl-C does the same by itself.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    # Said before a database is started; the server claims it for good.
    Claim(config.data_dir).release()
    embedded = None if config.database_url else EmbeddedPostgres(config.data_dir)
    try:
        if embedded is not None:
            await _whole(embedded.start)
        url = embedded.url if embedded is not None else config.database_url
        try:
            await _whole(migrate, url)
        except StorageUnavailable as error:
            raise StartError(
                f"the database: {error}; start it, or mend --database-url or database_url"
            ) from error
        return await _serve(config, url, embedded)
    finally:
        if embedded is not None:
            await asyncio.to_thread(embedded.stop)


async def _whole(function: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """In a thread, which cannot be stopped half-way: a cancellation waits for its end."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        raise


async def _serve(config: Config, url: str, embedded: EmbeddedPostgres | None) -> bool:
    name = f"{gethostname()}:{config.data_dir.absolute()}"

    async def upkeep() -> None:
        if embedded is not None:
            await asyncio.to_thread(embedded.revive)
        await maintain(url, gateway=name, keep=config.retention)

    store = PostgresStore(url)
    try:
        await maintain(url, gateway=name, starting=True)
        server = Server(
            config,
            store,
            upkeep=upkeep,
            version=version("truetrack"),
            report=lambda text: click.echo(f"truetrack: {text}", err=True),
        )
        async with server:
            _greet(config, server, embedded)
            _spare_the_collector()
            return await server.serve(signals=True)
    finally:
        await store.close()


def _spare_the_collector() -> None:
    """What is loaded by now stays; and a batch of a thousand records is not garbage yet."""
    sys.setswitchinterval(0.0005)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _greet(config: Config, server: Server, embedded: EmbeddedPostgres | None) -> None:
    """What is open, for whoever started it; on stderr, since nothing was asked for."""
    where = f"our own Postgres in {embedded.cluster}" if embedded else "yours"
    lines = [f"Truetrack {version('truetrack')}", f"  database  {where}"]
    lines += [f"  devices   {url}  {name}" for name, url in server.open_ways()]
    lines.append(f"  policy    {config.policy}: {POLICIES[config.policy]}")
    if config.health:
        lines.append(f"  health    {server.health_url}/healthz and /metrics")
    lines.append(f"ready; Ctrl-C stops, `{_program()} tail` shows what arrives")
    click.echo("\n".join(lines), err=True)


def _program() -> str:
    """The command as it can be typed: that of a clone is not on the PATH."""
    name = "truetrack"
    if shutil.which(name) or Path(sys.argv[0]).name != name:
        return name
    return os.path.relpath(sys.argv[0])
