"""The two kinds of columns are one: the same bytes for any values, and the same refusals."""

import json
import struct
import subprocess
import sys
from dataclasses import fields as fields_of
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core_ext import _columns, columns_py
from model import Alarm, Cell, Fix, Satellite, WifiAp
from model.codec import fix_to_json
from storage.digest import VOLATILE, fix_digest
from tests.model.test_codec import fixes

REFUSALS = (ValueError, TypeError, OverflowError)
PLANS = {
    name: [(field.name, field.default) for field in fields_of(record)]
    for name, record in [("cells", Cell), ("wifi", WifiAp), ("sky", Satellite)]
}


@pytest.fixture(params=[columns_py, _columns], ids=["python", "compiled"])
def columns(request):
    return request.param


def outcome(make, *args):
    """What comes of it: bytes, or that it is refused."""
    try:
        return make(*args)
    except REFUSALS:
        return "refused"


def same(name, *args):
    ours, twins = outcome(getattr(_columns, name), *args), outcome(getattr(columns_py, name), *args)
    assert ours == twins
    return ours


def elements(column: bytes) -> list[bytes | None]:
    """The array as its format's document has it."""
    dimensions, _, _ = struct.unpack_from(">3i", column)
    if dimensions == 0:
        assert len(column) == 12
        return []
    length, base = struct.unpack_from(">2i", column, 12)
    assert (dimensions, base) == (1, 1)
    at, found = 20, []
    for _ in range(length):
        (size,) = struct.unpack_from(">i", column, at)
        at += 4
        found.append(None if size < 0 else column[at : at + size])
        at += max(size, 0)
    assert at == len(column)
    return found


def rows(strategy):
    return st.lists(st.none() | strategy, max_size=5)


anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.text(st.characters(codec=None))  # halves of surrogate pairs among them
    | st.binary()
    | st.sampled_from(Alarm)
)
names = st.text() | st.text(st.characters(codec=None)) | st.sampled_from(["index", "a b", 'a"b'])
sayings = st.dictionaries(names, anything, max_size=5) | st.dictionaries(
    st.text("abcdef", min_size=1), anything, min_size=30, max_size=40
)
zones: Any = st.sampled_from([UTC, timezone(timedelta(0), "Z"), timezone(timedelta(hours=-5))])
years: Any = {"min_value": datetime(1, 1, 2), "max_value": datetime(9999, 12, 30)}  # noqa: DTZ001
times = st.datetimes(timezones=zones, **years)
INT8 = st.integers(-(2**63), 2**63 - 1)


@given(rows(INT8))
def test_int8(values):
    read = [
        None if e is None else int.from_bytes(e, signed=True)
        for e in elements(same("int8", values))
    ]
    assert read == values


@given(rows(st.integers(-(2**31), 2**31 - 1)))
def test_int4(values):
    read = [
        None if e is None else int.from_bytes(e, signed=True)
        for e in elements(same("int4", values))
    ]
    assert read == values


@given(rows(st.floats(allow_nan=False) | st.integers(-1000, 1000)))
def test_float8(values):
    read = [
        None if e is None else struct.unpack(">d", e)[0] for e in elements(same("float8", values))
    ]
    assert read == values


@given(rows(st.booleans()))
def test_boolean(values):
    assert elements(same("boolean", values)) == [None if v is None else bytes([v]) for v in values]


@given(rows(times))
@example([datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)])
@example([datetime(2000, 2, 29, tzinfo=UTC), datetime(1900, 2, 28, 23, tzinfo=UTC)])
def test_timestamptz(values):
    epoch = datetime(2000, 1, 1, tzinfo=UTC)
    read = [
        None if e is None else epoch + timedelta(microseconds=int.from_bytes(e, signed=True))
        for e in elements(same("timestamptz", values))
    ]
    assert read == values


@given(rows(st.uuids()))
@example([UUID(int=0), UUID(int=2**128 - 1), UUID(int=2**64)])
def test_uuid(values):
    assert elements(same("uuid", values)) == [None if v is None else v.bytes for v in values]


@given(rows(st.binary()))
def test_bytea(values):
    assert elements(same("bytea", values)) == values
    views = [None if v is None else memoryview(bytearray(v)) for v in values]
    assert elements(same("bytea", views)) == values


@given(rows(st.text() | st.text(st.characters(codec=None)) | st.sampled_from(Alarm)))
@example(["a\0b", "\ud800", "\U0001f600", "", Alarm.SOS, "sos"])
def test_text(values):
    for element, value in zip(elements(same("text", values)), values, strict=True):
        if element is None or value is None:
            assert element is value is None
        elif "\0" not in value and value.isprintable():
            assert element.decode() == value
        else:
            assert "\0" not in element.decode()


