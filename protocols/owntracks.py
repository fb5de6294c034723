"""OwnTracks: JSON from phones, and from gateways that translate trackers to it; HTTP or MQTT.

    POST /?u=user&d=device HTTP/1.1          MQTT topic owntracks/user/device[/event ...]
    X-Limit-U: user                          payload: the same JSON, bare
    X-Limit-D: device
    Authorization: Basic ...

    {"_type": "location", "tid": "JJ", "tst": 1497349316, "lat": 48.85833, "lon": 2.29513,
     "acc": 5, "alt": 167, "vel": 61, "cog": 271, "batt": 67, "t": "u", "topic": "owntracks/..."}

Over MQTT the decoder is given the device as `ident` and each payload whole, followed by `flush`.
Over HTTP an answer is `[]`, over MQTT there is none. An HTTP sender's identity is the first of:
`topic`, X-Limit-U/-D or u/d, the user of Basic authentication, `tid` (two letters, not unique).

`_type` chooses the reader. `location` and `transition` have a place: [B json] defines the latter's
as where the event occurred, with its accuracy, so both are a `Report` and a transition raises an
alarm as well; without a place it is a `Status`. A `waypoint` has the place of a region, not of the
phone. All other types, unknown ones too, are a `Status` with their scalars.

[B json], [B http], [B encrypt]  OwnTracks Booklet, tech/json, tech/http, features/encrypt
"""

import json
from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from model import DeviceIdentity, Event, Heartbeat, Rejected, Report, Status
from protocols import base, http
from protocols.base import ProfileLookup, ProtocolError, default_profile
from protocols.fields import JSON, json_value, storable
from protocols.owntracks_parts.said import SETTINGS, Json, Reading, read

DEFAULT_PORT = 5144
MAX_BODY_BYTES = 1_048_576  # cards and points of interest carry a picture
KEY_BYTES = SecretBox.KEY_SIZE

complete = http.complete

METHODS = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ")
# [B json] "Topics": what the apps append to their own topic.
SUBTOPICS = {"cmd", "event", "step", "beacon", "dump", "status", "waypoint", "waypoints", "info"}
ACTIONS = {
    "reportLocation", "setConfiguration", "dump", "status", "reportSteps", "waypoints",
    "setWaypoints", "clearWaypoints", "action",
}  # fmt: skip


def encode(action: str, **values: Any) -> bytes:
    """A command as JSON, for the topic `.../cmd` or for the array that answers a POST.

    `encode("setConfiguration", monitoring=2, locatorInterval=60)` changes how a phone reports;
    the values of other actions are named as [B json] names them. Raises ValueError.
    """
    if action not in ACTIONS:
        raise ValueError(f"no such action: {action!r}; there are: {', '.join(sorted(ACTIONS))}")
    command: dict[str, Any] = {"_type": "cmd", "action": action}
    if action == "setConfiguration":
        if unknown := values.keys() - SETTINGS:
            raise ValueError(f"not a setting of reports: {', '.join(sorted(unknown))}")
        command["configuration"] = {"_type": "configuration", **values}
    elif action == "setWaypoints":
        command["waypoints"] = {"_type": "waypoints", **values}
    else:
        command |= values
    return json.dumps(command, separators=(",", ":"), allow_nan=False).encode()


class Decoder(base.Decoder):
    """HTTP or bare JSON, as the first octets say."""

    max_frame_bytes = 2 * MAX_BODY_BYTES + http.MAX_HEAD_BYTES  # chunks cost as much again

    def __init__(
        self, *, ident: str | None = None, profile_of: ProfileLookup = default_profile
    ) -> None:
        super().__init__(ident=ident, profile_of=profile_of)
        self._requests = http.Requests(max_body_bytes=MAX_BODY_BYTES)
        self._bare = bytearray()

    @property
    def pending(self) -> bool:
        return bool(self._bare) or self._requests.pending

    def feed(self, data: bytes, now: datetime) -> list[Event]:
        if self._bare or (not self.finished and not self._requests.pending and self._is_bare(data)):
            self._bare += data
            if len(self._bare) <= MAX_BODY_BYTES:
                return []
            raw, self._bare = bytes(self._bare[: http.MAX_KEPT_BYTES]), bytearray()
            reason = f"the message is over {MAX_BODY_BYTES} bytes"
            if self._ident is None:  # a stream has lost its place; a topic has not
                raise ProtocolError(reason)
            return [self._rejected(raw, self._ident, reason)]
        events = [self._answer(message, now) for message in self._requests.feed(data)]
        self.finished = self._requests.finished
        return events

    def flush(self, now: datetime) -> list[Event]:
        if self._bare:
            data, self._bare = bytes(self._bare), bytearray()
            return [self._bare_event(raw, now) for raw in _documents(data)]
        cut = self._requests.drop()
        if cut and self._ident is not None:
            return [self._rejected(cut, self._ident, "neither JSON nor a whole request")]
        return []  # a request cut short was never answered: the phone has it still

    def reply_to(self, event: Event, *, accepted: bool, now: datetime) -> bytes:
        if not event.raw.startswith(METHODS) and not http.is_refusal(event):
            return b""  # MQTT: the acknowledgement is the link's
        return http.reply(event, accepted=accepted, body=b"[]")

    def _is_bare(self, data: bytes) -> bool:
        """JSON, or whatever else a topic carries that does not begin like a request."""
        if data.startswith((b"{", b"[")):
            return True
        like_http = data.startswith(METHODS) or any(word.startswith(data) for word in METHODS)
        return self._ident is not None and not like_http

    def _bare_event(self, raw: bytes, now: datetime) -> Event:
        try:
            value = json_value(raw)
        except ValueError as error:
            return self._rejected(raw, self._ident, f"not JSON: {error}")
        # The broker vouches for the topic, nobody for what the payload says of itself.
        return self._event(raw, value, self._ident or _topic(value) or _tracker(value), now)

    def _answer(self, message: http.Message, now: datetime) -> Event:
        if not isinstance(message, http.Request):
            return message.event()
        sender = _sender(message)
        if not message.body:  # [B http]: to be ignored, and answered
            return Heartbeat(raw=message.raw, device=_identity(sender or self._ident))
        try:
            value = json_value(message.body)
        except ValueError as error:
            return self._rejected(message.raw, sender, f"not JSON: {error}")
        ident = _topic(value) or sender or _tracker(value) or self._ident
        return self._event(message.raw, value, ident, now)

    def _event(self, raw: bytes, value: object, ident: str | None, now: datetime) -> Event:
        try:
            if ident is None:
                raise ValueError("no topic, user or tid says whose it is")  # noqa: TRY301 - one road for what is wrong
            device = DeviceIdentity(protocol="owntracks", ident=ident)
            parts = [self._plain(part, ident) for part in _objects(value)]
            return _assemble(raw, device, parts, now)
        except ValueError as error:
            return self._rejected(raw, ident, str(error))

    def _plain(self, part: Json, ident: str) -> Json:
        if part.get("_type") != "encrypted":
            return part
        inside = json_value(_decrypted(part.get("data"), self._profile_of(ident).secret))
        if not isinstance(inside, dict) or inside.get("_type") == "encrypted":
            raise ValueError("what was encrypted is no message")
        return inside

    def _rejected(self, raw: bytes, ident: str | None, reason: str) -> Rejected:
        return Rejected(raw=raw, device=_identity(ident), reason=storable(reason[:200]))


