# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The scanner of NMEA 0183, compiled: what `core_ext.nmea_py` does, at the speed of memory.

One pass over a sentence finds its end, its checksum and its commas; a second reads the fields
that the layout names straight out of the buffer. Python objects are made for results only.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.float cimport PyFloat_FromDouble
from cpython.long cimport PyLong_FromLongLong
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_New, PyTuple_SET_ITEM
from cpython.unicode cimport PyUnicode_DecodeLatin1

from core_ext import nmea_layout as _layout

DEF FIELDS = 80  # MAX_FIELDS
DEF DIGITS = 18  # MAX_DIGITS
DEF KINDS = 11
DEF REASONS = 11

cdef enum State:
    GOOD, MISSING, WRONG, TORN, TEXT

cdef enum Reason:
    BLANK, STRAY, JUNK, TEXT_TAIL, OVERLONG, UBX, RTCM3, SIRF, SKYTRAQ, CASIC, ALLYSTAR

cdef Py_ssize_t WAIT = -1
cdef Py_ssize_t MAX_SENTENCE = _layout.MAX_SENTENCE
cdef Py_ssize_t MAX_TEXT = _layout.MAX_TEXT
cdef Py_ssize_t MAX_FRAME = _layout.MAX_FRAME
cdef Py_ssize_t CREDIT = _layout.CREDIT
cdef Py_ssize_t EARNED = _layout.EARNED
assert _layout.MAX_FIELDS == FIELDS and _layout.MAX_DIGITS == DIGITS
assert len(_layout.DROPS) == REASONS and len(_layout.LAYOUTS) == KINDS
assert (_layout.GOOD, _layout.MISSING, _layout.WRONG, _layout.TORN, _layout.TEXT) == (0, 1, 2, 3, 4)
assert _layout.CHINESE_GSV == "PQ"

ctypedef const unsigned char* Octets

cdef struct Layout:
    unsigned int name  # three letters
    char head[24]
    int heads
    char group[8]
    int groups
    int needed
    int values  # of the head

cdef Layout layouts[KINDS]
cdef list _kinds = list(_layout.LAYOUTS)
cdef double powers[DIGITS + 1]
cdef long long tens[DIGITS + 1]
cdef unsigned int crc_table[256]
cdef unsigned char body_class[256]  # 1: may stand inside a sentence
cdef str EMPTY = ""
cdef tuple NO_FIELDS = ()


cdef void _prepare():
    cdef int index, at, bit
    cdef unsigned int crc
    for index, (name, (layout, needed)) in enumerate(_layout.LAYOUTS.items()):
        code = name.encode()
        layouts[index].name = (code[0] << 16) | (code[1] << 8) | code[2]
        head, _, group = layout.partition("*")
        assert len(head) <= 24 and len(group) <= 8
        layouts[index].heads, layouts[index].groups = len(head), len(group)
        for at, letter in enumerate(head):
            layouts[index].head[at] = <char> ord(letter)
        for at, letter in enumerate(group):
            layouts[index].group[at] = <char> ord(letter)
        layouts[index].needed = needed
        layouts[index].values = len(head.replace("_", ""))
    for index in range(DIGITS + 1):
        tens[index] = tens[index - 1] * 10 if index else 1
        powers[index] = <double> tens[index]
    for index in range(256):
        crc = <unsigned int> index << 16
        for bit in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
        crc_table[index] = crc & 0xFFFFFF
        body_class[index] = 0x20 <= index <= 0x7E and index not in b"$!"


_prepare()


cdef inline int _hex(unsigned char c) noexcept nogil:
    if 48 <= c <= 57:
        return c - 48
    c = c | 32
    if 97 <= c <= 102:
        return c - 87
    return -1


cdef struct Number:
    bint ok
    bint negative
    bint pointed
    bint signed
    long long whole
    long long digits
    int decimals


