"""A log for asyncio: opens topics, producers, consumers and transactions, and closes what it has opened."""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypeVar, Unpack, overload
from uuid import UUID

from eventlog.aio.apart import Apart
from eventlog.aio.consumer import AnyCallback, Callbacks, Consumer
from eventlog.aio.groups import Groups
from eventlog.aio.home import Home
from eventlog.aio.log_queues import LogQueues
from eventlog.aio.log_reading import LogReading
from eventlog.aio.log_requests import LogRequests
from eventlog.aio.log_transactions import LogTransactions
from eventlog.aio.opener import Opening
from eventlog.aio.processor import Processor
from eventlog.aio.producer import Producer
from eventlog.aio.projection import Projection
from eventlog.aio.topic import Topic, inner_of
from eventlog.api.consumer import ReadingOptions
from eventlog.api.event_log import KeyCodec, TopicName, ValueClass
from eventlog.api.topic import TopicOptions
from eventlog.batches.format import TARGET_BYTES
from eventlog.batches.partitioners import Partitioner
from eventlog.clients.awaiting.loop import Future
from eventlog.clients.awaiting.worker import finish
from eventlog.clients.consumer.consumer import EmbeddedConsumer
from eventlog.clients.consumer.opening import open_consumer
from eventlog.clients.producer.producer import EmbeddedProducer
from eventlog.codecs import Upcasters
from eventlog.groups.assignors import Assignor
from eventlog.interruptions import unless_interrupted
from eventlog.log.event_log import EmbeddedLog
from eventlog.options import (
    Compression,
    Index,
    OnOutOfRange,
    Start,
)

if TYPE_CHECKING:
    from pathlib import Path
    from types import UnionType

    from typing_extensions import TypeForm

    from eventlog.aio.queue import Queue
    from eventlog.aio.schedules import Schedules
    from eventlog.backend.backup import BackupReport
    from eventlog.backend.maintenance import CleanReport, LogStats, VerifyReport

T = TypeVar("T")
KT = TypeVar("KT")
VT = TypeVar("VT")
K1 = TypeVar("K1")
V1 = TypeVar("V1")
K2 = TypeVar("K2")
V2 = TypeVar("V2")
K3 = TypeVar("K3")
V3 = TypeVar("V3")
K4 = TypeVar("K4")
V4 = TypeVar("V4")
K5 = TypeVar("K5")
V5 = TypeVar("V5")
K6 = TypeVar("K6")
V6 = TypeVar("V6")
_AnyTopic: TypeAlias = str | Topic[Any, Any] | re.Pattern[str]
_Client: TypeAlias = "Processor | Projection[Any, Any] | Queue[Any, Any] | Apart[Any] | Consumer[Any, Any]"


class _Consuming(ReadingOptions, total=False):
    """The options of a consumer alone."""

    group: str | None
    auto_commit: bool
    auto_commit_interval: float
    max_poll_records: int
    fetch_max_bytes: int
    on_assigned: AnyCallback | None
    on_revoked: AnyCallback | None
    on_lost: AnyCallback | None


