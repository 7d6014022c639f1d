"""
A processor for asyncio: the processor of every program in a thread of its own, with its function in the loop.

What becomes of records that fail is decided in one place, `clients/transaction/worker.py`, which asks the loop for each
record.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from inspect import isawaitable
from typing import Any, Self, TypeAlias

from eventlog.aio.home import Home
from eventlog.aio.transaction import Transaction
from eventlog.clients.awaiting.loop import Call
from eventlog.clients.awaiting.worker import Interrupted, Worker, finish
from eventlog.clients.transaction.processor import Processor as InnerProcessor
from eventlog.records import Record

Function: TypeAlias = Callable[[Transaction, Record[Any, Any]], Awaitable[object] | object]
"""The function of a processor: it is awaited if it is a coroutine function."""
OnFailure: TypeAlias = Callable[[Transaction, Record[Any, Any], Exception], Awaitable[object] | object]
"""The function for a record that a processor gives up."""


class LoopCalls:
    """The calls of a processor's functions, from its thread into the loop, one at a time."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._running: Call | None = None
        self.is_cancelled = False
        """Whether the task that runs the processor was cancelled."""
        self.task: object = None
        """The task that calls a function now."""

    def wrap(self, function: Callable[..., Awaitable[object] | object]) -> Callable[..., object]:
        """What the thread calls for a function of the user's; what is no function is left to be refused."""
        if not callable(function):
            return function

        def call(tx: Any, *arguments: Any) -> object:
            running = self._home.loop.begin_from_thread(partial(self._run, function, tx, arguments))
            try:
                result = running.result()
            except BaseException as error:
                if running.is_cancelled:
                    raise Interrupted from error
                raise
            if running.is_cancelled:
                raise Interrupted
            return result

        return call

    async def _run(
        self, function: Callable[..., Awaitable[object] | object], tx: Any, arguments: Any, running: Call
    ) -> object:
        if self.is_cancelled:
            raise Interrupted
        self._running, self.task = running, self._home.loop.current_task()
        try:
            result = function(Transaction(self._home, tx), *arguments)
            return await result if isawaitable(result) else result
        finally:
            self._running = self.task = None

    def cancel(self) -> None:
        """Cancel the call that goes on, and all later ones of this run; belongs to the loop."""
        self.is_cancelled = True
        if self._running is not None:
            self._running.cancel()


class Processor:
    """
    A processor for asyncio: see `eventlog.Processor` for what it does.

    It works in a thread of its own while it runs; its functions are called in the loop, one record after the other,
    with a transaction for asyncio. Get one from `EventLog.processor()`.
    """

    def __init__(self, home: Home, inner: InnerProcessor, calls: LoopCalls) -> None:
        self._home = home
        self._inner = inner
        self._calls = calls
        self._worker = Worker("eventlog-aio-processor", home.loop, home.outbox, is_lasting=True)

    async def run(self) -> int:
        """
        Process existing and new records until `stop()`: see `eventlog.Processor.run`.

        If the task is cancelled, the function is cancelled, and its record comes again; nothing of its transaction is
        stored.
        """
        return await self._run(self._inner.run)

    async def run_to_end(self, timeout: float | None = None) -> int:
        """Process the records that exist at the call: see `eventlog.Processor.run_to_end`; cancelled as `run`."""
        return await self._run(lambda: self._inner.run_to_end(timeout))

    def stop(self) -> None:
        """End the run that is going on, or else the next one, after the record in hand; any thread may call it."""
        self._inner.stop()

    async def _run(self, run: Callable[[], int]) -> int:
        self._home.check()
        self._calls.is_cancelled = False
        job = self._worker.call(run)
        cancelled = await self._home.loop.wait_to_the_end(job, self._interrupt)
        if cancelled is not None:
            job.exception()
            raise cancelled
        return job.result()

    def _interrupt(self) -> None:
        self._inner.stop()
        self._calls.cancel()

    async def close(self) -> None:
        """
        End the run that is going on, and leave the group; it is done to its end in a cancelled task, too.

        In the function itself it waits for nothing: the processor closes when the run has ended.
        """
        self._home.check_here()
        self._inner.stop()
        closing = self._home.loop.start(self._close())
        if not self._is_in(self._home.loop.current_task()):
            await finish(self._home.loop, closing, "closing the processor")

    def _is_in(self, task: object) -> bool:
        """Whether this task calls the function."""
        return self._calls.task is not None and self._calls.task is task

    async def _close(self) -> None:
        closing = self._worker.call(self._inner.close)  # behind the run that goes on
        try:
            await finish(self._home.loop, closing, "closing the processor")
        finally:
            self._worker.stop()
            self._worker.join()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._inner)
