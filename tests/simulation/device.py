"""Devices that keep a fix until it is acknowledged, and send it again until it is."""

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from tests.simulation.dialects import Dialect
from tests.simulation.line import Place
from tests.simulation.network import Wire

if TYPE_CHECKING:
    from tests.simulation.world import World

FIRST_WAIT_S, LAST_WAIT_S = 0.5, 8.0


@dataclass(slots=True)
class Kept:
    """A report in the device's flash."""

    places: tuple[Place, ...]
    sent: int = 0


class Device:
    def __init__(
        self, world: "World", ident: str, dialect: Dialect, network: str, plan: list[Place]
    ) -> None:
        """`plan` holds the places to come, each with the second at which it is measured."""
        self.ident = ident
        self.dialect = dialect
        self.network = network
        self.flash: dict[int, Kept] = {}
        self._world = world
        self._chance = Random(f"{world.seed}/{ident}")
        self._window = self._chance.choice((1, 2, 5)) if dialect.numbered else 1
        self._patience_s = self._chance.uniform(6, 14)
        self._in_flight: dict[int, None] = {}
        self._wire: Wire | None = None
        self._number = 0
        self._failures = 0
        self._deadline = 0.0
        self._watching = False
        self._waiting = False
        self._measure(plan)

    @property
    def settled(self) -> bool:
        return not self.flash

    @property
    def in_flight(self) -> list[int]:
        return list(self._in_flight)

    def _measure(self, plan: list[Place]) -> None:
        """Put each planned place into the flash at its time, alone or a few at once."""
        loop, start = self._world.loop, self._world.start_s
        size = self._chance.choice((1, 1, 3)) if self.dialect.many else 1
        for at in range(0, len(plan), size):
            places = tuple(plan[at : at + size])
            loop.call_at(places[-1][0] - start, self._measured, places)

    def _measured(self, places: tuple[Place, ...]) -> None:
        self._number += 1
        self.flash[self._number] = Kept(places)
        self._pump()

    # the conversation

    def _pump(self) -> None:
        if self._wire is None:
            self._connect()
            return
        for number, kept in list(self.flash.items()):
            if self._wire is None or len(self._in_flight) >= self._window:
                return
            if number not in self._in_flight:
                self._send(self._wire, number, kept)

    def _send(self, wire: Wire, number: int, kept: Kept) -> None:
        data = self.dialect.report(self.ident, number, kept.places, bool(kept.sent))
        kept.sent += 1
        self._world.sent(self, number, kept.places, data)
        if self.dialect.deaf:
            del self.flash[number]
            wire.send(data, None)
            return
        self._in_flight[number] = None
        self._deadline = self._world.loop.time() + self._patience_s
        if not self._watching:
            self._watch()
        wire.send(data, number)

    def _connect(self) -> None:
        if self._waiting:
            return
        if self._world.process is None or not self._world.accepting:
            self._retry()
            return
        self._wire = Wire(self._world, self)
        if hello := self.dialect.hello(self.ident):
            self._wire.send(hello, None)
        self._pump()

    def _retry(self) -> None:
        full = min(LAST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self._failures, 6))
        self._failures += 1
        self._waiting = True
        self._world.loop.call_later(full * self._chance.uniform(0.5, 1), self._again)

    def _again(self) -> None:
        self._waiting = False
        self._pump()

    def heard(self, wire: Wire, numbers: list[int]) -> None:
        if wire is not self._wire:
            return
        self._failures = 0
        for number in numbers:
            if self.flash.pop(number, None) is not None:
                self._world.acknowledged(self, number)
            self._in_flight.pop(number, None)
        self._deadline = self._world.loop.time() + self._patience_s
        self._pump()

    def disconnected(self, wire: Wire) -> None:
        if wire is self._wire:
            self._wire = None
            self._in_flight.clear()
            self._retry()

    def _watch(self) -> None:
        """Give the connection up when a receipt does not come."""
        self._watching = False
        if not self._in_flight or self._wire is None:
            return
        left = self._deadline - self._world.loop.time()
        if left > 1e-6:
            self._watching = True
            self._world.loop.call_later(left, self._watch)
            return
        wire, self._wire = self._wire, None
        self._in_flight.clear()
        wire.hang_up()
        self._retry()
