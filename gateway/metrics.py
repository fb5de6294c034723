"""What the gateway counts, and how Prometheus reads it.

Counting is an addition to a plain integer: the hot path never touches a metrics library. A
collector turns the figures into metrics when somebody asks.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gateway.spooling import SpoolDesk
from model import Event, Report
from model.device import CloseCause
from storage.writer import Writer


@dataclass(slots=True)
class SourceFigures:
    """Of one configured source since the start."""

    bytes_in: int = 0
    fixes: int = 0
    refused: int = 0  # links closed at once: too many
    links: int = 0  # open now
    events: Counter[type[Event]] = field(default_factory=Counter)
    ended: Counter[CloseCause] = field(default_factory=Counter)
    connections: Counter[str] = field(default_factory=Counter)  # open now, by network

    def opened(self, network: str) -> None:
        self.links += 1
        if network:
            self.connections[network] += 1

    def closed(self, network: str, cause: CloseCause) -> None:
        self.links -= 1
        self.ended[cause] += 1
        if network:
            self.connections[network] -= 1
            if not self.connections[network]:
                del self.connections[network]

    def count(self, event: Event) -> None:
        self.events[type(event)] += 1
        if isinstance(event, Report):
            self.fixes += len(event.fixes)


class GatewayCollector(Collector):
    """The figures of all sources and of the writer, in Prometheus' words."""

    def __init__(
        self, sources: dict[str, SourceFigures], writer: Writer, desk: SpoolDesk | None
    ) -> None:
        self._sources = sources
        self._writer = writer
        self._desk = desk

    def collect(self) -> Iterator[Metric]:
        events = CounterMetricFamily(
            "truetrack_events", "Frames read, by what they said", labels=["source", "kind"]
        )
        ended = CounterMetricFamily(
            "truetrack_links_ended", "Links ended, by cause", labels=["source", "cause"]
        )
        plain: tuple[CounterMetricFamily | GaugeMetricFamily, ...] = (
            CounterMetricFamily("truetrack_received_bytes", "Bytes received", labels=["source"]),
            CounterMetricFamily("truetrack_fixes", "Positions read", labels=["source"]),
            CounterMetricFamily("truetrack_links_refused", "Links over a limit", labels=["source"]),
            GaugeMetricFamily("truetrack_links_open", "Links open now", labels=["source"]),
        )
        for name, figures in self._sources.items():
            for kind, count in figures.events.items():
                events.add_metric([name, kind.__name__.lower()], count)
            for cause, count in figures.ended.items():
                ended.add_metric([name, cause], count)
            values = (figures.bytes_in, figures.fixes, figures.refused, figures.links)
            for family, value in zip(plain, values, strict=True):
                family.add_metric([name], value)
        yield from (events, ended, *plain)
        yield from self._writing()

    def _writing(self) -> Iterator[Metric]:
        figures = self._writer.figures
        yield CounterMetricFamily(
            "truetrack_committed_items", "Items made durable", value=figures.committed
        )
        yield CounterMetricFamily(
            "truetrack_unconfirmed_items", "Items the store did not confirm", value=figures.failed
        )
        yield CounterMetricFamily("truetrack_commits", "Transactions", value=figures.batches)
        yield GaugeMetricFamily(
            "truetrack_commit_seconds", "Duration of the newest commit", value=figures.last_commit_s
        )
        yield GaugeMetricFamily(
            "truetrack_commit_items", "Items in the newest commit", value=figures.last_batch
        )
        yield GaugeMetricFamily(
            "truetrack_queued_items", "Items that wait for a commit", value=self._writer.queued
        )
        if self._desk is not None:
            backlog = self._desk.spool.backlog_bytes
            yield GaugeMetricFamily(
                "truetrack_spool_bytes", "Spooled and not yet in the database", value=backlog
            )
            yield CounterMetricFamily(
                "truetrack_spool_lost_events", "Lost to a full spool", value=self._desk.lost
            )
