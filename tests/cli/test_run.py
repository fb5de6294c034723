"""`truetrack run` as a process: what is wrong is said in one line, and nothing stays half-started.

refused -> one line, 1 or 2          SIGTERM, SIGINT -> all answered, 0
SIGKILL -> the next start goes on    SIGTERM while it starts -> no server left
"""

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import trustme

from firmware_sim import gt06
from storage import postmaster
from storage.embedded import EmbeddedPostgres

ROOT = Path(__file__).parents[2]
NOWHERE = "postgresql://127.0.0.1:1/x"
IMEI = "863300000000001"
PATIENCE_S = 60.0
LOOPBACK = "127.0.0.1"


class Process:
    """`truetrack run ARGUMENTS`, in a process group of its own."""

    def __init__(self, *arguments: object) -> None:
        environ = {k: v for k, v in os.environ.items() if not k.startswith("TRUETRACK_D")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "run", *map(str, arguments)],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.said = ""

    def until(self, text: str) -> str:
        """Read stderr until it holds `text`; all that was said so far."""
        assert self._process.stderr is not None
        end = time.monotonic() + PATIENCE_S
        while text not in self.said:
            assert select.select([self._process.stderr], [], [], end - time.monotonic())[0]
            more = os.read(self._process.stderr.fileno(), 65536).decode()
            assert more, f"it ended: {self.said}"
            self.said += more
        return self.said

    def listens(self) -> int:
        """The port of its first source."""
        line = next(x for x in self.until("ready;").splitlines() if "devices" in x)
        return int(line.split()[1].rsplit(":", 1)[1])

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def ended(self) -> tuple[int, str, str]:
        """Exit code, stdout, stderr; and no process of its group is left."""
        out, err = self._process.communicate(timeout=PATIENCE_S)
        with pytest.raises(ProcessLookupError):
            os.killpg(self._process.pid, 0)
        return self._process.returncode, out.decode(), self.said + err.decode()

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        self._process.communicate()


@pytest.fixture
def start() -> Iterator[type[Process]]:
    """Starts processes that do not outlive the test."""
    started: list[Process] = []

    def make(*arguments: object) -> Process:
        started.append(Process(*arguments))
        return started[-1]

    yield make  # type: ignore[misc]
    for process in started:
        process.kill()


@dataclass(frozen=True, slots=True)
class Folder:
    """A data directory and a configuration file beside it."""

    path: Path
    data: Path

    def config(self, text: str) -> Path:
        file = self.path / "truetrack.toml"
        file.write_text(text)
        return file

    @property
    def cluster(self) -> Path:
        return self.data / "postgres" / "data"

    def server(self) -> int | None:
        """The process of the embedded database, None where none lives."""
        found = postmaster.read(self.cluster)
        return found.pid if found and postmaster.serves(found.pid, self.cluster) else None


@pytest.fixture
def folder(cluster_folder) -> Iterator[Folder]:
    made = Folder(cluster_folder, cluster_folder / "data")
    yield made
    if pid := made.server():
        postmaster.end(pid, lambda: not postmaster.alive(pid), 10.0)


def refusal(process: Process, code: int) -> str:
    left, out, err = process.ended()
    assert (left, out) == (code, ""), err
    assert len(err.splitlines()) == 1, err
    assert err.startswith("truetrack")
    return err


def source(listen: str, more: str = "", *, health: str = "") -> str:
    return f'health = "{health}"\n[sources.gt06]\nlisten = ["{listen}"]\n{more}\n'


ANY_PORT = source(f"tcp://{LOOPBACK}:0")


# what is wrong with the words


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[sources.x]\nprotocol = "morse"\nlisten = ["tcp://127.0.0.1:0"]',
         "sources.x.protocol: unknown protocol 'morse'; there are: gt06, h02"),
        ("policy = \n", "Invalid value (at line 1, column 10)"),
        ('polcy = "known"', "polcy: unknown key; known here: data_dir, database_url, policy"),
        (source("tls://127.0.0.1:0"), "sources.gt06.tls: a tls:// listener needs certificate and"),
        (source("tcp://127.0.0.1:0", 'profile.secret = "env:NO_SUCH_VARIABLE"'),
         "sources.gt06.profile.secret: the environment has no NO_SUCH_VARIABLE"),
    ],
)  # fmt: skip
def test_a_bad_configuration_names_its_file_and_key(start, folder, text, says):
    file = folder.config(text)
    said = refusal(start("--config", file, "--data-dir", folder.data), 1)
    assert f"{file}: {says}" in said
    assert not folder.data.exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--prot", "5023"], "No such option '--prot'"),
        (["--database-url", "nonsense"], "Invalid value for '--database-url'"),
        (["--data-dir", __file__], f"Directory '{__file__}' is a file"),
    ],
)
def test_wrong_usage_is_2(start, arguments, says):
    assert says in refusal(start(*arguments), 2)


