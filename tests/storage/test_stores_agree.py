"""One state machine holds the model store to what Postgres does.

Whatever is committed, resent, out of order, refused or lost on its way, both hold the same:
otherwise the simulation, which runs on the model, proves nothing.
"""

import asyncio
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from model import Alarm, Event, Fix, Heartbeat, Login, Rejected, Report, Status, faults
from model.device import (
    CloseCause,
    Contact,
    ContactClosed,
    Device,
    DevicePolicy,
    Entry,
    IdentityStrength,
)
from storage.model_store import ModelStore
from storage.postgres import PostgresStore
from storage.store import QuarantineFull, StorageUnavailable
from tests.storage.things import NOW, fix, identity

MAX_QUARANTINED = 2
IDENTS = [f"{n:05d}" for n in range(5)]
TABLES = (
    "raw.frame", "raw.position", "raw.position_quarantine", "raw.device_event", "raw.contact",
    "raw.latest_position", "raw.device_day_dirty", "raw.rejected_item", "ref.device",
)  # fmt: skip

# Few values, so that fixes collide: the same second, the same fix marked anew, days apart.
OFFSETS_S = [0, 1, 1.5, 2, -86400, -86400 * 40, 86400, 86400.000001, -86400 * 365 * 40]
FIXES = st.builds(
    fix,
    st.sampled_from(OFFSETS_S),
    valid=st.booleans(),
    latitude_deg=st.sampled_from([22.5, 22.6]),
    speed_mps=st.sampled_from([None, 0.0]),
    telemetry=st.sampled_from(
        [{}, {"backfill": True, "index": 3}, {"ignition": True}, {"ignition": True, "index": 4}]
    ),
)
ALARMS = st.frozensets(st.sampled_from([Alarm.SOS, Alarm.TOW]), max_size=2)
ARRIVALS = st.sampled_from([NOW, NOW + timedelta(seconds=3)])


@dataclass(frozen=True)
class Said:
    """An item without the device's number, which each store gives by itself."""

    ident: str | None
    contact: int
    received_at: datetime
    kind: str
    fixes: tuple[Fix, ...] = ()
    alarms: frozenset[Alarm] = frozenset()
    raw: bytes = b""
    time: datetime | None = None


ITEMS = st.one_of(
    st.builds(
        Said,
        ident=st.sampled_from(IDENTS),
        contact=st.integers(1, 4),
        received_at=ARRIVALS,
        kind=st.just("report"),
        fixes=st.lists(FIXES, min_size=1, max_size=4).map(tuple),
        alarms=ALARMS,
    ),
    st.builds(
        Said,
        ident=st.sampled_from(IDENTS),
        contact=st.integers(1, 4),
        received_at=ARRIVALS,
        kind=st.sampled_from(["login", "heartbeat", "status", "closed"]),
        alarms=ALARMS,
        raw=st.sampled_from([b"a", b"b"]),
        time=st.sampled_from([None, NOW, datetime(1980, 1, 6, tzinfo=UTC)]),
    ),
    st.builds(
        Said,
        ident=st.none(),
        contact=st.integers(1, 4),
        received_at=ARRIVALS,
        kind=st.sampled_from(["rejected", "closed"]),
    ),
)


class Agreement(RuleBasedStateMachine):
    batches = Bundle("batches")

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.loop = asyncio.Runner()
        self.look = psycopg.connect(url, autocommit=True)
        self.look.execute("; ".join(f"DELETE FROM {table}" for table in TABLES))
        self.model = ModelStore(max_quarantined=MAX_QUARANTINED)
        self.postgres = PostgresStore(url, max_quarantined=MAX_QUARANTINED)
        self.devices: dict[Any, dict[str, Device]] = {self.model: {}, self.postgres: {}}

    def teardown(self):
        faults.install(None)
        self.loop.run(self.postgres.close())
        self.loop.close()
        self.look.close()

    def both(self, work):
        """The same of both stores; their outcomes must agree in kind."""
        outcomes = []
        for store in (self.model, self.postgres):
            try:
                outcomes.append(self.loop.run(work(store)))
            except (QuarantineFull, StorageUnavailable) as error:
                outcomes.append(type(error))
        assert (outcomes[0] is QuarantineFull) == (outcomes[1] is QuarantineFull)
        assert (outcomes[0] is StorageUnavailable) == (outcomes[1] is StorageUnavailable)
        return outcomes

    def items(self, store, batch):
        known = self.devices[store]
        return [built(said, known.get(said.ident)) for said in batch]

    @initialize()
    def one_device(self):
        self.admit(IDENTS[0], DevicePolicy.REGISTER)

    @rule(ident=st.sampled_from(IDENTS), policy=st.sampled_from(list(DevicePolicy)))
    def admit(self, ident, policy):
        one, other = self.both(lambda store: store.admit(identity(ident), policy))
        if one is not QuarantineFull:
            assert (one.identity, one.state) == (other.identity, other.state)
            self.devices[self.model][ident] = one
            self.devices[self.postgres][ident] = other

    @rule(target=batches, batch=st.lists(ITEMS, max_size=8))
    def commit(self, batch):
        self.both(lambda store: store.commit(self.items(store, batch)))
        return batch or multiple()

    @rule(batch=batches)
    def resend(self, batch):
        self.both(lambda store: store.commit(self.items(store, batch)))

    @rule(batch=batches)
    def resend_in_another_order(self, batch):
        """In batches of their own, last first. Both stores keep the first of equals they see."""
        for said in reversed(batch):
            self.both(lambda store, said=said: store.commit(self.items(store, [said])))

    @rule(target=batches, batch=st.lists(ITEMS, min_size=1, max_size=8))
    def committed_but_the_answer_is_lost(self, batch):
        with failing("store.after_commit"):
            self.both(lambda store: store.commit(self.items(store, batch)))
        return batch

    @rule(target=batches, batch=st.lists(ITEMS, min_size=1, max_size=8))
    def the_store_is_away(self, batch):
        with failing("store.before_commit"):
            self.both(lambda store: store.commit(self.items(store, batch)))
        return batch

    @rule()
    def a_new_gateway(self):
        self.loop.run(self.postgres.close())
        self.postgres, old = PostgresStore(self.url, max_quarantined=MAX_QUARANTINED), self.postgres
        self.devices[self.postgres] = self.devices.pop(old)

    @invariant()
    def hold_the_same(self):
        by_number = {d.id: d.identity for d in self.model.register.values()}
        for what, (modelled, sql) in COMPARED.items():
            if what == "devices":
                expected = modelled(self.model)
            else:
                expected = [
                    (None if n is None else by_number[n].ident, *rest)
                    for n, *rest in modelled(self.model)
                ]
            found = self.look.execute(sql).fetchall()
            assert sorted(found, key=repr) == sorted(expected, key=repr), what


