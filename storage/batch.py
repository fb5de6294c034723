"""A batch of items as one statement with its parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from model import Report
from model.device import Contact, ContactClosed, Entry, Item
from storage import rows
from storage.events import EventRow, event_row
from storage.ingest import Sections, statement
from storage.packing import Packed


@dataclass(frozen=True, slots=True)
class Batch:
    """What is sent, and what may be remembered once it is durable."""

    sql: bytes
    parameters: list[Packed]
    opened: list[tuple[Contact, int | None]]
    closed: list[ContactClosed]


def pack(
    items: Sequence[Item],
    frame_ids: Sequence[int],
    known: Mapping[UUID, int | None],
    *,
    archive: bool = True,
) -> Batch:
    """Every item as columns; `frame_ids` holds one number for each item, used or not.

    `known` are the contacts that are in the database, with the device they are of. Without
    `archive` the frames themselves are there already. Raises ValueError, TypeError or
    OverflowError where a value has no place in its column.
    """
    entries: list[Entry] = []
    numbers: list[int] = []
    # By the number in the UUID: a UUID itself is hashed by Python code.
    named: dict[int, tuple[Contact, int | None]] = {}
    closed: dict[int, ContactClosed] = {}
    for item, number in zip(items, frame_ids, strict=True):
        contact, device = item.contact, item.device
        key = contact.id.int
        # The first device that a contact names is the one it is of.
        if (before := named.get(key)) is None or before[1] is None:
            named[key] = (contact, None if device is None else device.id)
        if isinstance(item, Entry):
            entries.append(item)
            numbers.append(number)
        else:
            closed[key] = item
    opened = [each for key, each in named.items() if _is_news(*each, known) and key not in closed]

    positions = rows.Positions()
    fixes, owners, fix_numbers = positions.fixes, positions.entries, positions.frame_ids
    events: list[EventRow] = []
    for entry, number in zip(entries, numbers, strict=True):
        event = entry.event
        if type(event) is Report:
            if entry.device is not None:
                for fix in event.fixes:
                    fixes.append(fix)
                    owners.append(entry)
                    fix_numbers.append(number)
            if not event.alarms:
                continue
        if (row := event_row(entry, number)) is not None:
            events.append(row)

    columns: list[bytes] = []
    if entries and archive:
        columns += rows.pack_frames(entries, numbers)
    good, bad = rows.Positions(), rows.Positions()
    rare = rare_bad = False
    if positions:
        good, bad = rows.sift(positions)
        if good:
            more, rare = rows.pack_positions(good)
            columns += more
        if bad:
            more, rare_bad = rows.pack_positions(bad)
            columns += [*more, rows.pack_reasons(bad)]
    if events:
        columns += rows.pack_events(events)
    if opened:
        columns += rows.pack_contacts(opened)
    ends = list(closed.values())
    if ends:
        columns += rows.pack_closed(ends, [named[key][1] for key in closed])
    sections = Sections(
        frames=bool(entries) and archive,
        positions=bool(good),
        rare=rare,
        quarantined=bool(bad),
        rare_quarantined=rare_bad,
        events=bool(events),
        contacts=bool(opened),
        closed=bool(closed),
    )
    return Batch(statement(sections), [Packed(column) for column in columns], opened, ends)


_UNKNOWN = object()


def _is_news(contact: Contact, device: int | None, known: Mapping[UUID, int | None]) -> bool:
    """Whether the database does not know the contact, or not of which device it is."""
    said = known.get(contact.id, _UNKNOWN)
    return said is _UNKNOWN or (said is None and device is not None)
