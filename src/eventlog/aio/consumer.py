"""
The consumer of an event loop: the core of every consumer, driven by tasks.

A try of a poll runs in the loop when it only reads, and in the log's thread when it may have to wait for a commit:
offsets that are due, requests to the group. Callbacks run in the task that polls, between two tries.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import datetime
from functools import partial
from inspect import isawaitable
from time import monotonic
from typing import Any, Generic, Self, TypeVar

from eventlog.aio.home import Home
from eventlog.aio.record_stream import Chunks, record_stream
from eventlog.aio.waking import Ear
from eventlog.api.consumer import Offsets, Pair
from eventlog.clients.awaiting.loop import Future
from eventlog.clients.awaiting.worker import finish
from eventlog.clients.consumer.consumer import EmbeddedConsumer, closed_consumer
from eventlog.errors import ConcurrentUse
from eventlog.groups.state import CommittedOffset
from eventlog.options import check_int, check_seconds
from eventlog.records import K, Record, RecordBatch, TopicPartition, V

T = TypeVar("T")

AnyCallback = Callable[[list[TopicPartition]], Awaitable[object] | object]
"""A callback of a consumer: a function or a coroutine function, which is awaited."""

_LONG_SECONDS = 0.001
"""A loop over records that are there lets other tasks come this often."""
_SLOW_SECONDS = 0.002
"""After a try that took longer the next ones run in the thread for reads, until they are quick."""
_NEVER_S = float("inf")
CLOSE_SECONDS = 10.0
"""So long closing waits for a poll of another task, and for `on_revoked`."""
_LEAST_SHARE = 0.1
"""The part of it that callbacks have at least which could not be called before."""


class CallbackDue(BaseException):
    """Raised in the middle of a try to have a callback run in the task; then the try begins again."""

    def __init__(self, callback: AnyCallback, partitions: list[TopicPartition]) -> None:
        self.callback = callback
        self.partitions = partitions


class Callbacks:
    """The callbacks of one consumer: what the core may call, which notes instead what a task is to run."""

    def __init__(self, on_revoked: AnyCallback | None) -> None:
        self.on_revoked = on_revoked
        self._done: tuple[AnyCallback, list[TopicPartition]] | None = None
        self.left: list[tuple[AnyCallback, list[TopicPartition]]] | None = None
        """The calls to make when the consumer is closed; None while it is open."""

    def wrap(self, callback: AnyCallback | None) -> Callable[[list[TopicPartition]], None] | None:
        """What the core gets for a callback of the user's."""
        if not callable(callback):
            return callback  # what is no function is left to be refused
        return partial(self._call, callback)

    def _call(self, callback: AnyCallback, partitions: list[TopicPartition]) -> None:
        done, self._done = self._done, None
        if done == (callback, partitions):
            return
        if self.left is None:
            raise CallbackDue(callback, partitions)
        self.left.append((callback, partitions))

    async def run(self, callback: AnyCallback, partitions: list[TopicPartition]) -> None:
        """Run a callback to its end; the core then takes it as done."""
        result = callback(partitions)
        if isawaitable(result):
            await result
        self._done = (callback, partitions)

    async def run_once(self, callback: AnyCallback, partitions: list[TopicPartition]) -> None:
        """Run a callback that the core takes as done even if it fails, or has no time to come to its end."""
        self._done = (callback, partitions)
        await self.run(callback, partitions)


