"""`truetrack decode`: a protocol's decoder, alone, on bytes from a file or a pipe."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import ModuleType
from typing import Any, BinaryIO

import click

import protocols
from cli.output import Output, output_options
from gateway.clock import system_clock
from gateway.datum import event_to_wgs84
from model import Event
from model.codec import to_json
from protocols.base import Checksum, Datum, Decoder, DeviceProfile, ProtocolError, SpeedUnit

CHUNK_BYTES = 65_536
WIDTHS = {
    "line": 5, "kind": 14, "device": 16, "time": 24, "valid": 5, "latitude_deg": 12,
    "longitude_deg": 12, "speed_mps": 9, "course_deg": 10, "satellites": 10, "what": 0,
}  # fmt: skip


class UtcTime(click.ParamType[datetime]):
    """ISO 8601; without an offset it is UTC."""

    name = "TIME"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time like 2026-01-02T03:04:05Z", param, ctx)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


class Session:
    """A decoder as a device would meet it, with what the options say of that device."""

    def __init__(
        self,
        module: ModuleType,
        ident: str | None,
        profile: DeviceProfile,
        now: datetime | None,
        *,
        reply: bool = True,
    ) -> None:
        self._module = module
        self._ident = ident
        self._profile = profile
        self._now = now
        self._reply = reply
        self.decoder = self._fresh()

    def _fresh(self) -> Decoder:
        decoder: Decoder = self._module.Decoder(
            ident=self._ident, profile_of=lambda _ident: self._profile
        )
        return decoder

    def renew(self) -> None:
        """The next bytes come from a device that has said nothing yet."""
        self.decoder = self._fresh()

    def now(self) -> datetime:
        return self._now or system_clock()

    def feed(self, data: bytes) -> list[Event]:
        return self._in_wgs84(self.decoder.feed(data, self.now()))

    def flush(self) -> list[Event]:
        return self._in_wgs84(self.decoder.flush(self.now()))

    def reply_to(self, event: Event) -> bytes:
        if not self._reply:
            return b""
        return self.decoder.reply_to(event, accepted=True, now=self.now())

    def _in_wgs84(self, events: list[Event]) -> list[Event]:
        return [event_to_wgs84(event, self._profile.datum) for event in events]


@click.command(name="decode")
@click.argument("protocol")
@click.argument("file", type=click.File("rb"), default="-")
@click.option("--hex-lines", is_flag=True, help="One whole message in hex a line.")
@click.option("--device", metavar="ID", help="The identity that a login would have given.")
@click.option("--reply", is_flag=True, help="Show the bytes that the device would be sent.")
@click.option("--now", type=UtcTime(), help="The clock given to the decoder. Default: now.")
@click.option("--model", help="The device's model, where dialects differ.")
@click.option(
    "--datum",
    type=click.Choice(list(Datum), case_sensitive=False),
    default=Datum.WGS84,
    help="What the device's coordinates are in; shown as WGS-84.",
)
@click.option(
    "--checksum",
    type=click.Choice(list(Checksum), case_sensitive=False),
    default=Checksum.ACCEPT_MISSING,
    help="What to make of optional checksums.",
)
@click.option(
    "--speed-unit",
    type=click.Choice(list(SpeedUnit), case_sensitive=False),
    default=SpeedUnit.KNOTS,
    help="The unit of speeds that the protocol leaves open.",
)
@click.option("--secret", help="The key of encrypted payloads.")
@click.option("--explain", is_flag=True, help="NMEA 0183: name every field of every sentence.")
@output_options
def command(
    protocol: str,
    file: BinaryIO,
    *,
    hex_lines: bool,
    device: str | None,
    reply: bool,
    now: datetime | None,
    model: str | None,
    datum: Datum,
    checksum: Checksum,
    speed_unit: SpeedUnit,
    secret: str | None,
    explain: bool,
    output: Output,
) -> int:
    """Show what a protocol's decoder makes of a capture.

    FILE (or stdin) is read as one device's stream. With --hex-lines each line is one whole
    message for a decoder that has heard nothing before; a missing end mark is supplied, empty
    lines and lines that begin with # are passed over.

    \b
    Example:
      truetrack decode h02 capture.bin
      truetrack decode gt06 --hex-lines messages.txt --device 863300000000001 --reply
    """  # noqa: D301
    module = protocols.load(protocol)
    if explain and protocol != "nmea0183":
        raise click.UsageError("--explain knows the sentences of nmea0183 only")
    profile = DeviceProfile(
        model=model, datum=datum, checksum=checksum, speed_unit=speed_unit, secret=secret
    )
    session = Session(module, device, profile, now, reply=reply)
    put = _printer(output, explain=explain)
    if hex_lines:
        complete = getattr(module, "complete", bytes)
        return _decode_lines(session, file, complete, put, output)
    return _decode_stream(session, file, put, output)


Put = Callable[[dict[str, Any]], None]


def _decode_stream(session: Session, file: BinaryIO, put: Put, output: Output) -> int:
    number = 0
    try:
        for events in _stream(session, file):
            for event in events:
                number += 1
                put(contract(number, event, session.reply_to(event)))
            output.flush()
    except ProtocolError as error:
        put(_failure(number + 1, b"", str(error)))
        output.flush()
        raise ProtocolError(f"after {number} frames: {error}") from error
    return 0


def _stream(session: Session, file: BinaryIO) -> Iterator[list[Event]]:
    # read1 returns what a pipe has, so that a live capture is shown as it comes.
    read = getattr(file, "read1", file.read)
    while data := read(CHUNK_BYTES):
        yield session.feed(data)
    yield session.flush()


def _decode_lines(
    session: Session, file: BinaryIO, complete: Callable[[bytes], bytes], put: Put, output: Output
) -> int:
    code = 0
    for number, message in hex_messages(file):
        if isinstance(message, ValueError):
            output.flush()
            output.note(f"truetrack: line {number}: not hex: {message}")
            code = 1
            continue
        for record in _decode_message(session, complete(message), number):
            put(record)
    return code


def hex_messages(file: BinaryIO) -> Iterator[tuple[int, bytes | ValueError]]:
    """Each line's number and bytes; empty lines and lines that begin with # are passed over."""
    for number, line in enumerate(file, 1):
        text = line.decode("utf-8", "replace").strip()
        if not text or text.startswith("#"):
            continue
        try:
            yield number, bytes.fromhex(text)
        except ValueError as error:
            yield number, error


