"""
Runs a command: its exit code, and its errors as one line on stderr.

The exit code is 1 for an error of eventlog or of the operating system, 2 for wrong usage, 130 for Ctrl-C, and 141 if
the reader of our output went away. A traceback is a bug of ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import eventlog
from eventlog.cli.argument_parts import Command
from eventlog.cli.arguments import build_parser
from eventlog.cli.failure import EXIT_BROKEN_PIPE, EXIT_FAILED, EXIT_INTERRUPTED, Failure, in_commands


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command.

    Args:
        argv: the arguments without the program name; None takes those of the process.

    Returns:
        The exit code. It raises only for a bug of ours.

    Example:
        >>> main(["topics", "no/such/log"])
        1
    """
    try:
        arguments = build_parser().parse_args(argv)
    except SystemExit as stop:  # argparse has printed the help, or what is wrong
        return stop.code if isinstance(stop.code, int) else EXIT_FAILED
    command: Command = arguments.command
    try:
        code = command(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return EXIT_BROKEN_PIPE
    except Failure as error:
        return _complain(str(error), error.exit_code)
    except eventlog.EventLogError as error:
        return _complain(f"{type(error).__name__}: {in_commands(error)}", EXIT_FAILED)
    except OSError as error:
        return _complain(f"{type(error).__name__}: {error}", EXIT_FAILED)
    return code


def _complain(message: str, exit_code: int) -> int:
    one_line = " ".join(message.split())
    sys.stderr.write(f"eventlog: {one_line}\n")
    return exit_code


def _drop_stdout() -> None:
    """Discard buffered output, or the interpreter complains about the pipe when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
