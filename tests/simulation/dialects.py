"""How the simulated devices speak. The encoders are their own: none is taken from `protocols`."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from operator import xor

from tests.simulation import line
from tests.simulation.line import Place


def _no_hello(_ident: str) -> bytes:
    return b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """A kind of device, and what it can be told."""

    protocol: str  # of its identity, and of the source that it connects to
    source: str
    report: Callable[[str, int, tuple[Place, ...], bool], bytes]
    hello: Callable[[str], bytes] = _no_hello
    receipts: Callable[[bytes], list[int] | None] = line.receipts  # None: for whatever waits
    numbered: bool = True  # reports can be told apart; if not, one a second and at a time
    many: bool = False  # a report may hold several fixes
    whole: bool = False  # messages, which end with their last byte
    loose: bool = False  # datagrams, which may be lost and overtake each other
    spooled: bool = False  # the gateway's promise is its spool
    deaf: bool = False  # no receipt can reach it: sent once and forgotten
    known: bool = False  # the link says who it is


def _line(_ident: str, number: int, places: tuple[Place, ...], resent: bool) -> bytes:
    return line.report(number, places, resent=resent)


def _alone(ident: str, number: int, places: tuple[Place, ...], resent: bool) -> bytes:
    return line.login(ident) + line.report(number, places, resent=resent)


def _quiet(_ident: str, number: int, places: tuple[Place, ...], resent: bool) -> bytes:
    return line.report(number, places, resent=resent) + b"\n"


# H02: *HQ,IMEI,V1,HHMMSS,A,DDMM.MMMM,N,DDDMM.MMMM,E,speed,course,DDMMYY,FFFFFFFF#


def _h02(ident: str, _number: int, places: tuple[Place, ...], _resent: bool) -> bytes:
    ((seconds, lat, lon),) = places
    time = datetime.fromtimestamp(seconds, UTC)
    where = f"{_minutes(lat, 2)},{'NS'[lat < 0]},{_minutes(lon, 3)},{'EW'[lon < 0]}"
    return f"*HQ,{ident},V1,{time:%H%M%S},A,{where},10.00,90,{time:%d%m%y},FFFFFBFF#".encode()


def _minutes(thousandths: int, digits: int) -> str:
    degrees, rest = divmod(abs(thousandths), 1000)
    return f"{degrees:0{digits}}{rest * 0.06:07.4f}"


_H02_RECEIPT = re.compile(rb"\*HQ,\d+,V4,V1,\d{14}#")


def _h02_receipts(reply: bytes) -> list[int] | None:
    return None if _H02_RECEIPT.search(reply) else []


# GT06: 78 78 len type content serial crc 0D 0A; the receipt repeats type and serial


def _gt06(_ident: str, number: int, places: tuple[Place, ...], resent: bool) -> bytes:
    ((seconds, lat, lon),) = places
    time = datetime.fromtimestamp(seconds, UTC)
    course = 90 | 1 << 12 | (lat >= 0) << 10 | (lon < 0) << 11
    content = b"".join(
        (
            bytes((time.year - 2000, *time.timetuple()[1:6], 0xC9)),
            (abs(lat) * 1800).to_bytes(4, "big"),
            (abs(lon) * 1800).to_bytes(4, "big"),
            bytes((36,)),
            course.to_bytes(2, "big"),
            bytes.fromhex("01cc00287d001fb8"),  # a cell
            bytes((1, 0, resent)),
        )
    )
    return _gt06_frame(0x22, content, number)


def _gt06_login(ident: str) -> bytes:
    return _gt06_frame(0x01, bytes.fromhex(f"0{ident}"), 0)


def _gt06_frame(kind: int, content: bytes, serial: int) -> bytes:
    body = bytes((len(content) + 5, kind)) + content + serial.to_bytes(2, "big")
    return b"\x78\x78" + body + _crc_x25(body).to_bytes(2, "big") + b"\r\n"


def _crc_x25(data: bytes) -> int:
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return crc ^ 0xFFFF


_GT06_RECEIPT = re.compile(rb"\x78\x78\x05\x22(..)..\r\n", re.DOTALL)


def _gt06_receipts(reply: bytes) -> list[int]:
    return [int.from_bytes(serial, "big") for serial in _GT06_RECEIPT.findall(reply)]


# NMEA 0183: $GPRMC,HHMMSS.SS,A,DDMM.MMMM,N,DDDMM.MMMM,E,speed,course,DDMMYY,,,A*hh


def _nmea(_ident: str, _number: int, places: tuple[Place, ...], _resent: bool) -> bytes:
    ((seconds, lat, lon),) = places
    time = datetime.fromtimestamp(seconds, UTC)
    where = f"{_minutes(lat, 2)},{'NS'[lat < 0]},{_minutes(lon, 3)},{'EW'[lon < 0]}"
    said = f"GPRMC,{time:%H%M%S}.00,A,{where},10.0,90.0,{time:%d%m%y},,,A".encode()
    return b"$%s*%02X\r\n" % (said, reduce(xor, said))


# OsmAnd: GET /?id=IMEI&timestamp=S&lat=D&lon=D&valid=true HTTP/1.1


def _osmand(ident: str, number: int, places: tuple[Place, ...], _resent: bool) -> bytes:
    ((seconds, lat, lon),) = places
    what = f"id={ident}&timestamp={seconds}&lat={lat / 1000:.3f}&lon={lon / 1000:.3f}&valid=true"
    after = "Connection: close\r\n" if number % 4 == 0 else ""
    return f"GET /?{what} HTTP/1.1\r\nHost: gateway\r\n{after}\r\n".encode()


def _osmand_receipts(reply: bytes) -> list[int] | None:
    return None if reply.startswith(b"HTTP/1.1 200 ") else []


STREAM = Dialect(protocol="line", source="line", report=_line, hello=line.login, many=True)
DATAGRAMS = Dialect(protocol="line", source="line", report=_alone, whole=True, loose=True)
MESSAGES = Dialect(protocol="line", source="line", report=_line, known=True, whole=True, many=True)
RELAYED = Dialect(
    protocol="line", source="line", report=_line, known=True, whole=True, spooled=True
)
QUIET = Dialect(protocol="line", source="quiet", report=_quiet, known=True, spooled=True, deaf=True)
H02 = Dialect(protocol="h02", source="h02", report=_h02, receipts=_h02_receipts, numbered=False)
GT06 = Dialect(
    protocol="gt06", source="gt06", report=_gt06, hello=_gt06_login, receipts=_gt06_receipts
)
NMEA = Dialect(
    protocol="nmea0183",
    source="nmea0183",
    report=_nmea,
    numbered=False,
    known=True,
    spooled=True,
    deaf=True,
)

OSMAND = Dialect(
    protocol="osmand", source="osmand", report=_osmand, receipts=_osmand_receipts, numbered=False
)

DIALECTS = (STREAM, DATAGRAMS, MESSAGES, RELAYED, QUIET, H02, GT06, NMEA, OSMAND)
SOURCES = sorted({dialect.source for dialect in DIALECTS})
