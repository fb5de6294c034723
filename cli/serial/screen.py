"""The monitor's screen: fix, sky, sentences, errors and raw text, in whatever room there is."""

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cli.output import printable
from cli.serial.state import SYSTEMS, MonitorState, Seen

WIDE_COLUMNS = 100
ERROR_ROWS = 8
BAR_FULL_DBHZ = 50.0
BARS = " ▏▎▍▌▋▊▉█"
STRENGTHS = ((20.0, "red"), (30.0, "yellow"), (40.0, "green"), (99.0, "bright_green"))
FAULTY = {"bad checksum", "junk bytes", "gaps"}  # the others are habits of receivers, no faults

Speed = tuple[str, float]
UNITS: dict[str, tuple[Speed, Speed]] = {  # unit and factor of speed, and of altitude
    "metric": (("km/h", 3.6), ("m", 1.0)),
    "nautical": (("kn", 3600 / 1852), ("m", 1.0)),
    "imperial": (("mph", 3600 / 1609.344), ("ft", 1 / 0.3048)),
}
FORMATS = ("dd", "dm", "dms")


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
) -> Layout:
    """The whole screen, `size` columns and rows of it."""
    width, height = size
    wide = width >= WIDE_COLUMNS
    raw_rows = max(5, height // 4)
    top_rows = height - 2 - raw_rows
    left_width = 46 if wide else 40
    layout = Layout()
    layout.split_column(
        Layout(_head(state, title, at_s, width), name="head", size=1),
        Layout(name="top", size=top_rows),
        Layout(_raw(state, view, raw_rows, width), name="raw", size=raw_rows),
        Layout(_keys(view), name="keys", size=1),
    )
    fix_rows = min(14, top_rows - 4)
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


def _head(state: MonitorState, title: str, at_s: float, width: int) -> Text:
    faults = state.faults()
    bad = [f"{count:,} {kind}" for kind, count in faults.items() if count and kind in FAULTY]
    flow = f"{state.tally.bytes_per_s(at_s):,.0f} B/s  {sum(state.tally.rates(at_s).values()):.1f} sentences/s"
    errors = Text(", ".join(bad) or "no errors", style="red" if bad else "green")
    line = Text.assemble((f" {printable(title)} ", "reverse bold"), "  ", errors, "  ", flow)
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
    fix = state.fix
    stale = state.stale(at_s)
    good = fix is not None and fix.valid and not stale
    grid = Table.grid(padding=(0, 1))
    grid.add_column(style="dim", no_wrap=True, width=9)
    grid.add_column(no_wrap=True)
    grid.add_row("mode", Text(state.mode(at_s), style="bold green" if good else "bold red"))
    if fix is not None:
        speed_unit, altitude_unit = UNITS[view.units]
        look = "dim" if stale else ""
        said = fix.telemetry.get
        offset = state.clock_offset_s
        rows_said: list[tuple[str, str]] = [
            ("time", f"{fix.time:%Y-%m-%d %H:%M:%S}.{fix.time.microsecond // 1000:03d}Z"),
            ("latitude", degrees(fix.latitude_deg, "NS", view.degrees)),
            ("longitude", degrees(fix.longitude_deg, "EW", view.degrees)),
            ("altitude", measure(fix.altitude_m, altitude_unit, 1)),
            ("speed", measure(fix.speed_mps, speed_unit, 1)),
            ("course", "" if fix.course_deg is None else f"{fix.course_deg:05.1f}°"),
            ("DOP", dops(said("pdop"), fix.hdop, said("vdop"))),
            ("accuracy", accuracy(fix.accuracy_m, said("vertical_accuracy_m"), altitude_unit)),
            ("used", "" if fix.satellites is None else f"{fix.satellites} satellites"),
            ("rate", f"{1 / state.period_s:.3g} Hz, epoch {state.epochs}"),
            ("offset", "" if offset is None else clock_offset(offset)),
        ]
        for name, text in rows_said[: rows - 3]:
            grid.add_row(name, Text(text or "-", style=look if text else "dim"))
    return Panel(grid, title="fix", border_style="green" if good else "red", padding=(0, 1))


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
    room = max(1, rows - 4)  # border, headings, last line
    bar = max(6, min(20, width - 34))
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", expand=False)
    for name, justify in (
        ("", "left"), ("system", "left"), ("sv", "right"), ("el", "right"), ("az", "right"),
        ("C/N0", "right"), ("", "left"), ("other signals", "left"),
    ):  # fmt: skip
        if name == "other signals" and width < 50:
            continue
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    columns = len(table.columns)
    for one in seen[:room]:
        table.add_row(*_sky_row(one, bar)[:columns])
    systems = "  ".join(
        f"{name if width < 50 else SYSTEMS.get(name, name)} {used}/{n}"
        for name, (used, n) in state.systems().items()
    )
    foot = Text(systems, style="dim")
    foot.no_wrap = True
    foot.overflow = "ellipsis"
    body: RenderableType = Group(table, foot) if seen else Text("no satellite seen", style="dim")
    used = sum(one.used for one in seen)
    title = f"sky: {used} used of {len(seen)}"
    if len(seen) > room:
        title += f", {len(seen) - room} not shown"
    return Panel(body, title=title, border_style="blue", padding=(0, 1))


def _sky_row(one: Seen, bar: int) -> tuple[Text, ...]:
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
        strength(best, bar),
        Text(others, style="dim"),
    )


