"""
The queue of an event loop: a worker of a queue, driven by tasks.

What may wait for a commit is done in the log's thread: taking jobs, and storing what has become of them. A job itself
is acknowledged in the loop: that only notes it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from inspect import isawaitable
from time import monotonic
from typing import Any, Generic, Self

from eventlog.aio.home import Home
from eventlog.aio.waking import Ear
from eventlog.api.queue import Job
from eventlog.clients.awaiting.loop import Future
from eventlog.clients.awaiting.worker import finish
from eventlog.clients.queue.queue import EmbeddedQueue, closed_queue
from eventlog.errors import ConcurrentUse
from eventlog.options import check_int, check_seconds
from eventlog.records import K, V

_NEVER_S = float("inf")
_REST_SECONDS = 0.05


class Queue(Generic[K, V]):
    """
    A worker of a queue for asyncio: see `eventlog.Queue` for what it does.

    One task at a time polls; its jobs may be given to other tasks, which acknowledge them without waiting. Get one from
    `EventLog.queue()`.

    Example:
        >>> import asyncio
        >>> import eventlog.aio
        >>> async def main():
        ...     async with eventlog.aio.open(":memory:") as log:
        ...         mails = await log.topic("mails", value=str)
        ...         await mails.append("hello")
        ...         async with log.queue(mails, group="mailers") as queue:
        ...             async for job in queue:
        ...                 with job:
        ...                     return job.value
        >>> asyncio.run(main())
        'hello'
    """

    def __init__(
        self, home: Home, inner: EmbeddedQueue[K, V], ear: Ear, open_another: Callable[[], Awaitable[Queue[K, V]]]
    ) -> None:
        self._home = home
        self._inner = inner
        self._ear = ear
        self._open_another = open_another
        """Makes another worker like this one, for `run()`."""
        self._tasks: set[object] = set()
        """The tasks of `run()`."""
        ear.is_at_rest = bool  # False: a job that was released may be ours, whatever has come to the topics
        self._poller: object = None
        """The task that polls now."""
        self._is_closing = False
        self._ended: Future[None] | None = None
        """Done when that poll has ended, if somebody waits for that."""

    @property
    def group(self) -> str:
        """The name of the queue, which its workers share."""
        return self._inner.group

    @property
    def is_closed(self) -> bool:
        """Whether the queue is closed."""
        return self._inner.is_closed

    # -- taking ----------------------------------------------------------------------------------------------

    async def poll(self, timeout: float = 0.0, *, max_records: int | None = None) -> list[Job[K, V]]:
        """
        Take jobs, for `timeout` seconds at most, and store what has become of those before: see `eventlog.Queue.poll`.

        If the task is cancelled, nothing was handed out: what was taken comes with the next poll.
        """
        most = self._inner._options.max_poll_records
        if max_records is not None:
            most = check_int("max_records", max_records, least=1)
        return await self._poll(check_seconds("timeout", timeout), most)

    async def __aiter__(self) -> AsyncIterator[Job[K, V]]:
        """Take jobs without end, and wait for more; `wakeup()` and closing end the loop."""
        while not (self._is_closing or self._inner.is_closed):
            jobs = await self._poll(None, self._inner._options.max_poll_records, is_loop=True)
            if not jobs:
                return
            for job in jobs:
                yield job

    async def _poll(self, timeout: float | None, most: int, *, is_loop: bool = False) -> list[Job[K, V]]:
        self._begin()
        worker = self._inner._worker
        try:
            until_s = _NEVER_S if timeout is None else monotonic() + timeout
            while True:
                self._ear.is_rung = False
                attempt = partial(self._inner._attempt, most, is_loop=is_loop)
                is_woken = await self._home.call(attempt, "taking jobs")
                jobs = [] if self._is_ending() else worker._handed(most)
                left_s = until_s - monotonic()
                if jobs or is_woken or left_s <= 0:
                    return jobs
                due_s = _REST_SECONDS
                if worker.seen is not None:
                    due_s = worker.wake_at_s - self._home.backend.clock.monotonic()
                await self._ear.wait(max(min(left_s, due_s), 0.0))
        finally:
            self._end()

    def _begin(self) -> None:
        """Have the task that runs be the one that polls."""
        self._home.check()
        if self._is_closing:
            raise closed_queue()
        if self._poller is not None:
            raise ConcurrentUse(
                "another task polls this queue.",
                stored="Nothing was handed out.",
                advice="Give each task a queue of its own, or its jobs; the others may call commit() and wakeup().",
            )
        self._poller = self._home.loop.current_task()

    def _end(self) -> None:
        self._poller = None
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)

    def _is_ending(self) -> bool:
        """Whether another task closes this: what was taken is given back."""
        return self._is_closing

    # -- working for it --------------------------------------------------------------------------------------

    async def run(self, function: Callable[[Job[K, V]], Awaitable[object] | object], *, tasks: int = 1) -> None:
        """
        Work in some tasks until the queue is closed or woken: see `eventlog.Queue.run`.

        If the task is cancelled, it ends when the jobs in hand are done.

        Args:
            function: takes the job; what it returns is awaited, if that is possible.
            tasks: how many tasks work; each is a worker of its own.
        """
        check_int("tasks", tasks, least=1)
        if not callable(function):
            raise TypeError(f"function must be a function, not {function!r}. Nothing was done.")
        self._begin()
        try:
            if not self._inner._take_wakeup():
                await self._run(function, tasks)
        finally:
            self._end()

    async def _run(self, function: Callable[[Job[K, V]], Awaitable[object] | object], count: int) -> None:
        loop, workers = self._home.loop, list[Queue[K, V]]()
        running = list[Future[None]]()
        cancelled: BaseException | None = None
        try:
            for _ in range(count):
                workers.append(await self._open_another())
                self._inner._siblings.append(workers[-1]._inner)
            if self._inner._take_wakeup() or self._is_closing:  # while they were made
                self._end_workers()
            running += (loop.start(self._work(worker, function)) for worker in workers)
            for one in running:
                cancelled = await loop.wait_to_the_end(one, self._end_workers) or cancelled
        finally:
            for worker in workers:
                await worker.close()
            self._inner._siblings.clear()
            if not self._inner.is_closed:
                self._inner._take_wakeup()
        failures = [failure for one in running if (failure := one.exception()) is not None]
        if cancelled is not None or failures:
            raise cancelled or failures[0]

    def _end_workers(self) -> None:
        """End the loops of `run()`, each behind the job in hand."""
        for worker in self._inner._siblings:
            worker.wakeup()

    async def _work(self, worker: Queue[K, V], function: Callable[[Job[K, V]], Awaitable[object] | object]) -> None:
        task = self._home.loop.current_task()
        self._tasks.add(task)
        try:
            async for job in worker:
                with job:
                    result = function(job)
                    if isawaitable(result):
                        await result
        finally:
            self._tasks.remove(task)
            self._end_workers()

    # -- what becomes of jobs --------------------------------------------------------------------------------

    async def commit(self) -> None:
        """
        Store what has become of jobs now: see `eventlog.Queue.commit`.

        A cancelled task is cancelled when the outcome is known, which a note of the error says.
        """
        await self._home.call(self._inner.commit, "storing what has become of jobs")

    async def renew(self, job: Job[Any, Any], seconds: float | None = None) -> None:
        """
        Begin the time limit of a job again: see `eventlog.Job.renew`, which would hold up the loop.

        A cancelled task is cancelled when the outcome is known, which a note of the error says.
        """
        job._settler()
        await self._home.call(partial(self._inner._renew, job, seconds), "renewing a job")

    def wakeup(self) -> None:
        """
        End a poll that waits, or else the next one; an `async for` loop ends.

        Any thread may call it.
        """
        self._inner.wakeup()

    # -- life ------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """
        Store what has become of jobs, and give back all that are not done: see `eventlog.Queue.close`.

        A poll that waits ends first. It is done to its end in a cancelled task, too.
        """
        self._home.check_here()
        if not self._inner.is_closed:
            closing = self._home.loop.start(self._close(self._home.loop.current_task()))
            await finish(self._home.loop, closing, "closing the queue")

    async def _close(self, asks: object) -> None:
        self._is_closing = True
        self.wakeup()
        while self._poller is not None and not self._is_in(asks):
            self._ended = self._home.loop.future()
            await self._ended
        await finish(self._home.loop, self._home.worker.call(self._inner.close), "closing the queue")

    def _is_in(self, task: object) -> bool:
        """Whether this task polls or works, so that it cannot wait for the end of that."""
        return self._poller is not None and (self._poller is task or task in self._tasks)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._inner)
