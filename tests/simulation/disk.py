"""A disk in memory that may lose what was not synced, tear the last write, refuse and be full.

It outlives the process that writes to it; `SimDisk` is one process's way to it. The rules are
those of Linux: what a killed process wrote is still readable; after a failed fsync the data is
readable too, believed clean, and gone at the next power cut.
"""

import errno
from dataclasses import dataclass, field
from random import Random

from tests.simulation.faults import Faults


class Killed(Exception):
    """The process is no more; whatever of it still runs gets this for an answer."""


@dataclass(slots=True)
class File:
    data: bytearray = field(default_factory=bytearray)
    synced: int = 0  # bytes that the kernel believes to be on the disk
    holes: list[tuple[int, int]] = field(default_factory=list)  # believed to be, and are not
    named: bool = False  # the folder's entry is on the disk
    former: bytes | None = None  # what a replacement replaced, until it is safe


class Platter:
    """The files of the spool's folder."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self._removed: dict[str, File] = {}  # a power cut may bring them back

    def remove(self, name: str) -> None:
        self._removed[name] = self.files.pop(name)

    def settle(self) -> None:
        """The folder is synced: what was removed stays so."""
        self._removed.clear()

    def power_cut(self, chance: Random) -> None:
        for name, file in self._removed.items():
            if name not in self.files and chance.random() < 0.5:
                self.files[name] = file
        self._removed.clear()
        for name, file in list(self.files.items()):
            if file.former is not None:
                torn = bytes(file.data[: chance.randrange(len(file.data) + 1)])
                file.data[:] = chance.choice((file.former, bytes(file.data), torn))
                file.former = None
            elif not file.named and chance.random() < 0.5:
                del self.files[name]
            else:
                for start, end in file.holes:
                    file.data[start:end] = bytes(end - start)
                kept = chance.randint(file.synced, len(file.data))
                torn_from = max(file.synced, kept - chance.randrange(8))
                file.data[torn_from:] = bytes(kept - torn_from)
            file.holes.clear()
            file.synced = len(file.data)
            file.named = True


class SimDisk:
    """The `Disk` of one process."""

    def __init__(self, platter: Platter, faults: Faults) -> None:
        self._platter = platter
        self._faults = faults
        self.dead = False
        self.safe: list[bytes] = []  # every byte string that a sync confirmed, in order
        self._unsafe: dict[str, list[bytes]] = {}

    def names(self) -> list[str]:
        self._live()
        return sorted(self._platter.files)

    def read(self, name: str, offset: int, length: int) -> bytes:
        self._live()
        return bytes(self._platter.files[name].data[offset : offset + length])

    def size(self, name: str) -> int:
        self._live()
        return len(self._platter.files[name].data)

    def append(self, name: str, data: bytes) -> None:
        self._live()
        file = self._file(name)
        for kind, number in (("disk full", errno.ENOSPC), ("disk EIO on write", errno.EIO)):
            if self._faults.strikes(kind):
                file.data += data[: self._faults.generator(kind).randrange(len(data))]
                raise OSError(number, kind)
        file.data += data
        self._unsafe.setdefault(name, []).append(data)

    def sync(self, name: str) -> None:
        self._live()
        file = self._file(name)
        if self._faults.strikes("disk EIO on sync"):
            file.holes.append((file.synced, len(file.data)))
            file.synced = len(file.data)
            raise OSError(errno.EIO, "disk EIO on sync")
        file.synced = len(file.data)
        file.named = True
        self._platter.settle()
        self.safe += self._unsafe.pop(name, [])

    def truncate(self, name: str, length: int) -> None:
        self._live()
        file = self._file(name)
        del file.data[length:]
        file.synced = min(file.synced, length)
        file.holes = [(start, min(end, length)) for start, end in file.holes if start < length]

    def replace(self, name: str, data: bytes) -> None:
        self._live()
        if self._faults.strikes("disk full"):
            raise OSError(errno.ENOSPC, "disk full")
        file = self._file(name)
        if file.former is None:
            file.former = bytes(file.data)
        file.data[:] = data

    def remove(self, name: str) -> None:
        self._live()
        self._platter.remove(name)

    def _live(self) -> None:
        if self.dead:
            raise Killed

    def _file(self, name: str) -> File:
        return self._platter.files.setdefault(name, File())
