"""Where the objects of a log belong: one loop, one thread, one process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from eventlog.backend import Backend
from eventlog.backend.deferred import Deferred, DeferringBackend
from eventlog.clients.awaiting.loop import Future, running_loop
from eventlog.clients.awaiting.outbox import outbox, resolve
from eventlog.clients.awaiting.worker import Worker, finish
from eventlog.errors import ConcurrentUse, LogClosed, UsedAfterFork

T = TypeVar("T")


class Home:
    """
    The loop of one open log, and the threads that work for it.

    Belongs to the loop's thread.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.loop = running_loop()
        self._running, self._here = self.loop.running, self.loop.running()
        self.outbox = outbox()
        self.worker = Worker("eventlog-aio", self.loop, self.outbox)
        self.reader = Worker("eventlog-aio-reader", self.loop, self.outbox)
        self.backend: Backend
        self.requests: DeferringBackend
        self.is_closed = False
        self._is_forked = False

    def serve(self, backend: Backend) -> None:
        """Begin to work for an open log."""
        self.backend = backend
        self.requests = backend.deferring()
        self.worker.serve(backend.commit_queued)
        backend.on_fork(self)

    def check(self) -> None:
        """Raise why this may not be used here and now."""
        if self.is_closed or self._running() is not self._here:
            raise self._refusal()

    def check_here(self) -> None:
        """Raise an error in another loop than that of the log, which would wait for what never comes."""
        if not self.is_closed and self._running() is not self._here:
            raise self._refusal()

    def _refusal(self) -> Exception:
        if self._is_forked:
            return UsedAfterFork(
                f"the log at {self.path} was opened for a loop of the parent process.",
                stored="Nothing was changed.",
                advice="Open it again with eventlog.aio.open() in the child.",
            )
        if self.is_closed:
            return LogClosed(
                f"the log at {self.path} is closed.",
                stored="Nothing was changed.",
                advice="Call eventlog.aio.open() again.",
            )
        return ConcurrentUse(
            f"the log at {self.path} was opened in another event loop.",
            stored="Nothing was changed.",
            advice="Open it once in each loop; within a process they share the files.",
        )

    # -- waiting for the disk --------------------------------------------------------------------------------

    async def call(self, function: Callable[[], T], what: str) -> T:
        """Have the worker do what has to wait for a commit; it is done to its end, cancelled or not."""
        self.check()
        return await finish(self.loop, self.worker.call(function), what)

    async def read(self, function: Callable[[], T], what: str) -> T:
        """The same in the thread for long reads."""
        self.check()
        return await finish(self.loop, self.reader.call(function), what)

    def promise(self) -> tuple[Future[None], Callable[[], object]]:
        """A future, and what another thread calls to have it done."""
        future: Future[None] = self.loop.future()
        return future, partial(self.outbox.put, partial(resolve, future, None))

    def begin(self, defer: Callable[[Callable[[], object]], Deferred[T]]) -> tuple[Future[None], Deferred[T]]:
        """Queue a request that is committed with all others of this turn of the loop, and a future for its end."""
        future, when_done = self.promise()
        deferred = defer(when_done)
        self.worker.commit_soon()
        return future, deferred

    async def store(self, defer: Callable[[Callable[[], object]], Deferred[T]]) -> T:
        """Store something; a cancelled task leaves it queued, and it is stored."""
        future, deferred = self.begin(defer)
        await future
        return deferred.reply()

    async def store_to_the_end(
        self, defer: Callable[[Callable[[], object]], Deferred[T]]
    ) -> tuple[Deferred[T], BaseException | None]:
        """
        Store something, and know what became of it, whether the task is cancelled or not.

        Returns the request, which is done, and the error that a task that was cancelled meanwhile is to raise, with a
        note of what became of all that it does.
        """
        future, deferred = self.begin(defer)
        return deferred, await self.loop.wait_to_the_end(future)

    # -- life ------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Have the threads end; a finalizer may call it."""
        self.worker.stop()
        self.reader.stop()

    def join(self) -> None:
        """Wait for the ends of the threads, which have nothing left to do."""
        self.worker.join()
        self.reader.join()

    def _after_fork(self) -> None:
        """Leave the loop and the threads to the parent."""
        self._is_forked = self.is_closed = True
        self.worker.forget()
        self.reader.forget()
