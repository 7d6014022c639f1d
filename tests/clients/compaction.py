"""What the tests of compaction share: a topic filled at random, and what is left of it."""

from __future__ import annotations

import random
from typing import Any

import eventlog


def write(log: eventlog.EventLog, topic: Any, count: int, chance: random.Random, *, keys: int = 20) -> None:
    """Appends records of some keys, one by one and many at once, with records of another topic between."""
    others = log.topic("others")
    for number in range(count):
        many = chance.choice([1, 1, 1, 5])
        names = [f"k{chance.randrange(keys)}" for _ in range(many)]
        values = [None if chance.random() < 0.2 else f"{number}-{name}" * chance.randrange(1, 30) for name in names]
        headers = [[("n", b"%d" % number)] if chance.random() < 0.2 else None for _ in names]
        partition = chance.randrange(topic.partitions) if chance.random() < 0.3 else None
        topic.append_many(values, keys=names, headers=headers, partition=partition)
        if chance.random() < 0.2:
            others.append(b"x")


def records(log: eventlog.EventLog, name: str) -> list[tuple[int, Any]]:
    """The records of a topic with their positions."""
    return [(position, record) for position, record in log.read_all() if record.topic == name]


def keys_of(topic: Any) -> list[Any]:
    """The keys of an index."""
    return list(topic.keys())


def newest(found: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """The newest of each key and partition."""
    last = {(record.partition, record.key): (position, record) for position, record in found}
    return sorted(last.values(), key=lambda one: one[0])
