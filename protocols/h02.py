"""H02: the sentences and binary frames of many low-cost car, pet and person trackers.

    *XX,YYYYYYYYYY,V1,HHMMSS,S,DDMM.MMMM,D,DDDMM.MMMM,G,speed,course,DDMMYY,status[,extras]#

There is no login: each frame bears its identity, and one stream may mix sentences with binary
frames, which protocols/h02_parts/framing.py draws.

[HQ]    "GPS tracker protocol" of the HQ/TH family (commands, V1, V4, coordinates)
[LK]    "LKGPS protocol", section 1 (V1 and V4)
[2020]  "GPS Protocol 2020-7-6", section 1 (status bits, cells)
[H08]   H02/H08 "Communication protocol" (status bytes, the binary frames of 32 and 45 bytes)

SPEC-GAP marks what is seen on the wire and no document at hand backs. It holds for NBR, LINK,
HTBT, V3, V5, V6, V8, V19, VP1, XT, BS, all receipts, and the frames of 42, 46 and 48 bytes.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType

from model import CommandResult, DeviceIdentity, Event, Heartbeat, Rejected, Report, Scalar, Status
from protocols.base import Decoder as BaseDecoder
from protocols.base import ProfileLookup, default_profile
from protocols.h02_parts.binary import read_binary
from protocols.h02_parts.commands import COMMANDS, encode
from protocols.h02_parts.framing import HASH, STAR, Framer, owner
from protocols.h02_parts.said import (
    HEX,
    LATITUDE,
    LONGITUDE,
    SIX_DIGITS,
    STATUS_WORD,
    Frame,
    Said,
    at_least,
    degrees,
    groups_of,
    stated_time,
    time_of,
    whole,
)

__all__ = ["COMMANDS", "DEFAULT_PORT", "READERS", "Decoder", "complete", "encode"]

DEFAULT_PORT = 5013
SILENCE_S = 1.0  # after which a binary frame that may be whole is taken as whole


class Decoder(BaseDecoder):
    """See the module's text."""

    def __init__(
        self, *, ident: str | None = None, profile_of: ProfileLookup = default_profile
    ) -> None:
        super().__init__(ident=ident, profile_of=profile_of)
        self._framer = Framer(profile_of)

    def feed(self, data: bytes, now: datetime) -> list[Event]:
        frames = self._framer.feed(data)
        # Silence has a meaning only behind a binary frame that may be whole.
        self.silence_s = SILENCE_S if self._framer.perhaps_whole else None
        return [_event(raw, now) for raw in frames]

    def flush(self, now: datetime) -> list[Event]:
        self.silence_s = None
        return [_event(raw, now) for raw in self._framer.feed(b"", ended=True)]

    @property
    def pending(self) -> bool:
        return self._framer.pending

    def reply_to(self, event: Event, *, accepted: bool, now: datetime) -> bytes:
        """SPEC-GAP: V1, NBR and HTBT are answered. [HQ]: the device checks the maker's letters."""
        if not accepted or event.device is None or event.raw[:1] != b"*":
            return b""
        keyword = event.raw.split(b",", 3)[2].strip(b" #").upper().decode()
        head = f"*{event.raw[1:3].decode()},{event.device.ident}"
        match event, keyword:
            case (Report(), "V1") | (Status(), "NBR"):
                return f"{head},V4,{keyword},{now:%Y%m%d%H%M%S}#".encode()
            case Heartbeat(), "HTBT":
                return f"{head},HTBT#".encode()
        return b""


def complete(message: bytes) -> bytes:
    """A message with the end mark that a log may have dropped."""
    if message.startswith(b"*") and b"#" not in message:
        return message.rstrip(b"\r\n") + b"#"
    return message


def _event(raw: bytes, now: datetime) -> Event:
    ident = owner(raw)
    device = DeviceIdentity(protocol="h02", ident=ident) if ident else None
    read = _sentence if raw[0] == STAR else read_binary
    try:
        return read(raw, device, now)
    except ValueError as error:
        return Rejected(raw=raw, device=device, reason=str(error))


