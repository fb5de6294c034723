"""Items of a commit as columns, section by section: frames, positions, events, contacts.

Each section is a list of `Packed` parameters in the order in which its statement in
`storage.ingest` unnests them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from model import Event, Fix, FixSource, Heartbeat, Login, Rejected, Report, Status, TimeSource
from model.codec import fix_to_json
from model.device import Contact, ContactClosed, Durability, Entry, IdentityStrength
from model.records import Alarm, Cell, CommandResult, Scalar, WifiAp
from storage.digest import fix_digest
from storage.events import KIND_NAMES, EventRow
from storage.packing import (
    BOOL,
    BYTEA,
    FLOAT8,
    INT4,
    INT8,
    JSONB,
    NULL,
    POSTGRES_EPOCH_US,
    TEXT,
    TIMESTAMPTZ,
    UUID,
    Int64s,
    Packed,
    fixed,
    json_piece,
    piece,
    text_piece,
    varied,
    words,
)
from storage.plausible import AHEAD, EARLIEST, why_absurd

_KIND = {record: piece(name.encode()) for record, name in KIND_NAMES.items()}
_SOURCE = words(FixSource)
_TIME_SOURCE = words(TimeSource)
_STRENGTH = words(IdentityStrength)
_DURABILITY = words(Durability)
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST_US = (EARLIEST - _POSTGRES_EPOCH) // _MICROSECOND
_AHEAD_US = AHEAD // _MICROSECOND
_BOOL = {None: NULL, True: piece(b"\1"), False: piece(b"\0")}


@dataclass(slots=True)
class Positions:
    """Fixes, each with the entry and the frame that it came in."""

    fixes: list[Fix] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    frame_ids: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.fixes)

    def add(self, fix: Fix, entry: Entry, frame_id: int) -> None:
        self.fixes.append(fix)
        self.entries.append(entry)
        self.frame_ids.append(frame_id)

    def pick(self, where: Sequence[int]) -> "Positions":
        return Positions(
            [self.fixes[n] for n in where],
            [self.entries[n] for n in where],
            [self.frame_ids[n] for n in where],
        )


def pack_frames(entries: Sequence[Entry], frame_ids: Sequence[int]) -> list[Packed]:
    return [
        fixed(INT8, frame_ids),
        fixed(TIMESTAMPTZ, stamps([e.received_at for e in entries])),
        fixed(INT8, [0 if e.device is None else e.device.id for e in entries]),
        varied(UUID, [piece(e.contact.id.bytes) for e in entries]),
        varied(TEXT, [text_piece(e.contact.source) for e in entries]),
        varied(TEXT, [_KIND[type(e.event)] for e in entries]),
        varied(TEXT, [text_piece(_reason(e.event)) for e in entries]),
        varied(TEXT, [text_piece(e.decoder) for e in entries]),
        varied(TEXT, [_DURABILITY[e.durability] for e in entries]),
        varied(BYTEA, [piece(e.event.raw) for e in entries]),
    ]


def pack_positions(rows: Positions, times: Int64s, received: Int64s) -> tuple[list[Packed], bool]:
    """The columns, and whether the rare ones (mock, cells, wifi, sky) are among them."""
    fixes, entries = rows.fixes, rows.entries
    columns = [
        fixed(INT8, [e.device.id for e in entries if e.device is not None]),
        fixed(TIMESTAMPTZ, times),
        fixed(INT8, [fix_digest(f) for f in fixes]),
        fixed(FLOAT8, [f.latitude_deg for f in fixes]),
        fixed(FLOAT8, [f.longitude_deg for f in fixes]),
        fixed(FLOAT8, [f.altitude_m for f in fixes]),
        fixed(FLOAT8, [f.speed_mps for f in fixes]),
        fixed(FLOAT8, [f.course_deg for f in fixes]),
        fixed(FLOAT8, [f.accuracy_m for f in fixes]),
        fixed(FLOAT8, [f.hdop for f in fixes]),
        fixed(INT8, rows.frame_ids),
        fixed(TIMESTAMPTZ, received),
        fixed(INT4, [-1 if f.satellites is None else f.satellites for f in fixes]),
        fixed(BOOL, [f.valid for f in fixes]),
        varied(TEXT, [_SOURCE[f.source] for f in fixes]),
        varied(TEXT, [_TIME_SOURCE[f.time_source] for f in fixes]),
        varied(TEXT, [_DURABILITY[e.durability] for e in entries]),
        varied(TEXT, [_STRENGTH[e.contact.strength] for e in entries]),
        varied(JSONB, [json_piece(f.telemetry) if f.telemetry else NULL for f in fixes]),
    ]
    rare = any(f.cells or f.wifi or f.sky or f.mock is not None for f in fixes)
    if rare:
        columns.append(varied(BOOL, [_BOOL[f.mock] for f in fixes]))
        columns += [
            varied(
                JSONB,
                [json_piece(fix_to_json(f)[name]) if getattr(f, name) else NULL for f in fixes],
            )
            for name in ("cells", "wifi", "sky")
        ]
    return columns, rare


def pack_reasons(rows: Positions) -> Packed:
    reasons = [
        why_absurd(f.time, e.received_at) for f, e in zip(rows.fixes, rows.entries, strict=True)
    ]
    return varied(TEXT, [text_piece(reason or "") for reason in reasons])


def pack_events(rows: Sequence[EventRow]) -> list[Packed]:
    events = [row.entry.event for row in rows]
    return [
        fixed(INT8, [0 if r.entry.device is None else r.entry.device.id for r in rows]),
        fixed(TIMESTAMPTZ, [microseconds(r.time) for r in rows]),
        varied(TEXT, [piece(r.kind.encode()) for r in rows]),
        fixed(INT8, [r.digest for r in rows]),
        varied(
            TIMESTAMPTZ,
            [
                NULL
                if r.device_time is None
                else piece(microseconds(r.device_time).to_bytes(8, "big", signed=True))
                for r in rows
            ],
        ),
        fixed(INT8, [r.frame_id for r in rows]),
        fixed(TIMESTAMPTZ, [microseconds(r.entry.received_at) for r in rows]),
        varied(UUID, [piece(r.entry.contact.id.bytes) for r in rows]),
        # An array of arrays would have to be rectangular: the words travel as one text.
        varied(TEXT, [text_piece(",".join(sorted(_alarms(e))) or None) for e in events]),
        varied(TEXT, [text_piece(_detail(e)) for e in events]),
        varied(
            TEXT, [text_piece(e.token if isinstance(e, CommandResult) else None) for e in events]
        ),
        varied(JSONB, [_json_or_null(_telemetry(e)) for e in events]),
        varied(JSONB, [_json_or_null([asdict(c) for c in _cells(e)]) for e in events]),
        varied(JSONB, [_json_or_null([asdict(w) for w in _wifi(e)]) for e in events]),
    ]


def pack_contacts(rows: Sequence[tuple[Contact, int | None]]) -> list[Packed]:
    contacts = [contact for contact, _ in rows]
    return [
        varied(UUID, [piece(c.id.bytes) for c in contacts]),
        fixed(INT8, [device or 0 for _, device in rows]),
        varied(TEXT, [text_piece(c.source) for c in contacts]),
        varied(TEXT, [text_piece(c.transport) for c in contacts]),
        varied(TEXT, [text_piece(c.peer) for c in contacts]),
        varied(TEXT, [_STRENGTH[c.strength] for c in contacts]),
        fixed(TIMESTAMPTZ, [microseconds(c.opened_at) for c in contacts]),
    ]


def pack_closed(rows: Sequence[ContactClosed], devices: Sequence[int | None]) -> list[Packed]:
    return [
        *pack_contacts([(r.contact, device) for r, device in zip(rows, devices, strict=True)]),
        fixed(TIMESTAMPTZ, [microseconds(r.closed_at) for r in rows]),
        varied(TEXT, [text_piece(r.cause) for r in rows]),
        varied(TEXT, [text_piece(r.detail) for r in rows]),
        fixed(INT8, [r.frames for r in rows]),
        fixed(INT8, [r.bytes_in for r in rows]),
    ]


def microseconds(time: datetime) -> int:
    """Since Postgres's epoch, exactly, for any year."""
    return (time - _POSTGRES_EPOCH) // _MICROSECOND


