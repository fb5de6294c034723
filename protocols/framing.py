"""Cutting frames out of a byte stream, one class for each way that devices do it."""

import re
from collections.abc import Callable
from functools import cache

from model import Event, Rejected

Measure = Callable[[bytes, int, bool], int]
"""What begins at an offset: n > 0, a whole frame of n bytes that its checksum proves; WAIT, too
little has come to say; -n, n bytes that call themselves a frame and prove nothing; or NO_FRAME.
Where the last argument is False no checksum is computed, so that nothing long is proven."""

LONG_MARK_BYTES = 4  # at most, of what `long` looks at
PROOF_CREDIT = 65_536  # bytes of checksums that may fail before they are paid for
PROOF_EARNED = 16  # for each byte that comes

MAX_ROW_BYTES = 1024  # of pieces in a row: a flood still makes enough events to be noticed

WAIT = 0
NO_FRAME = -1


class ResyncFramer:
    """Frames that begin with a mark and state their length, in a stream that may be damaged.

    A frame that its checksum proves is taken at once, whatever an earlier one still promises:
    so a frame that was cut short, or whose length is wrong, costs nobody but itself. A frame
    without such proof is taken when nothing proven begins inside it; it ends where it says, or
    at the first end mark within `slack` bytes behind that, or before an end and a start mark in
    a row. The bytes between a start mark and the next frame are a broken frame; whatever else
    there is between frames is line noise. What is kept stays below three times `max_bytes`.

    What a hostile stream can cost is bounded. A start mark that can become a frame no more is not
    looked at again; where no end mark is near, only the marks of long frames are looked at. And
    checksums that fail draw on a credit: once it is used up, frames are taken as they say
    themselves until enough bytes have come to pay for looking inside them again.

    Should a proven frame hold another one, the outer counts if it has come whole.
    """

    __slots__ = (
        "_alive", "_credit", "_end", "_halves", "_held", "_long", "_marks", "_max_bytes",
        "_measure", "_min_bytes", "_seam", "_short_reach", "_slack",
    )  # fmt: skip

    def __init__(
        self,
        measure: Measure,
        *,
        start: tuple[bytes, ...],
        end: bytes,
        min_bytes: int,
        max_bytes: int,
        slack: int,
        short_bytes: int,
        long: re.Pattern[bytes],
    ) -> None:
        """A start mark is two bytes. `measure` never promises more than `max_bytes`, and no more
        than `short_bytes` where `long` does not match; of frames without proof, only those of
        `min_bytes` and more are believed to be any.
        """
        self._measure = measure
        self._marks = _either(start)
        self._halves = tuple(mark[:1] for mark in start)
        self._seam = _seam(start, end)
        self._end, self._slack = end, slack
        self._min_bytes, self._max_bytes = min_bytes, max_bytes
        self._short_reach, self._long = short_bytes + slack, long
        self._credit = PROOF_CREDIT
        self._held = b""
        self._alive = 0  # offset in _held before which no start mark can become a frame any more

    @property
    def pending(self) -> bool:
        return bool(self._held)

    def feed(self, data: bytes) -> list[tuple[bytes, bool]]:
        """The frames completed, each with whether its checksum proves it."""
        return self._cut(data, final=False)

    def flush(self) -> list[tuple[bytes, bool]]:
        """Nothing more comes: what is left is read as far as it goes."""
        return self._cut(b"", final=True)

    def _cut(self, data: bytes, *, final: bool) -> list[tuple[bytes, bool]]:
        self._credit = min(PROOF_CREDIT, self._credit + PROOF_EARNED * len(data))
        if self._held:
            data = self._held + data
        frames: list[tuple[bytes, bool]] = []
        at, alive = self._scan(data, self._alive, frames, final=final)
        self._held, self._alive = data[at:], max(0, alive - at)
        return frames

    def _scan(
        self, data: bytes, alive: int, frames: list[tuple[bytes, bool]], *, final: bool
    ) -> tuple[int, int]:
        """Read on as far as one can; the offsets of what is left, and of its first live mark."""
        at, size, measure = 0, len(data), self._measure
        stuck = False
        while at < size and not stuck:
            length = measure(data, at, self._credit > 0) if at >= alive else NO_FRAME
            if length > 0:
                frames.append((data[at : at + length], True))
                at += length
            else:
                at, alive, stuck = self._resync(data, at, alive, length, frames, final=final)
        return at, alive

    def _resync(
        self,
        data: bytes,
        at: int,
        alive: int,
        length: int,
        frames: list[tuple[bytes, bool]],
        *,
        final: bool,
    ) -> tuple[int, int, bool]:
        """Look for a frame behind `at`, where none is proven: what is there measures `length`.

        Returns where to read on, the first start mark with a future, and whether the bytes are
        exhausted.
        """
        size, measured = len(data), at
        found = self._marks.search(data, at)
        if found is None:
            half = not final and data.endswith(self._halves)
            return size - half, 0, True
        at = found.start()
        hope = end_of_hope = waiting = end = -1
        found = self._marks.search(data, max(at, alive))  # those before it are dead
        while found is not None:
            here = found.start()
            if 0 <= end_of_hope <= here:
                break
            if end < here:
                end = data.find(self._end, here)
                end = size if end < 0 else end
            if waiting >= 0 and end == size:
                break  # what could be proven would need an end mark
            if end - here > self._short_reach and not self._long.match(data, here):
                near = end - self._short_reach
                found = self._long.search(data, here, near + LONG_MARK_BYTES - 1)
                if found is None or found.start() >= near:
                    found = self._marks.search(data, near)
                continue
            if here != measured:
                length = self._measure(data, here, self._credit > 0)
            if length > 0:
                # What its length would have taken past this frame ends here: read it so.
                self._scan(data[self._nearest(data, at, here) : here], 0, frames, final=True)
                return here, here, False
            if length == WAIT and not final:
                waiting = here if waiting < 0 else waiting
            elif length != NO_FRAME:
                stated = here - length
                if (
                    length < 0
                    and self._credit > 0
                    and data.startswith(self._end, stated - len(self._end))
                ):
                    self._credit += length  # it was summed in vain
                if hope < 0 and waiting < 0:
                    end_here = self._end_without_proof(data, here, -length, final=final)
                    if end_here > 0:
                        hope, end_of_hope = here, end_here
                    elif end_here == WAIT:
                        waiting = here
            found = self._marks.search(data, here + 1)
        if hope >= 0 and waiting < 0:
            self._broken(data, at, hope, frames)
            frames.append((data[hope:end_of_hope], False))
            return end_of_hope, end_of_hope, False
        if final:
            self._broken(data, at, size, frames)
            return size, size, True
        alive = min((offset for offset in (hope, waiting) if offset >= 0), default=size - 1)
        return self._nearest(data, at, alive), alive, True

    def _end_without_proof(self, data: bytes, here: int, length: int, *, final: bool) -> int:
        """The end of the unproven frame at `here`; WAIT; or -1 when it has none."""
        size = len(data)
        stated = here + length if length else size
        if data.find(self._end, here, stated + self._slack) < 0:
            return WAIT if size < stated + self._slack and not final else -1
        seam = self._seam.search(data, here + self._min_bytes - len(self._end), stated)
        if seam is not None:
            return seam.start() + len(self._end)
        last = data.find(self._end, stated - len(self._end), stated + self._slack)
        if last >= 0:
            return last + len(self._end)
        return WAIT if size < stated + self._slack and not final else -1

    def _broken(self, data: bytes, at: int, end: int, frames: list[tuple[bytes, bool]]) -> None:
        """What lies between a start mark and the next frame."""
        at = self._nearest(data, at, end)
        if at < end:
            frames.append((data[at:end], False))

    def _nearest(self, data: bytes, at: int, end: int) -> int:
        """The start mark at `at`, or the first that is not too far from `end` for a frame."""
        if end - at <= self._max_bytes:
            return at
        found = self._marks.search(data, end - self._max_bytes, end)
        return found.start() if found else end


def joined(events: list[Event], is_piece: Callable[[bytes], bool]) -> list[Event]:
    """The events; but pieces of frames, of which a flood makes thousands, are one in a row.

    Line noise between the pieces is left out, as it is everywhere.
    """
    if len(events) < 2:
        return events
    found: list[Event] = []
    row: list[Rejected] = []
    size = 0
    for event in [*events, None]:
        piece = event if isinstance(event, Rejected) and is_piece(event.raw) else None
        if row and (piece is None or size >= MAX_ROW_BYTES):
            raw = b"".join(each.raw for each in row)
            many = Rejected(raw=raw, device=row[0].device, reason="pieces of frames")
            found.append(many if len(row) > 1 else row[0])
            row, size = [], 0
        if piece is not None:
            row.append(piece)
            size += len(piece.raw)
        elif event is not None:
            found.append(event)
    return found


@cache
def _either(marks: tuple[bytes, ...]) -> re.Pattern[bytes]:
    return re.compile(b"|".join(map(re.escape, marks)))


@cache
def _seam(marks: tuple[bytes, ...], end: bytes) -> re.Pattern[bytes]:
    """An end mark with a start mark right behind it."""
    return re.compile(re.escape(end) + b"(?=" + _either(marks).pattern + b")")
