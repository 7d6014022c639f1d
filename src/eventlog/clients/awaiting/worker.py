"""
The thread of a log that stores what tasks have queued, and does for them what has to wait for the disk.

    task                                    worker
    1  queues a request, asks for a commit  a  commits all that is queued
    2  awaits its future                    b  puts the outcomes into the loop's outbox
                                            c  wakes the loop once

There is one such thread for each open log, and one more for reads that are long; each starts with its first work.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from eventlog.clients.awaiting.loop import Future, Loop
from eventlog.clients.awaiting.outbox import Outbox, resolve
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.uninterruptible import start_thread

T = TypeVar("T")


class Interrupted(BaseException):
    """Raised in a thread that works for a task which was cancelled: no failure of what it does."""


class Worker:
    """
    One thread that works for a loop.

    `call` and `commit_soon` belong to the loop's thread.

    Args:
        is_lasting: whether a job may take long and commit meanwhile, as a processor's run does: what it commits for the
            tasks of the loop is then told at once, and not when the job is done.
    """

    def __init__(self, name: str, loop: Loop, outbox: Outbox, *, is_lasting: bool = False) -> None:
        self._is_lasting = is_lasting
        self._name = name
        self._loop = loop
        self._outbox = outbox
        self._jobs: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._is_commit_wanted = False
        self._commit: Callable[[], object] = bool
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self._wakeup = threading.Lock()
        self._wakeup.acquire()

    def serve(self, commit: Callable[[], object]) -> None:
        """Set the function that commits all that is queued."""
        self._commit = commit

    @property
    def thread(self) -> threading.Thread | None:
        """The thread, once it runs."""
        return self._thread

    def call(self, function: Callable[[], T]) -> Future[T]:
        """
        Have a function called by the thread; the future has what it returns or raises.

        Once the thread was stopped, everything is closed, and the function, which closes it again, is called here.
        """
        future: Future[T] = self._loop.future()
        job = (future, function)
        self._jobs.append(job)
        if self._is_stopping:
            self._work()
            self._outbox.flush()
            return future
        try:
            self._wake()
        except unless_interrupted(RuntimeError):  # no thread is to be had: nothing was begun
            self._jobs.remove(job)
            raise
        return future

    def commit_soon(self) -> None:
        """Have all that is queued committed."""
        self._is_commit_wanted = True
        self._wake()

    def stop(self) -> None:
        """Have the thread end when everything is done; any thread may call it, and a finalizer."""
        self._is_stopping = True
        with suppress(RuntimeError):
            self._wakeup.release()

    def join(self) -> None:
        """Wait for the end of the thread."""
        if self._thread is not None:
            self._thread.join()

    def forget(self) -> None:
        """Leave everything to the parent, in a forked child."""
        self._jobs, self._thread, self._is_stopping = deque(), None, True

    def _wake(self) -> None:
        if self._thread is None:
            # A daemon: a program that ends without close() does not wait for it. What it was asked is not acknowledged.
            thread = self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            try:
                start_thread(thread)
            finally:
                if thread.ident is None:  # there is none to be had: the next call tries again
                    self._thread = None
        if self._wakeup.locked():  # else it was released before, and the thread has not woken up yet
            with suppress(RuntimeError):  # `stop` in another thread was quicker
                self._wakeup.release()

    def _run(self) -> None:
        outbox = self._outbox
        if not self._is_lasting:
            outbox.hold()
        try:
            while not self._is_stopping:
                self._wakeup.acquire()
                while self._work():
                    outbox.flush()
        finally:
            outbox.let_go()

    def _work(self) -> bool:
        """Commit, or do the next job; whether there was anything to do."""
        if self._is_commit_wanted:
            self._is_commit_wanted = False
            self._commit()
            return True
        if not self._jobs:
            return False
        future, function = self._jobs.popleft()
        try:
            outcome = partial(resolve, future, function())
        except BaseException as error:  # noqa: BLE001 - it is the caller's, whatever it is
            outcome = partial(refuse, future, error)
        self._outbox.put(outcome)
        return True


def refuse(future: Future[Any], error: BaseException) -> None:
    """Give a future its error, unless nobody waits any more."""
    if not future.done():
        future.set_exception(error)


async def finish(loop: Loop, future: Future[T], what: str) -> T:
    """
    Wait for what is done anyway, to its end.

    A task that is cancelled meanwhile is cancelled afterwards: the error has a note that says what became of it.
    """
    cancelled = await loop.wait_to_the_end(future)
    if cancelled is not None:
        note_outcome(cancelled, future.exception(), what)
        raise cancelled
    return future.result()


def note_outcome(cancelled: BaseException, failure: BaseException | None, what: str) -> None:
    """Note in the error of a cancelled task what became of something that was done to its end."""
    cancelled.add_note(f"{what} was done." if failure is None else f"{what} failed: {failure!r}")
