"""Which faults strike, and when: every chance is drawn from the seed and has a name.

    cut#7     the seventh time that a cut was possible, it happened

Each kind draws from a generator of its own, so that leaving one fault out leaves the draws of
the others as they were. A run may be limited to the faults of a list, which is how a failing
history is shrunk and replayed.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

POINTS = (
    "writer.before_commit",
    "writer.after_commit",
    "session.before_reply",
    "spool.before_sync",
    "spool.before_release",
    "store.before_commit",
    "store.after_commit",
    "store.devices",
    "store.admit",
)

# Kind of fault -> how often it strikes at each opportunity, in a run that has this kind at all.
RATES = {
    **{f"kill at {point}": 0.02 for point in POINTS},
    "kill": 1.0,  # at planned instants
    "power cut": 1.0,
    "power cut again": 0.5,  # soon after a process that died over its disk
    "store away": 1.0,
    "clock jump": 1.0,
    "commit refused": 0.06,
    "commit applied, answer lost": 0.06,
    "commit applied after the kill": 0.7,
    "commit slow": 0.05,
    "register unavailable": 0.15,
    "link cut": 0.03,
    "link half open": 0.01,
    "bytes delayed": 0.03,
    "datagram lost": 0.1,
    "datagram overtaken": 0.1,
    "message twice": 0.06,
    "ack lost": 0.05,
    "disk full": 0.08,
    "disk EIO on write": 0.03,
    "disk EIO on sync": 0.03,
}
PLANNED = ("kill", "power cut", "store away", "clock jump")


@dataclass(frozen=True, slots=True)
class Injected:
    name: str
    kind: str
    time: float


class Faults:
    """The faults of one run. `only` names those that may strike; None lets all of them."""

    def __init__(self, seed: int, clock: Callable[[], float], only: frozenset[str] | None) -> None:
        self._seed = seed
        self._clock = clock
        self._only = only
        chance = Random(f"{seed}/kinds")
        # Runs differ in kind, not only in order: some have nothing but one fault, and often.
        share = chance.choice((0.15, 0.4, 0.8, 1.0))
        zeal = chance.choice((0.5, 1.0, 1.0, 3.0))
        self._rates = {
            kind: min(rate * zeal, 1.0) for kind, rate in RATES.items() if chance.random() < share
        }
        self._generators: dict[str, Random] = {}
        self._drawn: Counter[str] = Counter()
        self.active = True
        self.injected: list[Injected] = []

    def plan(self, span_s: float) -> list[tuple[float, str]]:
        """Instants at which planned faults are due."""
        chance = Random(f"{self._seed}/plan")
        wanted = [kind for kind in PLANNED for _ in range(chance.randrange(3))]
        return sorted((chance.uniform(0, span_s), kind) for kind in wanted)

    def strikes(self, kind: str) -> bool:
        """Does this fault happen here and now?"""
        rate = self._rates.get(kind, 0.0)
        if not rate or not self.active:
            return False
        self._drawn[kind] += 1
        if self.generator(kind).random() >= rate:
            return False
        name = f"{kind}#{self._drawn[kind]}"
        if self._only is not None and name not in self._only:
            return False
        self.injected.append(Injected(name, kind, self._clock()))
        return True

    def generator(self, kind: str) -> Random:
        """The source of this kind's draws, its details included."""
        if (generator := self._generators.get(kind)) is None:
            generator = self._generators[kind] = Random(f"{self._seed}/{kind}")
        return generator
