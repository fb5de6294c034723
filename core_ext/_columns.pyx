# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Columns as Postgres's binary arrays, compiled: what `core_ext.columns_py` does, byte for byte.

Elements are written straight into one buffer a column, plain values without a Python object in
between. What is not plain (text with NUL, integers beyond 64 bits, types of their own) is left
to the functions of the twin, so that the rare cases have one definition.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.datetime cimport (
    PyDateTime_CheckExact, datetime_day, datetime_hour, datetime_microsecond, datetime_minute,
    datetime_month, datetime_second, datetime_tzinfo, datetime_year, import_datetime,
)
from cpython.dict cimport PyDict_Next
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_AsDouble, PyFloat_CheckExact
from cpython.long cimport PyLong_AsLongLong, PyLong_AsLongLongAndOverflow, PyLong_CheckExact
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject, PyObject_Call, PyObject_GetAttr
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy

from dataclasses import MISSING
from datetime import UTC, timedelta
from hashlib import blake2b
from types import MappingProxyType

from core_ext.columns_py import (
    ABSENT, BOOL, BYTEA, EPOCH, FLOAT8, INT4, INT8, JSONB, TEXT, TIMESTAMPTZ, UUIDS, _object,
    clean, json_bytes, said,
)

cdef extern from "Python.h":
    bint PyUnicode_CheckExact(object)
    bint PyUnicode_IS_COMPACT_ASCII(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    const char* PyUnicode_DATA(object)
    const char* PyUnicode_AsUTF8AndSize(object, Py_ssize_t*) except NULL
    char* PyOS_double_to_string(double, char, int, int, int*) except NULL
    int Py_DTSF_ADD_DOT_0

import_datetime()

DEF LINES = 32  # of one row's saying that are sorted here
cdef int64_t WIDEST = 0x7FFFFFFF  # an element's size is an int32
cdef double _absent = ABSENT
cdef dict EIGHT_BYTES = {"digest_size": 8}
cdef object _MICROSECOND = timedelta(microseconds=1)
cdef unsigned char in_json[256]  # 1: stands for itself in a string of JSON
cdef unsigned char in_repr[256]  # 1: stands for itself in a repr


cdef void _prepare():
    cdef int byte
    for byte in range(0x20, 0x7F):
        in_json[byte] = byte != c'"' and byte != c"\\"
        in_repr[byte] = byte != c"'" and byte != c"\\"


_prepare()


@cython.final
cdef class _Buffer:
    """Bytes that grow at the end."""

    cdef unsigned char* data
    cdef Py_ssize_t used
    cdef Py_ssize_t room

    def __dealloc__(self):
        PyMem_Free(self.data)

    cdef inline unsigned char* more(self, Py_ssize_t size) except NULL:
        """A place for `size` bytes, never NULL. Good until the next call."""
        cdef unsigned char* place
        if self.used + size >= self.room:
            self.grow(size)
        place = self.data + self.used
        self.used += size
        return place

    cdef int grow(self, Py_ssize_t size) except -1:
        cdef Py_ssize_t room = max(2 * self.room, self.used + size, 64)
        cdef void* data = PyMem_Realloc(self.data, room)
        if data == NULL:
            raise MemoryError
        self.data, self.room = <unsigned char*> data, room
        return 0

    cdef inline int add(self, const void* data, Py_ssize_t size) except -1:
        memcpy(self.more(size), data, size)
        return 0

    cdef inline int add_byte(self, unsigned char byte) except -1:
        self.more(1)[0] = byte
        return 0

    cdef inline bytes taken(self):
        return PyBytes_FromStringAndSize(<char*> self.data, self.used)


cdef inline void _put4(unsigned char* at, unsigned int value) noexcept nogil:
    at[0], at[1] = value >> 24, value >> 16 & 255
    at[2], at[3] = value >> 8 & 255, value & 255


cdef inline void _put8(unsigned char* at, uint64_t value) noexcept nogil:
    _put4(at, <unsigned int> (value >> 32))
    _put4(at + 4, <unsigned int> value)


cdef inline void _put8_little(unsigned char* at, uint64_t value) noexcept nogil:
    cdef int byte
    for byte in range(8):
        at[byte] = value >> 8 * byte & 255


cdef inline uint64_t _bits(double value) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    return bits


cdef _Buffer _column(unsigned int oid, list values, Py_ssize_t size):
    """The head of an array, and room for elements of about this size."""
    cdef _Buffer column = _Buffer()
    cdef Py_ssize_t length = len(values)
    cdef unsigned char* at
    if length > WIDEST:
        raise OverflowError("too many values for an array")
    column.grow(20 + length * (4 + size))
    if length == 0:
        at = column.more(12)
        _put8(at, 0)
        _put4(at + 8, oid)
        return column
    at = column.more(20)
    _put4(at, 1)
    _put4(at + 4, 1)
    _put4(at + 8, oid)
    _put4(at + 12, <unsigned int> length)
    _put4(at + 16, 1)
    return column


cdef inline int _null(_Buffer column) except -1:
    _put4(column.more(4), 0xFFFFFFFFu)
    return 0


cdef inline int _element8(_Buffer column, uint64_t value) except -1:
    cdef unsigned char* at = column.more(12)
    _put4(at, 8)
    _put8(at + 4, value)
    return 0


cdef inline int _element(_Buffer column, const void* data, int64_t size) except -1:
    cdef unsigned char* at
    if size > WIDEST:
        raise OverflowError("too long for an array's element")
    at = column.more(4 + size)
    _put4(at, <unsigned int> size)
    memcpy(at + 4, data, size)
    return 0


def boolean(values):
    cdef list rows = _list(values)
    cdef _Buffer column = _column(BOOL, rows, 1)
    cdef unsigned char* at
    cdef bint truth
    for value in rows:
        if value is None:
            _null(column)
        else:
            truth = bool(value)
            at = column.more(5)
            _put4(at, 1)
            at[4] = truth
    return column.taken()


def int4(values):
    cdef list rows = _list(values)
    cdef _Buffer column = _column(INT4, rows, 4)
    cdef unsigned char* at
    cdef long long number
    for value in rows:
        if value is None:
            _null(column)
        else:
            number = PyLong_AsLongLong(value)
            if not -0x80000000LL <= number <= 0x7FFFFFFFLL:
                raise OverflowError("too large for an int4")
            at = column.more(8)
            _put4(at, 4)
            _put4(at + 4, <unsigned int> number)
    return column.taken()


def int8(values):
    cdef list rows = _list(values)
    cdef _Buffer column = _column(INT8, rows, 8)
    for value in rows:
        if value is None:
            _null(column)
        else:
            _element8(column, <uint64_t> PyLong_AsLongLong(value))
    return column.taken()


def float8(values):
    cdef list rows = _list(values)
    cdef _Buffer column = _column(FLOAT8, rows, 8)
    for value in rows:
        if value is None:
            _null(column)
        else:
            _element8(column, _bits(PyFloat_AsDouble(value)))
    return column.taken()


def timestamptz(values):
    cdef list rows = _list(values)
    cdef _Buffer column = _column(TIMESTAMPTZ, rows, 8)
    for value in rows:
        if value is None:
            _null(column)
        else:
            _element8(column, <uint64_t> _microseconds(value))
    return column.taken()


def uuid(values):
    cdef list rows = _list(values)
    cdef _Buffer column = _column(UUIDS, rows, 16)
    cdef unsigned char* at
    cdef uint64_t high, low
    for value in rows:
        if value is None:
            _null(column)
        else:
            number = value.int
            high, low = number >> 64, number & 0xFFFFFFFFFFFFFFFF
            at = column.more(20)
            _put4(at, 16)
            _put8(at + 4, high)
            _put8(at + 12, low)
    return column.taken()


def bytea(values):
    cdef list rows = _list(values)
    cdef _Buffer column = _column(BYTEA, rows, 64)
    for value in rows:
        if value is None:
            _null(column)
            continue
        if type(value) is not bytes:
            value = bytes(memoryview(value))
        _element(column, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))
    return column.taken()


