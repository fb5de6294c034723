"""Who may import whom: the table of docs/architecture.md, held."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ALLOWED: dict[str, set[str]] = {
    "model": set(),
    "core_ext": set(),
    "protocols": {"model", "core_ext"},
    "storage": {"model", "core_ext"},
    "gateway": {"model", "core_ext", "protocols", "storage"},
    "firmware_sim": {"model"},
    "cli": {"model", "core_ext", "protocols", "storage", "gateway", "firmware_sim"},
}
CLOCKS = {"time", "random", "secrets"}
IO = {"socket", "asyncio", "os", "pathlib", "subprocess", "threading", "selectors", "io", *CLOCKS}
MAX_LINES = 400


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module that a file imports, wherever it does, with its line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide their layer"
            yield node.module or "", node.lineno


@pytest.mark.parametrize("folder", ALLOWED)
def test_a_folder_imports_only_what_it_may(folder: str):
    ours = {*ALLOWED, "tests"}
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for path in files(folder)
        for module, line in imports(path)
        if module.split(".")[0] in ours - ALLOWED[folder] - {folder}
    ]
    assert wrong == []


def test_every_folder_of_code_is_in_the_table():
    found = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert found - {"tests"} == set(ALLOWED)


def test_protocols_do_no_io_and_read_no_clock():
    wrong = [
        f"{path.name}:{line}: {module}"
        for path in files("protocols")
        if path.name != "__init__.py"  # finds the protocols by their files
        for module, line in imports(path)
        if module.split(".")[0] in IO
    ]
    assert wrong == []
    for path in files("protocols"):
        for clock in ("datetime.now", "utcnow", ".today("):
            assert clock not in path.read_text(), f"{path.name} reads a clock"


def test_the_parts_of_a_protocol_are_its_own():
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: {module}"
        for folder in ALLOWED
        for path in files(folder)
        for module, line in imports(path)
        if (parts := module.split("."))[0] == "protocols"
        and len(parts) > 1
        and parts[1].endswith("_parts")
        and parts[1].removesuffix("_parts")
        not in (path.stem, path.parent.name.removesuffix("_parts"))
    ]
    assert wrong == []


def test_no_cycles():
    """Modules, not folders: a cycle inside a folder is one as well."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for folder in ALLOWED
        for path in files(folder)
    }
    graph = {
        name: {
            target
            for module, _ in top_level_imports(path)
            for target in (module,)
            if target in modules and target != name
        }
        for name, path in modules.items()
    }
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"import cycle: {' -> '.join((*way[way.index(name) :], name))}"
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def top_level_imports(path: Path) -> Iterator[tuple[str, int]]:
    """`from a import b` as a.b where that is a module, else as a."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                part = ROOT / node.module.replace(".", "/") / f"{alias.name}.py"
                yield (f"{node.module}.{alias.name}" if part.exists() else node.module), node.lineno


LONG: dict[str, str] = {
    "core_ext/_columns.pyx": "one kernel: every column writes through the same private C helpers",
    "core_ext/_nmea.pyx": "one scanner: its states share C fields that a second module could not inline",
}
"""Files over the limit, each with its reason."""


def test_files_are_short_or_say_why():
    long = {
        str(path.relative_to(ROOT))
        for folder in ALLOWED
        for path in [*files(folder), *sorted((ROOT / folder).rglob("*.pyx"))]
        if "migrations" not in path.parts and len(path.read_text().splitlines()) > MAX_LINES
    }
    assert long == set(LONG), "split it, or add it to LONG with a reason"
