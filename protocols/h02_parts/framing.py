"""H02's frames out of one stream: sentences between `*` and `#`, and binary frames.

    0  1     6      9      12       16      17        21½   22             25     29
    $  id×10 HHMMSS DDMMYY DDMMMMMM battery DDDMMMMMM flags speed×3 course×3 status tail
       decimal digits, two to a byte; an id of 15 digits takes 8 bytes and moves the rest by 3

A binary frame states neither length nor checksum. It has 32 bytes where it begins with `X`, 42
(SPEC-GAP) where the id has 15 digits, else 32, 45, or, SPEC-GAP, 46 or 48. Which of them is told
by the head of the next frame, or by the end of what was fed: a datagram's, a stream's, silence.
A profile with `model = "binary-45"` settles it beforehand.

A frame that was cut short ends where the next one begins, so that it alone is lost. Bytes that
belong to no frame are line noise. Pieces too short for a sentence, of which a flood makes
thousands, are one frame where they follow one another.
"""

import re

from protocols.base import ProfileLookup

MAX_TEXT_BYTES = 512
STAR, HASH, LETTER_X = b"*#X"

PIECE_BYTES = len("*XX,123456,V1#")  # a sentence that is shorter does not say whose it is
MAX_ROW_BYTES = 1024  # of pieces in one frame

MARK = re.compile(rb"[*$X]")
# A sentence up to its `#`, or up to what cannot be in it: another `*`, a binary byte.
TEXT = re.compile(rb"\*[ -\"$-)+-~]{0,%d}" % (MAX_TEXT_BYTES - 2))
TEXT_HEAD = re.compile(rb"\*[A-Za-z]{2},")
TEXT_OWNER = re.compile(rb"\*[A-Za-z]{2}, *(\d{6,20}) *,")

DIGITS = frozenset(16 * tens + ones for tens in range(10) for ones in range(10))


