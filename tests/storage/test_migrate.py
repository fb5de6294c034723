"""The schema comes into being whole or not at all, and is what the description says."""

import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from model.device import DevicePolicy
from storage import binaries
from storage.embedded import EmbeddedPostgres
from storage.errors import SchemaError
from storage.maintenance import maintain
from storage.migrate import LOCK, VERSION_TABLE, migrate, versions
from storage.postgres import PostgresStore
from storage.schema import metadata, ours
from storage.store import StorageUnavailable
from tests.storage.things import contact, fix, identity, report, rows, value

ROOT = Path(__file__).parents[2]


@pytest.fixture
def empty_url(postgres_server):
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE empty")
        yield postgres_server.url_of("empty")
        connection.execute("DROP DATABASE empty WITH (FORCE)")


def test_the_description_is_what_migrations_make(postgres_url):
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(postgres_url), poolclass=NullPool
    )
    with engine.connect() as connection:
        options = {
            **VERSION_TABLE,
            "include_name": ours,
            "include_schemas": True,
            "compare_type": True,
            "compare_server_default": True,
        }
        context = MigrationContext.configure(connection, opts=options)
        differences = [str(each) for each in compare_metadata(context, metadata)]
        # Comments are SQL's own business: those of the contract have a test of their own.
        assert [each for each in differences if "_comment'" not in each] == []
    engine.dispose()


def test_again_changes_nothing(postgres_url):
    current, head = versions(postgres_url)
    assert current == head
    before = rows(postgres_url, "SELECT oid FROM pg_class ORDER BY oid")
    migrate(postgres_url)
    assert rows(postgres_url, "SELECT oid FROM pg_class ORDER BY oid") == before


MIGRATE = "import sys; from storage.migrate import migrate; migrate(sys.argv[1])"


def migrating(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", MIGRATE, url], cwd=ROOT, stderr=subprocess.PIPE, text=True
    )


def test_three_processes_at_once(empty_url):
    processes = [migrating(empty_url) for _ in range(3)]
    for process in processes:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
    assert versions(empty_url)[0] == versions(empty_url)[1]


def test_killed_half_way(empty_url):
    """Whatever instant a migration dies at, the next one succeeds."""
    died = 0
    for pause in (0.0, 0.02, 0.05, 0.1, 0.15, 0.2):
        with psycopg.connect(empty_url, autocommit=True) as other:
            other.execute("SELECT pg_advisory_lock(%s)", [LOCK])
            process = migrating(empty_url)
            waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while value(empty_url, waiting) == 0:
                assert process.poll() is None, process.communicate()
                time.sleep(0.005)
            other.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
            time.sleep(pause)  # an instant, not a synchronisation
            process.kill()
            process.communicate()
        whole = value(empty_url, "SELECT to_regclass('api_v1.changes') IS NOT NULL")
        assert whole == (versions(empty_url)[0] is not None)
        died += not whole
        if whole:
            break
    assert died
    migrate(empty_url)
    assert versions(empty_url)[0] == versions(empty_url)[1]


def test_a_newer_schema_is_left_alone(postgres_url):
    with psycopg.connect(postgres_url) as connection:
        connection.execute("UPDATE truetrack_version SET version_num = '9999'")
    with pytest.raises(SchemaError, match="newer than this program"):
        migrate(postgres_url)


def test_nobody_listens():
    with pytest.raises(StorageUnavailable) as caught:
        migrate("postgresql://truetrack@/truetrack?host=/nowhere")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "programs", binaries.candidates(), ids=lambda each: f"postgres{each.major}"
)
async def test_on_every_postgres_there_is(cluster_folder, programs):
    """The SQL stays within the oldest one supported."""
    settings = {"fsync": "off"}
    with EmbeddedPostgres(cluster_folder, programs=programs, settings=settings) as server:
        migrate(server.url)
        store = PostgresStore(server.url)
        tracker = await store.admit(identity(), DevicePolicy.REGISTER)
        item = report(tracker, fix(), fix(1), over=contact())
        await store.commit([item])
        await store.commit([item])
        await store.close()
        assert value(server.url, "SELECT count(*) FROM api_v1.changes(0)") == 2


async def test_by_an_owner_who_may_make_no_roles(postgres_server):
    """As on a hosted server: everything works, and the reader's role waits for somebody else."""
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE plain LOGIN")
        connection.execute("CREATE DATABASE plain OWNER plain")
        try:
            url = postgres_server.url_of("plain").replace("truetrack@", "plain@")
            migrate(url)
            store = PostgresStore(url)
            tracker = await store.admit(identity(), DevicePolicy.REGISTER)
            await store.commit([report(tracker, fix(), over=contact())])
            await store.close()
            assert (await maintain(url)).leading
            assert value(url, "SELECT count(*) FROM api_v1.changes(0)") == 1
        finally:
            connection.execute("DROP DATABASE plain WITH (FORCE)")
            connection.execute("DROP ROLE plain")