cdef inline Number _parse(Octets at, Octets end) noexcept nogil:
    cdef Number number
    cdef int count = 0
    cdef bint any_digit = False
    number.ok = number.negative = number.pointed = number.signed = False
    number.whole = number.digits = 0
    number.decimals = 0
    if at < end and (at[0] == 43 or at[0] == 45):
        number.signed = True
        number.negative = at[0] == 45
        at += 1
    while at < end and 48 <= at[0] <= 57:
        count += 1
        if count > DIGITS:
            return number
        number.digits = number.digits * 10 + (at[0] - 48)
        any_digit = True
        at += 1
    number.whole = number.digits
    if at < end and at[0] == 46:
        number.pointed = True
        at += 1
        while at < end and 48 <= at[0] <= 57:
            any_digit = True
            if count < DIGITS:
                count += 1
                number.digits = number.digits * 10 + (at[0] - 48)
                number.decimals += 1
            at += 1
    number.ok = at == end and any_digit
    return number


cdef inline object _float(Octets at, Octets end):
    cdef double value
    if at == end:
        return None
    cdef Number number = _parse(at, end)
    if not number.ok:
        return None
    value = <double> number.digits / powers[number.decimals]
    return PyFloat_FromDouble(-value if number.negative else value)


cdef inline object _integer(Octets at, Octets end):
    if at == end:
        return None
    cdef Number number = _parse(at, end)
    if not number.ok or number.pointed:
        return None
    return PyLong_FromLongLong(-number.digits if number.negative else number.digits)


cdef inline object _number(Octets at, Octets end):
    cdef double value
    if at == end:
        return None
    cdef Number number = _parse(at, end)
    if not number.ok:
        return None
    if not number.pointed:
        return PyLong_FromLongLong(-number.digits if number.negative else number.digits)
    value = <double> number.digits / powers[number.decimals]
    return PyFloat_FromDouble(-value if number.negative else value)


cdef inline int _pair(Octets at) noexcept nogil:
    if 48 <= at[0] <= 57 and 48 <= at[1] <= 57:
        return (at[0] - 48) * 10 + (at[1] - 48)
    return 99


cdef inline object _time(Octets at, Octets end):
    cdef int hours, minutes, seconds, place = 100000
    cdef long long micros
    if end - at < 6:
        return None
    hours, minutes, seconds = _pair(at), _pair(at + 2), _pair(at + 4)
    if hours > 23 or minutes > 59 or seconds > 60:
        return None
    micros = (hours * 3600 + minutes * 60 + seconds) * <long long> 1000000
    at += 6
    if at < end:
        if at[0] != 46:
            return None
        at += 1
        while at < end:
            if not 48 <= at[0] <= 57:
                return None
            micros += (at[0] - 48) * place
            place //= 10
            at += 1
    return PyLong_FromLongLong(micros)


cdef inline object _date(Octets at, Octets end):
    cdef int value = 0
    if end - at != 6:
        return None
    while at < end:
        if not 48 <= at[0] <= 57:
            return None
        value = value * 10 + (at[0] - 48)
        at += 1
    return PyLong_FromLongLong(value)


cdef inline object _degrees(Octets at, Octets end, Octets mark, Octets mark_end, char code):
    cdef bint negative
    cdef long long degrees
    cdef double minutes, value
    cdef Number number
    if at == end or mark_end - mark != 1:
        return None
    if code == c"y":
        if mark[0] != c"N" and mark[0] != c"S":
            return None
        negative = mark[0] == c"S"
    else:
        if mark[0] != c"E" and mark[0] != c"W":
            return None
        negative = mark[0] == c"W"
    number = _parse(at, end)
    if not number.ok or number.signed:
        return None
    degrees = number.whole // 100
    minutes = <double> (number.digits - degrees * 100 * tens[number.decimals])
    minutes = minutes / powers[number.decimals]
    value = <double> degrees + minutes / 60
    if minutes >= 60 or value > (90 if code == c"y" else 180):
        return None
    return PyFloat_FromDouble(-value if negative else value)


cdef inline object _string(Octets at, Octets end):
    if at == end:
        return None
    return PyUnicode_DecodeLatin1(<const char*> at, end - at, NULL)


