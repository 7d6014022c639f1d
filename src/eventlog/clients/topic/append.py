"""
Storing records at once: one, or columns of them, durable when the call returns.

`Topic` says what is promised. Knows nothing of batching over time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import BatchEncoder
from eventlog.batches.partitioners import part_columns, partition_column
from eventlog.clients.topic_handle import TopicHandle
from eventlog.options import (
    HeadersInput,
    check_column,
    check_columns,
    check_headers,
    check_int,
    check_message_id,
    check_timestamp_ms,
)
from eventlog.records import Headers, PartitionRange, RecordMetadata
from eventlog.store.records.append import Append, AppendOne, Condition, Part, Place, Rows
from eventlog.store.store import Store


class Appender:
    """
    Stores records of one topic.

    Any thread may use it.
    """

    def __init__(self, store: Store, route: TopicHandle) -> None:
        self._store = store
        self._route = route

    def append(
        self,
        value: object,
        key: object,
        partition: int | None,
        headers: HeadersInput | None,
        timestamp_ms: int | None,
        expected_version: int | None,
        message_id: str | bytes | None,
    ) -> RecordMetadata:
        """Stores one record."""
        route = self._route
        value_bytes = route.value_codec.encode(value)
        key_bytes = route.key_codec.encode(key)
        pairs = check_headers(headers) if headers else ()
        route.check_size(key_bytes, value_bytes, pairs)
        moment = self._store.clock.now_ms() if timestamp_ms is None else check_timestamp_ms(timestamp_ms)
        if expected_version is not None:
            check_expected(route.row, expected_version, key_bytes)
        if message_id is not None:
            identity = check_message_id(message_id)
            return self._append_once(key_bytes, value_bytes, pairs, partition, moment, expected_version, identity)
        is_placed = partition is None
        while True:
            row = route.row
            chosen = route.partition(key_bytes, partition, row.partitions)
            work = AppendOne(
                row,
                chosen,
                key_bytes,
                value_bytes,
                pairs,
                moment,
                is_placed=is_placed,
                expected_version=expected_version,
            )
            self._store.run(work)
            if work.newer is not None:
                route.learn(work.newer)
                if is_placed:
                    continue
            return RecordMetadata(row.name, chosen, work.offset, moment, work.log_position, work.version or None)

    def _append_once(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        partition: int | None,
        timestamp_ms: int,
        expected_version: int | None,
        message_id: bytes,
    ) -> RecordMetadata:
        """Stores one record unless one is stored under its id."""
        route = self._route
        rows = Rows([key], [value], timestamp_ms, [headers] if headers else None)
        while True:
            row = route.row
            part = self._packed(row, route.partition(key, partition, row.partitions), rows)
            part.rows = rows
            part.message_ids = {0: message_id}
            conditions = [Condition(part, 0, expected_version, message_id)]
            work = Append([part], is_placed=partition is None, conditions=conditions, now_ms=self._store.clock.now_ms())
            self._store.run(work)
            route.learn(work.newer)
            if not work.is_refused:
                return metadata_of(row.name, part.place(0))

    @staticmethod
    def _packed(row: StoredTopic, partition: int, rows: Rows) -> Part:
        batches = BatchEncoder().encode(rows.keys, rows.values, timestamps_ms=rows.timestamps_ms, headers=rows.headers)
        return Part(row, partition, batches, rows)

    def append_many(
        self,
        values: Iterable[Any],
        keys: Iterable[Any] | None,
        key: object,
        partition: int | None,
        headers: Iterable[HeadersInput | None] | None,
        timestamps_ms: int | Iterable[int] | None,
        expected_version: int | None,
        message_ids: Iterable[str | bytes | None] | None,
    ) -> list[PartitionRange]:
        """Stores columns of records."""
        values, keys, headers, timestamps_ms = check_columns(values, keys, headers, timestamps_ms)
        if key is not None:
            if keys is not None:
                raise ValueError(
                    "key= is the key of all records and keys= has one for each: give one of them. Nothing was stored."
                )
            keys = [key] * len(values)
        if expected_version is not None:
            check_expected(self._route.row, expected_version, None if key is None else b"")
        identities = _identities(message_ids, len(values))
        if not values:
            return []
        header_column = None if headers is None else [check_headers(pairs) for pairs in headers]
        if header_column is not None and not any(header_column):
            header_column = None
        columns = _Columns(keys, values, self._times(timestamps_ms), header_column, identities)
        return self._store_columns(columns, partition, expected_version)

    def _store_columns(
        self, columns: _Columns, partition: int | None, expected_version: int | None
    ) -> list[PartitionRange]:
        route = self._route
        needs_rows = route.row.index is not None or columns.message_ids is not None
        while True:
            row = route.row
            if partition is not None or row.partitions == 1 or columns.keys is None:
                chosen = route.partition(None, partition, row.partitions)
                placed: _Placed = [(chosen, columns, range(len(columns.values)))]
            else:
                placed = self._by_key(row, columns)
            parts = [self._part(row, number, part, needs_rows=needs_rows) for number, part, _ in placed]
            self._check_sizes(parts, columns)
            conditions = _conditions(parts, placed, expected_version)
            now_ms = self._store.clock.now_ms() if conditions else 0
            work = Append(parts, is_placed=partition is None, conditions=conditions, now_ms=now_ms)
            self._store.run(work)
            route.learn(work.newer)
            if not work.is_refused:
                break
        return [found for part, (_, one, _) in zip(parts, placed, strict=True) for found in _ranges(part, one)]

    def _times(self, timestamps_ms: int | Sequence[int] | None) -> int | Sequence[int]:
        if timestamps_ms is None:
            return self._store.clock.now_ms()
        if isinstance(timestamps_ms, int):
            return check_timestamp_ms(timestamps_ms)
        return [check_timestamp_ms(moment) for moment in timestamps_ms]

    def _part(self, row: StoredTopic, partition: int, columns: _Columns, *, needs_rows: bool) -> Part:
        """The batches of one partition."""
        route = self._route
        if needs_rows:
            keys = [None] * len(columns.values) if columns.keys is None else route.encode_keys(columns.keys)
            rows = Rows(keys, route.encode_values(columns.values), columns.timestamps_ms, columns.headers)
            part = self._packed(row, partition, rows)
            part.message_ids = dict(columns.ids())
            return part
        try:
            batches = BatchEncoder().encode(
                columns.keys,
                columns.values,
                timestamps_ms=columns.timestamps_ms,
                headers=columns.headers,
                key_bytes=route.encode_keys,
                value_bytes=route.encode_values,
                key_type=route.key_codec.plain_type,
                value_type=route.value_codec.plain_type,
            )
        except TypeError:
            route.check_each(columns.keys, columns.values)  # says it in our words
            raise
        return Part(row, partition, batches)

    def _by_key(self, row: StoredTopic, columns: _Columns) -> _Placed:
        """The records of each partition, by partition, with their places in the columns."""
        assert columns.keys is not None
        keyless = self._route.keyless_partition(row.partitions)
        if columns.is_plain:
            parts = part_columns(
                columns.keys,
                columns.values,
                row.partitions,
                self._route.partition_of,
                keyless,
                self._route.key_codec.plain_type,
            )
            if parts is not None:
                times = columns.timestamps_ms
                return [(number, _Columns(keys, values, times, None, None), ()) for number, keys, values in parts]
        encoded = self._route.encode_keys(columns.keys)
        chosen = partition_column(encoded, row.partitions, self._route.partition_of, keyless)
        places: dict[int, list[int]] = {}
        for index, number in enumerate(chosen):
            places.setdefault(number, []).append(index)
        return [(number, columns.taken(some), some) for number, some in sorted(places.items())]

    def _check_sizes(self, parts: list[Part], columns: _Columns) -> None:
        """Measures every record, unless no batch is large enough to hold one that is too large."""
        route = self._route
        if route.row.index is not None:
            for part in parts:
                assert part.rows is not None
                for key in set(part.rows.keys):
                    route.check_size(key, b"")
        largest = max(len(batch.body) for part in parts for batch in part.batches)
        if largest <= route.row.max_record_bytes:
            return
        keys = None if columns.keys is None else route.encode_keys(columns.keys)
        headers = columns.headers
        for index, value in enumerate(route.encode_values(columns.values)):
            route.check_size(keys[index] if keys else None, value, headers[index] if headers else ())


class _Columns:
    """Are records as they were given, some or all of them."""

    __slots__ = ("headers", "keys", "message_ids", "timestamps_ms", "values")

    def __init__(
        self,
        keys: Sequence[Any] | None,
        values: Sequence[Any],
        timestamps_ms: int | Sequence[int],
        headers: Sequence[Headers] | None,
        message_ids: Sequence[bytes | None] | None,
    ) -> None:
        self.keys = keys
        self.values = values
        self.timestamps_ms = timestamps_ms
        self.headers = headers
        self.message_ids = message_ids

    @property
    def is_plain(self) -> bool:
        """Whether there are only keys and values, and one time for all."""
        return isinstance(self.timestamps_ms, int) and self.headers is None and self.message_ids is None

    def ids(self) -> Iterable[tuple[int, bytes]]:
        """The places of the records that have an id, and the ids."""
        return ((index, one) for index, one in enumerate(self.message_ids or ()) if one is not None)

    def taken(self, places: Sequence[int]) -> _Columns:
        """Some of the records."""
        times = self.timestamps_ms
        return _Columns(
            None if self.keys is None else [self.keys[place] for place in places],
            [self.values[place] for place in places],
            times if isinstance(times, int) else [times[place] for place in places],
            None if self.headers is None else [self.headers[place] for place in places],
            None if self.message_ids is None else [self.message_ids[place] for place in places],
        )


_Placed = list[tuple[int, _Columns, Sequence[int]]]
"""The records of each partition, with their places in the columns that were given, where they have ids."""


def _identities(message_ids: Iterable[str | bytes | None] | None, count: int) -> list[bytes | None] | None:
    if message_ids is None:
        return None
    column = check_column("message_ids", message_ids)
    if len(column) != count:
        raise ValueError(
            f"message_ids has {len(column)} entries and values has {count}. Nothing was stored. Give one for each "
            "value, or None."
        )
    identities = [None if one is None else check_message_id(one) for one in column]
    return identities if any(identities) else None


def _conditions(parts: list[Part], placed: _Placed, expected_version: int | None) -> list[Condition]:
    """What is to be judged, in the order in which the records were given."""
    if expected_version is not None:  # one key, so one partition
        ids = dict(placed[0][1].ids())
        count = len(placed[0][1].values)
        return [
            Condition(parts[0], index, expected_version + index if index in ids or not index else None, ids.get(index))
            for index in range(count if ids else 1)
        ]
    numbered = [
        (places[index], Condition(part, index, None, identity))
        for part, (_, columns, places) in zip(parts, placed, strict=True)
        for index, identity in columns.ids()
    ]
    return [condition for _, condition in sorted(numbered, key=lambda pair: pair[0])]


def _ranges(part: Part, columns: _Columns) -> list[PartitionRange]:
    """Where the records of a part are; several ranges where some were stored before."""
    name = part.topic.name
    if columns.message_ids is None:
        end = part.base + sum(batch.span for batch in part.batches)
        return [PartitionRange(name, part.partition, part.base, end, part.log_position)]
    ranges: list[PartitionRange] = []
    follower: tuple[int, int, int] | None = None
    for place in map(part.place, range(len(columns.values))):
        first: int = place.offset
        log_position: int | None = place.log_position
        if (place.partition, place.offset, place.log_position) == follower:
            before = ranges.pop()
            first, log_position = before.first, before.log_position
        ranges.append(PartitionRange(name, place.partition, first, place.offset + 1, log_position))
        follower = (place.partition, place.offset + 1, place.log_position + 1)
    return ranges


def check_expected(row: StoredTopic, expected_version: object, key: bytes | None) -> int:
    """The expected version, when the topic counts versions and there is a key to count them for."""
    version = check_int("expected_version", expected_version, least=0)
    if row.index is None:
        raise ValueError(
            f"topic {row.name!r} counts no versions: it was made without an index. Nothing was stored. Make a topic "
            f'with log.topic(..., index="key"), or leave expected_version= out.'
        )
    if key is None:
        raise ValueError(
            "expected_version= is the version of one key, and there is none. Nothing was stored. Pass key=."
        )
    return version


def metadata_of(topic: str, place: Place) -> RecordMetadata:
    """What a writer is told of a stored record."""
    return RecordMetadata(
        topic, place.partition, place.offset, place.timestamp_ms, place.log_position, place.version or None
    )
