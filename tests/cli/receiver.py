"""A serial receiver made of a pty: it speaks once an epoch and answers what it is told."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.gateway.ptys import Cable, sentence

SHARED = Path(__file__).parents[3] / "shared" / "vectors" / "gpsd"
Answer = Callable[[bytes], bytes]


def capture(name: str) -> Path:
    path = SHARED / f"{name}.log"
    if not path.exists():
        pytest.skip(f"the captures of receivers are not here: {path}")
    return path


def epoch(second: int) -> bytes:
    """One second of a receiver that sees five satellites of two systems and uses four."""
    time = f"1200{second % 60:02d}.00"
    return b"".join(
        map(
            sentence,
            [
                f"GNRMC,{time},A,4717.1137,N,00833.9157,E,12.500,77.52,091202,,,A",
                f"GNGGA,{time},4717.1137,N,00833.9157,E,1,04,1.01,499.6,M,48.0,M,,",
                "GNGSA,A,3,23,29,07,,,,,,,,,,1.94,1.18,1.54,1",
                "GNGSA,A,3,65,,,,,,,,,,,,1.94,1.18,1.54,2",
                "GPGSV,1,1,04,23,38,230,44,29,71,156,47,07,29,116,41,09,08,081,",
                "GLGSV,1,1,01,65,60,010,22",
                f"GNZDA,{time},09,12,2002,00,00",
            ],
        )
    )


@contextmanager
def receiver(
    tmp_path: Path, said: Callable[[int], bytes] = epoch, answer: Answer = lambda _: b"",
    *, period_s: float = 0.05,
) -> Iterator[tuple[str, Cable]]:  # fmt: skip
    """The path of a port on which a receiver speaks."""
    cable = Cable(tmp_path / "tty")
    cable.plug()
    ours, _ = cable.ends
    stop = threading.Event()

    def speak() -> None:
        heard, number = b"", 0
        while not stop.wait(period_s):
            with suppress(BlockingIOError):
                heard += os.read(ours, 4096)
            *lines, heard = heard.split(b"\r\n")
            for reply in [*map(answer, lines), said(number)]:
                with suppress(BlockingIOError):  # nobody listens: the line does not wait
                    os.write(ours, reply)
            number += 1

    thread = threading.Thread(target=speak)
    thread.start()
    try:
        yield str(cable.link), cable
    finally:
        stop.set()
        thread.join(10)
        cable.unplug()
