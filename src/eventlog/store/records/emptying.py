"""
Deleting in steps, where the volume has no room to delete at once (docs/decisions/0030-full-volume.md).

A deletion first takes what it deletes out of sight and notes that its rows are left, in one small transaction. Then
it removes the rows in steps, each a transaction: what one frees, the third after it uses. If the process dies, or a
reader keeps the freed pages, the next deletion or opening goes on.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, TypeVar

from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import decode
from eventlog.errors import CorruptBatch, DiskFull, EventLogError
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.lmdb.environment import (
    BATCHES,
    FORMAT,
    INDEX,
    MESSAGE_TIMES,
    MESSAGES,
    OFFSETS,
    PARTITIONS,
    QUEUES,
    SCHEDULE,
    SEQUENCES,
    SNAPSHOTS,
    STATE,
    TOPICS,
    Environment,
    Snapshot,
    Transaction,
)
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.key_rows import entity_prefix
from eventlog.store.records.log_order import deletion_key
from eventlog.store.records.transaction_rows import forget_transactions_of
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.compaction import COMPACTION_KEY
from eventlog.store.rows.tables import (
    KEYLESS_KEY,
    LEFT_ROWS,
    LOST_RECORDS_KEY,
    RECORD_ROWS,
    STATE_ROWS,
    TOPIC_ROWS,
    PartitionRow,
    batch_key,
    partition_key,
    readable_left_rows,
    split_batch_key,
    unpack_topic,
)

_ALL = 2**62
_FIRST_STEP = 64
_LARGEST_STEP = 4096
C = TypeVar("C", bound=CommitRequest)
Run: TypeAlias = Callable[[CommitRequest], object]
"""Stores a request, or raises its error."""


def left_rows(environment: Environment, transaction: Snapshot | Transaction) -> set[tuple[bytes, int]]:
    """The kinds and ids of which rows are left."""
    return {(kind, number) for _, kind, number in _notes(environment, transaction)}


def _notes(environment: Environment, transaction: Snapshot | Transaction) -> Iterator[tuple[bytes, bytes, int]]:
    """The keys, kinds and ids of the notes that can be read: a damaged one would remove the rows of another id."""
    keys = []
    with transaction.cursor(db=environment.table(FORMAT)) as cursor:
        is_found = cursor.set_range(LEFT_ROWS)
        while is_found and (key := bytes(cursor.key())).startswith(LEFT_ROWS):
            with suppress(CorruptBatch):
                environment.value(FORMAT, key, cursor.value())
                keys.append(key)
            is_found = cursor.next()
    return readable_left_rows(keys)


# -- the way of a deletion -------------------------------------------------------------------------------------


def delete(environment: Environment, run: Run, command: Callable[[bool], C]) -> C:
    """
    Delete at once; in steps where there is no room for that, and then with the reserve.

    The command that was stored.

    Args:
        run: stores a request.
        command: makes the command; True asks for the one that only notes which rows are left.

    Raises:
        DiskFull: not even that could be noted, because the reserve is spent and readers keep what was freed.
    """
    try:
        stored = command(False)  # noqa: FBT003
        run(stored)
    except unless_interrupted(DiskFull):
        stored = command(True)  # noqa: FBT003
        run(stored)
    empty(environment, run)
    return stored


def empty(environment: Environment, run: Run) -> bool:
    """
    Remove the rows that deletions have left, as far as there is room; then let appends use what was freed.

    False when there was no room for all of it: the rows wait for the next deletion or opening, or for an append that
    finds no room.
    """
    most = _FIRST_STEP
    with environment.reading() as transaction:
        is_finished = not left_rows(environment, transaction)
    try:
        while not is_finished:
            step = EmptyStep(most, 0.0 if most > 1 else 0.5 if environment.has_old_reader() else 1.0)
            try:
                run(step)
            except unless_interrupted(DiskFull):
                if most == 1:
                    raise
                most = max(1, most // 8)
            else:
                is_finished = step.is_finished
                most = min(2 * most, _LARGEST_STEP)
    except unless_interrupted(DiskFull):
        return False
    return not environment.is_nearly_full or free_pages(run)


def free_pages(run: Run) -> bool:
    """Have the pages used that the last commits freed; return whether there was room for that."""
    try:
        for _ in range(2):
            run(Touch())
    except unless_interrupted(DiskFull):
        return False
    return True


class Touch(CommitRequest):
    """
    A commit that changes nothing.

    LMDB uses the pages that a commit frees from the third commit after it on, so two of these make them usable.
    """

    __slots__ = ()
    reserve_share = 0.5
    bound_share = 1.0

    def apply(self, writing: WriteTransaction) -> None:
        """Write a row as it is."""
        writing.touch()


class EmptyStep(CommitRequest):
    """
    The removal of some rows that deletions have left, `most` at most.

    `is_finished` says that none are left. Only the smallest step may spend the reserve, and only half of it while a
    reader keeps all that is freed: then steps gain nothing, and other deletions need the rest.
    """

    __slots__ = ("_most", "is_finished", "reserve_share")
    bound_share = 1.0

    def __init__(self, most: int, reserve_share: float = 0.0) -> None:
        super().__init__()
        self._most = most
        self.reserve_share = reserve_share
        self.is_finished = False

    def apply(self, writing: WriteTransaction) -> None:
        """Remove rows of the first that is noted."""
        note = next(_notes(writing.environment, writing.transaction), None)
        if note is None:
            self.is_finished = True
            return
        key, kind, number = note
        left = self._most
        if kind == TOPIC_ROWS and _topic(writing.items(TOPICS, b""), number) is None:
            left = empty_topic(writing, number, self._most)
        elif kind == RECORD_ROWS:
            left = _empty_below(writing, number, self._most)
        elif kind == STATE_ROWS:
            left -= writing.delete_prefix(STATE, number.to_bytes(4, "big"), most=left)
        if left > 0:
            writing.delete(FORMAT, key)


def empty_topic(writing: WriteTransaction, topic_id: int, most: int = _ALL) -> int:
    """Remove the rows of a topic, `most` at most; how many more might have been."""
    prefix = topic_id.to_bytes(4, "big")
    left = most - writing.delete_batches(prefix, most=most)
    for table in (PARTITIONS, INDEX, SNAPSHOTS, MESSAGES, MESSAGE_TIMES):
        left -= writing.delete_prefix(table, prefix, most=left)
    for notes in (deletion_key(prefix), COMPACTION_KEY + prefix, KEYLESS_KEY + prefix, LOST_RECORDS_KEY + prefix):
        left -= writing.delete_prefix(FORMAT, notes, most=left)
    left -= forget_transactions_of(writing, prefix, most=left)
    if QUEUES in writing.environment.tables:
        from eventlog.store.records.queue_rows import forget_jobs_of  # few logs have queues

        left -= forget_jobs_of(writing, topic_id, most=left)
    if SCHEDULE in writing.environment.tables:
        from eventlog.store.records.schedule_rows import forget_schedules_of  # and few have schedules

        left -= forget_schedules_of(writing, topic_id, most=left)
    left -= writing.delete_where(OFFSETS, lambda key: key[-8:-4] == prefix, most=left)
    return left - writing.delete_where(SEQUENCES, lambda key: key[8:12] == prefix, most=left)


def _empty_below(writing: WriteTransaction, topic_id: int, most: int) -> int:
    """The same for the records of a topic that lie before the first offsets."""
    topic = _topic(writing.items(TOPICS, b""), topic_id)
    if topic is None:
        return most  # it was deleted since, with all of its rows
    left = most
    for prefix, data in list(writing.items(PARTITIONS, topic_id.to_bytes(4, "big"))):
        partition, first = int.from_bytes(prefix[4:], "big"), PartitionRow.unpack(data).first
        if topic.index is None:
            left -= writing.delete_batches(prefix, below=batch_key(topic_id, partition, first), most=left)
        else:
            left = _empty_indexed(writing, topic_id, partition, first, left)
        if left <= 0:
            break
    return left


def _empty_indexed(writing: WriteTransaction, topic_id: int, partition: int, first: int, left: int) -> int:
    """The same for a partition of a topic with an index; a batch goes last, because it says which keys it has."""
    prefix = partition_key(topic_id, partition)
    while left > 0 and (batch := next(writing.items(BATCHES, prefix), None)) is not None:
        last = split_batch_key(batch[0])[2]
        try:
            columns = decode(batch[1], "a batch")
        except unless_interrupted(EventLogError):
            writing.index.delete_all_before(writing.transaction, topic_id, partition, first)
        else:
            count = bisect_left(columns.offsets(last), first)
            for key in sorted({key for key in columns.keys[:count] if key is not None}):
                left -= writing.index.delete_before(
                    writing.transaction, entity_prefix(topic_id, key), partition, first, most=left
                )
                if left <= 0:
                    return 0
        if last >= first:
            break
        left -= writing.delete_batches(prefix, most=1)
    return left


def _topic(rows: Iterable[tuple[bytes, bytes]], topic_id: int) -> StoredTopic | None:
    topics = (unpack_topic(name, data) for name, data in rows)
    return next((topic for topic in topics if topic.id == topic_id), None)
