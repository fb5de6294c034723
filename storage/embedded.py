"""The program's own Postgres, when no other is configured.

    DATA_DIR/postgres/          the cluster's folder, owned by the server's user
        data/                   made by initdb (under another name until it is whole)
        run/                    the Unix socket; there is no TCP port
        log/                    the server's log, one file for each day of the week
        software-18/            the programs, only where the server's user cannot read ours
        lock                    held by the process whose server this is

As root the server runs as another user. Where that user cannot pass through DATA_DIR's parents,
the cluster lives below RELOCATED instead and DATA_DIR/postgres.where names the place.

The server outlives a killed gateway, on purpose: the next start finds it by its pid file, asks
it which data directory it serves, and goes on with it.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import psycopg

from storage import binaries, postmaster
from storage.binaries import Binaries, ServerUser, last_line
from storage.errors import DatabaseStartError

log = logging.getLogger(__name__)

RELOCATED = Path("/var/lib/truetrack")
OWNER = "truetrack"
PORT = 5432  # only part of the socket's name
PATIENCE_S = 30.0  # with a server that is there and does not answer
ANSWER_S = 5
BUSY = ("starting up", "shutting down", "recovery")  # in a server's refusal: it is alive
MAX_SOCKET_PATH = 107  # sun_path holds 108 bytes with the final zero

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    # What a receipt rests on. They are the defaults, and are said so that nothing changes them.
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # Room to write without stalls on a small machine.
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    "checkpoint_timeout": "15min",
    "max_connections": "60",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "on",
    "log_directory": "../log",
    "log_filename": "postgres-%a.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
}


class EmbeddedPostgres:
    """A Postgres server in a folder.

        server = EmbeddedPostgres(data_dir)
        server.start()      # less than a second
        server.url          # for psycopg, SQLAlchemy and psql
        server.stop()

    With `guest=True` a server that another process already runs there is used and left running;
    without, that is an error. Every method raises DatabaseStartError and nothing else.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        database: str = "truetrack",
        guest: bool = False,
        programs: Binaries | None = None,
        settings: dict[str, str] | None = None,
    ) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.database = database
        self._guest = guest
        self._given = programs
        self._settings = {**SETTINGS, **(settings or {})}
        self._programs: Binaries | None = None
        self._socket_dir: Path | None = None
        self._short_dir: Path | None = None  # where the usual one's path would be too long
        self._process: subprocess.Popen[bytes] | None = None
        self._pid: int | None = None
        self._lock: int | None = None
        self.cluster = self.data_dir / "postgres"

    @property
    def url(self) -> str:
        """The database's address, valid while the server runs."""
        return self.url_of(self.database)

    def url_of(self, database: str) -> str:
        """The address of another database of this server."""
        if self._socket_dir is None:
            raise DatabaseStartError("the embedded database is not running")
        folder = quote(str(self._socket_dir), safe="/")
        return f"postgresql://{OWNER}@/{database}?host={folder}&port={PORT}"

    @property
    def psql(self) -> Path:
        """The psql that belongs to this server."""
        return (self._programs or self._given or binaries.find()).psql

    @property
    def pid(self) -> int | None:
        """The server's process, None while it does not run."""
        return self._pid

    def start(self, *, timeout_s: float = 300.0) -> None:
        """Make the cluster if there is none, and start it or adopt what runs there already."""
        try:
            self._start(time.monotonic() + timeout_s)
        except OSError as error:
            where = f" {error.filename}" if error.filename else ""
            self._unlock()
            raise DatabaseStartError(f"the embedded database:{where}: {error.strerror}") from error
        except psycopg.Error as error:
            self._unlock()
            text = str(error).strip().splitlines()[0]
            raise DatabaseStartError(f"the embedded database: {text}") from error
        except BaseException:
            self._unlock()
            raise

    def stop(self, *, timeout_s: float = 60.0) -> None:
        """Shut the server down, unless it is another process's."""
        pid, self._pid = self._pid, None
        socket_dir, self._socket_dir = self._socket_dir, None
        if pid is not None and self._lock is not None:
            self._end(pid, timeout_s)
            if socket_dir is not None and socket_dir.parent != self.cluster:
                shutil.rmtree(socket_dir, ignore_errors=True)
        self._process = None
        self._unlock()

    def revive(self) -> None:
        """Start the server again if it is ours and has died."""
        if self._lock is not None and not self._lives():
            log.warning("the embedded database died; starting it again")
            self.stop()
            self.start()

    def _lives(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        return self._pid is not None and postmaster.alive(self._pid)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # starting

    def _start(self, deadline: float) -> None:
        # Others may pass through, as the server's user must; what lies in it is closed to them.
        self.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        user = self._place()
        if not self._take_lock():
            self._visit(deadline)
            return
        data = self.cluster / "data"
        made = data / "PG_VERSION"
        major = int(made.read_text().split(".")[0]) if made.exists() else None
        chosen = self._given or binaries.find(major)
        if major is not None and chosen.major != major:
            raise DatabaseStartError(
                f"the database in {data} was made by Postgres {major}, not {chosen.major}"
            )
        if major is not None and self._adopt(data, deadline):
            self._programs = chosen
            return
        self._programs = binaries.usable(chosen, user, self.cluster)
        if major is None:
            self._initdb(self._programs, user, data)
        self._launch(self._programs, user, data)
        self._await_ready(data, deadline)
        self._make_database()

    def _place(self) -> ServerUser:
        """The cluster's folder, with its owner."""
        pointer = self.data_dir / "postgres.where"
        if pointer.exists():
            self.cluster = Path(pointer.read_text().strip())
        user = binaries.server_user(self.cluster)
        if not self.cluster.exists() and not user.can_use(self.data_dir):
            name = hashlib.sha256(str(self.data_dir).encode()).hexdigest()[:12]
            self.cluster = RELOCATED / f"{self.data_dir.name}-{name}"
            RELOCATED.mkdir(mode=0o755, parents=True, exist_ok=True)
            pointer.write_text(f"{self.cluster}\n")
            log.warning(
                "the user %s cannot reach %s: the database is in %s",
                user.name, self.data_dir, self.cluster,
            )  # fmt: skip
        self.cluster.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = self.cluster.stat().st_uid
        if owner != user.uid and not user.switch:
            raise DatabaseStartError(f"{self.cluster} belongs to another user (uid {owner})")
        user.own(self.cluster)
        if not user.can_use(self.cluster):
            raise DatabaseStartError(
                f"the user {user.name}, as whom Postgres runs, cannot reach {self.cluster}: "
                "choose another data directory, such as one below /var/lib"
            )
        return user

    def _take_lock(self) -> bool:
        """True when the server is ours to start and stop; False when we are guests."""
        path = self.cluster / "lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            if self._guest:
                return False
            holder = path.read_text().strip() or "unknown"
            raise DatabaseStartError(
                f"the database in {self.cluster} is in use by process {holder}"
            ) from None
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        self._lock = handle
        return True

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _initdb(self, programs: Binaries, user: ServerUser, data: Path) -> None:
        # Under another name first: what is found as `data` is whole, whatever was killed when.
        fresh = data.with_name("data.new")
        shutil.rmtree(fresh, ignore_errors=True)
        command: list[str | Path] = [
            programs.bin / "initdb", "-D", fresh, "--username", OWNER, "--auth", "trust",
            "--encoding", "UTF8", "--data-checksums",
        ]  # fmt: skip
        if self._settings["fsync"] == "off":
            command.append("--no-sync")
        for locale in ("C.UTF-8", "C"):
            run = user.run(*command, "--locale", locale)
            if run.returncode == 0:
                fresh.rename(data)
                return
            shutil.rmtree(fresh, ignore_errors=True)
        raise DatabaseStartError(f"initdb in {self.cluster} failed: {last_line(run.stderr)}")

    def _launch(self, programs: Binaries, user: ServerUser, data: Path) -> None:
        for name in ("run", "log"):
            folder = self.cluster / name
            folder.mkdir(mode=0o700, exist_ok=True)
            user.own(folder)
        self._socket_dir = self._make_socket_dir(user)
        arguments = [str(programs.bin / "postgres"), "-D", str(data), "-k", str(self._socket_dir)]
        for name, value in self._settings.items():
            arguments += ["-c", f"{name}={value}"]
        with (self.cluster / "start.log").open("wb") as said:
            self._process = subprocess.Popen(  # noqa: S603 - our own program and arguments
                arguments,
                cwd="/",
                env=user.environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                # A Ctrl-C at the terminal is for the gateway, which drains before it stops us.
                start_new_session=True,
                user=user.uid if user.switch else None,
                group=user.gid if user.switch else None,
                extra_groups=[] if user.switch else None,
            )
        self._pid = self._process.pid

    def _make_socket_dir(self, user: ServerUser) -> Path:
        folder = self.cluster / "run"
        if len(os.fsencode(folder / f".s.PGSQL.{PORT}.lock")) > MAX_SOCKET_PATH:
            if self._short_dir is None:
                self._short_dir = Path(tempfile.mkdtemp(prefix="truetrack-"))
            else:  # who has our address must find us there again
                self._short_dir.mkdir(mode=0o700, exist_ok=True)
            folder = self._short_dir
            user.own(folder)
        return folder

    def _await_ready(self, data: Path, deadline: float) -> None:
        assert self._process is not None
        while True:
            if self._process.poll() is not None:
                self._pid = self._socket_dir = None
                raise DatabaseStartError(f"Postgres did not start: {self._why()}")
            found = postmaster.read(data)
            if found is not None and found.pid == self._pid and found.ready:
                return
            if time.monotonic() > deadline:
                self.stop()
                raise DatabaseStartError(f"Postgres in {self.cluster} is not ready in time")
            time.sleep(0.01)

    def _why(self) -> str:
        """The server's last words, from its log or from before it had one."""
        early = self.cluster / "start.log"
        texts = [path for path in (early, *(self.cluster / "log").glob("*.log")) if path.exists()]
        for path in sorted(texts, key=lambda path: path.stat().st_mtime, reverse=True):
            lines = path.read_text(errors="replace").splitlines()
            if fatal := [line for line in lines if "FATAL" in line or "PANIC" in line]:
                return fatal[-1].partition("] ")[2].strip() or fatal[-1]
        return last_line(early.read_text(errors="replace"))

    def _make_database(self) -> None:
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            found = connection.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [self.database]
            ).fetchone()
            if found is None:
                name = psycopg.sql.Identifier(self.database)
                connection.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(name))

    # a server that is already there

    def _visit(self, deadline: float) -> None:
        """As a guest: the running server of another process."""
        data = self.cluster / "data"
        while not self._adopt(data, time.monotonic()):
            if time.monotonic() > deadline:
                raise DatabaseStartError(f"the database in {self.cluster} is not ready in time")
            time.sleep(0.05)
        self._programs = self._given or binaries.find()

    def _adopt(self, data: Path, deadline: float) -> bool:
        """Go on with a server that survived its gateway. False when there is none.

        One that starts up or recovers is waited for; one that shuts down is waited out; one that
        does not answer in time is ended, for Postgres recovers by itself.
        """
        patience = min(deadline, time.monotonic() + PATIENCE_S)
        while True:
            found = postmaster.read(data)
            if found is None or not postmaster.serves(found.pid, data):
                self._clear(data)
                return False
            self._socket_dir = found.socket_dir
            try:
                with psycopg.connect(
                    self.url_of("postgres"), connect_timeout=ANSWER_S
                ) as connection:
                    row = connection.execute("SHOW data_directory").fetchone()
            except psycopg.OperationalError as error:
                row = None
                if any(word in str(error) for word in BUSY):
                    patience = max(patience, deadline)
            if row is not None and Path(row[0]).samefile(data):
                self._pid = found.pid
                self._make_database()
                log.info("the database is already running (process %d)", found.pid)
                return True
            self._socket_dir = None
            if time.monotonic() >= patience:
                if self._lock is not None:
                    self._end(found.pid, 0)
                    self._clear(data)
                return False
            time.sleep(0.05)

    def _clear(self, data: Path) -> None:
        if self._lock is not None:
            postmaster.clear(data, PATIENCE_S)

    def _end(self, pid: int, patience_s: float) -> None:
        def gone() -> bool:
            if self._process is not None and self._process.pid == pid:
                return self._process.poll() is not None
            return not postmaster.alive(pid)

        postmaster.end(pid, gone, patience_s)