cdef class Scanner:
    """Feed it chunks; `flush` when nothing more belongs to what was fed. It never raises."""

    cdef bytes _tail
    cdef bint _fresh
    cdef Py_ssize_t _credit
    cdef long long _dropped[REASONS]
    # of the sentence at hand
    cdef Octets _starts[FIELDS + 2]
    cdef Octets _ends[FIELDS + 2]
    cdef int _parts  # fields behind the address

    def __init__(self):
        cdef int index
        self._tail = b""
        self._fresh = True
        self._credit = CREDIT
        for index in range(REASONS):
            self._dropped[index] = 0

    @property
    def dropped(self):
        """Bytes that are part of no item, by reason."""
        return {reason: self._dropped[index] for index, reason in enumerate(_layout.DROPS)}

    @property
    def held(self):
        """Bytes that wait for what belongs to them."""
        return PyBytes_GET_SIZE(self._tail)

    def feed(self, data):
        cdef bytes chunk = data if type(data) is bytes else bytes(data)
        if PyBytes_GET_SIZE(self._tail):
            chunk = self._tail + chunk
        return self._scan(chunk, False)

    def flush(self):
        """What can be read without its line end; a sentence that may go on is still held."""
        items = self._scan(self._tail, True)
        self._fresh = True
        return items

    cdef list _scan(self, bytes data, bint final):
        cdef list items = []
        cdef Octets begin = <Octets> PyBytes_AS_STRING(data)
        cdef Octets end = begin + PyBytes_GET_SIZE(data)
        cdef Octets at = begin
        cdef Py_ssize_t used
        cdef unsigned char byte
        while at < end:
            byte = at[0]
            if byte == 36 or byte == 33:
                used = self._sentence(at, end, items, final)
            elif byte == 13 or byte == 10:
                self._dropped[<int> BLANK] += 1
                self._fresh = True
                used = 1
            elif 0x20 <= byte <= 0x7E:
                used = self._text(at, end, items, final)
            else:
                used = self._binary(at, end, final)
            if used == WAIT:
                break
            at += used
        if at == end:
            self._tail = b""
        elif at == begin:
            self._tail = data
        else:
            self._tail = PyBytes_FromStringAndSize(<const char*> at, end - at)
        return items

    cdef inline Py_ssize_t _drop(self, int reason, Py_ssize_t count, bint fresh) noexcept:
        self._dropped[reason] += count
        self._fresh = fresh
        return count

    cdef inline void _earn(self, Py_ssize_t good) noexcept:
        self._credit += EARNED * good
        if self._credit > CREDIT:
            self._credit = CREDIT

    cdef Py_ssize_t _sentence(self, Octets at, Octets end, list items, bint final) except -2:
        cdef Octets stop = at + 1
        cdef Octets limit = end if end - at < MAX_SENTENCE else at + MAX_SENTENCE
        cdef Octets star = NULL
        cdef Octets body_end
        cdef unsigned char total = 0, sum_at_star = 0, byte
        cdef int commas = 0, state, high, low, kind
        cdef Py_ssize_t size
        cdef bint ended
        self._starts[0] = stop
        while stop < limit:
            byte = stop[0]
            if not body_class[byte]:
                break
            if byte == 44:
                if commas <= FIELDS and star == NULL:
                    self._ends[commas] = stop
                    self._starts[commas + 1] = stop + 1
                    commas += 1
            elif byte == 42:
                if star != NULL:  # commas behind the former star are fields after all
                    commas = self._recount(star, stop, commas)
                star = stop
                sum_at_star = total
            total ^= byte
            stop += 1
        if stop - at >= MAX_SENTENCE:
            return self._drop(OVERLONG, MAX_SENTENCE, False)
        if stop == end and not final:
            return WAIT
        size = self._with_line_end(at, stop, end, final)
        if size == WAIT:
            return WAIT
        if stop == at + 1:
            return self._drop(STRAY, 1, False)
        ended = size > stop - at
        body_end = stop
        if star == NULL:
            state = MISSING if ended else TORN
        else:
            body_end = star
            high = _hex(star[1]) if stop - star > 1 else -1
            low = _hex(star[2]) if stop - star > 2 else -1
            if high >= 0 and low >= 0:
                state = GOOD if (high << 4 | low) == sum_at_star else WRONG
            elif high >= 0 and stop - star == 2 and ended:
                # SPEC-GAP: makers print the sum without its leading zero.
                state = GOOD if high == sum_at_star else WRONG
            else:
                state = WRONG if ended else TORN
        self._ends[commas] = body_end
        self._parts = commas
        kind = self._kind()
        if state == TORN and stop == end:  # silence: what a torn sentence has may be enough
            if star != NULL or (kind >= 0 and commas < layouts[kind].needed):
                return WAIT
            state = MISSING
        if state != GOOD and not (
            65 <= at[1] <= 90
            and stop - at > 2
            and (65 <= at[2] <= 90 or 48 <= at[2] <= 57)
        ):
            return self._drop(JUNK, size, ended)
        if state == TORN:
            kind = -1
        elif state == GOOD:
            self._earn(size)
        items.append((
            state,
            _kinds[kind] if kind >= 0 else EMPTY,
            PyUnicode_DecodeLatin1(
                <const char*> self._starts[0], self._ends[0] - self._starts[0], NULL
            ),
            PyBytes_FromStringAndSize(<const char*> at, size),
            self._typed(kind) if kind >= 0 else NO_FIELDS,
        ))
        self._fresh = ended
        return size

    cdef int _recount(self, Octets begin, Octets end, int commas) noexcept:
        while begin < end:
            if begin[0] == 44 and commas <= FIELDS:
                self._ends[commas] = begin
                self._starts[commas + 1] = begin + 1
                commas += 1
            begin += 1
        return commas

    cdef inline Py_ssize_t _with_line_end(
        self, Octets at, Octets stop, Octets end, bint final
    ) noexcept:
        """The length up to and with the line end at `stop`, if there is one."""
        if stop == end:
            return stop - at
        if stop[0] == 10:
            return stop + 1 - at
        if stop[0] != 13:
            return stop - at
        if stop + 1 == end:
            return stop + 1 - at if final else WAIT
        return stop - at + (2 if stop[1] == 10 else 1)

    cdef inline int _kind(self) noexcept:
        cdef Octets name = self._starts[0]
        cdef unsigned int code
        cdef int index
        if self._ends[0] - name != 5 or (name[0] == c"P" and name[1] != c"Q"):
            return -1
        code = (<unsigned int> name[2] << 16) | (<unsigned int> name[3] << 8) | name[4]
        for index in range(KINDS):
            if layouts[index].name == code:
                return index
        return -1

    cdef tuple _typed(self, int kind):
        cdef Layout* layout = &layouts[kind]
        cdef int parts = self._parts if self._parts < FIELDS else FIELDS
        cdef int repeats = 0, left = 0, count = layout.values, place = 0, at = 1, index, turn
        cdef char code
        if layout.groups and parts > layout.heads:
            repeats = (parts - layout.heads) // layout.groups
            left = (parts - layout.heads) % layout.groups
            count += repeats * layout.groups + left
        cdef tuple values = PyTuple_New(count)
        for index in range(layout.heads):
            at = self._value(values, &place, layout.head[index], at, parts)
        for turn in range(repeats):
            for index in range(layout.groups):
                at = self._value(values, &place, layout.group[index], at, parts)
        for index in range(left):
            code = c"s" if left == 1 else layout.group[index]
            at = self._value(values, &place, code, at, parts)
        return values

    cdef inline int _value(
        self, tuple values, int* place, char code, int at, int parts
    ) except -1:
        """Read one value at field `at` into its place; the position of the next field."""
        cdef object value = None
        cdef Octets begin
        cdef Octets end
        if code == c"_":
            return at + 1
        if code == c"y" or code == c"x":
            if at + 1 <= parts:
                value = _degrees(
                    self._starts[at], self._ends[at], self._starts[at + 1], self._ends[at + 1], code
                )
            at += 1
        elif at <= parts:
            begin, end = self._starts[at], self._ends[at]
            if begin == end:
                pass
            elif code == c"f":
                value = _float(begin, end)
            elif code == c"i":
                value = _integer(begin, end)
            elif code == c"n":
                value = _number(begin, end)
            elif code == c"s":
                value = _string(begin, end)
            elif code == c"t":
                value = _time(begin, end)
            else:
                value = _date(begin, end)
        Py_INCREF(value)
        PyTuple_SET_ITEM(values, place[0], value)
        place[0] += 1
        return at + 1

    cdef Py_ssize_t _text(self, Octets at, Octets end, list items, bint final) except -2:
        cdef Octets stop = at
        cdef Octets limit = end
        cdef Py_ssize_t size
        if self._fresh and end - at > MAX_TEXT:
            limit = at + MAX_TEXT
        while stop < limit and body_class[stop[0]]:
            stop += 1
        if not self._fresh:
            return self._drop(TEXT_TAIL, stop - at, False)
        if stop - at >= MAX_TEXT:
            return self._drop(JUNK, MAX_TEXT, False)
        if stop == end and not final:
            return WAIT
        size = self._with_line_end(at, stop, end, final)
        if size == WAIT:
            return WAIT
        if size == stop - at and stop < end and stop[0] != 36 and stop[0] != 33:
            return self._drop(JUNK, size, False)
        items.append((
            <int> TEXT, EMPTY, EMPTY, PyBytes_FromStringAndSize(<const char*> at, size), NO_FIELDS
        ))
        self._fresh = size > stop - at
        return size

    cdef Py_ssize_t _binary(self, Octets at, Octets end, bint final) noexcept:
        cdef int reason = JUNK
        cdef Py_ssize_t have = end - at
        cdef Py_ssize_t size = _length(at, have, &reason)
        if size == WAIT and not final:
            return WAIT
        if 0 < size <= MAX_FRAME and size <= self._credit:
            if size > have:
                if not final:
                    return WAIT
            elif _holds(at, size, reason):
                self._earn(size)
                return self._drop(reason, size, True)
            else:
                self._credit -= size
        return self._drop(JUNK, 1, False)


