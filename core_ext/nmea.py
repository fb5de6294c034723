"""The scanner in use: the compiled one where there is one, else its twin in plain Python.

TRUETRACK_EXTENSION=python takes the twin in any case. `IMPLEMENTATION` says which it is; run as a
module it prints it:

    python -m core_ext.nmea
"""

import os

from core_ext.nmea_layout import GOOD, MISSING, TEXT, TORN, WRONG, Item, Value

if os.environ.get("TRUETRACK_EXTENSION") == "python":
    from core_ext.nmea_py import Scanner

    IMPLEMENTATION = "python"
else:
    try:
        from core_ext._nmea import Scanner  # type: ignore[assignment]

        IMPLEMENTATION = "compiled"
    except ImportError:
        from core_ext.nmea_py import Scanner

        IMPLEMENTATION = "python"

__all__ = [
    "GOOD",
    "IMPLEMENTATION",
    "MISSING",
    "TEXT",
    "TORN",
    "WRONG",
    "Item",
    "Scanner",
    "Value",
]

if __name__ == "__main__":
    print(f"core_ext.nmea: {IMPLEMENTATION}")  # noqa: T201
