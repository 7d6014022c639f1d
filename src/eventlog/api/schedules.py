"""The schedules of a log as users see them: records that are sent later, to list, move, cancel and send."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Generic, Literal, TypeAlias

import attrs

from eventlog.api.features import FrontDoor
from eventlog.api.topic import Topic
from eventlog.clock import from_ms
from eventlog.records import Headers, K, V, publish

ScheduleState: TypeAlias = Literal["waiting", "failed", "sent"]


@attrs.frozen
class Schedule(Generic[K, V]):
    """
    A record that is to be sent later, as it was stored when somebody looked.

    `id` is 32 hexadecimal digits. `partition` is the one that was asked for, None where the key or the turn decides.
    `due_ms` is its time, and `scheduled_ms` when that was stored. `state` is "waiting"; "failed" if it could not be
    sent, and then `error` says why; or "sent" where `schedule()` has found that the record of its `message_id` is in
    the topic already.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     schedule = log.topic("mails", value=str).schedule("hello", delay=3600.0)
        >>> schedule.topic, schedule.value, schedule.state, schedule.due_ms - schedule.scheduled_ms
        ('mails', 'hello', 'waiting', 3600000)
    """

    id: str
    topic: str
    partition: int | None
    key: K
    value: V
    headers: Headers
    due_ms: int
    scheduled_ms: int
    message_id: bytes | None
    state: ScheduleState
    error: str | None

    @property
    def due(self) -> datetime:
        """Its time as a `datetime` in UTC."""
        return from_ms(self.due_ms)


@attrs.frozen
class ScheduleTotals:
    """
    The schedules of a log in numbers.

    `waiting` are to be sent, the first of them at `next_ms`, which is None if there is none. `failed` could not be
    sent, and are not tried again until they are moved. `stored_bytes` is the size of all. `error` says what keeps this
    process from sending what is due: a log that is full, say; it is tried again until it works.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     schedule = log.topic("mails", value=str).schedule("hello", delay=3600.0)
        ...     totals = log.schedules.describe()
        >>> totals.waiting, totals.failed, totals.next_ms == schedule.due_ms, totals.error
        (1, 0, True, None)
    """

    waiting: int
    failed: int
    stored_bytes: int
    next_ms: int | None
    error: str | None


class Schedules(FrontDoor):
    """
    The schedules of a log: records that `Topic.schedule` and `Transaction.schedule` have stored, to be sent later.

    Any thread may call any method. Get it from `EventLog.schedules`.

    At its time a record is appended to its topic, in one commit with the removal of its schedule: it is there once,
    whoever dies meanwhile. A process sends that has the log open for writing, and has scheduled something itself, has
    found something scheduled when it opened the log, or waits for records by whatever means; a thread does it that
    lives while anything is scheduled. If no such process is there, the next one to open the log sends what is overdue,
    in the order of time. `run()` is such a process.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     mails = log.topic("mails", value=str)
        ...     first = mails.schedule("hello", delay=3600.0)
        ...     second = mails.schedule("again", delay=7200.0)
        ...     log.schedules.move(second.id, delay=60.0), log.schedules.cancel(first.id)
        ...     [schedule.value for schedule in log.schedules.list("mails")]
        (True, True)
        ['again']
    """

    __slots__ = ()

    @abstractmethod
    def list(
        self,
        topic: str | Topic[Any, Any] | None = None,
        *,
        key: object = None,
        start: datetime | float | None = None,
        end: datetime | float | None = None,
        failed: bool = False,
    ) -> Iterator[Schedule[Any, Any]]:
        """
        Iterate over the schedules, in the order of time.

        Some hundred are read at a time, each time as they are then.

        Args:
            topic: only those of a topic.
            key: only those of a key of the topic; all of the topic are read for it.
            start: only those due then or later: a `datetime` with a time zone, or seconds since 1970.
            end: only those due before.
            failed: those that could not be sent, instead of those that wait.

        Raises:
            UnknownTopic: there is no such topic.
            ValueError: a key without a topic, or a time that is none.
        """

    @abstractmethod
    def get(self, schedule: str | Schedule[Any, Any]) -> Schedule[Any, Any] | None:
        """Return a schedule of that id; None if there is none: it was sent or cancelled."""

    @abstractmethod
    def cancel(self, schedule: str | Schedule[Any, Any]) -> bool:
        """Cancel a schedule: it will not be sent; False if there is none: it was sent or cancelled."""

    @abstractmethod
    def move(
        self, schedule: str | Schedule[Any, Any], *, at: datetime | float | None = None, delay: float | None = None
    ) -> bool:
        """
        Give a schedule another time, as in `Topic.schedule`; one that failed is tried again then.

        Returns False if there is none: it was sent or cancelled.
        """

    @abstractmethod
    def describe(self) -> ScheduleTotals:
        """Describe the schedules in numbers."""

    @abstractmethod
    def send_due(self) -> int:
        """
        Send what is due now, in this thread, in the order of time; return how many records were sent.

        For tests that move a clock, and for programs that do not stay. Nothing waits for this call.

        Raises:
            LogFull, StorageError: there is no room, or the disk failed. What is due stays scheduled.
        """

    @abstractmethod
    def run(self, *, timeout: float | None = None) -> None:
        """
        Send what is due, at its time, until the log is closed, or for `timeout` seconds.

        Blocks. Ctrl-C ends it. It is for a process that has nothing else to do.
        """


for _class in (Schedule, ScheduleTotals, Schedules):
    publish(_class)
