"""The ways in which a stream is spoilt, each saying how many of its messages it may cost.

One fault may cost one message: the one it hits or, where it only adds bytes between two, the one
behind it. A fault that takes bytes of several messages away may cost those.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

LONGEST_SPLICE = 200


@dataclass(frozen=True, slots=True)
class Spoilt:
    data: bytes
    may_cost: int


Fault = Callable[[bytes, Sequence[int], random.Random, bytes], Spoilt]
"""Spoil `data`, whose messages end at `ends`; the last argument is something foreign."""


def _hit(ends: Sequence[int], begin: int, end: int) -> int:
    """How many messages have a byte in begin..end."""
    begins = [0, *ends[:-1]]
    return sum(b < end and begin < e for b, e in zip(begins, ends, strict=True))


def cut(data: bytes, ends: Sequence[int], chance: random.Random, _foreign: bytes) -> Spoilt:
    """Bytes are missing, up to a message's length."""
    begin = chance.randrange(len(data))
    longest = max(b - a for a, b in zip([0, *ends], ends, strict=False))
    end = min(len(data), begin + chance.randint(1, longest))
    return Spoilt(data[:begin] + data[end:], _hit(ends, begin, end))


def drop(data: bytes, _ends: Sequence[int], chance: random.Random, _foreign: bytes) -> Spoilt:
    at = chance.randrange(len(data))
    return Spoilt(data[:at] + data[at + 1 :], 1)


def double(data: bytes, _ends: Sequence[int], chance: random.Random, _foreign: bytes) -> Spoilt:
    at = chance.randrange(len(data))
    return Spoilt(data[: at + 1] + data[at:], 1)


def flip(data: bytes, _ends: Sequence[int], chance: random.Random, _foreign: bytes) -> Spoilt:
    at = chance.randrange(len(data))
    spoilt = bytearray(data)
    spoilt[at] ^= 1 << chance.randrange(8)
    return Spoilt(bytes(spoilt), 1)


def splice(data: bytes, ends: Sequence[int], chance: random.Random, foreign: bytes) -> Spoilt:
    """Something foreign in the middle of a message or between two."""
    at = chance.choice((chance.randrange(len(data)), chance.choice(ends)))
    return Spoilt(data[:at] + foreign[:LONGEST_SPLICE] + data[at:], 1)


FAULTS: dict[str, Fault] = {
    "cut": cut, "drop": drop, "double": double, "flip": flip, "splice": splice,
}  # fmt: skip


def spoil(
    messages: Sequence[bytes], chance: random.Random, kinds: Sequence[str], foreign: Sequence[bytes]
) -> Spoilt:
    """The messages in a row, with as many faults as there are `kinds`, each in a part of its own."""
    share = max(1, len(messages) // max(1, len(kinds)))
    parts = [messages[at : at + share] for at in range(0, len(messages), share)]
    data, cost = b"", 0
    for index, part in enumerate(parts):
        whole = b"".join(part)
        if index < len(kinds):
            fault = FAULTS[kinds[index]]
            spoilt = fault(whole, list(accumulate(map(len, part))), chance, chance.choice(foreign))
            whole, cost = spoilt.data, cost + spoilt.may_cost
        data += whole
    return Spoilt(data, cost)


def interleave(one: bytes, other: bytes, chance: random.Random) -> Spoilt:
    """Two streams on one line, in chunks. Each change of the stream is a fault."""
    rest, mixed, changes = [one, other], [], 0
    turn = 0
    while rest[turn]:
        size = chance.randint(20, 300)
        mixed.append(rest[turn][:size])
        rest[turn] = rest[turn][size:]
        if rest[1 - turn]:
            turn = 1 - turn
            changes += 1
    return Spoilt(b"".join(mixed), changes)


def chunks(data: bytes, chance: random.Random) -> list[bytes]:
    """The data as a network may deliver it."""
    size = chance.choice((1, 7, 64, 1500, max(1, len(data))))
    found, at = [], 0
    while at < len(data):
        step = chance.randint(1, size)
        found.append(data[at : at + step])
        at += step
    return found
