"""GT06: the binary protocol of Concox/Jimi trackers and of very many clones, over TCP.

    78 78  len(1)  type(1)  content  serial(2)  crc(2)  0D 0A      len + 5 bytes
    79 79  len(2)  type(1)  content  serial(2)  crc(2)  0D 0A      len + 6 bytes

Big-endian; `len` counts type to crc; the crc is CRC-16/X-25 over len to serial. Two forms differ:

    78 78  n(1)  17|69  BCD-time(6)  n x {mac 6, rssi 1}  m(1)  mcc(2) mnc(1)
           m x {lac 2, cid 2, rssi 1}  0D 0A                       Wi-Fi, without serial and crc
    78 78  len(1)  type(1)  content  0D 0A                         clones: len is that of content

[1.0]   "GT06 GPS tracker communication protocol", Concox
[N]     "GT06N/F/E" V1.0.0 (2015-12-09) and V1.1.7 (JM-VW01, GV20, ET200)
[VL03]  "JM-VL03" V1.1.2: the 4G packets A0 to A7
[GT03]  "GT03A/B" V1.82, "GT700/710" V1.0.0

This file knows frames, sessions, answers and commands; `gt06_parts` knows what is in a packet.
12 and 22, which make nearly all traffic, have a second, faster reader for their usual lengths
(`Decoder._usual`); it must say what their layouts say.

Documents drop a frame whose crc is wrong. Devices in the field have none, or a wrong one, so it
is read and marked `io_crc_error`. Unless it is a login whose IMEI's own check digit fails, or
says a time or place that cannot be: then it is `Rejected` and unanswered, so that the device
sends it again. SPEC-GAP marks what messages show and no document at hand backs.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from struct import Struct
from types import MappingProxyType

from model import (
    CommandResult,
    DeviceIdentity,
    Event,
    Fix,
    Heartbeat,
    Login,
    Rejected,
    Report,
    Scalar,
    Status,
)
from model.records import NOTHING, Cell
from protocols.base import Decoder as BaseDecoder
from protocols.base import ProfileLookup, default_profile
from protocols.fields import crc16_x25
from protocols.framing import NO_FRAME, WAIT, ResyncFramer, joined
from protocols.gt06_parts.blocks import upload
from protocols.gt06_parts.layouts import LAYOUTS, read, read_wifi_form
from protocols.gt06_parts.packet import MAX_LATITUDE, MPS, Packet, bcd_time, cell, checked, ident_of

DEFAULT_PORT = 5023
MIN_FRAME_BYTES = 10  # but for the keep-alive of 6
MAX_FRAME_BYTES = 4096  # of a 7979 frame; SPEC-GAP: a bound of ours, none so long was seen
MAX_COMMAND_CHARS = 243  # what a short frame holds
END = b"\r\n"
END_SLACK_BYTES = 4  # how far behind its stated length a clone's frame may end

LOGIN = 0x01
TIME_REQUEST = 0x8A
HEARTBEATS = {0x08, 0x13, 0x1F, 0x23}
WITHOUT_CONTENT = {0x08, TIME_REQUEST}  # an empty packet of another type is an answer's echo
ADDRESS_REQUESTS = {0x1A, 0x2A}
PICTURE_OFFERED = 0x35
UNANSWERED = {0x21, 0x34, 0x38, 0x84, 0x86, 0x8C, 0x94, 0x9B, 0x9C}
ANSWERED_LONG = {0x32, 0x33}  # AZ735: a 7979 frame is answered by one

COURSES = tuple(float(bits % 360) if bits <= 360 else None for bits in range(1024))
IGNITION: tuple[Mapping[str, Scalar], ...] = tuple(  # by bits 15 and 14 of the course word
    MappingProxyType({"ignition": bool(bits & 2)}) if bits & 1 else NOTHING for bits in range(4)
)

# the frame


def _framed(kind: int, content: bytes, serial: bytes, *, long: bool = False) -> bytes:
    """A frame as the server sends it."""
    body = (len(content) + 5).to_bytes(1 + long, "big") + bytes((kind,)) + content + serial
    return (b"yy" if long else b"xx") + body + crc16_x25(body).to_bytes(2, "big") + END


def _proven(data: bytes, at: int, total: int) -> bool:
    end = at + total
    return data[end - 2 : end] == END and (
        crc16_x25(data[at + 2 : end - 4]) == data[end - 4] << 8 | data[end - 3]
    )


def _measure(data: bytes, at: int, prove: bool = True) -> int:
    """How long the frame at an offset is; see `framing.Measure`."""
    left = len(data) - at
    if left < 5:
        return WAIT if data[at : at + 2] in (b"xx", b"yy") else NO_FRAME
    if data[at] == data[at + 1] == 0x78:
        total = data[at + 2] + 5
        odd = ODD_FORMS.get(data[at + 3])
    elif data[at] == data[at + 1] == 0x79:
        total = (data[at + 2] << 8 | data[at + 3]) + 6
        odd = None
    else:
        return NO_FRAME
    usual = MIN_FRAME_BYTES <= total <= MAX_FRAME_BYTES
    if prove and usual and left >= total and _proven(data, at, total):
        return total
    if odd is not None and (length := odd(data, at, left)) != NO_FRAME:
        return length
    if not usual:
        return NO_FRAME
    return -total if left >= total else WAIT


def _keep_alive(data: bytes, at: int, left: int) -> int:
    """SPEC-GAP: `78 78 01 08 0D 0A`, without even a serial."""
    if data[at + 2] != 1:
        return NO_FRAME
    return WAIT if left < 6 else 6 if data[at + 4 : at + 6] == END else NO_FRAME


def _bare_login(data: bytes, at: int, left: int) -> int:
    """SPEC-GAP: a clone's login of number and one byte. It waits for the answer."""
    if data[at + 2] != 13 or left < 15:
        return NO_FRAME if data[at + 2] != 13 else WAIT
    return 15 if data[at + 13 : at + 15] == END and ident_of(data[at + 4 : at + 12]) else NO_FRAME


