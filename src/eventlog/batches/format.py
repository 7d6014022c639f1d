"""
The bytes of a batch.

A batch is the unit in which records of one partition are appended, checked, stored and sent. This module turns columns
into those bytes and back. Encoding takes two steps, because offsets are assigned at the commit: `BatchEncoder.encode`
packs the body in any thread at any time; `header.seal` adds the header and the checksum once the commit knows what
comes before in the partition and in the log. The last offset is not in the bytes but in the row's key.

Knows nothing of LMDB, threads or clocks. Layout: docs/reference/format.md, pinned by tests/golden/.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import msgpack

from eventlog.accelerators import accelerated, compiled
from eventlog.batches.header import (
    COMPRESSION_MASK,
    KAFKA,
    MOST_FRAME_BYTES,
    NO_PRODUCER,
    NO_TIME_MS,
    PLACE,
    BatchHeader,
    EncodedBatch,
    PlacedRun,
    Run,
    check_header,
    corrupt,
    is_intact,
    placed_runs,
    read_header,
    read_runs,
)
from eventlog.interruptions import unless_interrupted
from eventlog.records import Headers

if TYPE_CHECKING:
    from eventlog.batches.compression import Compressor

TARGET_BYTES = 65_520
"""The most bytes of a batch of several records: 16 pages less LMDB's page header (docs/decisions/0003)."""

_GLANCE_COUNT = 16
_SMALL_RECORD_BYTES = 4
_ENTRY_TYPES = frozenset({bytes, type(None)})

Column = Sequence[bytes | None]


@attrs.define(slots=True, eq=False, repr=False)
class Columns:
    """
    A decoded batch.

    `deltas` are the offsets less the first one; None if they are 0, 1, 2 and so on. `log_position` is that of the first
    offset, -1 in a batch of version 1; the others follow it as far as the first of `later_runs`. If `is_plain`, keys
    and values have the types that were asked for; else they are bytes.
    """

    count: int
    span: int
    first_ms: int
    largest_ms: int
    largest_so_far_ms: int
    timestamps_ms: Sequence[int]
    keys: Sequence[Any]
    values: Sequence[Any]
    headers: Sequence[Headers]
    deltas: Sequence[int] | None
    log_position: int
    is_plain: bool
    later_runs: Sequence[Run] = ()

    def offsets(self, last: int) -> Sequence[int]:
        """Return the offsets of the records of a batch whose last offset is `last`."""
        first = last - self.span + 1
        if self.deltas is None:
            return range(first, last + 1)
        return [first + delta for delta in self.deltas]

    def runs(self, last: int) -> list[PlacedRun]:
        """Return the runs of consecutive log positions of a batch whose last offset is `last`."""
        return placed_runs([Run(0, self.log_position), *self.later_runs], last - self.span + 1, last + 1)

    def log_positions(self, last: int) -> Sequence[int]:
        """Return the log positions of the records of a batch whose last offset is `last`."""
        offsets = self.offsets(last)
        if not self.later_runs:
            shift = self.log_position - (last - self.span + 1)
            return [offset + shift for offset in offsets]
        runs = self.runs(last)
        starts = [run.first for run in runs]
        found = [runs[bisect_right(starts, offset) - 1] for offset in offsets]
        return [run.log_position + offset - run.first for run, offset in zip(found, offsets, strict=True)]


