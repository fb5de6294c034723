"""What can be seen and done from outside of a running Postgres: its pid file and its processes.

postmaster.pid, by lines: 1 process, 2 data directory, 3 start time, 4 port,
                          5 socket directory, 6 address, 7 shared memory, 8 state
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from storage.errors import DatabaseStartError

_PID_FILE = "postmaster.pid"
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Postmaster:
    pid: int
    socket_dir: Path
    ready: bool


def read(data: Path) -> Postmaster | None:
    """What the pid file says; None when there is none, or one that is still being written."""
    try:
        lines = (data / _PID_FILE).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return None
    if len(lines) < 5 or not lines[0].isdigit():
        return None
    ready = len(lines) > 7 and lines[7].startswith("ready")
    return Postmaster(int(lines[0]), Path(lines[4]), ready)


def alive(pid: int) -> bool:
    """Whether it runs. One that ended and that nobody has waited for does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        return ") Z " not in (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return True


def serves(pid: int, data: Path) -> bool:
    """Is this the server of that data directory, and not a process that reuses its number?"""
    if not alive(pid):
        return False
    try:
        return (_PROC / str(pid) / "cwd").samefile(data)
    except FileNotFoundError:  # it has just ended
        return False
    except OSError:
        return True  # cannot be told from here; a connection will


def end(pid: int, gone: Callable[[], bool], patience_s: float) -> None:
    """Fast shutdown, then the immediate one, which costs the next start a recovery."""
    orders = [(signal.SIGINT, patience_s), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)]
    for order, patience in orders:
        try:
            os.kill(pid, order)
        except ProcessLookupError:
            return
        until = time.monotonic() + patience
        while not gone() and time.monotonic() < until:
            time.sleep(0.01)
        if gone():
            return
    raise DatabaseStartError(f"the Postgres process {pid} does not end")


def clear(data: Path, patience_s: float) -> None:
    """What a killed postmaster leaves: children that will notice, and its lock files.

    Postgres takes the files for a living server's while the process waits for somebody to
    collect it, which in a container without an init may be for ever.
    """
    if not (data / _PID_FILE).exists():
        return
    until = time.monotonic() + patience_s
    while left := _processes_in(data):
        if time.monotonic() > until:
            raise DatabaseStartError(f"processes of a dead Postgres do not end: {left}")
        time.sleep(0.02)
    dead = read(data)
    if dead is not None and dead.socket_dir.is_dir():
        for path in dead.socket_dir.glob(".s.PGSQL.*"):
            path.unlink(missing_ok=True)
    (data / _PID_FILE).unlink(missing_ok=True)


def _processes_in(data: Path) -> list[int]:
    """Living processes that work in the data directory, as every process of its server does."""
    found = []
    for entry in _PROC.iterdir() if _PROC.is_dir() else ():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if (entry / "cwd").samefile(data) and alive(int(entry.name)):
                    found.append(int(entry.name))
            except OSError:  # gone, or not ours
                continue
    return found
