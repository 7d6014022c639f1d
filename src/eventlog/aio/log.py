"""A log for asyncio: opens topics, producers, consumers and transactions, and closes what it has opened."""

from __future__ import annotations

import asyncio
import os
import re
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from uuid import UUID

from eventlog.aio.consumer import AnyCallback, Callbacks, Consumer
from eventlog.aio.groups import Groups
from eventlog.aio.home import Home
from eventlog.aio.opener import Opening, opened
from eventlog.aio.processor import Function, LoopCalls, OnFailure, Processor
from eventlog.aio.producer import Producer
from eventlog.aio.projection import Projection
from eventlog.aio.streams import follow, stream
from eventlog.aio.topic import Topic, inner_of
from eventlog.aio.transaction import Transaction, transact
from eventlog.aio.waking import Waker
from eventlog.aio.worker import finish
from eventlog.batches.format import TARGET_BYTES
from eventlog.batches.partitioners import Partitioner
from eventlog.clients.consumer.consumer import EmbeddedConsumer
from eventlog.clients.consumer.opening import open_consumer
from eventlog.clients.producer.producer import EmbeddedProducer
from eventlog.codecs import Upcasters
from eventlog.groups.assignors import Assignor
from eventlog.log.event_log import EmbeddedLog
from eventlog.options import (
    DEFAULT_ATTEMPTS,
    DEFAULT_MAX_RECORDS,
    DEFAULT_MAX_RETRY_PAUSE,
    DEFAULT_RETRY_JITTER,
    DEFAULT_RETRY_PAUSE,
    MAX_FOLDED_BYTES,
    MAX_FOLDED_RECORDS,
    MAX_TRANSACTION_BYTES,
    Index,
    OnOutOfRange,
    Start,
    check_seconds,
)
from eventlog.records import Record, RecordBatch

if TYPE_CHECKING:
    from pathlib import Path

    from eventlog.backend.maintenance import VerifyReport
    from eventlog.clients.state.view import StateView

T = TypeVar("T")


