"""Serial links on real ptys: plugged, pulled, silent, shared, hunted for."""

import asyncio
import os
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.supervisor import Backoff
from gateway.transports import serial
from gateway.transports.serial import (
    RATES_BAUD,
    SerialSettings,
    stable_path,
)
from model.device import Durability, IdentityStrength
from tests.gateway.ptys import Cable, sentence

WITHIN_S = 20.0  # a test that waits longer has failed
RMC = sentence("GPRMC,120000,A,4807.038,N,01131.000,E,022.4,084.4,230394,003.1,W")
GGA = sentence("GPGGA,120000,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,")
SETTINGS = SerialSettings(path="/dev/none", baud=9600, ident="boat", stall_s=None)


class Watched:
    """Something that tests wait to change."""

    def __init__(self):
        self._changed = asyncio.Event()

    def changed(self):
        self._changed.set()

    async def until(self, condition):
        async with asyncio.timeout(WITHIN_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Opening(Watched):
    """The session's side of one opening."""

    def __init__(self, link):
        super().__init__()
        self.link = link
        self.data = bytearray()
        self.ends: list[BaseException | None] = []

    def received(self, data, done=None):
        assert done is None
        self.data += data
        self.changed()

    def boundary(self):
        pytest.fail("a stream has no boundaries")

    def lost(self, error):
        self.ends.append(error)
        self.changed()

    async def heard(self, data: bytes):
        await self.until(lambda: data in self.data)

    async def end(self):
        await self.until(lambda: self.ends)
        return self.ends[0]


class Gateway(Watched):
    def __init__(self):
        super().__init__()
        self.openings: asyncio.Queue[Opening] = asyncio.Queue()
        self.told: list[str] = []

    def accept(self, link):
        opening = Opening(link)
        self.openings.put_nowait(opening)
        return opening

    def report(self, text):
        self.told.append(text)
        self.changed()

    async def opened(self) -> Opening:
        async with asyncio.timeout(WITHIN_S):
            return await self.openings.get()


@asynccontextmanager
async def running(settings, **more):
    gateway = Gateway()
    backoff = Backoff(first_s=0.01, longest_s=0.05, rng=Random(1))
    task = asyncio.create_task(
        serial.run(settings, gateway.accept, report=gateway.report, backoff=backoff, **more)
    )
    try:
        yield gateway
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def cable(tmp_path):
    cable = Cable(tmp_path / "receiver")
    yield cable
    cable.unplug()


def at(cable: Cable, **changes) -> SerialSettings:
    return replace(SETTINGS, path=str(cable.link), **changes)


# the life of a port


async def test_a_link_says_what_is_known_of_a_port(cable):
    cable.plug()
    async with running(at(cable)) as gateway:
        info = (await gateway.opened()).link.info
    assert (info.transport, info.peer, info.network) == ("serial", str(cable.link), "")
    assert (info.strength, info.durability) == (IdentityStrength.NETWORK, Durability.SPOOL)
    assert info.ident == "boat"


async def test_bytes_arrive_whole_and_in_order(cable):
    cable.plug()
    sent = b"".join(sentence(f"GPTXT,{n:06d}") for n in range(2000))
    async with running(at(cable)) as gateway:
        opening = await gateway.opened()
        for start in range(0, len(sent), 512):
            cable.say(sent[start : start + 512])
            await opening.until(lambda upto=start + 512: len(opening.data) >= min(upto, len(sent)))
    assert opening.data == sent


async def test_a_port_that_is_not_there_yet_is_waited_for(cable):
    async with running(at(cable)) as gateway:
        await gateway.until(lambda: gateway.told)
        cable.plug()
        opening = await gateway.opened()
        cable.say(RMC)
        await opening.heard(RMC)
    assert "No such file" in gateway.told[0]
    assert len(gateway.told) == 1


async def test_a_pulled_cable_ends_the_session_and_a_plugged_one_begins_another(cable):
    async with running(at(cable)) as gateway:
        for _ in range(5):
            cable.plug()
            opening = await gateway.opened()
            cable.say(RMC)
            await opening.heard(RMC)
            cable.unplug()
            assert isinstance(await opening.end(), Exception)
            assert len(opening.ends) == 1


async def test_a_port_under_another_number_is_the_same_receiver(cable, tmp_path):
    """ttyUSB0 comes back as ttyUSB1: its alias says so, and ttyUSB0 is somebody else now."""
    aliases = tmp_path / "by-id"
    aliases.mkdir()
    mine, other = Cable(aliases / "usb-mine"), Cable(aliases / "usb-other")
    name = tmp_path / "ttyUSB0"
    name.symlink_to(mine.plug())
    try:
        settings = replace(SETTINGS, path=str(name))
        async with running(settings, aliases=(aliases,)) as gateway:
            first = await gateway.opened()
            assert any("usb-mine" in text for text in gateway.told)
            mine.unplug()
            await first.end()
            name.unlink()
            name.symlink_to(other.plug())
            mine.plug()
            second = await gateway.opened()
            other.say(b"not mine")
            mine.say(RMC)
            await second.heard(RMC)
            assert second.data == RMC
    finally:
        mine.unplug()
        other.unplug()


def test_a_path_without_an_alias_is_kept(tmp_path):
    assert stable_path("/dev/null", (tmp_path,)) == "/dev/null"
    assert stable_path("/dev/null", (tmp_path / "absent",)) == "/dev/null"
    assert stable_path(str(tmp_path / "x"), (tmp_path,)) == str(tmp_path / "x")


async def test_a_silent_port_is_reopened(cable):
    cable.plug()
    async with running(at(cable, stall_s=0.05)) as gateway:
        first = await gateway.opened()
        assert "silent for 0.05 s" in str(await first.end())
        second = await gateway.opened()
        cable.say(RMC)
        await second.heard(RMC)


async def test_a_port_that_is_not_listened_to_is_not_called_silent(cable):
    cable.plug()
    async with running(at(cable, stall_s=0.05)) as gateway:
        opening = await gateway.opened()
        opening.link.pause()
        await asyncio.sleep(0.3)  # many stall spans
        assert not opening.ends
        opening.link.resume()
        assert "silent" in str(await opening.end())


async def test_nothing_is_read_while_paused_and_nothing_is_lost(cable):
    cable.plug()
    async with running(at(cable)) as gateway:
        opening = await gateway.opened()
        opening.link.pause()
        opening.link.pause()
        cable.say(RMC)
        await asyncio.sleep(0.05)
        assert not opening.data
        opening.link.resume()
        await opening.heard(RMC)
        cable.say(GGA)
        await opening.heard(RMC + GGA)


async def test_a_cable_pulled_while_paused_is_noticed_on_resume(cable):
    cable.plug()
    async with running(at(cable)) as gateway:
        opening = await gateway.opened()
        opening.link.pause()
        cable.unplug()
        opening.link.resume()
        await opening.end()
        cable.plug()
        await gateway.opened()


async def test_a_link_that_the_session_closes_is_opened_anew(cable):
    cable.plug()
    async with running(at(cable)) as gateway:
        opening = await gateway.opened()
        opening.link.close()
        await opening.end()
        for call in (opening.link.pause, opening.link.resume, opening.link.close):
            call()  # a closed link takes no harm
        opening.link.write(b"late")
        again = await gateway.opened()
        cable.say(GGA)
        await again.heard(GGA)


async def test_what_is_written_reaches_the_device(cable):
    cable.plug()
    async with running(at(cable)) as gateway:
        opening = await gateway.opened()
        opening.link.write(b"$PMTK314*2D\r\n")
        async with asyncio.timeout(WITHIN_S):
            await readable(cable)
        assert cable.read() == b"$PMTK314*2D\r\n"


async def readable(cable: Cable):
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    master, _ = cable.ends
    loop.add_reader(master, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(master)


async def test_a_port_has_one_reader(cable):
    cable.plug()
    async with running(at(cable)) as gateway:
        opening = await gateway.opened()
        async with running(at(cable)) as late:
            await late.until(lambda: late.told)
            assert "exclusively lock" in late.told[0]
            assert late.openings.empty()
            cable.say(RMC)
            await opening.heard(RMC)


async def test_a_stopped_port_can_be_opened_at_once(cable):
    cable.plug()
    for _ in range(3):
        async with running(at(cable)) as gateway:
            opening = await gateway.opened()
            cable.say(RMC)
            await opening.heard(RMC)
        assert opening.ends == [None]
        assert not gateway.told


async def test_absent_and_silent_ports_do_not_spin_the_loop(cable, tmp_path, monkeypatch):
    cable.plug()
    loop: Any = asyncio.get_running_loop()
    select, turns = loop._selector.select, 0

    def counted(timeout):
        nonlocal turns
        turns += 1
        return select(timeout)

    absent = Cable(tmp_path / "absent")
    async with running(at(cable, baud=None)), running(at(absent)) as other:
        await other.until(lambda: other.told)
        monkeypatch.setattr(loop._selector, "select", counted)
        await asyncio.sleep(0.5)
    assert turns < 500  # some ten attempts at the absent port; a loop that spins turns 10,000 times


# the hunt on a port


async def test_a_hunted_port_is_claimed_by_its_sentences_and_loses_none(cable):
    cable.plug()
    async with running(at(cable, baud=None, dwell_s=60.0)) as gateway:
        sent = b"half a sentence*00\r\n" + RMC + GGA
        await wait_open(cable)
        cable.say(sent)
        await asyncio.sleep(0.05)
        assert gateway.openings.empty()  # two sentences prove nothing yet
        cable.say(RMC)
        opening = await gateway.opened()
        await opening.heard(sent + RMC)
        cable.say(GGA)
        await opening.heard(sent + RMC + GGA)
    assert gateway.told == [f"serial {cable.link}: NMEA at 4800 baud"]


async def test_the_hunt_changes_the_rate_of_the_open_port(cable):
    """The pty carries any rate, so the rate is asked of the port."""
    cable.plug()
    async with running(at(cable, baud=None, dwell_s=0.02)) as gateway:
        await wait_open(cable)
        opening = None
        while opening is None:
            cable.say(RMC + GGA + RMC)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    opening = await gateway.openings.get()
        rate = opening.link._transport.serial.baudrate
    assert rate in RATES_BAUD
    assert gateway.told == [f"serial {cable.link}: NMEA at {rate} baud"]


async def test_a_cable_pulled_during_the_hunt_is_found_again(cable):
    async with running(at(cable, baud=None, dwell_s=0.02)) as gateway:
        for _ in range(3):
            cable.plug()
            await wait_open(cable)
            cable.unplug()
        cable.plug()
        await wait_open(cable)
        opening = None
        while opening is None:
            cable.say(RMC + GGA + RMC)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    opening = await gateway.openings.get()


def read_by_loop(device: Path) -> bool:
    loop: Any = asyncio.get_running_loop()
    return any(Path(f"/proc/self/fd/{fd}").readlink() == device for fd in loop._selector.get_map())


async def wait_open(cable: Cable):
    """Until the loop reads the port: what is said before is flushed by its opening."""
    device = Path(os.ttyname(cable.ends[1]))
    async with asyncio.timeout(WITHIN_S):
        while not read_by_loop(device):
            await asyncio.sleep(0.01)
