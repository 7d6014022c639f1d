"""From stored batches to what readers see: fetch, check, decode, cut to the position."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, Unpack

from eventlog.accelerators import accelerated, compiled
from eventlog.backend import Backend
from eventlog.backend.reading import PASSED_BY, Fetch, Fetched, ReadMark, StoredBatch
from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import Columns, decode, raw_body
from eventlog.batches.header import (
    COMPRESSION_AT,
    COMPRESSION_MASK,
    is_intact,
    read_header,
    unpacked_bytes,
)
from eventlog.clients.topic_handle import TopicHandle
from eventlog.clock import to_ms
from eventlog.codecs.base import UnknownEventData
from eventlog.errors import CorruptBatch, DecodeError, ErrorParts, EventLogError, OffsetOutOfRange, UnknownEvent
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.options import Start, check_int
from eventlog.records import K, Record, RecordBatch, V


class Cursor(Generic[K, V]):
    """
    A place in a partition: the offset to read next.

    It moves when batches are fetched through it.
    """

    __slots__ = ("offset", "partition", "route")

    def __init__(self, route: TopicHandle, partition: int, offset: int) -> None:
        self.route = route
        self.partition = partition
        self.offset = offset


class _Place(NamedTuple):
    """The name of a batch in errors; its text is made only when there is one."""

    topic: str
    partition: int
    last: int

    def __str__(self) -> str:
        return f"the batch of {self.topic}[{self.partition}] up to offset {self.last}"


class Taken(NamedTuple, Generic[K, V]):
    """
    The result of a fetch.

    `transaction` is the number of its snapshot, to tell later whether anything was committed since. `is_all` says
    that nothing was left behind the cursors; where it is False, something may be left. `mark` is one of the snapshot,
    if it was asked for.
    """

    batches: list[RecordBatch[K, V]]
    transaction: int
    is_all: bool
    mark: ReadMark | None


@accelerated("BatchMaker", RecordBatch)
def _make_batch(
    _data: bytes,
    _last: int,
    _first: int,
    _topic: str,
    _partition: int,
    _key_type: type,
    _value_type: type,
    _raw: bytes | None,
) -> RecordBatch[Any, Any] | None:
    """
    The records of a plain stored batch whose checksum holds; None if it is not plain or `first` is inside it.

    `raw` is the body of a compressed batch as it was before. In Python always None: there `decode` reads every batch.
    """
    return None


class BatchReader:
    """
    A reader of batches at cursors.

    Has no state; any thread may use it.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def fetch(
        self, cursors: Sequence[Cursor[K, V]], max_bytes: int, *, end: int | None = None, is_marking: bool = False
    ) -> Taken[K, V]:
        """
        The next batches at some cursors, in their order, and moves the cursors behind them.

        Args:
            max_bytes: bound of all batches together, encoded; one batch comes back even if it is larger. Cursors
                behind those that filled it stay where they are.
            end: offset to stop before.
            is_marking: brings a mark, too.

        Raises:
            OffsetOutOfRange, CorruptBatch, DecodeError, FormatTooNew, UnknownTopic: if the first cursor that has
                anything cannot be read. It stands where it stood. What could be read before comes back first,
                without an error.
        """
        requests = (Fetch(cursor.route.row.id, cursor.partition, cursor.offset) for cursor in cursors)
        batches: list[RecordBatch[K, V]] = []
        empty: set[int] = set()
        mark: ReadMark | None = None
        if is_marking:
            answers, mark = self._backend.fetch_and_mark(requests, max_bytes)
            number = mark.transaction
        else:
            answers, number = self._backend.fetch(requests, max_bytes)
        is_all = len(answers) == len(cursors)
        for cursor, answer in zip(cursors, answers, strict=False):
            row = cursor.route.row
            try:
                if answer.end == 0 and row.id not in empty:
                    empty.add(row.id)
                    self._backend.check_topic(row)  # without any record ever, or deleted?
                _check_range(cursor, answer)
                for stored in answer.batches:
                    data = stored.data
                    batch = self.batch(cursor, stored, end)
                    max_bytes -= unpacked_bytes(data) if data[COMPRESSION_AT] & COMPRESSION_MASK else len(data)
                    if batch is not None:
                        batches.append(batch)
                    if cursor.offset <= stored.last:
                        is_all = False
                        break  # at `end`, or before a record that cannot be read: nothing may be skipped
            except unless_interrupted(EventLogError):
                if not batches:
                    raise
                is_all = False
                break
        return Taken(batches, number, is_all and max_bytes > 0, mark)

    def batch(self, cursor: Cursor[K, V], stored: StoredBatch, end: int | None) -> RecordBatch[K, V] | None:
        """The records of one stored batch from the cursor on, which moves behind them; None when there are none."""
        route = cursor.route
        key_type, value_type = route.key_codec.plain_type, route.value_codec.plain_type
        batch, is_plain = _undecoded(cursor, stored, end, key_type or bytes, value_type or bytes)
        after = stored.last + 1 if end is None or stored.last < end else end
        if not batch.offsets:
            cursor.offset = after
            return None
        if is_plain and key_type and value_type:
            cursor.offset = after
            return batch
        try:
            values = batch.values if is_plain and value_type else route.value_codec.decode_column(batch.values)
            keys = batch.keys if is_plain and key_type else route.key_codec.decode_column(batch.keys)
            batch.keys, batch.values = keys, values
        except unless_interrupted(ValueError):
            batch = _readable_part(route, _undecoded(cursor, stored, end, bytes, bytes)[0])
            after = batch.offsets[-1] + 1
        cursor.offset = after
        return batch