def _below(limit: int) -> frozenset[int]:
    """Bytes of two decimal digits that make a number less than `limit`."""
    return frozenset(byte for byte in DIGITS if byte // 16 * 10 + byte % 16 < limit)


# What each byte of a binary head may be: how a head is told from noise that bears its mark.
AFTER_ID = (
    _below(24), _below(60), _below(60),  # time
    _below(32), _below(13), DIGITS,  # date
    _below(91), _below(60), DIGITS, DIGITS,  # latitude
    frozenset(range(256)),  # battery
    _below(19), frozenset(byte for byte in DIGITS if byte % 16 < 6), DIGITS, DIGITS,  # longitude,
    frozenset(range(0xA0)),  # its last digit, and flags
)  # fmt: skip


class _Head:
    """What the bytes of a binary head may be, one after the other."""

    def __init__(self, *allowed: frozenset[int]) -> None:
        self._allowed = allowed
        classes = (b"[%s]" % re.escape(bytes(sorted(some))) for some in allowed)
        self.pattern = re.compile(b"".join(classes), re.DOTALL)
        self._match = self.pattern.match

    def __len__(self) -> int:
        return len(self._allowed)

    def fits(self, data: bytes) -> bool:
        """True while `data`, as far as it goes, may be the beginning of such a head."""
        if len(data) >= len(self._allowed):
            return self._match(data) is not None
        return all(byte in some for byte, some in zip(data, self._allowed, strict=False))


_MARKED = (frozenset(b"$X"), *[DIGITS] * 5)
ID = _Head(*_MARKED)
HEAD = _Head(*_MARKED, *AFTER_ID)
LONG_HEAD = _Head(*_MARKED, *[DIGITS] * 3, *AFTER_ID)

# A mark that may begin a frame: behind a `*` stands text, behind `$` and `X` stand digits.
_DIGIT = re.escape(bytes(sorted(DIGITS)))
START = re.compile(rb"\*(?=[ -)+-~]|\Z)|[$X](?=[%b]{5}|[%b]{0,4}\Z)" % (_DIGIT, _DIGIT), re.DOTALL)
GOOD_HEAD = re.compile(rb"%b|%b" % (HEAD.pattern.pattern, LONG_HEAD.pattern.pattern), re.DOTALL)
# What begins a frame wherever it stands.
ANY_HEAD = re.compile(
    rb"%b|%b|%b" % (TEXT_HEAD.pattern, HEAD.pattern.pattern, LONG_HEAD.pattern.pattern), re.DOTALL
)

ID_BYTES, HEAD_BYTES, LONG_HEAD_BYTES = len(ID), len(HEAD), len(LONG_HEAD)
SHORTEST = 32
LENGTHS = (32, 45, 46, 48)
LONG_ID_LENGTHS = (42,)
ALL_LENGTHS = (32, 42, 45, 46, 48)
STATED_LENGTH = re.compile(r"binary-(\d\d)")
WINDOW = ALL_LENGTHS[-1] + LONG_HEAD_BYTES  # the longest frame and a head behind it

TOLD_FROM_NOISE = 12  # bytes of a head, time and date among them
NO_HEAD = b"*"  # begins no binary frame
_WAIT, _NOISE = -1, -2


def has_long_id(frame: bytes) -> bool:
    """Is the id one of 15 digits? Where both readings make sense the length decides."""
    if len(frame) < LONG_HEAD_BYTES or not LONG_HEAD.fits(frame):
        return False
    return len(frame) in LONG_ID_LENGTHS or not HEAD.fits(frame)


def owner(frame: bytes) -> str | None:
    """The identity that a frame of either kind bears; None where it is unreadable."""
    if frame[0] == STAR:
        found = TEXT_OWNER.match(frame)
        return found[1].decode() if found else None
    if has_long_id(frame):
        return frame[1:9].hex()[:15]
    return frame[1:6].hex() if len(frame) >= ID_BYTES and ID.fits(frame) else None


def _good_head(data: bytes) -> bool:
    if len(data) >= LONG_HEAD_BYTES:
        return GOOD_HEAD.match(data) is not None
    return HEAD.fits(data) or LONG_HEAD.fits(data)


def _is_evidence(frame: bytes) -> bool:
    """Is it worth an event? What is whole is, and what was cut short behind a good head."""
    if frame[0] == STAR:
        return frame[-1] == HASH or TEXT_OWNER.match(frame) is not None
    return len(frame) >= SHORTEST or (len(frame) >= TOLD_FROM_NOISE and _good_head(frame))


class Framer:
    """See the module's text. It keeps at most one unfinished frame."""

    def __init__(self, profile_of: ProfileLookup) -> None:
        self._profile_of = profile_of
        self._kept = b""
        self._usual = (NO_HEAD, 0)  # head and length of the last frame whose length was certain
        self.perhaps_whole = False  # what is kept may be a binary frame to its end

    @property
    def pending(self) -> bool:
        return bool(self._kept)

    def feed(self, data: bytes, *, ended: bool = False) -> list[bytes]:
        """The frames that are whole; and, once nothing more will come (`ended`), what is left."""
        data = self._kept + data
        frames: list[bytes] = []
        self.perhaps_whole = False
        at, row_end = 0, -1
        while found := START.search(data, at):
            at = found.start()
            find_end = self._text_end if data[at] == STAR else self._binary_end
            end = find_end(data, at, ended=ended)
            if end == _WAIT:
                break
            if end == _NOISE:
                at += 1
                continue
            frame = data[at:end]
            if _is_evidence(frame):
                is_piece = len(frame) < PIECE_BYTES and frame[0] == STAR
                if is_piece and at == row_end and len(frames[-1]) < MAX_ROW_BYTES:
                    frames[-1] += frame
                else:
                    frames.append(frame)
                row_end = end if is_piece else -1
            at = end
        else:
            at = len(data)
        self._kept = data[at:]
        return frames

    @staticmethod
    def _text_end(data: bytes, at: int, *, ended: bool) -> int:
        found = TEXT.match(data, at)
        assert found
        end = found.end()
        if end == len(data):
            return end if ended else _WAIT
        if data[end] == HASH:
            return end + 1
        # Cut short: a binary frame may have begun before the first byte that is no text.
        if len(data) - end >= HEAD_BYTES:
            head_found = HEAD.pattern.search(data, at + 1, end + HEAD_BYTES - 1)
            return head_found.start() if head_found else end
        for mark in MARK.finditer(data, at + 1, end):
            head = data[mark.start() : mark.start() + HEAD_BYTES]
            if len(head) >= ID_BYTES and HEAD.fits(head):
                return mark.start()
        return end

    def _binary_end(self, data: bytes, at: int, *, ended: bool) -> int:
        window = data[at : at + WINDOW]
        size = len(window)
        if not ID.fits(window):
            return _NOISE
        if size < LONG_HEAD_BYTES and not ended:
            return _WAIT
        garbled = not _good_head(window)
        known, own = self._usual[0], window[:ID_BYTES]
        if garbled and size == WINDOW and (here := _next_head(window, known, own)):
            return at + here
        lengths = self._lengths(window)
        longest = lengths[-1]
        settled = len(lengths) == 1
        decisive = longest if settled else longest + 1  # so many bytes must be seen
        perhaps: int | None = None
        for mark in MARK.finditer(window, 1, decisive):
            here = mark.start()
            heads = (known, own) if here >= ID_BYTES else (known,)
            any_head = garbled or here in lengths
            begins = _begins(window[here:], heads, any_head=any_head)
            if begins:
                return at + self._up_to(here, window, lengths)
            if begins is None:
                perhaps = here
                break
        if not ended and (perhaps is not None or size < decisive):
            self.perhaps_whole = size in lengths
            return _WAIT
        if settled and size >= longest:
            return at + self._certain(longest, window)
        if ended and size in lengths:
            return at + self._certain(size, window)
        if ended and perhaps is not None:
            return at + self._up_to(perhaps, window, lengths)
        if ended and size < WINDOW:
            return at + size
        # Nothing readable follows.
        return at + (self._usual_of(window) or (45 if window[45] in b"*$X" else SHORTEST))

    def _up_to(self, found: int, window: bytes, lengths: tuple[int, ...]) -> int:
        """The length of a frame behind which the next one was found, perhaps after noise."""
        if found < SHORTEST or len(lengths) == 1:
            return found
        usual = self._usual_of(window)
        if found in lengths and not (usual and usual <= found <= usual + 3):
            return self._certain(found, window)
        if usual:
            return min(usual, found)
        return 45 if found > 45 else SHORTEST

    def _certain(self, length: int, window: bytes) -> int:
        self._usual = window[:ID_BYTES], length
        return length

    def _usual_of(self, window: bytes) -> int | None:
        """The length that frames of this device had; a device keeps to one."""
        head, length = self._usual
        return length if window.startswith(head) else None

    def _lengths(self, head: bytes) -> tuple[int, ...]:
        """How long the frame with this head may be."""
        short, long = HEAD.fits(head), LONG_HEAD.fits(head)
        ident = head[1:6].hex() if short or not long else head[1:9].hex()[:15]
        if stated := STATED_LENGTH.fullmatch(self._profile_of(ident).model or ""):
            return (max(SHORTEST, min(int(stated[1]), ALL_LENGTHS[-1])),)
        if head[0] == LETTER_X:
            return (SHORTEST,)
        if short != long:
            return LENGTHS if short else LONG_ID_LENGTHS
        return ALL_LENGTHS


def _next_head(window: bytes, known: bytes, own: bytes) -> int:
    """Where the next frame begins behind what is no whole one; 0: not so near.

    It says what asking `_begins` of every mark would, at once.
    """
    end = window.find(own, ID_BYTES, SHORTEST + ID_BYTES - 1)
    end = SHORTEST if end < 0 else end
    if known != NO_HEAD and (here := window.find(known, 1, end + ID_BYTES - 1)) > 0:
        end = here
    found = ANY_HEAD.search(window, 1, end + LONG_HEAD_BYTES - 1)
    if found and found.start() < end:
        return found.start()
    return end if end < SHORTEST else 0


def _begins(data: bytes, heads: tuple[bytes, ...], *, any_head: bool) -> bool | None:
    """Does another frame begin with this mark? None: more bytes will tell.

    Digits within a frame can look like a head, so there only a sentence's head is believed, and
    a good one that is among the `heads` of the device, unless `any_head` will do.
    """
    if data[0] == STAR:
        if len(data) >= 4:
            return TEXT_HEAD.match(data) is not None
        return None if len(data) == 1 or data[1:].isalpha() else False
    known = data.startswith(heads) or (
        len(data) < ID_BYTES and any(head.startswith(data) for head in heads)
    )
    if known and any_head:
        return True if len(data) >= ID_BYTES else None
    if not (known or any_head) or not _good_head(data):
        return False
    return True if len(data) >= LONG_HEAD_BYTES else None
