"""Run the simulation: one seed and its story, many seeds, or until so many faults were injected.

python -m tests.simulation --seed 7              what happened in seed 7
python -m tests.simulation --seeds 2000          2,000 seeds; a failing one is shrunk
python -m tests.simulation --faults 100000       until 100,000 faults, and the table of them
"""

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import count
from multiprocessing import get_context

from tests.simulation.check import play
from tests.simulation.mutations import MUTATIONS
from tests.simulation.tally import Tally, run_seeds, shrink
from tests.simulation.world import History

CHUNK = 50


def tell(history: History) -> None:
    print(f"seed {history.seed}: {history.scenario}")
    print("\n".join(history.lines))
    for fault in history.injected:
        print(f"fault {fault.name} at {fault.time:.3f} s")
    for problem in history.problems:
        print(f"PROBLEM {problem.kind}: {problem.text}")
    print(
        f"{history.fixes} fixes sent, {history.acknowledged} reports acknowledged, "
        f"{len(history.injected)} faults, {len(history.problems)} problems, "
        f"{history.span_s:.0f} s simulated, digest {history.digest()}"
    )


def explain(seed: int, mutation: str) -> None:
    """Say how to see a failing seed again, whole and with the faults that it takes."""
    again = f"python -m tests.simulation --seed {seed}"
    if mutation != "none":
        again += f" --mutation '{mutation}'"
    with MUTATIONS[mutation]():
        small = shrink(seed)
    print(f"\nseed {seed} fails; see it with\n    {again}")
    only = ",".join(fault.name for fault in small.injected) or "none"
    print(f"with the {len(small.injected)} faults that it takes\n    {again} --only '{only}'")
    for problem in small.problems[:10]:
        print(f"    {problem.kind}: {problem.text}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="tell one seed's story")
    parser.add_argument("--only", help="the faults of that seed that may strike, by name, or none")
    parser.add_argument("--seeds", type=int, help="how many seeds")
    parser.add_argument("--faults", type=int, help="run until so many faults were injected")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--mutation", choices=MUTATIONS, default="none", help="break the gateway")
    asked = parser.parse_args()
    if asked.seed is not None:
        only = frozenset(asked.only.split(",")) if asked.only else None
        with MUTATIONS[asked.mutation]():
            history = play(asked.seed, only=only)
        tell(history)
        return bool(history.problems)
    return many(asked)


def many(asked: argparse.Namespace) -> int:
    begun = time.perf_counter()
    tally = Tally()
    with ProcessPoolExecutor(asked.jobs, mp_context=get_context("spawn")) as pool:
        pending = []
        for first in count(asked.first, CHUNK):
            left = CHUNK if asked.faults else asked.seeds - (first - asked.first)
            if left > 0:
                pending.append(pool.submit(run_seeds, first, min(CHUNK, left), asked.mutation))
            if len(pending) > 2 * asked.jobs or (left <= 0 and pending):
                tally.add(pending.pop(0).result())
            if not pending or (asked.faults and tally.injected.total() >= asked.faults):
                break
        for late in pending:
            tally.add(late.result())
    print(tally.table())
    print(
        f"{tally.seeds} seeds, {tally.fixes} fixes, {tally.acknowledged} reports acknowledged, "
        f"{tally.span_s / 3600:.1f} h simulated in {time.perf_counter() - begun:.1f} s"
    )
    if tally.failing:
        print(f"{len(tally.failing)} seeds fail: {sorted(tally.failing)[:20]}")
        explain(min(tally.failing), asked.mutation)
    return bool(tally.failing)


if __name__ == "__main__":
    sys.exit(main())
