"""
What a Kafka record batch says of its transaction, and the control batches that end one.

A reader that only passes by needs these 61 bytes and parses no record. Layout: docs/reference/format.md.
"""

from __future__ import annotations

import struct

import google_crc32c

from eventlog.batches.header import (
    COMPRESSION_AT,
    HEADER_BYTES,
    KAFKA,
    KIND_MASK,
    KIND_SHIFT,
    PLACE,
    PLACE_BYTES,
    EncodedBatch,
)
from eventlog.named_tuples import NamedTuple

TRANSACTIONAL = 1 << 4
CONTROL = 1 << 5
"""The bits of the attributes of a Kafka record batch that is a part of a transaction, or ends one."""
ABORT = 0
COMMIT = 1
"""The types of control batches."""

_ATTRIBUTES = struct.Struct(">h")
_PRODUCER = struct.Struct(">qh")
_HEAD = struct.Struct(">qiibI")
_CHECKED = struct.Struct(">hiqqqhii")
_RECORD = struct.Struct(">bbbbbhhbhib")
_ATTRIBUTES_AT, _PRODUCER_AT, _RECORDS_AT = 21, 43, 61
_MAGIC = 2
_NO_SEQUENCE = -1
_KEY_BYTES, _VALUE_BYTES = 4, 6
_TYPE_AT = _RECORDS_AT + 7


class KafkaMarks(NamedTuple):
    """What a Kafka record batch says of its transaction; `type` is that of a control batch, else -1."""

    is_transactional: bool
    is_control: bool
    producer_id: int
    producer_epoch: int
    type: int


_PLAIN = KafkaMarks(is_transactional=False, is_control=False, producer_id=-1, producer_epoch=-1, type=-1)


def kafka_marks(data: bytes | memoryview) -> KafkaMarks:
    """Return what a stored batch says; of one that is none of Kafka's, or too short to be one, that it is plain."""
    at = HEADER_BYTES + (PLACE_BYTES if data[COMPRESSION_AT] & PLACE else 0)
    if data[COMPRESSION_AT] >> KIND_SHIFT & KIND_MASK != KAFKA or len(data) < at + _RECORDS_AT:
        return _PLAIN
    attributes = _ATTRIBUTES.unpack_from(data, at + _ATTRIBUTES_AT)[0]
    if not attributes & (TRANSACTIONAL | CONTROL):
        return _PLAIN
    is_control = bool(attributes & CONTROL)
    kind = -1
    if is_control and len(data) >= at + _TYPE_AT + 2:
        kind = _ATTRIBUTES.unpack_from(data, at + _TYPE_AT)[0]
    producer_id, producer_epoch = _PRODUCER.unpack_from(data, at + _PRODUCER_AT)
    return KafkaMarks(bool(attributes & TRANSACTIONAL), is_control, producer_id, producer_epoch, kind)


def end_marker(*, is_commit: bool, producer_id: int, producer_epoch: int, now_ms: int) -> EncodedBatch:
    """Return the control batch that ends a transaction in one partition, byte for byte as Kafka's broker has it."""
    record = _RECORD.pack(
        *(
            _RECORD.size - 1 << 1,
            0,
            0,
            0,
            _KEY_BYTES << 1,
            0,
            COMMIT if is_commit else ABORT,
            _VALUE_BYTES << 1,
            0,
            0,
            0,
        )
    )
    checked = _CHECKED.pack(TRANSACTIONAL | CONTROL, 0, now_ms, now_ms, producer_id, producer_epoch, _NO_SEQUENCE, 1)
    checked += record
    length = len(checked) + _HEAD.size - 12
    head = _HEAD.pack(0, length, 0, _MAGIC, google_crc32c.value(checked))
    return EncodedBatch(1, 1, now_ms, now_ms, head + checked, kind=KAFKA)
