"""The tables of `raw` and `ref` as SQLAlchemy Core sees them.

Migrations make them; this describes them for queries, and a test compares the two. The views of
`api_v1` are a contract in SQL (`migrations/versions/*api_v1.sql`) and are read as they are.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Double,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData()

PARTITIONED = {"frame": "received_at", "position": "time", "device_event": "time"}
"""Tables with a partition for each day (UTC), and the column that decides."""

_TIME = DateTime(timezone=True)
_NOW = text("now()")
_XID = text("raw.feed_number()")

_BRIN = {"pages_per_range": 32, "autosummarize": "on"}


def _required(name: str, kind: Any, **more: Any) -> Column[Any]:
    return Column(name, kind, nullable=False, **more)


device = Table(
    "device",
    metadata,
    Column("id", BigInteger, Identity(always=False), primary_key=True),
    _required("protocol", Text),
    _required("ident", Text),
    _required("state", Text),
    Column("name", Text),
    _required("settings", JSONB, server_default=text("'{}'::jsonb")),
    _required("created_at", _TIME, server_default=_NOW),
    _required("state_since", _TIME, server_default=_NOW),
    UniqueConstraint("protocol", "ident", name="device_identity"),
    CheckConstraint("state IN ('active', 'quarantined', 'retired')", name="device_state"),
    Index("device_quarantined", "id", postgresql_where=text("state = 'quarantined'")),
    schema="ref",
)

frame = Table(
    "frame",
    metadata,
    _required("id", BigInteger),
    _required("received_at", _TIME),
    Column("device_id", BigInteger),
    _required("contact_id", Uuid),
    _required("source", Text),
    _required("kind", Text),
    Column("reason", Text),
    _required("decoder", Text),
    _required("durability", Text),
    _required("raw", LargeBinary),
    Index("frame_id", "id", postgresql_using="brin", postgresql_with=_BRIN),
    schema="raw",
)


def _position_columns() -> list[Column[Any]]:
    return [
        _required("device_id", BigInteger),
        _required("time", _TIME),
        _required("digest", BigInteger),
        _required("latitude_deg", Double),
        _required("longitude_deg", Double),
        Column("altitude_m", Double),
        Column("speed_mps", Double),
        Column("course_deg", Double),
        Column("accuracy_m", Double),
        Column("hdop", Double),
        _required("frame_id", BigInteger),
        _required("received_at", _TIME),
        _required("ingest", BigInteger, server_default=_XID),
        Column("satellites", Integer),
        _required("valid", Boolean),
        Column("mock", Boolean),
        _required("source", Text),
        _required("time_source", Text),
        _required("durability", Text),
        _required("identity_strength", Text),
        Column("telemetry", JSONB),
        Column("cells", JSONB),
        Column("wifi", JSONB),
        Column("sky", JSONB),
    ]


position = Table(
    "position",
    metadata,
    *_position_columns(),
    PrimaryKeyConstraint("device_id", "time", "digest", name="position_pkey"),
    Index("position_ingest", "ingest"),
    Index("position_frame", "frame_id", postgresql_using="brin", postgresql_with=_BRIN),
    schema="raw",
)

position_quarantine = Table(
    "position_quarantine",
    metadata,
    *_position_columns(),
    _required("reason", Text),
    PrimaryKeyConstraint("device_id", "time", "digest", name="position_quarantine_pkey"),
    schema="raw",
)

device_event = Table(
    "device_event",
    metadata,
    Column("device_id", BigInteger),
    _required("time", _TIME),
    _required("kind", Text),
    _required("digest", BigInteger),
    Column("device_time", _TIME),
    _required("frame_id", BigInteger),
    _required("received_at", _TIME),
    _required("ingest", BigInteger, server_default=_XID),
    _required("contact_id", Uuid),
    Column("alarms", ARRAY(Text)),
    Column("detail", Text),
    Column("token", Text),
    Column("telemetry", JSONB),
    Column("cells", JSONB),
    Column("wifi", JSONB),
    UniqueConstraint(
        "device_id", "time", "kind", "digest",
        name="device_event_key", postgresql_nulls_not_distinct=True,
    ),
    Index("device_event_ingest", "ingest"),
    schema="raw",
)  # fmt: skip

contact = Table(
    "contact",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("device_id", BigInteger),
    _required("source", Text),
    _required("transport", Text),
    _required("peer", Text),
    _required("strength", Text),
    _required("opened_at", _TIME),
    Column("closed_at", _TIME),
    Column("cause", Text),
    Column("detail", Text),
    Column("frames", BigInteger),
    Column("bytes_in", BigInteger),
    Index("contact_device", "device_id", "opened_at"),
    Index("contact_opened", "opened_at", postgresql_using="brin"),
    schema="raw",
)

latest_position = Table(
    "latest_position",
    metadata,
    Column("device_id", BigInteger, primary_key=True, autoincrement=False),
    _required("time", _TIME),
    _required("digest", BigInteger),
    _required("latitude_deg", Double),
    _required("longitude_deg", Double),
    Column("altitude_m", Double),
    Column("speed_mps", Double),
    Column("course_deg", Double),
    Column("accuracy_m", Double),
    Column("satellites", Integer),
    _required("received_at", _TIME),
    _required("source", Text),
    _required("identity_strength", Text),
    Column("telemetry", JSONB),
    schema="raw",
)

device_day_dirty = Table(
    "device_day_dirty",
    metadata,
    _required("device_id", BigInteger),
    _required("day", Date),
    _required("marked_at", _TIME, server_default=_NOW),
    Column("claimed_at", _TIME),
    Column("claimed_by", Uuid),
    PrimaryKeyConstraint("device_id", "day", name="device_day_dirty_pkey"),
    schema="raw",
)

gateway_heartbeat = Table(
    "gateway_heartbeat",
    metadata,
    _required("gateway", Text),
    _required("since", _TIME),
    _required("until", _TIME),
    PrimaryKeyConstraint("gateway", "since", name="gateway_heartbeat_pkey"),
    schema="raw",
)

rejected_item = Table(
    "rejected_item",
    metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    _required("parked_at", _TIME, server_default=_NOW),
    _required("received_at", _TIME),
    Column("device_id", BigInteger),
    _required("contact_id", Uuid),
    _required("decoder", Text),
    _required("raw", LargeBinary),
    _required("record", Text),
    _required("error", Text),
    schema="raw",
)

feed_base = Table(
    "feed_base",
    metadata,
    _required("only_row", Boolean, server_default=text("true")),
    _required("base", BigInteger),
    PrimaryKeyConstraint("only_row", name="feed_base_pkey"),
    schema="raw",
)


def ours(name: str | None, kind: str, _parents: Any) -> bool:
    """For Alembic: our schemas only, and of the partitioned tables not the partitions."""
    if kind == "schema":
        return name in ("raw", "ref")
    if kind == "table" and name is not None:
        return not any(
            name.startswith(f"{parent}_") and name not in _NAMES for parent in PARTITIONED
        )
    return True


_NAMES = {table.name for table in metadata.tables.values()}
