"""
The commands of schedules: to add some, alone or in a transaction, to cancel or move one.

Each is one `CommitRequest`, which checks first and then writes, inside the transaction of its round.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from eventlog.backend.schedules import NewSchedule, StoredSchedule
from eventlog.backend.waiting import SCHEDULES_SUBJECT
from eventlog.errors import FormatTooOld, MessageIdReused
from eventlog.store.lmdb.environment import SCHEDULE
from eventlog.store.lmdb.lifecycle import Table
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.message_ids import digest_of, find
from eventlog.store.records.schedule_rows import ScheduleRows
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.checksums import CHECKSUM_BYTES
from eventlog.store.rows.schedules import WAITING, Place, ScheduleRow
from eventlog.store.schedules.reader import stored


class MakeTable(CommitRequest):
    """Makes the table of schedules; `table` is its handle, good once this is committed."""

    __slots__ = ("table",)

    def __init__(self) -> None:
        super().__init__()
        self.table: Table | None = None

    def apply(self, writing: WriteTransaction) -> None:
        """Make it."""
        if writing.environment.seal is None:
            raise FormatTooOld(
                f"cannot schedule a record: the log at {writing.environment.path} has format 3, which has none.",
                stored="Nothing was changed.",
                advice="Close it in all programs and run `eventlog upgrade` on it, or open it with upgrade=True.",
            )
        self.table = writing.environment.make_table(SCHEDULE, writing.transaction)
        writing.touch()


class _Change(CommitRequest):
    """A change of schedules; it notifies who sends them if one is due before all others."""

    __slots__ = ("notifies",)

    def __init__(self) -> None:
        super().__init__()
        self.notifies = False

    @property
    def subjects(self) -> Collection[int]:
        """Those of schedules alone, if there is anything to tell: no record has changed."""
        return (SCHEDULES_SUBJECT,) if self.notifies else ()

    def put(self, rows: ScheduleRows, place: Place, row: ScheduleRow) -> None:
        """Store a schedule, and note whether it is the first of all."""
        self.notifies = self.notifies or place.due_ms < rows.first_ms
        rows.put(place, row)


class AddSchedules(_Change):
    """
    Adds schedules: a request of its own, or a piece of a transaction.

    Afterwards `stored` has one for each that was given: where its message id was known, the one that was first.
    """

    __slots__ = ("_new", "_now_ms", "stored")

    def __init__(self, new: Sequence[NewSchedule], now_ms: int) -> None:
        super().__init__()
        self._new = new
        self._now_ms = now_ms
        self.stored: list[StoredSchedule] = []

    def apply(self, writing: WriteTransaction) -> None:
        """Check all, then write all."""
        self.check(writing)
        self.write(writing)

    def check(self, writing: WriteTransaction) -> None:
        """Raise if a topic is gone, or another record has a message id; write nothing."""
        rows, seen = ScheduleRows(writing), dict[bytes, NewSchedule]()
        for new in self._new:
            writing.check_topic(new.topic)
            if new.message_id is None:
                continue
            other: NewSchedule | ScheduleRow | None = seen.get(new.id)
            if other is None:
                place = rows.find(new.id)
                other = None if place is None else rows.row(place)
            seen[new.id] = new
            if other is None:
                digest = self._sent(writing, new)
                if digest is not None and digest != _digest(new):
                    raise _reused(new)
            elif (other.key, other.value, tuple(other.headers)) != (new.key, new.value, tuple(new.headers)):
                raise _reused(new)

    def _sent(self, writing: WriteTransaction, new: NewSchedule) -> bytes | None:
        """The digest of the record in the topic that has a message id, if it is there already."""
        topic, message_id = new.topic, new.message_id
        if message_id is None:
            return None
        found = find(writing, topic.id, message_id, since_ms=self._now_ms - topic.duplicate_window_ms)
        return None if found is None else found.digest

    def write(self, writing: WriteTransaction) -> None:
        """Store them."""
        self.notifies, self.stored = False, []
        rows = ScheduleRows(writing)
        for new in self._new:
            place = None if new.message_id is None else rows.find(new.id)
            row = None if place is None else rows.row(place)
            if place is None or row is None:
                place = Place(WAITING, new.topic.id, new.due_ms, -1)
                row = ScheduleRow(
                    new.id,
                    new.topic.name,
                    new.partition,
                    new.placed_by,
                    new.key,
                    new.value,
                    new.headers,
                    new.scheduled_ms,
                    new.message_id,
                )
                if new.message_id is not None and self._sent(writing, new) == _digest(new):
                    self.stored.append(stored(place, row)._replace(is_sent=True))
                    continue
                place = place._replace(number=rows.take_number())
                self.put(rows, place, row)
            self.stored.append(stored(place, row))
        rows.write_tally()


def _digest(new: NewSchedule) -> bytes:
    return digest_of(new.key, new.value, new.headers)


def _reused(new: NewSchedule) -> MessageIdReused:
    return MessageIdReused(
        f"cannot schedule a record of topic {new.topic.name!r} under message id {new.message_id!r}: another record "
        "with other key, value or headers has it.",
        stored="Nothing was stored.",
        advice="Give this record an id of its own, or cancel the other one: log.schedules.cancel().",
        topic=new.topic.name,
    )


class CancelSchedule(_Change):
    """Removes a schedule; `is_found` says whether there was one."""

    __slots__ = ("_id", "is_found")
    reserve_share = 1.0

    def __init__(self, schedule_id: bytes) -> None:
        super().__init__()
        self._id = schedule_id
        self.is_found = False

    def apply(self, writing: WriteTransaction) -> None:
        """Remove it, whether its record can be read or not."""
        rows = ScheduleRows(writing)
        place = rows.find(self._id)
        self.is_found = place is not None
        if place is not None:
            data = writing.transaction.get(place.key, db=writing.table(SCHEDULE)) or b""
            rows.drop(place, self._id, max(0, len(data) - CHECKSUM_BYTES))
            rows.write_tally()


class MoveSchedule(_Change):
    """Gives a schedule another time; `is_found` says whether there was one."""

    __slots__ = ("_due_ms", "_id", "is_found")
    bound_share = 0.5

    def __init__(self, schedule_id: bytes, due_ms: int) -> None:
        super().__init__()
        self._id = schedule_id
        self._due_ms = due_ms
        self.is_found = False

    def apply(self, writing: WriteTransaction) -> None:
        """Move it; one that failed waits again."""
        self.notifies = False
        rows = ScheduleRows(writing)
        place = rows.find(self._id)
        row = None if place is None else rows.row(place)
        self.is_found = row is not None
        if place is None or row is None:
            return
        rows.drop(place, self._id, len(row.pack()))
        self.put(rows, place._replace(kind=WAITING, due_ms=self._due_ms), row._replace(error=None))
        rows.write_tally()
