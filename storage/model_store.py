"""The store as a model: dictionaries that behave as Postgres must.

Tests and the simulation run on it; one state machine holds it to the real store's behaviour.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from model import DeviceIdentity, Fix, Report, fault
from model.device import ContactClosed, Device, DevicePolicy, DeviceState, Entry, Item
from storage.digest import fix_digest
from storage.events import EventRow, event_row
from storage.plausible import why_absurd
from storage.store import QuarantineFull


class ModelStore:
    """Everything committed, in plain sight."""

    def __init__(self, *, max_quarantined: int = 1000) -> None:
        self.positions: dict[tuple[int, datetime, int], Fix] = {}
        self.quarantined: dict[tuple[int, datetime, int], Fix] = {}  # of absurd times
        self.inserts: Counter[tuple[int, datetime, int]] = Counter()
        self.frames: list[Entry] = []
        self.events: dict[tuple[int | None, datetime, str, int], EventRow] = {}
        self.contacts: dict[UUID, int | None] = {}  # with the device each is of
        self.closed: dict[UUID, ContactClosed] = {}
        self.latest: dict[int, Fix] = {}
        self.dirty: set[tuple[int, date]] = set()
        self.register: dict[DeviceIdentity, Device] = {}
        self._max_quarantined = max_quarantined

    async def commit(self, items: Sequence[Item]) -> None:
        fault("store.before_commit")
        self.apply(items)
        fault("store.after_commit")

    def apply(self, items: Sequence[Item]) -> None:
        """The transaction itself: all of it or, for whoever does not call, nothing."""
        for item in items:
            contact, device = item.contact.id, item.device
            if self.contacts.get(contact) is None:
                self.contacts[contact] = None if device is None else device.id
            if isinstance(item, ContactClosed):
                self.closed[contact] = item
                continue
            self.frames.append(item)
            if (event := event_row(item, len(self.frames))) is not None:
                self.events.setdefault(event.key, event)
            if device is not None and isinstance(item.event, Report):
                for fix in item.event.fixes:
                    if why_absurd(fix.time, item.received_at) is None:
                        self._insert(device, fix)
                    else:
                        key = (device.id, fix.time, fix_digest(fix))
                        self.quarantined.setdefault(key, fix)

    def _insert(self, device: Device, fix: Fix) -> None:
        key = (device.id, fix.time, fix_digest(fix))
        if key in self.positions:
            return
        self.positions[key] = fix
        self.inserts[key] += 1
        self.dirty.add((device.id, fix.time.date()))
        newest = self.latest.get(device.id)
        if fix.valid and (newest is None or fix.time > newest.time):
            self.latest[device.id] = fix

    async def devices(self) -> list[Device]:
        fault("store.devices")
        return list(self.register.values())

    async def admit(self, identity: DeviceIdentity, policy: DevicePolicy) -> Device:
        fault("store.admit")
        if found := self.register.get(identity):
            return found
        state = DeviceState.ACTIVE
        if policy is DevicePolicy.KNOWN:
            state = DeviceState.QUARANTINED
            waiting = sum(d.state is state for d in self.register.values())
            if waiting >= self._max_quarantined:
                raise QuarantineFull(f"{waiting} devices are in quarantine already")
        device = Device(id=len(self.register) + 1, identity=identity, state=state)
        self.register[identity] = device
        return device

    async def close(self) -> None:
        """Nothing to give back."""
