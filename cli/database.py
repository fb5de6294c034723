"""Which database a command means, and the way to it.

--database-url, else the program's own server in --data-dir, else what the configuration file
says of the two, else the server in ./data. Each may come from the environment. The server of a
running gateway is used as it is; where none runs, one is started for as long as the command
takes, and that is said on stderr.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import click

from gateway.errors import StartError
from storage.errors import SchemaError

if TYPE_CHECKING:
    from gateway.config import Config

R = TypeVar("R")

CONNECT_S = 5


class DatabaseUrl(click.ParamType[str]):
    """A libpq connection URL, or `key=value` pairs."""

    name = "URL"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        import psycopg  # noqa: PLC0415 - `--help` need not load it

        try:
            psycopg.conninfo.conninfo_to_dict(value)
        except psycopg.ProgrammingError as error:
            self.fail(" ".join(str(error).split()), param, ctx)
        return value


@dataclass(frozen=True, slots=True)
class Database:
    """What the options say; nothing is opened before `opened`."""

    given: str | None
    data_dir: Path
    config: "Config | None" = None

    @contextmanager
    def opened(self, *, create: bool = False, start: bool = True) -> Iterator["Opened"]:
        """The database, running. Raises StartError, DatabaseStartError.

        Without `create` a data directory that holds no database is an error: it is more
        often a wrong directory than a wish for an empty database. Without `start` a server
        that does not run is one, too.
        """
        if self.given is not None:
            yield Opened(self.given, None)
            return
        from storage.embedded import EmbeddedPostgres  # noqa: PLC0415 - loads the driver

        if not create and self.cluster is None:
            raise StartError(
                f"there is no database in {self.data_dir}: name another --data-dir, give "
                "--database-url, or make one with `truetrack run` or `truetrack db migrate`"
            )
        if create:
            # Not closed to others: as root the server is a user who must pass through it.
            self.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        if self.running() is None:
            if not start:
                raise StartError(f"no gateway runs in {self.data_dir}: start it, `truetrack run`")
            note = f"starting the database in {self.data_dir} for this command"
            click.echo(f"truetrack: {note}", err=True)
        with EmbeddedPostgres(self.data_dir, guest=True) as server:
            yield Opened(server.url, server.psql)

    @contextmanager
    def ready(self, *, start: bool = True) -> Iterator["Opened"]:
        """`opened`, with our schema in it. Raises StorageUnavailable, SchemaError too."""
        import psycopg  # noqa: PLC0415 - `--help` need not load it

        with self.opened(start=start) as opened:
            with psycopg.connect(opened.url, connect_timeout=CONNECT_S) as connection:
                row = connection.execute("SELECT to_regclass('api_v1.changes')").fetchone()
            if row is None or row[0] is None:
                raise SchemaError("the database has no schema yet: `truetrack db migrate` makes it")
            yield opened

    @property
    def cluster(self) -> Path | None:
        """The folder of our own server's files; None where there is none yet."""
        pointer = self.data_dir / "postgres.where"
        folder = (
            Path(pointer.read_text().strip()) if pointer.exists() else self.data_dir / "postgres"
        )
        made = folder / "data" / "PG_VERSION"
        return folder if made.exists() else None

    def running(self) -> str | None:
        """The address of our own server while it answers, None while it does not."""
        import psycopg  # noqa: PLC0415 - `--help` need not load it

        from storage.embedded import OWNER, PORT  # noqa: PLC0415 - as above

        if self.cluster is None:
            return None
        try:
            socket_dir = (self.cluster / "data" / "postmaster.pid").read_text().splitlines()[4]
        except (FileNotFoundError, IndexError):
            return None
        url = f"postgresql://{OWNER}@/truetrack?host={quote(socket_dir, safe='/')}&port={PORT}"
        try:
            psycopg.connect(url, connect_timeout=CONNECT_S).close()
        except psycopg.OperationalError:
            return None
        return url


@dataclass(frozen=True, slots=True)
class Opened:
    url: str
    psql: Path | None  # that of the server, where it is our own


def database_options(function: Callable[..., R]) -> Callable[..., R]:
    """Adds --database-url, --data-dir and --config, and hands the command its `database`."""

    @click.option(
        "--database-url",
        type=DatabaseUrl(),
        # The environment, so that no password need stand in a history or a process list.
        envvar="TRUETRACK_DATABASE_URL",
        show_envvar=True,
        metavar="URL",
        help="postgresql://user@host/name. Default: our own server.",
    )
    @click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="TRUETRACK_DATA_DIR",
        show_envvar=True,
        help="Where our own database and the spool live. Default: ./data.",
    )
    @click.option(
        "--config",
        "file",
        type=click.Path(path_type=Path, dir_okay=False),
        envvar="TRUETRACK_CONFIG",
        show_envvar=True,
        help="The gateway's file, which says where its database is.",
    )
    @wraps(function)
    def wrapped(
        *args: Any,
        database_url: str | None,
        data_dir: Path | None,
        file: Path | None,
        **kwargs: Any,
    ) -> R:
        config = None
        if file is not None:
            from gateway.config import load  # noqa: PLC0415 - only with a file

            config = load(file)
        if config is not None and data_dir is None:
            database_url = database_url or config.database_url
            data_dir = config.data_dir
        database = Database(database_url or None, data_dir or Path("data"), config)
        return function(*args, database=database, **kwargs)

    return wrapped
