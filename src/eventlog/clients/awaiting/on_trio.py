"""
trio's loop.

What asyncio has as methods of a loop are tasks here: a timer, and a descriptor that is watched. They are system tasks,
which trio ends with the run, so no nursery of the user's is needed, and nothing of a user is cancelled for them.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import copy_context
from functools import partial
from typing import Any, Generic, TypeVar

import trio

from eventlog.clients.awaiting.loop import Call, Future
from eventlog.interruptions import suppress, unless_interrupted

T = TypeVar("T")


class TrioFuture(Generic[T]):
    """The outcome of something, which tasks wait for; a cancelled task leaves it as it is."""

    __slots__ = ("_error", "_event", "_result")

    def __init__(self) -> None:
        self._event = trio.Event()
        self._result: T
        self._error: BaseException | None = None

    def done(self) -> bool:
        """Whether it has an outcome."""
        return self._event.is_set()

    def result(self) -> T:
        """Return what came out, or raise it."""
        if self._error is not None:
            raise self._error
        return self._result

    def exception(self) -> BaseException | None:
        """Return the error that came out, or None."""
        return self._error

    def set_result(self, result: T, /) -> None:
        """Give it its outcome."""
        self._result = result
        self._event.set()

    def set_exception(self, exception: BaseException, /) -> None:
        """Give it an error as its outcome."""
        self._error = exception
        self._event.set()

    def __await__(self) -> Generator[Any, None, T]:
        yield from self._event.wait().__await__()
        return self.result()


class TrioTask:
    """
    A system task that waits, and calls a function.

    Args:
        wait: what it waits for.
        is_repeated: whether it begins again then.
    """

    def __init__(
        self, wait: Callable[[], Awaitable[object]], function: Callable[[], object], *, is_repeated: bool
    ) -> None:
        self._wait = wait
        self._function = function
        self._is_repeated = is_repeated
        self._scope = trio.CancelScope()
        trio.lowlevel.spawn_system_task(self._run)

    async def _run(self) -> None:
        with self._scope, suppress(trio.ClosedResourceError):  # `remove_reader` says that a descriptor may be closed
            while True:
                await self._wait()
                if self._scope.cancel_called:  # the wait was over before that
                    return
                self._function()
                if not self._is_repeated:
                    return

    def cancel(self) -> None:
        """End it: the function is not called any more."""
        self._scope.cancel()


class TrioLoop:
    """The run of trio in this thread."""

    cancelled: type[BaseException] = trio.Cancelled

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._readers: dict[int, TrioTask] = {}
        self.future: Callable[[], Future[Any]] = TrioFuture
        self.current_task: Callable[[], object] = trio.lowlevel.current_task

    @staticmethod
    def running() -> object:
        """What stands for the run of this thread; None if there is none."""
        return trio.lowlevel.current_trio_token() if trio.lowlevel.in_trio_run() else None

    def is_closed(self) -> bool:
        """Whether it will never run again."""
        try:
            self._token.run_sync_soon(bool)
        except unless_interrupted(trio.RunFinishedError):
            return True
        return False

    def call_soon(self, function: Callable[[], object], /) -> None:
        """Call a function when the tasks that are ready have run."""
        self._token.run_sync_soon(function)

    def call_later(self, seconds: float, function: Callable[[], object], /) -> TrioTask:
        """Call a function after some time."""
        return TrioTask(partial(trio.sleep, seconds), function, is_repeated=False)

    def add_reader(self, descriptor: int, function: Callable[[], object], /) -> None:
        """Call a function whenever a descriptor is readable."""
        self.remove_reader(descriptor)
        wait = partial(trio.lowlevel.wait_readable, descriptor)
        self._readers[descriptor] = TrioTask(wait, function, is_repeated=True)

    def remove_reader(self, descriptor: int, /) -> None:
        """Do so no more; the descriptor may be closed then."""
        watching = self._readers.pop(descriptor, None)
        if watching is not None:
            watching.cancel()
            trio.lowlevel.notify_closing(descriptor)

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Have something done by a task of its own, whatever becomes of this one."""
        future: TrioFuture[T] = TrioFuture()

        async def run() -> None:
            try:
                future.set_result(await coroutine)
            except trio.Cancelled as error:
                future.set_exception(error)  # the run ends
                raise
            except BaseException as error:  # noqa: BLE001 - it is that of whoever waits
                future.set_exception(error)

        trio.lowlevel.spawn_system_task(run, context=copy_context())
        return future

    async def sleep(self, seconds: float) -> None:
        """Let others come, and wait."""
        await trio.sleep(seconds)

    async def wait_to_the_end(
        self, future: Future[Any], when_cancelled: Callable[[], object] = bool
    ) -> BaseException | None:
        """Wait until a future is done, come what may; the error of a task that was cancelled meanwhile."""
        assert isinstance(future, TrioFuture)
        if future.done():
            return None
        try:
            await future._event.wait()
        except trio.Cancelled as error:
            when_cancelled()
            with trio.CancelScope(shield=True):
                await future._event.wait()
            return error
        return None

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Raise `TimeoutError` in a block that takes longer."""
        return _timeout(seconds)

    def begin_from_thread(self, function: Callable[[Call], Coroutine[Any, Any, object]]) -> TrioCall:
        """Have a coroutine function called in a task, with the call itself; another thread calls this."""
        return TrioCall(self._token, function)


@asynccontextmanager
async def _timeout(seconds: float) -> AsyncIterator[None]:
    try:
        with trio.fail_after(seconds):
            yield
    except unless_interrupted(trio.TooSlowError) as error:
        raise TimeoutError from error


class TrioCall:
    """A coroutine function that a thread has called in the loop."""

    def __init__(self, token: trio.lowlevel.TrioToken, function: Callable[[Call], Coroutine[Any, Any, object]]) -> None:
        self._function = function
        self._scope = trio.CancelScope()
        self._outcome: concurrent.futures.Future[object] = concurrent.futures.Future()
        token.run_sync_soon(self._begin)

    def _begin(self) -> None:
        trio.lowlevel.spawn_system_task(self._run)

    async def _run(self) -> None:
        result: object = None
        try:
            with self._scope:
                result = await self._function(self)
        except BaseException as error:
            self._outcome.set_exception(error)
            if isinstance(error, trio.Cancelled):  # the run ends
                raise
        else:
            self._outcome.set_result(result)

    def result(self) -> object:
        """Block that thread until it has ended; raises what it raises."""
        return self._outcome.result()

    def cancel(self) -> None:
        """Cancel it; belongs to the loop."""
        self._scope.cancel()

    @property
    def is_cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._scope.cancelled_caught
