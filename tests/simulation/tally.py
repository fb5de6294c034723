"""Many runs summed up, and a failing one made small."""

from collections import Counter
from dataclasses import dataclass, field

from tests.simulation.check import play
from tests.simulation.mutations import MUTATIONS
from tests.simulation.world import History

COLUMNS = ("lost", "doubled", "not drained")


@dataclass
class Tally:
    """The sum of many runs."""

    seeds: int = 0
    fixes: int = 0
    acknowledged: int = 0
    span_s: float = 0.0
    injected: Counter[str] = field(default_factory=Counter)
    blamed: Counter[tuple[str, str]] = field(default_factory=Counter)  # (fault, problem)
    problems: Counter[str] = field(default_factory=Counter)
    failing: list[int] = field(default_factory=list)

    def count(self, history: History) -> None:
        self.seeds += 1
        self.fixes += history.fixes
        self.acknowledged += history.acknowledged
        self.span_s += history.span_s
        self.injected.update(fault.kind for fault in history.injected)
        if history.problems:
            self.failing.append(history.seed)
            self.problems.update(problem.kind for problem in history.problems)
            for kind in {fault.kind for fault in history.injected}:
                self.blamed.update((kind, problem.kind) for problem in history.problems)

    def add(self, other: "Tally") -> None:
        self.seeds += other.seeds
        self.fixes += other.fixes
        self.acknowledged += other.acknowledged
        self.span_s += other.span_s
        self.injected += other.injected
        self.blamed += other.blamed
        self.problems += other.problems
        self.failing += other.failing

    def table(self) -> str:
        """Faults by kind; a failing run's problems are charged to every kind that it had."""
        lines = [f"{'fault':<36}{'injected':>10}" + "".join(f"{name:>13}" for name in COLUMNS)]
        for kind, number in sorted(self.injected.items()):
            charged = "".join(f"{self.blamed[kind, name]:>13}" for name in COLUMNS)
            lines.append(f"{kind:<36}{number:>10}{charged}")
        total = "".join(f"{self.problems[name]:>13}" for name in COLUMNS)
        lines.append(f"{'all':<36}{self.injected.total():>10}{total}")
        others = {name: n for name, n in self.problems.items() if name not in COLUMNS}
        if others:
            lines.append(f"other problems: {others}")
        return "\n".join(lines)


def run_seeds(first: int, number: int, mutation: str) -> Tally:
    tally = Tally()
    with MUTATIONS[mutation]():
        for seed in range(first, first + number):
            tally.count(play(seed))
    return tally


def shrink(seed: int) -> History:
    """Leave out one fault after the other as long as the run still fails."""
    history = play(seed)
    kept = [fault.name for fault in history.injected]
    before = None
    while before != kept:
        before = list(kept)
        for name in before:
            fewer = frozenset(kept) - {name}
            if play(seed, only=fewer).problems:
                kept.remove(name)
    return play(seed, only=frozenset(kept))
