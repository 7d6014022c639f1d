"""Async iterators over what is read piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from functools import partial
from itertools import islice
from time import monotonic
from typing import TypeVar

from eventlog.aio.home import Home

T = TypeVar("T")

_FIRST_COUNT = 16
_MOST_COUNT = 1024
_LONG_SECONDS = 0.001
"""A loop that worked for so long lets others come before it goes on."""
_SLOW_SECONDS = 0.002
"""A step that takes longer is done by the thread for reads."""


async def stream(home: Home, items: Iterator[T]) -> AsyncIterator[T]:
    """
    The items of an iterator that reads the log, a few at a time.

    They are read in the loop while that is quick, and by the reading thread when it is not. Other tasks run in between.
    """
    count, is_slow, yielded_s = _FIRST_COUNT, False, monotonic()
    while True:
        home.check()
        began_s = monotonic()
        if is_slow:
            chunk, error = await home.read(partial(_pull, items, _MOST_COUNT), "the read")
        else:
            chunk, error = _pull(items, count)
        took_s = monotonic() - began_s
        is_slow = took_s > _SLOW_SECONDS
        if is_slow:
            count = max(1, count // 2)
        elif took_s < _LONG_SECONDS / 4:
            count = min(2 * count, _MOST_COUNT)
        for item in chunk:
            yield item
        if error is not None:
            raise error
        if not chunk:
            return
        if monotonic() - yielded_s > _LONG_SECONDS:
            await home.loop.sleep(0)
            yielded_s = monotonic()


async def walk(home: Home, items: Iterable[T]) -> AsyncIterator[T]:
    """
    The items of an iterator that takes short steps, one at a time, in the loop.

    Nothing is read ahead, and other tasks come after each millisecond.
    """
    began_s = monotonic()
    for item in items:
        yield item
        if monotonic() - began_s > _LONG_SECONDS:
            await home.loop.sleep(0)
            began_s = monotonic()


def _pull(items: Iterator[T], count: int) -> tuple[list[T], BaseException | None]:
    """The next items, and the error that comes after them."""
    chunk: list[T] = []
    try:
        chunk.extend(islice(items, count))  # keeps what came before an error
    except BaseException as error:  # noqa: BLE001 - raised when the items before it were handed out
        return chunk, error
    return chunk, None
