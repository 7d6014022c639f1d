"""More partitions while a transaction places its records."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import eventlog

_DURING: list[Callable[[], object]] = []
"""What is done, once, while the next record is placed."""


def interfered(key: bytes, count: int) -> int:
    """A partitioner during which something happens."""
    if _DURING:
        _DURING.pop()()
    return crc32(key) % count


def test_records_go_by_the_new_number_of_partitions(log: eventlog.EventLog) -> None:
    """All of them, whenever in the commit another thread of the process learned of it."""
    topic = log.topic("orders", key=str, value=int, partitions=2, partitioner=interfered)
    keys = [f"key-{number}" for number in range(16)]
    tx = log.transaction()
    sent = [tx.send(topic, number, key=key) for number, key in enumerate(keys)]
    _DURING.append(lambda: topic.create_partitions(8))
    tx.commit()
    assert [delivery.result().partition for delivery in sent] == [crc32(key.encode()) % 8 for key in keys]
    assert log.verify().problems == ()
