"""One seed, one history: devices, a road, a gateway and a database, and what goes wrong.

    World(seed).run() -> History      the same bytes for the same seed, on any machine

Everything that happens is drawn from the seed. After a span with faults comes a calm one, in
which whatever is owed must be settled within CALM_S of simulated time; then the gateway drains.
"""

import asyncio
import json
import logging
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from random import Random
from typing import Any

from gateway.core import SWEEP_S
from model import DeviceIdentity, Fix
from model import faults as points
from model.device import Device as Registered
from model.device import DevicePolicy, DeviceState
from storage.model_store import ModelStore
from storage.spool import SpoolBroken
from tests.simulation import line
from tests.simulation.device import Device
from tests.simulation.dialects import DIALECTS, STREAM
from tests.simulation.disk import Killed, Platter
from tests.simulation.faults import Faults, Injected
from tests.simulation.line import Place
from tests.simulation.loop import Deadlock, VirtualLoop
from tests.simulation.process import Process, sessions_of

CALM_S = 60.0
START = datetime(2026, 3, 1, 23, 58, tzinfo=UTC)  # two minutes before a new day
_AGAIN = "power cut again"

line.install()
logging.getLogger("gateway").setLevel(logging.CRITICAL)


class Database(ModelStore):
    """The model store, with what it holds also listed as the devices would say it."""

    def __init__(self) -> None:
        super().__init__()
        self.places: Counter[tuple[str, Place]] = Counter()

    def _insert(self, device: Registered, fix: Fix) -> None:
        before = len(self.positions)
        super()._insert(device, fix)
        if len(self.positions) > before:
            self.places[device.identity.ident, line.place_of(fix)] += 1

    def holds(self, ident: str, place: Place) -> bool:
        """Stored; or, when a clock was wrong by more than a day, kept apart as absurd."""
        return (ident, place) in self.places or (ident, place) in self.set_apart()

    def set_apart(self) -> set[tuple[str, Place]]:
        if not self.quarantined:
            return set()
        idents = {device.id: device.identity.ident for device in self.register.values()}
        return {(idents[key[0]], line.place_of(fix)) for key, fix in self.quarantined.items()}


@dataclass(frozen=True, slots=True)
class Scenario:
    """What differs between runs besides the faults."""

    policy: DevicePolicy
    devices: int
    fixes: int  # of each device
    interval_s: int
    strangers: int  # devices that the register does not know
    guesses: int  # idents tried by one hostile address
    latency_s: float
    commit_s: float
    max_batch: int
    max_queue: int
    outstanding: int
    segment_bytes: int
    spool_bytes: int

    @classmethod
    def drawn(cls, chance: Random) -> "Scenario":
        pick = chance.choice
        return cls(
            policy=pick((DevicePolicy.KNOWN, DevicePolicy.REGISTER)),
            devices=chance.randint(2, 6),
            fixes=chance.randint(3, 14),
            interval_s=pick((1, 5, 10, 15)),
            strangers=pick((0, 0, 1, 3)),
            guesses=pick((0, 0, 0, 4)),
            latency_s=pick((0.02, 0.1, 0.4)),
            commit_s=pick((0.003, 0.02, 0.2)),
            max_batch=pick((1, 3, 4000)),
            max_queue=pick((4, 100, 100_000)),
            outstanding=pick((1, 4, 2000)),
            segment_bytes=pick((300, 2000, 1 << 20)),
            spool_bytes=pick((2000, 1 << 20, 1 << 20)),
        )


@dataclass(frozen=True, slots=True)
class Problem:
    kind: str  # lost, doubled, not drained, or what else must not be
    text: str


@dataclass(frozen=True, slots=True)
class History:
    """What a run left behind."""

    seed: int
    scenario: Scenario
    injected: list[Injected]
    problems: list[Problem]
    lines: list[str]
    fixes: int
    acknowledged: int
    span_s: float  # simulated

    def digest(self) -> str:
        return blake2b("\n".join(self.lines).encode(), digest_size=16).hexdigest()


