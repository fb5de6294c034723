"""Opening a port as a technician means it, and reading what is there."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import serial

from gateway.errors import StartError

try:
    from termios import error as termios_error
except ImportError:  # another platform, whose ports fail otherwise
    LOST: tuple[type[Exception], ...] = (serial.SerialException, OSError)
else:
    LOST = (serial.SerialException, OSError, termios_error)

NOT_OPENED: tuple[type[Exception], ...] = (*LOST, ValueError)

READ_BYTES = 4096
DEFAULT_BAUD = 9600


def open_port(path: str, baud: int, *, timeout_s: float = 0.1) -> serial.Serial:
    """The port, for us alone. Raises StartError with what to do about it."""
    with opening(path):
        return serial.Serial(path, baud, timeout=timeout_s, exclusive=True)


@contextmanager
def opening(path: str) -> Iterator[None]:
    """Whatever opens the port within fails with a StartError that says what to do about it."""
    try:
        yield
    except NOT_OPENED as error:
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


@contextmanager
def using(port: serial.Serial) -> Iterator[None]:
    """Whatever is done with an open port within: StartError when the port goes away."""
    try:
        yield
    except LOST as error:
        raise StartError(f"{port.port} went away: {error}") from error


def chunks(port: serial.Serial, seconds: float | None = None) -> Iterator[bytes]:
    """What arrives, as it arrives; b"" when a read's timeout passes without any.

    Raises StartError when the port goes away.
    """
    end = None if seconds is None else monotonic() + seconds
    while end is None or monotonic() < end:
        with using(port):
            data = port.read(max(1, min(port.in_waiting, READ_BYTES)))
        yield data
