"""What a benchmark starts, waits for and ends."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def program(*arguments: str, port: int, log: Path) -> Iterator[int]:
    """A Python module as a process that listens on `port`; gives its process id."""
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - our own modules
            [sys.executable, "-m", *arguments], stdout=output, stderr=output
        )
    try:
        _await_listening(process, port, log)
        yield process.pid
    finally:
        process.terminate()
        process.wait(60)


@contextmanager
def gateway(folder: Path, url: str, port: int) -> Iterator[int]:
    """`truetrack run` for GT06 on `port`, without limits that a benchmark would meet."""
    file = folder / "truetrack.toml"
    file.write_text(
        f'data_dir = "{folder / "data"}"\ndatabase_url = "{url}"\npolicy = "register"\n'
        f'health = "http://127.0.0.1:{free_port()}"\n[sources.gt06]\n'
        f'listen = ["tcp://127.0.0.1:{port}"]\n'
        "[sources.gt06.limits]\nconnections = 100000\nconnections_per_address = 100000\n"
        "first_frame_s = 3600\nidle_s = 3600\n"
    )
    arguments = ("cli.main", "run", "--config", str(file))
    with program(*arguments, port=port, log=folder / "gateway.log") as pid:
        yield pid


def trackers(port: int, *options: str) -> dict[str, float]:
    """Run the load and return its figures."""
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "cli.load.trackers", str(port), *options],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-2000:])
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def resident_kib(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1])
    raise RuntimeError(f"no memory figure of process {pid}")


def _await_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(log.read_text()[-2000:])
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {port}: {log.read_text()[-2000:]}")
