"""UDP: a link is an address that datagrams come from, until it has been silent for long."""

import asyncio
from typing import Any

from gateway.link import Accept, LinkInfo, Receiver
from model.device import Durability

Address = tuple[Any, ...]


class UdpLink:
    """One peer of the socket."""

    __slots__ = ("_address", "_closed", "_socket", "info", "receiver")

    def __init__(self, socket: "UdpSocket", address: Address, durability: Durability) -> None:
        self._socket = socket
        self._address = address
        self._closed = False
        self.receiver: Receiver
        self.info = LinkInfo(
            transport="udp",
            peer=f"{address[0]}:{address[1]}",
            network=address[0],
            durability=durability,
        )

    def write(self, data: bytes) -> None:
        if not self._closed:
            self._socket.send(data, self._address)

    def pause(self) -> None:
        """Datagrams cannot be held back; those of one peer are as many as it dares to lose."""

    def resume(self) -> None:
        """Nothing was held back."""

    def close(self) -> None:
        self._closed = True
        self._socket.forget(self._address, self)


class UdpSocket(asyncio.DatagramProtocol):
    """The socket, and its peers by address."""

    def __init__(self, accept: Accept, durability: Durability) -> None:
        self._accept = accept
        self._durability = durability
        self._links: dict[Address, UdpLink] = {}
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:
        link = self._links.get(addr)
        if link is None:
            link = self._links[addr] = UdpLink(self, addr, self._durability)
            link.receiver = self._accept(link)
        link.receiver.received(data)
        link.receiver.boundary()

    def send(self, data: bytes, address: Address) -> None:
        if not self._transport.is_closing():
            self._transport.sendto(data, address)

    def forget(self, address: Address, link: UdpLink) -> None:
        """The link is closed; the next datagram of its address begins a new one."""
        if self._links.get(address) is link:
            del self._links[address]


async def listen(
    host: str, port: int, accept: Accept, *, durability: Durability, reuse_port: bool = False
) -> asyncio.DatagramTransport:
    """Receive datagrams. Raises OSError when the address cannot be had."""
    loop = asyncio.get_running_loop()
    try:
        transport, _ = await loop.create_datagram_endpoint(
            lambda: UdpSocket(accept, durability),
            local_addr=(host, port),
            reuse_port=reuse_port or None,
        )
    except OSError as error:
        if error.errno is None and isinstance(error.__cause__, OSError):
            raise error.__cause__ from None  # uvloop's own has no number to tell it by
        raise
    return transport
