"""Columns as Postgres's binary arrays, in plain Python: the reference for the compiled ones.

    int32 dimensions = 1   int32 has nulls = 1   int32 element's type   int32 length   int32 base = 1
    then each element: int32 size (-1: null), bytes

Each function makes one column from its values, in order; None is NULL. Values that have no place
in a column raise TypeError, ValueError or OverflowError. Beside the columns stand what text and
jsonb can hold, and the digests of rows.
"""

import json
import struct
import sys
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any
from uuid import UUID

BOOL, BYTEA, INT8, INT4, TEXT, FLOAT8, TIMESTAMPTZ, UUIDS, JSONB = (
    16, 17, 20, 23, 25, 701, 1184, 2950, 3802,
)  # fmt: skip
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # where timestamps count from

_MICROSECOND = timedelta(microseconds=1)
_HEAD = struct.Struct(">5i")
_EMPTY = struct.Struct(">3i")
_NULL = b"\xff\xff\xff\xff"
_TRUE, _FALSE = b"\0\0\0\1\1", b"\0\0\0\1\0"


def boolean(values: Sequence[bool | None]) -> bytes:
    return _column(BOOL, [_NULL if v is None else _TRUE if v else _FALSE for v in values])


def int4(values: Sequence[int | None]) -> bytes:
    return _fixed(INT4, "i", values)


def int8(values: Sequence[int | None]) -> bytes:
    return _fixed(INT8, "q", values)


def float8(values: Sequence[float | None]) -> bytes:
    return _fixed(FLOAT8, "d", values)


def timestamptz(values: Sequence[datetime | None]) -> bytes:
    """Exact, for any year."""
    since = [None if time is None else (time - EPOCH) // _MICROSECOND for time in values]
    return _fixed(TIMESTAMPTZ, "q", since)


def uuid(values: Sequence[UUID | None]) -> bytes:
    return _column(UUIDS, [_NULL if v is None else _piece(v.int.to_bytes(16)) for v in values])


def bytea(values: Sequence[bytes | None]) -> bytes:
    return _column(BYTEA, [_NULL if v is None else _piece(bytes(memoryview(v))) for v in values])


def text(values: Sequence[str | None]) -> bytes:
    """What text cannot hold is replaced: see `clean`."""
    pieces = {v: _NULL if v is None else _piece(clean(v).encode()) for v in set(values)}
    return _column(TEXT, [pieces[v] for v in values])


def jsonb(values: Sequence[Any]) -> bytes:
    """As `json_bytes` writes them. What is empty is NULL as well."""
    return _column(JSONB, [_json_piece(v) if v else _NULL for v in values])


def jsonb_records(values: Sequence[Sequence[Any]], fields: Sequence[tuple[str, Any]]) -> bytes:
    """For each row a list of objects, with the attributes in `fields`: name and default.

    An attribute at its default is left out, save where that is dataclasses.MISSING. No records
    are NULL.
    """
    return jsonb([[_object(record, fields) for record in records] for records in values])


def digests(
    truths: Sequence[object],
    numbers: Sequence[Sequence[float | None]],
    sayings: Sequence[Mapping[str, Any]],
    left_out: Collection[str],
) -> list[int]:
    """For each row a signed 64-bit digest of a truth, some numbers, and what `said` says.

    Each row has as many numbers as the first.
    """
    pack = struct.Struct(f"<?{len(numbers[0]) if numbers else 0}d").pack
    try:
        return [
            digest(
                pack(bool(truth), *[ABSENT if number is None else number for number in row])
                + (said(saying, left_out) if saying else b"")
            )
            for truth, row, saying in zip(truths, numbers, sayings, strict=True)
        ]
    except struct.error as error:
        raise ValueError(str(error)) from error


ABSENT = -1e300  # stands for a number that is None; outside every field's range


def digest(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little", signed=True)


def said(saying: Mapping[str, Any], left_out: Collection[str]) -> bytes:
    """Names and values in lines, in order of their letters."""
    try:
        lines = [f"{k}={v!r}" for k, v in saying.items() if k not in left_out]
        lines.sort()
        return "\n".join(lines).encode()
    except ValueError:  # half a surrogate pair in a name, an integer of thousands of digits
        lines = [
            f"{k!a}={v:x}" if isinstance(v, int) else f"{k!a}={v!a}"
            for k, v in saying.items()
            if k not in left_out
        ]
        return "\n".join(sorted(lines)).encode()


def _fixed(oid: int, code: str, values: Sequence[Any]) -> bytes:
    if None in values:
        return _column(oid, [_NULL if v is None else _piece(_big(code, [v])) for v in values])
    size = array(code).itemsize
    # A place for each element, filled byte by byte: all first bytes, all second bytes, ...
    rows = bytearray((size.to_bytes(4) + bytes(size)) * len(values))
    data = _big(code, values)
    for byte in range(size):
        rows[4 + byte :: 4 + size] = data[byte::size]
    return _column(oid, [rows], len(values))


def _big(code: str, values: Sequence[Any]) -> bytes:
    packed = array(code, values)
    if sys.byteorder == "little":
        packed.byteswap()
    return packed.tobytes()


def _column(oid: int, pieces: Sequence[bytes | bytearray], length: int | None = None) -> bytes:
    length = len(pieces) if length is None else length
    if length == 0:
        return _EMPTY.pack(0, 0, oid)
    return b"".join([_HEAD.pack(1, 1, oid, length, 1), *pieces])


def _piece(data: bytes) -> bytes:
    return len(data).to_bytes(4, signed=True) + data


def _json_piece(value: Any) -> bytes:
    return _piece(b"\x01" + json_bytes(value))  # jsonb's wire form begins with its version


def _object(record: Any, fields: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    said = {}
    for name, default in fields:
        value = getattr(record, name)
        if default is MISSING or value != default:
            said[name] = value
    return said


# What text and jsonb can hold: no NUL, no half of a surrogate pair, no NaN.

_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode
_WIDEST = 10**300


def clean(text: str) -> str:
    """The text as Postgres can hold it: a mark stands for each character that it cannot."""
    if str.isascii(text) and "\0" not in text:
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
