"""
The walk over the rows of a table, and the snapshot that a check reads.

`walk` reads a table in parts, each in a short read transaction of its own, so that writers may go on and a fork need
not wait. Inside one part all tables are of the same commit, so they must agree.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import msgpack

from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import Columns, decode
from eventlog.errors import CorruptBatch, EventLogError, MissingLibrary
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.lmdb.environment import (
    BATCHES,
    FORMAT,
    INDEX,
    MESSAGE_TIMES,
    MESSAGES,
    PARTITIONS,
    SNAPSHOTS,
    TOPICS,
    Environment,
    Snapshot,
)
from eventlog.store.records.emptying import left_rows
from eventlog.store.records.log_order import end_log_position, position_of
from eventlog.store.records.reader import bounds_within
from eventlog.store.rows.compaction import COMPACTION_KEY, CompactionRow, compaction_key
from eventlog.store.rows.packing import LARGEST, NOT_A_ROW
from eventlog.store.rows.tables import (
    FORMAT_KEY,
    KEYLESS_KEY,
    LOST_RECORDS_KEY,
    TOPIC_ROWS,
    PartitionRow,
    batch_key,
    split_batch_key,
    unpack_count,
    unpack_topic,
)

_ROWS_OF_TOPICS = {BATCHES, PARTITIONS, INDEX, SNAPSHOTS, MESSAGES, MESSAGE_TIMES}
"""Tables whose keys begin with the id of a topic: what a deletion has left there is not checked."""
UNREADABLE = (EventLogError, *NOT_A_ROW, UnicodeDecodeError, struct.error, msgpack.UnpackException)
"""Errors of reading a row that is not what was written."""


def said(error: BaseException) -> str:
    """Return what an error says is wrong, without its advice: the reader of a report does not need it."""
    return error.what if isinstance(error, EventLogError) else f"{error}"


_PART_BYTES = 1 << 20
_ROW_BYTES = 64
"""Added to the bytes of each row, so that a part of many small rows is short too."""
_MOST_PROBLEMS = 1000


class Problems:
    """The problems found by a verification: the first thousand are kept, the others counted."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self.count = 0

    def add(self, line: str) -> None:
        """Add a problem."""
        self.count += 1
        if len(self._lines) < _MOST_PROBLEMS:
            self._lines.append(line)

    @property
    def is_full(self) -> bool:
        """Whether further problems are only counted."""
        return self.count >= _MOST_PROBLEMS

    def lines(self) -> tuple[str, ...]:
        """Return one line for each problem, and one with the number of those left out."""
        left = self.count - len(self._lines)
        return (*self._lines, *([f"and {left} more problems."] if left else ()))


class BatchCache:
    """A cache of the batches decoded last; a batch never changes, so they may outlive a snapshot."""

    _MOST = 64

    def __init__(self) -> None:
        self._columns: OrderedDict[bytes, Columns | None] = OrderedDict()

    def columns(self, key: bytes, data: bytes) -> Columns | None:
        """Return the columns of a batch; None if it is damaged."""
        if key in self._columns:
            self._columns.move_to_end(key)
            return self._columns[key]
        columns: Columns | None = None
        try:
            columns = decode(data, "a batch")
        except unless_interrupted(MissingLibrary):
            raise
        except unless_interrupted(EventLogError):
            pass  # reported by the check of the batches
        self._columns[key] = columns
        if len(self._columns) > self._MOST:
            self._columns.popitem(last=False)
        return columns


