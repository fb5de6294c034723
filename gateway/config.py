"""One TOML file into frozen records; whatever is wrong is told with the path of its key.

    policy = "known"
    [sources.trackers]
    protocol = "gt06"
    listen = ["tcp://0.0.0.0:5023"]

Every key has a default. A text `env:NAME` is taken from the environment, so that secrets need
not stand in the file.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import SplitResult, urlsplit

import protocols
from gateway.errors import ConfigError
from gateway.source import Limits
from model.device import DevicePolicy
from protocols.base import DeviceProfile
from storage.maintenance import Retention

T = TypeVar("T")

LISTEN_SCHEMES = ("tcp", "udp", "tls")
OPEN_SCHEMES = ("serial",)
CONNECT_SCHEMES = ("mqtt", "mqtts")
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """The certificate of `tls://` listeners; with `client_ca` devices must show one of theirs."""

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """Devices of one protocol, and how their bytes arrive."""

    protocol: str = ""  # default: the source's own name
    listen: tuple[str, ...] = ()
    open: str = ""
    connect: str = ""
    group: str | None = None  # MQTT: the gateways of a group share the devices
    max_inflight: int = 1000  # MQTT: messages taken and not yet stored
    profile: DeviceProfile = field(default_factory=DeviceProfile)
    limits: Limits = field(default_factory=Limits)
    tls: TlsFiles = field(default_factory=TlsFiles)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    data_dir: Path = Path("data")
    database_url: str = ""  # empty: our own Postgres in data_dir
    policy: DevicePolicy = DevicePolicy.KNOWN
    health: str = f"http://{LOOPBACK}:9473"  # /healthz and /metrics; empty: none
    reuse_port: bool = False  # several gateway processes share the ports
    drain_s: float = 10.0
    spool_bytes: int = 1 << 30
    retention: Retention = field(default_factory=Retention)
    sources: Mapping[str, SourceConfig] = field(default_factory=dict)


def load(path: Path) -> Config:
    """Read and check a file. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}") from error
    try:
        config = from_table(data)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    if not config.sources:
        raise ConfigError(f"{path}: sources: there is none; expected a table [sources.NAME]")
    return config


def from_table(data: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration in a TOML table. Raises ConfigError, which names the key."""
    config = _record(Config, data, "", environ)
    taken: dict[str, str] = {}
    for name, source in config.sources.items():
        _check_source(name, source, taken)
    if config.health:
        _address("health", config.health, ("http",))
    return config


def default() -> Config:
    """Without a file: every protocol on loopback at its usual port."""
    sources = {}
    for name in protocols.names():
        port = protocols.load(name).DEFAULT_PORT
        ways = ("tcp",) if name in HTTP_ONLY else ("tcp", "udp")
        sources[name] = SourceConfig(
            protocol=name, listen=tuple(f"{way}://{LOOPBACK}:{port}" for way in ways)
        )
    return Config(sources=sources)


HTTP_ONLY = frozenset({"osmand", "owntracks"})


def parse_listen(path: str, url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a listening address. Raises ConfigError naming `path`."""
    parts = _address(path, url, LISTEN_SCHEMES)
    return parts.scheme, parts.hostname or "", parts.port or 0


def _check_source(name: str, source: SourceConfig, taken: dict[str, str]) -> None:
    path = f"sources.{name}"
    protocol = source.protocol or name
    if protocol not in protocols.names():
        known = ", ".join(protocols.names())
        raise ConfigError(f"{path}.protocol: unknown protocol {protocol!r}; there are: {known}")
    if not (source.listen or source.open or source.connect):
        raise ConfigError(f'{path}: no way in; expected listen = ["tcp://..."], open or connect')
    for index, url in enumerate(source.listen):
        key = f"{path}.listen[{index}]"
        scheme, host, port = parse_listen(key, url)
        if scheme == "tls" and not (source.tls.certificate and source.tls.key):
            raise ConfigError(f"{path}.tls: a tls:// listener needs certificate and key")
        socket = f"{'udp' if scheme == 'udp' else 'tcp'}://{host}:{port}"
        if port and socket in taken:
            raise ConfigError(f"{key}: {url} is taken by {taken[socket]}")
        taken[socket] = path
    for key, url, schemes in (
        ("open", source.open, OPEN_SCHEMES),
        ("connect", source.connect, CONNECT_SCHEMES),
    ):
        if url and urlsplit(url).scheme not in schemes:
            raise ConfigError(f"{path}.{key}: {url!r} is not {_either(schemes)}")


def _address(path: str, url: str, schemes: tuple[str, ...]) -> SplitResult:
    parts = urlsplit(url)
    expected = ConfigError(f"{path}: {url!r} is not {_either(schemes, 'HOST:PORT')}")
    if parts.scheme not in schemes or not parts.hostname or parts.path not in ("", "/"):
        raise expected
    try:
        missing = parts.port is None
    except ValueError:
        missing = True
    if missing:
        raise expected
    return parts


def _either(schemes: tuple[str, ...], rest: str = "...") -> str:
    return " or ".join(f"{scheme}://{rest}" for scheme in schemes)


def _record(kind: type[T], data: Any, path: str, environ: Mapping[str, str]) -> T:
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path}: expected a table, not {data!r}")
    hints = get_type_hints(kind)
    known: dict[str, Field[Any]] = {each.name: each for each in fields(kind)}  # type: ignore[arg-type]
    given = {}
    for key, value in data.items():
        place = f"{path}.{key}" if path else key
        if key not in known:
            raise ConfigError(f"{place}: unknown key; known here: {', '.join(known)}")
        given[key] = _value(hints[key], value, place, environ)
    for name, each in known.items():
        if name not in given and each.default is MISSING and each.default_factory is MISSING:
            raise ConfigError(f"{path}.{name}: is missing")
    try:
        return kind(**given)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error


def _value(hint: Any, value: Any, path: str, environ: Mapping[str, str]) -> Any:
    if isinstance(hint, UnionType):
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
    if isinstance(value, str) and value.startswith("env:"):
        variable = value.removeprefix("env:")
        if variable not in environ:
            raise ConfigError(f"{path}: the environment has no {variable}")
        value = environ[variable]
    if is_dataclass(hint) and isinstance(hint, type):
        return _record(hint, value, path, environ)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ConfigError(f"{path}: expected a list, not {value!r}")
        part = get_args(hint)[0]
        return tuple(_value(part, v, f"{path}[{i}]", environ) for i, v in enumerate(value))
    if get_origin(hint) is Mapping:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path}: expected tables [{path}.NAME], not {value!r}")
        part = get_args(hint)[1]
        return {name: _value(part, v, f"{path}.{name}", environ) for name, v in value.items()}
    return _scalar(hint, value, path)


def _scalar(hint: Any, value: Any, path: str) -> Any:
    if hint is Path and isinstance(value, str):
        return Path(value)
    if issubclass(hint, StrEnum):
        if value not in list(hint):
            raise ConfigError(f"{path}: {value!r} is not one of {', '.join(hint)}")
        return hint(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint:
        raise ConfigError(f"{path}: expected {_NAMES[hint]}, not {value!r}")
    if isinstance(value, int | float) and not isinstance(value, bool) and not value >= 0:
        raise ConfigError(f"{path}: must not be negative: {value!r}")
    return value


_NAMES = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path",
}
