"""Columns as Postgres's binary arrays, packed by hand.

    int32 dimensions = 1   int32 has nulls   int32 element's type   int32 length   int32 base = 1
    then each element: int32 size (-1: null), bytes

Fixed sizes are laid out by numpy, a column at a time; texts are joined from ready pieces. The
statement casts each parameter, so the server knows what it gets (`$1::int8[]`).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt
from psycopg import AsyncConnection, Connection
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD = Struct(">5i")
_SIZE = Struct(">i").pack
NULL = b"\xff\xff\xff\xff"

BOOL, BYTEA, INT8, INT4, TEXT, FLOAT8, TIMESTAMPTZ, UUID, JSONB = (
    16, 17, 20, 23, 25, 701, 1184, 2950, 3802,
)  # fmt: skip

_LAYOUT = {
    BOOL: np.dtype([("size", ">i4"), ("value", "u1")]),
    INT4: np.dtype([("size", ">i4"), ("value", ">i4")]),
    INT8: np.dtype([("size", ">i4"), ("value", ">i8")]),
    TIMESTAMPTZ: np.dtype([("size", ">i4"), ("value", ">i8")]),
    FLOAT8: np.dtype([("size", ">i4"), ("value", ">f8")]),
}
_NUMPY = {BOOL: np.bool_, INT4: np.int32, INT8: np.int64, TIMESTAMPTZ: np.int64, FLOAT8: np.float64}

POSTGRES_EPOCH_US = 946_684_800_000_000  # 2000-01-01, where timestamps count from

Int64s = npt.NDArray[np.int64]


class Packed:
    """A parameter that is in wire form already."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class _PackedDumper(Dumper):
    format = Format.BINARY
    oid = 0  # the cast in the statement says what it is

    def dump(self, obj: Packed) -> Buffer:
        return obj.data


def register(connection: AsyncConnection[Any] | Connection[Any]) -> None:
    """Teach the connection to take `Packed`."""
    connection.adapters.register_dumper(Packed, _PackedDumper)


def fixed(oid: int, values: Sequence[Any] | npt.NDArray[Any]) -> Packed:
    """A column of one fixed-size type. None becomes NaN in a FLOAT8 column, nowhere else."""
    layout = _LAYOUT[oid]
    rows = np.empty(len(values), layout)
    rows["size"] = layout.itemsize - 4
    rows["value"] = np.asarray(values, _NUMPY[oid])
    return _array(oid, len(rows), rows.tobytes())


def varied(oid: int, pieces: Sequence[bytes]) -> Packed:
    """A column of ready pieces: size and bytes, or NULL."""
    return _array(oid, len(pieces), b"".join(pieces))


def piece(data: bytes) -> bytes:
    return _SIZE(len(data)) + data


def text_piece(text: str | None) -> bytes:
    return NULL if text is None else piece(clean(text).encode())


def words(values: Iterable[str]) -> dict[str, bytes]:
    """The pieces of an enumeration's words."""
    return {str(value): piece(value.encode()) for value in values}


def json_piece(value: Any) -> bytes:
    return piece(b"\x01" + json_bytes(value))  # jsonb's wire form begins with its version


def _array(oid: int, length: int, body: bytes) -> Packed:
    if length == 0:
        return Packed(Struct(">3i").pack(0, 0, oid))
    return Packed(_HEAD.pack(1, 1, oid, length, 1) + body)


# What text and jsonb can hold: no NUL, no half of a surrogate pair, no NaN.

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode


def clean(text: str) -> str:
    """The text as Postgres can hold it: a mark stands for each character that it cannot."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def json_bytes(value: Any) -> bytes:
    """JSON that jsonb takes, whatever a device sent. The frame keeps what does not fit."""
    try:
        said = _encode(value)
    except (ValueError, TypeError):  # NaN, an integer of thousands of digits, a mapping
        said = _encode(_clean(value))
    else:
        if "\\u0000" in said or "\\ud" in said:
            said = _encode(_clean(value))
    return said.encode()


_WIDEST = 10**300


def _clean(value: Any) -> Any:
    match value:
        case None | bool():
            return value
        case str():
            return clean(value)
        case int():
            return value if -_WIDEST < value < _WIDEST else hex(value)
        case float():
            return value if value - value == 0 else repr(value)
        case Mapping():
            return {clean(str(name)): _clean(each) for name, each in value.items()}
    return [_clean(each) for each in value]
