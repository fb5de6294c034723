"""Time comes from the loop and from the one injected clock; chance from an injected generator."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
THE_CLOCK = "gateway/clock.py"
FORBIDDEN = re.compile(
    r"\btime\.(time|time_ns|monotonic|monotonic_ns|perf_counter|sleep)\b|\bfrom time import"
    r"|\bdatetime\.(now|utcnow|today)\b|\bdate\.today\b"
    r"|\brandom\.(?!Random\b)\w|\bfrom random import (?!Random\b)|\bsecrets\.|\bos\.urandom\b"
)
FOLDERS = ("gateway", "protocols")
FILES = ("storage/writer.py", "storage/spool.py", "storage/store.py", "storage/model_store.py")


def simulated() -> list[Path]:
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return sorted([*found, *(ROOT / name for name in FILES)])


@pytest.mark.parametrize("path", simulated(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_clock_and_no_chance_of_its_own(path):
    if path == ROOT / THE_CLOCK:
        return
    lines = path.read_text().splitlines()
    found = [f"{n}: {text.strip()}" for n, text in enumerate(lines, 1) if FORBIDDEN.search(text)]
    # `self.rng.random()` draws from an injected generator.
    assert [line for line in found if "rng.random()" not in line] == []


def test_the_pattern_sees_what_it_must():
    for text in (
        "now = time.time()",
        "from time import monotonic",
        "datetime.now(UTC)",
        "random.random()",
        "from random import choice",
        "secrets.token_hex()",
    ):
        assert FORBIDDEN.search(text)
    assert not FORBIDDEN.search("from random import Random")
    assert not FORBIDDEN.search("loop.time()")
