"""How tests run a protocol: by its name, on bytes alone."""

import tomllib
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import protocols
from model import Event
from protocols.base import Decoder, DeviceProfile

VECTORS = Path(__file__).parents[1] / "vectors"
SHARED = Path(__file__).parents[3] / "shared" / "vectors"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Vector:
    """One entry of a vector file."""

    protocol: str
    table: dict[str, Any]
    now: datetime

    @property
    def name(self) -> str:
        return f"{self.protocol}-{self.table['name']}"

    def octets(self, key: str) -> bytes:
        """`wire = "*HQ..."` in Latin-1, or `wire_hex = "7878..."`; likewise for others."""
        text: str = self.table.get(key, "")
        return text.encode("latin-1") or bytes.fromhex(self.table.get(f"{key}_hex", ""))

    def decoder(self) -> Decoder:
        """A decoder that has heard the prelude already."""
        subject = decoder(
            self.protocol, ident=self.table.get("ident"), **self.table.get("profile", {})
        )
        subject.feed(self.octets("prelude"), self.now)
        return subject


def vectors(protocol: str) -> list[Vector]:
    file = tomllib.loads((VECTORS / f"{protocol}.toml").read_text())
    return [Vector(protocol, table, file["now"]) for table in file["vector"]]


def decoder(protocol: str, ident: str | None = None, **profile: Any) -> Decoder:
    stated = DeviceProfile(**profile)
    subject: Decoder = protocols.load(protocol).Decoder(
        ident=ident, profile_of=lambda _ident: stated
    )
    return subject


def decode_message(
    protocol: str, wire: bytes, *, ident: str | None = None, now: datetime = NOW, **profile: Any
) -> list[Event]:
    """One whole message to a fresh decoder; an end mark that is missing is supplied."""
    subject = decoder(protocol, ident, **profile)
    complete = getattr(protocols.load(protocol), "complete", bytes)
    return [*subject.feed(complete(wire), now), *subject.flush(now)]


def stated(value: Any) -> Any:
    """A record as a vector file writes it: what says nothing is left out."""
    if is_dataclass(value):
        said = {field.name: getattr(value, field.name) for field in fields(value)}
        defaults = {field.name: field.default for field in fields(value)}
        return {
            name: stated(part)
            for name, part in said.items()
            if part is not None and part != defaults[name] and part not in ((), frozenset(), {})
        }
    if isinstance(value, frozenset):
        return sorted(stated(part) for part in value)
    if isinstance(value, tuple | list):
        return [stated(part) for part in value]
    if isinstance(value, StrEnum):
        return str(value)
    if hasattr(value, "items"):
        return {name: stated(part) for name, part in value.items()}
    return value
