"""What makes two fixes the same fix."""

from hashlib import blake2b
from struct import Struct

from model.records import Fix

_NUMBERS = Struct("<?7d")
_ABSENT = -1e300  # outside every field's range
# What a device changes when it sends the same fix again.
VOLATILE = frozenset({"backfill", "index", "rssi_dbm"})


def fix_digest(fix: Fix) -> int:
    """A signed 64-bit digest of everything that a resend repeats.

    A device that got no receipt sends the fix again, perhaps under a new record number and
    marked as stored: those fields stay out. Two fixes of one second that differ in anything
    else are two fixes.
    """
    numbers = _NUMBERS.pack(
        fix.valid,
        fix.latitude_deg,
        fix.longitude_deg,
        _ABSENT if fix.altitude_m is None else fix.altitude_m,
        _ABSENT if fix.speed_mps is None else fix.speed_mps,
        _ABSENT if fix.course_deg is None else fix.course_deg,
        _ABSENT if fix.hdop is None else fix.hdop,
        _ABSENT if fix.satellites is None else fix.satellites,
    )
    if fix.telemetry:
        said = [f"{k}={v!r}" for k, v in fix.telemetry.items() if k not in VOLATILE]
        said.sort()
        numbers += "\n".join(said).encode()
    return int.from_bytes(blake2b(numbers, digest_size=8).digest(), "little", signed=True)
