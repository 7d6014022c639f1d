"""
The log: a directory becomes topics, producers and consumers.

Checks what users ask for and puts the pieces together; what they do is on the floors below.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, cast, overload
from uuid import UUID

from eventlog.batches.format import TARGET_BYTES
from eventlog.batches.partitioners import Partitioner
from eventlog.clients.consumer import Consumer
from eventlog.clients.consumer_options import Callback, consumer_options
from eventlog.clients.groups import Groups
from eventlog.clients.order import OrderReader, check_topics, read_batches, records_of
from eventlog.clients.producer import Producer
from eventlog.clients.sender import end_abandoned
from eventlog.clients.topic import Topic
from eventlog.clients.topics import TopicOptions, Topics
from eventlog.clock import SystemClock
from eventlog.codecs import Upcasters
from eventlog.errors import ConcurrentUse, LogClosed
from eventlog.groups.assignors import Assignor
from eventlog.groups.state import Subscription
from eventlog.options import (
    Durability,
    Index,
    Start,
    check_int,
    check_seconds,
    check_topic_name,
)
from eventlog.records import Record, RecordBatch
from eventlog.store import maintenance
from eventlog.store.env import LEAST_MAP_BYTES
from eventlog.store.maintenance import VerifyReport
from eventlog.store.store import Store, close_store, forget_store, open_store
from eventlog.store.works import DeleteTopic

KT = TypeVar("KT")
VT = TypeVar("VT")
_Named = Literal["json", "msgpack"]


class EventLog:
    """
    Is an open log directory: the place of topics, and the maker of producers and consumers.

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
        return self._store.path

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

    # -- topics ----------------------------------------------------------------------------------------------

    @overload
    def topic(
        self,
        name: str,
        *,
        key: type[KT],
        value: type[VT],
        partitions: int | None = None,
        partitioner: str | Partitioner | None = None,
        max_record_bytes: int | None = None,
        index: Index | None = None,
        duplicate_window: float | None = None,
        snapshot: object = None,
        upcasters: Upcasters | None = None,
    ) -> Topic[KT, VT]: ...
    @overload
    def topic(
        self,
        name: str,
        *,
        key: type[KT],
        value: _Named,
        partitions: int | None = None,
        partitioner: str | Partitioner | None = None,
        max_record_bytes: int | None = None,
        index: Index | None = None,
        duplicate_window: float | None = None,
        snapshot: object = None,
        upcasters: Upcasters | None = None,
    ) -> Topic[KT, Any]: ...
    @overload
    def topic(
        self,
        name: str,
        *,
        key: type[KT],
        value: None = None,
        partitions: int | None = None,
        partitioner: str | Partitioner | None = None,
        max_record_bytes: int | None = None,
        index: Index | None = None,
        duplicate_window: float | None = None,
        snapshot: object = None,
        upcasters: Upcasters | None = None,
    ) -> Topic[KT, Any]: ...
    @overload
    def topic(
        self,
        name: str,
        *,
        key: None = None,
        value: type[VT],
        partitions: int | None = None,
        partitioner: str | Partitioner | None = None,
        max_record_bytes: int | None = None,
        index: Index | None = None,
        duplicate_window: float | None = None,
        snapshot: object = None,
        upcasters: Upcasters | None = None,
    ) -> Topic[Any, VT]: ...
    @overload
    def topic(
        self,
        name: str,
        *,
        key: str | None = None,
        value: str | None = None,
        partitions: int | None = None,
        partitioner: str | Partitioner | None = None,
        max_record_bytes: int | None = None,
        index: Index | None = None,
        duplicate_window: float | None = None,
        snapshot: object = None,
        upcasters: Upcasters | None = None,
    ) -> Topic[Any, Any]: ...
    def topic(
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
        """
        Opens a topic, and creates it when the log has none of that name.

        All options are stored with the topic. An option that is not given means what is stored, or the default
        when the topic is new; one that differs from what is stored is an error.

        Args:
            name: 1 to 249 characters of `[A-Za-z0-9._-]` (Kafka's rule), not `.` or `..`.
            key: the codec of the keys: `bytes` (default), `str`, `int`, "json", "msgpack" or an attrs class.
            value: the codec of the values, likewise.
            partitions: how many, 1 (default) to 100,000. Records of one key go to one partition.
            partitioner: "crc32" (default, as librdkafka), "murmur2" (as Kafka's Java client), or a function of a
                module, of the key's bytes and the number of partitions.
            max_record_bytes: bound of one record's key, value and headers (default 1 MiB, most 1 GiB).
            index: "key" keeps the records of each key together as well, numbered from 1: for `history`, `latest`,
                `version` and `expected_version`. Keys have at most 480 bytes then. None (default) does not.
            duplicate_window: for how many seconds a `message_id` is remembered (default 86,400: a day).
            snapshot: the codec of the states that `save_snapshot` keeps, as `value` (default "msgpack").
            upcasters: for the stored name of an event class, the functions that turn the fields of version 1 into
                those of version 2, and so on; not stored. For values of several classes.

        Raises:
            TopicMismatch: if the stored topic differs. It is unchanged; the message names both.
            InvalidTopicName, ValueError, TypeError: for what cannot be. Nothing was stored.
            ImportError: for an attrs class without cattrs: `pip install "eventlog[cattrs]"`.
        """
        self._check_open()
        options = TopicOptions(
            key,
            value,
            partitions,
            partitioner,
            max_record_bytes,
            index,
            duplicate_window,
            snapshot,
            upcasters,
        )
        return self._topics.open(name, options)

    def topics(self) -> list[str]:
        """The names of all topics, sorted."""
        self._check_open()
        return [row.name for row in self._store.topics()]

    def delete_topic(self, name: str) -> None:
        """
        Deletes a topic with its records and all committed offsets of it.

        A later topic of that name begins empty.

        Raises:
            UnknownTopic: if there is none. Nothing was deleted.
        """
        self._check_open()
        self._topics.forget(name)
        self._store.run(DeleteTopic(check_topic_name(name)))

    def _known_topic(self, name: str) -> Topic[Any, Any]:
        """The topic of that name, with the codecs that this log was told of."""
        self._check_open()
        return self._topics.known(name)

    # -- the order of the log --------------------------------------------------------------------------------

    def position(self) -> int:
        """
        The position that the next record will get: how many were ever stored, over all topics.

        Durable ones only: whoever waits for it waits for everything that was acknowledged before the call.
        """
        self._check_open()
        return self._store.end_position()

    def read_all(
        self,
        start: int = 0,
        *,
        end: int | None = None,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        max_records: int | None = None,
    ) -> Iterator[tuple[int, Record[Any, Any]]]:
        """
        Reads the log in the order in which it was stored, over all topics and partitions, and ends at the end.

        Positions are dense and never change, so a reader that goes on behind the last one it saw misses nothing and
        sees nothing twice. What was deleted is passed by. Nothing is kept open between records.

        Args:
            start: the first position.
            end: the position to stop before; None is where the log ends at the call.
            topics: reads the records of these alone.
            max_records: the most records to read, None for all.

        Returns:
            Pairs of a position and its record.

        Raises:
            ValueError, TypeError, InvalidTopicName: at the call, for what their names say.
            CorruptBatch, DecodeError: at the record that can not be read.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     for name in ("orders", "payments", "orders"):
            ...         meta = log.topic(name).append(b"new")
            ...     [(position, record.topic) for position, record in log.read_all(start=1)]
            [(1, 'payments'), (2, 'orders')]
        """
        return records_of(self.read_all_batches(start, end=end, topics=topics, max_records=max_records))

    def read_all_batches(
        self,
        start: int = 0,
        *,
        end: int | None = None,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        max_records: int | None = None,
    ) -> Iterator[tuple[int, RecordBatch[Any, Any]]]:
        """The same as `read_all`, in columns: batches, each with the position of its first record."""
        self._check_open()
        check_int("start", start, least=0)
        if max_records is not None:
            check_int("max_records", max_records, least=0)
        stop = self._store.end_position()
        if end is not None:
            stop = min(stop, check_int("end", end, least=0))
        reader = OrderReader(self._store, self._topics.by_id, check_topics(topics), start)
        return read_batches(reader, stop, max_records)

    # -- clients ---------------------------------------------------------------------------------------------

    def producer(
        self,
        *,
        linger: float = 0.005,
        batch_bytes: int = TARGET_BYTES,
        max_buffered_bytes: int = 32 << 20,
        max_block: float = 60.0,
    ) -> Producer:
        """
        A producer: sends without waiting for the disk.

        The options are described at `Producer`.

        Raises:
            ValueError, TypeError: for an option out of its bounds.
        """
        self._check_open()
        producer = Producer(
            self._store,
            self._known_topic,
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
        return maintenance.verify(self._store, progress)

    def compact(self, destination: str | os.PathLike[str]) -> int:
        """
        Writes a copy without free space into a new directory, and returns its size in bytes.

        A log's file never shrinks by itself: deleted space is used again. To shrink it, compact, close the log in
        every process, and put the copy in its place. Also a consistent backup. Others may go on meanwhile.

        Raises:
            ValueError: if the destination is there and not empty. It was left as it was.
            StorageError: if the copy can not be written. The log is unchanged.
        """
        self._check_open()
        return maintenance.compact(self._store, Path(destination))

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


def open(
    path: str | os.PathLike[str],
    *,
    durability: Durability = "commit",
    mode: int = 0o600,
    create: bool = True,
    map_size: int | None = None,
) -> EventLog:
    """
    Opens the log in a directory, and makes both when they are not there.

    Args:
        path: the directory, or ":memory:" for a private log that is gone when it is closed.
        durability: what an acknowledged record survives. "commit" (default): the process, the system and the
            power. "ordered": the process; a crash of the system or a power cut may take the last commit, and the
            log is sound. A log in memory survives nothing.
        mode: permissions of the files (default 0o600); the directory gets the matching right to search.
        create: False refuses to make a new log.
        map_size: bytes of address space to begin with (default 1 TiB, which no log outgrows); the disk is used as
            needed. A log that outgrows it doubles it, which stops everything in all processes for a moment.

    Raises:
        NotALog: if the path holds something else. It was left as it was.
        FormatTooNew: if a newer eventlog wrote it. It was left as it was.
        ReadOnlyLog, UnsupportedFileSystem, StorageError: for what their names say.
        ValueError: for an option out of its bounds, or when this process has the log open with another durability.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     log.topic("orders").append(b"tea").offset
        0
    """
    if durability not in ("commit", "ordered"):
        raise ValueError(f'durability is "commit" or "ordered", not {durability!r}. Nothing was opened.')
    check_int("mode", mode, least=0o200, most=0o777)
    if map_size is not None:
        check_int("map_size", map_size, least=LEAST_MAP_BYTES)
    store = open_store(path, durability=durability, mode=mode, create=create, map_bytes=map_size, clock=SystemClock())
    return EventLog(store)
