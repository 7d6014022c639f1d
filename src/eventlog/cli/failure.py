"""
The error that ends a command, the exit codes of all commands, and an error as its parts on stderr.

Errors of the library advise programs to call a method; here the advice becomes a command to type.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import eventlog
from eventlog.cli.text import escaped

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_DIED: Final = 3  # `verify`, `repair`: the process that read the log did not come to its end
EXIT_NOT_FOUND: Final = 4
EXIT_REFUSED: Final = 5
EXIT_UNREADABLE: Final = 6
EXIT_STORAGE: Final = 7
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT, as a shell reports it
EXIT_BROKEN_PIPE: Final = 141  # 128 + SIGPIPE
EXIT_TERMINATED: Final = 143  # 128 + SIGTERM

_CODES: Final[tuple[tuple[type[eventlog.EventLogError], int], ...]] = (
    (eventlog.InvalidTopicName, EXIT_USAGE),
    (eventlog.NotALog, EXIT_NOT_FOUND),
    (eventlog.UnknownTopic, EXIT_NOT_FOUND),
    (eventlog.UnknownPartition, EXIT_NOT_FOUND),
    (eventlog.UnknownGroup, EXIT_NOT_FOUND),
    (eventlog.UnknownState, EXIT_NOT_FOUND),
    (eventlog.UnknownProjection, EXIT_NOT_FOUND),
    (eventlog.NoResponders, EXIT_NOT_FOUND),
    (eventlog.OffsetOutOfRange, EXIT_REFUSED),
    (eventlog.GroupNotEmpty, EXIT_REFUSED),
    (eventlog.GroupMismatch, EXIT_REFUSED),
    (eventlog.TopicMismatch, EXIT_REFUSED),
    (eventlog.StateMismatch, EXIT_REFUSED),
    (eventlog.LogInUse, EXIT_REFUSED),
    (eventlog.BackupMismatch, EXIT_REFUSED),
    (eventlog.CorruptBackup, EXIT_UNREADABLE),
    (eventlog.CorruptBatch, EXIT_UNREADABLE),
    (eventlog.DecodeError, EXIT_UNREADABLE),
    (eventlog.FormatTooNew, EXIT_UNREADABLE),
    (eventlog.FormatTooOld, EXIT_UNREADABLE),
    (eventlog.StorageError, EXIT_STORAGE),
)
"""The exit codes of kinds of errors; every other kind is `EXIT_FAILED`."""

_STORED: Final = re.compile(r"(?<=\.) ((?:Nothing was|It was left|It is unchanged|What was)[^.]*\.)")
"""The sentence of a message that says what is stored."""

_ADVICE: Final[dict[type[eventlog.EventLogError], str]] = {
    eventlog.NotALog: "Check the path, or make a log with `eventlog topics create`.",
    eventlog.ReadOnlyLog: "Let this user write to the directory and its files.",
    eventlog.UnknownTopic: "`eventlog topics list` names those that are there; `eventlog topics create` makes one.",
    eventlog.UnknownGroup: "`eventlog groups list` names those that are there.",
    eventlog.UnknownState: "`eventlog states` names those that are there.",
    eventlog.UnknownProjection: "`eventlog projections` names those that are there.",
    eventlog.NoResponders: "Start a responder, as `eventlog reply` is one, or pass --wait.",
    eventlog.RequestTimeout: "Ask again, with a longer --timeout; with --message-id it is done once.",
    eventlog.GroupNotEmpty: "Close its members, or pass --force: then they are fenced.",
    eventlog.OffsetOutOfRange: "Name an offset in that range: `eventlog topics describe` shows it.",
    eventlog.UnknownPartition: "`eventlog topics describe` names those that are there.",
    eventlog.LogFull: "Run `eventlog trim`, or `eventlog clean` where a topic is compacted, or give the topic a "
    "retention, and run the command again.",
    eventlog.DiskFull: "Make room, and run the command again.",
    eventlog.CorruptBackup: "Get another copy of the file, or restore with --position up to where it is sound.",
    eventlog.CorruptBatch: "Run `eventlog verify` to list all damage.",
}
"""What to type, for the classes whose own advice is to call a method."""


class Failure(Exception):
    """
    The end of a command: what failed, what is stored, what to do next, and an exit code; never a traceback.

    Args:
        what: failed, on which values.
        stored: what is stored now.
        advice: what to do next.
        exit_code: one of the constants of this module.
    """

    def __init__(self, what: str, *, stored: str = "", advice: str = "", exit_code: int = EXIT_FAILED) -> None:
        super().__init__(" ".join(filter(None, (what, stored, advice))))
        self.what = what
        self.stored = stored
        self.advice = advice
        self.exit_code = exit_code


def is_refusal(error: Exception) -> bool:
    """Whether the library refuses an argument: its message says what is stored, as no other error does."""
    return _STORED.search(str(error)) is not None


def failure_of(error: Exception, exit_code: int, options: Mapping[str, str] = MappingProxyType({})) -> Failure:
    """
    The end of a command for an argument that the library refuses, whose message is one text.

    Args:
        options: what to write for the names of arguments in the message: `{"acls=True": "--acls"}`.

    Example:
        >>> failure_of(ValueError("'' is no name. Nothing was changed. Choose another."), EXIT_USAGE).advice
        'Choose another.'
    """
    text = " ".join([str(error), *getattr(error, "__notes__", ())])
    for argument, option in options.items():
        text = text.replace(argument, option)
    what, stored, advice = text, "", ""
    if match := _STORED.search(text):
        what, stored, advice = text[: match.start()], match[1], text[match.end() :]
    return Failure(what, stored=stored, advice=advice.strip(), exit_code=exit_code)


def complain_of_failure(failure: Failure) -> int:
    """Show the end of a command on stderr, and return its exit code."""
    _write(failure.what, stored=failure.stored, advice=failure.advice)
    return failure.exit_code


def complain_of_error(error: eventlog.EventLogError) -> int:
    """Show an error of the library on stderr, with commands instead of calls in its advice; return the exit code."""
    _write(
        f"{type(error).__name__}: {error.what}",
        place=place_of(error),
        stored=error.stored,
        advice=in_commands(error),
    )
    return next((code for kind, code in _CODES if isinstance(error, kind)), EXIT_FAILED)


def complain_of_system(error: OSError) -> int:
    """Show an error of the operating system on stderr, and return the exit code."""
    _write(f"{type(error).__name__}: {error}")
    return EXIT_STORAGE


def in_commands(error: eventlog.EventLogError) -> str:
    """
    The advice of an error, with commands instead of calls.

    Example:
        >>> in_commands(eventlog.UnknownGroup("no group 'tea'.", advice="log.groups.list() names the groups."))
        '`eventlog groups list` names those that are there.'
    """
    cause = error.__cause__
    if isinstance(error, eventlog.DeliveryError) and isinstance(cause, eventlog.DiskFull):
        error = cause
    if isinstance(error, eventlog.UnknownGroup) and "log.queues" in error.advice:
        return "`eventlog queues list` names those that are there."
    if isinstance(error, eventlog.NotALog) and "=True" not in error.advice:
        return error.advice  # a backup was taken for a log, or the reverse; or the directory is another program's
    return next((_ADVICE[kind] for kind in type(error).__mro__ if kind in _ADVICE), error.advice)


def place_of(error: eventlog.EventLogError) -> str:
    """
    Where an error happened, as far as it is known.

    Example:
        >>> place_of(eventlog.CorruptBatch("it is damaged.", topic="orders", partition=3))
        'topic orders, partition 3'
    """
    names = ("topic", "partition", "offset", "group", "state", "projection")
    return ", ".join(f"{name} {value}" for name in names if (value := getattr(error, name)) is not None)


def check_there(noun: str, name: str, names: Sequence[str], path: Path) -> None:
    """
    Check that a log has the thing that the user named: commands that read create nothing.

    Raises:
        Failure: `name` is not among `names`.
    """
    if name not in names:
        raise Failure(
            f"no {noun} {name!r} in {path}: it has {', '.join(names) or 'none'}.",
            stored="Nothing was changed.",
            exit_code=EXIT_NOT_FOUND,
        )


def _write(what: str, *, place: str = "", stored: str = "", advice: str = "") -> None:
    parts = [("eventlog", what), ("  where", place), ("  stored", stored), ("  next", advice)]
    lines = [f"{name}: {escaped(' '.join(text.split()))}\n" for name, text in parts if text]
    try:
        sys.stderr.write("".join(lines))
        sys.stderr.flush()
    except (BrokenPipeError, ValueError):
        return  # nobody reads it, or it is closed: the exit code still tells