def stamps(times: Iterable[datetime]) -> Int64s:
    """Microseconds since Postgres's epoch. Floats hold them exactly until 2100; later is absurd."""
    seconds = np.array([time.timestamp() for time in times])
    return np.rint(seconds * 1e6).astype(np.int64) - POSTGRES_EPOCH_US


def sift(rows: Positions) -> tuple[Int64s, Int64s, Positions, Positions]:
    """Times and arrivals of the plausible fixes, these, and those of absurd times."""
    times = stamps([fix.time for fix in rows.fixes])
    arrived = stamps([entry.received_at for entry in rows.entries])
    where = absurd(times, arrived)
    if not where:
        return times, arrived, rows, Positions()
    out = set(where)
    stay = [n for n in range(len(rows)) if n not in out]
    return times[stay], arrived[stay], rows.pick(stay), rows.pick(where)


def absurd(times: Int64s, received: Int64s) -> list[int]:
    """Where `plausible.why_absurd` would object."""
    where = (times < _EARLIEST_US) | (times > received + _AHEAD_US)
    return [int(n) for n in np.flatnonzero(where)] if where.any() else []


def _reason(event: Event) -> str | None:
    return event.reason if isinstance(event, Rejected) else None


def _alarms(event: Event) -> Iterable[Alarm]:
    return event.alarms if isinstance(event, Report | Status) else ()


def _detail(event: Event) -> str | None:
    match event:
        case CommandResult():
            return event.text
        case Rejected():
            return event.reason
    return None


def _telemetry(event: Event) -> Mapping[str, Scalar]:
    return event.telemetry if isinstance(event, Login | Heartbeat | Status) else {}


def _cells(event: Event) -> Sequence[Cell]:
    return event.cells if isinstance(event, Status) else ()


def _wifi(event: Event) -> Sequence[WifiAp]:
    return event.wifi if isinstance(event, Status) else ()


def _json_or_null(value: Any) -> bytes:
    return json_piece(value) if value else NULL


def exact_stamps(rows: Positions) -> tuple[Int64s, Int64s]:
    """Times of fixes and arrivals of any year."""
    times = [microseconds(fix.time) for fix in rows.fixes]
    arrived = [microseconds(entry.received_at) for entry in rows.entries]
    return np.array(times, np.int64), np.array(arrived, np.int64)
