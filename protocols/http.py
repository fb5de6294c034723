"""HTTP requests cut out of a byte stream: what the phone protocols share. Not a protocol itself.

    POST /path?query HTTP/1.1 CRLF
    Name: value CRLF ...
    CRLF
    [body: Content-Length octets, or chunked]

h11 reads every head and every chunk; nothing is guessed. Requests that were sent without waiting
for an answer are all read at once, each with an h11 connection of its own: the session answers
events in order, so the answers come in the order of the requests. An answer is made from the
event alone, since the archived frame says all that it depends on.

A head with `Expect: 100-continue` asks a question and is owed an answer, so it is a frame of its
own (`Announcement`). Whatever cannot be served is a `Refusal`, after which the link is closed:
the frame is archived and the peer told why. The secrets of `Authorization` headers are kept out
of the archive; of Basic authentication the user's name stays, which is an identity.

[9110] RFC 9110, HTTP semantics    [9112] RFC 9112, HTTP/1.1
"""

import re
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote_plus

import h11

from model import Event, Heartbeat, Rejected

MAX_HEAD_BYTES = 16_384
MAX_KEPT_BYTES = 4096  # of what is refused
PIECE_BYTES = 4096  # of a chunked body at a time, so that many small ones cost no more than one
RETRY_AFTER_S = 30