STATES = {"A": True, "V": False, "": False}  # a digit there counts as valid (SPEC-GAP)
PHONE = re.compile(r"\+?\d{6,15}")
# SPEC-GAP: one device puts a digit between course and date; its meaning is unknown.
EXTRA_DIGIT = re.compile(r"\d")


def _sentence(raw: bytes, device: DeviceIdentity | None, now: datetime) -> Event:
    if raw[-1] != HASH:
        raise ValueError("cut short: no end mark")
    if device is None:
        raise ValueError("no H02 sentence: maker, terminal number and keyword expected")
    _maker, _ident, keyword, *fields = (field.strip() for field in raw[1:-1].decode().split(","))
    if (read := READERS.get(keyword.upper())) is None:
        raise ValueError(f"no reader for the keyword {keyword!r}")
    return read(Frame(raw, device, now), fields)


def _position(
    frame: Frame, fields: list[str], more: Mapping[str, Scalar] = MappingProxyType({})
) -> Report | Status:
    """time, S, lat, D, lon, G, speed, course, date, status, extras: V1 and its kin."""
    clock, state, lat, north, lon, east, knots, course, date, *rest = at_least(9, fields)
    if EXTRA_DIGIT.fullmatch(date) and rest:
        date, *rest = rest
    said = Said.of_status(rest[0] if rest else "")
    said.take_extras(rest[1:])
    said.telemetry.update(more)
    return said.located(
        frame,
        time_of(clock, date, frame.now),
        STATES.get(state.upper(), state.isdecimal()),
        (degrees(lat, north, LATITUDE), degrees(lon, east, LONGITUDE)),
        knots=knots,
        course=course,
    )


def _with_sim(frame: Frame, fields: list[str]) -> Report | Status:
    """V19: as V1 up to the date, then "", IP or phone, ICCID; the status comes last."""
    body, (*others, status) = fields[:9], at_least(10, fields)[9:]
    phone = next((field for field in others if PHONE.fullmatch(field)), None)
    others = ["" if field == phone else field for field in others]
    return _position(frame, [*body, status, *others], {"phone": phone} if phone else {})


def _answer(frame: Frame, fields: list[str]) -> Event:
    """V4, [HQ]: command, its answer, the command's time, then as V1.

    SPEC-GAP: an answer without a position.
    """
    for start in range(1, len(fields) - 8):
        clock, state, _, north, _, east = fields[start : start + 6]
        if (
            (not clock or SIX_DIGITS.fullmatch(clock))
            and (state.upper() in STATES or EXTRA_DIGIT.fullmatch(state))
            and north.upper() in LATITUDE
            and east.upper() in LONGITUDE
        ):
            answer = _result(frame, fields[:start])
            event = _position(frame, fields[start:], {"command_result": answer.text})
            return event if isinstance(event, Report) else answer
    return _result(frame, at_least(1, fields))


def _result(frame: Frame, fields: list[str]) -> CommandResult:
    token = fields[-1] if SIX_DIGITS.fullmatch(fields[-1]) else None
    return CommandResult(raw=frame.raw, device=frame.device, text=",".join(fields), token=token)


def _neighbours(frame: Frame, fields: list[str]) -> Status:
    """NBR: time, mcc, mnc, timing advance, n, (lac, cid, rx) n times, date, status, step."""
    clock, mcc, mnc, _advance, count, *_ = at_least(6, fields)
    end = 5 + 3 * whole(count)
    date, *rest = at_least(end + 1, fields)[end:]
    said = Said.of_status(rest[0] if rest else "")
    said.take_step(rest[1] if len(rest) > 1 else "")
    said.take_unread(rest[1:])
    said.take_cells(mcc, mnc, groups_of(fields[5:end], 3))
    return said.status(frame, stated_time(clock, date))