def built(said: Said, device):
    contact = Contact(
        id=UUID(int=said.contact), source="s", transport="tcp", peer="p", opened_at=NOW,
        strength=IdentityStrength.NONE,
    )  # fmt: skip
    who = None if said.ident is None else identity(said.ident)
    event: Event
    match said.kind:
        case "closed":
            return ContactClosed(
                contact=contact, device=device, closed_at=said.received_at, cause=CloseCause.PEER
            )
        case "report":
            event = Report(raw=said.raw, device=who, fixes=said.fixes, alarms=said.alarms)
        case "status":
            event = Status(raw=said.raw, device=who, time=said.time, alarms=said.alarms)
        case "login":
            event = Login(raw=said.raw, device=who)
        case "heartbeat":
            event = Heartbeat(raw=said.raw, device=who)
        case "rejected":
            event = Rejected(raw=said.raw, device=who, reason="?")
    return Entry(event=event, device=device, contact=contact, received_at=said.received_at)


@contextmanager
def failing(point):
    def strike(reached):
        if reached == point:
            raise StorageUnavailable(point)

    faults.install(strike)
    try:
        yield
    finally:
        faults.install(None)


DEVICE = "LEFT JOIN ref.device ON device.id = device_id"
COMPARED: dict[str, tuple[Callable[[ModelStore], list[Any]], str]] = {
    "devices": (
        lambda model: [(d.identity.ident, str(d.state)) for d in model.register.values()],
        "SELECT ident, state FROM ref.device",
    ),
    "positions": (
        lambda model: [(n, t, g, f.valid, f.latitude_deg) for (n, t, g), f in model.positions.items()],
        f"SELECT ident, time, digest, valid, latitude_deg FROM raw.position {DEVICE}",
    ),
    "quarantined": (
        lambda model: list(model.quarantined),
        f"SELECT ident, time, digest FROM raw.position_quarantine {DEVICE}",
    ),
    "latest": (
        lambda model: [(n, f.time, f.latitude_deg) for n, f in model.latest.items()],
        f"SELECT ident, time, latitude_deg FROM raw.latest_position {DEVICE}",
    ),
    "dirty": (
        lambda model: list(model.dirty),
        f"SELECT ident, day FROM raw.device_day_dirty {DEVICE}",
    ),
    "events": (
        lambda model: list(model.events),
        f"SELECT ident, time, kind, digest FROM raw.device_event {DEVICE}",
    ),
    "frames": (
        lambda model: [(e.device.id if e.device else None, e.event.raw) for e in model.frames],
        f"SELECT ident, raw FROM raw.frame {DEVICE}",
    ),
    "contacts": (
        lambda model: [(n, c, c in model.closed) for c, n in model.contacts.items()],
        f"SELECT ident, contact.id, closed_at IS NOT NULL FROM raw.contact {DEVICE}",
    ),
    "parked": (lambda model: [], "SELECT NULL FROM raw.rejected_item"),
}  # fmt: skip


def test_stores_agree(postgres_url):
    class Here(Agreement):
        def __init__(self) -> None:
            super().__init__(postgres_url)

    run_state_machine_as_test(
        Here, settings=settings(max_examples=60, stateful_step_count=15, deadline=None)
    )
