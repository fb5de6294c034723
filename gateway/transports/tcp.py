"""TCP, plain or TLS: one link a connection."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

from gateway.errors import ConfigError
from gateway.link import Accept, LinkInfo, Receiver
from model.device import Durability, IdentityStrength

HANDSHAKE_S = 10.0
LAST_WORDS_S = 5.0
BACKLOG = 4096  # a fleet that reconnects after an outage comes all at once


class TcpLink(asyncio.Protocol):
    """The session's `Link` and the loop's `Protocol` in one object: an idle link must be small."""

    __slots__ = ("_accept", "_deaf", "_durability", "_ending", "_paused", "_receiver", "_transport",
                 "info")  # fmt: skip

    def __init__(self, accept: Accept, durability: Durability) -> None:
        self._accept = accept
        self._durability = durability
        self._transport: Any = None
        self._paused = False  # by the session
        self._deaf = False  # the peer does not take what is written
        self._ending: asyncio.TimerHandle | None = None
        self._receiver: Receiver
        self.info: LinkInfo

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        host, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        secured = transport.get_extra_info("ssl_object")
        proven = secured is not None and bool(secured.getpeercert())
        self.info = LinkInfo(
            transport="tcp" if secured is None else "tls",
            peer=f"{host}:{port}",
            network=host,
            strength=IdentityStrength.MTLS if proven else IdentityStrength.NONE,
            durability=self._durability,
        )
        self._receiver = self._accept(self)

    def data_received(self, data: bytes) -> None:
        self._receiver.received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._ending is not None:
            self._ending.cancel()
        self._receiver.lost(exc)

    # A peer that does not read its replies is not read from either.

    def pause_writing(self) -> None:
        self._deaf = True
        self._hear()

    def resume_writing(self) -> None:
        self._deaf = False
        self._hear()

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def pause(self) -> None:
        self._paused = True
        self._hear()

    def resume(self) -> None:
        self._paused = False
        self._hear()

    def _hear(self) -> None:
        if self._transport.is_closing():
            return
        if self._paused or self._deaf:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def close(self) -> None:
        if self._transport.is_closing():
            return
        if self._transport.get_write_buffer_size():
            # The last words may wait for a peer that never reads them.
            loop = asyncio.get_running_loop()
            self._ending = loop.call_later(LAST_WORDS_S, self._transport.abort)
        self._transport.close()


async def listen(
    host: str,
    port: int,
    accept: Accept,
    *,
    durability: Durability,
    secure: ssl.SSLContext | None = None,
    reuse_port: bool = False,
) -> asyncio.Server:
    """Accept connections. Raises OSError when the address cannot be had."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: TcpLink(accept, durability),
        host,
        port,
        backlog=BACKLOG,
        reuse_port=reuse_port or None,
        ssl=secure,
        ssl_handshake_timeout=HANDSHAKE_S if secure else None,
    )


def secured(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """TLS as a server; with `client_ca` devices must show a certificate of it.

    Raises ConfigError.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"certificate {certificate} with key {key}: {error}") from error
    return context
