"""`truetrack serial probe`: which speed, which talkers, which receiver."""

import re
from collections import Counter
from time import monotonic
from typing import Any

import click

from cli.output import Output, output_options
from cli.serial.feeds import BAUDS, DWELL_S
from cli.serial.port import chunks, open_port, using
from cli.serial.tally import Tally

CLAIM_SENTENCES = 5  # more than the monitor asks for: a probe is to be sure
SETTLED_S = 3.0  # at the right speed, long enough to tell rates

TALKERS = {
    "GP": "GPS", "GN": "several systems", "GL": "GLONASS", "GA": "Galileo", "GB": "BeiDou",
    "BD": "BeiDou", "GQ": "QZSS", "QZ": "QZSS", "GI": "NavIC", "II": "instrument",
    "IN": "integrated navigation", "HC": "compass", "SD": "sounder", "WI": "weather", "AI": "AIS",
}  # fmt: skip

# A maker gives himself away by his own sentences, by a TXT sentence or by his binary protocol.
# The first that matches names the receiver.
MAKERS: tuple[tuple[str, str], ...] = (
    (r"PUBX|TXT,.*u-?blox", "u-blox"),
    (r"PQTM", "Quectel"),
    (r"PAIR", "Airoha (AG33xx)"),
    (r"PMTK", "MediaTek (MT33xx)"),
    (r"PSTM", "STMicroelectronics Teseo"),
    (r"PSTI|SkyTraq", "SkyTraq"),
    (r"PSRF|PSRFTXT|SiRF", "SiRF"),
    (r"PCAS|CASIC|TXT,.*(IC=AT|CASIC)", "CASIC (AT66xx)"),
    (r"PGRM", "Garmin"),
    (r"PMGN", "Magellan"),
    (r"PASH", "Ashtech"),
    (r"PTNL|TSIP", "Trimble"),
    (r"PFEC|PERD|PERC", "Furuno"),
    (r"PSAT", "Hemisphere"),
    (r"PGLOR", "Broadcom"),
    (r"PNVG|PNVS|PORZ", "NVS"),
    (r"NovAtel", "NovAtel"),
    (r"Allystar", "Allystar"),
    (r"UBX", "u-blox"),
)


@click.command(name="probe")
@click.argument("port")
@click.option("--baud", type=int, help="Try only this speed.")
@click.option("--dwell", default=DWELL_S, show_default=True, help="Seconds at each speed.")
@output_options
def command(port: str, *, baud: int | None, dwell: float, output: Output) -> int:
    """Find out a port's speed, its talkers and who made the receiver.

    Tries the usual speeds until sentences with right checksums come, then listens for some
    seconds. Nothing is sent to the receiver. Exit code 1 when no sentence was heard.

    \b
    Example:
      truetrack serial probe /dev/ttyUSB0
    """  # noqa: D301
    best: tuple[int, Tally] | None = None
    for speed in [baud] if baud else BAUDS:
        if not output.as_json:
            output.note(f"{speed} baud ...")
        tally = listen(port, speed, dwell)
        if tally.valid >= CLAIM_SENTENCES or (tally.valid and baud):
            output.table([found(port, speed, tally)], list(COLUMNS))
            return 0
        if tally.binary and (best is None or tally.binary.total() > best[1].binary.total()):
            best = speed, tally
    if best is not None:
        output.table([found(port, *best)], list(COLUMNS))
        output.note("no NMEA sentences; the receiver seems to speak a binary protocol")
    else:
        output.note(
            f"truetrack: {port}: nothing understood at any speed; wiring, power, TX and RX?"
        )
    return 1


COLUMNS = ("port", "baud", "receiver", "talkers", "rates", "binary", "errors")


def listen(path: str, baud: int, dwell_s: float) -> Tally:
    """What passes by at one speed; longer when it makes sense."""
    tally = Tally()
    with open_port(path, baud) as port:
        with using(port):
            port.reset_input_buffer()
        began = monotonic()
        for data in chunks(port, dwell_s + SETTLED_S):
            tally.feed(data, monotonic())
            if monotonic() - began > dwell_s and tally.valid < CLAIM_SENTENCES:
                break
    return tally


def found(port: str, baud: int, tally: Tally) -> dict[str, Any]:
    rates = tally.rates(monotonic())
    return {
        "port": port,
        "baud": baud,
        "receiver": receiver(tally),
        "talkers": talkers(tally),
        "rates": {address: round(rate, 1) for address, rate in rates.items()},
        "binary": dict(tally.binary),
        "errors": dict(tally.faults),
    }


def talkers(tally: Tally) -> dict[str, str]:
    """The talkers heard, and what their letters mean."""
    heard = Counter(name[:2] for name in tally.types.elements() if not name.startswith("P"))
    return {letters: TALKERS.get(letters, "?") for letters, _ in heard.most_common()}


def receiver(tally: Tally) -> str | None:
    """Who made it, as far as its sentences tell."""
    signs = "\n".join([*tally.types, *tally.latest.values(), *tally.binary])
    for pattern, maker in MAKERS:
        if re.search(pattern, signs, re.IGNORECASE):
            return maker
    return None