class Consumer(Generic[K, V]):
    """
    A consumer for asyncio: see `eventlog.Consumer` for what it does.

    One task at a time polls; others may commit, seek and pause meanwhile. Get one from `EventLog.consumer()`.
    """

    def __init__(self, home: Home, inner: EmbeddedConsumer[K, V], ear: Ear, callbacks: Callbacks) -> None:
        self._home = home
        self._inner = inner
        self._core = inner._core
        self._max_records = inner._options.max_poll_records
        self._ear = ear
        self._callbacks = callbacks
        self._poller: object = None
        """The task that polls now."""
        self._is_closing = False
        self._ended: Future[None] | None = None
        """Done when that poll has ended, if somebody waits for that."""
        self._job: Future[Any] | None = None
        """What another thread does with the core now."""
        self._is_slow = True
        """Whether a try may take long: it did, or where it reads nobody has read yet."""
        self._breathed_s = monotonic()
        ear.is_concerned = self._core.is_any_of
        if self._core.membership is not None:
            ear.is_at_rest = self._is_at_rest

    @property
    def group(self) -> str | None:
        """The name of the group, or None."""
        return self._inner.group

    @property
    def is_closed(self) -> bool:
        """Whether the consumer is closed."""
        return self._inner.is_closed

    # -- reading ---------------------------------------------------------------------------------------------

    async def poll(self, timeout: float = 0.0, *, max_records: int | None = None) -> list[Record[K, V]]:
        """
        Wait for the next records, for `timeout` seconds at most: see `eventlog.Consumer.poll`.

        If the task is cancelled, nothing was handed out: the next poll returns these records.
        """
        limit = self._max_records if max_records is None else check_int("max_records", max_records, least=1)
        timeout = check_seconds("timeout", timeout)
        while True:
            batches = await self._poll(timeout, limit)
            records = [record for batch in batches for record in batch.records()]
            if self._core.may_hand_out(batches):
                return records

    async def poll_batches(self, timeout: float = 0.0) -> list[RecordBatch[K, V]]:
        """Wait for the next records, in columns: see `eventlog.Consumer.poll_batches`; cancelled as `poll`."""
        timeout = check_seconds("timeout", timeout)
        while True:
            batches = await self._poll(timeout, None)
            if self._core.may_hand_out(batches):
                return batches

    def __aiter__(self) -> AsyncIterator[Record[K, V]]:
        """
        Iterate over records one by one, waiting for more; `wakeup()` ends the loop.

        Asking for the next record finishes the one before. So the record in hand is not finished if the loop is left by
        `break`, by an error or because its task is cancelled: unless the consumer goes on, it comes again.
        """
        return record_stream(Chunks(self).next)

    async def _poll(
        self, timeout: float | None, limit: int | None, *, is_loop: bool = False
    ) -> list[RecordBatch[K, V]]:
        self._home.check()
        if self._is_closing:  # a task that polls again and again would hold it up
            raise closed_consumer()
        if self._poller is not None:
            raise ConcurrentUse(
                "another task polls this consumer, or a callback of it.",
                stored="Nothing was handed out.",
                advice="Give each task a consumer of its own; the others may commit, seek, pause and call wakeup().",
            )
        self._poller = self._home.loop.current_task()
        try:
            until_s = _NEVER_S if timeout is None else monotonic() + timeout
            if monotonic() - self._breathed_s > _LONG_SECONDS:
                await self._breathe()
            while True:
                self._ear.is_rung = False
                batches, is_woken = await self._try(limit, is_loop=is_loop)
                if batches or is_woken:
                    return batches
                left_s = until_s - monotonic()
                if left_s <= 0:
                    return []
                if not self._core.prepare_to_wait():
                    await self._wait(left_s)
        finally:
            self._poller = None
            if self._ended is not None and not self._ended.done():
                self._ended.set_result(None)

    async def _breathe(self) -> None:
        """Let other tasks come: a loop over records that are there would never wait."""
        await self._home.loop.sleep(0)
        self._breathed_s = monotonic()

    async def _wait(self, left_s: float) -> None:
        due_s = self._core.next_wake_at() - self._home.backend.clock.monotonic()
        await self._ear.wait(max(min(left_s, due_s), 0.0))
        self._breathed_s = monotonic()

    async def _try(self, limit: int | None, *, is_loop: bool) -> tuple[list[RecordBatch[K, V]], bool]:
        """One try of a poll, after the callbacks that come before it."""
        attempt = partial(self._inner._try, limit, is_loop=is_loop)
        while True:
            await self._others()
            try:
                if not self._core.is_at_rest():
                    return await self._run(partial(attempt, is_resting=False), "the poll")
                began_s = monotonic()
                if self._is_slow:
                    found = await self._run(partial(attempt, is_resting=True), "the poll", is_read=True)
                else:
                    found = attempt(is_resting=True)
                self._is_slow = monotonic() - began_s > _SLOW_SECONDS
                return found
            except CallbackDue as due:
                await self._callbacks.run(due.callback, due.partitions)

    # -- steps of other threads ------------------------------------------------------------------------------

    def _is_at_rest(self) -> bool:
        return self._job is None and self._core.is_at_rest()

    async def _others(self) -> None:
        """Wait until no other thread uses the core."""
        while (job := self._job) is not None:
            cancelled = await self._home.loop.wait_to_the_end(job)
            if cancelled is not None:
                raise cancelled
            await self._home.loop.sleep(0)

    async def _run(self, function: Callable[[], T], what: str, *, is_read: bool = False) -> T:
        """Have another thread do something with the core."""
        self._ear.unwatch()
        worker = self._home.reader if is_read else self._home.worker
        job = self._job = worker.call(function)
        try:
            return await finish(self._home.loop, job, what)
        finally:
            self._job = None

    def _lend(self, job: Future[Any] | None) -> None:
        """Let a job of another thread use the core until it is done; None when it is."""
        self._ear.unwatch()
        self._job = job

    async def _do(self, function: Callable[[], T], what: str = "the call") -> T:
        """Do something with the core that may commit."""
        self._home.check()
        await self._others()
        return await self._run(function, what)

    async def _ask(self, function: Callable[[], T]) -> T:
        """Do something with the core that only reads, and little."""
        self._home.check()
        await self._others()
        return function()

    # -- finishing and committing ----------------------------------------------------------------------------

    async def commit(
        self, offsets: Offsets | None = None, *, metadata: str | None = None, leader_epoch: int | None = None
    ) -> None:
        """
        Commit the group's offsets: see `eventlog.Consumer.commit`.

        A cancelled task is cancelled when the outcome is known, which a note of the error says.
        """
        commit = partial(self._inner.commit, offsets, metadata=metadata, leader_epoch=leader_epoch)
        await self._do(commit, "the commit of offsets")

    async def committed(self, tp: Pair) -> int | None:
        """The committed offset of the group in one partition, or None."""
        return await self._ask(partial(self._inner.committed, tp))

    async def committed_metadata(self, tp: Pair) -> CommittedOffset | None:
        """The same with its time and what was stored beside it."""
        return await self._ask(partial(self._inner.committed_metadata, tp))

    # -- positions -------------------------------------------------------------------------------------------

    async def assign(self, partitions: Iterable[Pair]) -> None:
        """Read exactly these partitions from now on, from the committed offset or `start`."""
        await self._do(partial(self._inner.assign, partitions))

    async def assignment(self) -> list[TopicPartition]:
        """Return the partitions that this consumer reads."""
        return await self._ask(self._inner.assignment)

    async def position(self, tp: Pair) -> int:
        """Return the offset of the next record that will be read in one partition."""
        return await self._ask(partial(self._inner.position, tp))

    async def seek(self, tp: Pair, offset: int) -> None:
        """Go to an offset of one assigned partition; the next record has that offset or a later one."""
        await self._ask(partial(self._inner.seek, tp, offset))
        self._ear.ring()

    async def seek_to_beginning(self, *partitions: Pair) -> None:
        """Go to the first record of some assigned partitions, or of all."""
        await self._ask(partial(self._inner.seek_to_beginning, *partitions))
        self._ear.ring()

    async def seek_to_end(self, *partitions: Pair) -> None:
        """Go after the last record of some assigned partitions, or of all."""
        await self._ask(partial(self._inner.seek_to_end, *partitions))
        self._ear.ring()

    async def seek_to_committed(self, *partitions: Pair) -> None:
        """Go back to the group's committed offsets in some assigned partitions, or in all."""
        await self._do(partial(self._inner.seek_to_committed, *partitions))
        self._ear.ring()

    async def seek_to_time(self, moment: datetime | int, *partitions: Pair) -> None:
        """Go to the first record at or after a time, in some assigned partitions, or in all."""
        await self._ask(partial(self._inner.seek_to_time, moment, *partitions))
        self._ear.ring()

    async def pause(self, *partitions: Pair) -> None:
        """Return no records of some assigned partitions, or of all, until `resume`."""
        await self._ask(partial(self._inner.pause, *partitions))

    async def resume(self, *partitions: Pair) -> None:
        """Go on with some paused partitions, or with all."""
        await self._ask(partial(self._inner.resume, *partitions))
        self._ear.ring()

    async def paused(self) -> list[TopicPartition]:
        """Return the paused partitions."""
        return await self._ask(self._inner.paused)

    async def lag(self) -> dict[TopicPartition, int]:
        """Return the number of offsets between the position and the end, for each assigned partition."""
        return await self._ask(self._inner.lag)

    def wakeup(self) -> None:
        """
        End a poll that waits, or else the next one; an `async for` loop ends.

        Any thread may call it.
        """
        self._inner.wakeup()

    # -- life ------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """
        Commit finished offsets, and close the consumer: see `eventlog.Consumer.close`.

        A poll that waits ends first. It is done to its end in a cancelled task, too; `on_revoked` has 10 s then.
        """
        self._home.check_here()
        if not self._inner.is_closed:
            closing = self._home.loop.start(self._close(self._home.loop.current_task()))
            await finish(self._home.loop, closing, "closing the consumer")

    def _is_in(self, task: object) -> bool:
        """Whether this task polls, and has called a callback."""
        return self._poller is not None and self._poller is task

    async def _close(self, asks: object) -> None:
        self._is_closing = True
        self.wakeup()
        callbacks = self._callbacks
        on_revoked = None if self._inner._options.membership is None else callbacks.on_revoked
        began_s = monotonic()
        try:
            async with self._home.loop.timeout(CLOSE_SECONDS):
                while self._poller is not None and self._poller is not asks:
                    self._ended = self._home.loop.future()
                    await self._ended
                await self._others()
                if not self._inner.is_closed and on_revoked is not None:
                    given_up = await self._run(self._core.prepare_to_leave, "leaving")
                    if given_up:
                        await callbacks.run_once(on_revoked, given_up)
        finally:
            callbacks.left = []
            await self._run(self._inner.close, "closing the consumer")
            left_s = max(CLOSE_SECONDS - (monotonic() - began_s), _LEAST_SHARE * CLOSE_SECONDS)
            async with self._home.loop.timeout(left_s):
                for callback, partitions in callbacks.left:
                    await callbacks.run(callback, partitions)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._inner)
