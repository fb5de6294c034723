"""A receiver on a real pty, a database that comes and goes, a gateway that is killed.

A receiver cannot be asked again: what the gateway has read is on its disk, and comes into the
table exactly once, whatever happens next.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg

from storage.embedded import EmbeddedPostgres
from tests.faults.processes import Gateway
from tests.gateway.ptys import Cable, sentence

BURST = 40  # epochs
ROUNDS = 6
WITHIN_S = 60
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def epoch(number: int) -> bytes:
    time = FIRST + timedelta(seconds=number)
    clock, date = time.strftime("%H%M%S.00"), time.strftime("%d%m%y")
    place = f"5230.{number:04d},N,01322.0000,E"
    return sentence(f"GPGGA,{clock},{place},1,08,0.9,35.0,M,45.0,M,,") + sentence(
        f"GPRMC,{clock},A,{place},3.0,90.0,{date},,"
    )


async def test_what_was_read_is_stored_once(tmp_path: Path):
    cable = Cable(tmp_path / "receiver")
    postgres = EmbeddedPostgres(tmp_path / "db")
    postgres.start()
    cable.plug()
    source = f'[sources.nmea0183]\nopen = "serial://{cable.link}?baud=9600&ident=boat&stall=0"\n'
    gateway = Gateway(tmp_path, source, postgres.url)
    sent = 0
    try:
        for round_ in range(ROUNDS):
            gateway.start()
            await gateway.ready()
            async with asyncio.timeout(WITHIN_S):  # what is said before a port is opened is lost
                while await gateway.metric("truetrack_links_open") < 1:
                    await asyncio.sleep(0.02)
            if round_ % 2:
                await asyncio.to_thread(postgres.stop)
            for number in range(sent, sent + BURST):
                cable.say(epoch(number))
                await asyncio.sleep(0.005)
            sent += BURST
            # The last epoch is whole after a silence; then all of the burst was read.
            async with asyncio.timeout(WITHIN_S):
                while await gateway.metric("truetrack_fixes_total") < BURST:
                    await asyncio.sleep(0.05)
            gateway.kill()
            if round_ % 2:
                await asyncio.to_thread(postgres.start)
        gateway.start()
        await gateway.ready()
        async with asyncio.timeout(WITHIN_S):
            while len(found := stored(postgres.url)) < sent:
                await asyncio.sleep(0.1)
        assert sorted(found) == [FIRST + timedelta(seconds=number) for number in range(sent)]
        assert await gateway.metric("truetrack_spool_lost_events_total") == 0
        assert await gateway.stop() == 0
    finally:
        gateway.kill()
        cable.unplug()
        postgres.stop()


def stored(url: str) -> list[datetime]:
    with psycopg.connect(url) as connection:
        return [time for (time,) in connection.execute("select time from raw.position")]
