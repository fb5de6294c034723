"""The way to the database: ours, running or not, or somebody else's; and what goes wrong on it."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from storage.embedded import EmbeddedPostgres
from tests.cli.conftest import one_line

ROOT = Path(__file__).parents[2]
WITHOUT_PSQL = {**os.environ, "PATH": "/nowhere"}

NEED_A_DATABASE = [
    ["db", "check"],
    ["db", "psql", "--", "-c", "select 1"],
    ["devices", "list"],
    ["tail", "--no-follow"],
    ["redecode"],
]
EACH = pytest.mark.parametrize("arguments", NEED_A_DATABASE, ids=lambda words: " ".join(words[:2]))


@pytest.fixture(scope="module")
def data_dir() -> Iterator[Path]:
    """Made by `db migrate`; its server does not run."""
    # Not pytest's own folder: as root the server is another user, who may not enter that.
    folder = Path(tempfile.mkdtemp(prefix="truetrack-test-"))
    folder.chmod(0o755)
    try:
        said = program("db", "migrate", "--data-dir", str(folder / "data"))
        assert said.returncode == 0, said.stderr
        yield folder / "data"
    finally:
        shutil.rmtree(folder)


def program(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, on a machine without psql."""
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=ROOT, env=WITHOUT_PSQL, capture_output=True, text=True, check=False,
    )  # fmt: skip


def with_url(arguments: list[str], url: str) -> list[str]:
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return [*arguments[:at], "--database-url", url, *arguments[at:]]


def test_migrate_makes_a_database_and_leaves_one_that_is_up_to_date(truetrack, data_dir):
    said = truetrack("db", "migrate", "--data-dir", data_dir)
    assert said.code == 0
    (record,) = said.records
    assert record["before"] == record["after"]
    assert said.err == f"truetrack: starting the database in {data_dir} for this command\n"
    cluster = data_dir / "postgres" / "data"
    assert (cluster / "PG_VERSION").exists()
    assert not (cluster / "postmaster.pid").exists()


def test_migrate_of_an_empty_database_says_from_where_to_where(truetrack, postgres_server):
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE empty_one")
    url = postgres_server.url_of("empty_one")
    assert one_line(truetrack("tail", "--database-url", url)) == (
        "truetrack: the database has no schema yet: `truetrack db migrate` makes it"
    )
    (record,) = truetrack("db", "migrate", "--database-url", url).records
    assert record["before"] is None
    assert record["after"]
    assert truetrack("devices", "list", "--database-url", url).code == 0


def test_psql_needs_no_psql_on_the_path(data_dir):
    """And no user but ours, root included."""
    query = "select count(*) from api_v1.latest_positions"
    said = program("db", "psql", "--data-dir", str(data_dir), "--", "-At", "-c", query)
    assert said.returncode == 0, said.stderr
    assert said.stdout == "0\n"


def test_psql_s_exit_code_is_ours(data_dir):
    said = program("db", "psql", "--data-dir", str(data_dir), "-v", "ON_ERROR_STOP=1", "-c", "no")
    assert said.returncode == 1
    assert "syntax error" in said.stderr


@pytest.fixture(scope="module")
def running(data_dir) -> Iterator[EmbeddedPostgres]:
    """As under a gateway."""
    with EmbeddedPostgres(data_dir, settings={"fsync": "off"}) as server:
        yield server


def test_url_of_a_running_server(truetrack, running):
    said = truetrack("db", "url", "--data-dir", running.data_dir)
    assert said.err == ""
    (record,) = said.records
    with psycopg.connect(record["url"]) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    plain = truetrack("db", "url", "--table", "--data-dir", running.data_dir).out
    assert plain == record["url"] + "\n"


@pytest.mark.parametrize("arguments", [w for w in NEED_A_DATABASE if "psql" not in w], ids=str)
def test_a_running_server_is_used_as_it_is(truetrack, running, arguments):
    said = truetrack(*arguments, "--data-dir", running.data_dir)
    assert "starting" not in said.err
    with psycopg.connect(running.url) as connection:  # and it still runs
        connection.execute("select 1")


