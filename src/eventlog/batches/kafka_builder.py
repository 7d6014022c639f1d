"""
Stored batches as the record batches of Kafka's protocol: those of its clients as they are, ours made from columns.

Offsets, times, keys, values and headers are those of the records; offsets that have no record any more are gaps, as
Kafka's cleaner leaves them. Nothing is compressed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import google_crc32c

from eventlog.accelerators import accelerated
from eventlog.batches.format import Columns, decode
from eventlog.batches.header import KAFKA, BatchHeader, EncodedBatch, corrupt, is_intact, read_header
from eventlog.batches.kafka_batch import HEAD_BYTES
from eventlog.batches.kafka_marks import CONTROL, TRANSACTIONAL
from eventlog.records import Headers

_HEAD = struct.Struct(">qiibI")
_CHECKED = struct.Struct(">hiqqqhii")
_LENGTH_END = 12
_EPOCH_AT = 12
_CHECKSUM = slice(17, 21)
_CHECKED_FROM = 21
_TIMES = struct.Struct(">qq")
_TIMES_AT = 27
_PRODUCER = slice(43, 57)
"""The places of fields in the header: the last is producer id, epoch and first sequence."""
_CHECKSUM_BYTES = 4
_MAGIC = 2
_MOST_BYTES = 2**31 - 1
_HALF, _MASK = 1 << 63, (1 << 64) - 1


def record_batch_of(data: bytes, last: int, place: object) -> bytes | memoryview:
    """
    Return the Kafka record batch of a stored batch whose last offset is `last`.

    Raises:
        CorruptBatch, FormatTooNew, MissingLibrary: it cannot be read.
    """
    header = read_header(data, place)
    if header.kind == KAFKA and not header.unknown:
        if not is_intact(data):
            raise corrupt(place, "its checksum is wrong")
        return memoryview(data)[header.body_at : -_CHECKSUM_BYTES]
    columns = decode(data, place)
    return build_record_batch(
        columns.keys,
        columns.values,
        columns.headers,
        columns.timestamps_ms,
        columns.deltas,
        columns.span,
        last - columns.span + 1,
    )


def rebuilt(data: bytes, header: BatchHeader, columns: Columns) -> EncodedBatch:
    """
    Return the Kafka record batch of a stored batch with other records at the same offsets.

    It is of the same producer, and of the same transaction if it is of one. It is not compressed.

    Args:
        columns: the other records.
    """
    old = data[header.body_at : header.body_at + HEAD_BYTES]
    made = bytearray(
        build_record_batch(
            tuple(columns.keys),
            tuple(columns.values),
            tuple(columns.headers),
            list(columns.timestamps_ms),
            columns.deltas,
            columns.span,
            0,
        )
    )
    made[_EPOCH_AT : _EPOCH_AT + 4] = old[_EPOCH_AT : _EPOCH_AT + 4]
    attributes = int.from_bytes(old[_CHECKED_FROM : _CHECKED_FROM + 2], "big") & (TRANSACTIONAL | CONTROL)
    made[_CHECKED_FROM : _CHECKED_FROM + 2] = attributes.to_bytes(2, "big")
    made[_PRODUCER] = old[_PRODUCER]
    made[_CHECKSUM] = google_crc32c.value(bytes(made[_CHECKED_FROM:])).to_bytes(4, "big")
    first_ms, largest_ms = _TIMES.unpack_from(made, _TIMES_AT)
    return EncodedBatch(columns.count, columns.span, first_ms, largest_ms, bytes(made), kind=KAFKA)


@accelerated("build_record_batch")
def build_record_batch(
    keys: Sequence[bytes | None],
    values: Sequence[bytes | None],
    headers: Sequence[Headers],
    timestamps_ms: int | Sequence[int],
    deltas: Sequence[int] | None,
    span: int,
    base_offset: int,
) -> bytes:
    """
    Return the Kafka record batch of some columns, which are lists or tuples.

    Args:
        timestamps_ms: one for all, or one for each record.
        deltas: the offsets less the first; None if they are 0, 1, 2 and so on.
        span: how many offsets the batch covers.
    """
    count = len(values)
    times = [timestamps_ms] * count if isinstance(timestamps_ms, int) else timestamps_ms
    lengths = {len(keys), len(headers), len(times), count if deltas is None else len(deltas)}
    if lengths != {count} or not 1 <= count <= span < 1 << 31:
        raise ValueError("the columns differ in length, or are none, or more than their offsets")
    base_ms = times[0]
    records = b"".join(
        _record(moment - base_ms, delta, key, value, pairs)
        for moment, delta, key, value, pairs in zip(
            times, range(count) if deltas is None else deltas, keys, values, headers, strict=True
        )
    )
    checked = _CHECKED.pack(0, span - 1, base_ms, max(times), -1, -1, -1, count) + records
    length = _HEAD.size - _LENGTH_END + len(checked)
    if length + _LENGTH_END > _MOST_BYTES:
        raise OverflowError("a Kafka record batch has less than 2 GiB")
    return _HEAD.pack(base_offset, length, 0, _MAGIC, google_crc32c.value(checked)) + checked


def _record(moment: int, delta: int, key: bytes | None, value: bytes | None, headers: Headers) -> bytes:
    parts = [b"\0", _varint((moment + _HALF & _MASK) - _HALF), _varint(delta), _field(key), _field(value)]
    parts.append(_varint(len(headers)))
    for name, one in headers:
        parts += (_field(name.encode()), _field(one))
    body = b"".join(parts)
    return _varint(len(body)) + body


def _varint(number: int) -> bytes:
    """A number as Kafka writes it: the sign is its last bit, and each byte has seven."""
    number = number << 1 if number >= 0 else (-number << 1) - 1
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)


def _field(data: bytes | None) -> bytes:
    return b"\1" if data is None else _varint(len(data)) + data
