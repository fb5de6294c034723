"""Mutants of real streams, one after the other, and noise; what came of them is counted.

A mutant is made from its lane and its number alone, so that a failing one is had again with
`python -m tests.fuzz --protocol LANE --mutant N`.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from protocols.base import ProtocolError
from tests.fuzz.check import Broken, check_events, check_held, listen
from tests.fuzz.faults import FAULTS, Spoilt, chunks, interleave, spoil
from tests.fuzz.material import LANES, Lane, good, lost, seeds, stream, units
from tests.protocols.driver import NOW

NOISE_CHUNK = 65_536
HELD_EVERY = 16  # chunks of noise: looking at what is held is dear


@dataclass(slots=True)
class Tally:
    mutants: int = 0
    faults: int = 0
    lost: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    closed: int = 0
    broken: list[str] = field(default_factory=list)
    noise_bytes: Counter[str] = field(default_factory=Counter)
    noise_s: Counter[str] = field(default_factory=Counter)
    peak_bytes: int = 0


Plan = Callable[[Lane, random.Random], tuple[list[tuple[bytes, ...]], Spoilt]]


def _spoilt(lane: Lane, chance: random.Random) -> tuple[list[tuple[bytes, ...]], Spoilt]:
    messages = stream(lane, chance)
    kinds = chance.choices(list(FAULTS), k=chance.randint(1, 3))
    return [messages], spoil(messages, chance, kinds, _foreign(lane, chance))


def _with_its_kind(lane: Lane, chance: random.Random) -> tuple[list[tuple[bytes, ...]], Spoilt]:
    both = [stream(lane, chance), stream(lane, chance)]
    return both, interleave(b"".join(both[0]), b"".join(both[1]), chance)


def _with_another(lane: Lane, chance: random.Random) -> tuple[list[tuple[bytes, ...]], Spoilt]:
    mine = stream(lane, chance)
    other = stream(chance.choice([each for each in LANES.values() if each is not lane]), chance)
    return [mine], interleave(b"".join(mine), b"".join(other), chance)


PLANS: tuple[Plan, ...] = (_spoilt, _spoilt, _spoilt, _with_its_kind, _with_another)


def _foreign(lane: Lane, chance: random.Random) -> list[bytes]:
    other = chance.choice([each for each in LANES.values() if each is not lane])
    return [chance.choice(seeds(other)), chance.randbytes(chance.randint(1, 100))]


def mutant(lane: Lane, number: int, tally: Tally) -> None:
    """Make one, listen to it, and count."""
    chance = random.Random(f"{lane.name} {number}")
    if lane.datagrams:
        _datagrams(lane, chance, tally)
        return
    sources, spoilt = chance.choice(PLANS)(lane, chance)
    events, closed = listen(lane, chunks(spoilt.data, chance))
    tally.mutants += 1
    tally.faults += spoilt.may_cost
    tally.closed += closed
    tally.kinds.update(type(event).__name__ for event in events)
    if closed:  # what was not read was not answered: the device has it still
        return
    sent: Counter[bytes] = Counter()
    for messages in sources:
        sent += units(lane, listen(lane, [b"".join(messages)])[0])
    missing = lost(lane, sent, events)
    tally.lost += missing.total()
    may_cost = spoilt.may_cost * (1 + lane.neighbours)
    if missing.total() > may_cost:
        raise Broken(
            f"{missing.total()} messages lost, {may_cost} may be: "
            + ", ".join(wire.hex() for wire in missing)
        )


def _datagrams(lane: Lane, chance: random.Random, tally: Tally) -> None:
    """A spoilt payload costs no other: each begins anew."""
    before, victim, after = (chance.choice(good(lane)) for _ in range(3))
    spoilt = spoil([victim], chance, [chance.choice(list(FAULTS))], _foreign(lane, chance))
    events, closed = listen(lane, [before, spoilt.data, after])
    tally.mutants += 1
    tally.faults += 1
    tally.closed += closed  # by what is a whole HTTP request in itself
    tally.kinds.update(type(event).__name__ for event in events)
    if events[0].raw != before or not (closed or events[-1].raw == after):
        raise Broken("a payload was lost with the one before or behind it")
    tally.lost += len(events) < 3


def cut_everywhere(lane: Lane, wires: tuple[bytes, ...], tally: Tally) -> None:
    """Both halves of a message at every offset, between two whole ones."""
    for index, wire in enumerate(wires):
        others = [each for each in good(lane) if each != wire] or [wire]
        before, after = others[index % len(others)], others[(index + 1) % len(others)]
        first, both = (
            units(lane, listen(lane, parts if lane.datagrams else [b"".join(parts)])[0])
            for parts in ([before], [before, after])
        )
        for at in range(1, len(wire)):
            for part in (wire[:at], wire[at:]):
                parts = [before, part, after]
                events, closed = listen(lane, parts if lane.datagrams else [b"".join(parts)])
                tally.mutants += 1
                tally.faults += 1
                tally.closed += closed
                tally.kinds.update(type(event).__name__ for event in events)
                cost = lost(lane, first if closed else both, events).total()
                tally.lost += cost
                if cost > lane.neighbours:
                    raise Broken(f"cut {part.hex()} costs {cost} neighbours")


def noise(lane: Lane, chance: random.Random, size: int, *, marks: bool) -> Iterator[bytes]:
    """Random bytes, or the lane's own marks in any order."""
    while size > 0:
        if marks:
            words = chance.choices(
                (*lane.marks, *lane.marks, chance.randbytes(3)), k=NOISE_CHUNK // 3
            )
            data = b"".join(words)[:NOISE_CHUNK]
        else:
            data = chance.randbytes(NOISE_CHUNK)
        yield data
        size -= len(data)


def hear_noise(
    lane: Lane, seed: int, size: int, tally: Tally, *, marks: bool, seconds: float = 1e9
) -> None:
    """As a peer would send it that comes back each time it is thrown out."""
    subject = lane.decoder()
    name = "marks" if marks else "random"
    for number, data in enumerate(noise(lane, random.Random(seed), size, marks=marks)):
        begun = time.process_time()
        try:
            events = subject.feed(data, NOW)
            if lane.datagrams:
                events = [*events, *subject.flush(NOW)]
        except ProtocolError:
            events = []
            tally.closed += 1
            subject = lane.decoder()
        tally.noise_s[name] += time.process_time() - begun  # type: ignore[assignment]
        tally.noise_bytes[name] += len(data)
        tally.kinds.update(type(event).__name__ for event in events)
        if number % HELD_EVERY == 0:
            tally.peak_bytes = max(tally.peak_bytes, check_held(lane, subject))
            check_events(subject, events)
        if subject.finished:
            tally.closed += 1
            subject = lane.decoder()
        if tally.noise_s[name] > seconds:
            break
    if not subject.finished:
        check_events(subject, subject.flush(NOW))
