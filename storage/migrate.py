"""Brings a database to this program's schema: `migrate(url)`.

One transaction under one advisory lock. Two processes that start at once are safe, and one that
is killed half-way leaves nothing behind.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from storage.errors import SchemaError
from storage.maintenance import PARTITIONS_SQL
from storage.store import StorageUnavailable

FOLDER = Path(__file__).parent / "migrations"
OLDEST = 150000
LOCK = 0x7472_7565_7472_6163  # "truetrac"
READER = "truetrack_reader"
VERSION_TABLE = {"version_table": "truetrack_version", "version_table_schema": "public"}

# The role belongs to the whole server, and making it needs a right that a hosted database may
# not grant: then an administrator makes it, and the next migrate grants what it may read.
MAKE_READER = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{READER}') THEN
        CREATE ROLE {READER} NOLOGIN;
    END IF;
EXCEPTION WHEN insufficient_privilege OR duplicate_object OR unique_violation THEN NULL;
END $$;
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{READER}') THEN
        GRANT USAGE ON SCHEMA api_v1 TO {READER};
        GRANT SELECT ON ALL TABLES IN SCHEMA api_v1 TO {READER};
        GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA api_v1 TO {READER};
    END IF;
END $$;
"""

# Rows of a transaction that this server has not come to yet: a dump was restored here. Their
# numbers stay, those that follow go on from them, so that no reader's cursor is in vain.
REBASE = """
UPDATE raw.feed_base
SET base = newest.ingest + 1 - pg_snapshot_xmin(pg_current_snapshot())::text::bigint
FROM (SELECT greatest((SELECT max(ingest) FROM raw.position),
                      (SELECT max(ingest) FROM raw.device_event)) AS ingest) AS newest
WHERE newest.ingest >= base + pg_snapshot_xmax(pg_current_snapshot())::text::bigint
"""


def migrate(url: str) -> None:
    """Bring the schema up to date. Raises StorageUnavailable, SchemaError."""
    with _transaction(url) as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
        config = _config()
        config.attributes["connection"] = connection
        _refuse_newer(connection, config)
        command.upgrade(config, "head")
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute(MAKE_READER)
        driver.execute(PARTITIONS_SQL)
        driver.execute(REBASE)


def versions(url: str) -> tuple[str | None, str]:
    """The schema's version in the database, None for an empty one, and this program's."""
    with _transaction(url) as connection:
        current = MigrationContext.configure(connection, opts=VERSION_TABLE).get_current_revision()
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return current, head


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _refuse_newer(connection: Connection, config: Config) -> None:
    number = connection.exec_driver_sql("SHOW server_version_num").scalar_one()
    if int(number) < OLDEST:
        raise SchemaError(f"this is Postgres {int(number) // 10000}; 15 or newer is needed")
    current = MigrationContext.configure(connection, opts=VERSION_TABLE).get_current_revision()
    try:
        ScriptDirectory.from_config(config).get_revision(current or "base")
    except CommandError as error:
        raise SchemaError(
            f"the database's schema {current} is newer than this program; upgrade truetrack"
        ) from error


@contextmanager
def _transaction(url: str) -> Iterator[Connection]:
    def connect() -> psycopg.Connection[object]:
        return psycopg.connect(url, connect_timeout=10)

    engine = create_engine("postgresql+psycopg://", creator=connect, poolclass=NullPool)
    try:
        with engine.begin() as connection:
            yield connection
    except DBAPIError as error:
        text = str(error.orig).strip().splitlines()[0] if error.orig else str(error)
        if isinstance(error.orig, psycopg.OperationalError):
            raise StorageUnavailable(text) from error
        raise SchemaError(text) from error
    finally:
        engine.dispose()
