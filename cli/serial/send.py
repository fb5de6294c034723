"""`truetrack serial send`: one sentence to a receiver, and what it answers."""

from time import monotonic

import click

from cli.output import Output, output_options
from cli.serial.port import DEFAULT_BAUD, chunks, open_port, using
from cli.serial.tally import Tally, with_checksum


class Sentence(click.ParamType[str]):
    """A sentence with or without its start and checksum."""

    name = "SENTENCE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return with_checksum(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(name="send")
@click.argument("port")
@click.argument("sentence", type=Sentence())
@click.option("--baud", default=DEFAULT_BAUD, show_default=True, help="The port's speed.")
@click.option("--wait", "wait_s", default=2.0, show_default=True, help="Seconds to listen.")
@click.option("--expect", metavar="TYPE", help="Leave at a sentence that begins so; else exit 1.")
@click.option("--all", "show_all", is_flag=True, help="Show the periodic sentences too.")
@output_options
def command(
    port: str,
    sentence: str,
    *,
    baud: int,
    wait_s: float,
    expect: str | None,
    show_all: bool,
    output: Output,
) -> int:
    """Send a sentence with its checksum and show what is answered.

    `$`, the checksum and the line end are added where they are missing. Shown are sentences of
    the maker's own (`$P...`) and texts; with --all everything.

    \b
    Example:
      truetrack serial send /dev/ttyUSB0 PMTK605 --expect PMTK705
      truetrack serial send /dev/ttyUSB0 'PUBX,00' --baud 38400
    """  # noqa: D301
    with open_port(port, baud) as opened:
        with using(opened):
            opened.reset_input_buffer()
            opened.write(sentence.encode() + b"\r\n")
            opened.flush()
        output.text(f">>> {sentence}", sent=sentence)
        output.flush()
        tally = Tally()
        for data in chunks(opened, wait_s):
            if data:
                tally.feed(data, monotonic())
            else:
                tally.flush(monotonic())
            while tally.lines:
                line = tally.lines.popleft()
                expected = expect is not None and line[1:].startswith(expect.lstrip("$"))
                if show_all or expected or is_answer(line):
                    output.text(f"<<< {line}", received=line)
                    output.flush()
                if expected:
                    return 0
    if expect is not None:
        output.note(f"truetrack: {port}: no {expect} within {wait_s:g} s")
        return 1
    return 0


def is_answer(line: str) -> bool:
    """A sentence of the maker's own, or a text."""
    return line.startswith("$P") or line[3:6] == "TXT"
