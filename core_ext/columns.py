"""The columns in use: the compiled ones where there are some, else their twins in plain Python.

TRUETRACK_EXTENSION=python takes the twins in any case. `IMPLEMENTATION` says which they are; run
as a module it prints it:

    python -m core_ext.columns
"""

import os

from core_ext.columns_py import clean, digest, json_bytes, said

if os.environ.get("TRUETRACK_EXTENSION") == "python":
    from core_ext import columns_py as _columns

    IMPLEMENTATION = "python"
else:
    try:
        from core_ext import _columns  # type: ignore[no-redef]

        IMPLEMENTATION = "compiled"
    except ImportError:
        from core_ext import columns_py as _columns

        IMPLEMENTATION = "python"

boolean = _columns.boolean
bytea = _columns.bytea
digests = _columns.digests
float8 = _columns.float8
int4 = _columns.int4
int8 = _columns.int8
jsonb = _columns.jsonb
jsonb_records = _columns.jsonb_records
text = _columns.text
timestamptz = _columns.timestamptz
uuid = _columns.uuid

__all__ = [
    "IMPLEMENTATION",
    "boolean",
    "bytea",
    "clean",
    "digest",
    "digests",
    "float8",
    "int4",
    "int8",
    "json_bytes",
    "jsonb",
    "jsonb_records",
    "said",
    "text",
    "timestamptz",
    "uuid",
]

if __name__ == "__main__":
    print(f"core_ext.columns: {IMPLEMENTATION}")  # noqa: T201
