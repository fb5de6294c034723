"""MQTT as the client of a broker that is not ours.

    broker --PUBLISH, QoS 1--> device's link -> session -> commit -> done --PUBACK--> broker

* The broker is acked when the message is durable, on the connection that delivered it. The
  session at the broker is persistent: what was not acked comes again after a reconnect.
* The device itself was acked by the broker, before we knew of the message. Its receipt is as
  good as the broker's disk, and such data is stamped so.
* One link a device topic, kept while connections to the broker come and go.
* A session that closes while messages of it are owed an ack (nothing could be stored) leaves
  them unacked. The other devices go on, and after a wait we reconnect to get them again.
* Backpressure is the window of unacked messages: when it is full, the socket is not read, so
  it holds also where the broker's own window (`max_inflight_messages`) is unlimited, and for
  QoS 0. A broker whose own window is small (20 in
  Mosquitto) makes every commit small: there it should be raised to ours.
* PUBACKs go out in the order of commits. That of MQTT-4.6.0-2 is the order of arrival; keeping
  it would let one device that cannot be stored hold up the acks of all.

Documents: MQTT 3.1.1 (OASIS, 2014) section 3.3 PUBLISH, 3.4 PUBACK, 4.4 delivery retry, 4.6
order. Version 3.1.1 costs half of what version 5 costs the client library.
"""

import asyncio
import ssl
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import Any

import aiomqtt

from gateway.link import Accept, Done, LinkInfo, Receiver
from gateway.supervisor import Backoff, Report, heed_cancellation, keep
from gateway.transports.mqtt_settings import (
    MqttSettings,
    filters_of,
    identity_of,
    settings_from,
)
from model.device import Durability

__all__ = ["MqttSettings", "run", "settings_from"]

QOS = 1  # at QoS 2 the library confirms before we can
KEEPALIVE_S = 60


class _DeviceLink:
    """One device's topic. Nothing can be answered; while paused, its messages wait here.

    The window bounds what waits.
    """

    __slots__ = ("_backlog", "_dropped", "_paused", "closed", "info", "receiver")

    def __init__(self, topic: str, ident: str, dropped: Callable[["_DeviceLink"], None]) -> None:
        self.info = LinkInfo(
            transport="mqtt", peer=topic, network="", durability=Durability.BROKER, ident=ident
        )
        self.receiver: Receiver
        self._dropped = dropped
        self._paused = False
        self._backlog: deque[tuple[bytes, Done]] | None = None  # most links never need one
        self.closed = False

    def deliver(self, payload: bytes, done: Done) -> None:
        if self._paused or self._backlog:
            if self._backlog is None:
                self._backlog = deque()
            self._backlog.append((payload, done))
        else:
            self.receiver.received(payload, done)
            self.receiver.boundary()

    def forget(self) -> None:
        """What waits will be delivered again."""
        self._backlog = None

    def write(self, data: bytes) -> None:
        pass

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        while self._backlog and not self._paused and not self.closed:
            payload, done = self._backlog.popleft()
            self.receiver.received(payload, done)
            self.receiver.boundary()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._backlog = None
            self._dropped(self)


