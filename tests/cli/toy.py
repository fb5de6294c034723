"""A protocol of one line a message, `ident,latitude,longitude;`, so that commands can be tested alone.

`?` is a heartbeat, `!` ends the conversation with a ProtocolError, anything else is Rejected.
"""

from datetime import datetime
from types import SimpleNamespace

import protocols
from model import Alarm, DeviceIdentity, Event, Fix, Heartbeat, Rejected, Report
from protocols.base import Decoder as Base
from protocols.base import ProtocolError

DEFAULT_PORT = 5999


def complete(message: bytes) -> bytes:
    return message if message.endswith((b";", b"~")) else message + b";"


class Decoder(Base):
    def __init__(self, **known):
        super().__init__(**known)
        self._buffer = b""

    @property
    def pending(self):
        return bool(self._buffer)

    def feed(self, data: bytes, now: datetime) -> list[Event]:
        *frames, self._buffer = (self._buffer + data).split(b";")
        return [self._event(frame + b";", now) for frame in frames]

    def flush(self, now: datetime) -> list[Event]:
        self._buffer = b""
        return []

    def reply_to(self, event: Event, *, accepted: bool, now: datetime) -> bytes:
        return b"ok\n" if accepted and isinstance(event, Report) else b""

    def _event(self, frame: bytes, now: datetime) -> Event:
        body = frame[:-1].decode("latin-1").strip()
        if body == "!":
            raise ProtocolError("the device talks nonsense")
        device = DeviceIdentity(protocol="toy", ident=self._ident) if self._ident else None
        if body == "?":
            return Heartbeat(raw=frame, device=device, telemetry={"battery_percent": 80})
        try:
            ident, lat, lon = body.split(",")
            device = DeviceIdentity(protocol="toy", ident=ident)
            fix = Fix(time=now, valid=True, latitude_deg=float(lat), longitude_deg=float(lon))
        except ValueError as error:
            return Rejected(raw=frame, device=device, reason=str(error))
        return Report(raw=frame, device=device, fixes=(fix,), alarms=frozenset({Alarm.SOS}))


def install(setattr_=setattr) -> None:
    """Make `toy` a protocol of this process."""
    load, names = protocols.load, protocols.names
    module = SimpleNamespace(Decoder=Decoder, complete=complete, DEFAULT_PORT=DEFAULT_PORT)
    setattr_(protocols, "load", lambda name: module if name == "toy" else load(name))
    setattr_(protocols, "names", lambda: sorted([*names(), "toy"]))


if __name__ == "__main__":
    install()
    from cli.main import main

    main()
