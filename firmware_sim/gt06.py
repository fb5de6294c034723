"""The frames that a GT06 tracker sends, and the receipts it waits for.

    78 78  length  type  content ...  serial(2)  crc(2)  0D 0A

Concox "GT06 GPS Tracker communication protocol" 1.8.1: login 01 (section 5.1), heartbeat 13
(5.4); the location 22 is that of the later GT06N/E family (V1.0.0, 5.2).
"""

from datetime import datetime
from struct import Struct

LOGIN, LOCATION, HEARTBEAT = 0x01, 0x22, 0x13

_END = b"\r\n"
_CELL = bytes.fromhex("01cc00287d001fb8")  # mcc 460, mnc 0, lac 0x287d, cid 0x001fb8
_SCALE = 1_800_000  # 1/30000 of a minute of arc
_FIXED, _NORTH, _WEST = 1 << 12, 1 << 10, 1 << 11
_PLACE = Struct(">6BBIIBH")


def login(imei: str, serial: int) -> bytes:
    """`imei` has 15 digits."""
    return frame(LOGIN, bytes.fromhex(imei.rjust(16, "0")), serial)


def heartbeat(serial: int) -> bytes:
    return frame(HEARTBEAT, bytes((0x44, 6, 4, 0, 2)), serial)


def location(
    time: datetime,
    latitude_deg: float,
    longitude_deg: float,
    serial: int,
    *,
    speed_kph: int = 0,
    course_deg: int = 0,
    satellites: int = 9,
) -> bytes:
    """A fixed position. `time` is UTC, whole seconds, from 2000 to 2099."""
    flags = _FIXED | course_deg
    flags |= _NORTH if latitude_deg >= 0 else 0
    flags |= _WEST if longitude_deg < 0 else 0
    place = _PLACE.pack(
        time.year - 2000,
        time.month,
        time.day,
        time.hour,
        time.minute,
        time.second,
        0xC0 | satellites,
        round(abs(latitude_deg) * _SCALE),
        round(abs(longitude_deg) * _SCALE),
        speed_kph,
        flags,
    )
    return frame(LOCATION, place + _CELL + b"\x01\x00\x00", serial)


def frame(kind: int, content: bytes, serial: int) -> bytes:
    body = bytes((len(content) + 5, kind)) + content + serial.to_bytes(2, "big")
    return b"xx" + body + checksum(body).to_bytes(2, "big") + _END


def receipts(data: bytes) -> tuple[list[int], bytes]:
    """The serials acknowledged in what the server sent, and the bytes that wait for more."""
    found = []
    while len(data) >= 10:
        if data[:3] != b"xx\x05" or data[8:10] != _END:
            raise ValueError(f"not a receipt: {data[:16].hex()}")
        if checksum(data[2:6]) != int.from_bytes(data[6:8], "big"):
            raise ValueError(f"a receipt with a wrong checksum: {data[:10].hex()}")
        found.append(int.from_bytes(data[4:6], "big"))
        data = data[10:]
    return found, data


def _table() -> list[int]:
    entries = []
    for index in range(256):
        value = index
        for _ in range(8):
            value = value >> 1 ^ (0x8408 if value & 1 else 0)
        entries.append(value)
    return entries


_TABLE = _table()


def checksum(data: bytes) -> int:
    """CRC-ITU (X.25): polynomial 0x1021 reflected, all ones before and inverted after."""
    value = 0xFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFF
