"""Work of minutes, which has a thread of its own: what is short does not wait behind it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from eventlog.aio.home import Home
from eventlog.clients.awaiting.loop import Future
from eventlog.clients.awaiting.worker import Interrupted, Worker, note_outcome
from eventlog.errors import LogClosed
from eventlog.options import check_function

T = TypeVar("T")


class Apart(Generic[T]):
    """
    One piece of long work for one task, in a thread of its own.

    It is interrupted where it calls a function of the user's, or one of ours in its place.

    Args:
        name: what it is, such as "the copy".
        left: what an interruption leaves: a sentence.
    """

    def __init__(self, home: Home, name: str, left: str) -> None:
        self._path = home.path
        self._loop = home.loop
        self._name = name
        self._left = left
        self._worker = Worker("eventlog-aio-long", home.loop, home.outbox, is_lasting=True)
        self._job: Future[T] | None = None
        self._is_stopped = False

    def interrupting(self, function: Callable[..., Any] | None) -> Callable[..., Any] | None:
        """What the work calls for a function, which ends the work when that was asked for."""
        if not callable(function):
            return function
        check_function("convert or progress", function, "Nothing was changed.")
        return partial(self._call, function)

    def ticking(self, progress: Callable[..., Any] | None) -> Callable[..., Any] | None:
        """The same for a function that may be left out."""
        return self.interrupting(_ignore if progress is None else progress)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self._is_stopped:
            raise Interrupted
        return function(*arguments)

    def _stop(self) -> None:
        self._is_stopped = True

    async def run(self, work: Callable[[], T]) -> T:
        """Work to the end; in a cancelled task, until the next call of a function."""
        job = self._job = self._worker.call(work)
        cancelled = await self._loop.wait_to_the_end(job, self._stop)
        self._worker.stop()
        self._worker.join()
        failure = job.exception()
        if isinstance(failure, Interrupted):
            if cancelled is None:
                raise self._closed() from failure
            cancelled.add_note(f"{self._name} was interrupted. {self._left}")
            raise cancelled
        if cancelled is not None:
            note_outcome(cancelled, failure, self._name)
            raise cancelled
        return job.result()

    def _closed(self) -> LogClosed:
        return LogClosed(
            f"the log at {self._path} was closed during {self._name}.",
            stored=self._left,
            advice="Open the log again, and call it again.",
        )

    def _is_in(self, _task: object) -> bool:
        """No: what it calls is in a thread of its own."""
        return False

    async def close(self) -> None:
        """End the work, because the log is closed, and wait for that."""
        self._stop()
        if self._job is not None:
            cancelled = await self._loop.wait_to_the_end(self._job)
            if cancelled is not None:
                raise cancelled


def _ignore(*_: object) -> None:
    """Do nothing."""
