"""
A topic: appending that is durable on return, and reading without a group.

Knows nothing of batching over time, positions or groups.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Generic, Protocol
from uuid import UUID

from eventlog.batches.format import BatchEncoder
from eventlog.batches.partitioners import partition_column
from eventlog.clients.fetcher import Cursor, Fetcher, resolve_end, resolve_start
from eventlog.clients.route import Route
from eventlog.errors import LogClosed
from eventlog.options import (
    MAX_PARTITIONS,
    HeadersInput,
    Start,
    check_columns,
    check_headers,
    check_int,
    check_timestamp_ms,
)
from eventlog.records import Headers, K, PartitionRange, Record, RecordBatch, RecordMetadata, V
from eventlog.store.store import Store
from eventlog.store.tables import TopicRow
from eventlog.store.works import Append, AppendOne, CreatePartitions, DeleteRecords, Part

_READ_BYTES = 1 << 20


class Owner(Protocol):
    """Is the log that a topic was opened in."""

    def _check_open(self) -> None:
        """Raises `LogClosed` when the log was closed."""
        ...


class Topic(Generic[K, V]):
    """
    Is one topic of a log: its partitions, and the codecs of its keys and values.

    Get one from `EventLog.topic()`. Any thread may use it; it needs no closing.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     orders = log.topic("orders", partitions=4, key=str, value="json")
        ...     meta = orders.append({"item": "tea"}, key="alice")
        ...     [record.value for record in orders.read()]
        [{'item': 'tea'}]
    """

    def __init__(self, store: Store, route: Route, owner: Owner) -> None:
        self._store = store
        self._owner = owner  # a log that nobody else holds stays open as long as its topics
        self._fetcher = Fetcher(store)
        self._route = route
        route.look = partial(store.topic, route.row.name)

    @property
    def name(self) -> str:
        """The topic's name."""
        return self._route.row.name

    @property
    def partitions(self) -> int:
        """How many partitions the topic has now; they are numbered from 0."""
        with contextlib.suppress(LogClosed):
            self._owner._check_open()
            return self._route.learn(self._route.look()).partitions
        return self._route.row.partitions

    @property
    def key(self) -> str:
        """The name of the codec of the keys."""
        return self._route.key_codec.name

    @property
    def value(self) -> str:
        """The name of the codec of the values."""
        return self._route.value_codec.name

    @property
    def partitioner(self) -> str:
        """The name of the partitioner, as stored."""
        return self._route.partitioner_name

    @property
    def max_record_bytes(self) -> int:
        """The bound of one record's key, value and headers, in bytes."""
        return self._route.row.max_record_bytes

    @property
    def uuid(self) -> UUID:
        """The id of this topic, which no other topic of any log has; a topic made anew has another."""
        return self._route.row.uuid

    # -- writing ---------------------------------------------------------------------------------------------

    def append(
        self,
        value: V | None,
        *,
        key: K | None = None,
        partition: int | None = None,
        headers: HeadersInput | None = None,
        timestamp_ms: int | None = None,
    ) -> RecordMetadata:
        """
        Stores one record, durable when the call returns (as the log's `durability` says).

        Blocks for one sync of the disk. Threads that append at the same time share one, so many threads are many
        times faster than one.

        Args:
            value: None is a tombstone.
            key: decides the partition, by the topic's partitioner. Without one, partitions take turns.
            partition: overrides the partitioner.
            headers: a mapping or pairs of str and bytes.
            timestamp_ms: ms since 1970 UTC; now when not given.

        Raises:
            TypeError: if a value or key does not fit its codec. Nothing was stored.
            RecordTooLarge, UnknownPartition, UnknownTopic: for what their names say. Nothing was stored.
            StorageError: if the disk failed. The record was not acknowledged; open the log again.
        """
        self._owner._check_open()
        route = self._route
        value_bytes = route.value_codec.encode(value)
        key_bytes = route.key_codec.encode(key)
        pairs = check_headers(headers)
        route.check_size(key_bytes, value_bytes, pairs)
        moment = self._store.clock.now_ms() if timestamp_ms is None else check_timestamp_ms(timestamp_ms)
        is_placed = partition is None
        while True:
            row = route.row
            chosen = route.partition(key_bytes, partition, row.partitions)
            work = AppendOne(row, chosen, key_bytes, value_bytes, pairs, moment, is_placed=is_placed)
            self._store.run(work)
            route.learn(work.newer)
            if not work.is_refused:
                return RecordMetadata(row.name, chosen, work.offset, moment)

    def append_many(
        self,
        values: Iterable[V | None],
        *,
        keys: Iterable[K | None] | None = None,
        partition: int | None = None,
        headers: Iterable[HeadersInput | None] | None = None,
        timestamps_ms: int | Iterable[int] | None = None,
    ) -> list[PartitionRange]:
        """
        Stores records given in columns: all of them in one transaction, or none.

        The fastest way to write: one sync, no object for each record. The records of one partition keep the order
        of the columns.

        Args:
            values: None in it is a tombstone.
            keys: one for each value, or None when no record has a key; keyless records then go to one partition.
            partition: overrides the partitioner, for all.
            headers: one for each value, or None.
            timestamps_ms: ms since 1970 UTC, one for all or one for each; now when not given.

        Returns:
            Where they are stored: the range of each partition that got any, by partition.

        Raises:
            ValueError: if the columns differ in length. Nothing was stored.
            TypeError, RecordTooLarge, UnknownPartition, UnknownTopic, StorageError: as `append`; nothing was stored.
        """
        self._owner._check_open()
        values, keys, headers, timestamps_ms = check_columns(values, keys, headers, timestamps_ms)
        if not values:
            return []
        route = self._route
        header_column = None if headers is None else [check_headers(pairs) for pairs in headers]
        if header_column is not None and not any(header_column):
            header_column = None
        times = self._times(timestamps_ms)
        while True:
            row = route.row
            if partition is not None or row.partitions == 1 or keys is None:
                chosen = route.partition(None, partition, row.partitions)
                parts = [self._part(row, chosen, keys, values, times, header_column)]
            else:
                parts = self._parts_by_key(row, keys, values, times, header_column)
            self._check_sizes(parts, keys, values, header_column)
            work = Append(parts, is_placed=partition is None)
            self._store.run(work)
            route.learn(work.newer)
            if not work.is_refused:
                break
        return [
            PartitionRange(self.name, part.partition, part.base, part.base + sum(one.span for one in part.batches))
            for part in parts
        ]

    def _times(self, timestamps_ms: int | Sequence[int] | None) -> int | Sequence[int]:
        if timestamps_ms is None:
            return self._store.clock.now_ms()
        if isinstance(timestamps_ms, int):
            return check_timestamp_ms(timestamps_ms)
        return [check_timestamp_ms(moment) for moment in timestamps_ms]

    def _part(
        self,
        row: TopicRow,
        partition: int,
        keys: Sequence[Any] | None,
        values: Sequence[Any],
        times: int | Sequence[int],
        headers: Sequence[Headers] | None,
    ) -> Part:
        """The batches of one partition."""
        try:
            batches = BatchEncoder().encode(
                keys,
                values,
                timestamps_ms=times,
                headers=headers,
                key_bytes=self._route.encode_keys,
                value_bytes=self._route.encode_values,
            )
        except TypeError:
            self._route.check_each(keys, values)  # says it in our words
            raise
        return Part(row, partition, batches)

    def _parts_by_key(
        self,
        row: TopicRow,
        keys: Sequence[Any],
        values: Sequence[Any],
        times: int | Sequence[int],
        headers: Sequence[Headers] | None,
    ) -> list[Part]:
        """The batches of each partition, by partition."""
        encoded = self._route.encode_keys(keys)
        keyless = self._route.keyless_partition(row.partitions)
        chosen = partition_column(encoded, row.partitions, self._route.partition_of, keyless)
        indexes: dict[int, list[int]] = {}
        for index, number in enumerate(chosen):
            indexes.setdefault(number, []).append(index)
        return [
            self._part(
                row,
                number,
                [keys[place] for place in places],
                [values[place] for place in places],
                times if isinstance(times, int) else [times[place] for place in places],
                None if headers is None else [headers[place] for place in places],
            )
            for number, places in sorted(indexes.items())
        ]

    def _check_sizes(
        self,
        parts: list[Part],
        keys: Sequence[Any] | None,
        values: Sequence[Any],
        headers: Sequence[Headers] | None,
    ) -> None:
        """Measures every record, unless no batch is large enough to hold one that is too large."""
        if max(len(batch.body) for part in parts for batch in part.batches) <= self.max_record_bytes:
            return
        key_column = None if keys is None else self._route.encode_keys(keys)
        for index, value in enumerate(self._route.encode_values(values)):
            self._route.check_size(key_column[index] if key_column else None, value, headers[index] if headers else ())

    def delete_records(self, before: Mapping[int, int]) -> None:
        """
        Deletes the records before an offset, for some partitions, in one transaction (Kafka's `deleteRecords`).

        The offsets of the others do not change. Readers that stand before the new first offset get
        `OffsetOutOfRange`. The space is used again by later appends; the file does not shrink.

        Args:
            before: for each partition the offset that becomes its first.

        Raises:
            OffsetOutOfRange: if an offset lies beyond the end of its partition. Nothing was deleted.
            UnknownPartition: if there is no such partition. Nothing was deleted.
        """
        self._owner._check_open()
        for partition, offset in before.items():
            self._route.check_partition(partition)
            check_int("the offset", offset, least=0)
        self._store.run(DeleteRecords(self._route.row, before))

    # -- partitions ------------------------------------------------------------------------------------------

    def create_partitions(self, total: int) -> None:
        """
        Raises the number of partitions to `total`, durable when the call returns (Kafka's `createPartitions`).

        The new partitions are empty; no record is moved. So with keys, later records of a key may go to another
        partition than its earlier ones, as in Kafka: where the order of a key counts, let readers finish the earlier
        ones first, or give the topic enough partitions from the beginning.

        Every `Topic` and producer learns of it, in every process: what is appended after the call goes by the new
        number. A producer goes by it from its next commit on, and at once when nothing of it waits; what it was sent
        before stays where it was placed. A program that opens the topic with `partitions=` the old number gets
        `TopicMismatch` from now on.

        Args:
            total: how many there are to be in all, up to 100,000. As many as there are: nothing is changed, so
                several programs may ask for the same.

        Raises:
            ValueError: if the topic has more than that: partitions are never removed. Nothing was changed.
            UnknownTopic: if the topic was deleted. Nothing was changed.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     orders = log.topic("orders", partitions=2)
            ...     orders.create_partitions(4)
            ...     orders.partitions
            4
        """
        self._owner._check_open()
        check_int("total", total, least=1, most=MAX_PARTITIONS)
        work = CreatePartitions(self._route.row, total)
        self._store.run(work)
        stored = self._route.learn(work.topic).partitions
        if stored > total:
            raise ValueError(
                f"cannot give topic {self.name!r} {total} partitions: it has {stored}, and none is ever removed. "
                f"Nothing was changed. Pass more than {stored}."
            )

    # -- reading ---------------------------------------------------------------------------------------------

    def bounds(self) -> dict[int, tuple[int, int]]:
        """
        The first offset and the end offset (exclusive) of every partition, of one moment.

        Raises:
            UnknownTopic: if the topic was deleted.
        """
        self._owner._check_open()
        row = self._route.learn(self._store.check_topic(self._route.row))
        return dict(enumerate(self._store.bounds(row)))

    def read(
        self,
        partition: int | None = None,
        *,
        start: Start = "earliest",
        end: Start | None = None,
        max_records: int | None = None,
    ) -> Iterator[Record[K, V]]:
        """
        Reads what is stored now, without a group, and ends at the end.

        Records appended after the call are not read. Nothing is kept open between records, so one may stop at any
        point and take as long as one likes.

        Args:
            partition: one partition, or None for all, one after the other.
            start: "earliest", "latest", an offset, or a `datetime`: the first record of that time or later.
            end: where to stop, exclusive, in the same terms; None is where the log ended at the call.
            max_records: the most records to read, None for all.

        Raises:
            OffsetOutOfRange: if `start` or `end` is an offset outside the partition.
            UnknownPartition, UnknownTopic, ValueError, TypeError: at the call, for what their names say.
            CorruptBatch, DecodeError: at the record that can not be read.
        """
        batches = self.read_batches(partition, start=start, end=end, max_records=max_records)
        return (record for batch in batches for record in batch.records())

    def read_batches(
        self,
        partition: int | None = None,
        *,
        start: Start = "earliest",
        end: Start | None = None,
        max_records: int | None = None,
    ) -> Iterator[RecordBatch[K, V]]:
        """The same as `read`, in columns: batches as they were stored, cut to the bounds."""
        self._owner._check_open()
        if max_records is not None:
            check_int("max_records", max_records, least=0)
        row = self._route.learn(self._store.check_topic(self._route.row))
        partitions = range(row.partitions) if partition is None else [self._route.check_partition(partition)]
        spans = []
        for number in partitions:
            first = resolve_start(self._store, row, number, start)
            spans.append((number, first, resolve_end(self._store, row, number, end)))
        return self._read_spans(spans, max_records)

    def _read_spans(self, spans: list[tuple[int, int, int]], max_records: int | None) -> Iterator[RecordBatch[K, V]]:
        left = max_records
        for partition, first, end in spans:
            cursor: Cursor[K, V] = Cursor(self._route, partition, first)
            while cursor.offset < end and (left is None or left > 0):
                batches, _ = self._fetcher.fetch([cursor], _READ_BYTES, end=end)
                for batch in batches:
                    if left is not None:
                        batch = batch.slice(0, left)
                        left -= len(batch)
                    if len(batch):
                        yield batch
                if not batches:
                    break

    def _check_store(self, store: Store) -> None:
        """Raises `ValueError` when this topic belongs to another log."""
        if store is not self._store:
            raise ValueError(
                f"topic {self.name!r} belongs to the log at {self._store.path}, not to the one at {store.path}. "
                "Nothing was stored. Open the topic in this log."
            )

    def __repr__(self) -> str:
        return f"<Topic {self.name!r}: {self._route.row.partitions} partitions, key {self.key}, value {self.value}>"
