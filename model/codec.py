"""Events as JSON objects, and back, without loss: what the spool keeps and `decode` prints.

    {"kind": "report", "protocol": "gt06", "device": "8633...", "raw": "7878...",
     "fixes": [{"time": "2026-01-02T03:04:05.000000Z", "valid": true, ...}], "alarms": ["sos"]}

The keys are the names of the records' fields, read from the records themselves, so that a new
field travels without an edit here. A field at its default is left out, save those in STATED.
Times keep their microseconds. An object without "v" is of version 1; a later form will write
its number there, and a reader refuses a number above its own.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from dataclasses import Field as DataclassField
from datetime import datetime
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

from model.records import (
    CommandResult,
    DeviceIdentity,
    Event,
    Fix,
    Heartbeat,
    Login,
    Rejected,
    Report,
    Status,
)

VERSION = 1

KINDS: dict[str, type[Event]] = {
    "login": Login,
    "heartbeat": Heartbeat,
    "report": Report,
    "status": Status,
    "command_result": CommandResult,
    "rejected": Rejected,
}
_NAMES = {kind: name for name, kind in KINDS.items()}

STATED = frozenset(
    {"altitude_m", "speed_mps", "course_deg", "accuracy_m", "hdop", "satellites", "telemetry"}
)
"""Fields of a fix that are written even when they say nothing: readers may count on the keys."""

_Change = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    default: Any  # MISSING where the record demands a value
    stated: bool
    out: _Change | None  # None: JSON has the value as it is
    back: _Change | None


def to_json(event: Event) -> dict[str, Any]:
    """The event as JSON's own types."""
    kind = type(event)
    device = event.device
    return {
        "kind": _NAMES[kind],
        "protocol": device.protocol if device else None,
        "device": device.ident if device else None,
        "raw": event.raw.hex(),
        **_out(_PLANS[kind], event),
    }


def from_json(data: Mapping[str, Any]) -> Event:
    """The event that `to_json` was given. Raises ValueError for what it never wrote."""
    version = data.get("v", 1)
    if not isinstance(version, int) or version > VERSION:
        raise ValueError(f"written by a newer version: {version!r}")
    try:
        kind = KINDS[data["kind"]]
        device = None
        if data["device"] is not None:
            device = DeviceIdentity(protocol=data["protocol"], ident=data["device"])
        given = _back(_PLANS[kind], data)
        return kind(raw=bytes.fromhex(data["raw"]), device=device, **given)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an event: {type(error).__name__}: {error}") from error


def fix_to_json(fix: Fix) -> dict[str, Any]:
    """One fix alone, as within a report."""
    return _out(_PLANS[Fix], fix)


def stamp(time: datetime) -> str:
    """A UTC time in ISO 8601 with microseconds and a Z."""
    return time.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _out(plan: tuple[_Field, ...], record: Any) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for field in plan:
        value = getattr(record, field.name)
        if field.stated or value != field.default:
            change = field.out
            said[field.name] = value if change is None or value is None else change(value)
    return said


def _back(plan: tuple[_Field, ...], data: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for field in plan:
        if field.name in data:
            value = data[field.name]
            change = field.back
            given[field.name] = value if change is None or value is None else change(value)
    return given


def _plan(record: type) -> tuple[_Field, ...]:
    """How each field of a record travels; `raw` and `device` of an event are written apart."""
    hints = get_type_hints(record)
    known = {field.name for field in fields(Event)} if issubclass(record, Event) else set()
    return tuple(
        _Field(
            name=field.name,
            default=_default(field),
            stated=_default(field) is MISSING or (record is Fix and field.name in STATED),
            out=_changes(hints[field.name])[0],
            back=_changes(hints[field.name])[1],
        )
        for field in fields(record)
        if field.name not in known
    )


def _default(field: DataclassField[Any]) -> Any:
    factory = field.default_factory
    return field.default if factory is MISSING else factory()


def _changes(hint: Any) -> tuple[_Change | None, _Change | None]:
    """The two ways of a type: to JSON and back."""
    if isinstance(hint, UnionType):  # every union in a record is `X | None`
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    origin = get_origin(hint)
    if hint is datetime:
        return stamp, datetime.fromisoformat
    if origin is Mapping:
        return dict, dict
    if origin is tuple:
        part = get_args(hint)[0]
        plan = _plan(part)
        return (
            lambda records: [_out(plan, record) for record in records],
            lambda items: tuple([part(**_back(plan, item)) for item in items]),
        )
    if origin is frozenset:
        (part,) = get_args(hint)
        return sorted, lambda words: frozenset(map(part, words))
    if issubclass(hint, StrEnum):
        return str, cast("_Change", hint)
    if hint in (bool, int, float, str):
        return None, None
    raise TypeError(f"no way to write a field of type {hint}")


_RECORDS: list[type] = [Fix, *KINDS.values()]
_PLANS = {record: _plan(record) for record in _RECORDS}
