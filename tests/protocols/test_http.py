"""What must hold of HTTP under the phone protocols, whatever the peer sends."""

import asyncio
import contextlib
import gzip
import http.client
import shutil
import zlib
from typing import Any

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import Heartbeat, Rejected, Report
from protocols.http import (
    MAX_HEAD_BYTES,
    MAX_KEPT_BYTES,
    Announcement,
    Refusal,
    Request,
    Requests,
    basic_user,
    complete,
    pairs,
    reply,
)
from tests.protocols.driver import NOW, decoder

LIMIT = 10_000


def read(*chunks: bytes) -> list[Any]:
    subject = Requests(max_body_bytes=LIMIT)
    return [message for chunk in chunks for message in subject.feed(chunk)]


def post(body: bytes, *headers: bytes, target: bytes = b"/") -> bytes:
    lines = [b"POST %s HTTP/1.1" % target, b"Host: x", *headers]
    if not any(b"ransfer" in header for header in headers):
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(parts: list[bytes]) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts if part)
    return post(body + b"0\r\n\r\n", b"Transfer-Encoding: chunked")


GETS = st.integers(0, 10**6).map(lambda n: b"GET /?id=%d HTTP/1.1\r\nHost: x\r\n\r\n" % n)
POSTS = st.binary(max_size=60).map(post)
CHUNKED = st.lists(st.binary(max_size=30), max_size=4).map(chunked)
ZIPPED = st.binary(max_size=60).map(
    lambda body: post(gzip.compress(body, mtime=0), b"Content-Encoding: gzip")
)
EXPECTING = st.binary(min_size=1, max_size=20).map(lambda body: post(body, b"Expect: 100-continue"))
PIPELINES = st.lists(st.one_of(GETS, POSTS, CHUNKED, ZIPPED, EXPECTING), max_size=6)


@st.composite
def cut(draw, wires=PIPELINES):
    """Pipelined requests, and the same octets in pieces."""
    wire = b"".join(draw(wires))
    at = sorted(draw(st.lists(st.integers(0, len(wire)), max_size=8)))
    return wire, [wire[a:b] for a, b in zip([0, *at], [*at, len(wire)], strict=True)]


class TestReading:
    @given(cut())
    def test_pieces_say_what_the_whole_says(self, wires):
        wire, pieces = wires
        assert read(*pieces) == read(wire) == read(*[bytes([octet]) for octet in wire])

    @given(PIPELINES)
    def test_every_request_is_read_once_and_in_order(self, wires):
        messages = [m for m in read(b"".join(wires)) if not isinstance(m, Announcement)]
        assert [message.raw for message in messages] == wires

    @given(st.lists(st.binary(max_size=50), max_size=5))
    def test_bodies_arrive_as_they_were_meant(self, parts):
        body = b"".join(parts)
        assert read(chunked(parts))[0].body == body
        assert read(post(body))[0].body == body
        for packed in (gzip.compress(body), zlib.compress(body)):
            if body:
                assert read(post(packed, b"Content-Encoding: gzip"))[0].body == body

    def test_a_thousand_requests_at_once(self):
        wire = b"GET /?id=1 HTTP/1.1\r\n\r\n"
        assert [message.query for message in read(wire * 1000)] == ["id=1"] * 1000

    def test_empty_lines_between_requests_are_nothing(self):
        (message,) = read(b"\r\n\n\r\nGET / HTTP/1.1\n\n\r\n")
        assert message.raw == b"GET / HTTP/1.1\n\n"

    def test_after_a_close_nothing_is_heard(self):
        wire = b"GET /?a HTTP/1.1\r\nConnection: keep-alive, close\r\n\r\n"
        subject = Requests(max_body_bytes=LIMIT)
        assert len(subject.feed(wire * 3)) == 1
        assert subject.finished
        assert subject.feed(wire) == []
        assert not subject.pending

    @given(st.binary())
    def test_raw_octets_in_the_target_are_meant_as_they_are(self, octets):
        octets = bytes(octet for octet in octets if octet > 32 and octet not in b"&+%#=?")
        if octets:
            (message,) = read(b"GET /?note=%s HTTP/1.1\r\n\r\n" % octets)
            assert (
                list(pairs(message.query)) == [("note", octets.decode("utf-8", "replace").strip())]
                or not octets.decode("utf-8", "replace").strip()
            )


