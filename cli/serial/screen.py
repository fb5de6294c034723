"""The monitor's screen: fix, sky, sentences, errors and raw text, in whatever room there is."""

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.output import printable
from cli.serial.skyplot import MIN_COLUMNS, MIN_ROWS, skyplot
from cli.serial.state import SYSTEMS, MonitorState, Seen
from cli.serial.strength import bar
from cli.serial.words import (
    FORMATS,
    UNITS,
    accuracy,
    clock_offset,
    degrees,
    dops,
    measure,
    used_of,
)

WIDE_COLUMNS = 100
FIX_ROWS = 13
ERROR_ROWS = 8
MIN_SIZE = (60, 18)  # with less, only the fix in plain lines
TABLE_COLUMNS = 40  # of the satellites, at the least
SIGNALS_COLUMNS = 54  # with their other signals
FAULTY = {"bad checksum", "junk bytes", "gaps"}  # the others are habits of receivers, no faults


@dataclass(slots=True)
class View:
    """What the keys change."""

    units: str = "metric"
    degrees: str = "dd"
    paused: bool = False
    explain: bool = False

    def press(self, key: str) -> bool:
        """React to a key; False when it means leave."""
        match key:
            case "q" | "\x03" | "\x1b":
                return False
            case "u":
                self.units = _next(list(UNITS), self.units)
            case "f":
                self.degrees = _next(list(FORMATS), self.degrees)
            case "p" | " ":
                self.paused = not self.paused
            case "e":
                self.explain = not self.explain
        return True


def _next(choices: list[str], current: str) -> str:
    return choices[(choices.index(current) + 1) % len(choices)]