def _undecoded(
    cursor: Cursor[Any, Any], stored: StoredBatch, end: int | None, key_type: type, value_type: type
) -> tuple[RecordBatch[Any, Any], bool]:
    """The records of a stored batch from the cursor on, and whether keys and values are of the types asked for."""
    topic, data, raw = cursor.route.row.name, stored.data, None
    if compiled is not None and (end is None or stored.last < end) and is_intact(data):
        made = _make_batch(data, stored.last, cursor.offset, topic, cursor.partition, key_type, value_type, None)
        if made is None and data[COMPRESSION_AT] & COMPRESSION_MASK:
            raw = _raw_body(data, _Place(topic, cursor.partition, stored.last))
            made = _make_batch(data, stored.last, cursor.offset, topic, cursor.partition, key_type, value_type, raw)
        if made is not None:
            if made.offsets[0] > cursor.offset:
                raise _hole(cursor, made.offsets[0])
            return made, True
    if data == PASSED_BY:
        return RecordBatch(topic, cursor.partition, (), (), (), (), ()), True
    place = _Place(topic, cursor.partition, stored.last)
    columns = decode(data, place, key_type=key_type, value_type=value_type, raw=raw)
    if stored.last - columns.span >= cursor.offset:
        raise _hole(cursor, stored.last - columns.span + 1)
    offsets = columns.offsets(stored.last)
    start, stop = _cut(columns, offsets, stored.last, cursor.offset, end)
    batch: RecordBatch[Any, Any] = RecordBatch(
        topic, cursor.partition, offsets, columns.timestamps_ms, columns.keys, columns.values, columns.headers
    )
    return batch.slice(start, stop), columns.is_plain


def _raw_body(data: bytes, place: _Place) -> bytes | None:
    """The body of a batch as it was before it was compressed; None if it is not compressed, or of no known kind."""
    header = read_header(data, place)
    return raw_body(data, header, place) if header.flags & COMPRESSION_MASK else None


def _hole(cursor: Cursor[Any, Any], end: int) -> CorruptBatch:
    """The error for offsets that no batch has, although they were stored and not deleted."""
    topic, partition, offset = cursor.route.row.name, cursor.partition, cursor.offset
    return CorruptBatch(
        f"cannot read offsets {offset} to {end - 1} of {topic}[{partition}]: no batch has them.",
        stored="They were stored and not deleted; other batches are unaffected.",
        advice=f"Run `eventlog verify` to list all damage; seek() to {end} to go on.",
        topic=topic,
        partition=partition,
        offset=offset,
    )


def _cut(columns: Columns, offsets: Sequence[int], last: int, first: int, end: int | None) -> tuple[int, int]:
    """The indexes of the records from offset `first` to `end` (exclusive)."""
    start = 0 if offsets[0] >= first else bisect_left(offsets, first)
    stop = columns.count if end is None or last < end else bisect_left(offsets, end)
    return start, stop