class Compressors:
    """The compressors of topics, by their ids; the library of one is imported when it is first needed."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[int, Compressor] = {}

    def of(self, topic_id: int, compression: str | None, topic: str) -> Compressor | None:
        """
        Return the compressor of a topic, None if its batches are not compressed.

        Raises:
            MissingLibrary: the library is not installed.
        """
        if compression is None:
            return None
        known = self._known.get(topic_id)
        if known is None or known.name != compression:
            from eventlog.batches.compression import Compressor  # few topics are compressed: `import eventlog` is fast

            known = self._known[topic_id] = Compressor(compression, f"write to topic {topic!r}")
        return known


_new_packer: Callable[[], msgpack.Packer] = partial(msgpack.Packer, use_bin_type=True, buf_size=2 * TARGET_BYTES)

ToBytes = Callable[[Sequence[Any]], Column]


def _as_they_are(column: Column) -> Column:
    """Return a column that is bytes already."""
    return column


class BatchEncoder:
    """
    A packer of columns into batches of at most `TARGET_BYTES`.

    It keeps a buffer, so only one thread may use it at a time.
    """

    __slots__ = ("_packer", "_target_bytes")

    def __init__(self, *, target_bytes: int = TARGET_BYTES) -> None:
        self._packer: msgpack.Packer | None = None
        """Made for the first batch that an accelerator leaves to it: it takes a large buffer."""
        self._target_bytes = target_bytes - MOST_FRAME_BYTES

    def encode(
        self,
        keys: Column | None,
        values: Column,
        *,
        timestamps_ms: int | Sequence[int],
        headers: Sequence[Headers] | None = None,
        key_bytes: ToBytes = _as_they_are,
        value_bytes: ToBytes = _as_they_are,
        key_type: type | None = bytes,
        value_type: type | None = bytes,
        compressor: Compressor | None = None,
        most_bytes: int | None = None,
    ) -> list[EncodedBatch]:
        """
        Pack the records into batches, in order; into several if one would be too large.

        Args:
            keys: None if no record has a key.
            timestamps_ms: one int if all records have the same timestamp.
            headers: None if no record has headers.
            key_bytes: encodes keys or refuses them, a part of the column at a time, so that they are packed while they
                are still in the processor's cache.
            value_bytes: the same for values.
            key_type: bytes or str if `key_bytes` would leave keys of exactly this type unchanged, or encode them as
                UTF-8; None if that is not known.
            value_type: the same for values.
            compressor: compresses the batches; more records fit into one then.
            most_bytes: the most bytes of a batch before compression, if that is not the target.
        """
        if compressor is not None:

            def pack(start: int, stop: int, most_bytes: int) -> list[EncodedBatch]:
                part = slice(start, stop)
                return self.encode(
                    None if keys is None else keys[part],
                    values[part],
                    timestamps_ms=timestamps_ms if isinstance(timestamps_ms, int) else timestamps_ms[part],
                    headers=None if headers is None else headers[part],
                    key_bytes=key_bytes,
                    value_bytes=value_bytes,
                    key_type=key_type,
                    value_type=value_type,
                    most_bytes=most_bytes,
                )

            return compressor.encode(pack, len(values), self._target_bytes)
        target_bytes = self._target_bytes if most_bytes is None else most_bytes
        if compiled is not None and headers is None and key_type and value_type and type(timestamps_ms) is int:
            packed = _pack_all(keys, values, timestamps_ms, target_bytes, key_type, value_type)
            if packed is not None:
                return packed
        batches: list[EncodedBatch] = []
        total = len(values)
        start = 0
        step = self._first_step(keys, values, target_bytes)
        while start < total:
            stop = min(start + step, total)
            part = slice(start, stop)
            batch = self._encode_one(
                None if keys is None else key_bytes(keys[part]),
                value_bytes(values[part]),
                timestamps_ms if isinstance(timestamps_ms, int) else timestamps_ms[part],
                None if headers is None else headers[part],
            )
            size = len(batch.body)
            if size > target_bytes and batch.count > 1:
                step = max(1, min(batch.count - 1, batch.count * target_bytes * 31 // (size * 32)))
                continue
            batches.append(batch)
            start = stop
            if 2 * size < target_bytes:
                step *= 2  # one large record among small ones had made the step short
        return batches

    def encode_one(
        self, key: bytes | None, value: bytes | None, *, timestamp_ms: int, headers: Headers = ()
    ) -> EncodedBatch:
        """Pack one record as a batch: the same bytes as from `encode`, at half the cost."""
        if compiled is not None and not headers:
            packed = _pack_columns(None if key is None else (key,), (value,), 0, self._target_bytes, bytes, bytes)
            if packed is not None:
                return EncodedBatch(1, 1, timestamp_ms, timestamp_ms, packed[0])
        packer = self._packer
        if packer is None:
            packer = self._packer = _new_packer()
        body = packer.pack((0, None if key is None else (key,), (value,), (headers,) if headers else None, None))
        return EncodedBatch(1, 1, timestamp_ms, timestamp_ms, body)

    def _first_step(self, keys: Column | None, values: Column, target_bytes: int) -> int:
        """The number of records to try first: all, unless the sizes of the first few show that they cannot fit."""
        count = len(values)
        if count <= _GLANCE_COUNT:
            return count
        glance = [*values[:_GLANCE_COUNT], *(keys or ())[:_GLANCE_COUNT]]
        sizes = [_SMALL_RECORD_BYTES + (len(item) if isinstance(item, bytes) else 0) for item in glance]
        fitting = target_bytes * _GLANCE_COUNT // sum(sizes)
        return count if fitting * 4 > count else max(1, fitting)

    def _encode_one(
        self,
        keys: Column | None,
        values: Column,
        timestamps_ms: int | Sequence[int],
        headers: Sequence[Headers] | None,
    ) -> EncodedBatch:
        times: int | list[int] = 0
        if isinstance(timestamps_ms, int):
            first_ms = largest_ms = timestamps_ms
        else:
            first_ms, largest_ms = timestamps_ms[0], max(timestamps_ms)
            if largest_ms != first_ms or min(timestamps_ms) != first_ms:
                times = [moment - first_ms for moment in timestamps_ms]
        count = len(values)
        packer = self._packer
        if packer is None:
            packer = self._packer = _new_packer()
        body = packer.pack([times, keys, values, headers, None])
        return EncodedBatch(count, count, first_ms, largest_ms, body)


def _pack_all(
    keys: Sequence[Any] | None,
    values: Sequence[Any],
    timestamp_ms: int,
    target_bytes: int,
    key_type: type,
    value_type: type,
) -> list[EncodedBatch] | None:
    """The batches of plain columns, by the accelerator; None if the columns are not plain."""
    batches: list[EncodedBatch] = []
    start, total = 0, len(values)
    while start < total:
        packed = _pack_columns(keys, values, start, target_bytes, key_type, value_type)
        if packed is None:
            return None
        body, stop = packed
        batches.append(EncodedBatch(stop - start, stop - start, timestamp_ms, timestamp_ms, body))
        start = stop
    return batches


@accelerated("pack_columns")
def _pack_columns(
    _keys: Sequence[Any] | None,
    _values: Sequence[Any],
    _start: int,
    _most_bytes: int,
    _key_type: type,
    _value_type: type,
) -> tuple[bytes, int] | None:
    """
    The body of as many records from `start` on as fit, at least one, and the index behind them.

    None if an item is neither None nor of its type. In Python always None: there `BatchEncoder` packs every batch with
    MessagePack, into the same bytes.
    """
    return None


def decode(
    data: bytes, place: object, *, key_type: type = bytes, value_type: type = bytes, raw: bytes | None = None
) -> Columns:
    """
    Check and decode a stored batch.

    Args:
        place: names the batch in errors, for example `orders[3] up to offset 41`.
        key_type: bytes or str; str asks for text where the bytes of the keys are UTF-8, if that costs nothing extra.
        value_type: the same for values.
        raw: the body as it was before it was compressed, if the caller has it.

    Raises:
        CorruptBatch: a checksum, a length or a column is wrong.
        FormatTooNew: a newer eventlog wrote it.
        MissingLibrary: it is compressed, and the library for that is not installed.
    """
    header = read_header(data, place)
    if not is_intact(data):
        raise corrupt(place, "its checksum is wrong")
    if header.unknown or header.producer != NO_PRODUCER:
        check_header(header, place)
    later_runs: Sequence[Run] = ()
    body, start, stop = data, header.body_at, len(data) - 4
    if header.flags & ~PLACE:
        later_runs = read_runs(header, data, place)[1:]
        if header.kind == KAFKA:
            return _kafka_columns(data, header, place)
        if header.flags & COMPRESSION_MASK:
            body = raw_body(data, header, place) if raw is None else raw
            start, stop = 0, len(body)
    times: object
    headers: Sequence[Headers] | None
    plain = None
    if compiled is not None:
        plain = _unpack_columns(body, start, stop, header.count, key_type, value_type)
    if plain is not None:
        (keys, values), times, headers, deltas = plain, 0, None, None
    else:
        times, keys, values, headers, deltas = _unpack_body(memoryview(body)[start:stop], place)
    count = header.count
    for name, column in (("keys", keys), ("values", values), ("headers", headers), ("offsets", deltas)):
        if column is not None and (not isinstance(column, tuple) or len(column) != count):
            raise corrupt(place, f"its column of {name} does not have {count} entries")
    if values is None:
        raise corrupt(place, "it has no values")  # so that `count` never asks for more memory than the stored bytes
    if plain is None:
        _check_entries(keys, values, headers, place)
    _check_deltas(deltas, header, place)
    return Columns(
        count,
        header.span,
        header.first_ms,
        header.largest_ms,
        header.largest_so_far_ms,
        _timestamps(times, header, place),
        keys if keys is not None else (None,) * count,
        values,
        headers if headers is not None else ((),) * count,
        deltas,
        header.log_position,
        plain is not None,
        later_runs,
    )


def raw_body(data: bytes, header: BatchHeader, place: object) -> bytes:
    """Return the body of a compressed batch as it was before; see `batches/compression.py`."""
    from eventlog.batches import compression  # few logs have any: `import eventlog` is fast

    return compression.raw_body(data, header, place)


def _kafka_columns(data: bytes, header: BatchHeader, place: object) -> Columns:
    from eventlog.batches.kafka_batch import read_kafka_body  # few logs have one: `import eventlog` is fast

    body = read_kafka_body(data, header, place)
    deltas = None if header.count == header.span else body.deltas
    return Columns(
        header.count,
        header.span,
        header.first_ms,
        header.largest_ms,
        header.largest_so_far_ms,
        body.timestamps_ms,
        body.keys,
        body.values,
        body.headers,
        deltas,
        header.log_position,
        is_plain=False,
    )


@accelerated("unpack_columns")
def _unpack_columns(
    _data: bytes, _start: int, _stop: int, _count: int, _key_type: type, _value_type: type
) -> tuple[tuple[Any, ...] | None, tuple[Any, ...] | None] | None:
    """
    The keys and the values of a body with one time and no headers, as `key_type` and `value_type`.

    None if the body holds more than these. In Python always None: there `_unpack_body` reads every body.
    """
    return None


def _unpack_body(packed: memoryview, place: object) -> Any:
    try:
        body = msgpack.unpackb(packed, use_list=False)
    except unless_interrupted(ValueError, TypeError, msgpack.UnpackException) as error:
        raise corrupt(place, "its body is not an array of five columns") from error
    if not isinstance(body, tuple) or len(body) != 5:
        raise corrupt(place, "its body is not an array of five columns")
    return body


def _check_entries(keys: object, values: object, headers: object, place: object) -> None:
    """Check that the columns of a body hold what they may hold; the accelerator makes no others."""
    for name, column in (("keys", keys), ("values", values)):
        if not {*map(type, column or ())} <= _ENTRY_TYPES:  # type: ignore[call-overload]
            raise corrupt(place, f"its column of {name} holds something other than bytes")
    if not all(map(is_headers, headers or ())):  # type: ignore[call-overload]
        raise corrupt(place, "its column of headers holds something other than headers")


def is_headers(value: object) -> bool:
    """Whether a value is the headers of a record: pairs of a name, and bytes or None."""
    return type(value) is tuple and all(
        type(pair) is tuple and len(pair) == 2 and type(pair[0]) is str and type(pair[1]) in _ENTRY_TYPES
        for pair in value
    )


def _timestamps(times: object, header: BatchHeader, place: object) -> Sequence[int]:
    if times == 0 and isinstance(times, int):
        return [header.first_ms] * header.count
    if not isinstance(times, tuple) or len(times) != header.count:
        raise corrupt(place, f"its column of timestamps does not have {header.count} entries")
    try:
        moments = [header.first_ms + delta for delta in times]
    except unless_interrupted(TypeError) as error:
        raise corrupt(place, "its column of timestamps holds something other than numbers") from error
    if set(map(type, times)) != {int} or not (min(moments) >= NO_TIME_MS and max(moments) < -NO_TIME_MS):
        raise corrupt(place, "its column of timestamps holds something other than times")
    return moments


def _check_deltas(deltas: Sequence[object] | None, header: BatchHeader, place: object) -> None:
    if deltas is None:
        if header.count != header.span:
            raise corrupt(place, f"{header.count} records without offsets cannot span {header.span}")
        return
    before = -1
    for delta in deltas:
        if not isinstance(delta, int) or not before < delta < header.span:
            raise corrupt(place, f"its offsets do not grow within a span of {header.span}")
        before = delta