def _raw(state: MonitorState, view: View, rows: int, width: int) -> Panel:
    room = rows - 2
    if view.explain:
        from cli.explain import in_one_line  # noqa: PLC0415 - loads pynmea2

        lines = [in_one_line(sentence) for sentence in list(state.tally.latest.values())[-room:]]
    else:
        lines = list(state.tally.lines)[-room:]
    text = Text(no_wrap=True, overflow="ellipsis")
    for line in lines:
        style = "red" if line.startswith("(") else "dim"
        text.append(printable(line)[: width - 4] + "\n", style=style)
    text.rstrip()
    title = "fields" if view.explain else "raw"
    return Panel(text, title=title, border_style="blue", padding=(0, 1))


def strength(cn0_dbhz: float | None, width: int) -> Text:
    """A bar of eighths, coloured by how strong the signal is."""
    if not cn0_dbhz:
        return Text(" " * width)
    eighths = round(min(1.0, cn0_dbhz / BAR_FULL_DBHZ) * width * 8)
    full, part = divmod(eighths, 8)
    bar = "█" * full + (BARS[part] if part else "")
    colour = next(name for limit, name in STRENGTHS if cn0_dbhz < limit or limit > 90)
    return Text(bar.ljust(width), style=colour)


def degrees(value: float, letters: str, form: str) -> str:
    """An angle as dd (51.5000000° N), dm (51° 30.00000' N) or dms (51° 30' 00.000" N)."""
    letter = letters[0] if value >= 0 else letters[1]
    size = abs(value)
    pad = 2 if letters == "NS" else 3
    if form == "dm":
        units = round(size * 60 * 1e5)
        whole, minutes = divmod(units, 60 * 10**5)
        return f"{whole:0{pad}d}° {minutes / 1e5:08.5f}' {letter}"
    if form == "dms":
        units = round(size * 3600 * 1e3)
        whole, rest = divmod(units, 3600 * 10**3)
        minutes, seconds = divmod(rest, 60 * 10**3)
        return f"{whole:0{pad}d}° {minutes:02d}' {seconds / 1e3:06.3f}\" {letter}"
    return f"{size:.7f}° {letter}"


def measure(value: float | None, unit: Speed, digits: int) -> str:
    return "" if value is None else f"{value * unit[1]:.{digits}f} {unit[0]}"


def dops(pdop: object, hdop: object, vdop: object) -> str:
    known = (("P", pdop), ("H", hdop), ("V", vdop))
    return "  ".join(f"{letter} {value}" for letter, value in known if value is not None)


def accuracy(horizontal_m: float | None, vertical_m: object, unit: Speed) -> str:
    said = "" if horizontal_m is None else f"± {measure(horizontal_m, unit, 2)}"
    if isinstance(vertical_m, int | float):
        said += f"  vertical ± {measure(vertical_m, unit, 2)}"
    return said


def clock_offset(seconds: float) -> str:
    """How far the receiver's time is behind our clock: its delay, or our error."""
    if abs(seconds) < 600:
        return f"{seconds:+.3f} s to our clock"
    return f"{seconds / 86400:+,.1f} days to our clock"


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
