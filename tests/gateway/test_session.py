"""One conversation: what is answered when, what is stored, and what a hostile peer may cost."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.session import MAX_KEPT_JUNK
from gateway.source import Limits
from model import Rejected, Report
from model.device import CloseCause, DevicePolicy, DeviceState, Durability
from protocols.base import ProtocolError
from tests.gateway.rig import GateStore, Rig, noted, said, virtual
from tests.simulation import line
from tests.simulation.line import LineDecoder
from tests.simulation.process import sessions_of

ME = "860000000000001"
LOGIN = line.login(ME)


def causes(store: GateStore) -> list[CloseCause]:
    return [closed.cause for closed in store.closed.values()]


def request(at_s: int, header: str = "") -> bytes:
    query = f"id={ME}&timestamp={at_s}&lat=1.5&lon=2.5"
    return f"GET /?{query} HTTP/1.1\r\nHost: h\r\n{header}\r\n".encode()


@virtual
async def test_the_receipt_waits_for_the_commit():
    rig = await Rig().start()
    rig.store.know(ME)
    await rig.core.directory.refresh()
    rig.store.open.clear()
    link = rig.link()
    link.send(LOGIN + said(7))
    await asyncio.sleep(20)
    assert link.written == b""
    rig.store.open.set()
    await rig.core.writer.drained()
    assert line.receipts(bytes(link.written)) == [0, 7]
    assert len(rig.store.positions) == 1


@pytest.mark.parametrize("how", ["away", "answer_lost"])
@virtual
async def test_without_a_confirmation_there_is_no_receipt_and_the_link_ends(how):
    rig = await Rig().start()
    link = rig.link()
    link.send(LOGIN)
    await asyncio.sleep(1)
    setattr(rig.store, how, True)
    link.send(said(7))
    await asyncio.sleep(1)
    assert line.receipts(bytes(link.written)) == [0]
    assert not link.open
    assert causes(rig.store) == [] if how == "away" else [CloseCause.STORAGE]
    setattr(rig.store, how, False)
    again = rig.link()
    again.send(LOGIN + said(7, resent=True))
    await asyncio.sleep(1)
    assert line.receipts(bytes(again.written)) == [0, 7]
    assert len(rig.store.positions) == 1
    assert causes(rig.store) == [CloseCause.STORAGE]  # kept through the outage


@given(cuts=st.lists(st.integers(1, 200), max_size=6).map(sorted))
@settings(max_examples=50)
def test_how_a_stream_is_cut_changes_nothing(cuts):
    @virtual
    async def check() -> None:
        rig = await Rig().start()
        link = rig.link()
        stream = LOGIN + said(1) + said(2, fixes=3) + b"?*3f;" + said(3)
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            link.send(stream[start:end])
            await asyncio.sleep(1)
        assert bytes(link.written) == b"A 0;A 1;A 2;H;A 3;"
        assert len(rig.store.positions) == 5

    check()


@virtual
async def test_a_stranger_is_answered_with_the_same_bytes_as_a_known_device():
    rig = await Rig().start()
    rig.store.know(ME)
    await rig.core.directory.refresh()
    answers = []
    for ident in (ME, "860000000000666"):
        link = rig.link()
        link.send(line.login(ident) + said(1) + b"?*3f;" + b"nonsense;")
        await asyncio.sleep(1)
        answers.append(bytes(link.written))
        assert link.open
    assert answers[0] == answers[1] == b"A 0;A 1;H;"
    states = {device.identity.ident: device.state for device in rig.store.register.values()}
    assert states == {ME: DeviceState.ACTIVE, "860000000000666": DeviceState.QUARANTINED}


@virtual
async def test_by_policy_a_stranger_is_registered():
    rig = await Rig(policy=DevicePolicy.REGISTER).start()
    rig.link().send(LOGIN + said(1))
    await asyncio.sleep(1)
    (device,) = rig.store.register.values()
    assert device.state is DeviceState.ACTIVE


@virtual
async def test_a_full_quarantine_ends_the_link_without_a_receipt():
    rig = await Rig(store=GateStore(max_quarantined=1)).start()
    rig.link().send(line.login("1") + said(1))
    await asyncio.sleep(1)
    link = rig.link()
    link.send(line.login("2") + said(2))
    await asyncio.sleep(1)
    assert not link.open
    assert link.written == b""
    assert rig.source.figures.ended[CloseCause.LIMIT] == 1


@virtual
async def test_order_is_kept_while_a_stranger_is_admitted():
    rig = await Rig().start()
    link = rig.link()
    for number in range(1, 6):
        link.send(LOGIN if number == 1 else b"")
        link.send(said(number))
    await asyncio.sleep(5)
    assert line.receipts(bytes(link.written)) == [0, 1, 2, 3, 4, 5]
    assert rig.store.admissions == 1


@virtual
async def test_one_link_may_speak_for_many_devices():
    rig = await Rig().start()
    link = rig.link()
    link.send(b"".join(line.login(str(n)) + said(n) for n in range(1, 6)))
    await asyncio.sleep(5)
    assert line.receipts(bytes(link.written)) == [0, 1, 0, 2, 0, 3, 0, 4, 0, 5]
    assert sorted(key[0] for key in rig.store.positions) == [1, 2, 3, 4, 5]


@virtual
async def test_positions_without_a_device_are_archived_and_never_receipted():
    rig = await Rig().start()
    link = rig.link()
    link.send(said(3))
    await asyncio.sleep(1)
    assert link.written == b""
    (entry,) = rig.store.frames
    assert entry.device is None
    assert isinstance(entry.event, Report)


@virtual
async def test_what_nobody_can_read_is_archived():
    rig = await Rig().start()
    link = rig.link()
    link.send(LOGIN + b"R 1 - x*00;")
    await asyncio.sleep(1)
    assert isinstance(rig.store.frames[-1].event, Rejected)
    assert rig.store.frames[-1].event.raw == b"R 1 - x*00;"
    assert rig.store.frames[-1].decoder == "line/1"


@virtual
async def test_what_a_device_sent_before_it_hung_up_is_stored():
    rig = await Rig().start()
    rig.store.open.clear()
    link = rig.link()
    link.send(LOGIN + said(1) + said(2)[:-3])
    link.hang_up()
    rig.store.open.set()
    await asyncio.sleep(1)
    assert link.written == b""
    assert len(rig.store.positions) == 1
    assert [type(entry.event).__name__ for entry in rig.store.frames] == [
        "Login",
        "Report",
        "Rejected",
    ]
    (closed,) = rig.store.closed.values()
    assert closed.cause is CloseCause.PEER
    assert closed.frames == 3
    assert closed.bytes_in == len(LOGIN + said(1) + said(2)) - 3
    assert closed.device is None or closed.device.identity.ident == ME


@virtual
async def test_a_broken_network_is_told_from_a_device_that_closed():
    rig = await Rig().start()
    link = rig.link()
    link.send(LOGIN)
    await asyncio.sleep(1)
    link.hang_up(ConnectionResetError("reset by peer"))
    await asyncio.sleep(1)
    (closed,) = rig.store.closed.values()
    assert closed.cause is CloseCause.ERROR
    assert closed.detail == "reset by peer"
    assert closed.device is not None


# messages with receipts of their own link


@virtual
async def test_a_message_is_done_when_all_of_it_is_durable():
    rig = await Rig().start()
    rig.store.open.clear()
    done: list[int] = []
    link = rig.link(ident=ME)
    link.send(said(1) + said(2), noted(done, 1), whole=True)
    await asyncio.sleep(1)
    assert done == []
    rig.store.open.set()
    await asyncio.sleep(1)
    assert done == [1]
    rig.store.away = True
    link.send(said(3), noted(done, 3), whole=True)
    await asyncio.sleep(1)
    assert done == [1]


@virtual
async def test_an_empty_message_is_done_at_once():
    rig = await Rig().start()
    done: list[int] = []
    rig.link(ident=ME).send(b"", noted(done, 1), whole=True)
    assert done == [1]


@virtual
async def test_bytes_that_the_decoder_still_holds_are_not_done():
    rig = await Rig(protocol="quiet").start()
    done: list[int] = []
    link = rig.link(ident=ME)
    link.send(said(1) + b"\n" + said(2), noted(done, 1), whole=True)
    link.send(said(3) + b"\n", noted(done, 2), whole=True)  # ends what the first began
    await asyncio.sleep(0.2)
    assert done == [1, 2]


# links that cannot be answered


@virtual
async def test_a_spooled_message_is_done_once_it_is_on_disk_whatever_the_database_does():
    rig = await Rig().start()
    rig.store.away = True
    done: list[int] = []
    link = rig.link(ident=ME, durability=Durability.SPOOL)
    link.send(said(1), noted(done, 1), whole=True)
    assert done == []
    await asyncio.sleep(0.001)
    assert done == [1]
    assert len(rig.disk.safe) == 1
    await asyncio.sleep(30)
    assert rig.store.positions == {}
    rig.store.away = False
    await asyncio.sleep(30)
    assert len(rig.store.positions) == 1
    assert rig.store.frames[-1].durability is Durability.SPOOL
    assert rig.core.desk is not None
    assert rig.core.desk.spool.backlog_bytes == 0


async def fill(rig: Rig, messages: int) -> list[int]:
    """Send more than the spool has room for while the database is away."""
    rig.store.away = True
    done: list[int] = []
    link = rig.link(ident=ME, durability=Durability.SPOOL)
    for number in range(1, messages + 1):
        link.send(said(number), noted(done, number), whole=True)
        await asyncio.sleep(0.1)
    return done


@virtual
async def test_what_finds_no_room_in_the_spool_waits_for_the_database():
    rig = await Rig(spool_bytes=1000).start()
    done = await fill(rig, 8)
    desk = rig.core.desk
    assert desk is not None
    assert 0 < len(done) < 8
    assert desk.held == 8 - len(done)
    rig.store.away = False
    await asyncio.sleep(30)
    assert sorted(done) == list(range(1, 9))
    assert len(rig.store.positions) == 8
    assert desk.held == desk.lost == 0


@virtual
async def test_what_finds_no_room_in_memory_either_is_counted_and_never_done(monkeypatch):
    monkeypatch.setattr("gateway.spooling.MAX_HELD", 2)
    rig = await Rig(spool_bytes=1000).start()
    before = len(await fill(rig, 8))
    desk = rig.core.desk
    assert desk is not None
    assert desk.held == 2
    assert desk.lost == 8 - before - 2
    rig.store.away = False
    await asyncio.sleep(30)
    assert len(rig.store.positions) == before + 2


@virtual
async def test_draining_waits_for_what_is_in_memory_alone():
    rig = await Rig(spool_bytes=0).start()
    await fill(rig, 3)
    assert not await rig.core.drain(within_s=2)
    rig.store.away = False
    assert await rig.core.drain()
    assert len(rig.store.positions) == 3


@virtual
async def test_a_stranger_without_a_place_does_not_stop_the_spool():
    rig = await Rig(store=GateStore(max_quarantined=0)).start()
    rig.store.know(ME)
    await rig.core.directory.refresh()
    stranger = rig.link(ident="666", durability=Durability.SPOOL)
    stranger.send(said(1), whole=True)
    rig.link(ident=ME, durability=Durability.SPOOL).send(said(2), whole=True)
    await asyncio.sleep(30)
    assert len(rig.store.positions) == 1
    assert [entry.device is None for entry in rig.store.frames] == [True, False]


@virtual
async def test_a_spooled_link_is_not_held_back_by_a_crowd():
    rig = await Rig(protocol="quiet").start()
    rig.core.writer._max_queue = 0
    link = rig.link(ident=ME, durability=Durability.SPOOL)
    for number in range(1, 5):
        link.send(said(number) + b"\n")
        await asyncio.sleep(2)
    assert len(rig.store.positions) == 4


@virtual
async def test_draining_spools_what_the_decoder_still_holds():
    rig = await Rig(protocol="quiet").start()
    link = rig.link(ident=ME, durability=Durability.SPOOL)
    link.send(said(1))
    assert await rig.core.drain()
    await asyncio.sleep(0.001)
    assert len(rig.disk.safe) == 1


@virtual
async def test_silence_ends_a_message_and_only_silence():
    rig = await Rig(protocol="quiet").start()
    link = rig.link(ident=ME)
    report = said(1)
    for part in (report[:5], report[5:9], report[9:]):
        await asyncio.sleep(0.4)
        link.send(part)
    await asyncio.sleep(0.4)
    assert rig.store.frames == []
    await asyncio.sleep(0.2)
    (entry,) = rig.store.frames
    assert entry.event.raw == report
    await asyncio.sleep(10)
    assert len(rig.store.frames) == 1


@virtual
async def test_a_link_closed_before_its_silence_is_left_alone():
    rig = await Rig(protocol="quiet").start()
    link = rig.link(ident=ME)
    link.send(said(1))
    link.hang_up()
    await asyncio.sleep(5)
    assert len(rig.store.frames) == 1
    assert len(rig.store.closed) == 1


# what one peer may cost


@virtual
async def test_a_silent_link_is_closed():
    rig = await Rig(limits=Limits(idle_s=60, first_frame_s=30)).start()
    link = rig.link()
    link.send(LOGIN)
    await asyncio.sleep(59)
    assert link.open
    link.send(b"?*3f;")
    await asyncio.sleep(59)
    assert link.open
    await asyncio.sleep(3)
    assert not link.open
    await asyncio.sleep(1)
    assert causes(rig.store) == [CloseCause.IDLE]


@virtual
async def test_a_link_must_say_something_readable_in_time():
    rig = await Rig(limits=Limits(idle_s=600, first_frame_s=10)).start()
    slow = rig.link()
    for _ in range(8):
        slow.send(b"L")
        await asyncio.sleep(2)
    assert not slow.open
    assert rig.source.figures.ended == {CloseCause.LIMIT: 1}
    assert rig.store.frames == []
    assert rig.store.closed == {}


@virtual
async def test_a_local_port_may_be_silent_from_the_start():
    rig = await Rig(limits=Limits(idle_s=600, first_frame_s=10)).start()
    link = rig.link(network="")
    await asyncio.sleep(100)
    assert link.open


@virtual
async def test_bytes_without_a_frame_are_limited():
    rig = await Rig(limits=Limits(bytes_without_frame=1000)).start()
    link = rig.link()
    link.send(LOGIN + b"x" * 400)
    await asyncio.sleep(1)
    link.send(b"x" * 500)
    assert link.open
    link.send(b"x" * 501)
    assert not link.open


@virtual
async def test_connections_are_limited_in_all_and_by_address():
    rig = await Rig(limits=Limits(connections=5, connections_per_address=2)).start()
    first = [rig.link(network="10.0.0.1") for _ in range(3)]
    assert [link.open for link in first] == [True, True, False]
    others = [rig.link(network=f"10.0.1.{n}") for n in range(4)]
    assert [link.open for link in others] == [True, True, True, False]
    assert rig.source.figures.refused == 2
    assert rig.source.figures.links == 5
    first[0].hang_up()
    assert rig.link(network="10.0.0.1").open
    assert len(rig.source.sessions) == rig.source.figures.links == 5


@virtual
async def test_local_ports_are_not_counted_by_address():
    rig = await Rig(limits=Limits(connections_per_address=1)).start()
    assert all(rig.link(network="").open for _ in range(3))


@virtual
async def test_a_stream_that_makes_no_sense_leaves_evidence_and_ends():
    rig = await Rig().start()
    link = rig.link()
    link.send(LOGIN)
    await asyncio.sleep(1)
    link.send(b"y" * 10_000)
    await asyncio.sleep(1)
    assert not link.open
    evidence = rig.store.frames[-1].event
    assert isinstance(evidence, Rejected)
    assert len(evidence.raw) == MAX_KEPT_JUNK
    assert evidence.device is not None
    assert causes(rig.store) == [CloseCause.PROTOCOL]
    link.send(said(1))
    await asyncio.sleep(1)
    assert rig.store.positions == {}


@virtual
async def test_a_flush_that_fails_ends_the_link_as_well(monkeypatch):
    def fail(self, now):
        raise ProtocolError("torn")

    monkeypatch.setattr(LineDecoder, "flush", fail)
    rig = await Rig().start()
    link = rig.link()
    link.send(LOGIN + b"R", whole=True)
    await asyncio.sleep(1)
    assert not link.open
    assert causes(rig.store) == [CloseCause.PROTOCOL]


# backpressure


@virtual
async def test_a_link_with_too_much_outstanding_is_read_again_after_the_commit():
    rig = await Rig(limits=Limits(outstanding=3)).start()
    link = rig.link()
    link.send(LOGIN)
    await asyncio.sleep(1)
    rig.store.open.clear()
    for number in range(1, 20):
        link.send(said(number))
    await asyncio.sleep(1)
    (session,) = sessions_of(rig.source)
    assert session.paused
    assert session._outstanding is not None
    assert len(session._outstanding) == 4
    rig.store.open.set()
    await asyncio.sleep(1)
    assert line.receipts(bytes(link.written)) == list(range(20))
    assert not session.paused


@virtual
async def test_a_link_stopped_by_a_crowd_of_others_is_read_again():
    rig = await Rig().start()
    link = rig.link(ident=ME)
    link.send(said(1))
    await asyncio.sleep(1)
    (session,) = sessions_of(rig.source)
    rig.core.writer._max_queue = 0
    link.send(said(2))
    await asyncio.sleep(5)
    assert line.receipts(bytes(link.written)) == [1, 2]
    assert session.paused  # and nothing of its own will wake it
    rig.core.writer._max_queue = 100
    link.send(said(3))
    await asyncio.sleep(2)
    assert line.receipts(bytes(link.written)) == [1, 2, 3]


@virtual
async def test_a_link_that_we_stopped_is_not_called_silent():
    rig = await Rig(limits=Limits(idle_s=5, outstanding=0)).start()
    link = rig.link(ident=ME)
    link.send(said(1))
    await asyncio.sleep(1)
    rig.store.open.clear()
    link.send(said(2))
    await asyncio.sleep(60)
    assert link.open
    rig.store.open.set()
    await asyncio.sleep(4)
    assert link.open
    await asyncio.sleep(3)
    assert not link.open


# the end


@virtual
async def test_draining_answers_what_is_owed_and_hears_no_more():
    rig = await Rig().start()
    rig.store.open.clear()
    link = rig.link()
    link.send(LOGIN + said(1))
    await asyncio.sleep(1)
    draining = asyncio.create_task(rig.core.drain())
    await asyncio.sleep(1)
    link.send(said(2))
    rig.store.open.set()
    assert await draining
    assert line.receipts(bytes(link.written)) == [0, 1]
    assert not link.open
    assert len(rig.store.positions) == 1
    assert causes(rig.store) == [CloseCause.SHUTDOWN]


@virtual
async def test_draining_gives_up_on_a_database_that_does_not_answer():
    rig = await Rig().start()
    rig.store.open.clear()
    link = rig.link()
    link.send(LOGIN + said(1))
    await asyncio.sleep(1)
    assert not await rig.core.drain(within_s=5)
    assert not link.open
    assert link.written == b""


@virtual
async def test_a_request_that_ends_its_connection_is_answered_first():
    rig = await Rig(protocol="osmand").start()
    link = rig.link()
    link.send(request(1_772_366_400, "Connection: close\r\n"))
    await asyncio.sleep(1)
    assert link.written.startswith(b"HTTP/1.1 200 ")
    assert not link.open
    assert causes(rig.store) == [CloseCause.PEER]


@pytest.mark.parametrize("known", [True, False])
@virtual
async def test_a_refusal_that_the_protocol_can_express_is_said_before_the_link_ends(known):
    rig = await Rig(protocol="osmand").start()
    if known:
        rig.link().send(request(1_772_366_400))
        await asyncio.sleep(1)
    rig.store.away = True
    link = rig.link()
    link.send(request(1_772_366_401))
    await asyncio.sleep(1)
    assert link.written.startswith(b"HTTP/1.1 503 ")
    assert not link.open


@virtual
async def test_a_device_in_another_datum_is_converted_on_entry():
    rig = await Rig().start()
    rig.store.know(ME, datum="gcj02")
    await rig.core.directory.refresh()
    places = ((1_772_366_400, 39_900, 116_400),)
    rig.link().send(LOGIN + line.report(1, places, resent=False))
    await asyncio.sleep(1)
    (fix,) = rig.store.positions.values()
    assert 0.001 < abs(fix.latitude_deg - 39.9) + abs(fix.longitude_deg - 116.4) < 0.02
