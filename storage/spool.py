"""The spool: what came over a link that cannot be answered is on disk before it is read on.

Segments of records, each `length u32, crc32 u32, payload`, and a cursor that says how far the
database has them. A torn last record (power cut while writing) is cut off at the next start.
The cursor may lag after a crash: what is then committed again changes nothing.

A new process never appends to a segment that another left. What follows the last synced byte
there is worth nothing after a failed fsync or a power cut, and the cursor may point behind it:
records written there later could be passed over.
"""

import errno
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from typing import Protocol

from model import fault

_HEAD = Struct("<II")
_SEED = 0x7472756C  # of the checksum: zeros that a power cut leaves must not read as a record
_NAME = "{:012d}.spool"
_CURSOR = "cursor"
_STORED_CURSOR = re.compile(rb"(\d+) (\d+)\n")  # the end mark shows that it is whole
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


class SpoolBroken(Exception):
    """The disk refused to make data safe; what it holds is unknown until a restart reads it."""


class SpoolFull(Exception):
    """No room for another record."""


class Disk(Protocol):
    """The few operations that the spool needs, so that a simulation can lose, tear and refuse."""

    def names(self) -> list[str]: ...
    def read(self, name: str, offset: int, length: int) -> bytes: ...
    def size(self, name: str) -> int: ...
    def append(self, name: str, data: bytes) -> None: ...
    def sync(self, name: str) -> None: ...
    def truncate(self, name: str, length: int) -> None: ...
    def replace(self, name: str, data: bytes) -> None: ...
    def remove(self, name: str) -> None: ...


