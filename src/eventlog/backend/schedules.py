"""
Schedules: records that are stored now and appended to their topics later.

A schedule is a row until it is sent; its record is not in the topic. At its time one commit removes the row and appends
the record, so it is there once, whoever sends it, and whenever that process dies. Every process that has the log open
for writing may send: which one does is settled by the commit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from eventlog.named_tuples import NamedTuple
from eventlog.records import Headers

if TYPE_CHECKING:
    from eventlog.backend.topics import StoredTopic


class NewSchedule(NamedTuple):
    """
    A record to be sent later, encoded.

    `id` has 16 bytes; with a message id they follow from it and the topic, so that the same record is scheduled once.
    `placed_by` is the number of partitions among which its key has chosen `partition`; 0 where the caller has.
    """

    id: bytes
    topic: StoredTopic
    partition: int
    placed_by: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    due_ms: int
    scheduled_ms: int
    message_id: bytes | None = None


class StoredSchedule(NamedTuple):
    """
    A schedule as it was stored when somebody read it.

    `partition` is None where the key or the turn decides. `error` says why it could not be sent; it is tried again when
    it is moved. `is_sent` says that the record of its message id is in the topic already, so that nothing is scheduled.
    """

    id: bytes
    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers
    due_ms: int
    scheduled_ms: int
    message_id: bytes | None
    error: str | None
    is_sent: bool = False


class SchedulePiece(NamedTuple):
    """Schedules as a part of a transaction: they exist if it is stored."""

    schedules: Sequence[NewSchedule]


class ScheduleCounts(NamedTuple):
    """
    All schedules of a log in numbers.

    `next_ms` is when the first of them is due, None if none waits. `error` is what keeps this process from sending
    those that are due, None if nothing does.
    """

    waiting: int
    failed: int
    stored_bytes: int
    next_ms: int | None
    error: str | None


class ScheduleBackend(Protocol):
    """
    The schedules of a log.

    What stores something blocks for the turn to commit and its flush, and is durable when it returns. Any thread may
    call. An error has stored nothing.
    """

    @property
    def is_prepared(self) -> bool:
        """Whether the log has what it needs to store schedules."""
        ...

    def prepare(self) -> None:
        """
        Have the log able to store schedules, once in its life; a transaction with some needs it before.

        Raises:
            FormatTooOld: the log has format 3.
        """
        ...

    def add_schedules(self, schedules: Sequence[NewSchedule]) -> list[StoredSchedule]:
        """
        Store schedules, all or none of them.

        Raises:
            UnknownTopic: the topic was deleted.
            MessageIdReused: another record has the message id.
            FormatTooOld: the log has format 3.
        """
        ...

    def schedule(self, schedule_id: bytes) -> StoredSchedule | None:
        """A schedule; None if there is none: it was sent or cancelled."""
        ...

    def scan_schedules(
        self, topics: Sequence[StoredTopic] | None, *, first_ms: int, end_ms: int | None, is_failed: bool
    ) -> Iterator[StoredSchedule]:
        """The schedules of some topics, or of all, from a time on, by time; those that failed, or those that wait."""
        ...

    def cancel_schedule(self, schedule_id: bytes) -> bool:
        """Remove a schedule; False if there is none: it was sent or cancelled."""
        ...

    def move_schedule(self, schedule_id: bytes, due_ms: int) -> bool:
        """Give a schedule another time, and try again what had failed; False if there is none."""
        ...

    def send_due(self) -> int:
        """Send what is due now, in the order of time; return how many records were sent."""
        ...

    def counts(self) -> ScheduleCounts:
        """All schedules in numbers."""
        ...

    def notice(self) -> None:
        """Begin to send in the background if anything is scheduled; costs a look."""
        ...

    def serving(self) -> AbstractContextManager[object]:
        """Send in the background for the time of a `with` block, whether anything is scheduled or not."""
        ...


class SchedulesBackend(Protocol):
    """The part of a log that has schedules."""

    def schedules(self) -> ScheduleBackend:
        """The schedules of the log; costs nothing."""
        ...

    def notice_schedules(self) -> None:
        """
        Send in the background from now on if anybody has scheduled something; looks once a second at most.

        Who waits for commits calls it when there are some: the process that has scheduled may be gone.
        """
        ...
