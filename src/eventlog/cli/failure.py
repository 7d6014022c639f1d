"""
The error that ends a command, and the exit codes of all commands.

Errors of the library advise programs to call a method; here the advice becomes a command to type.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import eventlog

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_DIED: Final = 3  # `verify`: the process that checked the log did not come to its end
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT, as a shell reports it
EXIT_BROKEN_PIPE: Final = 141  # 128 + SIGPIPE

_ADVICE: Final[dict[type[eventlog.EventLogError], str]] = {
    eventlog.NotALog: "Check the path, or make a log with `eventlog produce`.",
    eventlog.UnknownTopic: "Create it with `eventlog produce`.",
    eventlog.UnknownGroup: "`eventlog groups list` names those that are there.",
    eventlog.UnknownState: "`eventlog states` names those that are there.",
    eventlog.UnknownProjection: "`eventlog projections` names those that are there.",
    eventlog.DiskFull: "Make room, and run the command again.",
    eventlog.CorruptBatch: "Run `eventlog verify` to list all damage.",
}
"""What to type, for the classes whose own advice is to call a method."""


def in_commands(error: eventlog.EventLogError) -> str:
    """
    The message of an error, with commands instead of calls in its advice.

    Example:
        >>> in_commands(eventlog.UnknownTopic("no topic 'tea'.", advice="Create it with log.topic('tea')."))
        "no topic 'tea'. Create it with `eventlog produce`."
    """
    advice = next((_ADVICE[kind] for kind in type(error).__mro__ if kind in _ADVICE), error.advice)
    return " ".join(filter(None, (error.what, error.stored, advice)))


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
