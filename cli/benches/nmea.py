"""NMEA 0183: our scanner and our whole decoder beside pynmea2, on the same sentences.

Real captures when `../shared/vectors/gpsd` is there, else a receiver made up here. Both sides read
the same fields of RMC, GGA, GSA and GSV; runs alternate and the best of each counts.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import xor
from pathlib import Path
from random import Random
from time import perf_counter

import pynmea2

from core_ext import nmea, nmea_py
from protocols.nmea0183 import Decoder

CAPTURES = Path(__file__).parents[3] / "shared" / "vectors" / "gpsd"
CHUNK_BYTES = 65_536
SENTENCES = 60_000
SLOW_SENTENCES = 6_000  # for what is slower by far
RUNS = 5
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WANTED = re.compile(rb"\$(?!P)\w\w(?:RMC|GGA|GSA|GSV),[^\r\n$*]*\*[0-9A-F]{2}")

FIELDS = {  # pynmea2's names for what the scanner returns
    "RMC": ("timestamp", "status", "latitude", "longitude", "spd_over_grnd", "true_course", "datestamp"),
    "GGA": ("timestamp", "latitude", "longitude", "gps_qual", "num_sats", "horizontal_dil", "altitude", "geo_sep"),
    "GSA": ("mode", "mode_fix_type", *(f"sv_id{n:02d}" for n in range(1, 13)), "pdop", "hdop", "vdop"),
    "GSV": ("num_messages", "msg_num", "num_sv_in_view",
            *(f"{what}_{n}" for n in range(1, 5) for what in ("sv_prn_num", "elevation_deg", "azimuth", "snr"))),
}  # fmt: skip


def run() -> Iterable[dict[str, object]]:
    data = b"".join(line + b"\r\n" for line in sentences())
    lines = data.decode().splitlines()
    few = data[: data.rfind(b"\n", 0, len(data) * SLOW_SENTENCES // len(lines)) + 1]
    few_lines = few.decode().splitlines()

    best = fastest(
        {
            "peer": (lambda: read_by_pynmea2(few_lines), len(few_lines)),
            "kernel": (lambda: scan(nmea.Scanner(), data), len(lines)),
            "decoder": (lambda: decode(data), len(lines)),
            "twin": (lambda: scan(nmea_py.Scanner(), few), len(few_lines)),
        }
    )
    for name, rate in (
        (f"nmea sentences to fields ({nmea.IMPLEMENTATION})", best["kernel"]),
        ("nmea sentences to fixes", best["decoder"]),
        ("nmea sentences to fields (python twin)", best["twin"]),
    ):
        yield {
            "name": name,
            "value": rate,
            "unit": "sentences/s",
            "peer": "pynmea2, same fields",
            "peer_value": best["peer"],
            "ratio": rate / best["peer"],
        }


def fastest(ways: dict[str, tuple[Callable[[], object], int]]) -> dict[str, float]:
    """Sentences a second of each, the best of some runs that take turns."""
    best = dict.fromkeys(ways, 0.0)
    for _ in range(RUNS):
        for name, (way, count) in ways.items():
            began = perf_counter()
            way()
            best[name] = max(best[name], count / (perf_counter() - began))
    return best


def scan(scanner: nmea.Scanner, data: bytes) -> int:
    found = 0
    for at in range(0, len(data), CHUNK_BYTES):
        found += len(scanner.feed(data[at : at + CHUNK_BYTES]))
    return found


def decode(data: bytes) -> int:
    decoder, found = Decoder(ident="bench"), 0
    for at in range(0, len(data), CHUNK_BYTES):
        found += len(decoder.feed(data[at : at + CHUNK_BYTES], NOW))
    return found + len(decoder.flush(NOW))


def read_by_pynmea2(lines: list[str]) -> int:
    found = 0
    for line in lines:
        message = pynmea2.parse(line)
        for name in FIELDS[message.sentence_type]:
            try:
                getattr(message, name)
            except (AttributeError, ValueError, TypeError):
                continue
        found += 1
    return found


def sentences() -> list[bytes]:
    """As many as are measured, repeated when there are fewer."""
    found = [
        line
        for path in sorted(CAPTURES.glob("*.log"))
        for line in WANTED.findall(path.read_bytes())
        if _both_read(line)
    ] or list(receiver())
    return (found * (SENTENCES // len(found) + 1))[:SENTENCES]


def _both_read(line: bytes) -> bool:
    (item,) = nmea.Scanner().feed(line + b"\r\n")
    if item[0] != nmea.GOOD:
        return False
    try:
        pynmea2.parse(line.decode())
    except (pynmea2.ParseError, ValueError):
        return False
    return True


def receiver(epochs: int = 500) -> Iterator[bytes]:
    """A receiver that drives about for some minutes: RMC, GGA, two GSA, four GSV a second."""
    random = Random(1)  # noqa: S311 - the same receiver in every run
    latitude, longitude, time = 4717.11399, 833.91590, NOW
    for _ in range(epochs):
        time += timedelta(seconds=1)
        latitude += random.uniform(-0.01, 0.01)
        longitude += random.uniform(-0.01, 0.01)
        clock = f"{time:%H%M%S}.00"
        place = f"{latitude:010.5f},N,{longitude:011.5f},E"
        knots, course = random.uniform(0, 60), random.uniform(0, 359.9)
        yield _summed(f"GNRMC,{clock},A,{place},{knots:.3f},{course:.2f},{time:%d%m%y},,,A,V")
        yield _summed(f"GNGGA,{clock},{place},1,12,0.84,{random.uniform(400, 500):.1f},M,48.0,M,,")
        for system in (1, 2):
            used = ",".join(f"{random.randrange(1, 33):02d}" for _ in range(8))
            yield _summed(f"GNGSA,A,3,{used},,,,,1.32,0.84,1.02,{system}")
        for talker in ("GP", "GL"):
            for part in (1, 2):
                yield _summed(f"{talker}GSV,2,{part},08,{_four(random)},1")


def _four(random: Random) -> str:
    return ",".join(
        f"{random.randrange(1, 33):02d},{random.randrange(90):02d},"
        f"{random.randrange(360):03d},{random.randrange(10, 50):02d}"
        for _ in range(4)
    )


def _summed(body: str) -> bytes:
    return f"${body}*{reduce(xor, body.encode()):02X}".encode()
