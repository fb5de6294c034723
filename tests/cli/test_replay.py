"""`truetrack replay` sends what the device would have sent, over the link that it would have used."""

import asyncio
import os
import socket
import threading
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest

from cli.replay import Frame, Target, from_stream, parse_target, pauses
from model import Report
from protocols import load
from tests.cli import receiver
from tests.cli.conftest import one_line
from tests.protocols.driver import NOW

pytestmark = pytest.mark.usefixtures("toy_protocol")

CAPTURE = b"a1,1,2; a1,3,4;\n?;"


@pytest.fixture
def capture(tmp_path):
    path = tmp_path / "capture"
    path.write_bytes(CAPTURE)
    return path


@contextmanager
def tcp_server(reply: bytes = b"", *, hang_up_after: int | None = None):
    """A server in a loop of its own; what it received, whole at the end."""
    received: list[bytes] = []
    ready, port = threading.Event(), 0

    async def serve(stop: asyncio.Event) -> None:
        nonlocal port

        async def talk(reader, writer):
            while data := await reader.read(65_536):
                received.append(data)
                writer.write(reply)
                if hang_up_after is not None and sum(map(len, received)) >= hang_up_after:
                    break
            writer.close()

        async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            ready.set()
            await stop.wait()

    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(stop),))
    thread.start()
    try:
        assert ready.wait(10)
        yield f"tcp://127.0.0.1:{port}", received
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()


def test_a_stream_arrives_byte_for_byte_and_replies_are_shown(truetrack, capture):
    with tcp_server(b"ok") as (url, received):
        said = truetrack("replay", "toy", capture, "--to", url, "--wait", "0.2")
    assert said.code == 0
    assert b"".join(received) == CAPTURE
    assert said.records
    assert b"".join(bytes.fromhex(r["reply"]) for r in said.records).startswith(b"ok")
    assert said.err.startswith(f"sent 3 frames, {len(CAPTURE)} bytes; ")


def test_what_follows_the_last_frame_is_sent_too(truetrack, tmp_path):
    path = tmp_path / "torn"
    path.write_bytes(b"a1,1,2;a1,3")
    with tcp_server() as (url, received):
        assert truetrack("replay", "toy", path, "--to", url, "--wait", "0.1").code == 0
    assert b"".join(received) == b"a1,1,2;a1,3"


def test_hex_lines_are_sent_with_their_end_mark(truetrack, tmp_path):
    path = tmp_path / "lines"
    path.write_text(f"# two\n{b'a1,1,2'.hex()}\n{b'?;'.hex()}\n")
    with tcp_server() as (url, received):
        said = truetrack("replay", "toy", path, "--hex-lines", "--to", url, "--wait", "0.1")
    assert said.code == 0
    assert b"".join(received) == b"a1,1,2;?;"


def test_over_udp_a_frame_is_a_datagram(truetrack, capture):
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        url = f"udp://127.0.0.1:{server.getsockname()[1]}"
        said = truetrack("replay", "toy", capture, "--to", url, "--wait", "0.1")
        assert said.code == 0
        assert [server.recv(1000) for _ in range(3)] == [b"a1,1,2;", b" a1,3,4;", b"\n?;"]


def test_a_reply_over_udp_is_shown(truetrack, capture):
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)

        def answer():
            for _ in range(3):
                data, peer = server.recvfrom(1000)
                server.sendto(b"re:" + data, peer)

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"udp://127.0.0.1:{server.getsockname()[1]}"
        said = truetrack("replay", "toy", capture, "--to", url, "--wait", "0.3")
        thread.join(10)
    assert [bytes.fromhex(r["reply"])[:3] for r in said.records] == [b"re:"] * 3


