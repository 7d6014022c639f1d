"""
Which batches of a topic its retention no longer keeps.

A topic loses whole batches, oldest first: each partition a part of its beginning. A batch goes when any of these holds:

* all of its records are older than the retention;
* the topic has more bytes than `retention_bytes`, and no batch of any partition was stored before it;
* all groups that `until_read_by` names have read it.

Where a batch stays, the rest of its partition stays. The newest timestamp of a batch counts, so a record with a
timestamp in the future keeps what follows it in its partition.
"""

from __future__ import annotations

from heapq import heapify, heappop, heapreplace
from typing import Any

from eventlog.backend.topics import StoredTopic
from eventlog.batches.header import read_header
from eventlog.named_tuples import NamedTuple
from eventlog.store.lmdb.environment import BATCHES, OFFSETS, QUEUES, Environment, Snapshot
from eventlog.store.records.visibility import first_opens_of_topic
from eventlog.store.rows.tables import batch_key, offset_key, split_batch_key, unpack_offset


class Doomed(NamedTuple):
    """A batch that is to go: its partition, the offset behind it, its records, and its size in bytes."""

    partition: int
    end: int
    record_count: int
    stored_bytes: int


class _Head(NamedTuple):
    """The oldest batch of a partition that has not been judged; they are compared by log position."""

    log_position: int
    partition: int
    last: int
    record_count: int
    stored_bytes: int
    largest_ms: int


def doomed_batches(
    environment: Environment, transaction: Snapshot, topic: StoredTopic, now_ms: int, excess_bytes: int, most: int
) -> list[Doomed]:
    """
    The batches of a topic that are to go, oldest first, in one snapshot; `most` at most.

    Args:
        excess_bytes: how many bytes the topic has above its bound.

    Raises:
        CorruptBatch, FormatTooNew: the header of a batch cannot be read.
    """
    retention = topic.retention
    oldest_ms = None if retention.most_ms is None else now_ms - retention.most_ms
    readers = _Readers(environment, transaction, topic)
    opens = first_opens_of_topic(environment, transaction, topic.id)
    found: list[Doomed] = []
    with transaction.cursor(db=environment.table(BATCHES)) as cursor:
        heads = _Heads(cursor, topic.id)
        oldest = heads.all()
        heapify(oldest)
        while oldest and len(found) < most:
            head = oldest[0]
            if opens and head.last >= opens.get(head.partition, head.last + 1):
                heappop(oldest)  # what an open transaction has stored stays, and what lies behind it
            elif excess_bytes > 0 or (oldest_ms is not None and head.largest_ms < oldest_ms) or readers.have_read(head):
                found.append(Doomed(head.partition, head.last + 1, head.record_count, head.stored_bytes))
                excess_bytes -= head.stored_bytes
                following = heads.after(head)
                if following is None:
                    heappop(oldest)
                else:
                    heapreplace(oldest, following)
            else:
                heappop(oldest)
    return found


class _Readers:
    """How far all groups have read that a topic waits for."""

    def __init__(self, environment: Environment, transaction: Snapshot, topic: StoredTopic) -> None:
        self._environment = environment
        self._transaction = transaction
        self._topic_id = topic.id
        self._groups = topic.retention.until_read_by
        self._ends: dict[int, int] = {}

    def have_read(self, head: _Head) -> bool:
        """Whether all of them have committed an offset behind a batch."""
        if not self._groups:
            return False
        end = self._ends.get(head.partition)
        if end is None:
            end = self._ends[head.partition] = min(self._committed(group, head.partition) for group in self._groups)
        return head.last < end

    def _committed(self, group: str, partition: int) -> int:
        row = self._environment.row(self._transaction, OFFSETS, offset_key(group, self._topic_id, partition))
        if row is not None:
            return unpack_offset(row)
        if QUEUES not in self._environment.tables:
            return 0
        from eventlog.store.queues.reader import start_of_group  # few logs have queues

        return start_of_group(self._environment, self._transaction, group, self._topic_id, partition) or 0


class _Heads:
    """The first batches of the partitions of a topic."""

    def __init__(self, cursor: object, topic_id: int) -> None:
        self._cursor: Any = cursor
        self._topic_id = topic_id

    def all(self) -> list[_Head]:
        """The first batch of each partition that has one."""
        heads = []
        partition = 0
        while (head := self._at(batch_key(self._topic_id, partition, 0))) is not None:
            heads.append(head)
            partition = head.partition + 1
        return heads

    def after(self, head: _Head) -> _Head | None:
        """The batch that follows one in its partition."""
        following = self._at(batch_key(self._topic_id, head.partition, head.last + 1))
        return None if following is None or following.partition != head.partition else following

    def _at(self, key: bytes) -> _Head | None:
        cursor = self._cursor
        if not cursor.set_range(key):
            return None
        topic_id, partition, last = split_batch_key(cursor.key())
        if topic_id != self._topic_id:
            return None
        data = cursor.value()
        header = read_header(data, f"the batch of topic id {topic_id}, partition {partition}, up to offset {last}")
        return _Head(header.log_position, partition, last, header.count, len(data), header.largest_ms)
