"""
Rewriting batches: some neighbouring batches of a partition are replaced by others with the same offsets.

Batches are read in a short snapshot, and merged outside of all locks. `Replacement` looks inside the write transaction
whether they are still what was read, and replaces them in the same commit as their rows in the order of the log, the
entries of the index that go, and the row of the compaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import thread_time

import attrs

from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import decode
from eventlog.batches.header import COMPRESSION_AT, KAFKA_BIT, is_intact
from eventlog.batches.kafka_marks import is_placeholder, kafka_marks
from eventlog.batches.merging import Merged, Source, source_of
from eventlog.store.lmdb.environment import BATCHES, FORMAT, ORDER, PARTITIONS, Environment
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.log_order import (
    END_POSITION_KEY,
    OLD_POSITIONS_KEY,
    order_key,
    position_of,
    runs_of_batch,
)
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.compaction import CompactionRow, compaction_key
from eventlog.store.rows.tables import PartitionRow, batch_key, partition_key, split_batch_key


@attrs.define(eq=False)
class StoredRow:
    """A batch as it was read: its row, and the last positions under which the order leads to it."""

    key: bytes
    data: bytes
    last_positions: list[int]


@attrs.define(eq=False)
class StoredSource(StoredRow):
    """The same, and its records."""

    source: Source


@attrs.frozen
class BatchName:
    """The name of a batch in errors."""

    topic: str
    partition: int
    last: int

    def __str__(self) -> str:
        return f"the batch of {self.topic}[{self.partition}] up to offset {self.last}"


def read_sources(
    environment: Environment, topic: StoredTopic, partition: int, start: int, end: int, most_bytes: int
) -> list[StoredSource]:
    """
    The batches of a partition from the one that holds `start` on, decoded.

    As many as have `most_bytes` together, two at least, and none behind the first that begins at `end` or later. What
    is of a transaction of Kafka's is passed by (`transactions.py`), and nothing behind it goes together with what lies
    before it. A placeholder is a batch without records.

    Raises:
        CorruptBatch, FormatTooNew: one of them cannot be read.
    """
    prefix = partition_key(topic.id, partition)
    rows: list[tuple[bytes, bytes, list[int]]] = []
    runs = []
    with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
        old_end = position_of(environment.row(transaction, FORMAT, OLD_POSITIONS_KEY))
        is_found = cursor.set_range(batch_key(topic.id, partition, start))
        while is_found and (most_bytes > 0 or len(rows) < 2):
            key, data = bytes(cursor.key()), bytes(cursor.value())
            if not key.startswith(prefix) or (rows and split_batch_key(rows[-1][0])[2] >= end):
                break
            if is_of_transaction(data) and not (rows and is_placeholder(kafka_marks(data))):
                if rows:
                    break
                is_found = split_batch_key(key)[2] + 1 < end and cursor.next()
                continue
            found = runs_of_batch(environment, transaction, old_end, key, data)
            runs.append(found)
            rows.append((key, data, [run.end_position - 1 for run in found]))
            most_bytes -= len(data)
            is_found = cursor.next()
    sources = []
    for (key, data, last_positions), found in zip(rows, runs, strict=True):
        last = split_batch_key(key)[2]
        columns = decode(data, BatchName(topic.name, partition, last))
        source = source_of(columns, last, found)
        if is_placeholder(kafka_marks(data)):
            source = Source(source.first, last, source.largest_so_far_ms, source.end_position, (), (), (), (), (), ())
        sources.append(StoredSource(key, data, last_positions, source))
    return sources


def is_of_transaction(data: bytes) -> bool:
    """Whether a batch is a part of a transaction of Kafka's, or a control batch, and is what was written."""
    if not data[COMPRESSION_AT] & KAFKA_BIT:
        return False
    marks = kafka_marks(data)
    return (marks.is_transactional or marks.is_control) and is_intact(data)


