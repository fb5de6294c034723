"""Signal strength for the eye: a colour and a bar of eighths for C/N0."""

from rich.text import Text

FULL_DBHZ = 50.0
COLOURS = ((20.0, "red"), (30.0, "yellow"), (40.0, "green"))  # below so many dB-Hz
BEST = "bright_green"
EIGHTHS = " ▏▎▍▌▋▊▉"


def colour(cn0_dbhz: float | None) -> str:
    if not cn0_dbhz:
        return "white"
    return next((name for limit, name in COLOURS if cn0_dbhz < limit), BEST)


def bar(cn0_dbhz: float | None, width: int) -> Text:
    """`width` cells, filled up to the strength; empty when nothing is received."""
    eighths = round(min(1.0, (cn0_dbhz or 0.0) / FULL_DBHZ) * width * 8)
    full, part = divmod(eighths, 8)
    drawn = "█" * full + (EIGHTHS[part] if part else "")
    return Text(drawn.ljust(width), style=colour(cn0_dbhz))
