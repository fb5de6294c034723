"""The statement of a commit: one for each mixture of sections, each one round trip.

Data-modifying CTEs over UNNEST of packed arrays; together they are one transaction. Positions
that were there already are not written again, and only what was new marks its day and may
become the latest position.
"""

from dataclasses import dataclass
from functools import cache

CHANNEL = "truetrack_changes"


@dataclass(frozen=True, slots=True)
class Sections:
    """What a batch holds."""

    frames: bool = False
    positions: bool = False
    rare: bool = False  # mock, cells, wifi, sky among the positions
    quarantined: bool = False
    rare_quarantined: bool = False
    events: bool = False
    contacts: bool = False
    closed: bool = False


_FRAMES = (
    "int8[]", "timestamptz[]", "int8[]", "uuid[]", "text[]", "text[]", "text[]", "text[]",
    "text[]", "bytea[]",
)  # fmt: skip
_POSITIONS = (
    "int8[]", "timestamptz[]", "int8[]", "float8[]", "float8[]", "float8[]", "float8[]",
    "float8[]", "float8[]", "float8[]", "int8[]", "timestamptz[]", "int4[]", "bool[]", "text[]",
    "text[]", "text[]", "text[]", "jsonb[]",
)  # fmt: skip
_RARE = ("bool[]", "jsonb[]", "jsonb[]", "jsonb[]")
_EVENTS = (
    "int8[]", "timestamptz[]", "text[]", "int8[]", "timestamptz[]", "int8[]", "timestamptz[]",
    "uuid[]", "text[]", "text[]", "text[]", "jsonb[]", "jsonb[]", "jsonb[]",
)  # fmt: skip
_CONTACTS = ("uuid[]", "int8[]", "text[]", "text[]", "text[]", "text[]", "timestamptz[]")
_CLOSED = (*_CONTACTS, "timestamptz[]", "text[]", "text[]", "int8[]", "int8[]")

_POSITION_NAMES = (
    "device_id, time, digest, latitude_deg, longitude_deg, altitude_m, speed_mps, course_deg, "
    "accuracy_m, hdop, frame_id, received_at, satellites, valid, source, time_source, "
    "durability, identity_strength, telemetry"
)
_RARE_NAMES = ", mock, cells, wifi, sky"
# Once for the statement; the column's default would work it out for every row.
_INGEST = "(SELECT raw.feed_number())"


def _unnest(types: tuple[str, ...]) -> str:
    return f"unnest({', '.join(f'%b::{kind}' for kind in types)})"


def _frames() -> str:
    names = "id, received_at, device_id, contact_id, source, kind, reason, decoder, durability, raw"
    return f"""frames AS (
    INSERT INTO raw.frame ({names}) SELECT {names} FROM {_unnest(_FRAMES)} AS new ({names})
)"""


def _position_shape(rare: bool) -> tuple[str, tuple[str, ...]]:
    if rare:
        return _POSITION_NAMES + _RARE_NAMES, (*_POSITIONS, *_RARE)
    return _POSITION_NAMES, _POSITIONS


def _positions(rare: bool) -> str:
    names, types = _position_shape(rare)
    return f"""fresh AS (
    INSERT INTO raw.position ({names}, ingest)
    SELECT {names}, {_INGEST} FROM {_unnest(types)} AS new ({names})
    ON CONFLICT DO NOTHING
    RETURNING device_id, time, digest, latitude_deg, longitude_deg, altitude_m, speed_mps,
              course_deg, accuracy_m, satellites, received_at, source, identity_strength,
              telemetry, valid
), dirty AS (
    INSERT INTO raw.device_day_dirty (device_id, day)
    SELECT DISTINCT device_id, (time AT TIME ZONE 'UTC')::date FROM fresh ORDER BY 1, 2
    ON CONFLICT (device_id, day) DO UPDATE
    SET marked_at = excluded.marked_at, claimed_at = NULL, claimed_by = NULL
    WHERE device_day_dirty.claimed_at IS NOT NULL
), latest AS (
    INSERT INTO raw.latest_position AS known
        (device_id, time, digest, latitude_deg, longitude_deg, altitude_m, speed_mps,
         course_deg, accuracy_m, satellites, received_at, source, identity_strength, telemetry)
    SELECT DISTINCT ON (device_id) device_id, time, digest, latitude_deg, longitude_deg,
        altitude_m, speed_mps, course_deg, accuracy_m, satellites, received_at, source,
        identity_strength, telemetry
    FROM fresh WHERE valid ORDER BY device_id, time DESC
    ON CONFLICT (device_id) DO UPDATE
    SET time = excluded.time, digest = excluded.digest, latitude_deg = excluded.latitude_deg,
        longitude_deg = excluded.longitude_deg, altitude_m = excluded.altitude_m,
        speed_mps = excluded.speed_mps, course_deg = excluded.course_deg,
        accuracy_m = excluded.accuracy_m, satellites = excluded.satellites,
        received_at = excluded.received_at, source = excluded.source,
        identity_strength = excluded.identity_strength, telemetry = excluded.telemetry
    WHERE excluded.time > known.time
)"""


def _quarantined(rare: bool) -> str:
    names, types = _position_shape(rare)
    return f"""quarantined AS (
    INSERT INTO raw.position_quarantine ({names}, reason)
    SELECT {names}, reason FROM {_unnest((*types, "text[]"))} AS new ({names}, reason)
    ON CONFLICT DO NOTHING
)"""


def _events() -> str:
    names = (
        "device_id, time, kind, digest, device_time, frame_id, received_at, contact_id, alarms, "
        "detail, token, telemetry, cells, wifi"
    )
    values = names.replace("alarms", "string_to_array(alarms, ',')")
    return f"""events AS (
    INSERT INTO raw.device_event ({names}, ingest)
    SELECT {values}, {_INGEST} FROM {_unnest(_EVENTS)} AS new ({names})
    ON CONFLICT DO NOTHING
)"""


_CONTACT_NAMES = "id, device_id, source, transport, peer, strength, opened_at"


def _contacts() -> str:
    return f"""contacts AS (
    INSERT INTO raw.contact AS known ({_CONTACT_NAMES})
    SELECT {_CONTACT_NAMES} FROM {_unnest(_CONTACTS)} AS new ({_CONTACT_NAMES})
    ON CONFLICT (id) DO UPDATE SET device_id = coalesce(known.device_id, excluded.device_id)
)"""


def _closed() -> str:
    more = ", closed_at, cause, detail, frames, bytes_in"
    return f"""closed AS (
    INSERT INTO raw.contact AS known ({_CONTACT_NAMES}{more})
    SELECT {_CONTACT_NAMES}{more} FROM {_unnest(_CLOSED)} AS new ({_CONTACT_NAMES}{more})
    ON CONFLICT (id) DO UPDATE
    SET device_id = coalesce(known.device_id, excluded.device_id), closed_at = excluded.closed_at,
        cause = excluded.cause, detail = excluded.detail, frames = excluded.frames,
        bytes_in = excluded.bytes_in
)"""


@cache
def statement(sections: Sections) -> bytes:
    """The SQL whose parameters are the sections' columns in this order."""
    parts = [
        _frames() if sections.frames else "",
        _positions(sections.rare) if sections.positions else "",
        _quarantined(sections.rare_quarantined) if sections.quarantined else "",
        _events() if sections.events else "",
        _contacts() if sections.contacts else "",
        _closed() if sections.closed else "",
    ]
    body = ", ".join(part for part in parts if part)
    return f"WITH {body}\nSELECT pg_notify('{CHANNEL}', '')".encode()
