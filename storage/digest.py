"""What makes two fixes the same fix, and two events the same event."""

from collections.abc import Mapping
from hashlib import blake2b
from struct import Struct

from model.records import Event, Fix, Report, Scalar, Status

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
    content = _NUMBERS.pack(
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
        content += _said(fix.telemetry)
    return _digest(content)


def event_digest(event: Event) -> int:
    """Likewise for what an event says beside its fixes."""
    match event:
        case Report():
            content = ",".join(sorted(event.alarms)).encode()
        case Status():
            heard = ascii((sorted(event.alarms), event.cells, event.wifi)).encode()
            content = heard + _said(event.telemetry)
        case _:
            content = event.raw
    return _digest(content)


def _digest(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little", signed=True)


def _said(telemetry: Mapping[str, Scalar]) -> bytes:
    try:
        said = [f"{k}={v!r}" for k, v in telemetry.items() if k not in VOLATILE]
        said.sort()
        return "\n".join(said).encode()
    except ValueError:  # half a surrogate pair in a name, an integer of thousands of digits
        said = [
            f"{k!a}={v:x}" if isinstance(v, int) else f"{k!a}={v!a}"
            for k, v in telemetry.items()
            if k not in VOLATILE
        ]
        return "\n".join(sorted(said)).encode()
