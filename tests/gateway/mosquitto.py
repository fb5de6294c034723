"""A real broker for tests: Mosquitto on a free port, with its state in a folder of the test.

It can be stopped, killed and started again, and keeps its port and its persistent sessions; over
a kill it keeps only what it had saved, which `SAVES_AT_ONCE` makes all it had answered.
"""

import asyncio
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

BINARY = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
SAVES_AT_ONCE = ("autosave_on_changes true", "autosave_interval 1")
WITHIN_S = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Broker:
    """`lines` are added to the configuration; `listener` to what the listener says."""

    def __init__(self, folder: Path, *lines: str, anonymous: bool = True):
        if BINARY is None:
            pytest.skip("mosquitto is not installed, so nothing was tested against a real broker")
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        self._config.write_text(
            "\n".join(
                (
                    f"listener {self.port} 127.0.0.1",
                    f"allow_anonymous {str(anonymous).lower()}",
                    "user root",  # stay who we are, where we are root: the folder is ours
                    "persistence true",
                    f"persistence_location {folder}/",
                    "set_tcp_nodelay true",
                    "max_queued_messages 0",
                    *lines,
                    "",
                )
            )
        )

    async def start(self) -> None:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [BINARY or "", "-c", str(self._config)], stdout=log, stderr=log
            )
        async with asyncio.timeout(WITHIN_S):
            while True:
                assert self._process.poll() is None, self._log.read_text()
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.02)
                    continue
                writer.close()
                await writer.wait_closed()
                return

    async def forgets(self, client_id: str) -> None:
        """Until the broker has read all that a client had sent before it went."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                log = self._log.read_text()
                came = log.count(f" as {client_id} (")
                if came == sum(
                    log.count(f"Client {client_id} {went}")
                    for went in ("disconnected", "closed its connection", "already connected")
                ):
                    return
                await asyncio.sleep(0.01)

    def stop(self) -> None:
        """In order: its state is on disk afterwards."""
        self._end("terminate")

    def kill(self) -> None:
        self._end("kill")

    def _end(self, how: str) -> None:
        if self._process is not None:
            getattr(self._process, how)()
            self._process.wait(WITHIN_S)
            self._process = None
