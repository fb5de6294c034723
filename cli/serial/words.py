"""What the monitor says of a fix, in a technician's units and forms."""

from collections.abc import Sequence

from cli.serial.state import Seen

Unit = tuple[str, float]  # its sign, and how many of it make one of ours
UNITS: dict[str, tuple[Unit, Unit]] = {  # of speed, and of altitude
    "metric": (("km/h", 3.6), ("m", 1.0)),
    "nautical": (("kn", 3600 / 1852), ("m", 1.0)),
    "imperial": (("mph", 3600 / 1609.344), ("ft", 1 / 0.3048)),
}
FORMATS = ("dd", "dm", "dms")


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


def measure(value: float | None, unit: Unit, digits: int) -> str:
    return "" if value is None else f"{value * unit[1]:.{digits}f} {unit[0]}"


def dops(pdop: object, hdop: object, vdop: object) -> str:
    known = (("P", pdop), ("H", hdop), ("V", vdop))
    return "  ".join(f"{letter} {value}" for letter, value in known if value is not None)


def accuracy(horizontal_m: float | None, vertical_m: object, unit: Unit) -> str:
    said = "" if horizontal_m is None else f"± {measure(horizontal_m, unit, 2)}"
    if isinstance(vertical_m, int | float):
        said += f"  vertical ± {measure(vertical_m, unit, 2)}"
    return said


def clock_offset(seconds: float) -> str:
    """How far the receiver's time is behind our clock: its delay, or our error."""
    if abs(seconds) < 600:
        return f"{seconds:+.3f} s to our clock"
    return f"{seconds / 86400:+,.1f} days to our clock"


def used_of(stated: int | None, seen: Sequence[Seen]) -> str:
    """The receiver's own count of satellites used, else ours. GGA's count stops at 12."""
    counted = sum(one.used for one in seen)
    if not stated and not counted:
        return ""
    return f"{max(stated or 0, counted)} satellites"
