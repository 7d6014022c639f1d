"""The rows of schedules within a write transaction: put, found, moved and dropped in pairs, and counted."""

from __future__ import annotations

from itertools import islice

from eventlog.errors import CorruptBatch
from eventlog.interruptions import suppress
from eventlog.store.lmdb.environment import SCHEDULE
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.checksums import CHECKSUM_BYTES
from eventlog.store.rows.schedules import (
    FAILED,
    NEVER_MS,
    WAITING,
    Place,
    ScheduleRow,
    Tally,
    id_key,
    tally_key,
    topic_prefix,
)


class ScheduleRows:
    """
    The schedules of a log, as one command changes them.

    Nothing is counted before `write_tally`.
    """

    def __init__(self, writing: WriteTransaction) -> None:
        self._writing = writing
        stored = self._stored = Tally.unpack(writing.get(SCHEDULE, tally_key))
        self.next_number = stored.next_number
        self.counts = {WAITING: stored.waiting, FAILED: stored.failed}
        self.stored_bytes = stored.stored_bytes
        self.first_ms = stored.first_ms

    def write_tally(self) -> None:
        """Store the counts."""
        waiting, failed = self.counts[WAITING], self.counts[FAILED]
        first_ms = self.first_ms if waiting else NEVER_MS
        tally = Tally(self.next_number, max(0, waiting), max(0, failed), max(0, self.stored_bytes), first_ms)
        if tally != self._stored:
            self._writing.put(SCHEDULE, tally_key, tally.pack())

    def find(self, schedule_id: bytes) -> Place | None:
        """The place of a schedule."""
        data = self._writing.get(SCHEDULE, id_key(schedule_id))
        return None if data is None else Place.unpack(data)

    def row(self, place: Place) -> ScheduleRow | None:
        """The row there; none only in a damaged log."""
        data = self._writing.get(SCHEDULE, place.key)
        return None if data is None else ScheduleRow.unpack(data)

    def take_number(self) -> int:
        """The number of a new schedule: those of one time are sent in the order of their numbers."""
        number, self.next_number = self.next_number, self.next_number + 1
        return number

    def put(self, place: Place, row: ScheduleRow) -> None:
        """Store a schedule where there is none of its id."""
        data = row.pack()
        self._writing.put(SCHEDULE, place.key, data)
        self._writing.put(SCHEDULE, id_key(row.id), place.pack())
        self.counts[place.kind] += 1
        self.stored_bytes += len(data)
        if place.kind == WAITING:
            self.first_ms = min(self.first_ms, place.due_ms)

    def drop(self, place: Place, schedule_id: bytes, size_bytes: int) -> None:
        """Remove a schedule."""
        self._writing.delete(SCHEDULE, place.key)
        self._writing.delete(SCHEDULE, id_key(schedule_id))
        self.counts[place.kind] -= 1
        self.stored_bytes -= size_bytes


def forget_schedules_of(writing: WriteTransaction, topic_id: int, *, most: int) -> int:
    """Remove the schedules of a topic, `most` at most; return the number of their rows."""
    rows, count = ScheduleRows(writing), 0
    for kind in (WAITING, FAILED):
        keys = list(islice(writing.keys(SCHEDULE, topic_prefix(kind, topic_id)), max(0, most - count + 1) // 2))
        for key in keys:
            data = writing.transaction.get(key, db=writing.table(SCHEDULE)) or b""
            with suppress(CorruptBatch):  # then its id leads nowhere, which `verify` tells
                row = ScheduleRow.unpack(writing.environment.value(SCHEDULE, key, data))
                writing.delete(SCHEDULE, id_key(row.id))
            writing.delete(SCHEDULE, key)
            rows.counts[kind] -= 1
            rows.stored_bytes -= max(0, len(data) - CHECKSUM_BYTES)
        count += 2 * len(keys)
    rows.write_tally()
    return count