METHODS = {"GET", "POST"}
HEAD_END = re.compile(rb"\n\r?\n")
NOT_IN_TARGET = re.compile(rb"[^\x21-\x7e]")
# With its folded lines, [9112] 5.2.
AUTHORIZATION = re.compile(rb"(?im)^((?:proxy-)?authorization:)([^\r\n]*(?:\r?\n[ \t][^\r\n]*)*)")
EXPECTS = re.compile(rb"(?im)^expect:[ \t]*100-continue")
HAS_BODY = re.compile(rb"(?im)^(?:content-length:[ \t]*0*[1-9]|transfer-encoding:)")
STATUS = re.compile(r"HTTP (\d{3}): ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One whole request. `headers` has lower-case names; `body` is free of its codings."""

    raw: bytes
    method: str
    query: str  # of the target, still escaped
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A head whose sender waits for `100 Continue` before it sends the body."""

    raw: bytes

    def event(self) -> Heartbeat:
        return Heartbeat(raw=self.raw, device=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why the stream cannot be served any further; `raw` is its beginning."""

    raw: bytes
    status: int
    reason: str

    def event(self) -> Rejected:
        return Rejected(raw=self.raw, device=None, reason=f"HTTP {self.status}: {self.reason}")


Message = Request | Announcement | Refusal


class _Refused(Exception):
    def __init__(self, status: int, reason: str) -> None:
        self.status, self.reason = status, reason


@dataclass(slots=True)
class _Open:
    """A request whose head is read and whose body is still coming."""

    head_bytes: int
    method: str
    query: str
    headers: Mapping[bytes, bytes]
    connection: h11.Connection
    length: int | None  # None: chunked
    announce: bool
    taken: int  # bytes of the buffer that the connection was given
    body: bytearray


class Requests:
    """The requests of one link. `feed` never raises."""

    def __init__(self, *, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._buffer = bytearray()
        self._scanned = 0
        self._open: _Open | None = None
        self.finished = False

    @property
    def pending(self) -> bool:
        return bool(self._buffer)

    def feed(self, data: bytes) -> list[Message]:
        if self.finished:  # [9112] 9.6: what follows a close is not looked at
            return []
        self._buffer += data
        return list(self._messages())

    def drop(self) -> bytes:
        """Forget an unfinished request; returns its beginning."""
        cut = _without_secrets(bytes(self._buffer[:MAX_KEPT_BYTES]))
        self._buffer.clear()
        self._scanned, self._open = 0, None
        return cut

    def _messages(self) -> Iterator[Message]:
        try:
            while not self.finished and (message := self._next()) is not None:
                yield message
        except _Refused as refused:
            self.finished = True
            yield Refusal(raw=self.drop(), status=refused.status, reason=refused.reason)

    def _next(self) -> Message | None:
        if self._open is None and not self._read_head():
            return None
        request = self._open
        assert request is not None
        if request.announce:
            request.announce = False
            return Announcement(raw=_without_secrets(bytes(self._buffer[: request.head_bytes])))
        end = self._end_of_body(request)
        if end is None:
            return None
        raw = bytes(self._buffer[:end])
        body = raw[request.head_bytes :] if request.length is not None else bytes(request.body)
        if b"authorization" in request.headers:
            raw = _without_secrets(raw)
        message = Request(
            raw=raw,
            method=request.method,
            query=request.query,
            headers=request.headers,
            body=self._decoded(body, request.headers.get(b"content-encoding", b"")),
        )
        del self._buffer[:end]
        self._scanned, self._open = 0, None
        if _closes(raw):
            self.finished = True
            self._buffer.clear()
        return message

    def _read_head(self) -> bool:
        """Open a request if its head is whole."""
        buffer = self._buffer
        if buffer.startswith((b"\r", b"\n")):  # [9112] 2.2: empty lines before it are nothing
            del buffer[: len(buffer) - len(buffer.lstrip(b"\r\n"))]
            self._scanned = 0
        if not buffer:
            return False
        found = HEAD_END.search(buffer, self._scanned)
        line_end = buffer.find(b"\n", 0, MAX_HEAD_BYTES)
        line = _request_line(bytes(buffer[:line_end])) if line_end >= 0 else None
        # Other protocols at this port, TLS for one, are told so at once.
        if line is None and (line_end >= 0 or not buffer[:1].isupper()):
            raise _Refused(400, "this is no HTTP/1 request")
        if (found.end() if found else len(buffer)) > MAX_HEAD_BYTES:
            raise _Refused(431, f"the head is over {MAX_HEAD_BYTES} bytes")
        if found is None or line is None:
            self._scanned = max(0, len(buffer) - 2)
            return False
        self._open = self._opened(line, bytes(buffer[line_end + 1 : found.end()]), found.end())
        return True

    def _opened(self, line: tuple[str, bytes, bytes], fields: bytes, end: int) -> _Open:
        method, target, version = line
        if method not in METHODS:
            raise _Refused(405, f"{method[:16]} is not served here")
        # [9112] 3.2 demands a Host, h11 too. Trackers with a hand-made request send none (SPEC-GAP),
        # and whom they meant is plain.
        if not fields.lower().startswith(b"host:") and b"\nhost:" not in fields.lower():
            fields = b"Host: -\r\n" + fields
        connection = h11.Connection(h11.SERVER)
        try:
            connection.receive_data(b"%s %s %s\r\n%s" % (method.encode(), target, version, fields))
            request = connection.next_event()
        except h11.RemoteProtocolError as error:
            raise _Refused(error.error_status_hint, str(error)) from error
        assert isinstance(request, h11.Request)  # the head is whole
        headers = dict(request.headers)
        length: int | None = int(headers.get(b"content-length", b"0"))
        if b"transfer-encoding" in headers:  # h11 lets none but chunked through
            length = None
        elif length is not None and length > self._max_body_bytes:
            raise _Refused(413, f"the body is over {self._max_body_bytes} bytes")
        expects = headers.get(b"expect", b"").lower() == b"100-continue"
        return _Open(
            head_bytes=end,
            method=method,
            query=target.partition(b"?")[2].decode("ascii"),
            headers=headers,
            connection=connection,
            length=length,
            # [9110] 10.1.1: not to HTTP/1.0, and not where no body follows.
            announce=expects and length != 0 and version == b"HTTP/1.1",
            taken=end,
            body=bytearray(),
        )

    def _end_of_body(self, request: _Open) -> int | None:
        """Where the request ends in the buffer, once it is whole."""
        if request.length is not None:
            end = request.head_bytes + request.length
            return end if len(self._buffer) >= end else None
        try:
            return self._end_of_chunks(request)
        except h11.RemoteProtocolError as error:
            raise _Refused(error.error_status_hint, str(error)) from error

    def _end_of_chunks(self, request: _Open) -> int | None:
        connection = request.connection
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Data):
                request.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                left, _ = connection.trailing_data
                return request.taken - len(left)
            elif request.taken == len(self._buffer):
                return None
            else:
                piece = bytes(self._buffer[request.taken : request.taken + PIECE_BYTES])
                connection.receive_data(piece)
                request.taken += len(piece)
            # Chunks of one octet, or with extensions, are longer on the wire than their data.
            wire = request.taken - request.head_bytes
            if len(request.body) > self._max_body_bytes or wire > 2 * self._max_body_bytes:
                raise _Refused(413, f"the body is over {self._max_body_bytes} bytes")

    def _decoded(self, body: bytes, coding: bytes) -> bytes:
        """The body without its content coding; it may not grow beyond the limit."""
        coding = coding.lower()
        if coding in (b"", b"identity") or not body:
            return body
        if coding not in (b"gzip", b"x-gzip", b"deflate"):
            raise _Refused(415, "the only content codings are gzip and deflate")
        inflater = zlib.decompressobj(wbits=47)  # 32 + 15: gzip or zlib, as the body says itself
        try:
            plain = inflater.decompress(body, self._max_body_bytes + 1)
        except zlib.error as error:
            raise _Refused(400, f"the compressed body is damaged: {error}") from error
        if len(plain) > self._max_body_bytes:
            raise _Refused(413, f"the body unpacks to over {self._max_body_bytes} bytes")
        if not inflater.eof or inflater.unused_data:
            raise _Refused(400, "the compressed body is not one whole stream")
        return plain


def reply(event: Event, *, accepted: bool, body: bytes = b"") -> bytes:
    """The response owed for `event`; `body` is the JSON of a success.

    Not accepted is 503, so that the sender keeps what it sent.
    """
    if not accepted:
        return _response(503, b"Retry-After: %d\r\nConnection: close\r\n" % RETRY_AFTER_S)
    if isinstance(event, Rejected):
        if found := STATUS.match(event.reason):  # a Refusal: the link ends with it
            status = int(found[1])
            allow = b"Allow: GET, POST\r\n" if status == 405 else b""
            return _response(status, allow + b"Connection: close\r\n")
        return _response(400, _persistence(event.raw))
    if isinstance(event, Heartbeat) and _is_announcement(event.raw):
        return b"HTTP/1.1 100 Continue\r\n\r\n"
    kind = b"Content-Type: application/json\r\n" if body else b""
    return _response(200, kind + _persistence(event.raw), body)


def is_refusal(event: Event) -> bool:
    return isinstance(event, Rejected) and STATUS.match(event.reason) is not None


def pairs(form: str) -> Iterator[tuple[str, str]]:
    """`name=value&...`, unescaped once; a name without a value is passed over."""
    for pair in form.split("&"):
        name, _, value = pair.partition("=")
        if "%" in pair or "+" in pair:
            name, value = unquote_plus(name), unquote_plus(value)
        value = value.strip()
        if name and value:
            yield name, value


def basic_user(headers: Mapping[bytes, bytes]) -> str | None:
    """The user's name of HTTP Basic authentication."""
    user = _user(headers.get(b"authorization", b""))
    return user.decode("utf-8", "replace") if user else None


def complete(message: bytes) -> bytes:
    """A request whose captured head lacks the empty line at its end."""
    if HEAD_END.search(message) or _request_line(message.partition(b"\n")[0]) is None:
        return message
    return message.rstrip(b"\r\n") + b"\r\n\r\n"


def _response(status: int, headers: bytes, body: bytes = b"") -> bytes:
    """Without a `Date`: no phone reads it, and answers stay the same octets for the same event."""
    return b"HTTP/1.1 %d %s\r\nContent-Length: %d\r\n%s\r\n%s" % (
        status,
        HTTPStatus(status).phrase.encode(),
        len(body),
        headers,
        body,
    )


def _request_line(line: bytes) -> tuple[str, bytes, bytes] | None:
    """Method, target, version ([9112] 3); None if it is none.

    SPEC-GAP: the target may hold blanks and octets beyond ASCII. Senders without a URL library
    exist, and mean what they say: it is escaped here, before h11 sees it.
    """
    method, _, rest = line.strip().partition(b" ")
    target, _, version = rest.rpartition(b" ")
    target = target.strip()
    if not (method.isalpha() and method.isupper() and target):
        return None
    if version not in (b"HTTP/1.0", b"HTTP/1.1"):
        return None
    if NOT_IN_TARGET.search(target):
        target = NOT_IN_TARGET.sub(lambda odd: b"%%%02X" % odd[0][0], target)
    return method.decode("ascii"), target, version


def _persistence(raw: bytes) -> bytes:
    return b"Connection: close\r\n" if _closes(raw) else b""


def _closes(raw: bytes) -> bool:
    """True if the link ends after the answer to this request ([9112] 9.3).

    HTTP/1.0 always does: its keep-alive was never standard, and h11 does not follow it either.
    """
    end = HEAD_END.search(raw)
    head = raw[: end.end() if end else len(raw)].lower()
    if head[: head.find(b"\n")].rstrip().endswith(b"http/1.0"):
        return True
    at = head.find(b"\nconnection:")
    return at >= 0 and b"close" in head[at : head.find(b"\n", at + 1)]


def _is_announcement(raw: bytes) -> bool:
    """A head whose body is to come: an event of a whole request has the body as well."""
    end = HEAD_END.search(raw)
    if end is None or end.end() != len(raw):
        return False
    return EXPECTS.search(raw) is not None and HAS_BODY.search(raw) is not None


def _without_secrets(raw: bytes) -> bytes:
    """The frame without passwords and tokens; its other octets are as they came."""
    end = HEAD_END.search(raw)
    head = raw[: end.end()] if end else raw
    return AUTHORIZATION.sub(_masked, head) + raw[len(head) :]


def _masked(header: re.Match[bytes]) -> bytes:
    user = _user(header[2])
    if user is None:
        return b"%s *" % header[1]
    return b"%s Basic %s" % (header[1], b64encode(user + b":"))


def _user(credentials: bytes) -> bytes | None:
    """RFC 7617: `Basic` and user:password in Base64."""
    words = credentials.split()
    if len(words) != 2 or words[0].lower() != b"basic":
        return None
    try:
        return b64decode(words[1]).partition(b":")[0]
    except ValueError:
        return None
