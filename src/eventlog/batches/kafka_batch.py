"""
A Kafka record batch as the body of a batch: kept as the client sent it, and read as columns.

What arrives is judged by its 61 bytes of header and its checksum, and its records are looked through; they become
objects when a reader of ours asks.
Layout: docs/reference/format.md, and https://kafka.apache.org/documentation/#recordbatch.
"""

from __future__ import annotations

import struct

import google_crc32c

from eventlog.batches.header import KAFKA, BatchHeader, EncodedBatch, corrupt, too_new
from eventlog.batches.kafka_compression import NAMES, can_decompress, decompressed
from eventlog.batches.kafka_marks import CONTROL, TRANSACTIONAL
from eventlog.batches.kafka_records import KafkaColumns, are_kafka_records, kafka_columns
from eventlog.errors import MissingLibrary
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple

_HEAD = struct.Struct(">qiibIhiqqqhii")
HEAD_BYTES = _HEAD.size
_LENGTH_END = 12
_CHECKED_FROM = 21
_MAGIC = 2
_COMPRESSION_MASK = 0b111
CORRUPT = "CORRUPT_MESSAGE"
INVALID = "INVALID_RECORD"
_APPEND_TIME = 1 << 3
_ATTRIBUTES_AT = 21
_TRANSACTION_BITS = TRANSACTIONAL | CONTROL
_SENT_ATTRIBUTES = _COMPRESSION_MASK | _APPEND_TIME | TRANSACTIONAL
_KNOWN_ATTRIBUTES = _SENT_ATTRIBUTES | CONTROL


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

    @property
    def is_transactional(self) -> bool:
        """Whether its records belong to a transaction."""
        return bool(self.attributes & TRANSACTIONAL)


def kafka_batch(data: bytes) -> EncodedBatch:
    """
    Return the batch whose body is a Kafka record batch.

    Raises:
        UnfitBatch: it is not one, it is damaged, or it is a control batch.
    """
    return accept(data)[0]


def accept(data: bytes) -> tuple[EncodedBatch, KafkaHead]:
    """
    Return the batch whose body is a Kafka record batch, and the header of the latter.

    Raises:
        UnfitBatch: it is not one, it is damaged, or it is a control batch.
    """
    if len(data) < HEAD_BYTES:
        raise UnfitBatch(f"{len(data)} bytes are fewer than the {HEAD_BYTES} of a Kafka record batch", INVALID)
    head = KafkaHead(*_HEAD.unpack_from(data))
    problem = _problem(head, len(data))
    if problem is not None:
        raise UnfitBatch(f"it is no Kafka record batch that can be stored: {problem}", _code_of(head, data))
    compression = head.attributes & _COMPRESSION_MASK
    if head.attributes & ~_SENT_ATTRIBUTES or compression >= len(NAMES):
        code = INVALID if compression < len(NAMES) else "UNSUPPORTED_COMPRESSION_TYPE"
        what = f"a Kafka record batch with the attributes {head.attributes & 0xFFFF:#06x} cannot be stored"
        raise UnfitBatch(what, code)
    if google_crc32c.value(data[_CHECKED_FROM:]) != head.checksum:
        raise UnfitBatch("the checksum of the Kafka record batch is wrong", CORRUPT)
    batch = EncodedBatch(head.record_count, head.last_delta + 1, head.base_ms, head.largest_ms, data, kind=KAFKA)
    return batch, head


def check_records(data: bytes, head: KafkaHead, place: object) -> None:
    """
    Look through the records of a Kafka record batch that was accepted.

    Without the library that decompresses them, they are taken as they are.

    Raises:
        UnfitBatch: they are not what the header says.
    """
    compression, raw, start = head.attributes & _COMPRESSION_MASK, data, HEAD_BYTES
    try:
        if compression:
            raw, start = decompressed(compression, memoryview(data)[HEAD_BYTES:], place), 0
    except unless_interrupted(MissingLibrary):
        return
    except unless_interrupted(ValueError) as error:
        raise _unreadable(error) from error
    if not are_kafka_records(raw, start, len(raw), head.record_count, head.last_delta, head.base_ms):
        read_records(data, place)


