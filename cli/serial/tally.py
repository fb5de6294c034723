"""What passes by on an NMEA 0183 line, counted for people: types, rates, faults, raw text.

This is the display's own count over all bytes; positions come from the protocol's decoder.
"""

from collections import Counter, deque
from functools import reduce
from operator import xor

LIMIT_CHARACTERS = 82  # IEC 61162-1, with the start and the line end
WINDOW_S = 10.0
MAX_LINE_BYTES = 1024
KEPT_LINES = 200
STARTS = b"$!"

# What the bytes of other protocols begin with: enough to tell a technician what he is looking at.
BINARY_MARKS = {
    b"\xb5\x62": "UBX (u-blox binary)",
    b"\xd3\x00": "RTCM 3",
    b"\xa0\xa2": "SiRF binary",
    b"\xa0\xa1": "SkyTraq binary",
    b"\xaa\x44\x12": "NovAtel binary",
    b"\xba\xce": "CASIC binary",
    b"\x10\x02": "TSIP (Trimble binary)",
}


class Tally:
    """Fed with every byte and the time in seconds; times only have to grow."""

    def __init__(self) -> None:
        self.sentences = 0
        self.bytes = 0
        self.types: Counter[str] = Counter()  # by address: GNRMC, PMTK001
        self.faults: Counter[str] = Counter()
        self.binary: Counter[str] = Counter()
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.latest: dict[str, str] = {}  # the newest sentence of each address
        self._recent: deque[tuple[float, str]] = deque()
        self._volume: deque[tuple[float, int]] = deque()
        self._began: float | None = None
        self._rest = b""

    def feed(self, data: bytes, at_s: float) -> None:
        if self._began is None:
            self._began = at_s
        self.bytes += len(data)
        self._volume.append((at_s, len(data)))
        *lines, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        for line in lines:
            if line:
                self._line(line, at_s)
        if len(self._rest) > MAX_LINE_BYTES:
            self._junk(self._rest)
            self._rest = b""

    def rates(self, now_s: float) -> dict[str, float]:
        """Sentences a second of each address, over the last ten seconds."""
        span = self._span(now_s)
        while self._recent and self._recent[0][0] < now_s - WINDOW_S:
            self._recent.popleft()
        counts = Counter(address for _, address in self._recent)
        return {address: count / span for address, count in counts.most_common()}

    def bytes_per_s(self, now_s: float) -> float:
        span = self._span(now_s)
        while self._volume and self._volume[0][0] < now_s - WINDOW_S:
            self._volume.popleft()
        return sum(size for _, size in self._volume) / span

    def _span(self, now_s: float) -> float:
        began = now_s if self._began is None else self._began
        return min(WINDOW_S, max(1.0, now_s - began))

    def _line(self, line: bytes, at_s: float) -> None:
        starts = [i for i, byte in enumerate(line) if byte in STARTS]
        if not starts:
            self._junk(line)
            return
        if starts[0]:
            self._junk(line[: starts[0]])
        for begin, end in zip(starts, [*starts[1:], len(line)], strict=True):
            if (sentence := line[begin:end]) in (b"$", b"!"):
                self.faults["junk bytes"] += 1
            else:
                self._sentence(sentence, at_s)

    def _sentence(self, sentence: bytes, at_s: float) -> None:
        body, star, digits = sentence[1:].partition(b"*")
        text = sentence.decode("ascii", "backslashreplace")
        self.lines.append(text)
        if star and not _sum_is(body, digits):
            self.faults["bad checksum"] += 1
            return
        if not star:
            self.faults["no checksum"] += 1
        if len(sentence) + 2 > LIMIT_CHARACTERS:
            self.faults["over-length"] += 1
        address = body.split(b",", 1)[0].decode("ascii", "backslashreplace")[:12]
        self.sentences += 1
        self.types[address] += 1
        self.latest[address] = text
        self._recent.append((at_s, address))

    def _junk(self, data: bytes) -> None:
        self.faults["junk bytes"] += len(data)
        for mark, name in BINARY_MARKS.items():
            if found := data.count(mark):
                self.binary[name] += found
        shown = data[:40].hex(" ")
        self.lines.append(f"({len(data)} bytes: {shown}{' ...' if len(data) > 40 else ''})")


def _sum_is(body: bytes, digits: bytes) -> bool:
    try:
        return int(digits[:2], 16) == reduce(xor, body, 0)
    except ValueError:
        return False


def with_checksum(text: str) -> str:
    """`PMTK605`, `$PMTK605` or `$PMTK605*31` as a whole sentence, without its line end.

    Raises ValueError when a checksum is given that is wrong, or the text is no sentence.
    """
    text = text.strip()
    start = text[:1] if text[:1] in ("$", "!") else "$"
    body, star, digits = text.removeprefix(start).partition("*")
    if not body or not body.isascii() or not body.isprintable() or any(c in body for c in "$!*"):
        raise ValueError(f"not a sentence: {text!r}")
    checksum = f"{reduce(xor, body.encode(), 0):02X}"
    if star and digits.upper() != checksum:
        raise ValueError(f"the checksum of {body!r} is {checksum}, not {digits}")
    return f"{start}{body}*{checksum}"
