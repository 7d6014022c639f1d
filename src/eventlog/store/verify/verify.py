"""
The verification of a log: every row of every table, and whether they agree.

The rules are in docs/reference/format.md, under "Always true". Damage is a line of the report, never an error. Memory
does not grow with the log. Batches are checked here; the log order, the index, the message ids and the smaller tables
have modules of their own. Codecs play no part: a record is sound if its bytes are what was written.
"""

from __future__ import annotations

from collections.abc import Callable

from eventlog.backend.maintenance import VerifyReport
from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import Columns, decode
from eventlog.batches.header import KAFKA, NO_LOG_POSITION, NO_TIME_MS, read_header
from eventlog.errors import EventLogError, MissingLibrary
from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.environment import (
    BATCHES,
    GROUPS,
    INDEX,
    MEMBERS,
    MESSAGE_TIMES,
    MESSAGES,
    OFFSETS,
    ORDER,
    SNAPSHOTS,
    Environment,
)
from eventlog.store.records.log_order import OLD_POSITIONS_KEY, order_key, position_of_old, stored_end_log_position
from eventlog.store.rows.tables import RECORD_ROWS, split_batch_key
from eventlog.store.verify.check_groups import GroupCheck, MemberCheck, OffsetCheck
from eventlog.store.verify.check_index import IndexCheck, IndexSums, SnapshotCheck, compare
from eventlog.store.verify.check_message_ids import MessageCheck, MessageTimeCheck
from eventlog.store.verify.check_order import OrderCheck
from eventlog.store.verify.check_pages import check_pages
from eventlog.store.verify.check_queues import check_queues
from eventlog.store.verify.check_schedules import check_schedules
from eventlog.store.verify.check_tables import SmallTables
from eventlog.store.verify.check_transactions import check_transactions
from eventlog.store.verify.walk import UNREADABLE, BatchCache, Problems, SnapshotReader, said, walk

_LAST_POSITION = 2**64 - 1


def verify(environment: Environment, progress: Callable[[int], object] | None = None) -> VerifyReport:
    """
    Read and check every row.

    Writers may go on; records appended meanwhile may or may not be checked.

    Args:
        progress: called from time to time with the bytes of batches checked so far.
    """
    problems = Problems()
    if not check_pages(environment, problems, lambda: progress is not None and progress(0)):
        problems.add("no row was read: LMDB may end a process that reads damaged pages.")
        return VerifyReport(0, 0, 0, 0, problems.lines())
    cache = BatchCache()
    tables = SmallTables(environment, problems)
    tables.check()
    sums = IndexSums(_end_log_position(environment))
    batches = BatchCheck(problems, sums)

    def tick() -> None:
        if progress is not None:
            progress(batches.stored_bytes)

    walk(environment, BATCHES, batches, cache=cache, tick=tick)
    walk(environment, ORDER, OrderCheck(problems), cache=cache, tick=tick)
    walk(environment, INDEX, IndexCheck(problems, sums), cache=cache, tick=tick)
    for topic_id in sums.unequal_topics():
        compare(environment, topic_id, problems, cache, tick)
    walk(environment, SNAPSHOTS, SnapshotCheck(problems), cache=cache, tick=tick)
    walk(environment, MESSAGES, MessageCheck(problems), cache=cache, tick=tick)
    walk(environment, MESSAGE_TIMES, MessageTimeCheck(problems), cache=cache, tick=tick)
    walk(environment, GROUPS, GroupCheck(problems), cache=cache, tick=tick)
    walk(environment, MEMBERS, MemberCheck(problems), cache=cache, tick=tick)
    walk(environment, OFFSETS, OffsetCheck(problems), cache=cache, tick=tick)
    tables.check_states()
    check_transactions(environment, problems)
    check_queues(environment, problems)
    check_schedules(environment, problems)
    return VerifyReport(
        tables.topic_count, batches.batch_count, batches.record_count, batches.stored_bytes, problems.lines()
    )


def _end_log_position(environment: Environment) -> int:
    try:
        return stored_end_log_position(environment)
    except unless_interrupted(*UNREADABLE):
        return _LAST_POSITION  # the check of the format table reports the damaged row


