"""The scanner of NMEA 0183 in plain Python: the reference for the compiled one, and its stand-in.

Both keep to `core_ext.nmea_layout` and give the same items for the same bytes, to the last bit
of every number.
"""

import re
from collections.abc import Callable

from core_ext.foreign_frames import FRAMES, WAIT
from core_ext.nmea_layout import (
    CHINESE_GSV,
    CREDIT,
    DROPS,
    EARNED,
    GOOD,
    LAYOUTS,
    MAX_DIGITS,
    MAX_FIELDS,
    MAX_FRAME,
    MAX_SENTENCE,
    MAX_TEXT,
    MISSING,
    TEXT,
    TORN,
    WRONG,
    Item,
    Value,
)

_BODY = re.compile(rb"[\x20\x22\x23\x25-\x7e]*")  # printable, without $ and !
_JUNK = re.compile(rb"[^\x20-\x7e\r\n\xb5\xd3\xa0\xba\xf1]*")
_ADDRESS = re.compile(rb"[A-Z][A-Z0-9]")
_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?")
_TIME = re.compile(r"([01][0-9]|2[0-3])([0-5][0-9])([0-5][0-9]|60)(?:\.([0-9]*))?")
_HEX = b"0123456789ABCDEFabcdef"
_POWERS = [float(10**k) for k in range(MAX_DIGITS + 1)]


class Scanner:
    """Feed it chunks; `flush` when nothing more belongs to what was fed. It never raises."""

    def __init__(self) -> None:
        self._tail = b""
        self._fresh = True  # at a line's start
        self._credit = CREDIT
        self._dropped = dict.fromkeys(DROPS, 0)

    @property
    def dropped(self) -> dict[str, int]:
        """Bytes that are part of no item, by reason."""
        return dict(self._dropped)

    @property
    def held(self) -> int:
        """Bytes that wait for what belongs to them."""
        return len(self._tail)

    def feed(self, data: bytes) -> list[Item]:
        return self._scan(self._tail + data, final=False)

    def flush(self) -> list[Item]:
        """What can be read without its line end; a sentence that may go on is still held."""
        items = self._scan(self._tail, final=True)
        self._fresh = True
        return items

    def _scan(self, data: bytes, *, final: bool) -> list[Item]:
        items: list[Item] = []
        at, size = 0, len(data)
        while at < size:
            byte = data[at]
            if byte in b"$!":
                after = self._sentence(data, at, items, final=final)
            elif byte in b"\r\n":
                self._drop("blank", 1, fresh=True)
                after = at + 1
            elif 0x20 <= byte <= 0x7E:
                after = self._text(data, at, items, final=final)
            else:
                after = self._binary(data, at, final=final)
            if after == WAIT:
                break
            at = after
        self._tail = data[at:]
        return items

    def _drop(self, reason: str, count: int, *, fresh: bool = False) -> None:
        self._dropped[reason] += count
        self._fresh = fresh

    def _earn(self, good: int) -> None:
        self._credit = min(CREDIT, self._credit + EARNED * good)

    def _sentence(self, data: bytes, at: int, items: list[Item], *, final: bool) -> int:
        size = len(data)
        stop = _run(data, at + 1, at + MAX_SENTENCE)
        if stop - at >= MAX_SENTENCE:
            self._drop("overlong", MAX_SENTENCE)
            return at + MAX_SENTENCE
        end = _line_end(data, stop, final=final)
        if stop == size and not final:
            return WAIT
        if end == WAIT:
            return WAIT
        body = data[at + 1 : stop]
        if not body:
            self._drop("stray", 1)
            return at + 1
        ended = end > stop
        text, state = _checked(body, ended=ended)
        address, *parts = text.split(b",")
        kind = _kind(address)
        if state == TORN and stop == size:  # silence: what a torn sentence has may be enough
            if b"*" in body or len(parts) < LAYOUTS.get(kind, ("", 0))[1]:
                return WAIT
            state = MISSING
        if state != GOOD and not _ADDRESS.match(body):
            self._drop("junk", end - at, fresh=ended)
            return end
        fields = _typed(kind, parts) if kind and state != TORN else ()
        if state == TORN:
            kind = ""
        if state == GOOD:
            self._earn(end - at)
        items.append((state, kind, address.decode("ascii"), data[at:end], fields))
        self._fresh = ended
        return end

    def _text(self, data: bytes, at: int, items: list[Item], *, final: bool) -> int:
        size = len(data)
        if not self._fresh:
            stop = _run(data, at, size)
            self._drop("text", stop - at)
            return stop
        stop = _run(data, at, at + MAX_TEXT)
        if stop - at >= MAX_TEXT:
            self._drop("junk", MAX_TEXT)
            return at + MAX_TEXT
        if stop == size and not final:
            return WAIT
        end = _line_end(data, stop, final=final)
        if end == WAIT:
            return WAIT
        if end == stop and stop < size and data[stop] not in b"$!":
            self._drop("junk", stop - at)
            return stop
        items.append((TEXT, "", "", data[at:end], ()))
        self._fresh = end > stop
        return end

    def _binary(self, data: bytes, at: int, *, final: bool) -> int:
        if (frame := FRAMES.get(data[at])) is not None:
            reason, length, holds = frame(data, at)
            if length == WAIT and not final:
                return WAIT
            if 0 < length <= min(MAX_FRAME, self._credit):
                if at + length > len(data):
                    if not final:
                        return WAIT
                elif holds(data[at : at + length]):
                    self._drop(reason, length, fresh=True)
                    self._earn(length)
                    return at + length
                else:
                    self._credit -= length
            self._drop("junk", 1)
            return at + 1
        found = _JUNK.match(data, at)
        assert found
        self._drop("junk", found.end() - at)
        return found.end()


