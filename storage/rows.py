"""Items of a commit as columns, section by section: frames, positions, events, contacts.

Each section is a list of columns in the order in which its statement in `storage.ingest` unnests
them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from core_ext.columns import (
    boolean,
    bytea,
    float8,
    int4,
    int8,
    jsonb,
    jsonb_records,
    text,
    timestamptz,
    uuid,
)
from model import Event, Fix, Heartbeat, Login, Rejected, Report, Status
from model.device import Contact, ContactClosed, Entry
from model.records import Alarm, Cell, CommandResult, Satellite, Scalar, WifiAp
from storage.digest import fix_digests
from storage.events import KIND_NAMES, EventRow
from storage.plausible import AHEAD, EARLIEST, why_absurd


def _plan(record: type) -> list[tuple[str, Any]]:
    return [(field.name, field.default) for field in fields(record)]


# What a fix heard is spelled as `model.codec` spells it: what is at its default is left out.
_CELL, _WIFI, _SATELLITE = _plan(Cell), _plan(WifiAp), _plan(Satellite)


@dataclass(slots=True)
class Positions:
    """Fixes, each with the entry and the frame that it came in."""

    fixes: list[Fix] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    frame_ids: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.fixes)

    def pick(self, where: Sequence[int]) -> "Positions":
        return Positions(
            [self.fixes[n] for n in where],
            [self.entries[n] for n in where],
            [self.frame_ids[n] for n in where],
        )


def pack_frames(entries: Sequence[Entry], frame_ids: Sequence[int]) -> list[bytes]:
    events = [e.event for e in entries]
    contacts = [e.contact for e in entries]
    return [
        int8(frame_ids),
        timestamptz([e.received_at for e in entries]),
        int8([None if e.device is None else e.device.id for e in entries]),
        uuid([c.id for c in contacts]),
        text([c.source for c in contacts]),
        text([KIND_NAMES[type(e)] for e in events]),
        text([e.reason if type(e) is Rejected else None for e in events]),
        text([e.decoder for e in entries]),
        text([e.durability for e in entries]),
        bytea([e.raw for e in events]),
    ]


def pack_positions(rows: Positions) -> tuple[list[bytes], bool]:
    """The columns, and whether the rare ones (mock, cells, wifi, sky) are among them."""
    fixes, entries = rows.fixes, rows.entries
    columns = [
        int8([e.device.id for e in entries if e.device is not None]),
        timestamptz([f.time for f in fixes]),
        int8(fix_digests(fixes)),
        float8([f.latitude_deg for f in fixes]),
        float8([f.longitude_deg for f in fixes]),
        float8([f.altitude_m for f in fixes]),
        float8([f.speed_mps for f in fixes]),
        float8([f.course_deg for f in fixes]),
        float8([f.accuracy_m for f in fixes]),
        float8([f.hdop for f in fixes]),
        int8(rows.frame_ids),
        timestamptz([e.received_at for e in entries]),
        int4([f.satellites for f in fixes]),
        boolean([f.valid for f in fixes]),
        text([f.source for f in fixes]),
        text([f.time_source for f in fixes]),
        text([e.durability for e in entries]),
        text([e.contact.strength for e in entries]),
        jsonb([f.telemetry for f in fixes]),
    ]
    mocks = [f.mock for f in fixes]
    cells, wifi, sky = [f.cells for f in fixes], [f.wifi for f in fixes], [f.sky for f in fixes]
    rare = any(cells) or any(wifi) or any(sky) or mocks.count(None) < len(mocks)
    if rare:
        columns += [
            boolean(mocks),
            jsonb_records(cells, _CELL),
            jsonb_records(wifi, _WIFI),
            jsonb_records(sky, _SATELLITE),
        ]
    return columns, rare


def pack_reasons(rows: Positions) -> bytes:
    return text(
        [why_absurd(f.time, e.received_at) for f, e in zip(rows.fixes, rows.entries, strict=True)]
    )


def pack_events(rows: Sequence[EventRow]) -> list[bytes]:
    events = [row.entry.event for row in rows]
    return [
        int8([None if r.entry.device is None else r.entry.device.id for r in rows]),
        timestamptz([r.time for r in rows]),
        text([r.kind for r in rows]),
        int8([r.digest for r in rows]),
        timestamptz([r.device_time for r in rows]),
        int8([r.frame_id for r in rows]),
        timestamptz([r.entry.received_at for r in rows]),
        uuid([r.entry.contact.id for r in rows]),
        # An array of arrays would have to be rectangular: the words travel as one text.
        text([",".join(sorted(_alarms(e))) or None for e in events]),
        text([_detail(e) for e in events]),
        text([e.token if isinstance(e, CommandResult) else None for e in events]),
        jsonb([_telemetry(e) for e in events]),
        jsonb([[asdict(c) for c in _cells(e)] for e in events]),
        jsonb([[asdict(w) for w in _wifi(e)] for e in events]),
    ]


def pack_contacts(rows: Sequence[tuple[Contact, int | None]]) -> list[bytes]:
    contacts = [contact for contact, _ in rows]
    return [
        uuid([c.id for c in contacts]),
        int8([device for _, device in rows]),
        text([c.source for c in contacts]),
        text([c.transport for c in contacts]),
        text([c.peer for c in contacts]),
        text([c.strength for c in contacts]),
        timestamptz([c.opened_at for c in contacts]),
    ]


def pack_closed(rows: Sequence[ContactClosed], devices: Sequence[int | None]) -> list[bytes]:
    return [
        *pack_contacts([(r.contact, device) for r, device in zip(rows, devices, strict=True)]),
        timestamptz([r.closed_at for r in rows]),
        text([r.cause for r in rows]),
        text([r.detail for r in rows]),
        int8([r.frames for r in rows]),
        int8([r.bytes_in for r in rows]),
    ]


def sift(rows: Positions) -> tuple[Positions, Positions]:
    """The fixes of plausible times, and those of absurd ones."""
    times = [f.time for f in rows.fixes]
    arrivals = [e.received_at for e in rows.entries]
    if min(times) >= EARLIEST and max(times) <= min(arrivals) + AHEAD:
        return rows, Positions()  # as nearly always
    absurd = [why_absurd(t, at) is not None for t, at in zip(times, arrivals, strict=True)]
    return (
        rows.pick([n for n, is_absurd in enumerate(absurd) if not is_absurd]),
        rows.pick([n for n, is_absurd in enumerate(absurd) if is_absurd]),
    )


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
