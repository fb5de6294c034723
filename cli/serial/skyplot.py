"""The sky as seen from the antenna: north up, the horizon outside, the zenith in the middle.

Rings (horizon, 30 and 60 degrees) are drawn in Braille dots, two across and four down a cell;
satellites are named over them, `G12`, coloured by strength, dim when they are not used.
"""

from collections.abc import Iterable, Iterator
from math import cos, pi, radians, sin

from rich.text import Text

from cli.serial.state import Seen
from cli.serial.strength import colour

MIN_COLUMNS, MIN_ROWS = 23, 11
RINGS_DEG = (0.0, 30.0, 60.0)  # elevation
LABEL_CELLS = 3
NEARBY = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (2, 0), (-2, 0), (1, 1), (-1, -1), (3, 0)]
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # Braille dot by row, column

Cell = tuple[str, str]  # character, style


def skyplot(seen: Iterable[Seen], columns: int, rows: int) -> Text:
    """The plot in so many cells. Those used and strong get their true places first."""
    # A cell is twice as high as wide, and labels must fit beside the horizon.
    radius = min(rows - 1, (columns - 1 - LABEL_CELLS) / 2) / 2  # in rows
    middle = (columns // 2, rows / 2 - 0.5)
    cells = {place: (dots, "bright_black") for place, dots in _rings(radius, middle)}
    for letter, x, y in (("N", 0, -1), ("E", 1, 0), ("S", 0, 1), ("W", -1, 0)):
        place = round(middle[0] + 2 * radius * x), round(middle[1] + radius * y)
        cells[place] = (letter, "bold blue")
    taken: set[tuple[int, int]] = set()
    for one in sorted(seen, key=lambda s: (not s.used, -(s.best_dbhz or 0))):
        if one.elevation_deg is not None and one.azimuth_deg is not None:
            _put(cells, taken, one, radius, middle)
    text = Text(no_wrap=True)
    for row in range(rows):
        for column in range(columns):
            text.append(*cells.get((column, row), (" ", "")))
        text.append("\n")
    text.rstrip()
    return text


def _put(
    cells: dict[tuple[int, int], Cell],
    taken: set[tuple[int, int]],
    one: Seen,
    radius: float,
    middle: tuple[float, float],
) -> None:
    away = radius * (90 - max(0.0, one.elevation_deg or 0.0)) / 90
    angle = radians(one.azimuth_deg or 0.0)
    label = f"{one.system}{one.svid % 100}"  # SBAS as RINEX has it: S33 is 133
    left = round(middle[0] + 2 * away * sin(angle)) - len(label) // 2
    row = round(middle[1] - away * cos(angle))
    places = [[(left + x + at, row + y) for at in range(len(label))] for x, y in NEARBY]
    # Where it belongs, or beside it where another stands; in a crowd over the others.
    place = next((where for where in places if taken.isdisjoint(where)), places[0])
    taken.update(place)
    style = f"bold {colour(one.best_dbhz)}" if one.used else f"dim {colour(one.best_dbhz)}"
    cells.update({cell: (letter, style) for cell, letter in zip(place, label, strict=True)})


def _rings(radius: float, middle: tuple[float, float]) -> Iterator[tuple[tuple[int, int], str]]:
    dots: dict[tuple[int, int], int] = {}
    for elevation in RINGS_DEG:
        away = radius * (90 - elevation) / 90
        steps = max(24, int(away * 16)) if elevation == 0 else max(12, int(away * 5))
        for step in range(steps):
            angle = 2 * pi * step / steps
            # In dots: a cell holds 2 x 4, and its middle is where a label's letter stands.
            x = round((middle[0] + 2 * away * sin(angle)) * 2 + 0.5)
            y = round((middle[1] - away * cos(angle)) * 4 + 1.5)
            place = x // 2, y // 4
            dots[place] = dots.get(place, 0) | _BITS[y % 4][x % 2]
    for place, bits in dots.items():
        yield place, chr(0x2800 + bits)
