"""The road between a device and the gateway: late, in pieces, and now and then gone."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from gateway.link import LinkInfo
from gateway.transports.memory import MemoryLink
from model.device import Durability

if TYPE_CHECKING:
    from tests.simulation.device import Device
    from tests.simulation.world import World

_TICK_S = 1e-5  # timers of one instant fire in any order; bytes must not


class Wire:
    """One connection. What is sent arrives in order, whole or not at all, unless a fault strikes."""

    def __init__(self, world: "World", device: "Device") -> None:
        self._world = world
        self._device = device
        self._up = self._down = world.loop.time()  # when the newest bytes of each way arrive
        self._passes = True
        self._informed = False  # the device knows that it is over
        info = LinkInfo(
            transport="memory",
            peer=device.ident,
            network=device.network,
            durability=Durability.SPOOL if device.dialect.spooled else Durability.COMMIT,
            ident=device.ident if device.dialect.known else None,
        )
        process = world.process
        assert process is not None
        self._process = process
        process.wires[self] = None
        self._link = MemoryLink(
            process.core.sources[device.dialect.source].accept,
            info=info,
            heard=self._replied,
            on_close=lambda: self._tell(reset=False),
        )

    # the device's end

    def send(self, data: bytes, number: int | None) -> None:
        """One message; `number` is what a receipt will be for, None where there is none."""
        world = self._world
        whole = self._device.dialect.whole
        strikes = world.faults.strikes
        if self._device.dialect.loose:
            self._send_loose(data)
            return
        if strikes("link half open"):
            self._passes = False
            return
        if strikes("link cut"):
            cut = world.faults.generator("link cut").randrange(len(data) + 1)
            self._later_up(lambda: self._arrive(data[:cut], None, whole=False))
            self._later_up(self._break)
            self._tell(reset=True)
            return
        extra_s = world.faults.generator("bytes delayed").uniform(3, 30) * strikes("bytes delayed")
        twice = self._device.dialect.numbered and strikes("message twice")
        for _ in range(1 + twice):
            if whole or world.chance.random() < 0.7:
                parts = [data]
            else:
                at = world.chance.randrange(len(data))
                parts = [data[:at], data[at:]]
            for part in parts:
                self._later_up(
                    lambda part=part: self._arrive(part, number, whole=whole),  # type: ignore[misc]
                    extra_s,
                )

    def _send_loose(self, data: bytes) -> None:
        """Each datagram takes its own way."""
        loop, strikes = self._world.loop, self._world.faults.strikes
        for _ in range(1 + strikes("message twice")):
            if strikes("datagram lost"):
                continue
            late_s = self._world.latency_s() + 2.0 * strikes("datagram overtaken")
            loop.call_later(late_s, lambda: self._arrive(data, None, whole=True))

    def hang_up(self) -> None:
        """The device closes; what it has sent is still under way."""
        self._informed = True
        self._later_up(lambda: self._link.hang_up() if self._process.alive else None)
        self._forget()

    # the gateway's end

    def _arrive(self, data: bytes, number: int | None, *, whole: bool) -> None:
        if not (self._passes and self._process.alive and self._link.open):
            return
        if not whole:
            self._link.send(data)
            if self._device.dialect.deaf:
                self._world.overheard(self._process, data)
            return
        done = None if number is None else lambda: self._receipts([number])
        self._link.send(data, done, whole=True)

    def _replied(self, data: bytes) -> None:
        numbers = self._device.dialect.receipts(data)
        if numbers is None:  # for whatever waits on this connection
            numbers = [] if self._informed else self._device.in_flight
        self._receipts(numbers)

    def _receipts(self, numbers: list[int]) -> None:
        """The gateway says that it has these; from now on it is bound to."""
        if not self._process.alive:
            return
        for number in numbers:
            self._world.promised(self._device, number)
        if self._world.faults.strikes("ack lost"):
            return
        self._later_down(lambda: None if self._informed else self._device.heard(self, numbers))

    def reset(self) -> None:
        """The gateway's process died."""
        self._tell(reset=True)
        self._passes = False

    # the road

    def _break(self) -> None:
        if self._process.alive:
            self._link.hang_up(ConnectionResetError("cut"))
        self._passes = False
        self._forget()

    def _tell(self, *, reset: bool) -> None:
        """The device learns that the connection is over."""
        if not self._passes:
            return
        if reset:
            self._down = self._world.loop.time()  # what was on its way is lost
        self._forget()
        self._later_down(self._over)

    def _over(self) -> None:
        if not self._informed:
            self._informed = True
            self._device.disconnected(self)

    def _forget(self) -> None:
        self._process.wires.pop(self, None)

    def _later_up(self, do: Callable[[], None], extra_s: float = 0.0) -> None:
        now = self._world.loop.time()
        self._up = max(self._up + _TICK_S, now + self._world.latency_s() + extra_s)
        self._world.loop.call_at(self._up, do)

    def _later_down(self, do: Callable[[], None]) -> None:
        if not self._passes:
            return
        self._down = max(self._down + _TICK_S, self._world.loop.time() + self._world.latency_s())
        self._world.loop.call_at(self._down, do)
