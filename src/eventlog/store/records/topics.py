"""
The commands about topics: create a topic, add partitions, delete a topic, delete records.

Each is one `CommitRequest`, which checks first and then writes, inside the transaction of its round. Appends are in
`append.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import thread_time
from uuid import uuid4

from eventlog.backend.topics import NewTopic, StoredTopic, TopicChanges, unknown_topic
from eventlog.errors import FormatTooOld, OffsetOutOfRange
from eventlog.options import UNCHANGED
from eventlog.store.lmdb.environment import (
    FORMAT,
    PARTITIONS,
    TOPICS,
)
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.packing import damaged
from eventlog.store.rows.tables import (
    KAFKA_ABORTED_KEY,
    KEYLESS_KEY,
    NEXT_TOPIC_ID_KEY,
    RECORD_ROWS,
    TOPIC_ROWS,
    TOPICS_VERSION_KEY,
    PartitionRow,
    altered,
    batch_key,
    left_rows_key,
    next_id,
    pack_topic,
    pack_topics_version,
    partition_key,
    repartitioned,
    unpack_count,
    unpack_topic,
    unpack_topics_version,
)


class EnsureTopic(CommitRequest):
    """Creates a topic unless it exists; `topic` is the stored one in both cases."""

    __slots__ = ("_new", "_now_ms", "topic")

    def __init__(self, new: NewTopic, now_ms: int) -> None:
        super().__init__()
        self._new = new
        self._now_ms = now_ms
        self.topic: StoredTopic | None = None

    def apply(self, writing: WriteTransaction) -> None:
        """Store the topic under the next id, which no other topic ever had."""
        name = self._new.name.encode()
        stored = writing.get(TOPICS, name)
        if stored is not None:
            self.topic = unpack_topic(name, stored)
            return
        _check_compression(writing, self._new.name, self._new.compression)
        if self._new.compaction.is_on:
            check_rewriting(writing, self._new.name)
        number = next_id(writing.get(FORMAT, NEXT_TOPIC_ID_KEY), "topic", size_bytes=4)
        fields = self._new._asdict()
        self.topic = StoredTopic(id=number, uuid=uuid4(), created_ms=self._now_ms, **fields)
        _raise_topics_version(writing)
        writing.put(TOPICS, name, pack_topic(self.topic))
        writing.put(FORMAT, NEXT_TOPIC_ID_KEY, (number + 1).to_bytes(4, "big"))


def _check_compression(writing: WriteTransaction, topic: str, compression: str | None) -> None:
    """Raise `FormatTooOld` if batches of this log cannot be compressed."""
    if isinstance(compression, str) and writing.environment.seal is None:
        path = writing.environment.path
        raise FormatTooOld(
            f"cannot compress topic {topic!r}: the log at {path} has format 3, which has no compressed batches.",
            stored="Nothing was changed.",
            advice=f"Close it in all programs, and run `eventlog upgrade {path}`, or open it with upgrade=True.",
            topic=topic,
        )


def check_rewriting(writing: WriteTransaction, name: str) -> None:
    """Raise `FormatTooOld` if the log is of a format whose batches cannot be merged."""
    if writing.environment.seal is None:
        raise FormatTooOld(
            f"cannot compact or repack topic {name!r}: the log has format 3, and only from format 4 on a batch knows "
            "the positions of records that were stored apart.",
            stored="Nothing was changed.",
            advice="Close it in all programs and run `eventlog upgrade` on it, or open it with upgrade=True.",
            topic=name,
        )


class CreatePartitions(CommitRequest):
    """
    Raises the number of partitions of a topic to `total`; afterwards `topic` is the stored one.

    Changes nothing if the topic has as many or more.
    """

    __slots__ = ("_asked", "_total", "topic")

    def __init__(self, topic: StoredTopic, total: int) -> None:
        super().__init__()
        self._asked = topic
        self._total = total
        self.topic = topic

    def apply(self, writing: WriteTransaction) -> None:
        """Write the topic's row again; partitions without records have no row."""
        self.topic = writing.check_topic(self._asked)
        if self.topic.partitions >= self._total:
            return
        name = self._asked.name.encode()
        row = repartitioned(_stored_row(writing, name), self._total)
        self.topic = unpack_topic(name, row)
        _raise_topics_version(writing)
        writing.put(TOPICS, name, row)
        writing.forget_topics()


class AlterTopic(CommitRequest):
    """Gives a topic other options; afterwards `topic` is the stored one."""

    __slots__ = ("_asked", "_changes", "topic")
    bound_share = 1.0

    def __init__(self, topic: StoredTopic, changes: TopicChanges) -> None:
        super().__init__()
        self._asked = topic
        self._changes = changes
        self.topic = topic

    def apply(self, writing: WriteTransaction) -> None:
        """Write the topic's row again."""
        writing.check_topic(self._asked)
        _check_compression(writing, self._asked.name, self._changes.compression)
        if self._changes.compaction is not UNCHANGED and self._changes.compaction.is_on:
            check_rewriting(writing, self._asked.name)
        name = self._asked.name.encode()
        row = altered(_stored_row(writing, name), self._changes)
        self.topic = unpack_topic(name, row)
        _raise_topics_version(writing)
        writing.put(TOPICS, name, row)
        writing.forget_topics()


