"""
Redaction of what is scheduled: the schedules of a key go, before any of them becomes a record.

They are found by the rows of their ids, because an id stays the same when its schedule is moved meanwhile. One that is
sent meanwhile is a record, which who redacts the batches afterwards finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from eventlog.backend.topics import StoredTopic
from eventlog.store.lmdb.environment import SCHEDULE, Environment
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.schedule_rows import ScheduleRows
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.schedules import ID, Place, ScheduleRow

_PAGE = 500


class RedactSchedules(CommitRequest):
    """
    The end of some schedules of a key; `count` says how many there were.

    One that will delete what the key has by then, a record without a value, stays, and loses its headers.
    """

    __slots__ = ("_ids", "_key", "_topic", "count")
    reserve_share = 1.0

    def __init__(self, topic: StoredTopic, key: bytes, ids: Sequence[bytes]) -> None:
        super().__init__()
        self._topic = topic
        self._key = key
        self._ids = ids
        self.count = 0

    def apply(self, writing: WriteTransaction) -> None:
        """Look at each again: it may have been moved, sent or cancelled."""
        self.count = 0
        writing.check_topic(self._topic)
        rows = ScheduleRows(writing)
        for schedule_id in self._ids:
            place = rows.find(schedule_id)
            row = None if place is None else rows.row(place)
            if place is None or row is None or not _has_content(row, self._key):
                continue
            rows.drop(place, schedule_id, len(row.pack()))
            if row.value is None:
                rows.put(place, row._replace(headers=()))
            self.count += 1
        rows.write_tally()


def _has_content(row: ScheduleRow, key: bytes) -> bool:
    return row.key == key and (row.value is not None or row.headers != ())


def redact_schedules(
    environment: Environment,
    run: Callable[[CommitRequest], object],
    topic: StoredTopic,
    key: bytes,
    *,
    dry_run: bool,
) -> int:
    """
    Take away what is scheduled for a key of a topic, or count it; return how many schedules those are.

    Args:
        run: stores a request.

    Raises:
        CorruptBatch, FormatTooNew: a schedule of the topic cannot be read. Those before it are gone.
    """
    count = 0
    if environment.has_later(SCHEDULE):
        for ids in _ids_of(environment, topic, key):
            if dry_run:
                count += len(ids)
            elif ids:
                command = RedactSchedules(topic, key, ids)
                run(command)
                count += command.count
    return count


def _ids_of(environment: Environment, topic: StoredTopic, key: bytes) -> Iterator[list[bytes]]:
    """The ids of the schedules of a key that have content, a snapshot's at a time."""
    start = ID
    is_more = True
    while is_more:
        ids: list[bytes] = []
        seen = 0
        with (
            environment.reading() as transaction,
            transaction.cursor(db=environment.table(SCHEDULE)) as cursor,
        ):
            is_more = cursor.set_range(start)
            while is_more and seen < _PAGE:
                row_key = bytes(cursor.key())
                if row_key[:1] != ID:
                    is_more = False
                    break
                seen += 1
                start = row_key + b"\0"
                place = Place.unpack(environment.value(SCHEDULE, row_key, bytes(cursor.value())))
                if place.topic_id == topic.id:
                    data = environment.row(transaction, SCHEDULE, place.key)
                    if data is not None and _has_content(ScheduleRow.unpack(bytes(data)), key):
                        ids.append(row_key[len(ID) :])
                is_more = cursor.next()
        yield ids
