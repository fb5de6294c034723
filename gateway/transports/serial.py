"""Serial ports: a receiver on a cable that is pulled, renumbered, silent or at the wrong rate.

    absent -> open (exclusive) -> [hunt for the baud rate] -> session -> lost -> wait -> absent ...

* The device is followed, not the name: a port given as /dev/ttyUSB0 that has an alias under
  /dev/serial/by-id (or by-path) is reopened through that alias, wherever it now points.
* A port that says nothing for `stall_s` is reopened; some adapters fall silent without an error.
* Without a baud rate the port is opened at one rate after the other. A dwell is longer than two
  periods of a 1 Hz receiver, and only checksummed sentences count. What was heard at the rate
  that is claimed goes to the session, so a reopened port loses nothing to the hunt.
* The sender cannot be told to wait for a commit, so these links are spooled.

Documents: NMEA 0183 (IEC 61162-1) section 7 for the sentence and its checksum; 4800 baud is the
standard's rate, the others are those that receivers are sold with.
"""

import asyncio
import math
import operator
import os
import re
import termios
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from functools import reduce
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import serial_asyncio_fast

from gateway.link import Accept, LinkInfo, Receiver
from gateway.supervisor import Backoff, Report, keep
from model.device import Durability, IdentityStrength

RATES_BAUD = (4800, 9600, 19200, 38400, 57600, 115_200, 230_400, 460_800)
MAX_HEARD = 65_536  # bytes kept of one dwell: 2.8 s at 230,400 baud
SENTENCE = re.compile(rb"[$!]([^$!*\r\n]{5,250})\*([0-9A-Fa-f]{2})")
ALIASES = (Path("/dev/serial/by-id"), Path("/dev/serial/by-path"))
STALL_S = 30.0
MAX_IDENT = 64
MIN_TICK_S = 0.01

Claimed = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialSettings:
    path: str
    baud: int | None = None  # None: hunt for it
    ident: str
    stall_s: float | None = STALL_S  # None: a silent port is left alone
    dwell_s: float = 2.2
    claim_after: int = 3  # valid sentences that prove a rate


def settings_from(url: str) -> SerialSettings:
    """`serial:///dev/ttyUSB0?baud=9600&ident=boat&stall=30`; no baud: hunt; stall=0: never.

    Raises ValueError.
    """
    parts = urlsplit(url)
    if parts.scheme != "serial" or parts.netloc or not parts.path.startswith("/"):
        raise ValueError(f"{url}: expected serial:///dev/NAME?baud=9600")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := given.keys() - {"baud", "ident", "stall"}:
        raise ValueError(f"{url}: unknown {', '.join(sorted(unknown))}; known: baud, ident, stall")
    ident = given.get("ident", parts.path.rsplit("/", 1)[-1][-MAX_IDENT:])
    if not 0 < len(ident) <= MAX_IDENT or not ident.isprintable():
        raise ValueError(f"{url}: ident must be 1 to {MAX_IDENT} printable characters")
    stall_s = _number(url, given, "stall", 0.0)
    baud = _number(url, given, "baud", 50)
    if baud is not None and baud != int(baud):
        raise ValueError(f"{url}: baud must be a whole number")
    return SerialSettings(
        path=parts.path,
        baud=None if baud is None else int(baud),
        ident=ident,
        stall_s=STALL_S if stall_s is None else stall_s or None,
    )


def _number(url: str, given: dict[str, str], key: str, least: float) -> float | None:
    text = given.get(key)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not least <= number < math.inf:
        raise ValueError(f"{url}: {key} must be a number from {least:g}, not {text!r}")
    return number


# the hunt for a rate: pure, bytes and time come from outside


class Verdict(Enum):
    WAIT = auto()
    CLAIM = auto()  # this rate is the receiver's
    NEXT = auto()  # it is not


def count_valid(data: bytes) -> tuple[int, int]:
    """Checksummed sentences in `data`, and where the last of them ends."""
    valid = end = 0
    for match in SENTENCE.finditer(data):
        if reduce(operator.xor, match[1]) == int(match[2], 16):
            valid += 1
            end = match.end()
    return valid, end


class Hunt:
    """Which rate a receiver speaks."""

    def __init__(self, settings: SerialSettings, first_baud: int | None, now: float) -> None:
        rates = [rate for rate in RATES_BAUD if rate != first_baud]
        self._rates = rates if first_baud is None else [first_baud, *rates]
        self._settings = settings
        self._index = 0
        self._start(now)

    def _start(self, now: float) -> None:
        self._since = now
        self._valid = 0
        self._counted = 0
        self.heard = bytearray()  # at this rate

    @property
    def baud(self) -> int:
        return self._rates[self._index]

    def feed(self, data: bytes) -> Verdict:
        self.heard += data
        valid, end = count_valid(bytes(self.heard[self._counted :]))
        self._valid += valid
        self._counted += end
        if self._valid >= self._settings.claim_after:
            return Verdict.CLAIM
        excess = len(self.heard) - MAX_HEARD
        if excess > 0:  # so much at one rate without a proof: the newest may still hold it
            del self.heard[:excess]
            self._counted = max(0, self._counted - excess)
        return Verdict.WAIT

    def due(self) -> float:
        """When to judge. A receiver that has said one good thing gets time for the rest."""
        dwells = self._settings.claim_after if self._valid else 1
        return self._since + dwells * self._settings.dwell_s

    def judge(self, now: float) -> Verdict:
        """After silence; on NEXT `baud` is the rate to try now."""
        if now < self.due():
            return Verdict.WAIT
        self._index = (self._index + 1) % len(self._rates)
        self._start(now)
        return Verdict.NEXT