def _run(data: bytes, begin: int, limit: int) -> int:
    """Where the printable bytes from `begin` end."""
    found = _BODY.match(data, begin, max(begin, limit))
    assert found
    return found.end()


def _line_end(data: bytes, stop: int, *, final: bool) -> int:
    """The position behind the line end at `stop`; `stop` when there is none."""
    if data[stop : stop + 1] == b"\n":
        return stop + 1
    if data[stop : stop + 1] != b"\r":
        return stop
    if stop + 1 == len(data) and not final:
        return WAIT
    return stop + 2 if data[stop + 1 : stop + 2] == b"\n" else stop + 1


def _checked(body: bytes, *, ended: bool) -> tuple[bytes, int]:
    """What stands before the checksum, and what that makes of the sentence."""
    star = body.rfind(b"*")
    if star < 0:
        return body, MISSING if ended else TORN
    digits = body[star + 1 : star + 3]
    whole = len(digits) == 2 and digits[0] in _HEX and digits[1] in _HEX
    # SPEC-GAP: makers print the sum without its leading zero.
    short = len(digits) == 1 and digits[0] in _HEX and ended
    if not whole and not short:
        return body[:star], WRONG if ended else TORN
    return body[:star], GOOD if int(digits, 16) == _xor(body[:star]) else WRONG


def _xor(data: bytes) -> int:
    total = int.from_bytes(data, "little")
    bits = 8 * MAX_SENTENCE // 2
    while bits >= 8:
        if total >> bits:
            total = (total >> bits) ^ (total & ((1 << bits) - 1))
        bits //= 2
    return total


def _kind(address: bytes) -> str:
    if len(address) != 5:
        return ""
    name = address.decode("ascii")
    if name[0] == "P" and name[:2] != CHINESE_GSV:
        return ""
    return name[2:] if name[2:] in LAYOUTS else ""


def _typed(kind: str, parts: list[bytes]) -> tuple[Value, ...]:
    words = [part.decode("ascii") for part in parts[:MAX_FIELDS]]
    layout = LAYOUTS[kind][0]
    head, star, group = layout.partition("*")
    if star:
        repeats, left = divmod(max(0, len(words) - len(head)), len(group))
        head += group * repeats + ("s" if left == 1 else group[:left])
    values: list[Value] = []
    at = 0
    for code in head:
        word = words[at] if at < len(words) else ""
        at += 1
        if code in "yx":
            values.append(_degrees(word, words[at] if at < len(words) else "", code))
            at += 1
        elif code != "_":
            values.append(_READ[code](word))
    return tuple(values)


def _text_value(word: str) -> str | None:
    return word or None


def _parts(word: str) -> tuple[int, int, int, int] | None:
    """Sign, whole part, all digits as one integer, decimals."""
    found = _NUMBER.fullmatch(word)
    if found is None:
        return None
    sign, whole, decimals = found[1], found[2], found[3] or ""
    if len(whole) > MAX_DIGITS or not (whole or decimals):
        return None
    decimals = decimals[: MAX_DIGITS - len(whole)]
    return -1 if sign == "-" else 1, int(whole or "0"), int(whole + decimals), len(decimals)


def _float(word: str) -> float | None:
    if (parts := _parts(word)) is None:
        return None
    sign, _, digits, decimals = parts
    return sign * (float(digits) / _POWERS[decimals])


def _integer(word: str) -> int | None:
    if "." in word or (parts := _parts(word)) is None:
        return None
    return parts[0] * parts[1]


def _number(word: str) -> int | float | None:
    return _float(word) if "." in word else _integer(word)


def _time(word: str) -> int | None:
    found = _TIME.fullmatch(word)
    if found is None:
        return None
    seconds = int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3])
    return seconds * 1_000_000 + int((found[4] or "").ljust(6, "0")[:6])


def _date(word: str) -> int | None:
    return int(word) if len(word) == 6 and word.isdigit() else None


def _degrees(word: str, hemisphere: str, code: str) -> float | None:
    """`DDDMM.MMMM` with its hemisphere letter, as signed decimal degrees."""
    limit, signs = (90, "NS") if code == "y" else (180, "EW")
    if len(hemisphere) != 1 or hemisphere not in signs:
        return None
    if word[:1] in ("+", "-") or (parts := _parts(word)) is None:
        return None
    _, whole, digits, decimals = parts
    degrees = whole // 100
    minutes = float(digits - degrees * 100 * 10**decimals) / _POWERS[decimals]
    value = degrees + minutes / 60
    if minutes >= 60 or value > limit:
        return None
    return -value if hemisphere == signs[1] else value


_READ: dict[str, Callable[[str], Value]] = {
    "t": _time,
    "d": _date,
    "f": _float,
    "i": _integer,
    "n": _number,
    "s": _text_value,
}
