"""
The commits of a listener: requests are queued by the loop, and one thread commits all that are queued.

    loop                                    thread
    1  queues a request, asks for a commit  a  commits all that is queued
    2  serves other connections             b  puts the outcomes into the loop's outbox
                                            c  wakes the loop once

A log in memory has no disk to wait for: it is committed in the loop itself, after all that is ready was read. Another
thread reads what takes long, so that no commit waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar, cast

from eventlog.backend import Backend
from eventlog.backend.deferred import Deferred
from eventlog.backend.records import Pending
from eventlog.clients.awaiting.on_asyncio import AsyncioLoop
from eventlog.clients.awaiting.outbox import Outbox
from eventlog.clients.awaiting.worker import Worker
from eventlog.interruptions import unless_interrupted

T = TypeVar("T")
P = TypeVar("P", bound=Pending)


class Commits:
    """
    The one thread that commits for a loop, and the one that reads for it; each starts with its first work.

    `call`, `read` and `store` belong to the loop.
    """

    def __init__(self, backend: Backend, loop: asyncio.AbstractEventLoop) -> None:
        self._backend = backend
        self._loop = loop
        self._is_inline = backend.durability == "memory"
        self._outbox = Outbox(loop.call_soon_threadsafe)
        self._worker = Worker("eventlog-kafka-commits", AsyncioLoop(loop), self._outbox)
        self._worker.serve(backend.commit_queued)
        self._reader = Worker("eventlog-kafka-reads", AsyncioLoop(loop), self._outbox)
        self._is_commit_planned = False
        self._is_stopping = False

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Have something done that may wait for a commit; the future has what it returns or raises."""
        return self._call(self._worker, function)

    def read(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Have something read that may take long; the future has what it returns or raises."""
        return self._call(self._reader, function)

    def _call(self, worker: Worker, function: Callable[[], T]) -> asyncio.Future[T]:
        if not self._is_inline and not self._is_stopping:
            return cast("asyncio.Future[T]", worker.call(function))
        future: asyncio.Future[T] = self._loop.create_future()
        _settle(future, function)
        return future

    def store(self, defer: Callable[[Callable[[], object]], Deferred[T]]) -> asyncio.Future[T]:
        """
        Store something, with all else that is queued.

        Args:
            defer: queues the request, and is given what is to be called when that is done.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        done: list[Deferred[T]] = []

        def reply() -> T:
            return done[0].reply()

        done.append(defer(lambda: self._outbox.put(partial(_settle, future, reply))))
        self._commit_soon()
        return future

    def commit(self, prepare: Callable[[Callable[[], object]], P]) -> asyncio.Future[P]:
        """
        Store something that is not queued yet, with all that is; the future has the request, or its error.

        Args:
            prepare: makes the request, and is given what is to be called when that is done.
        """
        future: asyncio.Future[P] = self._loop.create_future()
        self.commit_and_call(prepare, lambda pending: _settle(future, lambda: _outcome(pending)))
        return future

    def commit_and_call(self, prepare: Callable[[Callable[[], object]], P], when_stored: Callable[[P], object]) -> None:
        """The same without a future: a function is called in the loop with the request, once it is done."""
        made: list[P] = []
        pending = prepare(lambda: self._outbox.put(lambda: when_stored(made[0])))
        made.append(pending)
        if pending.is_done:
            when_stored(pending)
        else:
            self._backend.submit(pending)
            self._commit_soon()

    def _commit_soon(self) -> None:
        if not self._is_inline:
            self._worker.commit_soon()
        elif not self._is_commit_planned:
            self._is_commit_planned = True
            self._loop.call_soon(self._commit_here)

    def _commit_here(self) -> None:
        self._is_commit_planned = False
        self._outbox.hold()
        try:
            is_done = self._backend.commit_queued(0.0)
        finally:
            self._outbox.let_go()
            self._outbox.run()
        if not is_done:  # another thread commits: ours comes with its next round, and this one makes sure
            self._worker.commit_soon()

    def stop(self) -> None:
        """Have the threads end when everything is done, and wait for them."""
        self._is_stopping = True
        for worker in (self._worker, self._reader):
            worker.stop()
        for worker in (self._worker, self._reader):
            worker.join()


def _outcome(pending: P) -> P:
    """A request that is done; raises its error."""
    if pending.error is not None:
        raise pending.error
    return pending


def _settle(future: asyncio.Future[T], outcome: Callable[[], T]) -> None:
    """Give a future what became of its request, unless nobody waits any more."""
    if future.done():
        return
    try:
        future.set_result(outcome())
    except unless_interrupted(Exception) as error:
        future.set_exception(error)
