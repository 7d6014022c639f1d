"""A topic for asyncio: appends that a task awaits, and reads as async iterators."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar
from uuid import UUID

from eventlog.aio.home import Home
from eventlog.aio.streams import Stream
from eventlog.backend.records import Rows
from eventlog.clients.delivery import metadata_of
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.errors import WrongVersion
from eventlog.interruptions import unless_interrupted
from eventlog.options import UNCHANGED, Compression, HeadersInput, Start, check_message_id
from eventlog.records import Event, K, PartitionRange, Record, RecordBatch, RecordMetadata, Snapshot, V

if TYPE_CHECKING:
    from eventlog.api.schedules import Schedule
    from eventlog.backend.maintenance import RedactReport

S = TypeVar("S")


class Topic(Generic[K, V]):
    """
    A topic for asyncio: see `eventlog.Topic` for what it does.

    Any number of tasks may use it. Appends of all tasks share a commit. Get one from `EventLog.topic()`.
    """

    def __init__(self, home: Home, inner: EmbeddedTopic[K, V]) -> None:
        self._home = home
        self._inner = inner
        self._appender = inner._appender
        self._handle = inner._route

    @property
    def name(self) -> str:
        """The name of the topic."""
        return self._inner.name

    @property
    def partitions(self) -> int:
        """The number of partitions."""
        return self._inner.partitions

    @property
    def key(self) -> str:
        """The name of the codec for keys."""
        return self._inner.key

    @property
    def value(self) -> str:
        """The name of the codec for values."""
        return self._inner.value

    @property
    def partitioner(self) -> str:
        """The name of the partitioner."""
        return self._inner.partitioner

    @property
    def max_record_bytes(self) -> int:
        """The largest size of a record, in encoded bytes."""
        return self._inner.max_record_bytes

    @property
    def index(self) -> str | None:
        """What the records are indexed by: "key" or None."""
        return self._inner.index

    @property
    def retention(self) -> float | None:
        """The seconds for which the topic keeps its records; None keeps them all."""
        return self._inner.retention

    @property
    def retention_bytes(self) -> int | None:
        """The most bytes of stored batches that the topic keeps; None keeps them all."""
        return self._inner.retention_bytes

    @property
    def until_read_by(self) -> tuple[str, ...]:
        """The groups that the topic waits for: what all of them have read is deleted."""
        return self._inner.until_read_by

    @property
    def compression(self) -> str | None:
        """How batches are compressed: "zstd", "lz4", or None."""
        return self._inner.compression

    @property
    def compaction(self) -> str | None:
        """How the topic is compacted: "key" keeps the newest record of each key; None keeps all records."""
        return self._inner.compaction

    @property
    def compaction_lag(self) -> float:
        """The seconds for which compaction leaves records alone."""
        return self._inner.compaction_lag

    @property
    def max_compaction_lag(self) -> float | None:
        """The seconds after which records are compacted at the latest; None waits for enough bytes."""
        return self._inner.max_compaction_lag

    @property
    def tombstone_retention(self) -> float:
        """The seconds for which compaction keeps tombstones."""
        return self._inner.tombstone_retention

    @property
    def min_dirty_ratio(self) -> float:
        """The share of bytes that were not compacted from which on a partition is."""
        return self._inner.min_dirty_ratio

    @property
    def repack_after(self) -> float | None:
        """The seconds after which small batches are merged; None leaves them as they are."""
        return self._inner.repack_after

    @property
    def duplicate_window(self) -> float:
        """The seconds for which message ids are remembered."""
        return self._inner.duplicate_window

    @property
    def uuid(self) -> UUID:
        """The id of the topic, which no other has."""
        return self._inner.uuid

    # -- writing ---------------------------------------------------------------------------------------------

    async def append(
        self,
        value: V | None,
        *,
        key: K | None = None,
        partition: int | None = None,
        headers: HeadersInput | None = None,
        timestamp_ms: int | None = None,
        expected_version: int | None = None,
        message_id: str | bytes | None = None,
    ) -> RecordMetadata:
        """
        Append one record, durable when the task goes on: see `eventlog.Topic.append`.

        If the task is cancelled, the record may be stored.
        """
        home, handle = self._home, self._handle
        home.check()
        key_bytes, value_bytes, pairs, moment_ms = self._appender.encoded(
            value, key, headers, timestamp_ms, expected_version
        )
        identity = None if message_id is None else check_message_id(message_id)
        if identity is not None or (handle.row.compression is not None and self._appender.is_apart(value_bytes)):
            rows = Rows([key_bytes], [value_bytes], moment_ms, [pairs] if pairs else None)
            return await self._append_apart(rows, partition, expected_version, identity)
        is_placed = partition is None
        while True:
            row = handle.row
            chosen = handle.partition(key_bytes, partition, row.partitions)

            future, when_done = home.promise()
            deferred = home.requests.defer_record(
                row,
                chosen,
                key_bytes,
                value_bytes,
                pairs,
                moment_ms,
                is_placed=is_placed,
                expected_version=expected_version,
                when_done=when_done,
            )
            home.worker.commit_soon()
            await future
            try:
                offset, log_position, version, newer = deferred.reply()
            except unless_interrupted(WrongVersion) as error:
                raise handle.with_key(error) from None
            if newer is not None:
                handle.learn(newer)
                if is_placed:
                    continue
            return RecordMetadata(row.name, chosen, offset, moment_ms, log_position, version or None)

    async def _append_apart(
        self, rows: Rows, partition: int | None, expected_version: int | None, message_id: bytes | None
    ) -> RecordMetadata:
        while True:
            part, conditions = self._appender.apart(rows, partition, expected_version, message_id)
            stored = await self._store([part], conditions, is_placed=partition is None)
            if stored is not None:
                return metadata_of(part.topic.name, stored[0].location(0))

    async def _store(self, parts: Any, conditions: Any, *, is_placed: bool) -> Any:
        requests = self._home.requests
        try:
            reply = await self._home.store(
                lambda when_done: requests.defer_append(parts, conditions, is_placed=is_placed, when_done=when_done)
            )
        except unless_interrupted(WrongVersion) as error:
            raise self._handle.with_key(error) from None
        return self._appender.stored_of(reply)

    async def schedule(
        self,
        value: V | None,
        *,
        at: datetime | float | None = None,
        delay: float | None = None,
        key: K | None = None,
        headers: HeadersInput | None = None,
        partition: int | None = None,
        message_id: str | bytes | None = None,
    ) -> Schedule[K, V]:
        """Store one record now, and append it later: see `eventlog.Topic.schedule`."""
        schedule = partial(
            self._inner.schedule,
            value,
            at=at,
            delay=delay,
            key=key,
            headers=headers,
            partition=partition,
            message_id=message_id,
        )
        return await self._home.call(schedule, "the schedule")

    async def append_many(
        self,
        values: Iterable[V | None],
        *,
        keys: Iterable[K | None] | None = None,
        key: K | None = None,
        partition: int | None = None,
        headers: Iterable[HeadersInput | None] | None = None,
        timestamps_ms: int | Iterable[int] | None = None,
        expected_version: int | None = None,
        message_ids: Iterable[str | bytes | None] | None = None,
    ) -> list[PartitionRange]:
        """
        Append records in columns, all or none of them: see `eventlog.Topic.append_many`.

        If the task is cancelled, they may be stored. Encoding runs in the loop: a hundred thousand records at once
        hold it up.
        """
        self._home.check()
        columns = self._appender.columns(values, keys, key, headers, timestamps_ms, expected_version, message_ids)
        while columns is not None:
            placed = self._appender.placed(columns, partition, expected_version)
            stored = await self._store(placed.parts, placed.conditions, is_placed=partition is None)
            if stored is not None:
                return placed.ranges(stored)
        return []

    async def alter(
        self,
        *,
        retention: float | None = UNCHANGED,
        retention_bytes: int | None = UNCHANGED,
        until_read_by: Iterable[str] | None = UNCHANGED,
        compression: Compression | None = UNCHANGED,
        compaction: Literal["key"] | None = UNCHANGED,
        compaction_lag: float = UNCHANGED,
        max_compaction_lag: float | None = UNCHANGED,
        tombstone_retention: float = UNCHANGED,
        min_dirty_ratio: float = UNCHANGED,
        repack_after: float | None = UNCHANGED,
    ) -> None:
        """Change what the topic keeps, and how: see `eventlog.Topic.alter`."""
        change = partial(
            self._inner.alter,
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
        await self._home.call(change, "the change of the topic")

    async def delete_records(self, before: Mapping[int, int]) -> None:
        """Delete the records before some offsets, by partition: see `eventlog.Topic.delete_records`."""
        await self._home.call(partial(self._inner.delete_records, before), "the deletion")

    async def redact(self, key: K, *, dry_run: bool = False) -> RedactReport:
        """Make tombstones of the records of a key, in the thread for long work: see `eventlog.Topic.redact`."""
        return await self._home.read(partial(self._inner.redact, key, dry_run=dry_run), "the redaction")

    async def create_partitions(self, total: int) -> None:
        """Give the topic more partitions: see `eventlog.Topic.create_partitions`."""
        await self._home.call(partial(self._inner.create_partitions, total), "the new partitions")

    # -- reading ---------------------------------------------------------------------------------------------

    async def bounds(self) -> dict[int, tuple[int, int]]:
        """Return the first and the end offset of each partition."""
        self._home.check()
        return self._inner.bounds()

    def read(
        self,
        partition: int | None = None,
        *,
        start: Start = "earliest",
        end: Start | None = None,
        max_records: int | None = None,
    ) -> AsyncIterator[Record[K, V]]:
        """The stored records, for `async for`: see `eventlog.Topic.read`."""
        self._home.check()
        return Stream(self._home, self._inner.read(partition, start=start, end=end, max_records=max_records))

    def read_batches(
        self,
        partition: int | None = None,
        *,
        start: Start = "earliest",
        end: Start | None = None,
        max_records: int | None = None,
    ) -> AsyncIterator[RecordBatch[K, V]]:
        """The stored records in columns, for `async for`: see `eventlog.Topic.read_batches`."""
        self._home.check()
        return Stream(self._home, self._inner.read_batches(partition, start=start, end=end, max_records=max_records))

    # -- reading by key --------------------------------------------------------------------------------------

    def history(
        self,
        key: K,
        *,
        start: int = 1,
        end: int | datetime | None = None,
        end_log_position: int | None = None,
        is_reversed: bool = False,
        max_records: int | None = None,
    ) -> AsyncIterator[Event[K, V]]:
        """The records of a key, for `async for`: see `eventlog.Topic.history`."""
        self._home.check()
        events = self._inner.history(
            key,
            start=start,
            end=end,
            end_log_position=end_log_position,
            is_reversed=is_reversed,
            max_records=max_records,
        )
        return Stream(self._home, events)

    async def latest(self, key: K) -> Event[K, V] | None:
        """Return the last record of a key, or None."""
        self._home.check()
        return self._inner.latest(key)

    async def version(self, key: K) -> int:
        """Return the number of records that a key has."""
        self._home.check()
        return self._inner.version(key)

    def keys(self, prefix: str | bytes | None = None) -> AsyncIterator[K]:
        """The keys that have records, for `async for`: see `eventlog.Topic.keys`."""
        self._home.check()
        return Stream(self._home, self._inner.keys(prefix))

    async def fold(
        self,
        key: K,
        function: Callable[[S, V], S],
        initial: S,
        *,
        end: int | datetime | None = None,
        end_log_position: int | None = None,
        snapshot: bool = True,
    ) -> tuple[S, int]:
        """
        Fold the records of a key from its last snapshot on: see `eventlog.Topic.fold`.

        The function runs in the thread for long reads, not in the loop's.
        """
        fold = partial(
            self._inner.fold,
            key,
            function,
            initial,
            end=end,
            end_log_position=end_log_position,
            snapshot=snapshot,
        )
        return await self._home.read(fold, "the fold")

    async def save_snapshot(self, key: K, state: Any, *, version: int) -> None:
        """Store what a key's records fold to, up to a version: see `eventlog.Topic.save_snapshot`."""
        await self._home.call(partial(self._inner.save_snapshot, key, state, version=version), "the snapshot")

    async def snapshot(self, key: K) -> Snapshot[Any] | None:
        """Return the snapshot of a key, or None."""
        self._home.check()
        return self._inner.snapshot(key)

    async def delete_snapshot(self, key: K) -> None:
        """Delete the snapshot of a key: see `eventlog.Topic.delete_snapshot`."""
        await self._home.call(partial(self._inner.delete_snapshot, key), "the deletion")

    def __repr__(self) -> str:
        return repr(self._inner)


def inner_of(topic: Any) -> Any:
    """The topic of the clients for one of ours; everything else as it is."""
    return topic._inner if isinstance(topic, Topic) else topic


def inners_of(topics: Iterable[str | Topic[Any, Any]] | None) -> list[Any] | None:
    """The same for several; None is all of them."""
    return None if topics is None else [inner_of(topic) for topic in topics]