class _Connection:
    """One connection to the broker, and the acks owed on it. It can be read or held."""

    def __init__(self, paho: Any, window: int) -> None:
        self._paho = paho
        self._window = window
        self._loop = asyncio.get_running_loop()
        self._held = False
        self._in_flight = 0
        self.owed: dict[_DeviceLink, int] = {}
        self.began = self._loop.time()
        self.redelivery: asyncio.TimerHandle | None = None
        self.over: asyncio.Future[None] = self._loop.create_future()

    def take(self, link: _DeviceLink, mid: int, qos: int) -> Done:
        """Count a message in; what is returned acks it."""
        self.owed[link] = self.owed.get(link, 0) + 1
        self._in_flight += 1
        if self._in_flight >= self._window:
            self._hold()
        return partial(self._done, link, mid, qos)

    def _done(self, link: _DeviceLink, mid: int, qos: int) -> None:
        if self.over.done():
            return  # another connection's ack would be for another message
        left = self.owed[link] - 1
        if left:
            self.owed[link] = left
        else:
            del self.owed[link]
        self.ack(mid, qos)
        self._in_flight -= 1
        if self._held and self._in_flight < self._window:
            self._read_on()

    def ack(self, mid: int, qos: int) -> None:
        if qos:
            self._paho.ack(mid, QOS)

    # The library's reader is replaced by one that can stop between two messages, and its writer
    # by one that is registered at once: later, the socket may be another's.

    def start(self) -> None:
        self._paho.on_socket_register_write = self._write_on
        if not self._held:
            self._read_on()

    def _hold(self) -> None:
        self._held = True
        if (socket := self._paho.socket()) is not None:
            self._loop.remove_reader(socket.fileno())

    def _read_on(self) -> None:
        self._held = False
        if (socket := self._paho.socket()) is not None:
            self._loop.add_reader(socket.fileno(), self._read)
            # What TLS has decrypted already makes no socket readable.
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        try:
            while not self._held:
                self._paho.loop_read()  # one packet
                socket = self._paho.socket()
                if not isinstance(socket, ssl.SSLSocket) or not socket.pending():
                    break
        except Exception as error:  # whatever it is, this connection cannot be read on
            self.end(error)

    def _write_on(self, _paho: Any, _userdata: Any, socket: Any) -> None:
        self._loop.add_writer(socket.fileno(), self._write)

    def _write(self) -> None:
        try:
            self._paho.loop_write()
        except Exception as error:  # as in reading
            self.end(error)

    # the end

    def redeliver(self) -> None:
        """Leave, if messages are still owed to sessions that have closed."""
        self.redelivery = None
        if any(link.closed for link in self.owed):
            self.end(None)

    def lost(self, future: asyncio.Future[None]) -> None:
        error = None if future.cancelled() else future.exception()
        self.end(ConnectionError(f"connection lost: {error or 'the broker ended it'}"))

    def end(self, error: Exception | None) -> None:
        if self.redelivery is not None:
            self.redelivery.cancel()
            self.redelivery = None
        self._hold()
        if self.over.done():
            return
        if error is None:
            self.over.set_result(None)
        else:
            self.over.set_exception(error)
            self.over.exception()  # whoever no longer waits for it has met its own error


