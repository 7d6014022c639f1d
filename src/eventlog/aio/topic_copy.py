"""Copies of topics, for asyncio: made in a thread of their own, which a cancelled task ends after a transaction."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Generic

from eventlog.aio.home import Home
from eventlog.aio.topic import Topic
from eventlog.aio.worker import Interrupted, Worker, note_outcome
from eventlog.clients.awaiting.loop import Future
from eventlog.clients.copying.topic_copy import TopicCopy as InnerCopy
from eventlog.errors import LogClosed
from eventlog.records import K, TopicPartition, V


class TopicCopy(Generic[K, V]):
    """
    The copy of a topic, for asyncio: see `eventlog.TopicCopy`.

    Get one from `EventLog.copy_topic()`, again at any time.
    """

    def __init__(self, home: Home, inner: InnerCopy[K, V]) -> None:
        self._home = home
        self._inner = inner

    @property
    def topic(self) -> Topic[K, V]:
        """The new topic."""
        new: Any = self._inner.topic
        return Topic(self._home, new)

    @property
    def records(self) -> int:
        """The number of records that were copied, in all calls together; read in the loop."""
        return self._inner.records

    def offset(self, partition: int, offset: int) -> int:
        """
        Return the offset that stands in the new topic for one of the old topic: see `eventlog.TopicCopy.offset`.

        It is a look at some rows, in the loop.
        """
        self._home.check()
        return self._inner.offset(partition, offset)

    async def carry_groups(self, *groups: str, force: bool = False) -> dict[str, dict[TopicPartition, int]]:
        """
        Commit for groups of the old topic the offsets in the new one: see `eventlog.TopicCopy.carry_groups`.

        A cancelled task is cancelled when it is done.
        """
        return await self._home.call(partial(self._inner.carry_groups, *groups, force=force), "the change of offsets")

    def __repr__(self) -> str:
        return repr(self._inner)


class Copying:
    """One copy that is going on, in a thread of its own."""

    def __init__(self, home: Home) -> None:
        self._path = home.path
        self._loop = home.loop
        self._worker = Worker("eventlog-aio-copy", home.loop, home.outbox)
        self._job: Future[InnerCopy[Any, Any]] | None = None
        self._is_stopped = False

    def interrupting(self, function: Callable[..., Any] | None) -> Callable[..., Any] | None:
        """What the copy calls for a function of the user's, which ends the copy when that was asked for."""
        return partial(self._call, function) if callable(function) else function

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self._is_stopped:
            raise Interrupted
        return function(*arguments)

    def _stop(self) -> None:
        """End the copy before its next record, or after its present transaction."""
        self._is_stopped = True

    async def run(self, copy: Callable[[], InnerCopy[Any, Any]]) -> InnerCopy[Any, Any]:
        """Copy to the end; in a cancelled task, end with what is stored."""
        job = self._job = self._worker.call(copy)
        cancelled = await self._loop.wait_to_the_end(job, self._stop)
        self._worker.stop()
        self._worker.join()
        failure = job.exception()
        if isinstance(failure, Interrupted):
            if cancelled is None:
                raise self._closed() from failure
            cancelled.add_note("The copy goes on where it ended when copy_topic() is called again.")
            raise cancelled
        if cancelled is not None:
            note_outcome(cancelled, failure, "the copy")
            raise cancelled
        return job.result()

    def _closed(self) -> LogClosed:
        return LogClosed(
            f"the log at {self._path} was closed while a topic was copied.",
            stored="What was copied before is stored.",
            advice="Open the log again, and call copy_topic() again: it goes on there.",
        )

    async def close(self) -> None:
        """End the copy, because the log is closed, and wait for that."""
        self._stop()
        if self._job is not None:
            cancelled = await self._loop.wait_to_the_end(self._job)
            if cancelled is not None:
                raise cancelled
