"""The monitor in a real terminal (tmux): what a technician sees and what the keys do."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.cli.receiver import capture, receiver

ROOT = Path(__file__).parents[2]
PATIENCE_S = 20.0


class Terminal:
    """A shell in a window of tmux."""

    def __init__(self, width: int, height: int):
        self.name = f"truetrack-{uuid4().hex[:8]}"
        # A server of its own: nobody's settings or sessions are touched.
        self._tmux = ["tmux", "-L", self.name, "-f", "/dev/null"]
        self._run(
            "new-session", "-d", "-x", str(width), "-y", str(height), "-s", self.name,
            "env PS1='READY ' LC_ALL=C.UTF-8 sh",
        )  # fmt: skip

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._tmux, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        )
        return done.stdout

    def type(self, *keys: str) -> None:
        self._run("send-keys", "-t", self.name, *keys)

    def resize(self, width: int, height: int) -> None:
        self._run("resize-window", "-t", self.name, "-x", str(width), "-y", str(height))

    def lines(self) -> list[str]:
        return self._run("capture-pane", "-p", "-t", self.name).rstrip("\n").split("\n")

    def await_(self, shown: Callable[[str], object]) -> list[str]:
        """The window's lines, once their text is what is waited for."""
        end = time.monotonic() + PATIENCE_S
        while True:
            lines = self.lines()
            if shown("\n".join(lines)):
                return lines
            assert time.monotonic() < end, "\n".join(lines)
            time.sleep(0.05)

    def close(self) -> None:
        self._run("kill-server")


def has(*patterns: str) -> Callable[[str], object]:
    return lambda text: all(re.search(pattern, text) for pattern in patterns)


@pytest.fixture
def terminal() -> Iterator[Callable[[int, int], Terminal]]:
    if shutil.which("tmux") is None:
        pytest.skip("the monitor's screen is not seen by a terminal: tmux is not installed")
    opened: list[Terminal] = []

    def open_(width: int, height: int) -> Terminal:
        opened.append(Terminal(width, height))
        opened[-1].await_(has("READY"))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


def monitor(*arguments: object) -> str:
    return f"{sys.executable} -m cli.main serial monitor {' '.join(map(str, arguments))}"


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (160, 50)])
def test_a_capture_is_played(terminal, width, height):
    window = terminal(width, height)
    window.type(monitor(capture("ublox-8"), "--speed", 20), "Enter")
    lines = window.await_(
        has(r"3D fix", r"latitude +\d", r"sky: \d+ used of \d+", r"GPS +\d+ +\d+ +\d+ +\d+ +█")
    )
    assert len(lines) == height
    assert lines[-1].split()[:2] == ["q", "quit"]
    assert "$G" in "\n".join(lines[-9:-1])
    assert ("⠂" in "\n".join(lines)) == (width > 80)  # the plot of the sky
    window.type("q")
    window.await_(lambda text: "READY" in text and "latitude" not in text)


def test_the_keys_and_a_resize(terminal):
    window = terminal(120, 40)
    window.type(monitor(capture("ublox-8"), "--speed", 5), "Enter")
    window.await_(has(r"km/h", r"latitude +[\d.]+° [NS]"))
    window.type("u")
    window.await_(has(r"\d kn", r" u +nautical"))
    window.type("f")
    window.await_(has(r"latitude +\d+° [\d.]+' [NS]"))
    window.type("e")
    window.await_(has("fields", r"(?i)latitude=|lat=|talker|PDOP="))
    window.type("p")
    window.await_(has("paused", r" p +go on"))
    (time_then,) = re.findall(r"time +(\S+ \S+)", "\n".join(window.lines()))
    for size in ((80, 24), (50, 12), (20, 4), (160, 50)):
        window.resize(*size)
        window.await_(lambda text: len(text.split("\n")) <= size[1] and "Traceback" not in text)  # noqa: B023
    window.await_(has(r"paused", re.escape(time_then), r" p +go on"))
    window.type("Up", "F5")  # not ours, and no "leave"
    window.type("p")
    window.await_(lambda text: "paused" not in text and time_then not in text)
    window.type("q")
    window.await_(lambda text: "READY" in text and "latitude" not in text)
    window.type("stty -a | grep -o ' -\\?icanon'", "Enter")  # the terminal is as it was
    window.await_(has(r"(?m) icanon$"))


def test_a_live_port(terminal, tmp_path):
    window = terminal(120, 40)
    with receiver(tmp_path) as (port, _):
        window.type(monitor(port), "Enter")
        window.await_(
            has("tty  9600 baud", "3D fix, autonomous", r"47.2852283° N", r"23.2 km/h",
                r"GPS 3/4  GLONASS 1/1", r"days to our clock", "no errors")
        )  # fmt: skip
        window.type("C-c")
        window.await_(lambda text: "READY" in text and "latitude" not in text)


def test_a_port_that_goes_away_leaves_the_terminal_in_order(terminal, tmp_path):
    window = terminal(100, 30)
    with receiver(tmp_path) as (port, _):
        window.type(monitor(port), "Enter")
        window.await_(has("3D fix"))
    window.await_(has("went away: ", r"READY *$"))
