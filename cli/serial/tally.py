"""What passes by on an NMEA 0183 line, counted for people: types, rates, faults, raw text.

This is the display's own count over all bytes, by the scanner that the decoder uses too;
positions come from the decoder.
"""

from collections import Counter, deque
from functools import reduce
from operator import xor

from core_ext.nmea import GOOD, MISSING, TEXT, Item, Scanner

LIMIT_CHARACTERS = 82  # IEC 61162-1, with the start and the line end
WINDOW_S = 10.0
KEPT_LINES = 200

BINARY = {  # frames of other protocols whose checksum held, as the scanner names them
    "ubx": "UBX (u-blox binary)",
    "rtcm3": "RTCM 3",
    "sirf": "SiRF binary",
    "skytraq": "SkyTraq binary",
    "casic": "CASIC binary",
    "allystar": "Allystar binary",
}
JUNK = ("junk", "text", "overlong", "stray")
MARKS = {  # of protocols that the scanner does not know: enough for a hint
    b"\xaa\x44\x12": "NovAtel binary",
    b"\x10\x03\x10": "TSIP (Trimble binary)",  # an end and a start
}


class Tally:
    """Fed with every byte and the time in seconds; times only have to grow."""

    def __init__(self) -> None:
        self.sentences = 0
        self.bytes = 0
        self.types: Counter[str] = Counter()  # by address: GNRMC, PMTK001
        self.faults: Counter[str] = Counter()
        self.binary: Counter[str] = Counter()  # bytes, for MARKS marks
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.latest: dict[str, str] = {}  # the newest sentence of each address
        self._scanner = Scanner()
        self._dropped: dict[str, int] = {}
        self._recent: deque[tuple[float, str]] = deque()
        self._volume: deque[tuple[float, int]] = deque()
        self._began: float | None = None

    @property
    def valid(self) -> int:
        """Sentences whose checksum was there and right."""
        return self.sentences - self.faults["no checksum"]

    def feed(self, data: bytes, at_s: float) -> None:
        if self._began is None:
            self._began = at_s
        self.bytes += len(data)
        self._volume.append((at_s, len(data)))
        for mark, name in MARKS.items():
            if found := data.count(mark):
                self.binary[name] += found
        self._take(self._scanner.feed(data), at_s)

    def flush(self, at_s: float) -> None:
        """Silence: what has no line end is whole."""
        self._take(self._scanner.flush(), at_s)

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

    def _take(self, items: list[Item], at_s: float) -> None:
        for item in items:
            self._item(item, at_s)
        dropped = self._scanner.dropped
        for reason, count in dropped.items():
            fresh = count - self._dropped.get(reason, 0)
            if not fresh:
                continue
            if name := BINARY.get(reason):
                self.binary[name] += fresh
                self.lines.append(f"({name}, {fresh} bytes)")
            elif reason in JUNK:
                self.faults["junk bytes"] += fresh
                self.lines.append(f"({reason}, {fresh} bytes)")
        self._dropped = dropped

    def _item(self, item: Item, at_s: float) -> None:
        state, _, address, raw, _ = item
        text = raw.strip(b"\r\n").decode("ascii", "backslashreplace")
        if text:
            self.lines.append(text)
        if state == TEXT:
            return
        if state not in (GOOD, MISSING):
            self.faults["bad checksum"] += 1  # or the sentence was cut short
            return
        if state == MISSING:
            self.faults["no checksum"] += 1
        if len(text) + 2 > LIMIT_CHARACTERS:
            self.faults["over-length"] += 1
        address = address[:12]
        self.sentences += 1
        self.types[address] += 1
        self.latest[address] = text
        self._recent.append((at_s, address))


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
