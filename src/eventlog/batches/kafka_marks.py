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
_RECORD = struct.Struct(">bhhbhib")
_MORE = 0x80
_ATTRIBUTES_AT, _PRODUCER_AT, _RECORDS_AT = 21, 43, 61
_MAGIC = 2
_NO_SEQUENCE = _NO_PRODUCER_ID = _NO_PRODUCER_EPOCH = -1
_KEY_BYTES, _VALUE_BYTES = 4, 6
_DELTA_AT = _RECORDS_AT + 3
_TYPE_BEHIND = 4
"""From the last byte of the delta to the type: that byte, the length of the key, and its version."""
_MOST_TYPE_BYTES = 12


class KafkaMarks(NamedTuple):
    """What a Kafka record batch says of its transaction; `type` is that of a control batch, else -1."""

    is_transactional: bool
    is_control: bool
    producer_id: int
    producer_epoch: int
    type: int


PLAIN = KafkaMarks(is_transactional=False, is_control=False, producer_id=-1, producer_epoch=-1, type=-1)
"""What a batch says that is of no transaction."""


def kafka_marks(data: bytes | memoryview) -> KafkaMarks:
    """Return what a stored batch says; of one that is none of Kafka's, or too short to be one, that it is plain."""
    at = HEADER_BYTES + (PLACE_BYTES if data[COMPRESSION_AT] & PLACE else 0)
    if data[COMPRESSION_AT] >> KIND_SHIFT & KIND_MASK != KAFKA or len(data) < at + _RECORDS_AT:
        return PLAIN
    attributes = _ATTRIBUTES.unpack_from(data, at + _ATTRIBUTES_AT)[0]
    if not attributes & (TRANSACTIONAL | CONTROL):
        return PLAIN
    is_control = bool(attributes & CONTROL)
    kind = -1
    if is_control and attributes & TRANSACTIONAL:
        kind = _type(bytes(data[at + _DELTA_AT : at + _DELTA_AT + _MOST_TYPE_BYTES]))
    producer_id, producer_epoch = _PRODUCER.unpack_from(data, at + _PRODUCER_AT)
    return KafkaMarks(bool(attributes & TRANSACTIONAL), is_control, producer_id, producer_epoch, kind)


def _type(data: bytes) -> int:
    """The type of a control batch, in bytes from the delta of its record's offset on: -1 if they are too short."""
    at = 0
    while at < len(data) and data[at] & _MORE:
        at += 1
    at += _TYPE_BEHIND
    return int.from_bytes(data[at : at + 2], "big", signed=True) if len(data) >= at + 2 else -1


def end_marker(*, is_commit: bool, producer_id: int, producer_epoch: int, now_ms: int, span: int = 1) -> EncodedBatch:
    """
    Return the control batch that ends a transaction in one partition, byte for byte as Kafka's broker has it.

    Args:
        span: how many offsets it holds: more than one if others are gone.
    """
    return _control(
        TRANSACTIONAL | CONTROL, COMMIT if is_commit else ABORT, producer_id, producer_epoch, now_ms, span=span
    )


def placeholder(*, span: int, time_ms: int) -> EncodedBatch:
    """
    Return the batch that holds offsets of which nothing is left: a control batch of no producer.

    All readers pass by it: native ones as by any control batch, and Kafka's clients do nothing about a commit.
    """
    return _control(CONTROL, COMMIT, _NO_PRODUCER_ID, _NO_PRODUCER_EPOCH, time_ms, span=span)


def is_placeholder(marks: KafkaMarks) -> bool:
    """Whether a batch only holds offsets."""
    return marks.is_control and not marks.is_transactional


def _control(attributes: int, kind: int, producer_id: int, epoch: int, time_ms: int, *, span: int) -> EncodedBatch:
    """A control batch, whose record has the last of its offsets."""
    number, delta = span - 1 << 1, bytearray()
    while number >= _MORE:
        delta.append(number & _MORE - 1 | _MORE)
        number >>= 7
    delta.append(number)
    record = bytes(2) + delta + _RECORD.pack(_KEY_BYTES << 1, 0, kind, _VALUE_BYTES << 1, 0, 0, 0)
    checked = _CHECKED.pack(attributes, span - 1, time_ms, time_ms, producer_id, epoch, _NO_SEQUENCE, 1)
    checked += bytes([len(record) << 1]) + record
    length = len(checked) + _HEAD.size - 12
    head = _HEAD.pack(0, length, 0, _MAGIC, google_crc32c.value(checked))
    return EncodedBatch(1, span, time_ms, time_ms, head + checked, kind=KAFKA)
