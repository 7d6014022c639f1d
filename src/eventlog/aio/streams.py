"""Async iterators over what is read piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from time import monotonic
from typing import Generic, Self, TypeVar

from eventlog.aio.home import Home
from eventlog.errors import ConcurrentUse

T = TypeVar("T")

_FIRST_COUNT = 16
_MOST_COUNT = 1024
_LONG_SECONDS = 0.001
"""A loop that worked for so long lets others come before it goes on."""
_SLOW_SECONDS = 0.002
"""A step that takes longer is done by the thread for reads."""


class Stream(Generic[T]):
    """
    The items of an iterator that reads the log, a few at a time, for `async for`.

    They are read in the loop while that is quick, and by the reading thread when it is not. Other tasks run in between.
    If a task is cancelled while it waits for an item, the next one that asks gets it.

    A class and no generator: leaving the loop by `break` leaves nothing to be closed later, whichever loop runs.
    """

    def __init__(self, home: Home, items: Iterator[T]) -> None:
        self._home = home
        self._items = items
        self._chunk: Iterator[T] = iter(())
        self._error: BaseException | None = None
        """What comes after the chunk."""
        self._is_over = False
        self._is_asked = False
        self._count = _FIRST_COUNT
        self._is_slow = False
        self._yielded_s = monotonic()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        for item in self._chunk:
            return item
        if self._is_asked:
            raise ConcurrentUse(
                "another task reads this iterator.",
                stored="Nothing was handed out.",
                advice="Give each task an iterator of its own.",
            )
        self._is_asked = True
        try:
            await self._read()
        finally:
            self._is_asked = False
        for item in self._chunk:
            return item
        error, self._error, self._is_over = self._error, None, True
        if error is not None:
            raise error
        raise StopAsyncIteration

    async def _read(self) -> None:
        """Read the next chunk, unless there is none."""
        if self._is_over or self._error is not None:
            return
        if monotonic() - self._yielded_s > _LONG_SECONDS:
            await self._home.loop.sleep(0)
            self._yielded_s = monotonic()
        self._home.check()
        began_s = monotonic()
        if self._is_slow:
            await self._home.read(partial(self._pull, _MOST_COUNT), "the read")
        else:
            self._pull(self._count)
        took_s = monotonic() - began_s
        self._is_slow = took_s > _SLOW_SECONDS
        if self._is_slow:
            self._count = max(1, self._count // 2)
        elif took_s < _LONG_SECONDS / 4:
            self._count = min(2 * self._count, _MOST_COUNT)

    def _pull(self, count: int) -> None:
        """Take the next items, and the error that comes after them."""
        chunk: list[T] = []
        try:
            chunk.extend(islice(self._items, count))  # keeps what came before an error
        except BaseException as error:  # noqa: BLE001 - raised when the items before it were handed out
            self._error = error
        self._chunk = iter(chunk)


class Walk(Generic[T]):
    """
    The items of an iterator that takes short steps, one at a time, in the loop.

    Nothing is read ahead, and other tasks come after each millisecond.
    """

    def __init__(self, home: Home, items: Iterator[T]) -> None:
        self._loop = home.loop
        self._items = items
        self._began_s = monotonic()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        if monotonic() - self._began_s > _LONG_SECONDS:
            await self._loop.sleep(0)
            self._began_s = monotonic()
        for item in self._items:
            return item
        raise StopAsyncIteration
