"""
Batches that take the place of lost ones beside them.

A batch begins where the one before it ends. Where batches between are lost, the next one gets their offsets too,
without records for them: a batch may span more offsets than it has records. Its records keep their offsets, times and
positions. A record batch of Kafka's becomes columns, because its checksum covers its span; one of a transaction becomes
another of the same transaction, because columns have none.
"""

from __future__ import annotations

from typing import Any

import attrs
import msgpack

from eventlog.batches.format import decode, raw_body
from eventlog.batches.header import (
    COMPRESSION_MASK,
    COMPRESSIONS,
    KAFKA,
    BatchHeader,
    EncodedBatch,
    Run,
    read_runs,
    seal,
)
from eventlog.batches.header import seal_version_2 as _seal_2
from eventlog.batches.kafka_marks import PLAIN, kafka_marks
from eventlog.errors import EventLogError, MissingLibrary
from eventlog.interruptions import unless_interrupted

_LARGEST_SPAN = 2**32 - 1
_LARGEST_KAFKA_SPAN = 2**31


def widened(
    data: bytes, header: BatchHeader, key: bytes, *, before: int = 0, behind: int = 0, log_position: int
) -> bytes | None:
    """
    Return a batch that spans more offsets; None if it cannot.

    Args:
        key: of its row.
        before: offsets without records before its first.
        behind: the same behind its last.
        log_position: of its first record.

    Raises:
        MissingLibrary: it is compressed, and the library for that is not installed.
    """
    span = header.span + before + behind
    if span > _LARGEST_SPAN or header.unknown:
        return None
    if kafka_marks(data) != PLAIN:
        return _widened_transactional(data, header, key, before, log_position) if not behind else None
    compression = header.flags & COMPRESSION_MASK
    try:
        if header.kind == KAFKA:
            columns: Any = _kafka_columns(data, header)
        else:
            body = raw_body(data, header, "a batch") if compression else data[header.body_at : -4]
            columns = msgpack.unpackb(body, use_list=False, strict_map_key=False)
        times, keys, values, headers, deltas = columns
        runs = read_runs(header, data, "a batch")
    except unless_interrupted(MissingLibrary):
        raise
    except unless_interrupted(EventLogError, ValueError, TypeError, msgpack.UnpackException):
        return None
    moved = [delta + before for delta in (range(header.count) if deltas is None else deltas)]
    body = msgpack.packb((times, keys, values, headers, moved))
    batch = EncodedBatch(header.count, span, header.first_ms, header.largest_ms, body, header.producer)
    if compression:
        from eventlog.batches.compression import Compressor

        Compressor(COMPRESSIONS[compression], "repair a batch").compress(batch)
    if data[1] <= 2:
        return _seal_2(batch, largest_so_far_ms=header.largest_so_far_ms, log_position=log_position - before)
    return seal(
        batch,
        largest_so_far_ms=header.largest_so_far_ms,
        log_position=log_position - before,
        key=key,
        later_runs=[Run(run.delta + before, run.log_position) for run in runs[1:]],
    )


def _widened_transactional(
    data: bytes, header: BatchHeader, key: bytes, before: int, log_position: int
) -> bytes | None:
    """The same of a batch of a transaction, or of its end; None if it cannot be read."""
    from eventlog.batches.kafka_builder import rebuilt  # few logs have one

    if header.span + before >= _LARGEST_KAFKA_SPAN:
        return None
    try:
        columns = decode(data, "a batch")
        deltas = [delta + before for delta in (columns.deltas or range(columns.count))]
        batch = rebuilt(data, header, attrs.evolve(columns, span=header.span + before, deltas=deltas))
    except unless_interrupted(MissingLibrary):
        raise
    except unless_interrupted(EventLogError):
        return None
    largest_ms = header.largest_so_far_ms
    return seal(batch, largest_so_far_ms=largest_ms, log_position=log_position - before, key=key)


def _kafka_columns(data: bytes, header: BatchHeader) -> tuple[Any, ...]:
    """The columns of a record batch of Kafka's."""
    from eventlog.batches.kafka_batch import read_kafka_body  # few logs have one

    found = read_kafka_body(data, header, "a batch")
    times = [moment - header.first_ms for moment in found.timestamps_ms]
    return times, found.keys, found.values, found.headers, found.deltas
