"""
A Kafka record batch as the body of a batch: kept as the client sent it, and read as columns.

What arrives is judged by its 61 bytes of header and its checksum; no record is parsed until a reader of ours asks.
Layout: docs/reference/format.md, and https://kafka.apache.org/documentation/#recordbatch.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import google_crc32c

from eventlog.batches.header import KAFKA, NO_TIME_MS, BatchHeader, EncodedBatch, corrupt, too_new
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.records import Headers

_HEAD = struct.Struct(">qiibIhiqqqhii")
HEAD_BYTES = _HEAD.size
_LENGTH_END = 12
_CHECKED_FROM = 21
_MAGIC = 2
_COMPRESSIONS = ("no compression", "gzip", "snappy", "lz4", "zstd")
_COMPRESSION_MASK = 0b111
_GZIP = 1
CORRUPT = "CORRUPT_MESSAGE"
INVALID = "INVALID_RECORD"
_APPEND_TIME = 1 << 3
_KNOWN_ATTRIBUTES = _COMPRESSION_MASK | _APPEND_TIME
_GZIP_WINDOW = 31
_MOST_RAW_BYTES = 2**30
_LEAST_RECORD_BYTES = 7
"""The bytes of a record without key, value and headers: a length, attributes, two deltas and three lengths."""


class UnfitBatch(ValueError):
    """
    Raised for bytes that a client of Kafka's sent and that are no record batch which can be stored.

    `code` is Kafka's name of the error.
    """

    def __init__(self, what: str, code: str) -> None:
        super().__init__(what)
        self.code = code


class KafkaHead(NamedTuple):
    """The header of a Kafka record batch."""

    base_offset: int
    length: int
    leader_epoch: int
    magic: int
    checksum: int
    attributes: int
    last_delta: int
    base_ms: int
    largest_ms: int
    producer_id: int
    producer_epoch: int
    sequence: int
    record_count: int


class KafkaColumns(NamedTuple):
    """The records of a Kafka record batch, as columns; `deltas` are their offsets less the first."""

    timestamps_ms: list[int]
    keys: tuple[bytes | None, ...]
    values: tuple[bytes | None, ...]
    headers: tuple[Headers, ...]
    deltas: tuple[int, ...]


def kafka_batch(data: bytes) -> EncodedBatch:
    """
    Return the batch whose body is a Kafka record batch.

    Raises:
        UnfitBatch: it is not one, it is damaged, or it is transactional or a control batch.
    """
    return accept(data)[0]


def accept(data: bytes) -> tuple[EncodedBatch, KafkaHead]:
    """
    Return the batch whose body is a Kafka record batch, and the header of the latter.

    Raises:
        UnfitBatch: it is not one, it is damaged, or it is transactional or a control batch.
    """
    if len(data) < HEAD_BYTES:
        raise UnfitBatch(f"{len(data)} bytes are fewer than the {HEAD_BYTES} of a Kafka record batch", CORRUPT)
    head = KafkaHead(*_HEAD.unpack_from(data))
    problem = _problem(head, len(data))
    if problem is not None:
        code = CORRUPT if head.magic == _MAGIC and head.length != len(data) - _LENGTH_END else INVALID
        raise UnfitBatch(f"it is no Kafka record batch that can be stored: {problem}", code)
    compression = head.attributes & _COMPRESSION_MASK
    if head.attributes & ~_KNOWN_ATTRIBUTES or compression >= len(_COMPRESSIONS):
        code = INVALID if compression < len(_COMPRESSIONS) else "UNSUPPORTED_COMPRESSION_TYPE"
        what = f"a Kafka record batch with the attributes {head.attributes & 0xFFFF:#06x} cannot be stored"
        raise UnfitBatch(what, code)
    if google_crc32c.value(data[_CHECKED_FROM:]) != head.checksum:
        raise UnfitBatch("the checksum of the Kafka record batch is wrong", CORRUPT)
    batch = EncodedBatch(head.record_count, head.last_delta + 1, head.base_ms, head.largest_ms, data, kind=KAFKA)
    return batch, head


def read_records(data: bytes, place: object) -> KafkaColumns:
    """
    Return the records of a Kafka record batch that was accepted.

    Raises:
        UnfitBatch: they are not what the header says.
        MissingLibrary: the library that decompresses them is not installed.
    """
    head = KafkaHead(*_HEAD.unpack_from(data))
    try:
        return _parsed(_raw_records(head, memoryview(data)[HEAD_BYTES:], place), head)
    except unless_interrupted(ValueError, IndexError, zlib.error) as error:
        raise UnfitBatch(f"the records of the Kafka record batch cannot be read ({error})", INVALID) from error


def _problem(head: KafkaHead, size: int) -> str | None:
    """Return what is wrong with the header of a Kafka record batch of this size; None if nothing is."""
    if head.magic != _MAGIC:
        return f"its magic is {head.magic}, not {_MAGIC}"
    if head.length != size - _LENGTH_END:
        return f"it says that {head.length} bytes follow its length, and {size - _LENGTH_END} do"
    if not 1 <= head.record_count <= head.last_delta + 1:
        return f"it says {head.record_count} records over {head.last_delta + 1} offsets"
    return None


def read_kafka_body(data: bytes, header: BatchHeader, place: object) -> KafkaColumns:
    """
    Return the records of the Kafka record batch in a stored batch whose checksum holds.

    Raises:
        CorruptBatch: it is not one, or does not say what the header says.
        FormatTooNew: it is compressed by what this eventlog does not decompress, or is of a kind that it does not know.
    """
    body = memoryview(data)[header.body_at : -4]
    if len(body) < HEAD_BYTES:
        raise corrupt(place, f"the {len(body)} bytes of its body are no Kafka record batch")
    head = KafkaHead(*_HEAD.unpack_from(body))
    if head.magic > _MAGIC:
        raise too_new(place, f"a Kafka record batch of magic {head.magic}, which this eventlog does not know")
    problem = _problem(head, len(body))
    if problem is not None:
        raise corrupt(place, f"its Kafka record batch is not what was written ({problem})")
    if (head.record_count, head.last_delta + 1, head.base_ms, head.largest_ms) != (
        header.count,
        header.span,
        header.first_ms,
        header.largest_ms,
    ):
        raise corrupt(place, "its header and that of its Kafka record batch say different things")
    if head.attributes & ~_KNOWN_ATTRIBUTES:
        raise too_new(place, f"a Kafka record batch with the attributes {head.attributes & 0xFFFF:#06x}")
    try:
        return _parsed(_raw_records(head, body[HEAD_BYTES:], place), head)
    except unless_interrupted(ValueError, IndexError, zlib.error) as error:
        raise corrupt(place, f"the records of its Kafka record batch cannot be read ({error})") from error


def _raw_records(head: KafkaHead, stored: memoryview, place: object) -> bytes:
    compression = head.attributes & _COMPRESSION_MASK
    if not compression:
        return bytes(stored)
    if compression != _GZIP:
        name = _COMPRESSIONS[compression] if compression < len(_COMPRESSIONS) else f"compression {compression}"
        raise too_new(place, f"a Kafka record batch compressed by {name}, which this eventlog does not decompress")
    stream = zlib.decompressobj(_GZIP_WINDOW)
    raw = stream.decompress(stored, _MOST_RAW_BYTES)
    if not stream.eof or stream.unused_data:
        raise ValueError("they are not one gzip stream of at most 1 GiB")
    return raw


def _parsed(data: bytes, head: KafkaHead) -> KafkaColumns:
    """The records in these bytes; ValueError or IndexError if they are not what the header says."""
    if len(data) < head.record_count * _LEAST_RECORD_BYTES:
        raise ValueError(f"{len(data)} bytes are too few for {head.record_count} records")
    append_ms = head.largest_ms if head.attributes & _APPEND_TIME else None
    times: list[int] = []
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    headers: list[Headers] = []
    deltas: list[int] = []
    at, before = 0, -1
    for _ in range(head.record_count):
        length, at = _varint(data, at)
        end = at + length
        if not at < end <= len(data):
            raise ValueError("a record ends outside of them")
        moment, at = _varint(data, at + 1)
        delta, at = _varint(data, at)
        key, at = _bytes(data, at, end)
        value, at = _bytes(data, at, end)
        pairs, at = _headers(data, at, end)
        if at != end or not before < delta <= head.last_delta:
            raise ValueError("a record has another length or offset than it may have")
        before = delta
        times.append(head.base_ms + moment if append_ms is None else append_ms)
        keys.append(key)
        values.append(value)
        headers.append(pairs)
        deltas.append(delta)
    if at != len(data):
        raise ValueError("something follows the last of them")
    if not NO_TIME_MS <= min(times) <= max(times) < -NO_TIME_MS:
        raise ValueError("a record has no valid time")
    return KafkaColumns(times, tuple(keys), tuple(values), tuple(headers), tuple(deltas))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of Kafka's, of 10 bytes at most and either sign, and the place behind it."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at
        shift += 7
        if shift > 63:
            raise ValueError("a number has no end")


def _bytes(data: bytes, at: int, end: int) -> tuple[bytes | None, int]:
    length, at = _varint(data, at)
    if length == -1:
        return None, at
    if not 0 <= length <= end - at:
        raise ValueError("a field ends outside of its record")
    return data[at : at + length], at + length


def _headers(data: bytes, at: int, end: int) -> tuple[Headers, int]:
    count, at = _varint(data, at)
    if count == 0:
        return (), at
    if not 0 <= count <= (end - at) // 2:
        raise ValueError("a record has more headers than it has room for")
    pairs: list[Any] = []
    for _ in range(count):
        name, at = _bytes(data, at, end)
        value, at = _bytes(data, at, end)
        if name is None:
            raise ValueError("a header has no name")
        pairs.append((name.decode("utf-8", "replace"), value))
    return tuple(pairs), at
