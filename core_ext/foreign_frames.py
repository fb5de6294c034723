"""Frames of other protocols that share a line with NMEA 0183, known by their own checksum.

Each function of FRAMES reads the head at a mark and returns the reason to drop, the whole length
(0: no such frame, WAIT: more bytes are needed) and what checks the frame when it is all there.

[UBX], [RTCM3], [SiRF], [SkyTraq], [CASIC], [Allystar]: the makers' interface descriptions, framing
"""

from collections.abc import Callable
from functools import reduce
from operator import xor
from struct import unpack_from

WAIT = -1

Check = Callable[[bytes], bool]
Head = tuple[str, int, Check]


def _fletcher(frame: bytes) -> bool:
    """Mark, class, id, length (LE), payload, two sums over all but the mark."""
    a = b = 0
    for byte in frame[2:-2]:
        a = (a + byte) & 255
        b = (b + a) & 255
    return frame[-2:] == bytes((a, b))


def _ubx_like(reason: str, mark: bytes) -> Callable[[bytes, int], Head]:
    def head(data: bytes, at: int) -> Head:
        begin = data[at : at + 6]
        if not _begins(begin, mark):
            return reason, 0, _fletcher
        if len(begin) < 6:
            return reason, WAIT, _fletcher
        return reason, unpack_from("<H", begin, 4)[0] + 8, _fletcher

    return head


def _begins(head: bytes, mark: bytes) -> bool:
    return head[:2] == mark[: len(head[:2])]


def _crc24q(frame: bytes) -> bool:
    crc = 0
    for byte in frame[:-3]:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    return crc == int.from_bytes(frame[-3:], "big")


def _rtcm3(data: bytes, at: int) -> Head:
    """D3, six zero bits, ten of length, payload, CRC-24Q."""
    head = data[at : at + 3]
    if len(head) > 1 and head[1] & 0xFC:
        return "rtcm3", 0, _crc24q
    if len(head) < 3:
        return "rtcm3", WAIT, _crc24q
    return "rtcm3", (head[1] << 8 | head[2]) + 6, _crc24q


def _sirf_sum(frame: bytes) -> bool:
    return frame[-4:] == (sum(frame[4:-4]) & 0x7FFF).to_bytes(2, "big") + b"\xb0\xb3"


def _skytraq_sum(frame: bytes) -> bool:
    return frame[-3:] == bytes((reduce(xor, frame[4:-3], 0),)) + b"\r\n"


def _sirf_or_skytraq(data: bytes, at: int) -> Head:
    """A0 A2, length (BE), payload, 15-bit sum, B0 B3; or A0 A1, length, payload, XOR, CR LF."""
    head = data[at : at + 4]
    if len(head) > 1 and head[1] not in (0xA1, 0xA2):
        return "sirf", 0, _sirf_sum
    if len(head) < 4:
        return "sirf", WAIT, _sirf_sum
    length = unpack_from(">H", head, 2)[0]
    if head[1] == 0xA2:
        return "sirf", length + 8, _sirf_sum
    return "skytraq", length + 7, _skytraq_sum


def _casic_sum(frame: bytes) -> bool:
    words: tuple[int, ...] = unpack_from(f"<{(len(frame) - 10) // 4}I", frame, 6)
    total = (frame[5] << 24) + (frame[4] << 16) + len(frame) - 10 + sum(words)
    stated: int = unpack_from("<I", frame, len(frame) - 4)[0]
    return total & 0xFFFFFFFF == stated


def _casic(data: bytes, at: int) -> Head:
    """BA CE, length (LE), class, id, payload, sum of its words and of the head."""
    head = data[at : at + 6]
    if not _begins(head, b"\xba\xce"):
        return "casic", 0, _casic_sum
    if len(head) < 6:
        return "casic", WAIT, _casic_sum
    length = unpack_from("<H", head, 2)[0]
    return "casic", 0 if length % 4 else length + 10, _casic_sum


FRAMES: dict[int, Callable[[bytes, int], Head]] = {
    0xB5: _ubx_like("ubx", b"\xb5\x62"),
    0xF1: _ubx_like("allystar", b"\xf1\xd9"),
    0xD3: _rtcm3,
    0xA0: _sirf_or_skytraq,
    0xBA: _casic,
}