class FileDisk:
    """Files of one folder. `sync` also makes a new file's name durable."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._open: dict[str, int] = {}

    def names(self) -> list[str]:
        return sorted(path.name for path in self._folder.iterdir())

    def read(self, name: str, offset: int, length: int) -> bytes:
        with (self._folder / name).open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def size(self, name: str) -> int:
        return (self._folder / name).stat().st_size

    def append(self, name: str, data: bytes) -> None:
        descriptor = self._descriptor(name)
        while data:
            data = data[os.write(descriptor, data) :]

    def sync(self, name: str) -> None:
        os.fdatasync(self._descriptor(name))

    def truncate(self, name: str, length: int) -> None:
        os.ftruncate(self._descriptor(name), length)
        os.fsync(self._descriptor(name))

    def replace(self, name: str, data: bytes) -> None:
        fresh = self._folder / f"{name}.new"
        fresh.write_bytes(data)
        fresh.rename(self._folder / name)

    def remove(self, name: str) -> None:
        if (descriptor := self._open.pop(name, None)) is not None:
            os.close(descriptor)
        (self._folder / name).unlink(missing_ok=True)

    def close(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def _descriptor(self, name: str) -> int:
        if (descriptor := self._open.get(name)) is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            descriptor = self._open[name] = os.open(self._folder / name, flags, 0o600)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        return descriptor


class Spool:
    """A queue of byte records on a disk.

    `append` and `sync` write, `read` looks ahead without taking, `release` takes. All are
    synchronous: one append and one fdatasync serve everything that came in one turn of the loop.
    """

    def __init__(
        self, disk: Disk, *, segment_bytes: int = 8 << 20, max_bytes: int = 1 << 30
    ) -> None:
        self._disk = disk
        self._segment_bytes = segment_bytes
        self._max_bytes = max_bytes
        self._segments = [name for name in disk.names() if name.endswith(".spool")]
        self._read_at = self._stored_cursor()
        for name in self._segments:
            self._cut_torn_tail(name)
        # The cursor may be ahead of the files: a power cut can take a segment and leave it.
        at, _ = self._read_at
        newest = max([at, *map(_number, self._segments)])
        self._segments.append(_NAME.format(newest + 1))
        if _NAME.format(at) not in self._segments:
            self._read_at = (min(n for n in map(_number, self._segments) if n > at), 0)
        self._dirty = False

    @property
    def backlog_bytes(self) -> int:
        """How much is waiting for the database."""
        number, offset = self._read_at
        return sum(self._size(name) for name in self._segments if _number(name) >= number) - offset

    def append(self, payloads: list[bytes]) -> None:
        """Write records, not yet safe: all of them or none.

        Raises SpoolFull, also where the disk has no room, and OSError where it refuses.
        """
        data = b"".join(_HEAD.pack(len(p), zlib.crc32(p, _SEED)) + p for p in payloads)
        if self.backlog_bytes + len(data) > self._max_bytes:
            raise SpoolFull(f"the spool holds its limit of {self._max_bytes} bytes")
        name = self._segments[-1]
        before = self._size(name)
        if before >= self._segment_bytes:
            self.sync()
            name = _NAME.format(_number(name) + 1)
            self._segments.append(name)
            before = 0
        try:
            self._disk.append(name, data)
        except OSError as error:
            # Half a record must not stay in front of what comes later.
            self._disk.truncate(name, before)
            if error.errno in _NO_ROOM:
                raise SpoolFull(f"no room on the disk: {error}") from error
            raise
        self._dirty = True

    def sync(self) -> None:
        """Make everything appended safe. Raises SpoolBroken: after a failed fsync no retry helps."""
        if not self._dirty:
            return
        fault("spool.before_sync")
        try:
            self._disk.sync(self._segments[-1])
        except OSError as error:
            raise SpoolBroken(f"the disk did not make the spool safe: {error}") from error
        self._dirty = False

    def read(self, max_bytes: int = 1 << 20) -> tuple[list[bytes], tuple[int, int]]:
        """Records that wait, oldest first, and the cursor that releases them."""
        number, offset = self._read_at
        for name in self._segments:
            if _number(name) < number:
                continue
            start = offset if _number(name) == number else 0
            data = self._disk.read(name, start, max_bytes) if self._size(name) > start else b""
            records, used = _records(data)
            if not records and len(data) >= max_bytes:  # one record larger than the window
                data = self._disk.read(name, start, self._size(name) - start)
                records, used = _records(data)
            if records:
                return list(records), (_number(name), start + used)
        return [], self._read_at

    def release(self, cursor: tuple[int, int]) -> None:
        """Everything before `cursor` is in the database."""
        self._read_at = cursor
        fault("spool.before_release")
        try:
            self._disk.replace(_CURSOR, b"%d %d\n" % cursor)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            # The cursor lags, which harms nothing; removing segments is what makes room.
        for name in [n for n in self._segments[:-1] if _number(n) < cursor[0]]:
            self._disk.remove(name)
            self._segments.remove(name)

    def _stored_cursor(self) -> tuple[int, int]:
        first = _number(self._segments[0]) if self._segments else 0
        if _CURSOR not in self._disk.names():
            return first, 0
        stored = _STORED_CURSOR.fullmatch(self._disk.read(_CURSOR, 0, 64))
        # A torn cursor starts from the oldest segment: committing again is harmless.
        if stored is None or int(stored[1]) < first:
            return first, 0
        return int(stored[1]), int(stored[2])

    def _cut_torn_tail(self, name: str) -> None:
        size = self._size(name)
        _, used = _records(self._disk.read(name, 0, size))
        if used < size:
            self._disk.truncate(name, used)
        number, offset = self._read_at
        if _number(name) == number and offset > used:
            self._read_at = (number, used)

    def _size(self, name: str) -> int:
        return self._disk.size(name) if name in self._disk.names() else 0


def _number(name: str) -> int:
    return int(name.removesuffix(".spool"))


def _records(data: bytes) -> tuple[list[bytes], int]:
    """Whole, undamaged records from the start of `data`, and where they end."""
    found = list(_walk(data))
    return [payload for payload, _ in found], found[-1][1] if found else 0


def _walk(data: bytes) -> Iterator[tuple[bytes, int]]:
    at = 0
    while at + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, at)
        end = at + _HEAD.size + length
        if end > len(data):
            return
        payload = data[at + _HEAD.size : end]
        if zlib.crc32(payload, _SEED) != checksum:
            return
        yield payload, end
        at = end
