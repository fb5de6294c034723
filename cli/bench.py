"""`truetrack bench`: figures of this program beside its peers', measured in the same run.

A benchmark is a file of `cli/benches` with `run() -> Iterable[dict]`; each dict has `name`,
`value`, `unit`, `peer`, `peer_value` and `ratio`. Nothing else is edited to add one.
"""

from importlib import import_module
from pathlib import Path

import click

from cli.output import Output, output_options

WIDTHS = {"name": 34, "value": 14, "unit": 14, "peer": 28, "peer_value": 14, "ratio": 8}


def names() -> list[str]:
    """Every benchmark there is, sorted."""
    folder = Path(__file__).parent / "benches"
    return sorted(path.stem for path in folder.glob("*.py") if path.stem != "__init__")


@click.command(name="bench")
@click.argument("name", required=False)
@click.option("--list", "only_list", is_flag=True, help="Name the benchmarks and run none.")
@output_options
def command(name: str | None, *, only_list: bool, output: Output) -> int:
    """Measure against peers in the same run.

    Without NAME all benchmarks run, one after the other; a row is printed as soon as it is
    known. A benchmark whose peer is not installed says so on stderr.

    \b
    Example:
      truetrack bench
      truetrack bench nmea --json
    """  # noqa: D301
    if name is not None and name not in names():
        raise click.BadParameter(f"no benchmark {name!r}; there are: {', '.join(names())}")
    if only_list:
        output.table([{"name": each} for each in names()], ["name"])
        return 0
    show = output.stream(WIDTHS)
    code = 0
    for each in [name] if name else names():
        try:
            for row in import_module(f"cli.benches.{each}").run():
                show(row if output.as_json else {**row, **_short(row)})
                output.flush()
        except ImportError as error:
            output.note(f"truetrack: {each}: not measured: {error}")
            code = 1
    return code


def _short(row: dict[str, object]) -> dict[str, str]:
    numbers = {key: row.get(key) for key in ("value", "peer_value", "ratio")}
    return {key: f"{n:,.4g}" if n and n < 1000 else f"{n or 0:,.0f}" for key, n in numbers.items()}  # type: ignore[operator]
