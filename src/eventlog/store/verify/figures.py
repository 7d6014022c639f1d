"""
The figures of a log: what is stored of each topic, and what the file and the commits look like.

The sizes of batches are in the leaves of the tree, so no batch is read. The table is walked in parts, each in a short
read transaction of its own, so that writers use freed pages meanwhile and a fork need not wait.
"""

from __future__ import annotations

from itertools import islice

from eventlog.backend.maintenance import LogStats, ReaderStats, TopicStats
from eventlog.store.lmdb.environment import BATCHES, TOPICS, Environment
from eventlog.store.lmdb.usage import usage_of
from eventlog.store.records.reader import bounds_within
from eventlog.store.rows.tables import unpack_topic

_PART_ROWS = 10_000


def count(environment: Environment) -> LogStats:
    """Count what is stored."""
    sizes = _sizes(environment)
    topics = []
    with environment.reading() as transaction, transaction.cursor(db=environment.table(TOPICS)) as cursor:
        for topic in [unpack_topic(name, environment.value(TOPICS, name, data)) for name, data in cursor.iternext()]:
            places = [(topic.id, number) for number in range(topic.partitions)]
            bounds = bounds_within(environment, transaction, places)
            batch_count, stored_bytes = sizes.get(topic.id, (0, 0))
            record_count = sum(end - first for first, end in bounds)
            topics.append(TopicStats(topic.name, topic.partitions, record_count, batch_count, stored_bytes))
    usage = usage_of(environment)
    return LogStats(
        topics=tuple(topics),
        page_bytes=usage.page_bytes,
        file_bytes=usage.end_page * usage.page_bytes,
        used_bytes=usage.used_pages * usage.page_bytes,
        commit_number=usage.commit_number,
        commit_count=environment.commit_count,
        commit_s=environment.commit_s,
        longest_commit_s=environment.longest_commit_s,
        readers=tuple(ReaderStats(process_id, commits_behind) for process_id, commits_behind in usage.readers),
    )


def _sizes(environment: Environment) -> dict[int, tuple[int, int]]:
    """The number of batches of each topic, by its id, and their bytes."""
    sizes: dict[int, tuple[int, int]] = {}
    start = b""
    while True:
        with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
            if not (cursor.set_range(start) if start else cursor.first()):
                return sizes
            rows, key = 0, memoryview(b"")
            for key, data in islice(cursor.iternext(), _PART_ROWS):
                topic_id = int.from_bytes(key[:4], "big")
                batch_count, stored_bytes = sizes.get(topic_id, (0, 0))
                sizes[topic_id] = batch_count + 1, stored_bytes + len(data)
                rows += 1
            if rows < _PART_ROWS:
                return sizes
            start = bytes(key) + b"\0"
