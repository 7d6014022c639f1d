"""What is asked of an event loop; each kind of loop answers in a module of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Future(Protocol[T]):
    """The outcome of something, which one task or more wait for; it belongs to the loop's thread."""

    def done(self) -> bool:
        """Whether it has an outcome."""
        ...

    def result(self) -> T:
        """Return what came out, or raise it."""
        ...

    def exception(self) -> BaseException | None:
        """Return the error that came out, or None."""
        ...

    def set_result(self, result: T, /) -> object:
        """Give it its outcome."""
        ...

    def set_exception(self, exception: BaseException, /) -> object:
        """Give it an error as its outcome."""
        ...

    def __await__(self) -> Generator[Any, None, T]: ...


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> object:
        """Have it not come."""
        ...


class Call(Protocol):
    """A coroutine function that a thread has called in the loop."""

    def result(self) -> object:
        """Block that thread until it has ended; raises what it raises."""
        ...

    def cancel(self) -> object:
        """Cancel it; belongs to the loop."""
        ...

    @property
    def is_cancelled(self) -> bool:
        """Whether it was cancelled."""
        ...


class Loop(Protocol):
    """
    An event loop.

    All belongs to its thread, but for `call_from_thread` and `begin_from_thread`.
    """

    cancelled: type[BaseException]
    """What is raised in a task that is cancelled."""

    def running(self) -> object:
        """What stands for the loop that runs in this thread now; None if there is none, or one of another kind."""
        ...

    def is_closed(self) -> bool:
        """Whether it will never run again."""
        ...

    def future(self) -> Future[Any]:
        """A future without an outcome."""
        ...

    def current_task(self) -> object:
        """What stands for the task that runs."""
        ...

    def call_soon(self, function: Callable[[], object], /) -> object:
        """Call a function when the tasks that are ready have run."""
        ...

    def call_later(self, seconds: float, function: Callable[[], object], /) -> Timer:
        """Call a function after some time."""
        ...

    def add_reader(self, descriptor: int, function: Callable[[], object], /) -> object:
        """Call a function whenever a descriptor is readable."""
        ...

    def remove_reader(self, descriptor: int, /) -> object:
        """Do so no more; the descriptor may be closed then."""
        ...

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Have something done by a task of its own, whatever becomes of this one."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let others come, and wait."""
        ...

    async def wait_to_the_end(
        self, future: Future[Any], when_cancelled: Callable[[], object] = bool
    ) -> BaseException | None:
        """Wait until a future is done, come what may; the error of a task that was cancelled meanwhile."""
        ...

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Raise `TimeoutError` in a block that takes longer."""
        ...

    def begin_from_thread(self, function: Callable[[Call], Coroutine[Any, Any, object]]) -> Call:
        """Have a coroutine function called in a task, with the call itself; another thread calls this."""
        ...


def running_loop() -> Loop:
    """The loop that runs in this thread."""
    if is_trio():
        from eventlog.clients.awaiting.on_trio import TrioLoop

        return TrioLoop()
    from eventlog.clients.awaiting.on_asyncio import AsyncioLoop

    return AsyncioLoop(asyncio.get_running_loop())


def is_trio() -> bool:
    """Whether a task of trio runs in this thread; trio may be the guest of another loop."""
    lowlevel = getattr(sys.modules.get("trio"), "lowlevel", None)  # another thread may be importing it
    return lowlevel is not None and bool(lowlevel.in_trio_task())