class BatchCheck:
    """
    Checks each batch: its bytes, that it follows the previous one, and that the log order leads to it.

    Adds its records to the sums with which the index is compared.
    """

    def __init__(self, problems: Problems, sums: IndexSums) -> None:
        self._problems = problems
        self._sums = sums
        self._place = (0, 0)
        self._end = -1
        self._largest_ms = NO_TIME_MS
        self._part: SnapshotReader | None = None
        self.batch_count = 0
        self.record_count = 0
        self.stored_bytes = 0

    def unreadable(self, key: bytes, error: BaseException) -> None:
        """Report a row whose key is not that of a batch."""
        self._problems.add(f"table 'batches', row {key.hex()}: {said(error)}")

    def row(self, snapshot: SnapshotReader, key: bytes, data: bytes) -> None:
        """Check one batch."""
        topic_id, partition, last = split_batch_key(key)
        topic = snapshot.topic(topic_id)
        name = f"{topic.name if topic else f'topic id {topic_id}'}[{partition}] up to offset {last}"
        if (topic_id, partition) != self._place:
            self._place, self._end, self._largest_ms = (topic_id, partition), -1, NO_TIME_MS
        self.batch_count += 1
        self.stored_bytes += len(data)
        if snapshot.has_left(RECORD_ROWS, topic_id) and last < snapshot.bounds(topic_id, partition)[0]:
            return
        try:
            columns = decode(data, name)
        except unless_interrupted(MissingLibrary):
            raise
        except unless_interrupted(EventLogError) as error:
            self._problems.add(said(error))
            self._end = last + 1
            return
        self.record_count += columns.count
        self._check_own_words(key, data, name)
        self._check_place(snapshot, topic, name, partition, last, columns)
        self._check_order(snapshot, key, name, columns)
        if topic is not None and topic.index is not None:
            self._sums.add_batch(snapshot, topic, partition, last, columns)
        self._end, self._largest_ms = last + 1, max(self._largest_ms, columns.largest_so_far_ms)

    def _check_own_words(self, key: bytes, data: bytes, name: str) -> None:
        """Check what a batch says of its place: a large one its key, a Kafka record batch its first offset."""
        header = read_header(data, name)
        if header.place not in (None, key):
            topic_id, partition, last = split_batch_key(header.place or b"")
            self._problems.add(f"{name}: it says that it is of topic id {topic_id}[{partition}] up to offset {last}.")
        first = split_batch_key(key)[2] - header.span + 1
        if header.kind == KAFKA and int.from_bytes(data[header.body_at : header.body_at + 8], "big") != first:
            self._problems.add(f"{name}: its Kafka record batch does not begin at offset {first}.")

    def _check_place(
        self,
        snapshot: SnapshotReader,
        topic: StoredTopic | None,
        name: str,
        partition: int,
        last: int,
        columns: Columns,
    ) -> None:
        add = self._problems.add
        is_first, self._part = self._part is not snapshot, snapshot
        first_stored = 0
        if topic is None:
            add(f"{name}: its topic does not exist.")
        else:
            if partition >= topic.partitions:
                add(f"{name}: its topic has {topic.partitions} partitions.")
            first_stored = snapshot.bounds(topic.id, partition)[0]
        first = last - columns.span + 1
        if self._end < 0 and not first <= first_stored <= last + 1:
            add(f"{name}: it begins at offset {first}, but its partition at {first_stored}.")
        elif (
            self._end >= 0
            and first != self._end
            and not (self._end < first <= first_stored)
            and not (first < self._end and is_first and topic is not None and topic.compaction.is_on)
        ):
            # Otherwise the records between were deleted since the last part of the walk, or batches merged.
            add(f"{name}: it begins at offset {first}, but the batch before it ends at {self._end}.")
        if columns.largest_so_far_ms < max(columns.largest_ms, self._largest_ms):
            add(f"{name}: its largest timestamp so far is below an earlier one.")

    def _check_order(self, snapshot: SnapshotReader, key: bytes, name: str, columns: Columns) -> None:
        environment, transaction = snapshot.environment, snapshot.transaction
        if columns.log_position == NO_LOG_POSITION:
            old_end = snapshot.log_position(OLD_POSITIONS_KEY)
            if old_end is not None and position_of_old(environment, transaction, old_end, key) is None:
                self._problems.add(f"{name}: it has no row in the order of the log.")
            return
        for run in columns.runs(split_batch_key(key)[2]):
            last = run.end_position - 1
            row = snapshot.get(ORDER, order_key(last)) if last <= _LAST_POSITION else None
            if row is None:
                self._problems.add(f"{name}: it has the positions up to {last}, but no row in the order of the log.")
            elif row != key:
                self._problems.add(
                    f"{name}: it has the positions up to {last}, but there the order leads to another batch."
                )