class EventLog:
    """
    A log for asyncio: see `eventlog.EventLog` for what it does.

    It belongs to the loop that it was opened in. Nothing that it does holds the loop up for longer than a small read;
    commits are made by one thread for all tasks.

    Example:
        >>> import asyncio
        >>> import eventlog.aio
        >>> async def main():
        ...     async with eventlog.aio.open(":memory:") as log:
        ...         orders = await log.topic("orders")
        ...         await orders.append(b"tea")
        ...         async with log.consumer(orders) as consumer:
        ...             async for record in consumer:
        ...                 return record.value
        >>> asyncio.run(main())
        b'tea'
    """

    def __init__(self, home: Home, inner: EmbeddedLog) -> None:
        self._home = home
        self._inner = inner
        self._waker = Waker(home.backend, home.loop, home.outbox.put)
        self._consumers: weakref.WeakSet[Consumer[Any, Any]] = weakref.WeakSet()
        self._runners: weakref.WeakSet[Processor | Projection] = weakref.WeakSet()
        self._closing: asyncio.Task[None] | None = None
        self._finalizer = weakref.finalize(self, home.stop)
        self._finalizer.atexit = False
        home.backend.on_fork(self._waker)

    @property
    def path(self) -> Path:
        """The directory of the log."""
        return self._inner.path

    @property
    def durability(self) -> str:
        """What a stored record survives: "commit", "ordered" or "memory"."""
        return self._inner.durability

    @property
    def uuid(self) -> UUID:
        """The id of the log, which no other has."""
        return self._inner.uuid

    @property
    def is_closed(self) -> bool:
        """Whether the log is closed."""
        return self._inner.is_closed

    # -- topics ----------------------------------------------------------------------------------------------

    async def topic(
        self,
        name: str,
        *,
        key: Any = None,
        value: Any = None,
        partitions: int | None = None,
        partitioner: str | Partitioner | None = None,
        max_record_bytes: int | None = None,
        index: Index | None = None,
        duplicate_window: float | None = None,
        snapshot: object = None,
        upcasters: Upcasters | None = None,
    ) -> Topic[Any, Any]:
        """Open a topic, and make it if there is none of that name: see `eventlog.EventLog.topic`."""
        find = partial(
            self._inner.topic,
            name,
            key=key,
            value=value,
            partitions=partitions,
            partitioner=partitioner,
            max_record_bytes=max_record_bytes,
            index=index,
            duplicate_window=duplicate_window,
            snapshot=snapshot,
            upcasters=upcasters,
        )
        found: Any = await self._home.call(find, "opening the topic")
        return Topic(self._home, found)

    async def topics(self) -> list[str]:
        """Return the names of all topics, sorted."""
        return await self._home.read(self._inner.topics, "the list of topics")

    async def delete_topic(self, name: str) -> None:
        """Delete a topic with its records: see `eventlog.EventLog.delete_topic`."""
        await self._home.call(partial(self._inner.delete_topic, name), "the deletion")

    # -- clients ---------------------------------------------------------------------------------------------

    def producer(
        self,
        *,
        name: str | None = None,
        linger: float = 0.005,
        batch_bytes: int = TARGET_BYTES,
        max_buffered_bytes: int = 32 << 20,
    ) -> Opening[Producer]:
        """
        Make a producer, by `await` or `async with`: see `eventlog.EventLog.producer`.

        There is no `max_block`: `send` does not wait.
        """
        inner, home = self._inner, self._home

        def make() -> EmbeddedProducer:
            made = EmbeddedProducer(
                home.backend,
                inner._known_topic,
                name=name,
                linger=linger,
                batch_bytes=batch_bytes,
                max_buffered_bytes=max_buffered_bytes,
                max_block=0.0,
                is_loops=True,
            )
            inner._producers.add(made)
            return made

        async def open_it() -> Producer:
            home.check()
            job = home.worker.call(make)
            made = await opened(job, lambda one: finish(home.worker.call(one.close), "closing the producer"))
            return Producer(home, made, max_buffered_bytes)

        return Opening(open_it)

    def consumer(
        self,
        *topics: str | Topic[Any, Any] | re.Pattern[str],
        group: str | None = None,
        start: Start = "earliest",
        auto_commit: bool = True,
        auto_commit_interval: float = 1.0,
        max_poll_records: int = 500,
        fetch_max_bytes: int = 1 << 20,
        on_out_of_range: OnOutOfRange = "raise",
        assignor: str | Assignor = "sticky",
        instance_id: str | None = None,
        session_timeout: float = 10.0,
        max_poll_interval: float = 300.0,
        on_assigned: AnyCallback | None = None,
        on_revoked: AnyCallback | None = None,
        on_lost: AnyCallback | None = None,
    ) -> Opening[Consumer[Any, Any]]:
        """
        Make a consumer, by `await` or `async with`: see `eventlog.EventLog.consumer`.

        Callbacks may be coroutine functions. They run in the task that polls, or in one that closes the consumer.
        """
        callbacks = Callbacks(on_revoked)
        options: dict[str, Any] = {
            "group": group,
            "start": start,
            "auto_commit": auto_commit,
            "auto_commit_interval": auto_commit_interval,
            "max_poll_records": max_poll_records,
            "fetch_max_bytes": fetch_max_bytes,
            "on_out_of_range": on_out_of_range,
            "assignor": assignor,
            "instance_id": instance_id,
            "session_timeout": session_timeout,
            "max_poll_interval": max_poll_interval,
            "on_assigned": callbacks.wrap(on_assigned),
            "on_revoked": callbacks.wrap(on_revoked),
            "on_lost": callbacks.wrap(on_lost),
        }
        return Opening(partial(self._open_consumer, topics, options, callbacks))

    async def _open_consumer(
        self, topics: tuple[Any, ...], options: dict[str, Any], callbacks: Callbacks
    ) -> Consumer[Any, Any]:
        home, inner, ear = self._home, self._inner, self._waker.ear()
        home.check()
        given = tuple(inner_of(topic) for topic in topics)

        def make() -> EmbeddedConsumer[Any, Any]:
            inner._check_open()
            made = open_consumer(home.backend, inner._known_topic, given, ear, **options)
            inner._consumers.add(made)
            made._begin()
            return made

        job = home.worker.call(make)
        made = await opened(job, lambda one: finish(home.worker.call(one.close), "closing the consumer"))
        consumer: Consumer[Any, Any] = Consumer(home, made, ear, callbacks)
        self._consumers.add(consumer)
        return consumer

    @property
    def groups(self) -> Groups:
        """The consumer groups of the log."""
        return Groups(self._home, self._inner.groups, self._waker)

    # -- transactions ----------------------------------------------------------------------------------------

    def transaction(
        self, consumer: Consumer[Any, Any] | None = None, *, max_bytes: int = MAX_TRANSACTION_BYTES
    ) -> Opening[Transaction]:
        """Begin a transaction, by `async with`: see `eventlog.EventLog.transaction`."""
        return Opening(partial(self._begin, consumer, max_bytes))

    async def _begin(self, consumer: Consumer[Any, Any] | None, max_bytes: int) -> Transaction:
        self._home.check()
        if consumer is not None:
            if not isinstance(consumer, Consumer):
                raise TypeError(f"transaction() takes a Consumer, not {type(consumer).__name__}. Nothing was changed.")
            await consumer._others()
        given = None if consumer is None else consumer._inner
        return Transaction(self._home, self._inner.transaction(given, max_bytes=max_bytes), consumer)

    async def transact(
        self,
        function: Callable[[Transaction], Awaitable[T] | T],
        *,
        consumer: Consumer[Any, Any] | None = None,
        attempts: int = 10,
        max_bytes: int = MAX_TRANSACTION_BYTES,
    ) -> T:
        """
        Call a function, or a coroutine function, with a transaction and commit it; again after a conflict.

        See `eventlog.EventLog.transact`. A cancelled task is cancelled as in `Transaction.commit`.
        """
        return await transact(lambda: self._begin(consumer, max_bytes), function, attempts)

    def processor(
        self,
        *topics: str | Topic[Any, Any] | re.Pattern[str],
        function: Function,
        group: str,
        start: Start = "earliest",
        max_records: int = DEFAULT_MAX_RECORDS,
        attempts: int = DEFAULT_ATTEMPTS,
        on_failure: OnFailure | None = None,
        retry_pause: float = DEFAULT_RETRY_PAUSE,
        max_retry_pause: float = DEFAULT_MAX_RETRY_PAUSE,
        retry_jitter: float = DEFAULT_RETRY_JITTER,
        on_out_of_range: OnOutOfRange = "raise",
        max_bytes: int = MAX_TRANSACTION_BYTES,
        assignor: str | Assignor = "sticky",
        instance_id: str | None = None,
        session_timeout: float = 10.0,
        max_poll_interval: float = 300.0,
    ) -> Opening[Processor]:
        """
        Make a processor, by `await` or `async with`: see `eventlog.EventLog.processor`.

        `function` and `on_failure` may be coroutine functions; both are called in the loop.
        """
        home, calls = self._home, LoopCalls(self._home)
        make = partial(
            self._inner.processor,
            *(inner_of(topic) for topic in topics),
            function=calls.wrap(function),
            group=group,
            start=start,
            max_records=max_records,
            attempts=attempts,
            on_failure=calls.wrap(on_failure) if callable(on_failure) else on_failure,
            retry_pause=retry_pause,
            max_retry_pause=max_retry_pause,
            retry_jitter=retry_jitter,
            on_out_of_range=on_out_of_range,
            max_bytes=max_bytes,
            assignor=assignor,
            instance_id=instance_id,
            session_timeout=session_timeout,
            max_poll_interval=max_poll_interval,
        )

        async def open_it() -> Processor:
            home.check()
            job = home.worker.call(make)
            made = await opened(job, lambda one: finish(home.worker.call(one.close), "closing the processor"))
            processor = Processor(home, made, calls)
            self._runners.add(processor)
            return processor

        return Opening(open_it)

    # -- projections -----------------------------------------------------------------------------------------

    async def projection(
        self,
        name: str,
        function: object = None,
        *,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        key: Any = None,
        value: Any = None,
        max_records: int = MAX_FOLDED_RECORDS,
        max_bytes: int = MAX_FOLDED_BYTES,
    ) -> Projection:
        """
        Open a projection, and make it if there is none of that name: see `eventlog.EventLog.projection`.

        The function is a plain one, and is called in a thread of the projection.
        """
        find = partial(
            self._inner.projection,
            name,
            function,
            topics=_inner(topics),
            key=key,
            value=value,
            max_records=max_records,
            max_bytes=max_bytes,
        )
        projection = Projection(self._home, self._waker, await self._home.call(find, "opening the projection"))
        self._runners.add(projection)
        return projection

    async def projections(self) -> list[str]:
        """Return the names of all projections, sorted."""
        return await self._home.read(self._inner.projections, "the list of projections")

    async def delete_projection(self, name: str) -> None:
        """Delete a projection with its state: see `eventlog.EventLog.delete_projection`."""
        await self._home.call(partial(self._inner.delete_projection, name), "the deletion")

    # -- states ----------------------------------------------------------------------------------------------

    def state(self, name: str, *, key: Any = None, value: Any = None) -> StateView[Any, Any]:
        """
        A view of a stored state: see `eventlog.EventLog.state`.

        Its rows are read in the loop.
        """
        self._home.check()
        return self._inner.state(name, key=key, value=value)

    async def states(self) -> list[str]:
        """Return the names of all states, sorted."""
        return await self._home.read(self._inner.states, "the list of states")

    async def delete_state(self, name: str) -> None:
        """Delete a state with its rows: see `eventlog.EventLog.delete_state`."""
        await self._home.call(partial(self._inner.delete_state, name), "the deletion")

    # -- the order of the whole log --------------------------------------------------------------------------

    async def end_log_position(self) -> int:
        """Return the log position that the next record gets."""
        self._home.check()
        return self._inner.end_log_position()

    def read_all(
        self,
        start: int = 0,
        *,
        end: int | datetime | None = None,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        max_records: int | None = None,
    ) -> AsyncIterator[tuple[int, Record[Any, Any]]]:
        """The records of all topics in the order of the log, for `async for`: see `eventlog.EventLog.read_all`."""
        self._home.check()
        return stream(self._home, self._inner.read_all(start, end=end, topics=_inner(topics), max_records=max_records))

    def read_all_batches(
        self,
        start: int = 0,
        *,
        end: int | datetime | None = None,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        max_records: int | None = None,
    ) -> AsyncIterator[tuple[int, RecordBatch[Any, Any]]]:
        """The same in columns: see `eventlog.EventLog.read_all_batches`."""
        self._home.check()
        batches = self._inner.read_all_batches(start, end=end, topics=_inner(topics), max_records=max_records)
        return stream(self._home, batches)

    def follow(
        self,
        start: int | Literal["latest"] = 0,
        *,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[tuple[int, Record[Any, Any]]]:
        """
        The records of all topics, and each new one as it is committed, for `async for`.

        See `eventlog.EventLog.follow`. Leave the loop, or cancel its task, to end it; the position of the last record
        that was handed out, plus one, is where another one goes on.
        """
        self._home.check()
        limit = None if timeout is None else check_seconds("timeout", timeout)
        return follow(self._home, self._waker.ear(), self._inner._follow_from(start, _inner(topics)), limit)

    # -- care ------------------------------------------------------------------------------------------------

    async def sync(self) -> None:
        """Have everything that is stored survive a power cut: see `eventlog.EventLog.sync`."""
        await self._home.call(self._inner.sync, "the sync")

    async def verify(self, *, progress: Callable[[int], object] | None = None) -> VerifyReport:
        """Check all of the log, in the thread for long reads: see `eventlog.EventLog.verify`."""
        return await self._home.read(partial(self._inner.verify, progress=progress), "the verification")

    async def compact(self, destination: str | os.PathLike[str]) -> int:
        """Copy the log without its free pages, in the thread for long reads: see `eventlog.EventLog.compact`."""
        return await self._home.read(partial(self._inner.compact, destination), "the copy")

    # -- life ------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """
        Close the log with everything that was opened from it: see `eventlog.EventLog.close`.

        It is done to its end in a cancelled task, too. Calling it again waits for the end.
        """
        if self._closing is None:
            if self._home.is_closed:
                return
            self._closing = self._home.loop.create_task(self._close())
        await finish(self._closing, "closing the log")

    async def _close(self) -> None:
        home = self._home
        try:
            for client in [*self._runners, *self._consumers]:
                await client.close()
        finally:
            try:
                await finish(home.worker.call(self._inner.close), "closing the log")
            finally:
                home.is_closed = True
                self._finalizer.detach()
                self._waker.close()
                home.stop()
                home.join()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._inner)


def _inner(topics: Iterable[str | Topic[Any, Any]] | None) -> list[Any] | None:
    return None if topics is None else [inner_of(topic) for topic in topics]