def text(values):
    cdef list rows = _list(values)
    cdef _Buffer column = _column(TEXT, rows, 16)
    cdef const char* data
    cdef Py_ssize_t size
    for value in rows:
        if value is None:
            _null(column)
            continue
        try:
            data = PyUnicode_AsUTF8AndSize(value, &size)
        except UnicodeEncodeError:  # half a surrogate pair
            data = NULL
        if data == NULL or memchr(data, 0, size) != NULL:
            value = clean(value)
            data = PyUnicode_AsUTF8AndSize(value, &size)
        _element(column, data, size)
    return column.taken()


def jsonb(values):
    cdef list rows = _list(values)
    cdef _Buffer column = _column(JSONB, rows, 64)
    cdef Py_ssize_t start
    for value in rows:
        if not value:
            _null(column)
            continue
        start = _json_begin(column)
        if not _json_mapping(column, _plain_dict(value)):
            _json_other(column, start, value)
        _json_end(column, start)
    return column.taken()


def jsonb_records(values, fields):
    cdef list rows = _list(values)
    cdef _Buffer column = _column(JSONB, rows, 64)
    cdef list plan = [(name, json_bytes(name) + b":", default) for name, default in fields]
    cdef Py_ssize_t start
    for records in rows:
        if not records:
            _null(column)
            continue
        start = _json_begin(column)
        if not _json_records(column, records, plan):
            _json_other(column, start, [_object(record, fields) for record in records])
        _json_end(column, start)
    return column.taken()


