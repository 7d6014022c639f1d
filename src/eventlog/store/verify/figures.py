"""
The figures of a log: what is stored of each topic, and what the file and the commits look like.

The sizes of batches are in the leaves of the tree, so no batch is read, but for the headers of those of a compacted
topic, whose offsets do not tell how many records there are. The table is walked in parts, each in a short
read transaction of its own, so that writers use freed pages meanwhile and a fork need not wait.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import islice

from eventlog.backend.maintenance import LogStats, ReaderStats, TopicStats
from eventlog.batches.format import decode
from eventlog.batches.header import read_header
from eventlog.errors import EventLogError
from eventlog.interruptions import suppress
from eventlog.store.lmdb.environment import BATCHES, FORMAT, PARTITIONS, TOPICS, Environment
from eventlog.store.lmdb.usage import usage_of
from eventlog.store.records.reader import bounds_within
from eventlog.store.rows.compaction import COMPACTION_KEY
from eventlog.store.rows.tables import PartitionRow, split_batch_key, unpack_topic

_PART_ROWS = 10_000


def count(environment: Environment, uncleaned: tuple[str, ...]) -> LogStats:
    """Count what is stored; `uncleaned` is what a cleaner could not clean."""
    sizes = _sizes(environment)
    counts = _counts(environment)
    topics = []
    with environment.reading() as transaction, transaction.cursor(db=environment.table(TOPICS)) as cursor:
        for topic in [unpack_topic(name, environment.value(TOPICS, name, data)) for name, data in cursor.iternext()]:
            places = [(topic.id, number) for number in range(topic.partitions)]
            bounds = bounds_within(environment, transaction, places)
            batch_count, stored_bytes = sizes.get(topic.id, (0, 0))
            record_count = counts.get(topic.id)
            if record_count is None:
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
        uncleaned=uncleaned,
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


def _counts(environment: Environment) -> dict[int, int]:
    """The number of readable records of each compacted topic, by its id."""
    with environment.reading() as transaction, transaction.cursor(db=environment.table(FORMAT)) as cursor:
        counts: dict[int, int] = {}
        is_found = cursor.set_range(COMPACTION_KEY)
        while is_found and bytes(key := cursor.key()).startswith(COMPACTION_KEY):
            counts[int.from_bytes(key[len(COMPACTION_KEY) :][:4], "big")] = 0
            is_found = cursor.next()
    for topic_id, record_count in counts.items():
        start = topic_id.to_bytes(4, "big")
        while start:
            record_count, start = _counted(environment, topic_id, record_count, start)
        counts[topic_id] = record_count
    return counts


def _counted(environment: Environment, topic_id: int, record_count: int, start: bytes) -> tuple[int, bytes]:
    """The count with the records of some more batches, and the key to go on with, if there are more."""
    firsts: dict[bytes, int] = {}
    key = start
    with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
        is_found, rows = cursor.set_range(start), 0
        while is_found and rows < _PART_ROWS:
            key, data = bytes(cursor.key()), cursor.value()
            if int.from_bytes(key[:4], "big") != topic_id:
                return record_count, b""
            if key[:8] not in firsts:
                firsts[key[:8]] = PartitionRow.unpack(environment.row(transaction, PARTITIONS, key[:8])).first
            with suppress(EventLogError):  # a damaged batch has no records that can be read
                last, header = split_batch_key(key)[2], read_header(data, "a batch")
                record_count += header.count
                if last - header.span + 1 < firsts[key[:8]]:
                    offsets = decode(bytes(data), "a batch").offsets(last)
                    record_count -= bisect_left(offsets, firsts[key[:8]])
            rows += 1
            is_found = cursor.next()
    return record_count, key + b"\0" if is_found else b""
