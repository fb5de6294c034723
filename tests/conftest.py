"""What every tree of tests may use: a real Postgres, and a database of its own for each test.

One embedded server serves the whole run; a test's database is a copy of a migrated template.
TRUETRACK_TEST_POSTGRES=15 chooses the programs by their major version.
"""

import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import psycopg
import pytest

from storage import binaries, embedded
from storage.embedded import EmbeddedPostgres
from storage.migrate import migrate

TEMPLATE = "template_truetrack"
_numbers = itertools.count(1)


def pytest_configure() -> None:
    """A shell has what it starts in the background ignore Ctrl-C, and the children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    """Which kernel runs: the same tests hold both."""
    try:
        kernel = import_module("core_ext.nmea")
    except ImportError:
        return []
    return [f"core_ext.nmea: {kernel.IMPLEMENTATION}"]


@pytest.fixture(scope="session", autouse=True)
def relocated_clusters() -> Iterator[None]:
    """Clusters that cannot lie in a test's own folder go where the run's end removes them."""
    folder = Path(tempfile.mkdtemp(prefix="truetrack-test-"))
    folder.chmod(0o755)
    before, embedded.RELOCATED = embedded.RELOCATED, folder
    yield
    embedded.RELOCATED = before
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """A running server with a migrated template."""
    # Not pytest's own folder: as root the server is another user, who may not enter that.
    folder = Path(tempfile.mkdtemp(prefix="truetrack-test-"))
    folder.chmod(0o755)
    wanted = os.environ.get("TRUETRACK_TEST_POSTGRES")
    server = EmbeddedPostgres(
        folder,
        programs=binaries.find(int(wanted)) if wanted else None,
        settings={"fsync": "off", "shared_buffers": "64MB"},  # nothing here outlives the machine
    )
    server.start()
    try:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {TEMPLATE}")
        migrate(server.url_of(TEMPLATE))
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """The address of a fresh, migrated database."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        yield postgres_server.url_of(name)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def cluster_folder() -> Iterator[Path]:
    """A data directory for a server of the test's own, which another user may reach."""
    folder = Path(tempfile.mkdtemp(prefix="truetrack-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
