"""What makes two fixes the same fix, and two events the same event."""

from collections.abc import Sequence

from core_ext.columns import digest, digests, said
from model.records import Event, Fix, Report, Status

# What a device changes when it sends the same fix again.
VOLATILE = frozenset({"backfill", "index", "rssi_dbm"})


def fix_digests(fixes: Sequence[Fix]) -> list[int]:
    """For each a signed 64-bit digest of everything that a resend repeats.

    A device that got no receipt sends the fix again, perhaps under a new record number and
    marked as stored: those fields stay out. Two fixes of one second that differ in anything
    else are two fixes.
    """
    return digests(
        [f.valid for f in fixes],
        [
            (
                f.latitude_deg, f.longitude_deg, f.altitude_m, f.speed_mps, f.course_deg, f.hdop,
                f.satellites,
            )
            for f in fixes
        ],
        [f.telemetry for f in fixes],
        VOLATILE,
    )  # fmt: skip


def fix_digest(fix: Fix) -> int:
    return fix_digests([fix])[0]


def event_digest(event: Event) -> int:
    """Likewise for what an event says beside its fixes."""
    match event:
        case Report():
            content = ",".join(sorted(event.alarms)).encode()
        case Status():
            heard = ascii((sorted(event.alarms), event.cells, event.wifi)).encode()
            content = heard + said(event.telemetry, VOLATILE)
        case _:
            content = event.raw
    return digest(content)
