"""What the monitor knows at one moment, made from bytes and times alone."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cli.serial.tally import Tally
from model import Event, Fix, Report, Satellite
from model.codec import fix_to_json
from protocols.base import Decoder, ProtocolError

STALE_PERIODS = 3.0  # a fix older than so many periods is history
GAP_PERIODS = 1.6
MODES = {"1": "no fix", "2": "2D fix", "3": "3D fix"}  # GSA, navigation mode
QUALITIES = {  # GGA, quality indicator
    0: "invalid", 1: "autonomous", 2: "differential", 3: "PPS", 4: "RTK fixed",
    5: "RTK float", 6: "dead reckoning", 7: "manual", 8: "simulated",
}  # fmt: skip
SYSTEMS = {
    "G": "GPS", "R": "GLONASS", "E": "Galileo", "C": "BeiDou", "J": "QZSS", "I": "NavIC", "S": "SBAS",
}  # fmt: skip

ORDER = "".join(SYSTEMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A satellite with all the signals that are received of it."""

    system: str
    svid: int
    elevation_deg: float | None
    azimuth_deg: float | None
    signals: tuple[tuple[str, float | None], ...]  # signal id and C/N0, strongest first
    used: bool

    @property
    def best_dbhz(self) -> float | None:
        return self.signals[0][1]


class MonitorState:
    """Feed it; read its fields. Times in seconds only have to grow."""

    def __init__(self, decoder: Decoder, *, live: bool = True) -> None:
        self._decoder = decoder
        self.live = live  # False: what is played back says nothing about our clock
        self.tally = Tally()
        self.epochs = 0
        self.gaps = 0
        self.fix: Fix | None = None
        self.fix_at_s: float | None = None
        self.first_fix_after_s: float | None = None
        self.clock_offset_s: float | None = None  # ours minus the receiver's, as the fix was whole
        self.period_s = 1.0
        self.sky: tuple[Satellite, ...] = ()
        self.problem = ""  # why the decoder gave up
        self._began_s: float | None = None

    def restart(self) -> None:
        """The port's speed has changed: what was counted so far was noise."""
        self.tally = Tally()
        self._began_s = None

    def feed(self, data: bytes, now: datetime, at_s: float) -> None:
        if self._began_s is None:
            self._began_s = at_s
        self.tally.feed(data, at_s)
        try:
            events = self._decoder.feed(data, now)
        except ProtocolError as error:
            self.problem = str(error)
            return
        self._take(events, now, at_s)

    def flush(self, now: datetime, at_s: float) -> None:
        """Silence, or the end: the epoch that is open is whole."""
        self.tally.flush(at_s)
        self._take(self._decoder.flush(now), now, at_s)

    def _take(self, events: list[Event], now: datetime, at_s: float) -> None:
        for event in events:
            if not isinstance(event, Report):
                continue
            for fix in event.fixes:
                self._epoch(fix, now, at_s)
        sky = getattr(self._decoder, "sky", None)
        if callable(sky):
            sky = sky()
        if sky:
            self.sky = tuple(sky)

    def _epoch(self, fix: Fix, now: datetime, at_s: float) -> None:
        self.epochs += 1
        if self.fix is not None:
            passed_s = (fix.time - self.fix.time).total_seconds()
            if passed_s > GAP_PERIODS * self.period_s and self.epochs > 2:
                self.gaps += 1
            elif passed_s > 0:
                self.period_s = passed_s
        self.fix, self.fix_at_s = fix, at_s
        if fix.sky:
            self.sky = fix.sky
        if self.live:
            self.clock_offset_s = (now - fix.time).total_seconds()
        if fix.valid and self.first_fix_after_s is None and self._began_s is not None:
            self.first_fix_after_s = at_s - self._began_s

    def stale(self, at_s: float) -> bool:
        """No fix, or none for some periods."""
        if self.fix_at_s is None:
            return True
        return at_s - self.fix_at_s > max(2.0, STALE_PERIODS * self.period_s)

    def mode(self, at_s: float) -> str:
        """`3D fix, differential`: the receiver's own words for how good it is."""
        if self.fix is None or self.fix_at_s is None:
            return "no position yet" if self.tally.sentences else "nothing heard yet"
        if self.stale(at_s):
            return f"no position for {at_s - self.fix_at_s:.0f} s"
        mode = self._gsa_mode() or "fix"
        if not self.fix.valid or mode == "no fix":
            return "no fix"
        quality = self.fix.telemetry.get("fix_quality")
        said = [mode, QUALITIES.get(int(quality)) if quality else None]
        return ", ".join(part for part in said if part)

    def _gsa_mode(self) -> str | None:
        """The best mode of the newest GSA sentences: a receiver sends one a system."""
        modes = [
            sentence.split(",")[2]
            for address, sentence in self.tally.latest.items()
            if address.endswith("GSA") and sentence.count(",") > 2
        ]
        return MODES.get(max(modes)) if modes else None

    def satellites(self) -> list[Seen]:
        """One row a satellite: those used first, and in an order that does not jump about."""
        groups: dict[tuple[str, int], list[Satellite]] = {}
        for one in self.sky:
            groups.setdefault((one.system, one.svid), []).append(one)
        seen = [_seen(signals) for signals in groups.values()]
        return sorted(seen, key=lambda s: (not s.used, ORDER.find(s.system), s.svid))

    def systems(self) -> dict[str, tuple[int, int]]:
        """Of each system, how many satellites are used and how many are seen."""
        seen = self.satellites()
        used = Counter(one.system for one in seen if one.used)
        seen_of = Counter(one.system for one in seen)
        return {name: (used[name], seen_of[name]) for name in sorted(seen_of, key=ORDER.find)}

    def faults(self) -> dict[str, int]:
        """What went wrong on the line, by kind."""
        kinds = ("bad checksum", "no checksum", "over-length", "junk bytes")
        return {**{kind: self.tally.faults[kind] for kind in kinds}, "gaps": self.gaps}

    def record(self, at_s: float) -> dict[str, Any]:
        """The state as one object: what `--json` prints for every epoch."""
        fix = None if self.fix is None else {**fix_to_json(self.fix)}
        if fix is not None:
            fix.pop("sky", None)
        return {
            "epoch": self.epochs,
            "mode": self.mode(at_s),
            "first_fix_after_s": _rounded(self.first_fix_after_s),
            "clock_offset_s": _rounded(self.clock_offset_s),
            "fix": fix,
            "sky": [
                {
                    "system": one.system, "svid": one.svid, "signal": one.signal,
                    "elevation_deg": one.elevation_deg, "azimuth_deg": one.azimuth_deg,
                    "cn0_dbhz": one.cn0_dbhz, "used": one.used,
                }
                for one in self.sky
            ],
            "sentences": self.tally.sentences,
            "bytes": self.tally.bytes,
            "rates": {name: round(rate, 2) for name, rate in self.tally.rates(at_s).items()},
            "errors": self.faults(),
            "binary": dict(self.tally.binary),
        }  # fmt: skip


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _seen(signals: list[Satellite]) -> Seen:
    ranked = sorted(signals, key=lambda s: -(s.cn0_dbhz or 0))
    first = ranked[0]
    placed = next((s for s in ranked if s.elevation_deg is not None), first)
    return Seen(
        system=first.system,
        svid=first.svid,
        elevation_deg=placed.elevation_deg,
        azimuth_deg=placed.azimuth_deg,
        signals=tuple((s.signal, s.cn0_dbhz) for s in ranked),
        used=any(s.used for s in signals),
    )
