"""
The error that ends a command, and the exit codes of all commands.

Errors of the library advise programs to call a method; here the advice becomes a command to type.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT, as a shell reports it
EXIT_BROKEN_PIPE: Final = 141  # 128 + SIGPIPE

_ADVICE: Final = (
    (re.compile(r"or pass create=True to make one\."), "or make one with `eventlog produce`."),
    (re.compile(r"Create it with log\.topic\(.*\)\."), "Create it with `eventlog produce`."),
    (re.compile(r"log\.groups\.list\(\) names (.*), and so does (.*)\."), r"\2 names \1."),
)


def in_commands(message: str) -> str:
    """
    The message of an error, with commands instead of calls in its advice.

    Example:
        >>> in_commands("there is no log. Check the path, or pass create=True to make one.")
        'there is no log. Check the path, or make one with `eventlog produce`.'
    """
    for call, command in _ADVICE:
        message = call.sub(command, message)
    return message


class Failure(Exception):
    """The end of a command: one line on stderr and an exit code, never a traceback."""

    def __init__(self, message: str, *, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def check_there(noun: str, name: str, names: Sequence[str], path: Path) -> None:
    """
    Check that a log has the thing that the user named: commands that read create nothing.

    Raises:
        Failure: `name` is not among `names`.
    """
    if name not in names:
        raise Failure(f"no {noun} {name!r} in {path}: it has {', '.join(names) or 'none'}. Nothing was changed.")
