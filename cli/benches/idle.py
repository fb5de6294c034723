"""Memory of connections that are open and silent, logged in as trackers are at night."""

import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cli.load.processes import free_port, gateway, resident_kib, trackers
from storage.embedded import EmbeddedPostgres
from storage.migrate import migrate

CONNECTIONS = 10_000
LIMIT_KIB = 8.0
FILES = 2 * CONNECTIONS + 1000


def run() -> Iterator[dict[str, Any]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES:
        wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    with tempfile.TemporaryDirectory(prefix="truetrack-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with EmbeddedPostgres(folder / "db") as postgres:
            migrate(postgres.url)
            port = free_port()
            with gateway(folder, postgres.url, port) as pid:
                yield _measure(port, pid)


def _measure(port: int, pid: int) -> dict[str, Any]:
    # A few first, so that what is loaded once does not count.
    trackers(port, "--connections", "100", "--seconds", "1", "--rate", "100")
    before = resident_kib(pid)
    options = ("--connections", str(CONNECTIONS), "--first", "1000", "--rate", "10")
    during = trackers(port, *options, "--watch", str(pid))["resident_kib"]
    each = (during - before) / CONNECTIONS
    return {
        "name": f"memory of {CONNECTIONS} idle connections",
        "value": each,
        "unit": "KiB each",
        "peer": "limit",
        "peer_value": LIMIT_KIB,
        "ratio": each / LIMIT_KIB,
    }