def _wifi_form(data: bytes, at: int, left: int) -> int:
    if left < 10:
        return WAIT
    if BCD_TIME.match(data, at + 4) is None:
        return NO_FRAME
    cells_at = at + 10 + 7 * data[at + 2]
    if left <= cells_at - at:
        return WAIT
    total = cells_at - at + 6 + 5 * data[cells_at]
    if left < total:
        return WAIT
    whole = data.startswith(END, at + total - 2) and bcd_time(data[at + 4 : at + 10]) is not None
    return total if whole else NO_FRAME


BCD_TIME = re.compile(rb"[\0-\x99][\1-\x12][\1-\x31][\0-\x23][\0-\x59][\0-\x60]")  # quick to say no
# The start of a frame that may be over 260 bytes: a 7979 one, or the Wi-Fi form.
LONG_FRAME = re.compile(rb"yy[\x00-\x10]|xx.[\x17\x69]", re.DOTALL)
ODD_FORMS = {0x01: _bare_login, 0x08: _keep_alive, 0x17: _wifi_form, 0x69: _wifi_form}


def complete(message: bytes) -> bytes:
    """A captured message with the end mark that the capture left out."""
    size = len(message)
    long = message.startswith(b"yy")
    stated = int.from_bytes(message[2 : 4 if long else 3], "big") + 5 + long
    if message.endswith(END) and size != stated - 2:
        return message
    return message + (b"\n" if message.endswith(b"\r") and size != stated - 2 else END)


def encode(command: str, *, serial: int, flag: int) -> bytes:
    """A command such as `TIMER,30#` as packet 80; its answer, 15 or 21, bears the same flag.

    Raises ValueError for what no device could take.
    """
    if not (0 < len(command) <= MAX_COMMAND_CHARS and command.isascii() and command.isprintable()):
        raise ValueError(f"not a command of 1 to {MAX_COMMAND_CHARS} ASCII characters: {command!r}")
    text = flag.to_bytes(4, "big") + command.encode()
    return _framed(0x80, bytes((len(text),)) + text + b"\0\2", serial.to_bytes(2, "big"))


NO_ADDRESS = _framed(0x97, b"\x0b" + bytes(4) + b"NA&&NA&&0##", b"\0\0", long=True)
"""The answer to 1A and 2A: there is no address."""

# the conversation

USUAL = {(0x12, 36), (0x22, 39), (0x22, 43)}  # type, and bytes of its whole frame
_USUAL = Struct(">7B II B H HBHBH")  # time, satellites, lat, lon, km/h, course, mcc mnc lac cid