class World:
    def __init__(self, seed: int, *, only: frozenset[str] | None = None) -> None:
        self.seed = seed
        self.chance = Random(f"{seed}/world")
        self.scenario = Scenario.drawn(Random(f"{seed}/scenario"))
        self.loop = VirtualLoop()
        self.faults = Faults(seed, self.loop.time, only)
        self.model = Database()
        self.platter = Platter()
        self.process: Process | None = None
        self.store_away = False
        self.accepting = True  # new connections
        self.over = False
        self.start_s = int(START.timestamp())
        self.reports: dict[tuple[str, int], tuple[Place, ...]] = {}
        self.frames: dict[bytes, tuple[str, int]] = {}  # raw -> what it reports
        self.promises: dict[tuple[str, int], bool] = {}  # -> by the spool
        self.spooled: set[bytes] = set()  # raw frames that a sync made safe
        self.devices: list[Device] = []
        self.problems: list[Problem] = []
        self._offset = timedelta(0)
        self._lines: list[str] = []
        self._acknowledged = 0
        self._read_safe = 0

    # what the parts ask

    def wall_clock(self) -> datetime:
        return START + self._offset + timedelta(seconds=self.loop.time())

    def latency_s(self) -> float:
        return self.chance.uniform(0.2, 1.0) * self.scenario.latency_s

    def commit_s(self) -> float:
        return min(self.chance.expovariate(1 / self.scenario.commit_s), 5.0)

    # what the parts tell

    def note(self, *said: Any) -> None:
        self._lines.append(f"{self.loop.time():10.3f} {' '.join(map(str, said))}")

    def problem(self, text: str, kind: str = "other") -> None:
        self.problems.append(Problem(kind, text))
        self.note("PROBLEM", kind, text)

    def sent(self, device: Device, number: int, places: tuple[Place, ...], data: bytes) -> None:
        key = (device.ident, number)
        self.reports[key] = places
        # A datagram brings its login along; the report is the frame.
        frame = data[len(line.login(device.ident)) :] if device.dialect.loose else data
        self.frames[frame.strip(b"\r\n")] = key
        self.note(device.ident, "sends", number)

    def promised(self, device: Device, number: int) -> None:
        """The gateway said that it has this report: that must be true at this very instant."""
        if not number:
            return
        key = (device.ident, number)
        self.promises[key] = device.dialect.spooled
        self.note("gateway receipts", *key)
        if device.dialect.spooled:
            self.read_safe()
            if any(self.frames.get(raw) == key for raw in self.spooled):
                return
            # A full spool is passed by: the promise is the database's then.
        if self.store_away:
            self.problem(f"receipt while the database was away: {key}", "too early")
        if not all(self.model.holds(device.ident, place) for place in self.reports[key]):
            self.problem(f"receipt before the commit: {key}", "too early")

    def acknowledged(self, device: Device, number: int) -> None:
        self._acknowledged += 1
        self.note(device.ident, "hears", number)

    def read_safe(self) -> None:
        """Learn what the process's disk has made safe, from its bytes and not from the spool."""
        if self.process is None:
            return
        safe = self.process.disk.safe
        while safe:
            data = safe.pop(0)
            while data:
                size = int.from_bytes(data[:4], "little")
                event = json.loads(data[8 : 8 + size])["event"]
                self.spooled.add(bytes.fromhex(event["raw"]).strip(b"\r\n"))
                data = data[8 + size :]

    def overheard(self, process: Process, data: bytes) -> None:
        """Bytes of a device that cannot be answered came: within seconds they must be safe."""
        raw = data.strip(b"\r\n")
        desk = process.core.desk
        if raw not in self.frames or desk is None:
            return  # a part of a message
        ident, number = self.frames[raw]

        def judge() -> None:
            self.read_safe()
            held = any(raw.hex().encode() in record for record, _ in desk._held)
            stored = all(self.model.holds(ident, place) for place in self.reports[ident, number])
            if process.alive and not (raw in self.spooled or held or stored):
                self.problem(f"heard and not spooled: {raw!r}", "lost")

        self.loop.call_later(3.0, judge)

    # life and death

    def start(self) -> None:
        if self.over or self.process is not None:
            return
        try:
            self.process = Process(self)
        except (OSError, SpoolBroken, Killed) as error:
            self.note("gateway does not start:", error)
            self.loop.call_later(2.0, self.start)
        else:
            self.note("gateway starts")

    def died(self, why: str, *, power_cut: bool = False) -> None:
        """The gateway's process is gone, now."""
        if self.process is None:
            return
        self.read_safe()
        self.note("gateway dies:", why)
        process, self.process = self.process, None
        process.die()
        if power_cut:
            self.platter.power_cut(self.faults.generator("power cut"))
        self.loop.call_later(self.chance.uniform(0.5, 6.0), self.start)
        if ("disk" in why or "spool" in why) and self.faults.strikes(_AGAIN):
            later = self.faults.generator(_AGAIN).uniform(3, 30)
            self.loop.call_later(later, self._cut_again)

    def _cut_again(self) -> None:
        if self.faults.active:
            self.died(_AGAIN, power_cut=True)

    def _strike(self, point: str) -> None:
        kind = f"kill at {point}"
        if self.process is not None and self.faults.strikes(kind):
            self.died(kind)
            raise Killed

    def _planned(self, kind: str) -> None:
        if not self.faults.strikes(kind):
            return
        self.note(kind)
        detail = self.faults.generator(kind)
        if kind == "store away":
            self.store_away = True
            self.loop.call_later(detail.uniform(1, 40), self._store_back)
        elif kind == "clock jump":
            self._offset += timedelta(seconds=detail.uniform(-86_400, 86_400))
        else:
            self.died(kind, power_cut=kind == "power cut")

    def _store_back(self) -> None:
        if self.store_away:
            self.store_away = False
            self.note("store is back")

    # the play

    def run(self) -> History:
        self.loop.set_exception_handler(self._unhandled)
        points.install(self._strike)
        try:
            self.loop.run_until_complete(self._play())
        except Deadlock as error:
            self.problem(str(error), "not drained")
        finally:
            points.install(None)
            self.over = True
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.close()
        return History(
            seed=self.seed,
            scenario=self.scenario,
            injected=self.faults.injected,
            problems=self.problems,
            lines=self._lines,
            fixes=sum(map(len, self.reports.values())),
            acknowledged=self._acknowledged,
            span_s=self.loop.time(),
        )

    def _unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Killed):
            self.problem(f"unhandled: {context.get('message')}: {error!r}")

    async def _play(self) -> None:
        span_s = self._people()
        for at, kind in self.faults.plan(span_s):
            self.loop.call_at(at, self._planned, kind)
        self.start()
        await asyncio.sleep(span_s)
        self.faults.active = False
        self._store_back()
        self.note("calm")
        end = self.loop.time() + CALM_S
        while not self._settled() and self.loop.time() < end:
            await asyncio.sleep(0.5)
        if not self._settled():
            waiting = {d.ident: list(d.flash) for d in self.devices if d.flash}
            self.problem(f"not settled after {CALM_S:.0f} s: {waiting}", "not drained")
        await asyncio.sleep(2 * SWEEP_S)
        self._judge_links()
        self.accepting = False
        if self.process is not None and not await self.process.core.drain():
            self.problem("the gateway did not drain", "not drained")
        self.read_safe()
        self.over = True
        self.note("end")

    def _settled(self) -> bool:
        return (
            self.process is not None
            and all(device.settled for device in self.devices)
            and not self.process.core.writer.queued
            and not self.process.core.desk.spool.backlog_bytes  # type: ignore[union-attr]
        )

    def _judge_links(self) -> None:
        """In a calm gateway nobody is kept waiting."""
        for source in () if self.process is None else self.process.core.sources.values():
            for session in sessions_of(source):
                if session.paused and session._waiting is None:
                    self.problem(f"never read from again: {session._link.info.peer}", "not drained")

    def _people(self) -> float:
        """Bring the devices into the world; return the second at which the last fix is due."""
        scenario, chance = self.scenario, Random(f"{self.seed}/people")
        last = 0
        for index in range(scenario.devices + scenario.strangers):
            ident = f"{860_000_000_000_000 + index}"
            dialect = chance.choice(DIALECTS)
            if index < scenario.devices:
                identity = DeviceIdentity(protocol=dialect.protocol, ident=ident)
                self.model.register[identity] = Registered(
                    id=index + 1, identity=identity, state=DeviceState.ACTIVE
                )
            plan = self._journey(chance, scenario.fixes, dense=dialect.numbered)
            last = max(last, plan[-1][0] - self.start_s)
            self.devices.append(Device(self, ident, dialect, f"10.0.0.{index}", plan))
        for index in range(scenario.guesses):
            plan = self._journey(chance, 1, dense=False)
            self.devices.append(Device(self, f"guess{index}", STREAM, "10.6.6.6", plan))
        return last + 1.0

    def _journey(self, chance: Random, fixes: int, *, dense: bool) -> list[Place]:
        at, lat, lon = self.start_s, chance.randint(-80_000, 80_000), chance.randint(-9999, 9999)
        plan: list[Place] = []
        for _ in range(fixes):
            if chance.random() < 0.9 or not dense:  # else another place in the same second
                at += chance.randint(1, 2 * self.scenario.interval_s)
            lat, lon = lat + chance.randint(1, 9), lon + chance.randint(-9, 9)
            plan.append((at, lat, lon))
        return plan