@given(
    st.lists(st.none() | sayings | sayings.map(MappingProxyType) | st.lists(sayings), max_size=3)
)
@example([{"a": 1, "b": True, "c": -0.0, "d": 1e22, "e": 'say "\\"', "f": "\x7f", "g": None}])
@example([{"a": -(2**63), "b": 2**63, "c": 2**64, "d": 10**5000, "e": float("nan")}])
def test_jsonb_of_anything(values):
    column = same("jsonb", values)
    if column == "refused":  # bytes, in a place where JSON has none
        return
    for element, value in zip(elements(column), values, strict=True):
        if element is None:
            assert not value
        else:
            assert element == b"\1" + columns_py.json_bytes(value)
            json.loads(element[1:])


@given(st.lists(fixes, max_size=3))
def test_what_a_fix_heard_is_spelled_as_the_codec_spells_it(found):
    for name, plan in PLANS.items():
        column = same("jsonb_records", [getattr(fix, name) for fix in found], plan)
        for element, fix in zip(elements(column), found, strict=True):
            spelled = fix_to_json(fix).get(name)
            assert element == (spelled and b"\1" + columns_py.json_bytes(spelled))


@given(st.lists(st.tuples(st.booleans(), rows(st.floats()), sayings), max_size=3))
@example([(True, [None, 1, 2.5], {"b": 1, "a": "it's", "index": 7})])
@example([(True, [], MappingProxyType({"b": -1.5, "a": "", "ab": False, "a=": 3}))])
@example([(False, [], {"a": 10**5000, "\ud800": 1})])
def test_digests(found):
    truths, numbers, said = ([row[n] for row in found] for n in range(3))
    made = same("digests", truths, numbers, said, VOLATILE)
    if made != "refused":
        assert len(made) == len(found)
        assert all(-(2**63) <= digest < 2**63 for digest in made)


def test_digests_are_those_in_the_databases():
    """A change would make every resend of a stored fix a second fix."""
    fix: dict[str, Any] = {
        "time": datetime(2026, 5, 4, tzinfo=UTC),
        "latitude_deg": 22.5,
        "longitude_deg": 114.25,
    }
    full: dict[str, Any] = {
        "altitude_m": 12.0, "speed_mps": 3.25, "course_deg": 90.0, "hdop": 0.9, "satellites": 9,
        "telemetry": {"ignition": True, "gsm_level": 4, "battery_v": 3.97, "driver": "a", "index": 5},
    }  # fmt: skip
    assert fix_digest(Fix(valid=True, **fix)) == -3037524318123048308
    assert fix_digest(Fix(valid=False, **fix, **full)) == -5021802405838754581
    odd: dict[str, Any] = {"name": "it's", "größe": 1, "big": 2**70, "huge": 10**5000}
    assert fix_digest(Fix(valid=True, **fix, telemetry=odd)) == -6422966259665399158


@pytest.mark.parametrize("name", ["int8", "int4", "float8", "timestamptz", "uuid", "bytea", "text"])
def test_no_values_are_an_empty_array(columns, name):
    assert elements(getattr(columns, name)([])) == []


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("int8", 2**63), ("int8", 1.5), ("int8", "1"), ("int4", 2**31), ("int4", -(2**31) - 1),
        ("float8", "1.5"), ("float8", 10**400), ("float8", b"1"),
        ("timestamptz", 5), ("timestamptz", datetime(2026, 1, 1)),  # noqa: DTZ001
        ("bytea", 5), ("bytea", "text"), ("text", 5), ("text", b"bytes"),
        ("jsonb", {"a": object()}),
    ],
)  # fmt: skip
def test_a_value_without_a_place_is_refused(columns, name, bad):
    for values in ([bad], [None, bad]):
        with pytest.raises(REFUSALS):
            getattr(columns, name)(values)


@pytest.mark.parametrize(
    "args",
    [
        ([True], [(1.0,)], [], VOLATILE),
        ([True], [], [{}], VOLATILE),
        ([True, True], [(1.0,), (1.0, 2.0)], [{}, {}], VOLATILE),
        ([True], [("1",)], [{}], VOLATILE),
        ([True], [(10**400,)], [{}], VOLATILE),
    ],
)
def test_rows_without_a_digest_are_refused(columns, args):
    with pytest.raises(REFUSALS):
        columns.digests(*args)


def test_the_twin_can_be_asked_for():
    for wish, kind in (("python", "python"), ("", "compiled")):
        said = subprocess.run(
            [sys.executable, "-m", "core_ext.columns"],
            env={"TRUETRACK_EXTENSION": wish},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout == f"core_ext.columns: {kind}\n"
