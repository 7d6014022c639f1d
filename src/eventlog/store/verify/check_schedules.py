"""
The check of schedules: each row can be read, belongs to a topic, has the row of its id, and is counted.

All of it is read in one snapshot. The rows of ids are compared by the sums of their hashes, because there may be
millions.
"""

from __future__ import annotations

from collections import Counter

from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.environment import SCHEDULE, Environment
from eventlog.store.rows.schedules import (
    FAILED,
    ID,
    TALLY,
    WAITING,
    Place,
    ScheduleRow,
    Tally,
    check_schedule_row,
)
from eventlog.store.rows.tables import TOPIC_ROWS
from eventlog.store.verify.walk import UNREADABLE, BatchCache, Problems, SnapshotReader, said

_WHERE = "table 'schedule'"


def check_schedules(environment: Environment, problems: Problems) -> None:
    """Check all rows of schedules, in one snapshot; a log that has scheduled nothing has none."""
    if not environment.has_later(SCHEDULE):
        return
    with environment.reading() as transaction, transaction.cursor(db=environment.table(SCHEDULE)) as cursor:
        check = _Check(SnapshotReader(environment, transaction, BatchCache()), problems)
        for raw_key, raw_data in cursor.iternext():
            key = bytes(raw_key)
            try:
                data = bytes(environment.value(SCHEDULE, key, raw_data))
                check_schedule_row(key, data)
                check.row(key, data)
            except unless_interrupted(*UNREADABLE) as error:
                problems.add(f"{_WHERE}, row {key!r}: {said(error)}")
        check.end()


class _Check:
    def __init__(self, snapshot: SnapshotReader, problems: Problems) -> None:
        self._snapshot = snapshot
        self._problems = problems
        self._counts: Counter[bytes] = Counter()
        self._sum = self._stored_bytes = 0
        self._largest_number, self._first_ms = -1, Tally().first_ms
        self._tally = Tally()

    def row(self, key: bytes, data: bytes) -> None:
        """Check one row."""
        kind = key[:1]
        if kind == ID:
            self._sum -= hash((key[1:], Place.unpack(data)))
        elif kind == TALLY:
            self._tally = Tally.unpack(data)
        else:
            self._check_record(Place.of(key), ScheduleRow.unpack(data), len(data))

    def _check_record(self, place: Place, row: ScheduleRow, size_bytes: int) -> None:
        self._counts[place.kind] += 1
        self._sum += hash((row.id, place))
        self._stored_bytes += size_bytes
        self._largest_number = max(self._largest_number, place.number)
        if place.kind == WAITING:
            self._first_ms = min(self._first_ms, place.due_ms)
        topic = self._snapshot.topic(place.topic_id)
        if self._snapshot.has_left(TOPIC_ROWS, place.topic_id):
            return
        if topic is None or topic.name != row.topic or row.partition >= topic.partitions:
            self._problems.add(f"schedule {row.id.hex()}: it is of {row.topic}[{row.partition}], which does not exist.")

    def end(self) -> None:
        """Check that the rows agree."""
        tally = self._tally
        if self._sum:
            self._problems.add(f"{_WHERE}: a schedule has one row of two.")
        for kind, what, counted in ((WAITING, "wait", tally.waiting), (FAILED, "have failed", tally.failed)):
            if self._counts[kind] != counted:
                self._problems.add(f"{_WHERE}: {self._counts[kind]} schedules {what}, and it counts {counted}.")
        if self._stored_bytes != tally.stored_bytes:
            self._problems.add(
                f"{_WHERE}: its schedules have {self._stored_bytes} bytes, and it counts {tally.stored_bytes}."
            )
        if self._largest_number >= tally.next_number:
            self._problems.add(f"{_WHERE}: number {self._largest_number} was given, and would be again.")
        if self._first_ms < tally.first_ms:
            self._problems.add(f"{_WHERE}: a schedule is due before the first that it knows of.")
