"""Record batches as a client of Kafka's sends them, written plainly, and the way into a log and out of it."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from typing import Any

import google_crc32c

from eventlog.backend.kafka import KafkaAppend, KafkaAppended, KafkaFetch, KafkaFetched
from eventlog.named_tuples import NamedTuple

NOW_MS = 1_790_000_000_000
"""The time of the records, long after the clocks of tests began and before they end."""


class Sent(NamedTuple):
    """A record as a test says it."""

    value: bytes | None
    key: bytes | None = None
    ms: int = NOW_MS
    headers: Sequence[tuple[str, bytes | None]] = ()


def varint(number: int) -> bytes:
    """A number as Kafka writes it."""
    number = number << 1 if number >= 0 else (-number << 1) - 1
    data = bytearray()
    while number > 0x7F:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*data, number])


def field(data: bytes | None) -> bytes:
    """A length and its bytes."""
    return varint(-1) if data is None else varint(len(data)) + data


def record(delta: int, sent: Sent, base_ms: int) -> bytes:
    """One record."""
    body = b"\0" + varint(sent.ms - base_ms) + varint(delta) + field(sent.key) + field(sent.value)
    body += varint(len(sent.headers)) + b"".join(field(name.encode()) + field(one) for name, one in sent.headers)
    return varint(len(body)) + body


def record_batch(
    *sent: Sent | bytes,
    producer: tuple[int, int, int] = (-1, -1, -1),
    compression: int = 0,
    attributes: int = 0,
    **changes: Any,
) -> bytes:
    """
    A record batch whose checksum holds.

    Args:
        producer: id, epoch, and the sequence of the first record.
        compression: 0 or 1, none or gzip; any other with `data`.
        changes: other values than the true ones: `data`, `count`, `last`, `base_ms`, `largest_ms`, `magic`, `longer`.
    """
    rows = [Sent(one) if isinstance(one, bytes) else one for one in sent]
    base_ms = rows[0].ms if rows else NOW_MS
    data = changes.get("data")
    if data is None:
        data = b"".join(record(delta, one, base_ms) for delta, one in enumerate(rows))
        data = gzip.compress(data, mtime=0) if compression else data
    checked = struct.pack(
        ">hiqqqhii",
        attributes | compression,
        changes.get("last", len(rows) - 1),
        changes.get("base_ms", base_ms),
        changes.get("largest_ms", max((one.ms for one in rows), default=NOW_MS)),
        *producer,
        changes.get("count", len(rows)),
    )
    checked += data
    length = len(checked) + 9 + changes.get("longer", 0)
    head = struct.pack(">qiibI", 0, length, -1, changes.get("magic", 2), google_crc32c.value(checked))
    return head + checked


def backend_of(log: Any) -> Any:
    """The waist under a log."""
    return log._store


def produce(log: Any, *parts: tuple[str, int, bytes], latest_ms: int | None = None) -> list[KafkaAppended]:
    """Append batches in one request; the replies."""
    backend = backend_of(log)
    appends = [KafkaAppend(backend.require_topic(topic), partition, data) for topic, partition, data in parts]
    pending = backend.prepare_produce(appends, lambda: None, latest_ms=latest_ms)
    if not pending.is_done:
        backend.submit(pending)
        assert backend.wait(pending, 10.0)
    if pending.error is not None:
        raise pending.error
    return list(pending.replies)


def produce_one(log: Any, data: bytes, topic: str = "orders", partition: int = 0, **options: Any) -> KafkaAppended:
    """Append one batch."""
    (reply,) = produce(log, (topic, partition, data), **options)
    return reply


def producer_id(log: Any) -> int:
    """A new id of an idempotent producer."""
    backend = backend_of(log)
    pending = backend.prepare_producer_id(lambda: None)
    backend.submit(pending)
    assert backend.wait(pending, 10.0)
    if pending.error is not None:
        raise pending.error
    return int(pending.producer_id)


def fetch(
    log: Any, offset: int = 0, topic: str = "orders", partition: int = 0, *, max_bytes: int = 1 << 20
) -> KafkaFetched:
    """What is stored of a partition from an offset on."""
    backend = backend_of(log)
    request = KafkaFetch(backend.require_topic(topic).id, partition, offset, max_bytes)
    (answer,), _ = backend.fetch_stored([request], max_bytes)
    assert isinstance(answer, KafkaFetched)
    return answer
