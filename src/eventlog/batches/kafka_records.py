"""
The records inside a Kafka record batch, decompressed, as columns.

Whatever is not as it should be is a ValueError that says what; nothing is believed before it is looked at.
Layout: https://kafka.apache.org/documentation/#record.
"""

from __future__ import annotations

from typing import Any, TypeAlias, cast

from eventlog.accelerators import accelerated
from eventlog.batches.header import NO_TIME_MS
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.records import Headers

_LEAST_RECORD_BYTES = 7
"""The bytes of a record without key, value and headers: a length, attributes, two deltas and three lengths."""


class KafkaColumns(NamedTuple):
    """The records of a Kafka record batch, as columns; `deltas` are their offsets less the first."""

    timestamps_ms: list[int]
    keys: tuple[bytes | None, ...]
    values: tuple[bytes | None, ...]
    headers: tuple[Headers, ...]
    deltas: tuple[int, ...]


_Found: TypeAlias = "tuple[list[int], tuple[Any, ...], tuple[Any, ...], tuple[Any, ...], tuple[int, ...]]"


def kafka_columns(
    data: bytes, start: int, stop: int, count: int, *, last_delta: int, base_ms: int, append_ms: int | None
) -> KafkaColumns:
    """
    Return the records in a part of some bytes.

    Args:
        last_delta: the largest that an offset less the first may be.
        append_ms: the time of all records, where it is not that of each.

    Raises:
        ValueError: they are not that many records, or something else is there.
    """
    found = _parse_kafka_records(data, start, stop, count, last_delta, base_ms, append_ms)
    if found is not None:
        return KafkaColumns._make(found)
    try:
        return _parsed(data[start:stop], count, last_delta, base_ms, append_ms)
    except unless_interrupted(IndexError) as error:
        raise ValueError("a record ends outside of them") from error


@accelerated("are_kafka_records")
def are_kafka_records(data: bytes, start: int, stop: int, count: int, last_delta: int, base_ms: int) -> bool:
    """Return whether a part of some bytes is that many records, each of which can be read."""
    try:
        _parsed(data[start:stop], count, last_delta, base_ms, None)
    except unless_interrupted(ValueError, IndexError):
        return False
    return True


@accelerated("parse_kafka_records")
def _parse_kafka_records(
    _data: bytes, _start: int, _stop: int, _count: int, _last_delta: int, _base_ms: int, _append_ms: int | None
) -> _Found | None:
    """
    The columns of the records in a part of some bytes.

    None if something is wrong with them. In Python always None: there `_parsed` reads all, and says what is wrong.
    """
    return None


def _parsed(data: bytes, count: int, last_delta: int, base_ms: int, append_ms: int | None) -> KafkaColumns:
    """The records in these bytes; ValueError or IndexError if they are not what was said."""
    if count < 1 or len(data) < count * _LEAST_RECORD_BYTES:
        raise ValueError(f"{len(data)} bytes are too few for {count} records")
    times: list[int] = []
    keys: list[bytes | None] = []
    values: list[bytes | None] = []
    headers: list[Headers] = []
    deltas: list[int] = []
    at, before = 0, -1
    for _ in range(count):
        length, at = _varint(data, at)
        end = at + length
        if not at < end <= len(data):
            raise ValueError("a record ends outside of them")
        moment, at = _varint(data, at + 1)
        delta, at = _varint(data, at)
        key, at = _bytes(data, at, end)
        value, at = _bytes(data, at, end)
        pairs, at = _headers(data, at, end)
        if at != end or not before < delta <= last_delta:
            raise ValueError("a record has another length or offset than it may have")
        before = delta
        times.append(base_ms + moment if append_ms is None else append_ms)
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
            break
        shift += 7
        if shift > 63:
            raise ValueError("a number has no end")
    if number >> 64:
        raise ValueError("a number has more than 64 bits")
    return (number >> 1) ^ -(number & 1), at


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
    return cast("Headers", tuple(pairs)), at
