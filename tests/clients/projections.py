"""What the tests of projections share: records of three keys, functions that count them, and runs in threads."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import eventlog
from tests.clients.helpers import PATIENCE_SECONDS

KEYS = ("alice", "bob", "carol")


def count(state: Any, record: Any) -> None:
    """Counts the records of each key."""
    state[record.key] = state.get(record.key, 0) + 1


def count_from_hundred(state: Any, record: Any) -> None:
    """Counts otherwise, so that one sees which function folded."""
    state[record.key] = state.get(record.key, 100) + 1


def filled(log: eventlog.EventLog, records: int) -> eventlog.Topic[Any, Any]:
    """A topic with some records, of three keys in turn, in batches of ten at most."""
    topic = log.topic("orders", key=str, value=int)
    for first in range(0, records, 10):
        numbers = range(first, min(first + 10, records))
        topic.append_many(numbers, keys=[KEYS[number % 3] for number in numbers])
    return topic


def counted(records: int) -> dict[str, int]:
    """What `count` makes of these records."""
    totals = {key: len(range(place, records, 3)) for place, key in enumerate(KEYS)}
    return {key: total for key, total in totals.items() if total}


@contextmanager
def started(projection: eventlog.Projection) -> Iterator[eventlog.Projection]:
    """Runs a projection in a thread of its own, until the block ends."""
    thread = threading.Thread(target=projection.run, daemon=True)
    thread.start()
    try:
        yield projection
    finally:
        projection.stop()
        thread.join(PATIENCE_SECONDS)
        assert not thread.is_alive(), "stop() ends run()"
