"""Columns as parameters: they are in wire form already, and psycopg passes them through."""

from typing import Any

from psycopg import AsyncConnection, Connection
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

from core_ext.columns import clean

__all__ = ["Packed", "clean", "register"]


class Packed:
    """A parameter that is in wire form already."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data


class _PackedDumper(Dumper):
    format = Format.BINARY
    oid = 0  # the cast in the statement says what it is: $1::int8[]

    def dump(self, obj: Packed) -> Buffer:
        return obj.data


def register(connection: AsyncConnection[Any] | Connection[Any]) -> None:
    """Teach the connection to take `Packed`."""
    connection.adapters.register_dumper(Packed, _PackedDumper)
