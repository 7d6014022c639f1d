"""The schedule methods of `Store` (`eventlog.backend.schedules`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from eventlog.backend.schedules import NewSchedule, ScheduleCounts, SchedulePiece, StoredSchedule
from eventlog.store.lmdb.environment import SCHEDULE
from eventlog.store.schedules import reader
from eventlog.store.schedules.commands import AddSchedules, CancelSchedule, MakeTable, MoveSchedule

if TYPE_CHECKING:
    from eventlog.backend.topics import StoredTopic
    from eventlog.clock import Clock
    from eventlog.store.committer import Committer
    from eventlog.store.lmdb.environment import Environment
    from eventlog.store.schedules.server import ScheduleServer


class Schedules:
    """
    The schedules of a log; any thread may call.

    Made with the first use of one: few programs have schedules.
    """

    def __init__(
        self, environment: Environment, committer: Committer, server: ScheduleServer, clock: Clock, *, sends: bool
    ) -> None:
        self._environment = environment
        self._committer = committer
        self._server = server
        self._clock = clock
        self._sends = sends
        """Whether this process sends what others have scheduled."""

    @property
    def is_prepared(self) -> bool:
        """Whether the log has the table of schedules."""
        return self._environment.has_later(SCHEDULE)

    def prepare(self) -> None:
        """Make the table."""
        environment = self._environment
        if not environment.has_later(SCHEDULE):
            command = MakeTable()
            self._committer.run(command)
            assert command.table is not None
            environment.tables |= {SCHEDULE: command.table}

    def add_schedules(self, schedules: Sequence[NewSchedule]) -> list[StoredSchedule]:
        """Store schedules, all or none of them."""
        self.prepare()
        command = AddSchedules(schedules, self._clock.now_ms())
        try:
            self._committer.run(command)
        finally:
            self._server.start()  # also when it was interrupted, and is stored all the same
        return command.stored

    def piece_of(self, piece: SchedulePiece) -> AddSchedules:
        """The part of a transaction that schedules; who commits it calls `notice` afterwards."""
        self.prepare()
        return AddSchedules(piece.schedules, self._clock.now_ms())

    def schedule(self, schedule_id: bytes) -> StoredSchedule | None:
        """A schedule; None if there is none."""
        return reader.read_schedule(self._environment, schedule_id) if self.is_prepared else None

    def scan_schedules(
        self, topics: Sequence[StoredTopic] | None, *, first_ms: int, end_ms: int | None, is_failed: bool
    ) -> Iterator[StoredSchedule]:
        """The schedules of some topics, or of all, in the order of time."""
        if not self.is_prepared:
            return iter(())
        ids = None if topics is None else sorted({topic.id for topic in topics})
        return reader.scan(self._environment, ids, first_ms=first_ms, end_ms=end_ms, is_failed=is_failed)

    def cancel_schedule(self, schedule_id: bytes) -> bool:
        """Remove a schedule."""
        if not self.is_prepared:
            return False
        command = CancelSchedule(schedule_id)
        self._committer.run(command)
        return command.is_found

    def move_schedule(self, schedule_id: bytes, due_ms: int) -> bool:
        """Give a schedule another time."""
        if not self.is_prepared:
            return False
        command = MoveSchedule(schedule_id, due_ms)
        self._committer.run(command)
        if self._sends:
            self._server.start()
        return command.is_found

    def send_due(self) -> int:
        """Send what is due now."""
        return self._server.send_due()

    def counts(self) -> ScheduleCounts:
        """All schedules in numbers."""
        error = None if self._server.error is None else str(self._server.error)
        if not self.is_prepared:
            return ScheduleCounts(0, 0, 0, None, error)
        tally = reader.read_tally(self._environment)
        next_ms = reader.first_due_ms(self._environment, set())
        return ScheduleCounts(tally.waiting, tally.failed, tally.stored_bytes, next_ms, error)

    def notice(self) -> None:
        """Begin to send in the background if anything is scheduled."""
        if self.is_prepared and reader.read_tally(self._environment).waiting:
            self._server.start()

    def serving(self) -> AbstractContextManager[object]:
        """Send in the background for the time of a `with` block."""
        return self._server.serving()