class SnapshotReader:
    """One snapshot of the log, with a cache of its topics and bounds."""

    def __init__(self, environment: Environment, transaction: Snapshot, cache: BatchCache) -> None:
        self.environment = environment
        self.transaction = transaction
        self._cache = cache
        self._topics: dict[int, StoredTopic] | None = None
        self._bounds: dict[tuple[int, int], tuple[int, int]] = {}
        self._left: set[tuple[bytes, int]] | None = None

    def has_left(self, kind: bytes, number: int) -> bool:
        """Whether a deletion has left rows of this kind, of a topic or a state with this id."""
        if self._left is None:
            self._left = left_rows(self.environment, self.transaction)
        return (kind, number) in self._left

    def is_left_of_topic(self, key: bytes) -> bool:
        """Whether a deletion has left this row, whose key begins with the id of its topic."""
        topic_id = int.from_bytes(key[:4], "big")
        return self.has_left(TOPIC_ROWS, topic_id) and self.topic(topic_id) is None

    def get(self, table: bytes, key: bytes) -> bytes | None:
        """Return the value of a row, or None; also if its checksum is wrong, which the check of its table reports."""
        try:
            data = self.environment.row(self.transaction, table, key)
        except unless_interrupted(CorruptBatch):
            return None
        return None if data is None else bytes(data)

    def log_position(self, name: bytes) -> int | None:
        """Return a log position from the format table: 0 if there is no such row, None if it is damaged."""
        try:
            return position_of(self.environment.row(self.transaction, FORMAT, name))
        except unless_interrupted(*UNREADABLE):
            return None  # reported by the check of that table

    def topic(self, topic_id: int) -> StoredTopic | None:
        """Return the topic with an id; None if there is none, or its row is damaged."""
        if self._topics is None:
            self._topics = {}
            with self.transaction.cursor(db=self.environment.table(TOPICS)) as cursor:
                for name, data in cursor.iternext():
                    try:
                        row = unpack_topic(name, self.environment.value(TOPICS, name, data))
                    except unless_interrupted(*UNREADABLE):
                        continue  # reported by the check of the topics
                    self._topics[row.id] = row
        return self._topics.get(topic_id)

    def bounds(self, topic_id: int, partition: int) -> tuple[int, int]:
        """
        Return the first readable offset of a partition, and its end.

        All offsets if its row is damaged, or its last batch has an impossible key: others report these.
        """
        place = (topic_id, partition)
        found = self._bounds.get(place)
        if found is None:
            try:
                [found] = bounds_within(self.environment, self.transaction, [place])
            except unless_interrupted(*UNREADABLE):
                found = (0, LARGEST)
            self._bounds[place] = found
        return found

    def end_position(self) -> int:
        """Return the position of the next record; the largest if a row that says so is damaged."""
        try:
            return end_log_position(self.environment, self.transaction)
        except unless_interrupted(*UNREADABLE):
            return LARGEST

    def deleted_count(self, topic_id: int) -> int:
        """Return the number of records with a key that a topic has lost: deleted, compacted or damaged; or more."""
        prefix = topic_id.to_bytes(4, "big")
        count = 0
        with suppress(*UNREADABLE):  # reported by the check of the format, as the next
            count = unpack_count(self.get(FORMAT, LOST_RECORDS_KEY + prefix), "lost records")
        with suppress(*UNREADABLE):
            count -= unpack_count(self.get(FORMAT, KEYLESS_KEY + prefix), "records without a key")  # without versions
        with self.transaction.cursor(db=self.environment.table(PARTITIONS)) as cursor:
            is_found = cursor.set_range(prefix)
            while is_found and bytes(cursor.key()).startswith(prefix):
                with suppress(*UNREADABLE):  # reported by the check of that table
                    count += PartitionRow.unpack(self.environment.value(PARTITIONS, *cursor.item())).first
                is_found = cursor.next()
        with self.transaction.cursor(db=self.environment.table(FORMAT)) as cursor:
            is_found = cursor.set_range(COMPACTION_KEY + prefix)
            while is_found and bytes(cursor.key()).startswith(COMPACTION_KEY + prefix):
                with suppress(*UNREADABLE):
                    count += CompactionRow.unpack(self.environment.value(FORMAT, *cursor.item())).dropped_count
                is_found = cursor.next()
        return count

    def is_compacted(self, topic_id: int, partition: int) -> bool:
        """Whether compaction has dropped records of a partition."""
        try:
            return CompactionRow.unpack(self.get(FORMAT, compaction_key(topic_id, partition))).dropped_count > 0
        except unless_interrupted(*UNREADABLE):
            return True

    def batch(self, topic_id: int, partition: int, offset: int) -> tuple[int, Columns | None] | None:
        """
        Return the last offset and the columns of the batch that would hold an offset; None if there is none.

        The columns are None if the batch is damaged.
        """
        with self.transaction.cursor(db=self.environment.table(BATCHES)) as cursor:
            if not cursor.set_range(batch_key(topic_id, partition, offset)):
                return None
            key, data = bytes(cursor.key()), bytes(cursor.value())
        stored_topic, stored_partition, last = split_batch_key(key)
        if (stored_topic, stored_partition) != (topic_id, partition):
            return None
        return last, self._cache.columns(key, data)


class Check(Protocol):
    """The check of one table, which `walk` calls for every row."""

    def row(self, snapshot: SnapshotReader, key: bytes, data: bytes, /) -> None:
        """Check one row; may raise one of `UNREADABLE`, whose text becomes the report."""
        ...

    def unreadable(self, key: bytes, error: BaseException, /) -> None:
        """Report a row that `row` could not read."""
        ...


def walk(
    environment: Environment,
    table: bytes,
    check: Check,
    *,
    cache: BatchCache,
    prefix: bytes = b"",
    tick: Callable[[], object] = bool,
) -> None:
    """
    Call `check.row` for every row of a table whose key begins with `prefix`, in the order of the keys.

    Args:
        tick: called between two parts, outside of transactions.
    """
    start = prefix
    is_found = True
    while is_found:
        left_bytes = _PART_BYTES
        with environment.reading() as transaction, transaction.cursor(db=environment.table(table)) as cursor:
            snapshot = SnapshotReader(environment, transaction, cache)
            is_found = cursor.set_range(start) if start else cursor.first()
            while is_found and left_bytes > 0:
                key = bytes(cursor.key())
                if not key.startswith(prefix):
                    is_found = False
                    break
                data = bytes(cursor.value())
                left_bytes -= len(data) + len(key) + _ROW_BYTES
                try:
                    if not (table in _ROWS_OF_TOPICS and snapshot.is_left_of_topic(key)):
                        if table != FORMAT or key != FORMAT_KEY:  # it is read as it is, by every format
                            data = bytes(environment.value(table, key, data))
                        check.row(snapshot, key, data)
                except unless_interrupted(MissingLibrary):  # nobody can tell whether it is damaged
                    raise
                except unless_interrupted(*UNREADABLE) as error:
                    check.unreadable(key, error)
                start = key + b"\0"
                is_found = cursor.next()
        tick()
