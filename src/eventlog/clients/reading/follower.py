"""
A live read of the whole log: what is stored, and then each record as it is committed.

It reads as `LogReader` does and sleeps between, as a running projection does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, Self

from eventlog.api.features import Closing
from eventlog.backend import Backend
from eventlog.clients.reading.log_reader import LogReader, records_of
from eventlog.errors import LogClosed, UsedAfterFork
from eventlog.interruptions import unless_interrupted
from eventlog.records import Record, publish

_LONG_SECONDS: Final = 3600.0


class Follower(Closing):
    """
    An iterator over the records of all topics, in the order of the commits, that waits for more at the end of the log.

    Get one from `EventLog.follow()`. It gives pairs of a log position and a record, as `read_all()` does, and sleeps
    until somebody commits, in any process. It ends after `stop()`, when the log is closed, and after its `timeout`.
    Nothing is kept open between records. It belongs to one thread; only `stop()` may be called by others and by signal
    handlers.

    What a record raises that cannot be read comes out of the loop; the position is that of the record, and another
    `follow()` may begin behind it.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     meta = log.topic("orders").append(b"tea")
        ...     with log.follow(timeout=0.0) as follower:
        ...         for log_position, record in follower:
        ...             print(log_position, record.topic, record.value)
        ...     follower.log_position
        0 orders b'tea'
        1
    """

    def __init__(self, store: Backend, reader: LogReader, timeout: float | None, check: Callable[[], None]) -> None:
        self._store = store
        self._reader = reader
        self._timeout = timeout
        self._check = check
        self._waiter = store.waiter()
        self._pending: Iterator[tuple[int, Record[Any, Any]]] = iter(())
        self._next = reader.log_position
        self._is_stopped = False
        self._is_forked = False
        store.on_fork(self)

    @property
    def log_position(self) -> int:
        """The position behind the last record that was handed out: where another `follow()` goes on."""
        return self._next

    def stop(self) -> None:
        """End the loop; any thread and any signal handler may call it."""
        self._is_stopped = True
        self._waiter.wake()

    def close(self) -> None:
        """End it, and give up the place to wait."""
        self.stop()
        self._waiter.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[int, Record[Any, Any]]:
        deadline_s: float | None = None
        while True:
            found = self._taken()
            if found is not None:
                return found
            if deadline_s is None and self._timeout is not None:
                deadline_s = self._store.clock.monotonic() + self._timeout
            try:
                is_over = self._is_stopped or not self._waiter.sleep(
                    deadline_s, _LONG_SECONDS, self._reader.transaction
                )
            except unless_interrupted(LogClosed):
                is_over = True
            if is_over:
                raise StopIteration

    def _taken(self) -> tuple[int, Record[Any, Any]] | None:
        """The next record that is stored; None at the end of the log, or when it is over."""
        while not self._is_stopped:
            for found in self._pending:
                self._next = found[0] + 1
                return found
            if self._is_forked:
                raise UsedAfterFork(
                    "a follower of the log was made before a fork and belongs to the parent.",
                    stored="Nothing was read.",
                    advice="Call log.follow() in the child.",
                )
            before = self._reader.log_position
            try:
                self._check()
                batches = self._reader.read()
            except unless_interrupted(LogClosed):
                self._is_stopped = True
                return None
            self._pending = records_of(batches)
            if not batches and self._reader.log_position == before:
                return None
            if not batches:
                self._next = self._reader.log_position  # deleted records were passed by
        return None

    def _after_fork(self) -> None:
        """Leave the place to wait to the parent."""
        self._waiter.forget()
        self._is_forked = True


publish(Follower)
