"""Durable, acknowledged GT06 fixes over TCP, beside the bare loop on the same machine.

The whole of `truetrack run`, frame archive and all, against the same sockets, decoder, COPY and
commit with nothing else; then the latency of a receipt at half the load that was reached.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from cli.load.processes import free_port, gateway, program, trackers
from storage.embedded import EmbeddedPostgres
from storage.migrate import migrate

CONNECTIONS = 1000
ROUNDS = 3
P99_LIMIT_MS = 50.0
PEERS = {
    "bare loop": (),  # COPY to a stage, INSERT ... ON CONFLICT DO NOTHING, commit
    "floor: plain COPY": ("--floor",),  # not even a resend is borne
}


def run() -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="truetrack-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with EmbeddedPostgres(folder / "db") as postgres:
            migrate(postgres.url)
            yield from _measure(folder, postgres.url)


def _measure(folder: Path, url: str) -> Iterator[dict[str, Any]]:
    ours: list[float] = []
    peers: dict[str, list[float]] = {name: [] for name in PEERS}
    # In turns, so that a slow minute of the machine falls on all.
    for round_ in range(ROUNDS):
        for name, options in PEERS.items():
            _settle(url)
            port = free_port()
            peer = ("cli.load.bare", str(port), url, *options)
            with program(*peer, port=port, log=folder / "bare.log"):
                # Both write into one table: each has devices of its own.
                number = ROUNDS * (1 + list(PEERS).index(name)) + round_
                peers[name].append(_trackers(port, number)["per_s"])
        _settle(url)
        port = free_port()
        with gateway(folder, url, port):
            ours.append(_trackers(port, round_)["per_s"])
    best_ours = max(ours)
    for name, rounds in peers.items():
        yield {
            "name": f"acked fixes, {CONNECTIONS} connections",
            "value": best_ours,
            "unit": "fixes/s",
            "peer": name,
            "peer_value": max(rounds),
            "ratio": best_ours / max(rounds),
            "rounds": ours,
            "peer_rounds": rounds,
        }
    _settle(url)
    port = free_port()
    with gateway(folder, url, port):
        figures = _trackers(port, ROUNDS, "--rate", str(best_ours / 2))
    yield {
        "name": "ack p99 at half that load",
        "value": figures["p99_ms"],
        "unit": "ms",
        "peer": "limit",
        "peer_value": P99_LIMIT_MS,
        "ratio": figures["p99_ms"] / P99_LIMIT_MS,
        "p50_ms": figures["p50_ms"],
        "per_s": figures["per_s"],
    }


def _settle(url: str) -> None:
    """Let no run pay for what the one before has written."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def _trackers(port: int, round_: int, *options: str) -> dict[str, float]:
    """Other devices each round: a fix that is there already is less work."""
    first = str(round_ * CONNECTIONS)
    return trackers(port, "--connections", str(CONNECTIONS), "--first", first, *options)