class EventLog(LogTransactions, LogReading, LogQueues, LogRequests):
    """
    A log for asyncio: see `eventlog.EventLog` for what it does.

    It belongs to the loop that it was opened in: one of asyncio, or a run of trio. Nothing that it does holds the loop
    up for longer than a small read; commits are made by one thread for all tasks.

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
        super().__init__(home, inner)
        self._closing: Future[None] | None = None
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

    @overload
    async def topic(
        self, name: str, *, key: KeyCodec[KT], value: tuple[type[V1], type[V2]], **options: Unpack[TopicOptions]
    ) -> Topic[KT, V1 | V2]: ...
    @overload
    async def topic(
        self,
        name: str,
        *,
        key: KeyCodec[KT],
        value: tuple[type[V1], type[V2], type[V3]],
        **options: Unpack[TopicOptions],
    ) -> Topic[KT, V1 | V2 | V3]: ...
    @overload
    async def topic(
        self,
        name: str,
        *,
        key: KeyCodec[KT],
        value: tuple[type[V1], type[V2], type[V3], type[V4]],
        **options: Unpack[TopicOptions],
    ) -> Topic[KT, V1 | V2 | V3 | V4]: ...
    @overload
    async def topic(
        self,
        name: str,
        *,
        key: KeyCodec[KT],
        value: tuple[type[V1], type[V2], type[V3], type[V4], type[V5]],
        **options: Unpack[TopicOptions],
    ) -> Topic[KT, V1 | V2 | V3 | V4 | V5]: ...
    @overload
    async def topic(
        self,
        name: str,
        *,
        key: KeyCodec[KT],
        value: tuple[type[V1], type[V2], type[V3], type[V4], type[V5], type[V6]],
        **options: Unpack[TopicOptions],
    ) -> Topic[KT, V1 | V2 | V3 | V4 | V5 | V6]: ...
    @overload
    async def topic(
        self, name: str, *, key: KeyCodec[KT], value: ValueClass[VT], **options: Unpack[TopicOptions]
    ) -> Topic[KT, VT]: ...
    @overload
    async def topic(
        self, name: str, *, key: KeyCodec[KT], value: str | None = None, **options: Unpack[TopicOptions]
    ) -> Topic[KT, Any]: ...
    @overload
    async def topic(
        self, name: str, *, key: KeyCodec[KT], value: TypeForm[VT], **options: Unpack[TopicOptions]
    ) -> Topic[KT, VT]: ...
    @overload
    async def topic(
        self, name: str, *, key: KeyCodec[KT], value: UnionType, **options: Unpack[TopicOptions]
    ) -> Topic[KT, Any]: ...
    @overload
    async def topic(
        self, name: str, *, key: str | None = None, value: ValueClass[VT], **options: Unpack[TopicOptions]
    ) -> Topic[Any, VT]: ...
    @overload
    async def topic(
        self, name: str, *, key: str | None = None, value: str | None = None, **options: Unpack[TopicOptions]
    ) -> Topic[Any, Any]: ...
    @overload
    async def topic(
        self, name: str, *, key: str | None = None, value: TypeForm[VT], **options: Unpack[TopicOptions]
    ) -> Topic[Any, VT]: ...
    @overload
    async def topic(
        self, name: str, *, key: str | None = None, value: UnionType, **options: Unpack[TopicOptions]
    ) -> Topic[Any, Any]: ...
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
        retention: float | None = None,
        retention_bytes: int | None = None,
        until_read_by: Iterable[str] | None = None,
        compression: Compression | None = None,
        compaction: Literal["key"] | None = None,
        compaction_lag: float | None = None,
        max_compaction_lag: float | None = None,
        tombstone_retention: float | None = None,
        min_dirty_ratio: float | None = None,
        repack_after: float | None = None,
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
            retention=retention,
            retention_bytes=retention_bytes,
            until_read_by=until_read_by,
            compression=compression,
            compaction=compaction,
            compaction_lag=compaction_lag,
            max_compaction_lag=max_compaction_lag,
            tombstone_retention=tombstone_retention,
            min_dirty_ratio=min_dirty_ratio,
            repack_after=repack_after,
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
            inner._clients.producers.add(made)
            return made

        async def open_it() -> Producer:
            return Producer(home, await self._made(make, "producer"), max_buffered_bytes)

        return Opening(open_it)

    @overload
    def consumer(self, topic: Topic[KT, VT], /, **options: Unpack[_Consuming]) -> Opening[Consumer[KT, VT]]: ...
    @overload
    def consumer(
        self, topic: Topic[K1, V1], other: Topic[K2, V2], /, **options: Unpack[_Consuming]
    ) -> Opening[Consumer[K1 | K2, V1 | V2]]: ...
    @overload
    def consumer(
        self, topic: Topic[K1, V1], other: Topic[K2, V2], third: Topic[K3, V3], /, **options: Unpack[_Consuming]
    ) -> Opening[Consumer[K1 | K2 | K3, V1 | V2 | V3]]: ...
    @overload
    def consumer(
        self,
        topic: Topic[K1, V1],
        other: Topic[K2, V2],
        third: Topic[K3, V3],
        fourth: Topic[K4, V4],
        /,
        **options: Unpack[_Consuming],
    ) -> Opening[Consumer[K1 | K2 | K3 | K4, V1 | V2 | V3 | V4]]: ...
    @overload
    def consumer(
        self,
        topic: Topic[K1, V1],
        other: Topic[K2, V2],
        third: Topic[K3, V3],
        fourth: Topic[K4, V4],
        fifth: Topic[K5, V5],
        /,
        **options: Unpack[_Consuming],
    ) -> Opening[Consumer[K1 | K2 | K3 | K4 | K5, V1 | V2 | V3 | V4 | V5]]: ...
    @overload
    def consumer(
        self,
        topic: Topic[K1, V1],
        other: Topic[K2, V2],
        third: Topic[K3, V3],
        fourth: Topic[K4, V4],
        fifth: Topic[K5, V5],
        sixth: Topic[K6, V6],
        /,
        **options: Unpack[_Consuming],
    ) -> Opening[Consumer[K1 | K2 | K3 | K4 | K5 | K6, V1 | V2 | V3 | V4 | V5 | V6]]: ...
    @overload
    def consumer(
        self, topic: Topic[KT, VT], other: Topic[KT, VT], /, *topics: Topic[KT, VT], **options: Unpack[_Consuming]
    ) -> Opening[Consumer[KT, VT]]: ...
    @overload
    def consumer(self, topic: TopicName, /, **options: Unpack[_Consuming]) -> Opening[Consumer[Any, Any]]: ...
    @overload
    def consumer(
        self, topic: _AnyTopic, other: _AnyTopic, /, *topics: _AnyTopic, **options: Unpack[_Consuming]
    ) -> Opening[Consumer[Any, Any]]: ...
    @overload
    def consumer(self, **options: Unpack[_Consuming]) -> Opening[Consumer[Any, Any]]: ...
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
        inner, ear = self._inner, self._waker.ear()
        given = tuple(inner_of(topic) for topic in topics)

        def make() -> EmbeddedConsumer[Any, Any]:
            inner._check_open()
            made = open_consumer(inner._store, inner._known_topic, given, ear, **options)
            inner._clients.consumers.add(made)
            made._begin()
            return made

        made = await self._made(make, "consumer")
        consumer: Consumer[Any, Any] = Consumer(self._home, made, ear, callbacks)
        self._consumers.add(consumer)
        return consumer

    @property
    def groups(self) -> Groups:
        """The consumer groups of the log."""
        return Groups(self._home, self._inner.groups, self._waker)

    @property
    def schedules(self) -> Schedules:
        """The records that are to be sent later."""
        from eventlog.aio.schedules import Schedules

        return Schedules(self._home, self._inner.schedules)

    # -- care ------------------------------------------------------------------------------------------------

    async def sync(self) -> None:
        """Have everything that is stored survive a power cut: see `eventlog.EventLog.sync`."""
        await self._home.call(self._inner.sync, "the sync")

    async def verify(self, *, progress: Callable[[int], object] | None = None) -> VerifyReport:
        """
        Check all of the log, in a thread of its own: see `eventlog.EventLog.verify`.

        A cancelled task gives it up; `progress` is called in that thread.
        """
        verifying: Apart[VerifyReport] = self._apart("the verification", "Nothing was changed.")
        return await verifying.run(partial(self._inner.verify, progress=verifying.ticking(progress)))

    async def stats(self) -> LogStats:
        """Count what is stored, in the thread for long reads: see `eventlog.EventLog.stats`."""
        return await self._home.read(self._inner.stats, "the figures")

    async def compact(self, destination: str | os.PathLike[str]) -> int:
        """Copy the log without its free pages, in a thread of its own: see `eventlog.EventLog.compact`."""
        copying: Apart[int] = self._apart("the copy", "The log is unchanged.")
        return await copying.run(partial(self._inner.compact, destination))

    async def backup(
        self,
        target: str | os.PathLike[str],
        *,
        incremental: bool = False,
        progress: Callable[[int, int], object] | None = None,
    ) -> BackupReport:
        """Write a backup, in a thread of its own, which calls `progress`: see `eventlog.EventLog.backup`."""
        copying: Apart[BackupReport] = self._apart("the backup", "The log is unchanged.")
        return await copying.run(partial(self._inner.backup, target, incremental=incremental, progress=progress))

    async def clean(self, budget: float | None = None) -> CleanReport:
        """Delete now what the retention of no topic keeps, in a thread of its own: see `EventLog.clean`."""
        cleaning: Apart[CleanReport] = self._apart("the cleaning", "What was deleted stays deleted.")
        return await cleaning.run(partial(self._inner.clean, budget))

    # -- life ------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """
        Close the log with everything that was opened from it: see `eventlog.EventLog.close`.

        It is done to its end in a cancelled task, too. Calling it again waits for the end. Its clients close at once,
        so polls and callbacks that hang have 10 s in all. In a callback of a consumer
        and in the function of a processor it waits for nothing: the log closes when those have ended.

        Raises:
            ConcurrentUse: in another loop than that of the log. Nothing was closed.
        """
        self._home.check_here()
        if self._closing is None:
            if self._home.is_closed:
                return
            self._closing = self._home.loop.start(self._close())
        task = self._home.loop.current_task()
        if any(one._is_in(task) for one in [*self._runners, *self._consumers]):
            return
        await finish(self._home.loop, self._closing, "closing the log")

    async def _close(self) -> None:
        home = self._home
        try:
            await self._close_together(self._runners)
            await self._close_together(self._consumers)
        finally:
            try:
                await finish(home.loop, home.worker.call(self._inner.close), "closing the log")
            finally:
                home.is_closed = True
                self._finalizer.detach()
                self._waker.close()
                home.stop()
                home.join()

    async def _close_together(self, clients: Iterable[_Client]) -> None:
        """Close all of these at once: those that hang have the same seconds, and the others do not wait for them."""
        failure: Exception | None = None
        for closing in [self._home.loop.start(client.close()) for client in clients]:
            try:
                await finish(self._home.loop, closing, "closing the clients")
            except unless_interrupted(Exception) as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def _abandon(self) -> None:
        """End it where nobody awaits, because its loop or its store has ended; the log of the clients is left alone."""
        home = self._home
        if not home.is_closed:
            home.is_closed = True
            self._finalizer.detach()
            if not home.loop.is_closed():
                self._waker.close()
            home.stop()
            home.join()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._inner)
