"""Logs under test: how they are opened, and what can be done to them that cannot be done to others."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from eventlog.api.event_log import EventLog
from eventlog.api.features import Closing
from eventlog.clock import Clock, SystemClock
from eventlog.log.event_log import EmbeddedLog
from eventlog.options import Durability, check_path
from eventlog.store.registry import MEMORY, REGISTRY, Seam, open_store
from eventlog.store.store import Store
from eventlog.store.temporary import TemporaryDirectory
from eventlog.testing.faults import Faults

if TYPE_CHECKING:
    from eventlog.aio.log import EventLog as LoopLog

_MODE = 0o600


class _LogUnderTest(EmbeddedLog):
    """A log that `crash` and the faults take hold of; else the log that `eventlog.open()` opens."""

    _store: Store

    def __init__(self, path: str, durability: Durability, clock: Clock, memory: TemporaryDirectory | None) -> None:
        self._clock = clock
        self._faults = Faults()
        seam, user = Seam(self._faults.before_commit, memory), object()
        store = open_store(
            path, durability=durability, mode=_MODE, create=True, map_bytes=None, clock=clock, user=user, seam=seam
        )
        store.send_schedules()
        super().__init__(store, user)


def open(  # noqa: A001 - users write `testing.open()`
    path: str | os.PathLike[str] = MEMORY, *, clock: Clock | None = None, durability: Durability = "commit"
) -> EventLog:
    """
    Open a log for a test: the log of `eventlog.open()`, with a clock of its own, and faults to be asked for.

    While it is open, `eventlog.open()` of the same directory in this process shares its clock and its faults.

    Args:
        path: a directory, or ":memory:" for a private log, which is the default.
        clock: what tells the time, such as a `ManualClock`; None is the clock of the system.
        durability: as for `eventlog.open()`. A log in memory has its own.

    Raises:
        ValueError: if this process has the directory open without a test's clock.

    Example:
        >>> from eventlog import testing
        >>> with testing.open() as log:
        ...     log.topic("orders").append(b"tea").offset
        0
    """
    return _LogUnderTest(check_path("open", path), durability, SystemClock() if clock is None else clock, None)


class LogFactory(Closing):
    """
    A maker of logs for one test, which closes and removes them all at its end; the fixture `event_log_factory`.

    Call it for a new log. What a killed run leaves behind is removed by the next one.

    Args:
        clock: the clock of all its logs; None is that of the system.

    Example:
        >>> from eventlog import testing
        >>> with testing.LogFactory() as new_log:
        ...     log = new_log()
        ...     log.topic("orders").append(b"tea").offset
        0
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock
        self._logs: list[EventLog] = []
        self._directories: list[TemporaryDirectory] = []

    def __call__(self, *, on_disk: bool = False, durability: Durability = "commit") -> EventLog:
        """
        Open a new log, in memory unless it is to be on disk.

        Args:
            on_disk: makes it in a directory of its own, which other processes can open by `log.path`.
            durability: of a log on disk.
        """
        path = MEMORY
        if on_disk:
            directory = REGISTRY.temporary_directory()
            self._directories.append(directory)
            path = directory.path
        log = open(path, clock=self._clock, durability=durability)
        self._logs.append(log)
        return log

    def crash(self, log: EventLog) -> EventLog:
        """Crash one of its logs as `crash()` does; the log that is opened again is one of its own, too."""
        again = crash(log)
        self._logs.append(again)
        return again

    def close(self) -> None:
        """Close all logs, and remove what they have stored."""
        try:
            while self._logs:
                self._logs.pop().close()
        finally:
            while self._directories:
                self._directories.pop().remove()


def crash(log: EventLog | LoopLog) -> EventLog:
    """
    End a log as `kill -9` ends its process, and open it again.

    What was committed is there; what producers had yet to store and consumers to commit is lost, and members of groups
    are found dead by the others. All clients of the old log are closed. Use the log that is returned, and close it. It
    has the clock of the old one, and no faults; a log that refused writes after a failed one takes them again.

    Raises:
        TypeError: if the log was not opened with `eventlog.testing`. It is unchanged.

    Example:
        >>> from eventlog import testing
        >>> log = testing.open()
        >>> producer = log.producer(linger=60.0)
        >>> delivery = producer.send(log.topic("orders"), b"tea")
        >>> with testing.crash(log) as log:
        ...     list(log.topic("orders").read())
        []
    """
    old = _under_test(log)
    store, durability = old._store, old.durability
    if durability not in ("commit", "ordered"):
        durability = "commit"
    path = MEMORY if store.is_memory else store.path
    old._crash()
    return _LogUnderTest(path, durability, old._clock, store.temporary)  # type: ignore[arg-type] # checked above


def fail_next_commit(log: EventLog | LoopLog, count: int = 1) -> None:
    """
    Let the next commit of a log fail as on a broken disk, whoever makes it: an append, a producer, a consumer.

    It raises `StorageError`, and from then on the log refuses writes, as a real one does: `crash()` opens it again.

    Args:
        count: how many commits fail. A second one can only be that of a log that was opened again by its path.

    Example:
        >>> from eventlog import testing
        >>> with testing.open() as log:
        ...     orders = log.topic("orders")
        ...     testing.fail_next_commit(log)
        ...     try:
        ...         meta = orders.append(b"tea")
        ...     except eventlog.StorageError as error:
        ...         print(error.stored)
        Nothing of this call was acknowledged.
    """
    _under_test(log)._faults.fail_next(count)


@contextmanager
def full_disk(log: EventLog | LoopLog) -> Iterator[None]:
    """
    Let every commit of a log fail for want of room, for a `with` block.

    Appends raise `DiskFull`, nothing is stored, and after the block they succeed again.

    Example:
        >>> from eventlog import testing
        >>> with testing.open() as log:
        ...     orders = log.topic("orders")
        ...     with testing.full_disk(log):
        ...         try:
        ...             meta = orders.append(b"tea")
        ...         except eventlog.DiskFull:
        ...             print("full")
        ...     orders.append(b"tea").offset
        full
        0
    """
    faults = _under_test(log)._faults
    faults.fill(1)
    try:
        yield
    finally:
        faults.fill(-1)


@contextmanager
def slow_disk(log: EventLog | LoopLog, seconds: float) -> Iterator[None]:
    """
    Let every commit of a log take so much longer, for a `with` block.

    Example:
        >>> from eventlog import testing
        >>> with testing.open() as log, testing.slow_disk(log, 0.01):
        ...     log.topic("orders").append(b"tea").offset
        0
    """
    faults = _under_test(log)._faults
    faults.begin_pause(seconds)
    try:
        yield
    finally:
        faults.end_pause(seconds)


def _under_test(log: Any) -> _LogUnderTest:
    log = getattr(log, "_inner", log)  # one of `eventlog.aio` has ours inside
    if not isinstance(log, _LogUnderTest):
        raise TypeError(
            f"{log!r} has no place for faults. Nothing was changed. Open it with eventlog.testing.open(), or take the "
            "fixture event_log."
        )
    return log
