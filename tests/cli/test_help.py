"""Every command explains itself, with an example, and the lists that name it agree with it."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

from cli.lazy import LazyGroup
from cli.main import truetrack as program
from tests.cli.conftest import one_line

ROOT = Path(__file__).parents[2]


def commands(
    group: LazyGroup = program, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every command and group below `truetrack`, with the line that its group's list gives it."""
    for name, line in group.table.items():
        yield (*path, name), line
        if (ROOT / "cli" / name).is_dir():
            inner = import_module(f"{group.package}.{name}").command
            assert isinstance(inner, LazyGroup)
            yield from commands(inner, (*path, name))


def found(path: tuple[str, ...]) -> click.Command:
    group: click.Command = program
    for name in path:
        assert isinstance(group, LazyGroup)
        command = group.get_command(click.Context(group), name)
        assert command is not None
        group = command
    return group


ALL = list(commands())
EACH = pytest.mark.parametrize(("path", "line"), ALL, ids=[" ".join(path) for path, _ in ALL])


@EACH
def test_a_command_has_a_help_with_an_example_that_names_it(path, line, truetrack):
    said = truetrack(*path, "--help")
    assert said.code == 0
    assert said.err == ""
    example = said.out.partition("Example:\n")[2].partition("\n\n")[0]
    assert f"truetrack {' '.join(path)}" in example


@EACH
def test_the_list_says_what_the_command_says_of_itself(path, line):
    command = found(path)
    assert command.name == path[-1]
    assert (command.help or "").strip().split("\n\n")[0].replace("\n", " ") == line
    assert len(line) <= 66  # fits a line of 80 beside the longest name


@EACH
def test_every_option_has_a_help(path, line):
    for parameter in found(path).params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_every_file_that_holds_a_command_is_listed():
    listed = {path for path, _ in ALL}
    for file in (ROOT / "cli").rglob("*.py"):
        text = file.read_text()
        if re.search(r"^def command\(", text, re.MULTILINE):
            place = file.relative_to(ROOT / "cli").with_suffix("").parts
            path = place[:-1] if place[-1] == "__init__" else place
            assert path in listed


def test_no_command_is_without_output_form_or_reason():
    """Every command prints JSON on demand; those that do not are listed here with the reason."""
    silent = {
        ("run",): "serves until it is stopped and prints nothing to stdout",
        ("db", "psql"): "prints what psql prints",
    }
    for path, _ in ALL:
        command = found(path)
        if isinstance(command, LazyGroup):
            continue
        forms = any("--json" in option.opts for option in command.params)
        assert forms != (path in silent), path


def test_help_of_the_program_lists_all_commands_without_loading_any(truetrack):
    said = truetrack("--help")
    assert said.code == 0
    for name, line in program.table.items():
        assert re.search(rf"^  {name} +{re.escape(line)}$", said.out, re.MULTILINE)


def test_the_version(truetrack):
    assert re.fullmatch(r"truetrack, version \d+\.\d+\.\d+\n", truetrack("--version").out)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fly"], "No such command 'fly'"),
        (["decode"], "Missing argument 'PROTOCOL'"),
        (["decode", "h02", "--nothing"], "No such option '--nothing'"),
        (["serial", "fly"], "No such command 'fly'"),
    ],
)
def test_wrong_usage_is_said_in_a_line_and_is_2(truetrack, arguments, says):
    said = truetrack(*arguments)
    assert said.code == 2
    assert one_line(said).startswith("truetrack")
    assert says in said.err
    assert said.err.endswith("--help shows how\n")