class Decoder(BaseDecoder):
    """One device's connection: its identity and zone hold from its login on."""

    def __init__(
        self, *, ident: str | None = None, profile_of: ProfileLookup = default_profile
    ) -> None:
        super().__init__(ident=ident, profile_of=profile_of)
        self._framer = ResyncFramer(
            _measure, start=(b"xx", b"yy"), end=END, min_bytes=MIN_FRAME_BYTES,
            max_bytes=MAX_FRAME_BYTES, slack=END_SLACK_BYTES, short_bytes=260, long=LONG_FRAME,
        )  # fmt: skip
        self._device: DeviceIdentity | None = None
        self._model: str | None = None
        self._zone: timedelta | None = None
        self._lbs = b""  # the last serving cell: a parked vehicle names it again and again
        self._cells: tuple[Cell, ...] = ()
        if ident is not None:
            self._introduce(ident)

    def feed(self, data: bytes, now: datetime) -> list[Event]:
        return self._events(self._framer.feed(data))

    def flush(self, now: datetime) -> list[Event]:
        return self._events(self._framer.flush())

    @property
    def pending(self) -> bool:
        return self._framer.pending

    def reply_to(self, event: Event, *, accepted: bool, now: datetime) -> bytes:
        raw = event.raw
        if not accepted or len(raw) < 6 or (isinstance(event, Rejected) and not _sound(raw)):
            return b""
        long = raw[0] == 0x79
        kind, serial = raw[3 + long], _serial(raw)
        if _is_wifi_form(raw):
            return b"xx\0" + raw[3:10] + END
        if len(raw) <= 10 + long and kind not in WITHOUT_CONTENT:
            return b""
        if kind == LOGIN and isinstance(event, Rejected):
            return b""
        if kind == TIME_REQUEST:
            clock = bytes((now.year % 100, *now.timetuple()[1:6]))
            return _framed(kind, clock, serial)
        if kind in ADDRESS_REQUESTS:
            return NO_ADDRESS
        if kind == PICTURE_OFFERED:  # SPEC-GAP: fetch it from the start, 1024 bytes at a time
            return _framed(0x36, raw[-10:-6] + bytes((0, 0, 0, 0, 4, 0)), b"\0\0")
        if kind in UNANSWERED or (long and kind not in LAYOUTS):
            return b""
        return _framed(kind, b"", serial, long=long and kind in ANSWERED_LONG)

    def _introduce(self, ident: str) -> None:
        self._device = DeviceIdentity(protocol="gt06", ident=ident)
        self._model = self._profile_of(ident).model

    def _events(self, frames: list[tuple[bytes, bool]]) -> list[Event]:
        return joined([self._event(frame, proven) for frame, proven in frames], _is_piece)

    def _event(self, frame: bytes, proven: bool) -> Event:
        if proven and (report := self._usual(frame)) is not None:
            return report
        sound = proven or _sound(frame)
        if not sound and not frame.endswith(END):
            return Rejected(raw=frame, device=self._device, reason="the frame is cut short")
        long = frame[0] == 0x79
        if len(frame) < 6 + long:
            return Rejected(raw=frame, device=self._device, reason="the frame is too short")
        kind = frame[3 + long]
        if kind == LOGIN:
            return self._login(frame, sound)
        packet = Packet(kind, _content(frame), self._model, self._zone)
        reason = None
        if _is_wifi_form(frame):
            read_wifi_form(packet, frame[2])
        else:
            reason = read(packet, long=long)
        if reason is not None:
            return Rejected(raw=frame, device=self._device, reason=reason)
        return self._said(frame, packet, sound)

    def _usual(self, frame: bytes) -> Report | None:
        """The fast way for the packets of nearly all traffic; None for whatever else."""
        if (frame[3], len(frame)) not in USUAL or frame[0] != 0x78:
            return None
        (
            year, month, day, hour, minute, second, quality, latitude, longitude, kmh, course_word,
            mcc, mnc, lac, cid_high, cid_low,
        ) = _USUAL.unpack_from(frame, 4)  # fmt: skip
        if mcc > 999 or latitude > MAX_LATITUDE or longitude > 2 * MAX_LATITUDE:
            return None
        try:
            time = datetime(2000 + year, month, day, hour, minute, second, 0, UTC)
        except ValueError:
            return None
        lbs = frame[22:30]
        if lbs != self._lbs:
            self._lbs = lbs
            self._cells = cell(mcc, mnc, lac, cid_high << 16 | cid_low)
        telemetry = IGNITION[course_word >> 14]
        if frame[3] == 0x22:
            telemetry = upload(frame[30:33])
            if len(frame) == 43:
                odometer_m = int.from_bytes(frame[33:37], "big")
                telemetry = MappingProxyType({**telemetry, "odometer_m": odometer_m})
        elif self._zone is not None:
            time -= self._zone
        fix = Fix(
            time=time,
            valid=course_word & 0x1000 != 0,
            latitude_deg=latitude / (1_800_000 if course_word & 0x400 else -1_800_000),
            longitude_deg=longitude / (-1_800_000 if course_word & 0x800 else 1_800_000),
            speed_mps=MPS[kmh],
            course_deg=COURSES[course_word & 0x3FF],
            satellites=quality & 0x0F,
            telemetry=telemetry,
            cells=self._cells,
        )
        return Report(raw=frame, device=self._device, fixes=(fix,))

    def _login(self, frame: bytes, sound: bool) -> Event:
        """[1.0], [N], login: number, model code, time zone and language."""
        content = _content(frame)
        ident = ident_of(content[:8]) if len(content) >= 8 else None
        if ident is None or not (sound or checked(ident)):
            return Rejected(
                raw=frame, device=self._device, reason="no terminal number in the login"
            )
        self._introduce(ident)
        telemetry: dict[str, Scalar] = {} if sound else {"io_crc_error": True}
        if len(content) >= 10:
            telemetry["model"] = content[8:10].hex()
        self._zone = None
        if len(content) >= 12 and (word := int.from_bytes(content[10:12], "big")):
            hours, minutes = divmod(word >> 4, 100)
            if hours <= 14 and minutes < 60:
                east = timedelta(hours=hours, minutes=minutes) * (-1 if word & 8 else 1)
                self._zone = east or None
                telemetry["io_zone_minutes"] = east // timedelta(minutes=1)
        return Login(raw=frame, device=self._device, telemetry=telemetry)

    def _said(self, frame: bytes, p: Packet, sound: bool) -> Event:
        """The event that a packet's findings make."""
        if p.ident is not None and self._device is None and (sound or checked(p.ident)):
            self._introduce(p.ident)
        device = self._device
        if p.result is not None:
            return CommandResult(raw=frame, device=device, text=p.result[0], token=p.result[1])
        if not sound:
            p.telemetry["io_crc_error"] = True
        cells, wifi, alarms = tuple(p.cells), tuple(p.wifi), frozenset(p.alarms)
        if p.place is not None and p.time is not None:
            fix = Fix(
                time=p.time,
                valid=p.course_word & 0x1000 != 0,
                latitude_deg=p.place[0],
                longitude_deg=p.place[1],
                altitude_m=p.altitude_m,
                speed_mps=p.speed_mps,
                course_deg=COURSES[p.course_word & 0x3FF],
                hdop=p.hdop,
                satellites=p.satellites,
                telemetry=p.telemetry,
                cells=cells,
                wifi=wifi,
            )
            return Report(raw=frame, device=device, fixes=(fix,), alarms=alarms)
        if p.located and not sound:
            return Rejected(
                raw=frame, device=device, reason="wrong checksum, no such time or place"
            )
        if p.kind in HEARTBEATS and not alarms:
            return Heartbeat(raw=frame, device=device, telemetry=p.telemetry)
        return Status(
            raw=frame, device=device, time=p.time, alarms=alarms, telemetry=p.telemetry,
            cells=cells, wifi=wifi,
        )  # fmt: skip


