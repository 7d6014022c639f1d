"""
The records of an `async for` loop over a consumer.

Asking for a record that is at hand costs no coroutine where there are accelerators: a coroutine takes as long as all
else that a loop does for a small record (docs/decisions/0038-awaiting-at-once.md).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from eventlog.accelerators import accelerated
from eventlog.errors import LogClosed
from eventlog.interruptions import unless_interrupted
from eventlog.records import K, Record, V

if TYPE_CHECKING:
    from eventlog.aio.consumer import Consumer

T = TypeVar("T")


@accelerated("RecordStream")
def record_stream(next_chunk: Callable[[], Coroutine[Any, Any, Iterator[T]]], /) -> AsyncIterator[T]:
    """
    The records of one chunk after the other; none is taken before it is awaited.

    Args:
        next_chunk: a coroutine function that returns the next ones, and raises what ends the loop or a wait. It is
            asked again whenever there is no record at hand, whatever it has raised before.
    """
    return _Stream(next_chunk)


class _Stream(Generic[T]):
    """The iterator in Python: an awaited record is a coroutine."""

    def __init__(self, next_chunk: Callable[[], Coroutine[Any, Any, Iterator[T]]]) -> None:
        self._next_chunk = next_chunk
        self._records: Iterator[T] = iter(())
        self._is_closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while True:
            for record in self._records:
                return record
            if self._is_closed:
                raise StopAsyncIteration
            records = await self._next_chunk()
            if not self._is_closed:
                self._records = records

    async def aclose(self) -> None:
        """End the loop; nothing is left to be closed, so a loop may be left without it."""
        self._is_closed, self._records = True, iter(())


class Chunks(Generic[K, V]):
    """The batches that a loop over a consumer walks through, one after the other."""

    def __init__(self, consumer: Consumer[K, V]) -> None:
        self._consumer = consumer
        self._size = consumer._core.chunk_size()
        self._began_s: float | None = None
        """When the loop began to work on the batch in hand; None without one."""
        self._is_begun = False
        self._is_over = False

    async def next(self) -> Iterator[Record[K, V]]:
        """Wait for the next batch: the one before is finished."""
        consumer, core, began_s = self._consumer, self._consumer._core, self._began_s
        if began_s is not None:
            self._began_s = None
            self._size.note(monotonic() - began_s)
        if self._is_over:
            raise StopAsyncIteration
        try:
            batches = await consumer._poll(None, self._size.count, is_loop=True)
        except unless_interrupted(LogClosed):
            if not self._is_begun or not (core.is_closed or consumer._is_closing):
                raise
            batches = []
        if not batches:
            self._is_over = True
            raise StopAsyncIteration
        self._is_begun, self._began_s = True, monotonic()
        return core.hand_out(batches[0])
