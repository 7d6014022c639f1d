"""
The log: a directory becomes topics, producers and consumers.

Checks what users ask for and puts the pieces together; what they do is on the floors below. Topics, transactions and
the order are in the modules beside this one.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast
from uuid import UUID

from eventlog.batches.format import TARGET_BYTES
from eventlog.clients.admin.groups import Groups
from eventlog.clients.consumer.consumer import Consumer
from eventlog.clients.consumer.options import Callback, consumer_options
from eventlog.clients.producer.producer import Producer
from eventlog.clients.producer.sender import end_abandoned
from eventlog.clients.topic.registry import Topics
from eventlog.clients.topic.topic import Topic
from eventlog.errors import ConcurrentUse, LogClosed
from eventlog.groups.assignors import Assignor
from eventlog.groups.state import Subscription
from eventlog.log.order import LogOrder
from eventlog.log.projections import LogProjections
from eventlog.log.topics import LogTopics
from eventlog.log.transactions import LogTransactions
from eventlog.options import Start, check_int, check_producer_name, check_seconds, check_topic_name
from eventlog.store.store import Store, close_store, forget_store
from eventlog.store.verify import report
from eventlog.store.verify.report import VerifyReport

if TYPE_CHECKING:
    from pathlib import Path


class EventLog(LogTopics, LogTransactions, LogProjections, LogOrder):
    """
    An open log directory: the place of topics, and the maker of producers and consumers.

    Any number of threads, `EventLog` objects and processes of one machine may use one directory at once. Any
    thread may call anything. After a fork the child's first use opens the directory again; producers and consumers
    made before the fork stay the parent's.

    Get one from `eventlog.open()`.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     orders = log.topic("orders", partitions=4)
        ...     log.topics()
        ['orders']
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        us = weakref.ref(self)  # a circle would keep a dropped log open until the collector comes by
        self._topics = Topics(store, lambda: cast("EventLog", us()))
        self._producers: weakref.WeakSet[Producer] = weakref.WeakSet()
        self._consumers: weakref.WeakSet[Consumer[Any, Any]] = weakref.WeakSet()
        self._is_closed = False
        self._is_closing = False
        self._finalizer = weakref.finalize(self, forget_store, store)
        # At the interpreter's exit only a log in memory has something to remove; threads may still read the others.
        self._finalizer.atexit = store.is_memory

    @property
    def path(self) -> Path:
        """The directory."""
        from pathlib import Path  # which a log itself does not need: `eventlog.open()` is fast

        return Path(self._store.path)

    @property
    def durability(self) -> str:
        """What an acknowledged record survives: "commit", "ordered", or "memory"."""
        return self._store.durability

    @property
    def uuid(self) -> UUID:
        """The id of this log; a copy made by `compact()` has the same."""
        return self._store.uuid

    @property
    def is_closed(self) -> bool:
        """Whether `close()` was called."""
        return self._is_closed

    # -- clients ---------------------------------------------------------------------------------------------

    def producer(
        self,
        *,
        name: str | None = None,
        linger: float = 0.005,
        batch_bytes: int = TARGET_BYTES,
        max_buffered_bytes: int = 32 << 20,
        max_block: float = 60.0,
    ) -> Producer:
        """
        A producer: sends without waiting for the disk.

        The options are described at `Producer`. With a name, the older producers of that name are fenced.

        Raises:
            StorageError: if the producer has a name and that could not be stored.
            ValueError, TypeError: for an option out of its bounds.
        """
        self._check_open()
        producer = Producer(
            self._store,
            self._known_topic,
            name=None if name is None else check_producer_name(name),
            linger=check_seconds("linger", linger),
            batch_bytes=check_int("batch_bytes", batch_bytes, least=1024, most=TARGET_BYTES),
            max_buffered_bytes=check_int("max_buffered_bytes", max_buffered_bytes, least=TARGET_BYTES),
            max_block=check_seconds("max_block", max_block),
        )
        self._producers.add(producer)
        return producer

    def consumer(
        self,
        *topics: str | Topic[Any, Any] | re.Pattern[str],
        group: str | None = None,
        start: Start = "earliest",
        auto_commit: bool = True,
        auto_commit_interval: float = 1.0,
        max_poll_records: int = 500,
        fetch_max_bytes: int = 1 << 20,
        assignor: str | Assignor = "sticky",
        instance_id: str | None = None,
        session_timeout: float = 10.0,
        max_poll_interval: float = 300.0,
        on_assigned: Callback | None = None,
        on_revoked: Callback | None = None,
        on_lost: Callback | None = None,
    ) -> Consumer[Any, Any]:
        """
        A consumer of some topics: with a group, it shares their partitions with the group's other members.

        The options are described at `Consumer`. A pattern stands for all topics whose whole name it matches, later
        ones too. Without topics, `assign()` says what to read.

        Raises:
            UnknownTopic: if the log has no such topic. Nothing was made.
            InstanceInUse, GroupMismatch: if the group does not take it as a member. Nothing was made.
            OffsetOutOfRange: if `start` is an offset that a partition does not have.
            ValueError, TypeError: for an option out of its bounds.
        """
        self._check_open()
        opened = {topic.name: topic for topic in map(self._opened, topics) if topic is not None}
        patterns = {(topic.pattern, topic.flags) for topic in topics if isinstance(topic, re.Pattern)}
        options = consumer_options(
            Subscription(tuple(sorted(opened)), tuple(sorted(patterns))),
            group=group,
            start=start,
            auto_commit=auto_commit,
            auto_commit_interval=auto_commit_interval,
            max_poll_records=max_poll_records,
            fetch_max_bytes=fetch_max_bytes,
            assignor=assignor,
            instance_id=instance_id,
            session_timeout=session_timeout,
            max_poll_interval=max_poll_interval,
            on_assigned=on_assigned,
            on_revoked=on_revoked,
            on_lost=on_lost,
        )

        def open_topic(name: str) -> Topic[Any, Any]:
            known = self._known_topic(name)
            given = opened.get(name)
            return given if given is not None and given.uuid == known.uuid else known

        consumer: Consumer[Any, Any] = Consumer(self._store, open_topic, options)
        self._consumers.add(consumer)
        consumer._begin()
        return consumer

    def _opened(self, topic: object) -> Topic[Any, Any] | None:
        """The topic that a user named; None for a pattern."""
        if isinstance(topic, Topic):
            topic._check_store(self._store)
            return topic
        if isinstance(topic, re.Pattern):
            if not isinstance(topic.pattern, str):
                raise TypeError(f"a pattern of topics is one of str, not {topic!r}. Nothing was made.")
            return None
        return self._known_topic(check_topic_name(topic))

    @property
    def groups(self) -> Groups:
        """The consumer groups: which there are, where they stand, and how to put them elsewhere."""
        return Groups(self._store, self._check_open)

    # -- care ------------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """
        Forces everything committed to the disk: of use with durability "ordered".

        Blocks for a sync.

        Raises:
            StorageError: if the disk failed. The log refuses writes until it is opened again.
        """
        self._check_open()
        self._store.environment.sync()

    def verify(self, *, progress: Callable[[int], object] | None = None) -> VerifyReport:
        """
        Reads and checks every batch of every topic, every group, its members and its committed offsets.

        Blocks for as long as that takes; others may go on.

        Args:
            progress: called now and then with the bytes checked so far.
        """
        self._check_open()
        from eventlog.store.verify.verify import verify  # with every check of every table: `import eventlog` is fast

        return verify(self._store, progress)

    def compact(self, destination: str | os.PathLike[str]) -> int:
        """
        Writes a copy without free space into a new directory, and returns its size in bytes.

        A log's file never shrinks by itself: deleted space is used again. To shrink it, compact, close the log in
        every process, and put the copy in its place. Also a consistent backup. Others may go on meanwhile.

        Raises:
            ValueError: if the destination is there and not empty. It was left as it was.
            StorageError: if the copy cannot be written. The log is unchanged.
        """
        self._check_open()
        return report.compact(self._store, destination)

    # -- life ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """
        Flushes and closes its producers, closes its consumers, and the directory.

        Calling it again does nothing.

        Raises:
            DeliveryError: as `Producer.close`; everything is closed all the same.
            Exception: what an `on_revoked` raised; likewise.
        """
        if self._is_closing:
            return
        self._is_closing = True
        try:
            self._close_clients()  # until they are closed they may ask for topics
        finally:
            self._is_closed = True
            self._finalizer.detach()
            close_store(self._store)

    def _close_clients(self) -> None:
        failure: Exception | None = None
        for producer in list(self._producers):
            try:
                producer.close()
            except Exception as error:  # noqa: BLE001
                failure = failure or error
        try:
            end_abandoned(self._store)
        except Exception as error:  # noqa: BLE001
            failure = failure or error
        for consumer in list(self._consumers):
            try:
                consumer.close()
            except ConcurrentUse:
                consumer.wakeup()  # its thread will find the log closed
            except Exception as error:  # noqa: BLE001
                failure = failure or error
        if failure is not None:
            raise failure

    def _check_open(self) -> None:
        if self._is_closed:
            raise LogClosed(f"the log at {self.path} is closed. Nothing was stored. Call eventlog.open() again.")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else self.durability
        return f"<EventLog {str(self.path)!r}: {state}>"
