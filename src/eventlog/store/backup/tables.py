"""
What a backup holds beside batches: the rows of the small tables, and what the batches do not say of an index.

The index of a topic is made again from its records when a log is restored, each key counting from 1. Where records of
a key were deleted that is wrong, so the versions there are copied: of each record that follows one that is gone, and of
each key whose last records are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from eventlog.backend.topics import StoredTopic
from eventlog.named_tuples import NamedTuple
from eventlog.store.lmdb.environment import (
    ALL_TABLES,
    BATCHES,
    FORMAT,
    INDEX,
    MESSAGE_TIMES,
    ORDER,
    PARTITIONS,
    TOPICS,
    Environment,
    Snapshot,
)
from eventlog.store.records.key_rows import split_row_key, unpack_row
from eventlog.store.rows.compaction import COMPACTION_KEY
from eventlog.store.rows.tables import FORMAT_KEY, LOST_RECORDS_KEY, unpack_topic

COPIED = tuple(table for table in ALL_TABLES if table not in {BATCHES, ORDER, INDEX, MESSAGE_TIMES})
"""The tables whose rows are copied as they are, without their checksums; the others are made from what is there."""
_PART_BYTES = 1 << 18

Rows = list[tuple[bytes, bytes]]


class Versions(NamedTuple):
    """
    What the batches do not say of the index.

    `records` has pairs of a log position and the version of the record there; the versions of a key go on from it.
    `keys` has the prefix of a key's rows, its version, and whether any of its records is left.
    """

    records: list[tuple[int, int]]
    keys: list[tuple[bytes, int, bool]]


def copied_rows(environment: Environment, transaction: Snapshot) -> Iterator[tuple[bytes, Rows]]:
    """
    Read the rows of the small tables, some at a time.

    Raises:
        CorruptBatch: a row is damaged.
    """
    for table in COPIED:
        if table not in environment.tables:
            continue
        rows: Rows = []
        size = 0
        with transaction.cursor(db=environment.table(table)) as cursor:
            for key, data in cursor.iternext():
                is_plain = table == FORMAT and key == FORMAT_KEY  # it has its checksum inside of itself
                rows.append((bytes(key), bytes(data if is_plain else environment.value(table, key, data))))
                size += len(rows[-1][0]) + len(rows[-1][1])
                if size >= _PART_BYTES:
                    yield table, rows
                    rows, size = [], 0
        if rows:
            yield table, rows


def stored_topics(environment: Environment, transaction: Snapshot) -> list[StoredTopic]:
    """The topics of a snapshot."""
    with transaction.cursor(db=environment.table(TOPICS)) as cursor:
        return [unpack_topic(name, environment.value(TOPICS, name, data)) for name, data in cursor.iternext()]


def versions_since(
    environment: Environment, transaction: Snapshot, topics: Iterable[StoredTopic], since: int
) -> Iterator[Versions]:
    """Read what the batches from a log position on do not say of the index, some keys at a time."""
    for topic in topics:
        if topic.index is not None and _may_have_lost(environment, transaction, topic):
            yield from _versions_of_topic(environment, transaction, topic.id, since)


def _may_have_lost(environment: Environment, transaction: Snapshot, topic: StoredTopic) -> bool:
    """Whether records of a topic may have been deleted; if not, its records say everything."""
    prefix = topic.id.to_bytes(4, "big")
    if environment.row(transaction, FORMAT, LOST_RECORDS_KEY + prefix):
        return True
    return any(
        _has_row(environment, transaction, table, begin)
        for table, begin in ((PARTITIONS, prefix), (FORMAT, COMPACTION_KEY + prefix))
    )


def _has_row(environment: Environment, transaction: Snapshot, table: bytes, begin: bytes) -> bool:
    with transaction.cursor(db=environment.table(table)) as cursor:
        return bool(cursor.set_range(begin)) and bytes(cursor.key()).startswith(begin)


def _versions_of_topic(
    environment: Environment, transaction: Snapshot, topic_id: int, since: int
) -> Iterator[Versions]:
    topic = topic_id.to_bytes(4, "big")
    found, key_prefix = Versions([], []), b""
    expected, is_known, has_records = 1, True, False
    """The next version of the key, whether the record before it is there, and whether any is."""
    with transaction.cursor(db=environment.table(INDEX)) as cursor:
        is_found = cursor.set_range(topic)
        while is_found:
            key = bytes(cursor.key())
            if key[:4] != topic:
                break
            prefix, version = split_row_key(key)
            if prefix != key_prefix:
                if not is_known:
                    found.keys.append((key_prefix, expected - 1, has_records))
                key_prefix, expected, is_known, has_records = prefix, 1, True, False
            if version != expected:
                is_known = False
            entries = unpack_row(bytes(cursor.value()), "a row of the index")
            for number, entry in enumerate(entries, version):
                if entry is None:
                    is_known = False
                    continue
                if not is_known and entry[3] >= since:
                    found.records.append((entry[3], number))
                is_known = has_records = True
            if not entries:
                is_known = False
            expected = version + len(entries)
            if len(found.records) + len(found.keys) >= _PART_BYTES >> 5:
                yield found
                found = Versions([], [])
            is_found = cursor.next()
    if not is_known:
        found.keys.append((key_prefix, expected - 1, has_records))
    yield found
