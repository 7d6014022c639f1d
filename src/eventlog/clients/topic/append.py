"""
Storing records at once: one, or columns of them, durable when the call returns.

`Topic` says what is promised.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from eventlog.backend import Backend
from eventlog.backend.records import AppendReply, Condition, PartitionRecords, Rows, StoredRecords
from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import BatchEncoder
from eventlog.batches.header import EncodedBatch
from eventlog.clients.delivery import metadata_of
from eventlog.clients.topic.columns import (
    Columns,
    Placed,
    check_expected,
    check_header_column,
    check_message_ids,
    check_times,
    place_columns,
    same_key,
)
from eventlog.clients.topic_handle import TopicHandle
from eventlog.errors import WrongVersion
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.options import HeadersInput, check_columns, check_headers, check_message_id, check_timestamp_ms
from eventlog.records import Headers, PartitionRange, RecordMetadata

_LONG_BYTES = 16 << 10
"""Larger values are compressed before the commit: in it, others would wait for that."""


class PlacedColumns(NamedTuple):
    """Columns of records, ready to be stored."""

    topic: StoredTopic
    placed: Placed
    parts: list[PartitionRecords]
    conditions: Sequence[Condition]

    def ranges(self, stored: Sequence[StoredRecords]) -> list[PartitionRange]:
        """The places of the records."""
        return [
            found
            for part, reply, (_, some, _) in zip(self.parts, stored, self.placed, strict=True)
            for found in _ranges(self.topic.name, part, reply, some)
        ]


class Appender:
    """
    The writer of one topic.

    Any thread may use it.
    """

    def __init__(self, backend: Backend, handle: TopicHandle) -> None:
        self._backend = backend
        self._handle = handle

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
        """Store one record."""
        handle = self._handle
        key_bytes, value_bytes, pairs, moment_ms = self.encoded(value, key, headers, timestamp_ms, expected_version)
        identity = None if message_id is None else check_message_id(message_id)
        if identity is not None or (handle.row.compression is not None and self.is_apart(value_bytes)):
            return self._append_apart(key_bytes, value_bytes, pairs, partition, moment_ms, expected_version, identity)
        is_placed = partition is None
        while True:
            row = handle.row
            chosen = handle.partition(key_bytes, partition, row.partitions)
            try:
                offset, log_position, version, newer = self._backend.append_record(
                    row,
                    chosen,
                    key_bytes,
                    value_bytes,
                    pairs,
                    moment_ms,
                    is_placed=is_placed,
                    expected_version=expected_version,
                )
            except unless_interrupted(WrongVersion) as error:
                raise handle.with_key(error) from None
            if newer is not None:
                handle.learn(newer)
                if is_placed:
                    continue
            return RecordMetadata(row.name, chosen, offset, moment_ms, log_position, version or None)

    def encoded(
        self,
        value: object,
        key: object,
        headers: HeadersInput | None,
        timestamp_ms: int | None,
        expected_version: int | None,
    ) -> tuple[bytes | None, bytes | None, Headers, int]:
        """The key, the value, the headers and the time of one record, checked."""
        handle = self._handle
        value_bytes = handle.value_codec.encode(value)
        key_bytes = handle.key_codec.encode(key)
        pairs = check_headers(headers) if headers else ()
        handle.check_size(key_bytes, value_bytes, pairs)
        moment_ms = self._backend.clock.now_ms() if timestamp_ms is None else check_timestamp_ms(timestamp_ms)
        if expected_version is not None:
            check_expected(handle.row, expected_version, key_bytes)
        return key_bytes, value_bytes, pairs, moment_ms

    def is_apart(self, value: bytes | None) -> bool:
        """Whether a record of a compressed topic is to be compressed before its commit, because that takes long."""
        return value is not None and len(value) >= _LONG_BYTES

    def _append_apart(
        self,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        partition: int | None,
        timestamp_ms: int,
        expected_version: int | None,
        message_id: bytes | None,
    ) -> RecordMetadata:
        """Store one record in a batch of its own, unless one is stored under its id."""
        rows = Rows([key], [value], timestamp_ms, [headers] if headers else None)
        while True:
            part, conditions = self.apart(rows, partition, expected_version, message_id)
            stored = self._append_parts([part], conditions, is_placed=partition is None)
            if stored is not None:
                return metadata_of(part.topic.name, stored[0].location(0))

    def apart(
        self, rows: Rows, partition: int | None, expected_version: int | None, message_id: bytes | None
    ) -> tuple[PartitionRecords, Sequence[Condition]]:
        """One record in a batch of its own, placed by what is known of the topic, and what is to be judged of it."""
        row = self._handle.row
        chosen = self._handle.partition(rows.keys[0], partition, row.partitions)
        ids = None if message_id is None else {0: message_id}
        part = PartitionRecords(row, chosen, self._encoded(rows), rows, message_ids=ids)
        if message_id is None and expected_version is None:
            return part, ()
        return part, [Condition(0, 0, expected_version, message_id)]

    def _encoded(self, rows: Rows) -> list[EncodedBatch]:
        return BatchEncoder().encode(
            rows.keys,
            rows.values,
            timestamps_ms=rows.timestamps_ms,
            headers=rows.headers,
            compressor=None if self._handle.row.compression is None else self._handle.compressor,
        )

    def _append_parts(
        self, parts: Sequence[PartitionRecords], conditions: Sequence[Condition], *, is_placed: bool
    ) -> Sequence[StoredRecords] | None:
        """What became of some parts; None when they have to be placed again, because the topic has more partitions."""
        try:
            reply = self._backend.append(parts, conditions, is_placed=is_placed)
        except unless_interrupted(WrongVersion) as error:
            raise self._handle.with_key(error) from None
        return self.stored_of(reply)

    def stored_of(self, reply: AppendReply) -> Sequence[StoredRecords] | None:
        """What a reply says of the records; None when they have to be placed again."""
        for newer in reply.newer:
            self._handle.learn(newer)
        return reply.stored

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
        """Store columns of records."""
        columns = self.columns(values, keys, key, headers, timestamps_ms, expected_version, message_ids)
        while columns is not None:
            placed = self.placed(columns, partition, expected_version)
            stored = self._append_parts(placed.parts, placed.conditions, is_placed=partition is None)
            if stored is not None:
                return placed.ranges(stored)
        return []

    def columns(
        self,
        values: Iterable[Any],
        keys: Iterable[Any] | None,
        key: object,
        headers: Iterable[HeadersInput | None] | None,
        timestamps_ms: int | Iterable[int] | None,
        expected_version: int | None,
        message_ids: Iterable[str | bytes | None] | None,
    ) -> Columns | None:
        """The checked columns of some records; None when there are none."""
        values, keys, headers, timestamps_ms = check_columns(values, keys, headers, timestamps_ms)
        if key is not None:
            keys = same_key(keys, key, len(values))
        if expected_version is not None:
            check_expected(self._handle.row, expected_version, None if key is None else b"")
        identities = None if message_ids is None else check_message_ids(message_ids, len(values))
        if not values:
            return None
        if self._handle.row.compaction.by is not None and (keys is None or None in keys):
            self._handle.refuse_keyless()
        header_column = None if headers is None else check_header_column(headers)
        times = self._backend.clock.now_ms() if timestamps_ms is None else check_times(timestamps_ms)
        return Columns(keys, values, times, header_column, identities)

    def placed(self, columns: Columns, partition: int | None, expected_version: int | None) -> PlacedColumns:
        """Columns in the partitions that are known of the topic, encoded."""
        handle = self._handle
        needs_rows = handle.row.index is not None or columns.message_ids is not None
        row = handle.row
        placed = place_columns(handle, row, columns, partition)
        parts = [self._part(row, number, some, needs_rows=needs_rows) for number, some, _ in placed]
        self._check_sizes(parts, columns)
        is_conditional = expected_version is not None or columns.message_ids is not None
        return PlacedColumns(row, placed, parts, _conditions(placed, expected_version) if is_conditional else ())

    def _part(self, row: StoredTopic, partition: int, columns: Columns, *, needs_rows: bool) -> PartitionRecords:
        """The records of one partition, encoded."""
        handle = self._handle
        if needs_rows:
            keys = [None] * len(columns.values) if columns.keys is None else handle.encode_keys(columns.keys)
            rows = Rows(keys, handle.encode_values(columns.values), columns.timestamps_ms, columns.headers)
            return PartitionRecords(row, partition, self._encoded(rows), rows, message_ids=dict(columns.ids()))
        try:
            batches = BatchEncoder().encode(
                columns.keys,
                columns.values,
                timestamps_ms=columns.timestamps_ms,
                headers=columns.headers,
                key_bytes=handle.encode_keys,
                value_bytes=handle.encode_values,
                key_type=handle.key_codec.plain_type,
                value_type=handle.value_codec.plain_type,
                compressor=None if row.compression is None else handle.compressor,
            )
        except unless_interrupted(TypeError):
            handle.check_each(columns.keys, columns.values)  # says it in our words
            raise
        return PartitionRecords(row, partition, batches)

    def _check_sizes(self, parts: Sequence[PartitionRecords], columns: Columns) -> None:
        """Measure every record, unless no batch is large enough to hold one that is too large."""
        handle = self._handle
        if handle.row.index is not None:
            for part in parts:
                assert part.rows is not None
                for key in set(part.rows.keys):
                    handle.check_size(key, b"")
        largest = max(batch.raw_bytes or len(batch.body) for part in parts for batch in part.batches)
        if largest <= handle.row.max_record_bytes:
            return
        keys = None if columns.keys is None else handle.encode_keys(columns.keys)
        headers = columns.headers
        for index, value in enumerate(handle.encode_values(columns.values)):
            handle.check_size(keys[index] if keys else None, value, headers[index] if headers else ())


def _conditions(placed: Placed, expected_version: int | None) -> list[Condition]:
    """The records to be judged, in the order in which they were given."""
    if expected_version is not None:  # one key, so one partition
        ids = dict(placed[0][1].ids())
        count = len(placed[0][1].values)
        return [
            Condition(0, index, expected_version + index if index in ids or not index else None, ids.get(index))
            for index in range(count if ids else 1)
        ]
    numbered = [
        (places[index], Condition(part, index, None, identity))
        for part, (_, columns, places) in enumerate(placed)
        for index, identity in columns.ids()
    ]
    return [condition for _, condition in sorted(numbered, key=lambda pair: pair[0])]


def _ranges(topic: str, part: PartitionRecords, reply: StoredRecords, columns: Columns) -> list[PartitionRange]:
    """The places of the records of a part; several ranges where some were stored before."""
    if columns.message_ids is None:
        first = reply.first_offset
        batches = part.batches
        end = first + (batches[0].span if len(batches) == 1 else sum([batch.span for batch in batches]))
        return [PartitionRange(topic, reply.partition, first, end, reply.first_position)]
    ranges: list[PartitionRange] = []
    follower: tuple[int, int, int] | None = None
    for place in map(reply.location, range(len(columns.values))):
        first = place.offset
        log_position: int | None = place.log_position
        if (place.partition, place.offset, place.log_position) == follower:
            before = ranges.pop()
            first, log_position = before.first, before.log_position
        ranges.append(PartitionRange(topic, place.partition, first, place.offset + 1, log_position))
        follower = (place.partition, place.offset + 1, place.log_position + 1)
    return ranges
