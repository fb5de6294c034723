"""What must hold of a decoder, whatever it is fed: the invariants, and how they are looked at."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from types import FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any
from uuid import UUID

from model import DeviceIdentity, Event, codec
from model.device import Contact, Device, DeviceState, Entry
from protocols.base import Decoder, ProtocolError
from storage.batch import pack
from tests.fuzz.material import Lane
from tests.protocols.driver import NOW

_CONTACT = Contact(
    id=UUID(int=1),
    source="fuzz",
    transport="tcp",
    peer="-",
    opened_at=datetime(2026, 1, 1, tzinfo=UTC),
)


class Broken(AssertionError):
    """An invariant does not hold; the message says which."""


def listen(lane: Lane, chunks: Iterable[bytes]) -> tuple[list[Event], bool]:
    """All events, checked; and whether the link was closed, so that the sender comes again."""
    subject = lane.decoder()
    events: list[Event] = []
    closed = False
    try:
        for chunk in chunks:
            events += subject.feed(chunk, NOW)
            if lane.datagrams:
                events += subject.flush(NOW)
            if subject.finished:
                closed = True
                break
        if not closed:
            closed = lane.answered and subject.pending  # it waits, and so does the sender
            events += subject.flush(NOW)
    except ProtocolError:
        closed = True
    check_events(subject, events)
    check_held(lane, subject)
    return events, closed


def check_events(subject: Decoder, events: Sequence[Event]) -> None:
    """Each can be answered, told in JSON and back, and stored."""
    for event in events:
        for accepted in (True, False):
            if not isinstance(subject.reply_to(event, accepted=accepted, now=NOW), bytes):
                raise Broken(f"an answer that is not bytes: {event!r}")
        if codec.from_json(codec.to_json(event)) != event:
            raise Broken(f"changed by its way through JSON: {event!r}")
    if events:
        pack([_entry(event) for event in events], range(1, len(events) + 1), {})


def _entry(event: Event) -> Entry:
    device = None
    if event.device is not None:
        device = Device(id=7, identity=event.device, state=DeviceState.ACTIVE)
    return Entry(event=event, device=device, contact=_CONTACT, received_at=NOW, decoder="fuzz/1")


def check_held(lane: Lane, subject: Decoder) -> int:
    held = held_bytes(subject)
    if held > lane.held_bytes:
        raise Broken(f"the decoder keeps {held} bytes, over {lane.held_bytes}")
    return held


_SHARED = (type, FunctionType, MethodType, ModuleType, MappingProxyType, DeviceIdentity)


def held_bytes(subject: object) -> int:
    """The size of an object with all that it alone refers to."""
    seen: set[int] = set()
    stack: list[Any] = [subject]
    total = 0
    while stack:
        one = stack.pop()
        if id(one) in seen or isinstance(one, _SHARED):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        if isinstance(one, dict):
            stack += [*one.keys(), *one.values()]
        elif hasattr(one, "__iter__") and not isinstance(one, str | bytes | bytearray):
            stack += one if hasattr(one, "__len__") else ()
        else:
            stack += getattr(one, "__dict__", {}).values()
            names = [field.name for field in fields(one)] if is_dataclass(one) else ()
            slots = [name for kind in type(one).__mro__ for name in getattr(kind, "__slots__", ())]
            stack += [getattr(one, name, None) for name in (*names, *slots)]
    return total
