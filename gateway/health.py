"""`/healthz`, `/readyz` and `/metrics`: what an operator's tools ask over HTTP.

200  receipts can be given          503  they cannot, and why
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import h11
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

Trouble = Callable[[], str]
"""Why receipts cannot be given now; "" when they can."""

MAX_REQUEST_BYTES = 8192
IDLE_S = 15.0


class HealthServer(asyncio.Protocol):
    """One connection; the answer closes it."""

    def __init__(self, registry: CollectorRegistry, trouble: Trouble) -> None:
        self._registry = registry
        self._trouble = trouble
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_REQUEST_BYTES)
        self._transport: Any = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(IDLE_S, self._transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._http.receive_data(data)
            event = self._http.next_event()
        except h11.RemoteProtocolError:
            self._transport.close()
            return
        if isinstance(event, h11.Request):
            self._answer(event)

    def _answer(self, request: h11.Request) -> None:
        status, kind, body = self._content(request.target.decode("ascii").partition("?")[0])
        if request.method not in (b"GET", b"HEAD"):
            status, kind, body = 405, "text/plain", b"GET is all there is here\n"
        headers = [
            ("content-type", kind),
            ("content-length", str(len(body))),
            ("cache-control", "no-store"),
            ("connection", "close"),
        ]
        send = self._http.send
        out = send(h11.Response(status_code=status, headers=headers)) or b""
        if request.method != b"HEAD":
            out += send(h11.Data(data=body)) or b""
        self._transport.write(out)
        self._transport.close()

    def _content(self, path: str) -> tuple[int, str, bytes]:
        if path == "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest(self._registry)
        if path in ("/healthz", "/readyz"):
            trouble = self._trouble()
            said = {"status": "unavailable", "reason": trouble} if trouble else {"status": "ok"}
            return 503 if trouble else 200, "application/json", json.dumps(said).encode() + b"\n"
        return 404, "text/plain", b"/healthz, /readyz and /metrics are all there is here\n"


async def listen(
    host: str, port: int, registry: CollectorRegistry, trouble: Trouble
) -> asyncio.Server:
    """Raises OSError when the address cannot be had."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: HealthServer(registry, trouble), host, port)