def test_a_configuration_that_is_not_there(start, folder):
    file = folder.path / "none.toml"
    assert f"{file}: No such file or directory" in refusal(start("--config", file), 1)


# what is wrong with the surroundings


@pytest.fixture
def taken() -> Iterator[int]:
    """A TCP and UDP port that another program has."""
    with (
        socket.create_server((LOOPBACK, 0)) as tcp,
        socket.socket(type=socket.SOCK_DGRAM) as udp,
    ):
        port = int(tcp.getsockname()[1])
        udp.bind((LOOPBACK, port))
        yield port


@pytest.mark.parametrize("way", ["tcp", "udp", "health"])
def test_a_port_in_use(start, folder, postgres_url, taken, way):
    """Nothing else stays bound either: what was free before is free again."""
    with socket.create_server((LOOPBACK, 0)) as probe:
        free = int(probe.getsockname()[1])
    listen = f'listen = ["tcp://{LOOPBACK}:{free}"]'
    if way == "health":
        text = f'health = "http://{LOOPBACK}:{taken}"\n[sources.gt06]\n{listen}\n'
    else:
        text = f'health = ""\n[sources.gt06]\n{listen}\n[sources.h02]\nlisten = ["{way}://{LOOPBACK}:{taken}"]\n'
    process = start(
        "--config", folder.config(text), "--data-dir", folder.data, "--database-url", postgres_url
    )
    said = refusal(process, 1)
    assert f"{LOOPBACK}:{taken}" in said
    assert "the port is in use; stop the other program or choose another port" in said
    socket.create_server((LOOPBACK, free)).close()


def test_an_address_of_another_machine(start, folder, postgres_url):
    file = folder.config(source("tcp://192.0.2.1:5023"))
    process = start(
        "--config", file, "--data-dir", folder.data, "--database-url", postgres_url
    )  # fmt: skip
    assert "cannot listen on tcp://192.0.2.1:5023 (source gt06)" in refusal(process, 1)


def test_a_database_that_is_not_there(start, folder):
    said = refusal(start("--data-dir", folder.data, "--database-url", NOWHERE), 1)
    assert "the database: connection failed" in said
    assert "port 1 failed: Connection refused; start it, or mend --database-url" in said


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("serial://{file}?baud=9600", "{file} is no serial port"),
        ("serial://{file}?baud=fast", "sources.nmea0183.open: serial://{file}?baud=fast: baud"),
        ("serial:dev", "sources.nmea0183.open: serial:dev: expected serial:///dev/NAME?baud=9600"),
    ],
)
def test_a_serial_device_that_is_none(start, folder, postgres_url, url, says):
    file = folder.path / "ttyUSB0"
    file.write_text("$GPRMC")
    opened = url.format(file=file)
    config = folder.config(f'health = ""\n[sources.nmea0183]\nopen = "{opened}"\n')
    process = start(
        "--config", config, "--data-dir", folder.data, "--database-url", postgres_url
    )  # fmt: skip
    assert says.format(file=file) in refusal(process, 1)


def test_a_data_directory_that_cannot_be_made(start, folder):
    place = folder.path / "file"
    place.touch()
    said = refusal(start("--data-dir", place / "data"), 1)
    assert f"data directory {place / 'data'}: Not a directory" in said


@pytest.mark.parametrize("wrong", ["absent", "another key", "garbage ca"])
def test_bad_tls_files(start, folder, postgres_url, wrong):
    files = {name: folder.path / f"{name}.pem" for name in ("certificate", "key", "client_ca")}
    ca = trustme.CA()
    ours, other = ca.issue_cert("gateway.test"), ca.issue_cert("other.test")
    ours.cert_chain_pems[0].write_to_path(files["certificate"])
    (other if wrong == "another key" else ours).private_key_pem.write_to_path(files["key"])
    ca.cert_pem.write_to_path(files["client_ca"])
    if wrong == "absent":
        files["certificate"].unlink()
    if wrong == "garbage ca":
        files["client_ca"].write_text("not a certificate")
    tls = "\n".join(f'{name} = "{file}"' for name, file in files.items())
    text = source(f"tls://{LOOPBACK}:0", f"[sources.gt06.tls]\n{tls}")
    process = start(
        "--config", folder.config(text), "--data-dir", folder.data, "--database-url", postgres_url
    )
    said = refusal(process, 1)
    assert f"certificate {files['certificate']} with key {files['key']}" in said


