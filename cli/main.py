"""`truetrack`: the group of commands, and the one place where errors become exit codes.

    0  done
    1  the thing asked for failed; one line on stderr says what
    2  wrong usage
    130  interrupted

A command lives in the file of its name and is loaded when it is asked for, so that
`truetrack --help` need not load a database driver.
"""

import logging
import os
import select
import sys
from collections.abc import Sequence
from typing import Any

import click
from click.exceptions import NoArgsIsHelpError

from cli.lazy import LazyGroup

COMMANDS = {
    "run": "Receive, store and answer: the gateway with its database.",
    "decode": "Show what a protocol's decoder makes of a capture.",
    "replay": "Send a capture to a gateway as its device would.",
    "tail": "Follow positions and events as they become durable.",
    "devices": "The register: who may speak, and how they are read.",
    "serial": "Serial receivers: find them, watch them, talk to them.",
    "db": "The database: where it is, its schema, its health.",
    "redecode": "Read archived frames again with today's decoders.",
    "doctor": "Check this machine and its configuration, and say what to do.",
    "bench": "Measure against peers in the same run.",
}
"""Each command with its one line of help; a test compares it with the command's own."""

WRONG_USAGE = 2
INTERRUPTED = 130


@click.group(
    cls=LazyGroup,
    package="cli",
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("-v", "--verbose", count=True, help="Log more on stderr; twice for everything.")
@click.version_option(package_name="truetrack", prog_name="truetrack")
def truetrack(verbose: int) -> None:
    """A self-hosted GPS gateway: every acknowledged position is in Postgres first.

    Output is JSON lines when it goes into a pipe or with --json, else tables.

    \b
    Example:
      truetrack run --data-dir ./data
      truetrack decode gt06 --hex-lines messages.txt | jq .fixes
    """  # noqa: D301 - click's mark for a block that is not to be wrapped
    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


def run(arguments: Sequence[str] | None = None) -> int:
    """The whole program but its exit: the code to leave with."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # Not `main`, which takes any broken pipe for stdout's.
        with truetrack.make_context("truetrack", given) as context:
            result: Any = truetrack.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as leaving:  # --help
        return leaving.exit_code
    except NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        print(_usage_line(error), file=sys.stderr)
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as error:
        if _output_closed(error):
            return 0  # the reader had enough: `truetrack tail | head -1`
        if not isinstance(error, _known_errors()):
            raise  # a bug: its traceback is what is needed
        print(f"truetrack: {_one_line(error)}", file=sys.stderr)
        return WRONG_USAGE if isinstance(error, _usage_errors()) else 1
    return result if isinstance(result, int) else 0


def main() -> None:
    """The console script."""
    if "_TRUETRACK_COMPLETE" in os.environ:  # the shell asks for completions
        truetrack.main(prog_name="truetrack")
    sys.exit(run())


def _output_closed(error: Exception) -> bool:
    """A pipe that broke is ours only if it is stdout; a device's link is an error like others."""
    if not isinstance(error, BrokenPipeError):
        return False
    try:
        output = sys.stdout.fileno()
    except (OSError, ValueError):  # not a file
        return False
    ends = select.poll()
    ends.register(output, 0)
    if not any(state & select.POLLERR for _, state in ends.poll(0)):
        return False
    # Whatever is still buffered goes nowhere, silently, at the interpreter's end too.
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def _known_errors() -> tuple[type[Exception], ...]:
    """What a user can mend; imported only once something went wrong."""
    from gateway.errors import ConfigError, StartError  # noqa: PLC0415
    from protocols import UnknownProtocol  # noqa: PLC0415
    from protocols.base import ProtocolError  # noqa: PLC0415
    from storage.errors import DatabaseStartError, SchemaError  # noqa: PLC0415
    from storage.store import QuarantineFull, StorageUnavailable  # noqa: PLC0415

    known = [ConfigError, StartError, UnknownProtocol, ProtocolError, OSError]
    known += [DatabaseStartError, SchemaError, QuarantineFull, StorageUnavailable]
    if psycopg := sys.modules.get("psycopg"):
        # Not reached or not allowed; a mistake in a statement of ours is a bug.
        known += [psycopg.OperationalError, psycopg.errors.InsufficientPrivilege]
    return tuple(known)


def _usage_errors() -> tuple[type[Exception], ...]:
    from protocols import UnknownProtocol  # noqa: PLC0415 - as above

    return (UnknownProtocol,)


def _usage_line(error: click.ClickException) -> str:
    """One line, where click would print three."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context else "truetrack"
    text = " ".join(error.format_message().split()).rstrip(".")
    return f"{path}: {text}; {path} --help shows how" if context else f"{path}: {text}"


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    main()