def test_onto_a_serial_port(truetrack, capture):
    ours, theirs = os.openpty()
    try:
        said = truetrack(
            "replay", "toy", capture, "--to", f"serial://{os.ttyname(theirs)}?baud=4800",
            "--wait", "0.1",
        )  # fmt: skip
        assert said.code == 0
        assert os.read(ours, 1000) == CAPTURE
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_server_that_hangs_up_ends_it(truetrack, capture):
    """It need not wait for replies that cannot come; what could not be sent is an error."""
    with tcp_server(hang_up_after=1) as (url, _received):
        said = truetrack("replay", "toy", capture, "--to", url, "--wait", "30")
    assert said.code in (0, 1)
    assert len(said.err.splitlines()) == 1


def test_nobody_listens(truetrack, capture):
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said = truetrack("replay", "toy", capture, "--to", f"tcp://127.0.0.1:{port}")
    assert said.code == 1
    assert one_line(said) == f"truetrack: 127.0.0.1 port {port}: Connection refused"


def test_no_such_host(truetrack, capture):
    said = truetrack("replay", "toy", capture, "--to", "tcp://no-such-host.invalid:1")
    assert said.code == 1
    assert one_line(said).startswith("truetrack: no-such-host.invalid: ")


def test_no_such_port(truetrack, capture, tmp_path):
    said = truetrack("replay", "toy", capture, "--to", f"serial://{tmp_path}/tty")
    assert said.code == 1
    assert "there is no such port" in one_line(said)


def test_a_capture_of_something_else(truetrack, tmp_path):
    path = tmp_path / "empty"
    path.write_bytes(b"")
    said = truetrack("replay", "toy", path, "--to", "tcp://127.0.0.1:1")
    assert said.code == 1
    assert one_line(said) == "truetrack: the capture holds no frame of this protocol"


@pytest.mark.parametrize(
    "url", ["foo://x:1", "tcp://x:port", "tcp://x:99999", "serial://", "serial:///d?baud=x", "x"]
)
def test_a_malformed_url(truetrack, capture, url):
    said = truetrack("replay", "toy", capture, "--to", url)
    assert said.code == (1 if url == "x" else 2)
    one_line(said)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("tcp://gw:1", Target("tcp", host="gw", port=1)),
        ("tcp://gw", Target("tcp", host="gw", port=77)),
        ("udp://[::1]:5", Target("udp", host="::1", port=5)),
        ("http://gw/", Target("tcp", host="gw", port=77)),
        ("/dev/pts/3", Target("serial", path="/dev/pts/3")),
        ("serial:///dev/ttyUSB0?baud=4800", Target("serial", path="/dev/ttyUSB0", baud=4800)),
    ],
)
def test_targets(url, target):
    assert parse_target(url, 77) == target


def test_the_pace_of_the_capture_is_kept():
    def frame(seconds):
        return Frame(b"x", None if seconds is None else NOW + timedelta(seconds=seconds))

    frames = [frame(None), frame(0), frame(10), frame(None), frame(30), frame(20), frame(10**6)]
    assert [pause for pause, _ in pauses(frames, 10)] == [0, 0, 1, 0, 2, 0, 360]
    assert [pause for pause, _ in pauses(frames, None)] == [0] * 7


@pytest.mark.parametrize(
    "name", ["bu353s4", "ublox-zed-f9t-ubx_nmea_l5", "quectel-l76k-dual", "gpsdf", "hp58534a"]
)
def test_a_receiver_s_stream_is_cut_into_epochs_and_stays_whole(name):
    """With the binary frames and the torn sentences between them."""
    data = receiver.capture(name).read_bytes()
    frames = list(from_stream(data, load("nmea0183").Decoder(ident="x"), datagrams=False))
    assert b"".join(frame.data for frame in frames) == data
    times = [frame.time for frame in frames if frame.time is not None]
    decoder = load("nmea0183").Decoder(ident="x")
    events = [*decoder.feed(data, NOW), *decoder.flush(NOW)]
    reports = [event for event in events if isinstance(event, Report)]
    assert len(times) >= 0.9 * len(reports)
