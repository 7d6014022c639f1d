"""
A topic: appending that is durable on return, and reading without a group.

Knows nothing of batching over time, positions or groups.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar
from uuid import UUID

from eventlog import api
from eventlog.api.overriding import override
from eventlog.api.topic import Topic
from eventlog.backend import Backend
from eventlog.backend.topics import StoredTopic, TopicChanges
from eventlog.clients.reading.batch_reader import BatchReader, Cursor, resolve_ends, resolve_starts
from eventlog.clients.topic.append import Appender
from eventlog.clients.topic.history import History
from eventlog.clients.topic_handle import TopicHandle, check_library
from eventlog.errors import LogClosed
from eventlog.interruptions import suppress
from eventlog.options import (
    MAX_PARTITIONS,
    UNCHANGED,
    Compression,
    HeadersInput,
    Start,
    check_bool,
    check_compression,
    check_int,
    check_offsets,
)
from eventlog.records import Event, K, PartitionRange, Record, RecordBatch, RecordMetadata, Snapshot, V

_READ_BYTES = 1 << 20
_SECOND_READ_BYTES = 1 << 17
"""First one batch is read, for those who want one record, and then more and more."""
S = TypeVar("S")


class Owner(Protocol):
    """The log that a topic was opened in."""

    def _check_open(self) -> None:
        """Raises `LogClosed` when the log was closed."""
        ...


class EmbeddedTopic(Topic[K, V]):
    """The embedded topic: see `eventlog.Topic`."""

    def __init__(self, store: Backend, route: TopicHandle, owner: Owner, *, cleans: bool = False) -> None:
        self._store = store
        self._cleans = cleans
        self._owner = owner  # a log that nobody else holds stays open as long as its topics
        self._fetcher = BatchReader(store)
        self._route = route
        self._appender = Appender(store, route)
        self._events: History[K, V] = History(store, route)

    @property
    @override
    def name(self) -> str:
        return self._route.row.name

    @property
    @override
    def partitions(self) -> int:
        with suppress(LogClosed):
            self._owner._check_open()
            return self._route.learn(self._route.look()).partitions
        return self._route.row.partitions

    @property
    @override
    def key(self) -> str:
        return self._route.key_codec.name

    @property
    @override
    def value(self) -> str:
        return self._route.value_codec.name

    @property
    @override
    def partitioner(self) -> str:
        return self._route.partitioner_name

    @property
    @override
    def max_record_bytes(self) -> int:
        return self._route.row.max_record_bytes

    @property
    @override
    def index(self) -> str | None:
        return self._route.row.index

    @property
    @override
    def duplicate_window(self) -> float:
        return self._route.row.duplicate_window_ms / 1000

    @property
    @override
    def retention(self) -> float | None:
        most_ms = self._stored().retention.most_ms
        return None if most_ms is None else most_ms / 1000

    @property
    @override
    def retention_bytes(self) -> int | None:
        return self._stored().retention.most_bytes

    @property
    @override
    def until_read_by(self) -> tuple[str, ...]:
        return self._stored().retention.until_read_by

    @property
    @override
    def compression(self) -> str | None:
        return self._stored().compression

    @property
    @override
    def compaction(self) -> str | None:
        return self._stored().compaction.by

    @property
    @override
    def compaction_lag(self) -> float:
        return self._stored().compaction.lag_ms / 1000

    @property
    @override
    def max_compaction_lag(self) -> float | None:
        most_lag_ms = self._stored().compaction.most_lag_ms
        return None if most_lag_ms is None else most_lag_ms / 1000

    @property
    @override
    def tombstone_retention(self) -> float:
        return self._stored().compaction.tombstone_ms / 1000

    @property
    @override
    def min_dirty_ratio(self) -> float:
        return self._stored().compaction.least_dirty_ratio

    @property
    @override
    def repack_after(self) -> float | None:
        repack_ms = self._stored().compaction.repack_ms
        return None if repack_ms is None else repack_ms / 1000

    def _stored(self) -> StoredTopic:
        """What is stored now: others may have altered it."""
        with suppress(LogClosed):
            self._owner._check_open()
            stored = self._route.look()
            if stored is not None and stored.id == self._route.row.id:
                return stored
        return self._route.row

    @property
    @override
    def uuid(self) -> UUID:
        return self._route.row.uuid

    # -- writing ---------------------------------------------------------------------------------------------

    @override
    def append(
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
        self._owner._check_open()
        return self._appender.append(value, key, partition, headers, timestamp_ms, expected_version, message_id)

    @override
    def schedule(
        self,
        value: V | None,
        *,
        at: datetime | float | None = None,
        delay: float | None = None,
        key: K | None = None,
        headers: HeadersInput | None = None,
        partition: int | None = None,
        message_id: str | bytes | None = None,
    ) -> api.Schedule[K, V]:
        self._owner._check_open()
        from eventlog.clients.topic.scheduling import decoded, new_schedule  # few programs schedule

        clock, schedules = self._store.clock, self._store.schedules()
        new = new_schedule(
            self._route,
            clock,
            value,
            at=at,
            delay=delay,
            key=key,
            headers=headers,
            partition=partition,
            message_id=message_id,
        )
        [stored] = schedules.add_schedules([new])
        return decoded(self._route, stored)

    @override
    def append_many(
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
        self._owner._check_open()
        return self._appender.append_many(
            values, keys, key, partition, headers, timestamps_ms, expected_version, message_ids
        )

    @override
    def delete_records(self, before: Mapping[int, int]) -> None:
        self._owner._check_open()
        for partition, offset in check_offsets(before).items():
            self._route.check_partition(partition)
            check_int("the offset", offset, least=0)
        self._store.delete_records(self._route.row, before)

    @override
    def redact(self, key: K, *, dry_run: bool = False) -> api.RedactReport:
        self._owner._check_open()
        check_bool("dry_run", dry_run)
        data = None if key is None else self._route.key_codec.encode(key)
        if data is None:
            raise ValueError("None is no key: records without one are not redacted. Nothing was changed.")
        return self._store.redact(self._route.row, data, dry_run=dry_run)

    @override
    def alter(
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
        self._owner._check_open()
        stored = self._store.check_topic(self._route.row)
        from eventlog.clients.topic.compaction import altered_compaction
        from eventlog.clients.topic.retention import altered_retention  # few programs alter: `import eventlog` is fast

        keeps = altered_retention(stored.retention, retention, retention_bytes, until_read_by)
        rewritten = altered_compaction(
            stored,
            {
                "compaction": compaction,
                "compaction_lag": compaction_lag,
                "max_compaction_lag": max_compaction_lag,
                "tombstone_retention": tombstone_retention,
                "min_dirty_ratio": min_dirty_ratio,
                "repack_after": repack_after,
            },
        )
        if compression is not UNCHANGED and compression is not None:
            check_compression(compression)
            check_library(compression, f"compress topic {self.name!r}")
        changes = TopicChanges(
            UNCHANGED if keeps == stored.retention else keeps,
            UNCHANGED if compression == stored.compression else compression,
            UNCHANGED if rewritten == stored.compaction else rewritten,
        )
        if changes != TopicChanges():
            self._route.row = self._store.alter_topic(self._route.row, changes)
        if self._cleans and self._route.row.is_cleaned:
            self._store.keep_clean()

    # -- partitions ------------------------------------------------------------------------------------------

    @override
    def create_partitions(self, total: int) -> None:
        self._owner._check_open()
        check_int("total", total, least=1, most=MAX_PARTITIONS)
        stored = self._route.learn(self._store.create_partitions(self._route.row, total)).partitions
        if stored > total:
            raise ValueError(
                f"cannot give topic {self.name!r} {total} partitions: it has {stored}, and none is ever removed. "
                f"Nothing was changed. Pass more than {stored}."
            )

    # -- reading ---------------------------------------------------------------------------------------------

    @override
    def bounds(self) -> dict[int, tuple[int, int]]:
        self._owner._check_open()
        row = self._route.learn(self._store.check_topic(self._route.row))
        return dict(enumerate(self._store.bounds(row)))

    @override
    def read(
        self,
        partition: int | None = None,
        *,
        start: Start = "earliest",
        end: Start | None = None,
        max_records: int | None = None,
    ) -> Iterator[Record[K, V]]:
        batches = self.read_batches(partition, start=start, end=end, max_records=max_records)
        return (record for batch in batches for record in batch.records())

    @override
    def read_batches(
        self,
        partition: int | None = None,
        *,
        start: Start = "earliest",
        end: Start | None = None,
        max_records: int | None = None,
    ) -> Iterator[RecordBatch[K, V]]:
        self._owner._check_open()
        if max_records is not None:
            check_int("max_records", max_records, least=0)
        row = self._route.learn(self._store.check_topic(self._route.row))
        partitions = range(row.partitions) if partition is None else [self._route.check_partition(partition)]
        places = [(row, number) for number in partitions]
        firsts, ends = resolve_starts(self._store, places, start), resolve_ends(self._store, places, end)
        spans = list(zip(partitions, firsts, ends, strict=True))
        return self._read_spans(spans, max_records)

    def _read_spans(self, spans: list[tuple[int, int, int]], max_records: int | None) -> Iterator[RecordBatch[K, V]]:
        left, room = max_records, 1
        for partition, first, end in spans:
            cursor: Cursor[K, V] = Cursor(self._route, partition, first)
            while cursor.offset < end and (left is None or left > 0):
                before = cursor.offset
                batches = self._fetcher.fetch([cursor], room, end=end).batches
                room = min(max(2 * room, _SECOND_READ_BYTES), _READ_BYTES)
                for batch in batches:
                    if left is not None:
                        batch = batch.slice(0, left)
                        left -= len(batch)
                    if len(batch):
                        yield batch
                if not batches and cursor.offset == before:
                    break  # else nothing is left of what was found: what follows may have more

    # -- reading by key --------------------------------------------------------------------------------------

    @override
    def history(
        self,
        key: K,
        *,
        start: int = 1,
        end: int | datetime | None = None,
        end_log_position: int | None = None,
        is_reversed: bool = False,
        max_records: int | None = None,
    ) -> Iterator[Event[K, V]]:
        self._owner._check_open()
        if is_reversed is not True and is_reversed is not False:
            check_bool("is_reversed", is_reversed)
        if end_log_position is not None or isinstance(end, datetime):
            end = self._events.end_version(key, end, end_log_position)
        return self._events.history(key, start, end, is_reversed=is_reversed, max_records=max_records)

    @override
    def latest(self, key: K) -> Event[K, V] | None:
        self._owner._check_open()
        return self._events.latest(key)

    @override
    def version(self, key: K) -> int:
        self._owner._check_open()
        return self._events.version(key)

    @override
    def keys(self, prefix: str | bytes | None = None) -> Iterator[K]:
        self._owner._check_open()
        return self._events.keys(prefix)

    @override
    def fold(
        self,
        key: K,
        function: Callable[[S, V], S],
        initial: S,
        *,
        end: int | datetime | None = None,
        end_log_position: int | None = None,
        snapshot: bool = True,
    ) -> tuple[S, int]:
        self._owner._check_open()
        check_bool("snapshot", snapshot)
        if end is not None or end_log_position is not None:
            end = self._events.end_version(key, end, end_log_position)
        return self._events.fold(key, function, initial, end, uses_snapshot=snapshot)

    @override
    def save_snapshot(self, key: K, state: Any, *, version: int) -> None:
        self._owner._check_open()
        self._events.save_snapshot(key, state, version)

    @override
    def snapshot(self, key: K) -> Snapshot[Any] | None:
        self._owner._check_open()
        return self._events.snapshot(key)

    @override
    def delete_snapshot(self, key: K) -> None:
        self._owner._check_open()
        self._events.delete_snapshot(key)

    def _check_store(self, store: Backend) -> None:
        """Raises `ValueError` when this topic belongs to another log."""
        if store is not self._store:
            raise ValueError(
                f"topic {self.name!r} belongs to the log at {self._store.path}, not to the one at {store.path}. "
                "Nothing was changed. Open the topic in this log."
            )

    def __repr__(self) -> str:
        return f"<Topic {self.name!r}: {self._route.row.partitions} partitions, key {self.key}, value {self.value}>"
