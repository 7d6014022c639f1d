"""Record batches as a client builds them, right and wrong, and as a reader takes them apart."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import google_crc32c

from eventlog.kafka import protocol

_HEADER = struct.Struct(">qiibIhiqqqhii")
_BEFORE_CRC = 21
TIME = 1_700_000_000_000
"""When the records of the scripts are from."""

GZIP = 1
TRANSACTIONAL = 0x10
CONTROL = 0x20


def varint(value: int) -> bytes:
    """A number as records have it: zigzag, seven bits in a byte."""
    value = (value << 1) ^ (value >> 63)
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(data: bytes | None) -> bytes:
    return varint(-1) if data is None else varint(len(data)) + data


def record(
    delta: int, value: bytes | None, *, key: bytes | None = None, headers: Sequence[tuple[str, bytes | None]] = ()
) -> bytes:
    """One record; it is one millisecond later than the one before it."""
    inside = b"\0" + varint(delta) + varint(delta) + _field(key) + _field(value) + varint(len(headers))
    inside += b"".join(_field(name.encode()) + _field(data) for name, data in headers)
    return varint(len(inside)) + inside


def batch(
    *values: bytes | None,
    records: bytes | None = None,
    count: int | None = None,
    last_delta: int | None = None,
    base_offset: int = 0,
    leader_epoch: int = -1,
    magic: int = 2,
    attributes: int = 0,
    time: int = TIME,
    last_time: int | None = None,
    producer: tuple[int, int, int] = (-1, -1, -1),
    spoil_crc: bool = False,
    length: int | None = None,
) -> bytes:
    """
    A record batch of some values, or of the bytes `records`, and any of its header's fields as a script wants it.

    Args:
        producer: id, epoch and first sequence.
    """
    number = len(values) if count is None else count
    body = b"".join(record(at, value) for at, value in enumerate(values)) if records is None else records
    if attributes & 7 == GZIP:
        body = gzip.compress(body, mtime=0)
    last = number - 1 if last_delta is None else last_delta
    until = time + max(last, 0) if last_time is None else last_time
    after = struct.pack(">hiqqqhii", attributes, last, time, until, *producer, number) + body
    crc = google_crc32c.value(after) ^ (1 if spoil_crc else 0)
    size = _HEADER.size - 12 + len(body) if length is None else length
    return struct.pack(">qiibI", base_offset, size, leader_epoch, magic, crc) + after


def taken_apart(data: bytes) -> list[dict[str, Any]]:
    """The batches of an answer, field by field; what is not a whole batch is told by its length."""
    return list(_batches(data))


def _batches(data: bytes) -> Iterator[dict[str, Any]]:
    at = 0
    while at < len(data):
        if len(data) - at < _HEADER.size:
            yield {"bytes_of_no_batch": len(data) - at}
            return
        fields = _HEADER.unpack_from(data, at)
        end = at + 12 + fields[1]
        if end > len(data):
            yield {"bytes_of_no_batch": len(data) - at}
            return
        yield _batch(fields, data[at + _BEFORE_CRC : end], data[at + _HEADER.size : end])
        at = end


def _batch(fields: tuple[int, ...], summed: bytes, body: bytes) -> dict[str, Any]:
    base_offset, _, epoch, magic, crc, attributes, last = fields[:7]
    first_ms, last_ms, producer, producer_epoch, sequence, count = fields[7:]
    told: dict[str, Any] = {
        "base_offset": base_offset,
        "leader_epoch": epoch,
        "magic": magic,
        "is_crc_right": google_crc32c.value(summed) == crc,
        "attributes": attributes,
        "last_offset_delta": last,
        "base_timestamp": first_ms,
        "max_timestamp": last_ms,
        "producer_id": producer,
        "producer_epoch": producer_epoch,
        "base_sequence": sequence,
        "count": count,
        "body": body.hex(),
    }
    if attributes & CONTROL:
        told["control"] = _control(body)
    return told


def _control(body: bytes) -> dict[str, Any]:
    """The one record of a control batch; its lengths are below 64, so each is one byte."""
    key_size = body[4] >> 1
    key = body[5 : 5 + key_size]
    value_size = body[5 + key_size] >> 1
    value = body[6 + key_size : 6 + key_size + value_size]
    version, kind = struct.unpack(">hh", key)
    (marker_version,) = struct.unpack_from(">h", value)
    marker = protocol.codec("EndTxnMarker", marker_version).decode(value, 2)
    return {"key_version": version, "type": kind, "marker_version": marker_version, **marker}
