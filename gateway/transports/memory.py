"""A link inside the process: what tests and the simulation use in place of a network."""

from collections.abc import Callable

from gateway.link import Accept, Done, LinkInfo, Receiver
from model.device import Durability

LOOPBACK = LinkInfo(transport="memory", peer="memory", network="")
SPOOLED = LinkInfo(transport="memory", peer="memory", network="", durability=Durability.SPOOL)


class MemoryLink:
    """The gateway's end. The device's end is `send`, `hang_up`, `heard` and `on_close`.

    Nothing waits here: what the device sends is received at once, what the gateway writes is
    handed to `heard` at once. Delay and loss are the caller's to add.
    """

    def __init__(
        self,
        accept: Accept,
        *,
        info: LinkInfo = LOOPBACK,
        heard: Callable[[bytes], None] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._info = info
        self._heard = heard
        self._on_close = on_close
        self._held: list[tuple[bytes, Done | None, bool]] = []
        self._paused = False
        self.open = True
        self.written = bytearray()
        self.receiver: Receiver = accept(self)

    # the device's end

    def send(self, data: bytes, done: Done | None = None, *, whole: bool = False) -> None:
        """`whole`: a datagram or a message, which ends with its last byte."""
        if not self.open:
            return
        if self._paused:
            self._held.append((data, done, whole))
            return
        self.receiver.received(data, done)
        if whole and self.open:
            self.receiver.boundary()

    def hang_up(self, error: BaseException | None = None) -> None:
        """The device closes, or with an error the network does."""
        if self.open:
            self.open = False
            self.receiver.lost(error)

    # the gateway's end

    @property
    def info(self) -> LinkInfo:
        return self._info

    def write(self, data: bytes) -> None:
        if self.open:
            self.written += data
            if self._heard is not None:
                self._heard(data)

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        while self._held and not self._paused and self.open:
            data, done, whole = self._held.pop(0)
            self.send(data, done, whole=whole)

    def close(self) -> None:
        if self.open:
            self.open = False
            if self._on_close is not None:
                self._on_close()