# Frames of other protocols, as foreign_frames draws them.


cdef Py_ssize_t _length(Octets at, Py_ssize_t have, int* reason) noexcept nogil:
    """The whole length of the frame whose mark is at hand; 0: none, WAIT: its head is not whole."""
    cdef unsigned char first = at[0]
    cdef Py_ssize_t length
    if first == 0xB5 or first == 0xF1:
        reason[0] = UBX if first == 0xB5 else ALLYSTAR
        if have > 1 and at[1] != (0x62 if first == 0xB5 else 0xD9):
            return 0
        return WAIT if have < 6 else (at[4] | at[5] << 8) + 8
    if first == 0xD3:
        reason[0] = RTCM3
        if have > 1 and at[1] & 0xFC:
            return 0
        return WAIT if have < 3 else (at[1] << 8 | at[2]) + 6
    if first == 0xA0:
        if have > 1 and at[1] != 0xA1 and at[1] != 0xA2:
            return 0
        if have < 4:
            return WAIT
        reason[0] = SIRF if at[1] == 0xA2 else SKYTRAQ
        return (at[2] << 8 | at[3]) + (8 if at[1] == 0xA2 else 7)
    if first == 0xBA:
        reason[0] = CASIC
        if have > 1 and at[1] != 0xCE:
            return 0
        if have < 6:
            return WAIT
        length = at[2] | at[3] << 8
        return 0 if length % 4 else length + 10
    return 0


