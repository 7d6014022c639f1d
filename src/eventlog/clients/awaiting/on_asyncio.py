"""asyncio's loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from eventlog.clients.awaiting.loop import Call, Future

T = TypeVar("T")


class AsyncioLoop:
    """The loop of asyncio that runs now."""

    cancelled: type[BaseException] = asyncio.CancelledError

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.future: Callable[[], Future[Any]] = loop.create_future
        self.call_soon = loop.call_soon
        self.call_later = loop.call_later
        self.add_reader = loop.add_reader
        self.remove_reader = loop.remove_reader
        self.is_closed = loop.is_closed
        self.current_task = asyncio.current_task
        self.running: Callable[[], object] = asyncio._get_running_loop

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Have something done by a task of its own, whatever becomes of this one."""
        return self._loop.create_task(coroutine)

    def timeout(self, seconds: float) -> asyncio.Timeout:
        """Raise `TimeoutError` in a block that takes longer."""
        return asyncio.timeout(seconds)

    async def sleep(self, seconds: float) -> None:
        """Let others come, and wait."""
        await asyncio.sleep(seconds)

    async def wait_to_the_end(
        self, future: Future[Any], when_cancelled: Callable[[], object] = bool
    ) -> BaseException | None:
        """Wait until a future is done, come what may; the error of a task that was cancelled meanwhile."""
        assert isinstance(future, asyncio.Future)
        cancelled: asyncio.CancelledError | None = None
        while not future.done():
            try:
                await asyncio.wait([future])
            except asyncio.CancelledError as error:
                cancelled = error
                when_cancelled()
        return cancelled

    def begin_from_thread(self, function: Callable[[Call], Coroutine[Any, Any, object]]) -> AsyncioCall:
        """Have a coroutine function called in a task, with the call itself; another thread calls this."""
        return AsyncioCall(self._loop, function)


class AsyncioCall:
    """A coroutine function that a thread has called in the loop."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, function: Callable[[Call], Coroutine[Any, Any, object]]
    ) -> None:
        self._task: asyncio.Task[Any] | None = None
        self._running: concurrent.futures.Future[object] = asyncio.run_coroutine_threadsafe(self._run(function), loop)

    async def _run(self, function: Callable[[Call], Coroutine[Any, Any, object]]) -> object:
        self._task = asyncio.current_task()
        return await function(self)

    def result(self) -> object:
        """Block that thread until it has ended; raises what it raises."""
        return self._running.result()

    def cancel(self) -> None:
        """Cancel it; belongs to the loop."""
        if self._task is not None:
            self._task.cancel()

    @property
    def is_cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._running.cancelled()
