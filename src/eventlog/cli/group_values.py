"""The end of a command about groups for an argument that the library refuses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import eventlog
from eventlog.cli.failure import EXIT_USAGE, failure_of


@contextlib.contextmanager
def values_are_failures() -> Iterator[None]:
    """Turn a `ValueError` of the library into the end of the command."""
    try:
        yield
    except eventlog.EventLogError:
        raise
    except ValueError as error:
        raise failure_of(error, EXIT_USAGE) from error
