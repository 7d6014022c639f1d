"""The opening of a log by a command that looks at it."""

from __future__ import annotations

from pathlib import Path

import eventlog


def open_log(path: Path, *, create: bool = False) -> eventlog.EventLog:
    """
    Open a log and leave it as it is.

    A program that opens a topic with a retention deletes in the background what the topic no longer keeps. Nobody
    expects that of `eventlog topics list`: `eventlog clean` does it, and so do the programs that store records.
    """
    return eventlog.open(path, create=create, cleaner=False)
