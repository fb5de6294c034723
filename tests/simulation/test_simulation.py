"""The gateway keeps its promises whatever fails, and the simulation would notice if it did not."""

import asyncio
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.check import play
from tests.simulation.disk import Platter, SimDisk
from tests.simulation.faults import RATES, Faults
from tests.simulation.loop import Deadlock, VirtualLoop
from tests.simulation.mutations import MUTATIONS
from tests.simulation.tally import shrink

ROOT = Path(__file__).parents[2]
SEEDS = 2000
STANDARD = range(40)  # where each mutation must show


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_is_lost_doubled_or_left_over_in_two_thousand_histories():
    result = run("--seeds", str(SEEDS), "--jobs", "2")
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{SEEDS} seeds" in result.stdout


def test_a_run_meets_every_kind_of_fault():
    met = {fault.kind for seed in STANDARD for fault in play(seed).injected}
    assert met == set(RATES)


@pytest.mark.parametrize("seed", [1, 8, 12])
def test_one_seed_is_one_history(seed):
    here = play(seed)
    assert here.lines == play(seed).lines
    assert here.digest() in run("--seed", str(seed), PYTHONHASHSEED="1").stdout
    assert here.digest() in run("--seed", str(seed), PYTHONHASHSEED="2").stdout


def test_seeds_differ():
    assert len({play(seed).digest() for seed in range(20)}) == 20


def test_a_fault_left_out_does_not_strike():
    whole = play(3)
    kept = frozenset(fault.name for fault in whole.injected[::2])
    assert {fault.name for fault in play(3, only=kept).injected} <= kept
    assert play(3, only=frozenset()).injected == []


RARE = {"none", "spool appends to old segments"}  # the latter takes hundreds of seeds


@pytest.mark.parametrize("name", sorted(MUTATIONS.keys() - RARE))
def test_a_broken_gateway_is_noticed(name):
    with MUTATIONS[name]():
        assert any(play(seed).problems for seed in STANDARD)


def test_ack_before_commit_is_noticed_at_once_and_loses():
    with MUTATIONS["ack before commit"]():
        assert play(0).problems
        kinds = {problem.kind for seed in STANDARD for problem in play(seed).problems}
    assert {"too early", "lost"} <= kinds


def test_a_failing_seed_replays_by_the_command_that_is_printed():
    found = run("--seeds", "12", "--mutation", "spool released before commit", "--jobs", "1")
    assert found.returncode == 1
    commands = re.findall(r"^ +python -m tests\.simulation (.*)$", found.stdout, re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        again = run(*shlex.split(command))
        assert again.returncode == 1
        assert "PROBLEM lost" in again.stdout


def test_shrinking_keeps_only_what_the_failure_takes():
    with MUTATIONS["failure taken for success"]():
        seed = next(seed for seed in STANDARD if play(seed).problems)
        small = shrink(seed)
        assert small.problems
        kept = {fault.name for fault in small.injected}
        for name in kept:
            assert not play(seed, only=frozenset(kept - {name})).problems


# the parts


def test_time_jumps_and_nothing_waits():
    loop = VirtualLoop()

    async def sleep() -> float:
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(86_400))
        return loop.time()

    assert loop.run_until_complete(sleep()) == 86_400
    loop.close()


def test_waiting_for_ever_is_an_error():
    loop = VirtualLoop()
    event = asyncio.Event()
    with pytest.raises(Deadlock):
        loop.run_until_complete(event.wait())
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_a_power_cut_keeps_what_was_synced():
    for seed in range(200):
        platter = Platter()
        faults = Faults(seed, lambda: 0.0, frozenset())
        disk = SimDisk(platter, faults)
        disk.append("a", b"safe")
        disk.sync("a")
        disk.append("a", b"perhaps")
        platter.power_cut(faults.generator("power cut"))
        data = bytes(platter.files["a"].data)
        assert data.startswith(b"safe")
        assert len(data) <= len(b"safeperhaps")
