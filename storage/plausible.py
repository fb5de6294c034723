"""Which times a position may have. Others are stored apart, and acknowledged all the same."""

from datetime import UTC, datetime, timedelta

EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)  # no device is older; clocks that were reset are
AHEAD = timedelta(days=1)  # a wrong time zone is up to 14 hours


def why_absurd(time: datetime, received_at: datetime) -> str | None:
    """Why this cannot be the time of something received then, or None."""
    if time < EARLIEST:
        return "before 1990"
    if time > received_at + AHEAD:
        return "more than a day ahead of its arrival"
    return None
