"""Opening a log: the one function that users begin with."""

from __future__ import annotations

import os

from eventlog.api.event_log import EventLog
from eventlog.clock import SystemClock
from eventlog.log.event_log import EmbeddedLog
from eventlog.options import Durability, check_int
from eventlog.store.lmdb.opening import LEAST_MAP_BYTES
from eventlog.store.registry import open_store


def open(
    path: str | os.PathLike[str],
    *,
    durability: Durability = "commit",
    mode: int = 0o600,
    create: bool = True,
    map_size: int | None = None,
) -> EventLog:
    """
    Opens the log in a directory, and makes both when they are not there.

    Args:
        path: the directory, or ":memory:" for a private log that is gone when it is closed.
        durability: what an acknowledged record survives. "commit" (default): the process, the system and the
            power. "ordered": the process; a crash of the system or a power cut may take the last commit, and the
            log is sound. A log in memory survives nothing.
        mode: permissions of the files (default 0o600); the directory gets the matching right to search.
        create: False refuses to make a new log.
        map_size: bytes of address space to begin with (default 1 TiB, which no log outgrows); the disk is used as
            needed. A log that outgrows it doubles it, which stops everything in all processes for a moment.

    Raises:
        NotALog: if the path holds something else. It was left as it was.
        FormatTooNew: if a newer eventlog wrote it. It was left as it was.
        ReadOnlyLog, UnsupportedFileSystem, StorageError: for what their names say.
        ValueError: for an option out of its bounds, or when this process has the log open with another durability.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     log.topic("orders").append(b"tea").offset
        0
    """
    if durability not in ("commit", "ordered"):
        raise ValueError(f'durability is "commit" or "ordered", not {durability!r}. Nothing was opened.')
    check_int("mode", mode, least=0o200, most=0o777)
    if map_size is not None:
        check_int("map_size", map_size, least=LEAST_MAP_BYTES)
    store = open_store(path, durability=durability, mode=mode, create=create, map_bytes=map_size, clock=SystemClock())
    return EmbeddedLog(store)
