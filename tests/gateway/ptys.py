"""A serial cable made of a pty: it can be plugged in, spoken over and pulled out.

A pty keeps everything about a port but its rate, parity and modem lines, which it ignores.
"""

import os
import tty
from pathlib import Path


class Cable:
    """One receiver; `link` is the stable name under which each new pty appears."""

    def __init__(self, link: Path):
        self.link = link
        self._ends: tuple[int, int] | None = None

    def plug(self) -> str:
        """Returns the device's own path, which is another one after each plugging."""
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        self._ends = master, slave
        device = os.ttyname(slave)
        fresh = self.link.with_name(f".{self.link.name}.new")
        fresh.symlink_to(device)
        fresh.rename(self.link)
        return device

    @property
    def ends(self) -> tuple[int, int]:
        """The receiver's end of the pty, and the port's."""
        assert self._ends is not None
        return self._ends

    def say(self, data: bytes) -> None:
        assert os.write(self.ends[0], data) == len(data)

    def read(self) -> bytes:
        """What the port was sent."""
        return os.read(self.ends[0], 4096)

    def unplug(self) -> None:
        if self._ends is not None:
            for end in self._ends:
                os.close(end)
            self._ends = None
            self.link.unlink()


def sentence(body: str, start: str = "$") -> bytes:
    """`body` with its checksum and end, as the wire carries it."""
    checksum = 0
    for byte in body.encode():
        checksum ^= byte
    return f"{start}{body}*{checksum:02X}\r\n".encode()
