"""Fuzz longer than the test run does, and print what came of it.

python -m tests.fuzz [--protocol LANE] [--seconds N] [--noise-mb N] [--mutant N]
"""

import argparse
import sys
import time
import traceback

from tests.fuzz.material import LANES, Lane, seeds
from tests.fuzz.run import Tally, cut_everywhere, hear_noise, mutant

SHOWN = 5  # faults found, with their traces


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--protocol", choices=list(LANES), help="one lane alone")
    parser.add_argument("--seconds", type=float, default=10, help="of mutants, for each lane")
    parser.add_argument("--noise-mb", type=float, default=1, help="of each kind, for each lane")
    parser.add_argument("--noise-seconds", type=float, default=60, help="at most, of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--mutant", type=int, help="this one alone")
    given = parser.parse_args()
    lanes = [LANES[given.protocol]] if given.protocol else list(LANES.values())
    if given.mutant is not None:
        for lane in lanes:
            mutant(lane, given.mutant, Tally())
        return 0
    print(HEAD, flush=True)
    broken = 0
    for lane in lanes:
        tally = _run(lane, given)
        print(_row(lane, tally), flush=True)
        for text in tally.broken[:SHOWN]:
            print(text, file=sys.stderr)
        broken += len(tally.broken)
    return 1 if broken else 0


def _run(lane: Lane, given: argparse.Namespace) -> Tally:
    tally = Tally()
    until = time.monotonic() + given.seconds
    for wire in seeds(lane):
        if time.monotonic() > until - given.seconds / 2:
            break
        _noted(tally, f"{lane.name}: cut", lambda wire=wire: cut_everywhere(lane, (wire,), tally))
    number = given.first
    while time.monotonic() < until:
        _noted(tally, f"{lane.name}: mutant {number}", lambda n=number: mutant(lane, n, tally))
        number += 1
    size = int(given.noise_mb * 1e6)
    for marks in (False, True):
        _noted(
            tally,
            f"{lane.name}: noise",
            lambda marks=marks: hear_noise(
                lane, 1, size, tally, marks=marks, seconds=given.noise_seconds
            ),
        )
    return tally


def _noted(tally: Tally, what: str, do) -> None:
    try:
        do()
    except Exception:  # whatever escapes is what is looked for
        tally.broken.append(f"{what}\n{traceback.format_exc(limit=-3)}")


HEAD = (
    f"{'lane':<15}{'mutants':>9}{'faults':>8}{'lost':>7}{'broken':>7}{'closed':>8}"
    f"{'random':>16}{'marks':>16}{'held':>9}  events"
)


def _row(lane: Lane, tally: Tally) -> str:
    def speed(name: str) -> str:
        seconds = max(tally.noise_s[name], 1e-9)
        size = tally.noise_bytes[name] / 1e6
        return f"{size:.0f} MB {size / seconds:.1f}/s"

    kinds = ", ".join(f"{count} {kind}" for kind, count in tally.kinds.most_common())
    return (
        f"{lane.name:<15}{tally.mutants:>9}{tally.faults:>8}{tally.lost:>7}{len(tally.broken):>7}"
        f"{tally.closed:>8}{speed('random'):>16}{speed('marks'):>16}{tally.peak_bytes:>9}  {kinds}"
    )


if __name__ == "__main__":
    sys.exit(main())
