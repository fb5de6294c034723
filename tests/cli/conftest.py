"""The program, run within the tests' own process: its exit code, and what it wrote."""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cli import main
from tests.cli import toy


@dataclass(frozen=True, slots=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


Truetrack = Callable[..., Said]


@pytest.fixture
def truetrack(capsys, monkeypatch) -> Truetrack:
    """`truetrack("decode", "h02", stdin=b"...")`."""
    for name in ("TRUETRACK_DATABASE_URL", "TRUETRACK_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object, stdin: bytes = b"") -> Said:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code = main.run([str(argument) for argument in arguments])
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def toy_protocol(monkeypatch):
    toy.install(monkeypatch.setattr)


def one_line(said: Said) -> str:
    """What a failure says: one line on stderr, nothing on stdout."""
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1, said.err
    return lines[0]