class TestExpectation:
    WIRE = post(b"lat=1", b"Expect: 100-Continue")
    HEAD = WIRE[:-5]

    def test_the_head_is_answered_before_the_body(self):
        subject = decoder("owntracks")
        (asked,) = subject.feed(self.HEAD, NOW)
        assert subject.reply_to(asked, accepted=True, now=NOW) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert subject.reply_to(asked, accepted=False, now=NOW).startswith(b"HTTP/1.1 503")
        assert asked == Heartbeat(raw=self.HEAD, device=None)
        (event,) = subject.feed(b"lat=1", NOW)
        assert subject.reply_to(event, accepted=True, now=NOW).startswith(b"HTTP/1.1 400")

    @pytest.mark.parametrize(
        "wire",
        [
            post(b"", b"Expect: 100-continue"),
            WIRE.replace(b"HTTP/1.1", b"HTTP/1.0"),
            b"GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
        ],
    )
    def test_nothing_to_wait_for(self, wire):
        (message,) = read(wire)
        assert isinstance(message, Request)
        event = Heartbeat(raw=message.raw, device=None)
        assert reply(event, accepted=True).startswith(b"HTTP/1.1 200")

    def test_a_body_that_would_be_too_large_is_refused_before_it_comes(self):
        wire = self.HEAD.replace(b"Length: 5", b"Length: 99999")
        (message,) = read(wire)
        assert (message.status, message.raw) == (413, wire)


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "wire"),
        [
            (400, b"\x16\x03\x01\x02\x00\x01"),  # TLS
            (400, b"\x78\x78\x0d\x01"),  # GT06
            (400, b"$GPRMC,"),
            (400, b"PGID nonsense\r\n"),
            (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\nno colon\r\n\r\n"),
            (400, b"GET / HTTP/1.1\r\na b: c\r\n\r\n"),
            (400, b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"),
            (400, b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
            (400, b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            (400, post(b"zz\r\n", b"Transfer-Encoding: chunked")),
            (400, post(b"not gzip", b"Content-Encoding: gzip")),
            (400, post(gzip.compress(b"x")[:-3], b"Content-Encoding: gzip")),
            (400, post(gzip.compress(b"x") + b"more", b"Content-Encoding: gzip")),
            (405, b"HEAD / HTTP/1.1\r\n\r\n"),
            (405, b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"),
            (405, b"DELETE / HTTP/1.1\r\n\r\n"),
            (413, b"POST / HTTP/1.1\r\nContent-Length: 10001\r\n\r\n"),
            (413, b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n"),
            (413, chunked([b"x" * 6000] * 2)),
            (413, chunked([b"x"] * 9000)),
            (413, post(gzip.compress(bytes(10_001)), b"Content-Encoding: gzip")),
            (415, post(b"x", b"Content-Encoding: br")),
            (431, b"GET / HTTP/1.1\r\nX: " + b"y" * MAX_HEAD_BYTES),
            (431, b"GET /" + b"y" * MAX_HEAD_BYTES),
            (501, post(b"x", b"Transfer-Encoding: gzip")),
        ],
    )
    def test_each_is_kept_told_and_final(self, status, wire):
        subject = Requests(max_body_bytes=LIMIT)
        (message,) = subject.feed(wire + b"GET / HTTP/1.1\r\n\r\n" * (status != 431))
        assert isinstance(message, Refusal)
        assert message.status == status
        assert wire.startswith(message.raw[: len(wire)])
        assert len(message.raw) <= MAX_KEPT_BYTES
        assert subject.finished
        assert not subject.pending
        event = message.event()
        assert isinstance(event, Rejected)
        assert statuses(reply(event, accepted=True)) == [status]
        assert b"\r\nConnection: close\r\n" in reply(event, accepted=True)

    def test_a_bomb_costs_no_more_than_the_limit(self):
        bomb = gzip.compress(bytes(50_000_000), 9)
        assert len(bomb) < 60_000
        subject = Requests(max_body_bytes=60_000)
        (message,) = subject.feed(post(bomb, b"Content-Encoding: gzip"))
        assert isinstance(message, Refusal)
        assert message.status == 413

    def test_an_endless_head_is_not_kept(self):
        assert [message.status for message in read(*[b"GET" + b"x" * 4000] * 300)] == [431]

    def test_endless_chunk_extensions_are_not_kept(self):
        head = post(b"", b"Transfer-Encoding: chunked")
        chunk = b"1;a=" + b"x" * 500 + b"\r\ny\r\n"
        messages = read(head, *[chunk] * 300)
        assert [message.status for message in messages] == [413]

    @given(st.lists(st.binary(max_size=100)))
    def test_noise_is_a_refusal_or_waits_for_more(self, chunks):
        subject = Requests(max_body_bytes=LIMIT)
        messages = [message for chunk in chunks for message in subject.feed(chunk)]
        assert subject.finished or messages == []

    @given(cut(), st.data())
    def test_damage_never_escapes(self, wires, data):
        wire = bytearray(wires[0])
        for _ in range(3):
            if wire:
                wire[data.draw(st.integers(0, len(wire) - 1))] ^= data.draw(st.integers(1, 255))
        for message in read(bytes(wire)):
            assert message.raw


class TestSecrets:
    @pytest.mark.parametrize(
        ("line", "kept"),
        [
            (b"Authorization: Basic amFuZTpzZWNyZXQ=", b"Authorization: Basic amFuZTo="),
            (b"AUTHORIZATION:basic amFuZTpzZWNyZXQ=", b"AUTHORIZATION: Basic amFuZTo="),
            (b"authorization: Basic\r\n amFuZTpzZWNyZXQ=", b"authorization: Basic amFuZTo="),
            (b"Authorization: Bearer topsecret", b"Authorization: *"),
            (b"Authorization: Basic topsecret!", b"Authorization: *"),
            (b"Authorization: Digest a=topsecret,\r\n\t b=topsecret", b"Authorization: *"),
        ],
    )
    def test_are_not_archived(self, line, kept):
        wire = b"POST / HTTP/1.1\r\n%s\r\nContent-Length: 4\r\n\r\nAuth"
        (message,) = read(wire % line)
        assert message.raw == wire % kept
        # What is archived reads as the original did.
        (again,) = read(message.raw)
        assert basic_user(again.headers) == basic_user(message.headers)

    def test_nor_those_of_a_refused_request(self):
        (message,) = read(b"GET / HTTP/1.1\r\nAuthorization: Bearer topsecret\r\nbad line\r\n\r\n")
        assert b"topsecret" not in message.raw

    def test_a_body_is_not_searched_for_them(self):
        wire = post(b"\r\nAuthorization: Bearer x\r\n", b"Authorization: Bearer y")
        assert read(wire)[0].raw.endswith(b"\r\nAuthorization: Bearer x\r\n")


def statuses(wire: bytes) -> list[int]:
    """The responses in `wire`, read by h11's other side."""
    found = []
    while wire:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        client.send(h11.EndOfMessage())
        client.receive_data(wire)
        event = client.next_event()
        while not isinstance(event, h11.EndOfMessage):
            assert event is not h11.NEED_DATA, wire
            if isinstance(event, h11.Response | h11.InformationalResponse):
                found.append(event.status_code)
            event = client.next_event()
        wire = client.trailing_data[0]
    return found


class TestAnswers:
    @given(
        st.lists(st.sampled_from([(b"id=1", 200), (b"lat=1", 400), (b"id=1&lat=91&lon=0", 400)]))
    )
    def test_come_in_the_order_of_the_requests(self, said):
        subject = decoder("osmand")
        wire = b"".join(b"GET /?%s HTTP/1.1\r\nHost: x\r\n\r\n" % query for query, _ in said)
        events = subject.feed(wire, NOW)
        answers = b"".join(subject.reply_to(event, accepted=True, now=NOW) for event in events)
        assert statuses(answers) == [status for _, status in said]

    @given(cut())
    def test_every_request_has_one_and_a_refusal_by_storage_is_never_a_success(self, wires):
        subject = decoder("owntracks")
        events = [event for piece in wires[1] for event in subject.feed(piece, NOW)]
        for event in events:
            yes = subject.reply_to(event, accepted=True, now=NOW)
            assert yes.startswith(b"HTTP/1.1 100 ") or len(statuses(yes)) == 1
            no = subject.reply_to(event, accepted=False, now=NOW)
            assert statuses(no) == [503]
            assert b"\r\nRetry-After: " in no

    def test_a_head_without_its_end_is_completed(self):
        whole = b"GET /?id=1 HTTP/1.1\r\nHost: x\r\n\r\n"
        for message in (whole, whole[:-2], whole[:-4]):
            assert complete(message) == whole
        assert complete(b'{"_type":') == b'{"_type":'
        assert complete(post(b"\n")) == post(b"\n")


@contextlib.asynccontextmanager
async def served(protocol):
    """The decoder on a real port, answering as the session does: in order, then closing."""
    events = []

    async def talk(reader, writer):
        subject = decoder(protocol)
        while not subject.finished and (data := await reader.read(65536)):
            for event in subject.feed(data, NOW):
                events.append(event)
                await asyncio.sleep(0)
                writer.write(subject.reply_to(event, accepted=True, now=NOW))
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1], events


class TestRealClients:
    async def test_the_standard_librarys(self):
        def talk(port):
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            said = []
            for number in range(3):
                client.request("GET", f"/?id={number}&lat=1&lon=2")
                answer = client.getresponse()
                said.append((answer.status, answer.read(), client.sock is not None))
            parts = [b'{"device_id":"c","location":', b'{"coords":{"latitude":1,"longitude":2}}}']
            client.request("POST", "/", body=iter(parts), encode_chunked=True)
            said.append((client.getresponse().status, b"", client.sock is not None))
            client.close()
            return said

        async with served("osmand") as (port, events):
            assert await asyncio.to_thread(talk, port) == [(200, b"", True)] * 4
            assert [event.device.ident for event in events] == ["0", "1", "2", "c"]
            assert all(isinstance(event, Report) for event in events)

    @pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
    async def test_curl_that_waits_to_be_told_to_go_on(self):
        async with served("owntracks") as (port, events):
            process = await asyncio.create_subprocess_exec(
                "curl", "-sS", "--max-time", "20", "--expect100-timeout", "15",
                "-H", "Expect: 100-continue", "-u", "jane:secret",
                "-d", '{"_type":"location","lat":1,"lon":2,"tst":1736161169}',
                f"http://127.0.0.1:{port}/pub", stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, _ = await process.communicate()
            assert (process.returncode, out) == (0, b"[]")
            asked, event = events
            assert isinstance(asked, Heartbeat)
            assert event.device.ident == "jane"
            assert b"amFuZTpzZWNyZXQ" not in asked.raw + event.raw