def _is_piece(frame: bytes) -> bool:
    """Not what a device made: it is neither sound nor as long as it says."""
    return len(frame) != _stated(frame.ljust(4)) and not _sound(frame)


def _stated(frame: bytes) -> int:
    """How many bytes the frame says it has."""
    if frame[0] == 0x79:
        return int.from_bytes(frame[2:4], "big") + 6
    return frame[2] + 5


def _sound(frame: bytes) -> bool:
    """The checksum holds, whatever became of the end mark; or the form has none."""
    end = _stated(frame) if len(frame) > 3 else 0
    if end - 2 <= len(frame) <= end and end >= 10:
        return _proven(frame[: end - 2] + END, 0, end)
    return _measure(frame, 0) == len(frame)


def _content(frame: bytes) -> bytes:
    """What lies between type and serial, or in the forms without serial the end mark."""
    if frame[0] == 0x78 and (len(frame) < 10 or len(frame) == frame[2] + 6 or _is_odd(frame)):
        return frame[4:-2]
    return frame[4 + (frame[0] == 0x79) : _serial_at(frame)]


def _is_odd(frame: bytes) -> bool:
    odd = ODD_FORMS.get(frame[3])
    return len(frame) != _stated(frame) and odd is not None and odd(frame, 0, len(frame)) > 0


def _is_wifi_form(frame: bytes) -> bool:
    return frame[0] == 0x78 and frame[3] in (0x17, 0x69) and _is_odd(frame)


def _serial_at(frame: bytes) -> int:
    """The serial is counted from the end mark, or from where it should have been."""
    return (len(frame) if frame.endswith(END) else _stated(frame)) - 6


def _serial(frame: bytes) -> bytes:
    return frame[_serial_at(frame) :][:2]
