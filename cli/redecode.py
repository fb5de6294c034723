"""`truetrack redecode`: history, read again by the decoders of today."""

import asyncio
import sys
from collections import Counter, OrderedDict
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import click

import protocols
from cli.database import Database, database_options
from cli.decode import UtcTime
from cli.devices import records
from cli.output import Output, output_options
from gateway.datum import event_to_wgs84
from gateway.directory import profile_from
from model import Event
from model.codec import KINDS
from protocols.base import Checksum, Decoder, DeviceProfile, ProtocolError

if TYPE_CHECKING:  # `--help` need not load a database driver
    from storage.archive import ArchivedFrame
    from storage.register import Register

BATCH = 1000  # frames a transaction
NAMES = {record: name for name, record in KINDS.items()}
MAX_DECODERS = 10_000  # conversations that are followed at once


@click.command(name="redecode")
@click.option("--device", "ident", metavar="IDENT", help="Only frames of this device.")
@click.option("--protocol", help="Where devices of two protocols share the number.")
@click.option("--source", help="Only frames that came in by this source.")
@click.option("--since", type=UtcTime(), help="Only frames that arrived then or later.")
@click.option("--until", type=UtcTime(), help="Only frames that arrived before.")
@click.option("--rejected", is_flag=True, help="Only frames that nobody could read then.")
@click.option("--dry-run", is_flag=True, help="Say what frames are now and change nothing.")
@database_options
@output_options
def command(
    ident: str | None,
    protocol: str | None,
    *,
    source: str | None,
    since: datetime | None,
    until: datetime | None,
    rejected: bool,
    dry_run: bool,
    database: Database,
    output: Output,
) -> None:
    """Read archived frames again with today's decoders.

    What they say now is stored beside the frame they came from. A position that is not read any
    more goes to the quarantine with the reason. Doing it again changes nothing. Devices are read
    by their own settings, else by those of their source in --config.

    \b
    Example:
      truetrack redecode --rejected --dry-run
      truetrack redecode --device 863300000000001 --since 2026-01-01
    """  # noqa: D301
    if protocol is not None and ident is None:
        raise click.UsageError("--protocol goes with --device")
    with database.ready() as opened, records.entered(opened) as register:
        device = None if ident is None else records.one(register, ident, protocol)
        asked = {"device": device, "source": source, "since": since, "until": until}
        reader = Reader(register, _profiles(database))
        work = _redecode(opened.url, reader, asked, rejected=rejected, dry_run=dry_run)
        asyncio.run(work)
    _report(reader.result, output, dry_run=dry_run)


WRONG_CHECKSUM = "wrong checksum"


@dataclass(slots=True)
class Result:
    frames: int = 0
    positions: int = 0  # new
    superseded: int = 0  # old ones, quarantined
    kinds: Counter[tuple[str, str]] = field(default_factory=Counter)  # (then, now)
    unread: Counter[str] = field(default_factory=Counter)  # left as they were, by reason


