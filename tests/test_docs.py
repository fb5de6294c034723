"""What the documents say is so: commands, links, keys, bytes."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import click
import pytest

import protocols
from cli.lazy import LazyGroup
from cli.main import truetrack as program
from gateway.config import Config, SourceConfig, TlsFiles, load
from gateway.source import Limits
from protocols.base import DeviceProfile
from storage.maintenance import Retention
from tests.test_layers import ALLOWED, ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
EXAMPLE = ROOT / "docs" / "truetrack.example.toml"


# commands

CODE = re.compile(r"```.*?\n(.*?)```|`([^`\n]+)`|^    (.+)$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?<![\w/@.-])(?:\S*bin/)?truetrack +([^#`|)\n]*(?:\|[a-z][^#`)\n]*)?)")


def commands(text: str) -> Iterator[str]:
    """What follows `truetrack` wherever code calls it."""
    for match in CODE.finditer(text):
        for line in next(group for group in match.groups() if group is not None).splitlines():
            yield from (found[1] for found in COMMAND.finditer(line))


def unknown(said: str) -> str | None:
    """The first word of a command line that the program does not know."""
    found: click.Command = program
    for word in said.split():
        if isinstance(found, LazyGroup):
            if not re.fullmatch(r"[a-z|]+", word):
                return None if word == "X" or word.startswith("-") else word
            *others, name = word.split("|")
            if wrong := [each for each in (*others, name) if each not in found.table]:
                return wrong[0]
            command = found.get_command(click.Context(found), name)
            assert command is not None
            found = command
        elif word == "--":
            return None
        elif word.startswith("--"):
            known = {option for parameter in found.params for option in parameter.opts}
            if word.partition("=")[0] not in known:
                return word
    return None


@EACH_PAGE
def test_every_command_that_is_named_exists(page):
    for said in commands(page.read_text()):
        assert unknown(said) is None, f"truetrack {said}"


def test_a_command_that_does_not_exist_would_be_found():
    text = "`truetrack fly`, `truetrack serial list|fry`\n\n    .venv/bin/truetrack run --fast\n"
    assert [unknown(said) for said in commands(text)] == ["fly", "fry", "--fast"]


def test_the_readme_names_every_command():
    assert {said.split()[0] for said in commands((ROOT / "README.md").read_text())} >= (
        set(program.table) - {"run", "bench"}
    )


# links and files


@EACH_PAGE
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        assert target.startswith("https://") or (page.parent / target).exists(), target


@EACH_PAGE
def test_files_that_are_named_exist(page):
    top = "|".join([*ALLOWED, "docs", "scripts", "tests", r"\.ci"])
    for name in re.findall(rf"(?<![\w/.])((?:{top})/[\w./-]*\w)", page.read_text()):
        if not re.search(r"[A-Z]{3,}", name):  # protocols/NAME.py
            assert (ROOT / name).exists() or (ROOT / f"{name}.py").exists(), name


def test_every_protocol_is_in_the_table_with_its_port():
    table = (ROOT / "docs" / "protocols.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", table, re.MULTILINE))
    assert rows == {name: str(protocols.load(name).DEFAULT_PORT) for name in protocols.names()}
    first = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert first == protocols.names()


def test_the_changelog_has_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    headings = re.findall(r"^## (\S+?),? ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == version


# the example configuration


def test_the_example_loads():
    assert load(EXAMPLE).sources.keys() == {"trackers", "phones", "boat", "owntracks"}


def test_the_example_has_every_key():
    data = tomllib.loads(EXAMPLE.read_text())
    sources = data["sources"].values()

    def inner(name):
        return {key for source in sources for key in source.get(name, {})}

    assert set(data) == {each.name for each in fields(Config)}
    assert set(data["retention"]) == {each.name for each in fields(Retention)}
    assert {key for source in sources for key in source} == {e.name for e in fields(SourceConfig)}
    for name, kind in (("profile", DeviceProfile), ("limits", Limits), ("tls", TlsFiles)):
        assert inner(name) == {each.name for each in fields(kind)}, name


def test_the_example_gives_defaults_save_where_its_comment_says_otherwise():
    lines = {line.split(" ")[0]: line for line in EXAMPLE.read_text().splitlines()}
    config = load(EXAMPLE)
    for record in (config, config.sources["trackers"].limits, config.sources["trackers"].profile):
        for each in fields(record):
            if each.default is not MISSING and getattr(record, each.name) != each.default:
                assert "default:" in lines[each.name], each.name


def test_the_readme_s_configuration_loads(tmp_path: Path):
    text = (ROOT / "README.md").read_text()
    (block,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    file = tmp_path / "truetrack.toml"
    file.write_text(block)
    assert len(load(file).sources) == 3


# what a newcomer is shown


def test_the_readme_s_tracker_is_answered_as_it_says():
    """The bytes of its printf, and the receipts of its od, without a network."""
    text = (ROOT / "README.md").read_text()
    printf, shown = re.findall(
        r"^printf '(.*?)' \|.*?\n```\n```\n(.*?)```", text, re.MULTILINE | re.DOTALL
    )[0]
    sent = bytes(int(code, 8) for code in printf.split("\\")[1:])
    now = datetime.now(UTC)
    decoder = protocols.load("gt06").Decoder()
    events = decoder.feed(sent, now)
    replies = [decoder.reply_to(event, accepted=True, now=now) for event in events]
    assert b"".join(reply or b"" for reply in replies) == bytes.fromhex(shown)
    (fix,) = [fix for event in events for fix in getattr(event, "fixes", ())]
    assert f"{fix.latitude_deg:.5f} |   {fix.longitude_deg:.4f}" in text


# every text


# A letter of each is in brackets, so that this file does not hold it itself.
ELSEWHERE = re.compile(r"/wor[k]/|/roo[t]/|pyp[i]\.org|pythonhoste[d]|npmj[s]\.")
DEVELOPMENT = re.compile(r"\bA[I]\b(?!\": \"AIS)|(?<![Uu]ser-)\b[Aa]gen[t]s?\b")


@pytest.mark.parametrize("unwanted", [ELSEWHERE, DEVELOPMENT])
def test_texts_speak_of_the_program(unwanted):
    """Not of one machine's paths, of hosts that packages come from, of how it is written."""
    for path in tracked():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found = unwanted.search(text)
        assert not found, f"{path}: {text[found.start() - 30 : found.end() + 30]!r}"


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("this is no clone: which files are the project's is not known")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_scripts_can_be_run():
    for path in [*ROOT.glob("scripts/*"), ROOT / ".ci" / "run"]:
        assert path.stat().st_mode & 0o100, path
        subprocess.run(["bash", "-n", path], check=True)


def test_pages_have_one_title():
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        levels = [len(mark) for mark in re.findall(r"^(#+) ", text, re.MULTILINE)]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))