class _Subscriber:
    """The links of one source, over all connections."""

    def __init__(
        self, settings: MqttSettings, accept: Accept, report: Report, backoff: Backoff
    ) -> None:
        self._settings = settings
        self._accept = accept
        self._report = report
        self._backoff = backoff
        self._links: OrderedDict[str, _DeviceLink] = OrderedDict()  # least recently heard first
        self._connection: _Connection | None = None
        self._refusals = 0  # redeliveries in a row
        self._ignored = self._told = False  # what needs saying only once
        self.name = f"mqtt {settings.host}:{settings.port}"

    async def once(self) -> None:
        """One connection after the other, until one breaks."""
        self._told = False
        while True:
            await self._connected()
            heed_cancellation()

    async def _connected(self) -> None:
        """Returns when the broker must deliver again; raises when the connection is lost."""
        settings = self._settings
        client = aiomqtt.Client(
            settings.host,
            settings.port,
            username=settings.username,
            password=settings.password,
            identifier=settings.client_id,
            protocol=aiomqtt.ProtocolVersion.V311,
            clean_session=False,
            keepalive=KEEPALIVE_S,
            tls_context=settings.secure,
        )
        paho = client._client  # noqa: SLF001 - the library has no manual ack of its own
        connection = _Connection(paho, settings.max_inflight)
        paho.manual_ack_set(True)
        # Past the library's queue, which is either unbounded or drops.
        paho.on_message = partial(self._message, connection)
        self._connection = connection
        try:
            async with client:
                heed_cancellation()
                lost = client._disconnected  # noqa: SLF001 - nor an event for this
                lost.add_done_callback(connection.lost)
                connection.start()
                subscribing = asyncio.ensure_future(self._subscribe(client))
                try:
                    await asyncio.wait(
                        {subscribing, connection.over}, return_when=asyncio.FIRST_COMPLETED
                    )
                    if subscribing.done():
                        subscribing.result()
                    await connection.over
                finally:
                    subscribing.cancel()
        finally:
            connection.end(None)
            self._connection = None
            for link in connection.owed:
                link.forget()
            _abandon(paho)

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        filters = filters_of(self._settings.protocol, self._settings.group)
        answers: Any = await client.subscribe([(name, QOS) for name in filters])
        for name, answer in zip(filters, answers, strict=True):
            if answer.is_failure:
                raise PermissionError(f"the broker refuses to let us subscribe to {name}")
        if not self._told:
            self._told = True
            self._report(f"{self.name}: subscribed to {', '.join(filters)}")

    def _message(self, connection: _Connection, _paho: Any, _userdata: Any, message: Any) -> None:
        if connection.over.done():
            return
        try:
            found = identity_of(self._settings.protocol, message.topic)
        except UnicodeDecodeError:
            found = None
        if found is None or not message.payload:  # an empty one only clears a retained one
            if found is None and not self._ignored:
                self._ignored = True
                self._report(f"{self.name}: messages on topics that name no device are ignored")
            connection.ack(message.mid, message.qos)
            return
        link = self._link(*found)
        done = connection.take(link, message.mid, message.qos)
        link.deliver(message.payload, done)
        if link.closed:
            self._dropped(link)

    def _link(self, topic: str, ident: str) -> _DeviceLink:
        link = self._links.get(topic)
        if link is not None:
            self._links.move_to_end(topic)
            return link
        link = _DeviceLink(topic, ident, self._dropped)
        link.receiver = self._accept(link)
        if not link.closed:
            if len(self._links) >= self._settings.max_links:
                self._close_one()
            self._links[topic] = link
        return link

    def _close_one(self) -> None:
        """Close the link that was silent longest; one that waits for acks is not silent."""
        owed = self._connection.owed if self._connection is not None else {}
        for link in self._links.values():
            if link not in owed:
                self._lose(link)
                return

    def _lose(self, link: _DeviceLink) -> None:
        link.receiver.lost(None)
        link.close()

    def _dropped(self, link: _DeviceLink) -> None:
        """A link has closed; if messages of it were not stored, see that they come again."""
        if self._links.get(link.info.peer) is link:
            del self._links[link.info.peer]
        connection = self._connection
        if connection is None or link not in connection.owed or connection.redelivery is not None:
            return
        loop = asyncio.get_running_loop()
        if loop.time() - connection.began >= self._backoff.healthy_s:
            self._refusals = 0
        if not self._refusals:
            self._report(f"{self.name}: messages could not be stored; the broker will resend them")
        self._refusals += 1
        # Not at once: some may still be committed, and the other devices go on meanwhile.
        connection.redelivery = loop.call_later(
            self._backoff.wait_s(self._refusals), connection.redeliver
        )

    def close(self) -> None:
        for link in list(self._links.values()):
            self._lose(link)


def _abandon(paho: Any) -> None:
    """Close the socket that the library may have left open, at once or when a thread opens it.

    What is still connecting must not become a second client of our name.
    """

    def close(*_: object) -> None:
        paho._sock_close()  # noqa: SLF001 - does nothing where it is closed

    close()
    paho.on_socket_open = close
    paho.on_socket_close = paho.on_socket_unregister_write = None  # they would serve the loop
    paho.on_socket_register_write = lambda *_: None


async def run(
    settings: MqttSettings, accept: Accept, *, report: Report, backoff: Backoff | None = None
) -> None:
    """Keep the subscription alive until cancelled."""
    backoff = backoff or Backoff()
    subscriber = _Subscriber(settings, accept, report, backoff)
    report(f"{subscriber.name}: devices are answered by the broker, before their data is stored")
    try:
        await keep(subscriber.once, name=subscriber.name, report=report, backoff=backoff)
    finally:
        subscriber.close()
