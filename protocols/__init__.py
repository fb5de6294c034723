"""Device protocols, sans I/O: one file is one protocol, and its name is the protocol's name.

What a large one is made of stands in the folder `NAME_parts` beside it.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType

SHARED = {  # parts, not protocols
    "__init__", "base", "fields", "framing", "http",
}  # fmt: skip


class UnknownProtocol(ValueError):
    """No file of this folder bears the name; the message lists those that do."""


def names() -> list[str]:
    """Every protocol there is, sorted."""
    folder = Path(__file__).parent
    return sorted(path.stem for path in folder.glob("*.py") if path.stem not in SHARED)


def load(name: str) -> ModuleType:
    """The module of protocol `name`: `Decoder`, `DEFAULT_PORT`, perhaps `encode`.

    Raises UnknownProtocol.
    """
    if name not in names():
        raise UnknownProtocol(f"unknown protocol {name!r}; there are: {', '.join(names())}")
    return import_module(f"protocols.{name}")