class DeleteTopic(CommitRequest):
    """Deletes a topic with its records and all committed offsets of it; in steps it only notes what is left to do."""

    __slots__ = ("_in_steps", "_name", "reserve_share")
    bound_share = 1.0

    def __init__(self, name: str, *, in_steps: bool = False) -> None:
        super().__init__()
        self._name = name
        self._in_steps = in_steps
        self.reserve_share = float(in_steps)

    def apply(self, writing: WriteTransaction) -> None:
        """Delete all rows with the topic's id."""
        stored = writing.get(TOPICS, self._name.encode())
        if stored is None:
            raise unknown_topic(self._name)
        topic = unpack_topic(self._name.encode(), stored)
        _raise_topics_version(writing)
        writing.delete(TOPICS, self._name.encode())
        if self._in_steps:
            writing.put(FORMAT, left_rows_key(TOPIC_ROWS, topic.id), b"")
        else:
            from eventlog.store.records.emptying import empty_topic  # which `delete_topic` has loaded

            empty_topic(writing, topic.id)
        writing.forget_learned()


class DeleteRecords(CommitRequest):
    """Raises the first offsets of partitions, and deletes the batches below them; in steps it only notes that."""

    __slots__ = ("_before", "_in_steps", "_topic", "reserve_share", "seconds")
    bound_share = 1.0

    def __init__(self, topic: StoredTopic, before: Mapping[int, int], *, in_steps: bool = False) -> None:
        super().__init__()
        self._topic = topic
        self._in_steps = in_steps
        self.reserve_share = float(in_steps)
        self._before = dict(before)
        self.seconds = 0.0
        """How long it worked in the write transaction, without the waits for the interpreter's lock."""

    def apply(self, writing: WriteTransaction) -> None:
        """Check every partition, then delete."""
        began_s = thread_time()
        writing.check_topic(self._topic)
        rows = {partition: self._checked(writing, partition) for partition in self._before}
        keyless = self._keyless_count(writing)
        for partition, row in rows.items():
            prefix = partition_key(self._topic.id, partition)
            first = writing.partition_first(self._topic.id, partition)
            if row.first > first:
                writing.note_deletion(self._topic.id, partition, row.first)
            writing.put(PARTITIONS, prefix, row.pack())
            if next(writing.keys(FORMAT, KAFKA_ABORTED_KEY + prefix), None) is not None:
                from eventlog.store.records.transaction_rows import forget_aborted_before

                forget_aborted_before(writing, self._topic.id, partition, row.first)
            if self._in_steps:
                writing.put(FORMAT, left_rows_key(RECORD_ROWS, self._topic.id), b"")
                keyless = None
                continue
            if self._topic.index is not None:
                count = writing.delete_index_before(self._topic.id, partition, first, row.first)
                keyless = None if keyless is None or count is None else keyless + count
            writing.delete_batches(prefix, below=batch_key(self._topic.id, partition, row.first))
        self._note_keyless(writing, keyless)
        self.seconds = thread_time() - began_s

    def _keyless_count(self, writing: WriteTransaction) -> int | None:
        """How many records without a key the topic has lost before, None if nobody has counted: `verify` asks."""
        if self._topic.index is None or writing.environment.seal is None:
            return None
        prefix = self._topic.id.to_bytes(4, "big")
        stored = writing.get(FORMAT, KEYLESS_KEY + prefix)
        if stored is not None:
            return unpack_count(stored, f"the deleted records of {self._topic.name} without a key")
        has_lost = any(PartitionRow.unpack(row).first for _, row in writing.items(PARTITIONS, prefix))
        return None if has_lost else 0

    def _note_keyless(self, writing: WriteTransaction, count: int | None) -> None:
        if self._topic.index is None or writing.environment.seal is None:
            return
        key = KEYLESS_KEY + self._topic.id.to_bytes(4, "big")
        if count is not None:
            writing.put(FORMAT, key, count.to_bytes(8, "big"))
        else:
            writing.delete(FORMAT, key)

    def _checked(self, writing: WriteTransaction, partition: int) -> PartitionRow:
        before = self._before[partition]
        end, largest_ms = writing.partition_end(self._topic.id, partition)
        row = PartitionRow.unpack(writing.get(PARTITIONS, partition_key(self._topic.id, partition)))
        if before > end:
            raise OffsetOutOfRange(
                f"cannot delete the records before offset {before} of {self._topic.name}[{partition}]: it ends at "
                f"{end}.",
                stored="Nothing was deleted.",
                advice=f"Pass at most {end}.",
                topic=self._topic.name,
                partition=partition,
                offset=before,
                first=row.first,
                end=end,
            )
        return PartitionRow(max(row.first, before), end, largest_ms)


def _stored_row(writing: WriteTransaction, name: bytes) -> bytes:
    """Return the row of a topic that was just found in the round."""
    stored = writing.get(TOPICS, name)
    if stored is None:  # on a damaged page a search may find what the next one does not
        raise damaged(f"topic {name.decode()!r}", "its row was found, and is not found again")
    return stored


def _raise_topics_version(writing: WriteTransaction) -> None:
    """Raise the topics' version, before any other write: a damaged row is an error, and errors have no effects."""
    version = unpack_topics_version(writing.get(FORMAT, TOPICS_VERSION_KEY))
    writing.put(FORMAT, TOPICS_VERSION_KEY, pack_topics_version(version + 1))
