"""The opening of a log by a command."""

from __future__ import annotations

from pathlib import Path

import eventlog


def open_log(path: Path) -> eventlog.EventLog:
    """
    Open a log to look at it.

    It needs no right to write there, and changes nothing; who may not write to `lock.mdb` holds writers up while it
    reads, for moments (docs/how-to/read-only.md).
    """
    return eventlog.open(path, read_only=True)


def open_to_change(path: Path, *, create: bool = False) -> eventlog.EventLog:
    """
    Open a log to do what the command is asked for, and nothing beside it.

    A program that opens a topic with a retention deletes in the background what the topic no longer keeps. Nobody
    expects that of `eventlog topics alter`: `eventlog clean` does it, and so do the programs that store records. Nor
    does it send what others have scheduled: `eventlog schedules run` does.
    """
    return eventlog.open(path, create=create, cleaner=False, schedules=False)