class Reader:
    """Decoders that hear each conversation again, in order."""

    def __init__(self, register: "Register", profiles: dict[str, DeviceProfile]) -> None:
        self.result = Result()
        self._register = register
        self._profiles = profiles
        self._decoders: OrderedDict[tuple[Any, str], Decoder] = OrderedDict()
        self._version = version("truetrack")

    def read(self, frame: "ArchivedFrame") -> tuple["ArchivedFrame", list[Event], str] | None:
        """The frame, its device looked up if it had none, with its events; None: let it be."""
        protocol = frame.decoder.partition("/")[0]
        profile = self._profile(frame)
        if frame.reason == WRONG_CHECKSUM and profile.checksum is not Checksum.IGNORE:
            # Its neighbours showed that it was damaged; alone it could pass for a dialect.
            self.result.unread[WRONG_CHECKSUM] += 1
            return None
        try:
            decoder = self._decoder(frame, protocol, profile)
            events = decoder.feed(frame.raw, frame.received_at)
            events = [*events, *decoder.flush(frame.received_at)]
        except (protocols.UnknownProtocol, ProtocolError) as error:
            self._decoders.pop((frame.contact.id, protocol), None)
            self.result.unread[str(error)] += 1
            return None
        if decoder.pending:  # half a frame must not become the next one's beginning
            self._decoders.pop((frame.contact.id, protocol), None)
        if not events:
            self.result.unread["nothing in it for today's decoder"] += 1
            return None
        if frame.device is None:
            frame = replace(frame, device=self._known(events))
        return (
            frame,
            [event_to_wgs84(event, profile.datum) for event in events],
            f"{protocol}/{self._version}",
        )

    def _profile(self, frame: "ArchivedFrame") -> DeviceProfile:
        default = self._profiles.get(frame.contact.source, DeviceProfile())
        settings = frame.device.settings if frame.device else {}
        return profile_from(dict(settings), default)

    def _decoder(self, frame: "ArchivedFrame", protocol: str, profile: DeviceProfile) -> Decoder:
        """One a conversation, as it was when the frames came in."""
        key = (frame.contact.id, protocol)
        decoder = self._decoders.pop(key, None)
        if decoder is None:
            ident = frame.device.identity.ident if frame.device else None
            made: Decoder = protocols.load(protocol).Decoder(
                ident=ident, profile_of=lambda _ident: profile
            )
            decoder = made
        self._decoders[key] = decoder
        if len(self._decoders) > MAX_DECODERS:
            self._decoders.popitem(last=False)
        return decoder

    def _known(self, events: list[Event]) -> Any:
        """The device of a frame that was read without one, if it has been entered since."""
        from storage.register import NoSuchDevice  # noqa: PLC0415 - loads the driver

        for event in events:
            if event.device is not None:
                try:
                    return self._register.show(event.device).device
                except NoSuchDevice:
                    return None
        return None


async def _redecode(
    url: str, reader: Reader, asked: dict[str, Any], *, rejected: bool, dry_run: bool
) -> None:
    from storage.archive import Reread, archived, write_again  # noqa: PLC0415 - as above

    result = reader.result
    batch: list[Reread] = []

    async def write() -> None:
        if not dry_run:
            done = await write_again(url, batch)
            result.positions += done.positions
            result.superseded += done.superseded
        batch.clear()
        _progress(result)

    async for frame in archived(url, **asked):
        read = reader.read(frame)
        # The others are read too: a rejected frame may rest on what was said before it.
        if read is None or (rejected and frame.kind != "rejected"):
            continue
        again, events, decoder = read
        result.frames += 1
        result.kinds[frame.kind, NAMES[type(events[0])]] += 1
        batch.append(Reread(frame=again, events=events, decoder=decoder))
        if len(batch) == BATCH:
            await write()
    await write()


def _progress(result: Result) -> None:
    if sys.stderr.isatty():
        text = f"\r{result.frames:,} frames, {result.positions:,} new positions "
        click.echo(text, err=True, nl=False)


def _profiles(database: Database) -> dict[str, DeviceProfile]:
    sources = database.config.sources if database.config else {}
    return {name: source.profile for name, source in sources.items()}


def _report(result: Result, output: Output, *, dry_run: bool) -> None:
    if sys.stderr.isatty():
        click.echo(err=True)
    changed = {
        f"{then} -> {now}": count
        for (then, now), count in sorted(result.kinds.items())
        if then != now
    }
    said = {
        "frames": result.frames,
        "positions": None if dry_run else result.positions,
        "superseded": None if dry_run else result.superseded,
        "changed": changed,
        "unread": dict(result.unread),
    }
    if output.as_json:
        output.line(said)
        return
    output.text(f"{result.frames:,} frames read")
    if not dry_run:
        output.text(f"{result.positions:,} new positions")
        output.text(f"{result.superseded:,} old positions superseded, now in quarantine")
    for what, count in [*changed.items(), *result.unread.items()]:
        output.text(f"{count:,} frames: {what}")