# ---- whose message


def _identity(ident: str | None) -> DeviceIdentity | None:
    try:
        return DeviceIdentity(protocol="owntracks", ident=ident) if ident else None
    except ValueError:
        return None


def _topic(value: object) -> str | None:
    """The device's topic, without what the app appends for this type."""
    for part in value if isinstance(value, list) else [value]:
        topic = part.get("topic") if isinstance(part, dict) else None
        if isinstance(topic, str) and topic:
            device, _, last = topic.rpartition("/")
            return device if last in SUBTOPICS and device.count("/") >= 2 else topic
    return None


def _tracker(value: object) -> str | None:
    for part in value if isinstance(value, list) else [value]:
        tid = part.get("tid") if isinstance(part, dict) else None
        if isinstance(tid, str) and tid:
            return tid
    return None


def _sender(request: http.Request) -> str | None:
    """[B http]: `user/device` by header or query, else the user who authenticated."""
    query = dict(http.pairs(request.query))
    user = request.headers.get(b"x-limit-u", b"").decode("utf-8", "replace") or query.get("u")
    device = request.headers.get(b"x-limit-d", b"").decode("utf-8", "replace") or query.get("d")
    if user and device:
        return f"{user}/{device}"
    return http.basic_user(request.headers) or user


# ---- messages


def _documents(data: bytes) -> Iterator[bytes]:
    """The messages of a payload: one, as a rule; a recorded stream may hold several in a row."""
    begin = end = 0
    try:
        text = data.decode()
        while end < len(text):
            _, end = JSON.raw_decode(text, end)
            while text[end : end + 1].isspace():
                end += 1
            yield text[begin:end].encode()
            begin = end
    except UnicodeDecodeError:
        yield data
    except (ValueError, RecursionError):
        yield text[begin:].encode()  # no JSON from here on


def _objects(value: Any) -> list[Json]:
    parts: list[Json] = value if isinstance(value, list) else [value]
    if not all(isinstance(part, dict) for part in parts):
        raise ValueError("the JSON is no message")
    return parts


def _decrypted(data: object, secret: str | None) -> bytes:
    """[B encrypt]: libsodium's secretbox in Base64, the nonce in front, the key padded with zeros."""
    if secret is None:
        raise ValueError("encrypted, and no key is known for this device")
    key = secret.encode()
    if len(key) > KEY_BYTES:
        raise ValueError(f"the key of this device is over {KEY_BYTES} bytes")
    if not isinstance(data, str):
        raise ValueError("encrypted, but without data")  # noqa: TRY004 - the sender's fault
    try:
        return SecretBox(key.ljust(KEY_BYTES, b"\0")).decrypt(b64decode(data))
    except (CryptoError, ValueError):
        raise ValueError("encrypted with another key, or damaged") from None


def _assemble(raw: bytes, device: DeviceIdentity, parts: list[Json], now: datetime) -> Event:
    readings: list[Reading] = []
    wrong: ValueError | None = None
    for part in parts:
        try:
            readings.append(read(part, now))
        except ValueError as error:  # one bad message may not hold back the others of an array
            wrong = error
    if wrong and not readings:
        raise wrong
    alarms = frozenset(alarm for reading in readings for alarm in reading.alarms)
    if fixes := tuple(reading.fix for reading in readings if reading.fix):
        return Report(raw=raw, device=device, fixes=fixes, alarms=alarms)
    if not readings:
        return Heartbeat(raw=raw, device=device)
    first = readings[0]
    return Status(raw=raw, device=device, time=first.time, alarms=alarms, telemetry=first.telemetry)
