"""
Runs a command: its exit code, and its errors by their parts on stderr.

The exit codes are in `failure.py` and on the page docs/reference/cli.md. A traceback is a bug of ours.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import eventlog
from eventlog.cli.failure import (
    EXIT_BROKEN_PIPE,
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_TERMINATED,
    EXIT_USAGE,
    Failure,
    complain_of_error,
    complain_of_failure,
    complain_of_system,
    failure_of,
    is_refusal,
)

COMPLETION = "_EVENTLOG" + "_COMPLETE"
"""The variable by which a shell asks for completions; `eventlog completion` sets it, no user."""
_LIBRARIES = {"click", "rich"}


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run one command.

    Args:
        argv: the arguments without the program name; None takes those of the process.

    Returns:
        The exit code. It raises only for a bug of ours.

    Example:
        >>> main(["topics", "list", "no/such/log"])
        4
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    _prepare_streams()
    if arguments == ["--version"]:  # also without the libraries of the command: a report of a bug begins with it
        sys.stdout.write(f"{version_text()}\n")
        return EXIT_OK
    try:
        with _terminations():
            code = _run(arguments)
            sys.stdout.flush()
    except Terminated:
        return EXIT_TERMINATED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return EXIT_BROKEN_PIPE
    except Failure as error:
        return complain_of_failure(error)
    except eventlog.EventLogError as error:
        return complain_of_error(error)
    except OSError as error:
        code = complain_of_system(error)
        _end_stdout()
    except (TypeError, ValueError) as error:
        if not is_refusal(error):
            raise
        return complain_of_failure(failure_of(error, EXIT_USAGE))
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _LIBRARIES:
            raise
        return complain_of_failure(_missing(error.name))
    return code


def _end_stdout() -> None:
    """Write what is left, or drop it: at its exit Python would try again, and end with a code of its own."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop_stdout()


def version_text() -> str:
    """The version, and whether the compiled part is in use."""
    return f"eventlog {eventlog.__version__} ({'compiled' if eventlog.is_compiled() else 'pure Python'})"


class Terminated(KeyboardInterrupt):
    """Raised in the main thread by SIGTERM: the command ends as after Ctrl-C, with another exit code."""


def _run(arguments: list[str]) -> int:
    import click

    from eventlog.cli.root import root

    if instruction := os.environ.get(COMPLETION):
        from click.shell_completion import shell_complete

        return shell_complete(root, {}, "eventlog", COMPLETION, instruction)
    try:
        with root.make_context("eventlog", arguments) as context:
            code = root.invoke(context)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.Abort:
        return EXIT_FAILED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    return code if isinstance(code, int) else EXIT_OK


def _prepare_streams() -> None:
    """
    Have all streams there, and one that can write whatever a log holds.

    A shell may close one (`>&-`): its number would become that of a file of the log.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115  # for as long as the process lives
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _missing(library: str) -> Failure:
    return Failure(
        f"the command needs {library}, which is not installed.",
        stored="Nothing was changed.",
        advice='Install it: pip install "eventlog[cli]"',
    )


@contextmanager
def _terminations() -> Iterator[None]:
    """Raise `Terminated` for SIGTERM, so that logs are closed; leaves a handler alone that somebody else has set."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def end(*_: object) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _drop_stdout() -> None:
    """Discard buffered output, or the interpreter complains about the pipe when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
