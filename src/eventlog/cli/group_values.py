"""The end of a command about groups, queues or schedules for an argument that the library refuses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import eventlog
from eventlog.cli.failure import EXIT_USAGE, failure_of, is_refusal

_COMMANDS = {
    "log.schedules.list()": "`eventlog schedules list`",
    "Pass it by with where=.": "Name a topic of dead letters: `eventlog queues describe` shows that of a queue.",
}
"""What to type, for the calls that messages advise."""


@contextlib.contextmanager
def values_are_failures() -> Iterator[None]:
    """Turn a `ValueError` of the library, and the `TypeError` of a codec, into the end of the command."""
    try:
        yield
    except eventlog.EventLogError:
        raise
    except (TypeError, ValueError) as error:
        if isinstance(error, TypeError) and not is_refusal(error):
            raise
        raise failure_of(error, EXIT_USAGE, _COMMANDS) from error
