"""
A batch without the content of some of its records: their values and headers go, all else stays as it was.

Knows nothing of LMDB, threads or clocks. Why it is so: docs/decisions/0054-redact.md.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import attrs
import msgpack

from eventlog.batches.format import Columns, decode
from eventlog.batches.header import (
    COMPRESSION_MASK,
    COMPRESSIONS,
    KAFKA,
    NO_LOG_POSITION,
    BatchHeader,
    EncodedBatch,
    read_header,
    read_runs,
    seal,
    seal_version_2,
)

if TYPE_CHECKING:
    from eventlog.batches.compression import Compressor


@attrs.frozen
class Redacted:
    """
    What there is of a key in a batch, and the batch without it.

    `offsets` are those of all records of the key; `live_count` says how many of them have a value or headers, and
    without any `data` is what it was.
    """

    data: bytes
    offsets: frozenset[int]
    live_count: int


def redact(data: bytes, row_key: bytes, key: bytes, place: object, *, log_position: int, is_sealed: bool) -> Redacted:
    """
    Make tombstones of the records that a key has in a batch.

    Args:
        row_key: that of the row in which the batch is stored.
        log_position: that of its first record, for a batch of version 1, which does not know it.
        is_sealed: whether the log has batches of version 3.

    Raises:
        CorruptBatch, FormatTooNew, MissingLibrary: the batch cannot be read.
    """
    header, columns, last = read_header(data, place), decode(data, place), int.from_bytes(row_key[8:16], "big")
    if header.kind == KAFKA:
        from eventlog.batches.kafka_batch import is_control  # few logs have one

        if is_control(data, header):  # the end of a transaction, whose key may look like a user's
            return Redacted(data, frozenset(), 0)
    found = [index for index, one in enumerate(columns.keys) if one == key]
    offsets = columns.offsets(last)
    live = {index for index in found if columns.values[index] is not None or columns.headers[index]}
    if live:
        batch = _without(data, header, columns, live)
        if header.flags & COMPRESSION_MASK:
            _compressor_of(header, place).compress(batch)
        first = log_position if header.log_position == NO_LOG_POSITION else header.log_position
        largest = header.largest_so_far_ms
        if is_sealed:
            runs = [] if header.runs_at is None else read_runs(header, data, place)[1:]
            data = seal(batch, largest_so_far_ms=largest, log_position=first, key=row_key, later_runs=runs)
        else:
            data = seal_version_2(batch, largest_so_far_ms=largest, log_position=first)
    return Redacted(data, frozenset(offsets[index] for index in found), len(live))


def _without(data: bytes, header: BatchHeader, columns: Columns, live: Collection[int]) -> EncodedBatch:
    values = [None if index in live else value for index, value in enumerate(columns.values)]
    headers = [() if index in live else pairs for index, pairs in enumerate(columns.headers)]
    if header.kind == KAFKA:
        from eventlog.batches.kafka_builder import rebuilt

        return rebuilt(data, header, attrs.evolve(columns, values=values, headers=headers))
    times = [moment - header.first_ms for moment in columns.timestamps_ms]
    body: bytes = msgpack.packb(
        [
            times if any(times) else 0,
            list(columns.keys),
            values,
            headers if any(headers) else None,
            columns.deltas,
        ],
        use_bin_type=True,
    )
    return EncodedBatch(header.count, header.span, header.first_ms, header.largest_ms, body, header.producer)


def _compressor_of(header: BatchHeader, place: object) -> Compressor:
    from eventlog.batches.compression import Compressor  # few logs are compressed

    return Compressor(COMPRESSIONS[header.flags & COMPRESSION_MASK], f"redact {place}")