def _link(frame: Frame, fields: list[str]) -> Status:
    """LINK: time, gsm, satellites, battery, steps, turns, date, status."""
    clock, gsm, satellites, battery, steps, turns, date, *rest = at_least(7, fields)
    said = Said.of_status(rest[0] if rest else "")
    said.take_gsm(whole(gsm) if gsm else None)
    said.take_percent(battery)
    for name, text in (
        ("satellites_in_view", satellites),
        ("steps", steps),
        ("rollovers", turns),
    ):
        if text:
            said.telemetry[name] = whole(text)
    said.take_extras(rest[1:])
    return said.status(frame, stated_time(clock, date))


def _heartbeat(frame: Frame, fields: list[str]) -> Heartbeat:
    """HTBT: nothing, or the battery in percent."""
    said = Said()
    if fields and said.take_percent(fields[0]):
        fields = ["", *fields[1:]]
    said.take_unread(fields)
    return Heartbeat(raw=frame.raw, device=frame.device, telemetry=said.telemetry)


def _cells_and_battery(frame: Frame, fields: list[str]) -> Status:
    """V3: time, mccmnc, n, (lac, cid, ta, rx) n times, battery hex, reboots, X, date, status.

    SPEC-GAP: the battery's unit is unknown (02DD), so it is kept under its own name.
    """
    clock, network, count, *_ = at_least(3, fields)
    end = 3 + 4 * whole(count)
    battery, reboots, _x, date, *rest = at_least(end + 4, fields)[end:]
    said = Said.of_status(rest[0] if rest else "")
    cells = ((lac, cid, rx) for lac, cid, _advance, rx in groups_of(fields[3:end], 4))
    said.take_cells(network[:3], network[3:], cells)
    if HEX.fullmatch(battery):
        said.telemetry["io_battery"] = int(battery, 16)
    if reboots.isdecimal():
        said.telemetry["io_reboots"] = whole(reboots)
    return said.status(frame, stated_time(clock, date))


def _pet(frame: Frame, fields: list[str]) -> Event:
    """VP1: A, lat, D, lon, G, speed, course, date; or V, mcc, mnc, lac, cid, rx (Y lac, cid, rx)."""
    state, first, second, *rest = at_least(6, fields)
    if state.upper() == "A" or second.upper() in LATITUDE:
        return _position(frame, ["", *fields])
    said = Said()
    groups = [group.split(",") for group in ",".join(rest).split("Y")]
    if any(len(group) != 3 for group in groups):
        raise ValueError("not groups of three: " + ",".join(rest))
    said.take_cells(first, second, groups)
    return said.status(frame, None)


def _base_stations(frame: Frame, fields: list[str]) -> Status:
    """BS: time, mcc, mnc, (lac, cid, rx) in hex, date, status. Seen without time and date.

    SPEC-GAP: the scale of rx is unknown, so it is not read.
    """
    clock, mcc, mnc, *rest = at_least(4, fields)
    end = 0
    while len(rest) >= end + 3 and rest[end] and not STATUS_WORD.fullmatch(rest[end + 1]):
        end += 3
    date, *after = rest[end:] or [""]
    said = Said.of_status(after[0] if after else "")
    said.take_extras(after[1:])
    said.take_cells(mcc, mnc, ((lac, cid, "") for lac, cid, _ in groups_of(rest[:end], 3)), base=16)
    return said.status(frame, stated_time(clock, date))


def _unread(frame: Frame, fields: list[str]) -> Status:
    """XT: the meaning of its fields is unknown."""
    said = Said()
    said.take_unread(fields)
    return said.status(frame, None)


READERS: dict[str, Callable[[Frame, list[str]], Event]] = {
    "V1": _position,
    "V2": _position,
    "V5": _position,
    "V6": _position,
    "V8": _position,
    "VI1": _position,
    "V19": _with_sim,
    "V4": _answer,
    "NBR": _neighbours,
    "LINK": _link,
    "HTBT": _heartbeat,
    "V3": _cells_and_battery,
    "VP1": _pet,
    "BS": _base_stations,
    "XT": _unread,
}
