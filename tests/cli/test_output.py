"""What is printed: JSON that any reader takes, tables that no device can disturb."""

import io
import json
import math
import os
import re
import signal
import subprocess
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.output import Output, cell, printable

ROOT = Path(__file__).parents[2]
TOY = [sys.executable, "-m", "tests.cli.toy"]


def program(*arguments: str, **how) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*TOY, *arguments], cwd=ROOT, stderr=subprocess.PIPE, **how)


@given(st.text())
def test_nothing_that_is_printed_moves_the_cursor(text):
    shown = printable(text)
    assert all(c.isprintable() or c == "\n" for c in shown)
    if text.isprintable():
        assert shown == text


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_every_line_is_json_that_strict_readers_take(value):
    caught = io.StringIO()
    with redirect_stdout(caught):
        Output(as_json=True).line({"value": value})
    line = caught.getvalue()
    assert line.endswith("\n")
    assert "\n" not in line[:-1]

    def refuse(constant):
        raise AssertionError(constant)

    json.loads(line, parse_constant=refuse)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, ""),
        (True, "yes"),
        (0, "0"),
        (0.0, "0"),
        (1.50, "1.5"),
        (-0.0000001, "-0.0000001"),
        ({"a": 1, "b": None}, "a=1 b="),
        (["x", 2.0], "x 2"),
        (math.inf, "inf"),
    ],
)
def test_cells(value, shown):
    assert cell(value) == shown


def test_a_table_gives_devices_no_markup(capsys):
    Output(as_json=False).table([{"name": "[bold]x[/]\x1b[2J"}], ["name"])
    out = capsys.readouterr().out
    assert "[bold]x[/]\\x1b[2J" in out


def test_an_empty_table_says_so_beside_the_output(capsys):
    Output(as_json=False).table([], ["name"])
    assert capsys.readouterr() == ("", "nothing to show\n")


def test_a_closed_pipe_is_no_error():
    """`truetrack decode ... | head -1`."""
    with program("decode", "toy", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as decode:
        assert decode.stdin and decode.stdout and decode.stderr
        decode.stdin.write(b"a1,1,2;")
        decode.stdin.flush()
        assert json.loads(decode.stdout.readline())["line"] == 1
        decode.stdout.close()
        with suppress(BrokenPipeError):  # it may leave before it has read all
            decode.stdin.write(b"a1,1,2;" * 20_000)
        with suppress(BrokenPipeError):
            decode.stdin.close()
        assert decode.wait() == 0
        assert decode.stderr.read() == b""


def test_on_a_terminal_it_is_a_table_and_in_a_pipe_json():
    ours, theirs = os.openpty()
    with program("decode", "toy", stdin=subprocess.PIPE, stdout=theirs) as decode:
        os.close(theirs)
        decode.communicate(b"a1,1,2;")
        assert decode.returncode == 0
    shown = os.read(ours, 65_536)
    os.close(ours)
    assert re.sub(rb"\x1b\[\d+m", b"", shown).split()[:2] == [b"line", b"kind"]
    with program("decode", "toy", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as decode:
        out, _ = decode.communicate(b"a1,1,2;")
    assert json.loads(out)["device"] == "a1"


def test_a_live_pipe_is_shown_as_it_comes():
    with program("decode", "toy", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as decode:
        assert decode.stdin and decode.stdout
        for number in (1, 2):
            decode.stdin.write(b"a1,1,2;")
            decode.stdin.flush()
            assert json.loads(decode.stdout.readline())["line"] == number


def test_an_interrupt_leaves_with_130_and_no_trace():
    with program("decode", "toy", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as decode:
        assert decode.stdin and decode.stdout and decode.stderr
        decode.stdin.write(b"a1,1,2;")
        decode.stdin.flush()
        decode.stdout.readline()  # it runs
        decode.send_signal(signal.SIGINT)
        assert decode.wait() == 130
        assert decode.stderr.read() == b""


def test_the_shell_can_complete_commands():
    said = subprocess.run(
        TOY, cwd=ROOT, capture_output=True, text=True, check=True,
        env={
            **os.environ, "_TRUETRACK_COMPLETE": "bash_complete", "COMP_WORDS": "truetrack se",
            "COMP_CWORD": "1",
        },
    )  # fmt: skip
    assert said.stdout == "plain,serial\n"


def test_logs_are_beside_the_output():
    with program("-vv", "decode", "toy", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as decode:
        out, _ = decode.communicate(b"a1,1,2;")
    assert len(out.splitlines()) == 1
