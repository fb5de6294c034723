"""A real gateway and a real Postgres, as processes that a test can kill."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

START_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Gateway:
    """`truetrack run` with a configuration file."""

    def __init__(self, folder: Path, sources: str, database_url: str = "") -> None:
        self.health_port = free_port()
        self.folder = folder
        self.file = folder / "truetrack.toml"
        self.file.write_text(
            f'data_dir = "{folder / "data"}"\n'
            f'database_url = "{database_url}"\n'
            f'policy = "register"\n'
            f'health = "http://127.0.0.1:{self.health_port}"\n'
            f"{sources}"
        )
        self.log = folder / "gateway.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "run", "--config", str(self.file)],
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL: no chance to say anything."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    async def stop(self) -> int:
        """SIGTERM, and the exit code."""
        assert self._process is not None
        self._process.terminate()
        code = await asyncio.to_thread(self._process.wait, 60)
        self._process = None
        return code

    async def ready(self) -> None:
        """Wait until it listens."""
        async with asyncio.timeout(START_S):
            while await self.get("/metrics") is None:
                assert self._process is not None
                assert self._process.poll() is None, self.log.read_text()[-4000:]
                await asyncio.sleep(0.05)

    async def get(self, path: str) -> str | None:
        """A page of its health port; None when nobody answers."""
        url = f"http://127.0.0.1:{self.health_port}{path}"

        def fetch() -> str | None:
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:
                    return str(answer.read().decode())
            except urllib.error.HTTPError as error:
                return str(error.read().decode())
            except OSError:
                return None

        return await asyncio.to_thread(fetch)

    async def metric(self, name: str) -> float:
        """The sum over all labels; 0 where there is none yet."""
        text = await self.get("/metrics") or ""
        lines = [line for line in text.splitlines() if line.startswith((name + "{", name + " "))]
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines)