def digests(truths, numbers, sayings, left_out):
    cdef list truth_rows = _list(truths), number_rows = _list(numbers), saying_rows = _list(sayings)
    cdef list result = []
    cdef _Buffer content = _Buffer(), lines = _Buffer()
    cdef Py_ssize_t row, length = len(truth_rows), width = len(number_rows[0]) if number_rows else 0
    cdef bytes made
    if len(number_rows) != length or len(saying_rows) != length:
        raise ValueError("columns of unlike lengths")
    for row in range(length):
        content.used = 0
        content.add_byte(1 if truth_rows[row] else 0)
        if len(number_rows[row]) != width:
            raise ValueError("rows of unlike lengths")
        for number in number_rows[row]:
            _put8_little(
                content.more(8), _bits(_absent if number is None else PyFloat_AsDouble(number))
            )
        saying = saying_rows[row]
        if saying and not _said(content, lines, _plain_dict(saying), left_out):
            made = said(saying, left_out)
            content.add(PyBytes_AS_STRING(made), PyBytes_GET_SIZE(made))
        made = PyObject_Call(blake2b, (content.taken(),), EIGHT_BYTES).digest()
        result.append(_signed_little(<const unsigned char*> PyBytes_AS_STRING(made)))
    return result


cdef inline int64_t _signed_little(const unsigned char* at) noexcept nogil:
    cdef uint64_t bits = 0
    cdef int byte
    for byte in range(8):
        bits |= <uint64_t> at[byte] << 8 * byte
    return <int64_t> bits


cdef list _list(values):
    return <list> values if type(values) is list else list(values)


cdef int64_t _microseconds(object time) except? -1:
    """Since Postgres's epoch."""
    cdef int64_t year, month, era, of_era, day
    if not PyDateTime_CheckExact(time) or datetime_tzinfo(time) is not UTC:
        return (time - EPOCH) // _MICROSECOND
    # Years that begin in March have their leap day last; 400 of them are 146097 days.
    month = datetime_month(time) - 3
    year = datetime_year(time)
    if month < 0:
        month += 12
        year -= 1
    era = year // 400
    of_era = year - era * 400
    day = (
        era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + (153 * month + 2) // 5
        + datetime_day(time) - 1 - 730425  # days up to 2000-01-01
    )
    return (
        (day * 86400 + datetime_hour(time) * 3600 + datetime_minute(time) * 60
         + datetime_second(time)) * 1_000_000 + datetime_microsecond(time)
    )


# JSON


cdef inline Py_ssize_t _json_begin(_Buffer column) except -1:
    """Where the element begins; its size is written at its end."""
    cdef Py_ssize_t start = column.used
    column.more(5)[4] = 1  # jsonb's wire form begins with its version
    return start


cdef inline int _json_end(_Buffer column, Py_ssize_t start) except -1:
    cdef int64_t size = column.used - start - 4
    if size > WIDEST:
        raise OverflowError("too long for an array's element")
    _put4(column.data + start, <unsigned int> size)
    return 0


cdef int _json_other(_Buffer column, Py_ssize_t start, object value) except -1:
    """The value as the twin writes it, in place of what was begun."""
    cdef bytes made = json_bytes(value)
    column.used = start + 5
    return column.add(PyBytes_AS_STRING(made), PyBytes_GET_SIZE(made))


cdef inline object _plain_dict(object value):
    return dict(value) if type(value) is MappingProxyType else value


cdef bint _json_mapping(_Buffer out, object value) except -1:
    """Whether it is a dictionary of plain names and values, and was written."""
    cdef PyObject* name
    cdef PyObject* each
    cdef Py_ssize_t at = 0
    cdef unsigned char mark = c"{"
    if type(value) is not dict:
        return False
    while PyDict_Next(value, &at, &name, &each):
        out.add_byte(mark)
        mark = c","
        if not _quoted(out, <object> name, c'"', in_json):
            return False
        out.add_byte(c":")
        if not _json_scalar(out, <object> each):
            return False
    out.add_byte(c"}")
    return True


cdef bint _json_records(_Buffer out, object records, list plan) except -1:
    cdef unsigned char mark = c"[", inner
    cdef bytes key
    for record in records:
        out.add_byte(mark)
        mark, inner = c",", c"{"
        for name, key, default in plan:
            value = PyObject_GetAttr(record, name)
            if default is not MISSING and not (value != default):
                continue
            out.add_byte(inner)
            inner = c","
            out.add(PyBytes_AS_STRING(key), PyBytes_GET_SIZE(key))
            if not _json_scalar(out, value):
                return False
        if inner == c"{":
            out.add_byte(inner)
        out.add_byte(c"}")
    out.add_byte(c"]")
    return True


