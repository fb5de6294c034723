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
    closed: dict[UUID, ContactClosed] = {}
    named: dict[UUID, tuple[Contact, int | None]] = {}
    for item, number in zip(items, frame_ids, strict=True):
        contact = item.contact.id
        # The first device that a contact names is the one it is of.
        if contact not in named or named[contact][1] is None:
            named[contact] = (item.contact, None if item.device is None else item.device.id)
        if isinstance(item, Entry):
            entries.append(item)
            numbers.append(number)
        else:
            closed[contact] = item
    opened = [
        each
        for contact, each in named.items()
        if contact not in closed
        and (contact not in known or (known[contact] is None and each[1] is not None))
    ]

    positions = rows.Positions()
    events: list[EventRow] = []
    for entry, number in zip(entries, numbers, strict=True):
        event = entry.event
        if type(event) is Report:
            if entry.device is not None:
                for fix in event.fixes:
                    positions.add(fix, entry, number)
            if not event.alarms:
                continue
        if (row := event_row(entry, number)) is not None:
            events.append(row)

    columns: list[Packed] = []
    if entries and archive:
        columns += rows.pack_frames(entries, numbers)
    good, bad = rows.Positions(), rows.Positions()
    rare = rare_bad = False
    if positions:
        times, arrived, good, bad = rows.sift(positions)
        if good:
            more, rare = rows.pack_positions(good, times, arrived)
            columns += more
        if bad:
            more, rare_bad = rows.pack_positions(bad, *rows.exact_stamps(bad))
            columns += [*more, rows.pack_reasons(bad)]
    if events:
        columns += rows.pack_events(events)
    if opened:
        columns += rows.pack_contacts(opened)
    if closed:
        ends = list(closed.values())
        columns += rows.pack_closed(ends, [named[end.contact.id][1] for end in ends])
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
    return Batch(statement(sections), columns, opened, list(closed.values()))