def test_the_data_directory_may_come_from_the_configuration(truetrack, running, tmp_path):
    file = tmp_path / "truetrack.toml"
    file.write_text(
        f'data_dir = "{running.data_dir}"\n[sources.h02]\nlisten = ["tcp://127.0.0.1:0"]\n'
    )
    assert truetrack("db", "url", "--config", file).code == 0
    file.write_text("nonsense = 1\n")
    said = truetrack("db", "url", "--config", file)
    assert said.code in (1, 2)
    assert "nonsense" in one_line(said)


def test_doctor_looks_at_a_running_database(truetrack, running):
    said = truetrack("doctor", "--data-dir", running.data_dir)
    found = {record["check"]: record for record in said.records}
    assert set(found) > {
        "python", "extension", "clock", "disk space", "spool", "postgres", "postgres programs",
    }  # fmt: skip
    assert found["schema"]["verdict"] == "ok"
    assert found["fsync"] == {
        "check": "fsync", "verdict": "fail", "found": "off",
        "advice": "set fsync = on: a power cut loses acknowledged positions",
    }  # fmt: skip
    assert found["synchronous_commit"]["verdict"] == "ok"
    assert found["primary"]["verdict"] == "ok"
    assert said.code == 1
    check = truetrack("db", "check", "--data-dir", running.data_dir)
    assert check.code == 1
    assert {"fsync", "full_page_writes"} <= {record["check"] for record in check.records}


def test_doctor_starts_nothing(truetrack, tmp_path):
    said = truetrack("doctor", "--data-dir", tmp_path / "data", "--listen", "tcp://127.0.0.1:1")
    found = {record["check"]: record for record in said.records}
    assert found["database"]["verdict"] == "warn"
    assert found["port"]["verdict"] == "warn"
    assert not (tmp_path / "data").exists()
    assert said.code == 0


@EACH
def test_no_database_in_the_data_directory(truetrack, tmp_path, arguments):
    at = arguments.index("--") if "--" in arguments else len(arguments)
    place = ["--data-dir", str(tmp_path / "data")]
    said = truetrack(*arguments[:at], *place, *arguments[at:])
    assert said.code == 1
    assert one_line(said).startswith(f"truetrack: there is no database in {tmp_path}/data: ")
    assert not (tmp_path / "data").exists()


@EACH
def test_a_database_that_is_not_there(truetrack, arguments):
    if "psql" in arguments:
        pytest.skip("psql says it itself")
    said = truetrack(*with_url(arguments, "postgresql://127.0.0.1:1/x"))
    assert said.code == 1
    if arguments == ["db", "check"]:
        assert said.records[0]["verdict"] == "fail"
        assert "Connection refused" in said.records[0]["found"]
    else:
        assert "Connection refused" in one_line(said)


@EACH
@pytest.mark.parametrize("url", ["nonsense", "postgresql://[::1", "postgresql://h/x?colour=red"])
def test_a_malformed_url(truetrack, arguments, url):
    said = truetrack(*with_url(arguments, url))
    assert said.code == 2
    assert "Invalid value for '--database-url'" in one_line(said)


def test_following_starts_no_server(truetrack, data_dir, tmp_path):
    """It would be in the gateway's way when that starts."""
    copy = tmp_path / "data" / "postgres" / "data"
    copy.mkdir(parents=True)
    shutil.copy(data_dir / "postgres" / "data" / "PG_VERSION", copy)
    said = truetrack("tail", "--data-dir", tmp_path / "data")
    assert said.code == 1
    assert "start it, `truetrack run`" in one_line(said)


def test_url_of_a_server_that_does_not_run(truetrack, tmp_path):
    said = truetrack("db", "url", "--data-dir", tmp_path)
    assert said.code == 1
    assert one_line(said).endswith("`truetrack run` starts it")
    given = "postgresql://somewhere/else"
    assert truetrack("db", "url", "--database-url", given).records == [{"url": given}]
