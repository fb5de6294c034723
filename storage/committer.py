"""The connection that commits, on a thread of its own.

A statement of a thousand fixes is some hundred kilobytes. On the loop its way to the server and
the answer's way back would each wait for the loop's turn, behind hundreds of sockets, while the
server is idle. Here one call of libpq does all of it, without Python's lock, and the loop reads
the next frames meanwhile. The calls of one committer are served in their order.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg
from psycopg import Connection
from psycopg.pq import ExecStatus, Format
from psycopg.rows import TupleRow

from storage.packing import Packed

T = TypeVar("T")
Connect = Callable[[], "Connection[TupleRow]"]


class Prepared:
    """The statements that a connection knows by name."""

    def __init__(self) -> None:
        self._names: dict[bytes, bytes] = {}

    def run(self, connection: "Connection[TupleRow]", sql: bytes, values: Sequence[Packed]) -> None:
        """Execute `sql`, whose parameters are written as `%b`. Raises psycopg.Error."""
        server = connection.pgconn
        name = self._names.get(sql)
        if name is None:
            name = f"truetrack_{len(self._names)}".encode()
            _check(connection, server.prepare(name, _numbered(sql)))
            self._names[sql] = name
        data = [value.data for value in values]
        formats = [Format.BINARY] * len(data)
        _check(connection, server.exec_prepared(name, data, formats))


class Committer:
    """Runs what it is given against a connection that it makes, keeps and replaces."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="commit")
        self._connection: Connection[TupleRow] | None = None
        self._prepared = Prepared()

    async def call(self, function: Callable[["Connection[TupleRow]"], T]) -> T:
        """What `function` returns. Raises psycopg.Error; after that the next call connects anew,
        unless the connection is as good as before.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._call, function)

    async def run(self, sql: bytes, values: Sequence[Packed]) -> None:
        """Execute a statement of ours with packed parameters. Raises psycopg.Error."""
        await self.call(lambda connection: self._prepared.run(connection, sql, values))

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)

    def _call(self, function: Callable[["Connection[TupleRow]"], T]) -> T:
        if self._connection is None:
            self._connection = self._connect()
            self._prepared = Prepared()
        try:
            return function(self._connection)
        except psycopg.Error:
            if self._connection.broken or self._connection.closed:
                self._drop()
            raise

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _numbered(sql: bytes) -> bytes:
    """`%b` is psycopg's word; libpq's is $1, $2, ..."""
    first, *rest = sql.split(b"%b")
    return first + b"".join(b"$%d%s" % (n, part) for n, part in enumerate(rest, 1))


def _check(connection: "Connection[TupleRow]", result: psycopg.pq.abc.PGresult) -> None:
    if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        raise psycopg.errors.error_from_result(result, connection.info.encoding)
