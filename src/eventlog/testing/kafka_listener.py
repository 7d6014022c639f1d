"""A Kafka listener over a log under test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from eventlog.api.event_log import EventLog

if TYPE_CHECKING:  # what it needs is imported by the first test that has one
    from eventlog.kafka import Listener


def kafka(
    log: EventLog, *, topics: Iterable[str] | Mapping[str, int | None] = (), partitions: int = 1, **options: Any
) -> Listener:
    """
    Listen for Kafka clients over a log under test; the fixture `kafka_listener`.

    Close what is returned, or use it in a `with` block, before the log is closed.

    Args:
        topics: made first: names, or names with their counts of partitions.
        partitions: the count where none is said, and that of topics which clients make by asking for them.
        options: those of `eventlog.kafka.listen`.

    Example:
        >>> from eventlog import testing
        >>> with testing.open() as log, testing.kafka(log, topics={"orders": 8}) as kafka:
        ...     log.topic("orders").partitions, kafka.host
        (8, '127.0.0.1')
    """
    from eventlog.kafka import listen

    counts = topics if isinstance(topics, Mapping) else dict.fromkeys(topics)
    for name, count in counts.items():
        log.topic(name, partitions=count or partitions)
    return listen(log, partitions=partitions, **options)