def screen(
    state: MonitorState, view: View, title: str, at_s: float, size: tuple[int, int]
) -> RenderableType:
    """The whole screen, `size` columns and rows of it."""
    width, height = size
    head = _head(state, view, title, at_s, width)
    if width < MIN_SIZE[0] or height < MIN_SIZE[1]:
        return _small(state, view, at_s, head, height)
    raw_rows = max(5, height // 4 - 1)
    top_rows = height - 2 - raw_rows
    left_width = 46 if width >= WIDE_COLUMNS else 40
    layout = Layout()
    layout.split_column(
        Layout(head, name="head", size=1),
        Layout(name="top", size=top_rows),
        Layout(_raw(state, view, raw_rows, width), name="raw", size=raw_rows),
        Layout(_keys(view), name="keys", size=1),
    )
    fix_rows = min(FIX_ROWS, top_rows - 4)
    errors_rows = ERROR_ROWS if top_rows - fix_rows >= ERROR_ROWS + 5 else 0
    sentence_rows = top_rows - fix_rows - errors_rows
    left = [
        Layout(_fix(state, view, at_s, fix_rows), size=fix_rows),
        Layout(_sentences(state, at_s, sentence_rows, left_width), size=sentence_rows),
    ]
    if errors_rows:
        left.append(Layout(_errors(state), size=errors_rows))
    column = Layout(name="left", size=left_width)
    column.split_column(*left)
    layout["top"].split_row(column, Layout(_sky(state, top_rows, width - left_width), name="sky"))
    return layout


def _small(state: MonitorState, view: View, at_s: float, head: Text, height: int) -> Group:
    """In a window too small for panels."""
    lines = [Text(state.mode(at_s), style="bold")]
    lines += [Text(f"{name:<9} {text}") for name, text in fix_rows(state, view) if text]
    lines = [head, *lines[: max(0, height - 1)]]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Group(*lines)


def _head(state: MonitorState, view: View, title: str, at_s: float, width: int) -> Text:
    faults = state.faults()
    bad = [f"{count:,} {kind}" for kind, count in faults.items() if count and kind in FAULTY]
    flow = f"{state.tally.bytes_per_s(at_s):,.0f} B/s  {sum(state.tally.rates(at_s).values()):.1f} sentences/s"
    errors = Text(", ".join(bad) or "no errors", style="red" if bad else "green")
    line = Text.assemble((f" {printable(title)} ", "reverse bold"), "  ")
    if view.paused:
        line.append(" paused ", style="reverse yellow").append("  ")
    line.append_text(errors).append(f"  {flow}")
    line.truncate(width, overflow="ellipsis")
    return line


def _keys(view: View) -> Text:
    parts = (
        ("q", "quit"), ("u", view.units), ("f", view.degrees),
        ("p", "go on" if view.paused else "pause"), ("e", "raw" if view.explain else "explain"),
    )  # fmt: skip
    line = Text()
    for key, meaning in parts:
        line.append(f" {key} ", style="reverse").append(f" {meaning}  ")
    return line


def _fix(state: MonitorState, view: View, at_s: float, rows: int) -> Panel:
    good = state.fix is not None and state.fix.valid and not state.stale(at_s)
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", no_wrap=True, width=9)
    grid.add_column(no_wrap=True)
    grid.add_row("mode", Text(state.mode(at_s), style="bold green" if good else "bold red"))
    for name, text in fix_rows(state, view)[: rows - 3]:
        grid.add_row(name, Text(text or "-", style="" if text and good else "dim"))
    return Panel(grid, title="fix", border_style="green" if good else "red", padding=(0, 1))


def fix_rows(state: MonitorState, view: View) -> list[tuple[str, str]]:
    """The newest fix in words, in the chosen units; "" for what the receiver does not say."""
    fix, offset = state.fix, state.clock_offset_s
    if fix is None:
        return []
    speed_unit, altitude_unit = UNITS[view.units]
    # Without a fix many receivers fill the fields with noughts.
    placed = fix.valid or (fix.latitude_deg, fix.longitude_deg) != (0.0, 0.0)
    said = fix.telemetry.get
    speed = measure(fix.speed_mps, speed_unit, 1)
    course = "" if fix.course_deg is None else f"{fix.course_deg:05.1f}°"
    return [
        ("time", f"{fix.time:%Y-%m-%d %H:%M:%S}.{fix.time.microsecond // 1000:03d}Z"),
        ("latitude", degrees(fix.latitude_deg, "NS", view.degrees) if placed else ""),
        ("longitude", degrees(fix.longitude_deg, "EW", view.degrees) if placed else ""),
        ("altitude", measure(fix.altitude_m, altitude_unit, 1)),
        ("speed", f"{speed or '-'}   course {course or '-'}"),
        ("DOP", dops(said("pdop"), fix.hdop, said("vdop"))),
        ("accuracy", accuracy(fix.accuracy_m, said("vertical_accuracy_m"), altitude_unit)),
        ("used", used_of(fix.satellites, state.satellites())),
        ("rate", f"{1 / state.period_s:.3g} Hz, epoch {state.epochs:,}"),
        ("clock", "" if offset is None else clock_offset(offset)),
    ]


def _sentences(state: MonitorState, at_s: float, rows: int, width: int) -> Panel:
    rates = state.tally.rates(at_s)
    across = 3 if width >= 46 else 2
    room = max(0, rows - 2) * across
    cells = [
        Text.assemble((f"{printable(name):<7.7}", "cyan"), f"{_rate(rate):>5}")
        for name, rate in sorted(rates.items(), key=lambda item: -item[1])
    ]
    if len(cells) > room > 0:
        cells[room - 1 :] = [Text(f"+{len(cells) - room + 1} more", style="dim")]
    grid = Table.grid(padding=(0, 1))
    for at in range(0, len(cells), across):
        grid.add_row(*cells[at : at + across])
    return Panel(grid, title="sentences a second", border_style="blue", padding=(0, 1))


def _rate(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"


def _errors(state: MonitorState) -> Panel:
    grid = Table.grid(padding=(0, 2))
    for kind, count in state.faults().items():
        style = "" if not count else "red" if kind in FAULTY else "yellow"
        grid.add_row(Text(kind, style="dim"), Text(f"{count:,}", style=style or "green"))
    binary = ", ".join(state.tally.binary)
    if state.problem or binary:
        grid.add_row(Text("also", style="dim"), Text(state.problem or binary, style="yellow"))
    return Panel(grid, title="line", border_style="blue", padding=(0, 1))


def _sky(state: MonitorState, rows: int, width: int) -> Panel:
    seen = state.satellites()
    used = sum(one.used for one in seen)
    room = rows - 4  # border, headings, last line
    title = f"sky: {used} used of {len(seen)}"
    if len(seen) > room:
        title += f", {len(seen) - room} not shown"
    if not seen:
        body: RenderableType = Text("no satellite seen", style="dim")
    else:
        inner = width - 4
        plot_columns = min(2 * rows + 3, inner - TABLE_COLUMNS - 1)
        if inner - SIGNALS_COLUMNS > 2 * MIN_COLUMNS:  # room for the table's last column too
            plot_columns = min(plot_columns, inner - SIGNALS_COLUMNS - 1)
        if plot_columns < MIN_COLUMNS or rows - 2 < MIN_ROWS:
            body = Group(_satellites(seen[:room], inner), _systems(state, inner))
        else:
            table_columns = inner - plot_columns - 1
            table = Group(_satellites(seen[:room], table_columns), _systems(state, table_columns))
            body = Table.grid(padding=(0, 1, 0, 0))
            body.add_column(width=table_columns)
            body.add_column(width=plot_columns)
            plot_rows = min(rows - 2, plot_columns // 2 + 1)
            body.add_row(table, skyplot(seen, plot_columns, plot_rows))
    return Panel(body, title=title, border_style="blue", padding=(0, 1))


def _satellites(seen: list[Seen], width: int) -> Table:
    others = width >= SIGNALS_COLUMNS
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    for name, justify in (
        ("", "left"), ("system", "left"), ("sv", "right"), ("el", "right"), ("az", "right"),
        ("C/N0", "right"), ("", "left"), ("other signals", "left"),
    )[: 8 if others else 7]:  # fmt: skip
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    length = max(6, min(20, width - (44 if others else 29)))
    for one in seen:
        table.add_row(*_sky_row(one, length)[: len(table.columns)])
    return table


def _systems(state: MonitorState, width: int) -> Text:
    """Of each system, how many are used and how many seen."""
    systems = state.systems()
    line = "  ".join(f"{SYSTEMS.get(name, name)} {u}/{n}" for name, (u, n) in systems.items())
    if len(line) > width:
        line = "  ".join(f"{name} {u}/{n}" for name, (u, n) in systems.items())
    return Text(line, style="bold", no_wrap=True, overflow="ellipsis")


def _sky_row(one: Seen, length: int) -> tuple[Text, ...]:
    look = "" if one.used else "dim"
    best = one.best_dbhz
    others = "  ".join(f"{name or '-'}:{cn0:.0f}" for name, cn0 in one.signals[1:] if cn0)
    return (
        Text("●" if one.used else " ", style="green"),
        Text(SYSTEMS.get(one.system, one.system), style=look),
        Text(str(one.svid), style=look),
        Text(_whole(one.elevation_deg), style=look),
        Text(_whole(one.azimuth_deg), style=look),
        Text("-" if not best else f"{best:.0f}", style=look),
        bar(best, length),
        Text(others, style="dim"),
    )


def _raw(state: MonitorState, view: View, rows: int, width: int) -> Panel:
    text = Text(no_wrap=True, overflow="ellipsis")
    for line in list(state.tally.lines)[-(rows - 2) :]:
        junk = line.startswith("(")
        if view.explain and not junk:
            from cli.explain import in_one_line  # noqa: PLC0415 - loads pynmea2

            line = in_one_line(line)  # noqa: PLW2901 - the same line in other words
        text.append(printable(line)[: width - 4] + "\n", style="red" if junk else "dim")
    text.rstrip()
    title = "fields" if view.explain else "raw"
    return Panel(text, title=title, border_style="blue", padding=(0, 1))


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