class Replacement(CommitRequest):
    """
    The replacement of batches by merged ones.

    `is_stale` says that it changed nothing, because something was not as it was when the batches were read: then
    whoever made it reads again.

    Args:
        dropped: the offsets of the records that go, by their keys; those before the first offset are not among them.
        unseen_count: how many records go that no native reader saw.
        forgotten: the keys of rows in the table of the format that go with them.
    """

    __slots__ = (
        "_dropped",
        "_forgotten",
        "_merged",
        "_partition",
        "_topic",
        "bound_share",
        "dropped_count",
        "is_stale",
        "seconds",
        "sources",
        "stored_bytes",
    )

    def __init__(
        self,
        topic: StoredTopic,
        partition: int,
        sources: Sequence[StoredRow],
        merged: Sequence[Merged],
        dropped: Mapping[bytes, set[int]],
        *,
        unseen_count: int = 0,
        forgotten: Sequence[bytes] = (),
    ) -> None:
        super().__init__()
        self._topic = topic
        self._partition = partition
        self.sources = sources
        rows = [(one, batch_key(topic.id, partition, one.last)) for one in merged]
        self._merged = [(key, one.sealed(key), one.last_positions) for one, key in rows]
        self._dropped = dropped
        self.dropped_count = sum(map(len, dropped.values())) + unseen_count
        self._forgotten = forgotten
        self.bound_share = 1.0 if self.dropped_count else 0.5  # a full log is compacted as it is trimmed
        self.is_stale = False
        self.seconds = 0.0
        """
        How long it worked in the write transaction.

        Without the waits for the interpreter's lock, which other threads of this process make long: smaller slices and
        longer rests would make them no shorter, and a busy process would never be through.
        """
        self.stored_bytes = sum(len(data) for _, data, _ in self._merged)

    def apply(self, writing: WriteTransaction) -> None:
        """Look, then write."""
        began_s = thread_time()
        stored = writing.check_topic(self._topic)
        batches = writing.table(BATCHES)
        self.is_stale = stored.compaction != self._topic.compaction or any(
            writing.transaction.get(one.key, db=batches) != one.data for one in self.sources
        )
        if self.is_stale:
            return
        end, largest_ms = writing.partition_end(self._topic.id, self._partition)
        writing.put(FORMAT, END_POSITION_KEY, order_key(writing.end_log_position()))
        self._replace(writing)
        for key in self._forgotten:
            writing.delete(FORMAT, key)
        if self.dropped_count:
            self._note(writing, end, largest_ms)
        self.seconds = thread_time() - began_s

    def _replace(self, writing: WriteTransaction) -> None:
        kept_keys = {key for key, _, _ in self._merged}
        kept_positions = {position for _, _, positions in self._merged for position in positions}
        for one in self.sources:
            if one.key not in kept_keys:
                writing.delete(BATCHES, one.key)
            for position in one.last_positions:
                if position not in kept_positions:
                    writing.delete(ORDER, order_key(position))
        for key, data, positions in self._merged:
            writing.put(BATCHES, key, data)
            for position in positions:
                writing.put(ORDER, order_key(position), key)

    def _note(self, writing: WriteTransaction, end: int, largest_ms: int) -> None:
        """Take the dropped records out of the index, and count them."""
        topic_id, partition = self._topic.id, self._partition
        if self._topic.index is not None:
            from eventlog.store.records.key_rows import entity_prefix

            for key, offsets in self._dropped.items():
                writing.index.delete_offsets(writing.transaction, entity_prefix(topic_id, key), partition, offsets)
            place = partition_key(topic_id, partition)
            first = PartitionRow.unpack(writing.get(PARTITIONS, place)).first
            writing.put(PARTITIONS, place, PartitionRow(first, end, largest_ms).pack())
        name = compaction_key(topic_id, partition)
        row = CompactionRow.unpack(writing.get(FORMAT, name))
        row = row._replace(dropped_count=row.dropped_count + self.dropped_count)
        writing.put(FORMAT, name, row.pack())


class FinishRound(CommitRequest):
    """The end of a round of compaction: its partition is clean up to an offset."""

    __slots__ = ("_end", "_now_ms", "_partition", "_stored_bytes", "_tombstones", "_topic")
    bound_share = 1.0

    def __init__(
        self, topic: StoredTopic, partition: int, end: int, stored_bytes: int, tombstones: Sequence[int], now_ms: int
    ) -> None:
        super().__init__()
        self._topic = topic
        self._partition = partition
        self._end = end
        self._stored_bytes = stored_bytes
        self._tombstones = tombstones
        self._now_ms = now_ms

    def apply(self, writing: WriteTransaction) -> None:
        """Write the row."""
        writing.check_topic(self._topic)
        name = compaction_key(self._topic.id, self._partition)
        row = CompactionRow.unpack(writing.get(FORMAT, name))
        tombstone_ms = self._topic.compaction.tombstone_ms
        row = row.after_round(self._end, self._stored_bytes, self._tombstones, self._now_ms, tombstone_ms)
        writing.put(FORMAT, name, row.pack())