cdef bint _holds(Octets at, Py_ssize_t size, int reason) noexcept nogil:
    """Whether the checksum of a whole frame does."""
    cdef Py_ssize_t index
    cdef unsigned char a = 0, b = 0
    cdef unsigned int total = 0
    if reason == UBX or reason == ALLYSTAR:
        for index in range(2, size - 2):
            a += at[index]
            b += a
        return at[size - 2] == a and at[size - 1] == b
    if reason == RTCM3:
        for index in range(size - 3):
            total = ((total << 8) & 0xFFFFFF) ^ crc_table[(total >> 16) ^ at[index]]
        return total == (<unsigned int> at[size - 3] << 16 | at[size - 2] << 8 | at[size - 1])
    if reason == SIRF:
        for index in range(4, size - 4):
            total += at[index]
        total &= 0x7FFF
        at += size - 4
        return at[0] == total >> 8 and at[1] == (total & 255) and at[2] == 0xB0 and at[3] == 0xB3
    if reason == SKYTRAQ:
        for index in range(4, size - 3):
            a ^= at[index]
        at += size - 3
        return at[0] == a and at[1] == 13 and at[2] == 10
    total = (<unsigned int> at[5] << 24) + (<unsigned int> at[4] << 16) + <unsigned int> (size - 10)
    for index in range(6, size - 4, 4):
        total += _word(at + index)
    return total == _word(at + size - 4)


cdef inline unsigned int _word(Octets at) noexcept nogil:
    return at[0] | <unsigned int> at[1] << 8 | <unsigned int> at[2] << 16 | <unsigned int> at[3] << 24