cdef bint _json_scalar(_Buffer out, object value) except -1:
    if value is None:
        out.add(b"null", 4)
    elif value is True:
        out.add(b"true", 4)
    elif value is False:
        out.add(b"false", 5)
    elif PyUnicode_CheckExact(value):
        return _quoted(out, value, c'"', in_json)
    elif PyFloat_CheckExact(value):
        return isfinite(PyFloat_AS_DOUBLE(value)) and _float(out, PyFloat_AS_DOUBLE(value))
    else:
        return _integer(out, value)
    return True


# What a row says, for its digest


cdef struct Line:
    const unsigned char* data
    Py_ssize_t size


cdef bint _said(_Buffer content, _Buffer lines, object saying, object left_out) except -1:
    """Whether the lines were plain and are in the content now."""
    cdef PyObject* name
    cdef PyObject* value
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t ends[LINES]
    cdef int count = 0, index, place
    cdef Line sorted_lines[LINES]
    cdef Line line
    if type(saying) is not dict:
        return False
    lines.used = 0
    while PyDict_Next(saying, &at, &name, &value):
        if not (PyUnicode_CheckExact(<object> name) and PyUnicode_IS_COMPACT_ASCII(<object> name)):
            return False
        if <object> name in left_out:
            continue
        if count == LINES:
            return False
        lines.add(PyUnicode_DATA(<object> name), PyUnicode_GET_LENGTH(<object> name))
        lines.add_byte(c"=")
        if not _repr(lines, <object> value):
            return False
        ends[count] = lines.used
        count += 1
    for index in range(count):
        line.data = lines.data + (ends[index - 1] if index else 0)
        line.size = lines.data + ends[index] - line.data
        place = index
        while place and _before(line, sorted_lines[place - 1]):
            sorted_lines[place] = sorted_lines[place - 1]
            place -= 1
        sorted_lines[place] = line
    for index in range(count):
        if index:
            content.add_byte(c"\n")
        content.add(sorted_lines[index].data, sorted_lines[index].size)
    return True


cdef inline bint _before(Line a, Line b) noexcept nogil:
    cdef int order = memcmp(a.data, b.data, min(a.size, b.size))
    return order < 0 or (order == 0 and a.size < b.size)


cdef bint _repr(_Buffer out, object value) except -1:
    if value is True:
        out.add(b"True", 4)
    elif value is False:
        out.add(b"False", 5)
    elif PyUnicode_CheckExact(value):
        return _quoted(out, value, c"'", in_repr)
    elif PyFloat_CheckExact(value):
        return _float(out, PyFloat_AS_DOUBLE(value))
    else:
        return _integer(out, value)
    return True


# Plain scalars: each says whether it wrote the value


cdef bint _quoted(
    _Buffer out, object value, unsigned char mark, const unsigned char* plain
) except -1:
    cdef const unsigned char* data
    cdef unsigned char* place
    cdef Py_ssize_t size, index
    if not (PyUnicode_CheckExact(value) and PyUnicode_IS_COMPACT_ASCII(value)):
        return False
    data = <const unsigned char*> PyUnicode_DATA(value)
    size = PyUnicode_GET_LENGTH(value)
    place = out.more(size + 2)
    place[0] = place[size + 1] = mark
    for index in range(size):
        if not plain[data[index]]:
            return False
        place[index + 1] = data[index]
    return True


cdef bint _integer(_Buffer out, object value) except -1:
    cdef int overflow = 0
    cdef int64_t number
    if not PyLong_CheckExact(value):
        return False
    number = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow:
        return False
    _digits(out, number)
    return True


cdef int _digits(_Buffer out, int64_t number) except -1:
    cdef unsigned char digits[20]
    cdef int at = 20
    cdef uint64_t left = <uint64_t> number
    if number < 0:
        left = 0 - left
    while True:
        at -= 1
        digits[at] = c"0" + left % 10
        left //= 10
        if not left:
            break
    if number < 0:
        out.add_byte(c"-")
    return out.add(digits + at, 20 - at)


cdef bint _float(_Buffer out, double value) except -1:
    """As repr writes it."""
    cdef char* made = PyOS_double_to_string(value, c"r", 0, Py_DTSF_ADD_DOT_0, NULL)
    cdef Py_ssize_t size = 0
    try:
        while made[size]:
            size += 1
        out.add(made, size)
    finally:
        PyMem_Free(made)
    return True