def read_records(data: bytes, place: object) -> KafkaColumns:
    """
    Return the records of a Kafka record batch that was accepted.

    Raises:
        UnfitBatch: they are not what the header says.
        MissingLibrary: the library that decompresses them is not installed.
    """
    head = KafkaHead(*_HEAD.unpack_from(data))
    try:
        return _columns_of(head, data, HEAD_BYTES, len(data), place)
    except unless_interrupted(ValueError) as error:
        raise _unreadable(error) from error


def _unreadable(error: ValueError) -> UnfitBatch:
    return UnfitBatch(f"the records of the Kafka record batch cannot be read ({error})", INVALID)


def _code_of(head: KafkaHead, data: bytes) -> str:
    """Return Kafka's name for what is wrong with the header of a batch, as its broker judges it."""
    end = _LENGTH_END + head.length
    if head.magic > _MAGIC or (head.magic == _MAGIC and end < HEAD_BYTES):
        return CORRUPT
    if head.magic == _MAGIC and end < len(data) and google_crc32c.value(data[_CHECKED_FROM:end]) != head.checksum:
        return CORRUPT
    return INVALID


def _problem(head: KafkaHead, size: int) -> str | None:
    """Return what is wrong with the header of a Kafka record batch of this size; None if nothing is."""
    if head.magic != _MAGIC:
        return f"its magic is {head.magic}, not {_MAGIC}"
    if head.length != size - _LENGTH_END:
        return f"it says that {head.length} bytes follow its length, and {size - _LENGTH_END} do"
    if not 1 <= head.record_count <= head.last_delta + 1:
        return f"it says {head.record_count} records over {head.last_delta + 1} offsets"
    return None


def is_readable(data: bytes | memoryview, header: BatchHeader) -> bool:
    """Return whether the compression of the Kafka record batch in a stored batch can be taken off here."""
    at = header.body_at + _ATTRIBUTES_AT + 1
    return can_decompress(int(data[at]) & _COMPRESSION_MASK)


def is_control(data: bytes | memoryview, header: BatchHeader) -> bool:
    """Return whether the Kafka record batch in a stored batch ends a transaction."""
    at = header.body_at + _ATTRIBUTES_AT
    return bool(int.from_bytes(data[at : at + 2], "big") & CONTROL)


def is_of_transaction(data: bytes | memoryview, header: BatchHeader) -> bool:
    """Return whether the Kafka record batch in a stored batch is a part of a transaction, or ends one."""
    at = header.body_at + _ATTRIBUTES_AT
    return bool(int.from_bytes(data[at : at + 2], "big") & _TRANSACTION_BITS)


def read_kafka_body(data: bytes, header: BatchHeader, place: object) -> KafkaColumns:
    """
    Return the records of the Kafka record batch in a stored batch whose checksum holds.

    Raises:
        CorruptBatch: it is not one, or does not say what the header says.
        FormatTooNew: it is of a kind or a compression that this eventlog does not know.
        MissingLibrary: the library that decompresses it is not installed.
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
    compression = head.attributes & _COMPRESSION_MASK
    if compression >= len(NAMES):
        raise too_new(place, f"a Kafka record batch of compression {compression}, which this eventlog does not know")
    try:
        return _columns_of(head, data, header.body_at + HEAD_BYTES, len(data) - 4, place)
    except unless_interrupted(ValueError) as error:
        raise corrupt(place, f"the records of its Kafka record batch cannot be read ({error})") from error


def _columns_of(head: KafkaHead, data: bytes, start: int, stop: int, place: object) -> KafkaColumns:
    """The records in a part of some bytes, which are compressed as the header says."""
    compression = head.attributes & _COMPRESSION_MASK
    if compression:
        data = decompressed(compression, memoryview(data)[start:stop], place)
        start, stop = 0, len(data)
    return kafka_columns(
        data,
        start,
        stop,
        head.record_count,
        last_delta=head.last_delta,
        base_ms=head.base_ms,
        append_ms=head.largest_ms if head.attributes & _APPEND_TIME else None,
    )
