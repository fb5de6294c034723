"""Opening a port as a technician means it, and reading what is there."""

from collections.abc import Iterator
from time import monotonic

import serial

from gateway.errors import StartError

READ_BYTES = 4096
DEFAULT_BAUD = 9600


def open_port(path: str, baud: int, *, timeout_s: float = 0.1) -> serial.Serial:
    """The port, for us alone. Raises StartError with what to do about it."""
    try:
        return serial.Serial(path, baud, timeout=timeout_s, exclusive=True)
    except (serial.SerialException, OSError, ValueError) as error:
        raise StartError(f"cannot open {path}: {_advice(error)}") from error


def _advice(error: BaseException) -> str:
    text = str(error)
    if "Permission denied" in text:
        return "permission denied; add yourself to the group of the port (often dialout)"
    if "exclusively lock" in text or "busy" in text:
        return "another program holds it (a running gateway, gpsd, ModemManager?)"
    if "No such file" in text:
        return "there is no such port; `truetrack serial list` shows what there is"
    return text


def chunks(port: serial.Serial, seconds: float | None = None) -> Iterator[bytes]:
    """What arrives, as it arrives; b"" when a read's timeout passes without any.

    Raises StartError when the port goes away.
    """
    end = None if seconds is None else monotonic() + seconds
    while end is None or monotonic() < end:
        try:
            yield port.read(max(1, min(port.in_waiting, READ_BYTES)))
        except (serial.SerialException, OSError) as error:
            raise StartError(f"{port.port} went away: {error}") from error