def _readable_part(route: TopicHandle, batch: RecordBatch[Any, Any]) -> RecordBatch[Any, Any]:
    """The records before the first that a codec cannot read; `DecodeError` when that is the very first."""
    keys: list[Any] = []
    values: list[Any] = []
    raw_values, raw_keys = batch.values, batch.keys
    for index, (offset, key, value) in enumerate(zip(batch.offsets, raw_keys, raw_values, strict=True)):
        try:
            values.append(route.value_codec.decode(value))
            keys.append(route.key_codec.decode(key))
        except unless_interrupted(ValueError) as error:
            if keys:
                break
            raise decode_error(
                error,
                f"cannot read offset {offset} of {batch.topic}[{batch.partition}]: {error}.",
                stored=f"The record is intact on disk, and the position is still {offset}.",
                advice=f"Open the topic with the codec that wrote it, or go on at {offset + 1}: seek(), or start=.",
                record=batch.slice(index, index + 1).records()[0],
                topic=batch.topic,
                partition=batch.partition,
                offset=offset,
            ) from error
    part = batch.slice(0, len(keys))
    return RecordBatch(
        part.topic, part.partition, part.offsets, part.timestamps_ms, keys, values[: len(keys)], part.headers
    )


def decode_error(
    cause: ValueError, what: str, *, record: Record[Any, Any] | None = None, **parts: Unpack[ErrorParts]
) -> DecodeError:
    """The error for a record that a codec cannot read."""
    return (UnknownEvent if isinstance(cause, UnknownEventData) else DecodeError)(what, record=record, **parts)


def _check_range(cursor: Cursor[Any, Any], answer: Fetched) -> None:
    if answer.first <= cursor.offset <= answer.end:
        return
    raise out_of_range(cursor.route.row.name, cursor.partition, cursor.offset, answer.first, answer.end)


def out_of_range(topic: str, partition: int, offset: int, first: int, end: int) -> OffsetOutOfRange:
    """The error for an offset that a partition does not have."""
    return OffsetOutOfRange(
        f"offset {offset} of {topic}[{partition}] is out of range: the partition holds offsets {first} to {end} "
        f"({end} exclusive).",
        stored="Nothing was read, and the position is unchanged.",
        advice='Go on at an offset in the range, at "earliest" or at "latest": seek(), start=, or on_out_of_range=.',
        first=first,
        end=end,
        topic=topic,
        partition=partition,
        offset=offset,
    )


def check_start(start: Start) -> Start:
    """The start, when it is one: "earliest", "latest", an offset or a `datetime` with a time zone."""
    if isinstance(start, datetime):
        to_ms(start)
    elif isinstance(start, str):
        if start not in {"earliest", "latest"}:
            raise ValueError(
                f'{start!r} is no place to start: say "earliest", "latest", an offset, or a datetime. Nothing was read.'
            )
    else:
        check_int("an offset to start at", start, least=0)
    return start


def resolve_start(backend: Backend, topic: StoredTopic, partition: int, start: Start) -> int:
    """The offset that a start means in one partition now."""
    return resolve_starts(backend, [(topic, partition)], start)[0]


def resolve_starts(backend: Backend, partitions: Sequence[tuple[StoredTopic, int]], start: Start) -> list[int]:
    """The offsets that a start means in some partitions; one look for all of them, but for times."""
    check_start(start)
    if isinstance(start, datetime):
        moment_ms = to_ms(start)
        return [backend.offset_of_time(topic, partition, moment_ms) for topic, partition in partitions]
    bounds = backend.bounds_of([(topic.id, partition) for topic, partition in partitions])
    if isinstance(start, str):
        return [first if start == "earliest" else end for first, end in bounds]
    for (topic, partition), (first, end) in zip(partitions, bounds, strict=True):
        if not first <= start <= end:
            raise out_of_range(topic.name, partition, start, first, end)
    return [start] * len(bounds)


def resolve_ends(backend: Backend, partitions: Sequence[tuple[StoredTopic, int]], end: Start | None) -> list[int]:
    """The offsets that an end means in some partitions now; None is where they end."""
    return resolve_starts(backend, partitions, "latest" if end is None else end)