# the port


class Stalled(Exception):
    """The port is open but says nothing."""


class _Port(asyncio.Protocol):
    """One opening of a port: the loop's protocol and the session's `Link`."""

    def __init__(
        self, settings: SerialSettings, accept: Accept, hunt: Hunt | None, claimed: Claimed
    ) -> None:
        self.info = LinkInfo(
            transport="serial",
            peer=settings.path,
            network="",
            strength=IdentityStrength.NETWORK,
            durability=Durability.SPOOL,
            ident=settings.ident,
        )
        self._settings = settings
        self._accept = accept
        self._hunt = hunt
        self._claimed = claimed
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None  # the library is untyped
        self._receiver: Receiver | None = None
        self._last_heard = self._loop.time()
        self._paused = False
        self._stalled: Stalled | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.ended: asyncio.Future[Exception | None] = self._loop.create_future()

    # what the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._last_heard = self._loop.time()
        if self._hunt is None:
            self._receiver = self._accept(self)
        self._tick()

    def data_received(self, data: bytes) -> None:
        self._last_heard = self._loop.time()
        if self._receiver is not None:
            self._receiver.received(data)
        elif self._hunt is not None and self._hunt.feed(data) is Verdict.CLAIM:
            self._claimed(self._hunt.baud)
            heard, self._hunt = bytes(self._hunt.heard), None
            self._receiver = self._accept(self)
            self._receiver.received(heard)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        error = self._stalled or exc
        if self._receiver is not None:
            self._receiver.lost(error)
        if not self.ended.done():
            self.ended.set_result(error)

    # time

    def _tick(self) -> None:
        """Do what is due and sleep until the next thing is."""
        self._timer = None
        now = self._loop.time()
        due = []
        if self._hunt is not None:
            if self._hunt.judge(now) is Verdict.NEXT and not self._retune(self._hunt.baud):
                return
            due.append(self._hunt.due())
        if self._settings.stall_s is not None:
            quiet_since = now if self._paused else self._last_heard
            if now >= quiet_since + self._settings.stall_s:
                self._stalled = Stalled(f"silent for {self._settings.stall_s:g} s")
                self.abort()
                return
            due.append(quiet_since + self._settings.stall_s)
        if due:
            # Never at once: a clock that stands still must not make the loop spin.
            self._timer = self._loop.call_at(max(min(due), now + MIN_TICK_S), self._tick)

    def _retune(self, baud: int) -> bool:
        try:
            self._transport.serial.baudrate = baud
            self._transport.serial.reset_input_buffer()
        except (OSError, ValueError, termios.error):  # the port is gone, or cannot do this rate
            self.abort()
            return False
        return True

    # what the session calls

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def pause(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._last_heard = self._loop.time()  # it was we who did not listen
            self._transport.resume_reading()

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        """End it now. A transport that is closing already would choke on it once it has drained."""
        if not self._transport.is_closing() or self._transport.get_write_buffer_size():
            self._transport.abort()


def stable_path(path: str, aliases: tuple[Path, ...] = ALIASES) -> str:
    """The name that stays with the device behind `path`, or `path` where there is none."""
    if any(Path(path).is_relative_to(folder) for folder in aliases):
        return path
    device = os.path.realpath(path)
    for folder in aliases:
        for alias in sorted(folder.glob("*")):
            if os.path.realpath(alias) == device:
                return str(alias)
    return path


async def run(
    settings: SerialSettings,
    accept: Accept,
    *,
    report: Report,
    backoff: Backoff | None = None,
    aliases: tuple[Path, ...] = ALIASES,
) -> None:
    """Keep the port open, whatever happens to it, until cancelled."""
    name = f"serial {settings.path}"
    alias: str | None = None
    known_baud: int | None = None

    def claimed(baud: int) -> None:
        nonlocal known_baud
        if baud != known_baud:
            report(f"{name}: NMEA at {baud} baud")
        known_baud = baud

    def device() -> str:
        nonlocal alias
        if alias is None and Path(settings.path).exists():
            alias = stable_path(settings.path, aliases)
            if alias != settings.path:
                report(f"{name}: followed as {alias}")
        return os.path.realpath(alias or settings.path)

    async def once() -> None:
        loop = asyncio.get_running_loop()
        hunt = None if settings.baud else Hunt(settings, known_baud, loop.time())
        baud = hunt.baud if hunt is not None else settings.baud
        port = _Port(settings, accept, hunt, claimed)
        await serial_asyncio_fast.create_serial_connection(
            loop, lambda: port, device(), baudrate=baud, exclusive=True
        )
        try:
            error = await asyncio.shield(port.ended)
        finally:
            # Reopening, or another program, must not meet a port that is still closing.
            port.abort()
            with suppress(asyncio.CancelledError):
                await asyncio.shield(port.ended)
        if error is not None:
            raise error

    await keep(once, name=name, report=report, backoff=backoff or Backoff(longest_s=5.0))