def _decode_message(session: Session, message: bytes, number: int) -> Iterator[dict[str, Any]]:
    session.renew()
    try:
        events = session.feed(message)
        waits = session.decoder.pending
        events += session.flush()
    except ProtocolError as error:
        yield _failure(number, message, str(error))
        return
    for event in events:
        yield contract(number, event, session.reply_to(event))
    if not events:
        reason = "the message is not complete" if waits else "no frame in these bytes"
        yield _failure(number, message, reason)


def _failure(number: int, message: bytes, reason: str) -> dict[str, Any]:
    """Bytes of which the decoder made no event: said, not passed over."""
    return {
        "line": number,
        "kind": "error",
        "device": None,
        "raw": message.hex(),
        "fixes": [],
        "alarms": [],
        "reason": reason,
        "reply": None,
    }


def _printer(output: Output, *, explain: bool) -> Put:
    row = None if output.as_json else output.stream(WIDTHS)

    def put(record: dict[str, Any]) -> None:
        sentences: list[dict[str, Any]] = []
        if explain:
            from cli.explain import explained, in_words  # noqa: PLC0415 - loads pynmea2

            sentences = explained(bytes.fromhex(record["raw"]))
        if row is None:
            output.line({**record, "explain": sentences} if explain else record)
            return
        for line in readable(record):
            row(line)
        for sentence in sentences:
            output.text(in_words(sentence))

    return put


def contract(number: int, event: Event, reply: bytes) -> dict[str, Any]:
    """The object that scripts rely on: these keys always, a record's other fields behind them."""
    said = to_json(event)
    for fix in said.get("fixes", ()):
        fix["time"] = milliseconds(fix["time"])
    if said.get("time"):
        said["time"] = milliseconds(said["time"])
    return {
        "line": number,
        "kind": said.pop("kind"),
        "device": said.pop("device"),
        "raw": said.pop("raw"),
        "fixes": said.pop("fixes", []),
        "alarms": said.pop("alarms", []),
        "reason": said.pop("reason", None),
        "reply": reply.hex() or None,
        **said,
    }


def milliseconds(time: str) -> str:
    """`...05.000999Z` as `...05.000Z`: cut, not rounded, so that no fix moves to the next day."""
    return time[:-4] + "Z"


def readable(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The lines of one event on a terminal: one a fix, and what else it said."""
    fixes = record["fixes"] or [{"time": record.get("time")}]
    shared = ("telemetry", "text", "reason", "alarms", "reply")
    for index, fix in enumerate(fixes):
        what = [fix.get("telemetry")]
        if index == 0:
            what += [
                {name: record[name]} if name == "reply" else record[name]
                for name in shared
                if record.get(name)
            ]
        yield {**record, **fix, "what": [part for part in what if part]}
