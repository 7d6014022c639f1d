"""
Sending what is due: one commit removes the rows of schedules and appends their records.

What is due is read in the very transaction that sends it. So a process that is slower finds it gone, and one that is
killed before the commit has done nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from eventlog.backend.records import PartitionRecords, Rows, StoredRecords
from eventlog.backend.topics import StoredTopic
from eventlog.batches.partitioners import PARTITIONERS
from eventlog.errors import CorruptBatch, EventLogError, MessageIdReused
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.store.lmdb.environment import SCHEDULE
from eventlog.store.records.append import write_part
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.key_rows import entity_prefix
from eventlog.store.records.message_ids import digest_of, find
from eventlog.store.records.schedule_rows import ScheduleRows
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.schedules import FAILED, WAITING, Place, ScheduleRow
from eventlog.store.schedules.reader import readable, rows_by_time, scheduled_topics

_MOST_RECORDS = 1000
_MOST_BYTES = 1 << 20
"""What one commit sends at most: others wait for it."""


class _Due(NamedTuple):
    """A schedule that is due, and the size of its row."""

    place: Place
    row: ScheduleRow
    size_bytes: int


class SendDue(CommitRequest):
    """
    Sends schedules that are due, the earliest first, as many as one commit should.

    Afterwards `sent_count` records were appended and `failed_count` schedules will not be tried again; `has_more` says
    that more were due. `unreadable` are the keys of damaged rows, which stay as they are, and `blocked` has the
    errors that keep this process from sending records of some topics.
    """

    __slots__ = (
        "_now_ms",
        "_topics",
        "_touched",
        "blocked",
        "failed_count",
        "has_more",
        "notifies",
        "sent_count",
        "unreadable",
    )

    def __init__(self, now_ms: int) -> None:
        super().__init__()
        self._now_ms = now_ms
        self._begin()

    def _begin(self) -> None:
        self.notifies = self.has_more = False
        self.sent_count = self.failed_count = 0
        self.blocked: dict[int, EventLogError] = {}
        self.unreadable: set[bytes] = set()
        self._topics: dict[int, StoredTopic | None] = {}
        self._touched: set[int] = set()

    @property
    def subjects(self) -> Collection[int]:
        """The topics of the records."""
        return self._touched

    def apply(self, writing: WriteTransaction) -> None:
        """Judge each schedule by itself, then write."""
        self._begin()
        rows = ScheduleRows(writing)
        good, bad, orphans = self._judged(writing)
        for due, error in bad:
            rows.drop(due.place, due.row.id, due.size_bytes)
            rows.put(due.place._replace(kind=FAILED), due.row._replace(error=error))
        for due in (*orphans, *(one for one, _, _ in good)):
            rows.drop(due.place, due.row.id, due.size_bytes)
        rows.first_ms = self._first_left_ms(writing)
        rows.write_tally()
        self.failed_count = len(bad)
        parts = self._parts(writing, [one for one in good if not one[2]])
        for part in parts:
            write_part(writing, part, StoredRecords(part.partition, self._now_ms), self._now_ms)
            self._touched.add(part.topic.id)
        self.sent_count = len(good)
        self.notifies = bool(parts)

    def _first_left_ms(self, writing: WriteTransaction) -> int:
        """When the first of those is due that still wait; they are dropped already."""
        with writing.transaction.cursor(db=writing.table(SCHEDULE)) as cursor:
            firsts = [Place.of(bytes(cursor.key())).due_ms for _ in scheduled_topics(cursor)]
        return min(firsts, default=self._now_ms)

    def _judged(
        self, writing: WriteTransaction
    ) -> tuple[list[tuple[_Due, int, bool]], list[tuple[_Due, str]], list[_Due]]:
        """
        What is due, by what becomes of it; nothing is written.

        The first have their partitions, and whether their records are there already under their message ids. The
        second have errors. The topics of the last are gone.
        """
        environment, transaction = writing.environment, writing.transaction
        good: list[tuple[_Due, int, bool]] = []
        bad: list[tuple[_Due, str]] = []
        orphans: list[_Due] = []
        size_bytes = count = 0
        with transaction.cursor(db=writing.table(SCHEDULE)) as cursor:
            topics = list(scheduled_topics(cursor))
        found = rows_by_time(environment, transaction, topics, kind=WAITING, after=b"", end_ms=self._now_ms + 1)
        for key, data in found:
            if count >= _MOST_RECORDS or size_bytes >= _MOST_BYTES:
                self.has_more = True
                break
            place = Place.of(key)
            if place.topic_id in self.blocked:
                continue
            row = readable(environment, key, data)
            if row is None:
                self.unreadable.add(key)
                continue
            due = _Due(place, row, len(row.pack()))
            count, size_bytes = count + 1, size_bytes + len(data)
            topic = self._topic(writing, due)
            if topic is None:
                orphans.append(due)
                continue
            try:
                good.append((due, *self._judge(writing, topic, row)))
            except unless_interrupted(CorruptBatch, MessageIdReused) as error:
                bad.append((due, str(error)))
            except unless_interrupted(EventLogError) as error:
                self.blocked[topic.id] = error
        return good, bad, orphans

    def _topic(self, writing: WriteTransaction, due: _Due) -> StoredTopic | None:
        topic_id = due.place.topic_id
        if topic_id not in self._topics:
            topic = writing.topic_named(due.row.topic)
            self._topics[topic_id] = topic if topic is not None and topic.id == topic_id else None
        return self._topics[topic_id]

    def _judge(self, writing: WriteTransaction, topic: StoredTopic, row: ScheduleRow) -> tuple[int, bool]:
        """The partition of a record, and whether it is there already; raises why it cannot be sent."""
        partition = row.partition
        if row.placed_by not in (0, topic.partitions) and row.key is not None and topic.partitioner in PARTITIONERS:
            partition = PARTITIONERS[topic.partitioner](row.key, topic.partitions)
        writing.compressors.of(topic.id, topic.compression, topic.name)
        writing.check_partition(topic.id, partition)
        if topic.index is not None and row.key is not None:
            writing.index.check(writing.transaction, [entity_prefix(topic.id, row.key)])
        if row.message_id is None:
            return partition, False
        since_ms = self._now_ms - topic.duplicate_window_ms
        first = find(writing, topic.id, row.message_id, since_ms=since_ms)
        if first is not None and first.digest != digest_of(row.key, row.value, row.headers):
            raise MessageIdReused(
                f"cannot send a scheduled record to topic {topic.name!r}: another record was appended under its "
                f"message id {row.message_id!r}.",
                stored="It is kept among the schedules that failed.",
                advice="Cancel it, and schedule it again under an id of its own.",
                topic=topic.name,
            )
        return partition, first is not None

    def _parts(self, writing: WriteTransaction, good: list[tuple[_Due, int, bool]]) -> list[PartitionRecords]:
        """
        The records, one part for each partition, each in the order of time.

        Where the caller chose partitions of a topic with an index, a key may be in several, so the parts of that topic
        follow the order of time.
        """
        groups: dict[tuple[int, int, int], list[ScheduleRow]] = {}
        runs: dict[int, int] = {}
        latest: dict[int, int] = {}
        for due, partition, _ in good:
            topic_id = due.place.topic_id
            topic = self._topics[topic_id]
            if topic is not None and topic.index is not None and latest.get(topic_id, partition) != partition:
                runs[topic_id] = runs.get(topic_id, 0) + 1
            latest[topic_id] = partition
            groups.setdefault((topic_id, runs.get(topic_id, 0), partition), []).append(due.row)
        return [self._part(writing, *place, rows) for place, rows in groups.items()]

    def _part(
        self, writing: WriteTransaction, topic_id: int, _run: int, partition: int, rows: list[ScheduleRow]
    ) -> PartitionRecords:
        topic = self._topics[topic_id]
        assert topic is not None
        keys, values = [row.key for row in rows], [row.value for row in rows]
        headers = [row.headers for row in rows] if any(row.headers for row in rows) else None
        compressor = writing.compressors.of(topic.id, topic.compression, topic.name)
        batches = writing.encoder.encode(
            keys if any(key is not None for key in keys) else None,
            values,
            timestamps_ms=self._now_ms,
            headers=headers,
            compressor=compressor,
        )
        ids = {place: row.message_id for place, row in enumerate(rows) if row.message_id is not None}
        return PartitionRecords(topic, partition, batches, Rows(keys, values, self._now_ms, headers), ids)
