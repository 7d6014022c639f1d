"""A live read of the whole log for asyncio: what is stored, and then each record as it is committed."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from time import monotonic
from typing import Any, Self

from eventlog.aio.home import Home
from eventlog.aio.waking import Ear
from eventlog.clients.reading.log_reader import LogReader, records_of
from eventlog.errors import ConcurrentUse, LogClosed
from eventlog.interruptions import unless_interrupted
from eventlog.records import Record


class Follower:
    """
    The records of all topics and each new one, for `async for`: see `eventlog.Follower`.

    One task at a time reads it. If that task is cancelled, nothing was handed out, and the next call gets the record.
    Get one from `EventLog.follow()`.
    """

    def __init__(self, home: Home, ear: Ear, reader: LogReader, timeout: float | None) -> None:
        self._home = home
        self._ear = ear
        self._reader = reader
        self._timeout = timeout
        self._pending: Iterator[tuple[int, Record[Any, Any]]] = iter(())
        self._next = reader.log_position if reader.has_begun else None
        """The position behind the last record; None before the first one of a time is looked for."""
        self._is_stopped = False
        self._is_asked = False
        self._finalizer = weakref.finalize(self, ear.close)
        self._finalizer.atexit = False

    @property
    def log_position(self) -> int:
        """The position behind the last record that was handed out: where another `follow()` goes on."""
        if self._next is None:
            self._reader.begin()
            self._next = self._reader.log_position
        return self._next

    def stop(self) -> None:
        """End the loop, in the midst of its wait too; any thread may call it."""
        self._is_stopped = True
        self._ear.wake()

    async def close(self) -> None:
        """End it, and give up the place to wait."""
        self.stop()
        self._finalizer()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[int, Record[Any, Any]]:
        if self._is_asked:
            raise ConcurrentUse(
                "another task reads this follower of the log.",
                stored="Nothing was handed out.",
                advice="Give each task a follower of its own: log.follow().",
            )
        self._is_asked = True
        try:
            found = await self._found()
        except BaseException:
            if self._next is not None:
                self._reader.log_position = self._next  # what a cancelled task has read is read again
            raise
        finally:
            self._is_asked = False
        if found is None:
            raise StopAsyncIteration
        self._next = found[0] + 1
        return found

    async def _found(self) -> tuple[int, Record[Any, Any]] | None:
        """The next record; None when it is over."""
        ear, reader = self._ear, self._reader
        until_s: float | None = None
        while True:
            ear.is_rung = False  # before the look at what it may have rung for
            if self._is_stopped:
                return None
            for found in self._pending:
                return found
            ear.subscribe(None)
            try:
                if self._next is None:
                    await self._home.read(reader.begin, "the read")
                    self._next = reader.log_position
                before = self._next
                batches = await self._home.read(reader.read, "the read")
            except unless_interrupted(LogClosed):
                self._is_stopped = True
                return None
            self._pending = records_of(batches)
            if batches:
                continue
            self._next = reader.log_position  # deleted records were passed by
            if self._next != before:
                continue
            if self._timeout is not None and until_s is None:
                until_s = monotonic() + self._timeout
            left_s = float("inf") if until_s is None else until_s - monotonic()
            if left_s <= 0:
                return None
            await ear.wait(left_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