# its life


def arguments(folder: Folder, *more: object) -> list[object]:
    file = folder.config(ANY_PORT)
    return ["--config", file, "--data-dir", folder.data, "--policy", "register", *more]


def fix(number: int) -> bytes:
    time_ = datetime.now(UTC).replace(microsecond=0)
    return gt06.location(time_, 48 + number / 1000, 11, number)


def acked(link: socket.socket, wanted: int) -> set[int]:
    """Serials that were receipted, until there are so many or the link ends."""
    serials: set[int] = set()
    waiting = b""
    link.settimeout(PATIENCE_S)
    while len(serials) < wanted and (more := link.recv(65536)):
        found, waiting = gt06.receipts(waiting + more)
        serials |= set(found)
    return serials


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_told_to_stop_it_answers_what_it_has_read_and_leaves_with_0(
    start, folder, postgres_url, number
):
    process = start(*arguments(folder, "--database-url", postgres_url))
    with socket.create_connection((LOOPBACK, process.listens())) as link:
        link.sendall(gt06.login(IMEI, 1))
        assert acked(link, 1) == {1}
        link.sendall(b"".join(map(fix, range(2, 202))))
        process.send(number)
        receipts = acked(link, 200)
    code, out, err = process.ended()
    assert (code, out) == (0, ""), err
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("SELECT count(*) FROM api_v1.positions").fetchone()
    assert row is not None
    assert row[0] >= len(receipts)


def test_one_data_directory_is_one_gateways(start, folder, postgres_url):
    first = start(*arguments(folder, "--database-url", postgres_url))
    first.listens()
    second = start(*arguments(folder, "--database-url", postgres_url))
    said = refusal(second, 1)
    assert f"data directory {folder.data}: another gateway runs there; stop it" in said
    first.send(signal.SIGTERM)
    assert first.ended()[0] == 0


def test_the_database_lives_and_ends_with_it_and_survives_its_murder(start, folder, taken):
    """One story, since each chapter costs a start."""
    # Told to stop while the database is being made.
    hasty = start(*arguments(folder))
    end = time.monotonic() + PATIENCE_S
    while not (folder.data / "postgres" / "lock").exists():
        assert time.monotonic() < end
        time.sleep(0.005)
    hasty.send(signal.SIGTERM)
    assert hasty.ended() == (0, "", "")
    assert folder.server() is None

    # No port for the gateway: the database was started, and is stopped.
    file = folder.config(source(f"tcp://{LOOPBACK}:{taken}"))
    assert "the port is in use" in refusal(start("--config", file, "--data-dir", folder.data), 1)
    assert (folder.cluster / "PG_VERSION").exists()
    assert folder.server() is None

    first = start(*arguments(folder))
    with socket.create_connection((LOOPBACK, first.listens())) as link:
        link.sendall(gt06.login(IMEI, 1) + fix(2))
        assert acked(link, 2) == {1, 2}
    server = folder.server()
    assert server is not None
    first.kill()
    assert folder.server() == server, "it outlives a killed gateway"

    second = start(*arguments(folder))
    with socket.create_connection((LOOPBACK, second.listens())) as link:
        assert folder.server() == server, "and is gone on with"
        link.sendall(gt06.login(IMEI, 1) + fix(3))
        assert acked(link, 2) == {1, 3}
    with EmbeddedPostgres(folder.data, guest=True) as guest, psycopg.connect(guest.url) as reader:
        row = reader.execute("SELECT count(*) FROM api_v1.positions").fetchone()
        assert row == (2,)
    second.send(signal.SIGTERM)
    code, out, err = second.ended()
    assert (code, out) == (0, ""), err
    assert folder.server() is None


def test_a_database_that_was_killed_is_started_again(folder):
    with EmbeddedPostgres(folder.data, settings={"fsync": "off"}) as embedded:
        url, dead = embedded.url, embedded.pid
        assert dead is not None
        embedded.revive()
        assert embedded.pid == dead, "it lives: nothing to do"
        os.kill(dead, signal.SIGKILL)
        os.waitid(os.P_PID, dead, os.WEXITED | os.WNOWAIT)
        embedded.revive()
        assert embedded.pid not in (None, dead)
        assert embedded.url == url
        with psycopg.connect(embedded.url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    assert folder.server() is None
