"""
The worker of a processor: one poll after the other, the transactions for its records, and what becomes of failures.

Between two polls every record received is either committed, sought back, or waits in front of its partition's position
until it is due again; so a partition that a poll gives up is always at a committed offset.

Decision record: docs/decisions/0032-work-that-fails.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from eventlog.api.transaction import Function, OnFailure
from eventlog.clients.consumer.consumer import EmbeddedConsumer
from eventlog.clients.transaction.attempts import wait_a_little
from eventlog.clients.transaction.lent import LentTransaction
from eventlog.clients.transaction.pace import Pace
from eventlog.clients.transaction.retries import Failure, Pauses
from eventlog.clients.transaction.tries import StoredTries
from eventlog.clock import Clock
from eventlog.errors import (
    ConflictError,
    CorruptBatch,
    DecodeError,
    LogClosed,
    MemberFenced,
    OffsetOutOfRange,
    ProcessDied,
    StorageError,
    TransactionTooLarge,
    UnknownTopic,
    UsedAfterFork,
)
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.records import Record, TopicPartition

_MOST_CONFLICTS = 100
_LEAST_DEATHS = 2
"""One death may be a kill by chance, so it gives no record up, however few attempts a failure has."""
_FATAL = (StorageError, LogClosed, UsedAfterFork)
"""Errors that another attempt cannot repair."""


class ProcessorOptions(NamedTuple):
    """What a processor was told."""

    function: Function
    on_failure: OnFailure | None
    group: str
    max_records: int
    max_poll_interval: float
    attempts: int
    pauses: Pauses
    budget_s: float | None = None
    """How long the records of one poll may take; None is half of `max_poll_interval`, and a warning if it is short."""
    tells_failures: bool = True
    """Whether a line in Python's log tells of each record that is given to `on_failure`."""


class Worker:
    """
    The work of one processor.

    Belongs to the thread that runs it, but for `is_stopping`.

    Args:
        begin: begins a transaction.
    """

    def __init__(
        self,
        consumer: EmbeddedConsumer[Any, Any],
        begin: Callable[[], LentTransaction],
        clock: Clock,
        options: ProcessorOptions,
    ) -> None:
        self._consumer = consumer
        consumer._be_patient()
        self._begin = begin
        self._now_s = clock.monotonic
        self._options = options
        self.function = options.function
        self.is_stopping = False
        """Whether to commit what is done and take nothing more; any thread may set it."""
        self.is_behind = False
        """Whether records may have been received but not stored: the next poll seeks back first."""
        self._is_unreadable = False
        budget_s = options.max_poll_interval / 2 if options.budget_s is None else options.budget_s
        self._pace = Pace(options.max_records, budget_s)
        self._has_warned = options.budget_s is not None
        self._tries = StoredTries(begin, options.group)
        self._suspects: dict[TopicPartition, int] = {}
        """The offsets up to which records may have ended the process before."""
        self._fresh: set[TopicPartition] = set()
        """The partitions of which nothing was stored since they were taken over."""
        self._failures: dict[TopicPartition, Failure] = {}
        self._held: dict[TopicPartition, float] = {}
        """The partitions that are paused until their failed record is due, and when that is."""
        self._singles: dict[TopicPartition, int] = {}
        """The offset up to which each record gets a transaction of its own."""
        self._conflict_count = 0
        self._polled_s = self._now_s()
        self._permit = consumer._permit
        """Holds the time until which we may begin to work on what we have; it moves on as the lease is renewed."""

    def note_assigned(self, partitions: list[TopicPartition]) -> None:
        """Begin with care: a record of these may have ended the process that had them before."""
        self._fresh.update(partitions)
        self._pace.begin_small()

    def begin_run(self) -> None:
        """Meet again what could not be read in an earlier run."""
        self._is_unreadable = False

    # -- polls -----------------------------------------------------------------------------------------------

    def go_back(self) -> None:
        """Go back to where the group stands, after something was not stored."""
        if self.is_behind:
            is_behind = False
            for tp in self._consumer.assignment():
                try:
                    self._consumer.seek_to_committed(tp)
                except unless_interrupted(UnknownTopic):
                    is_behind = True  # the next poll says so, or gives the partition up
            self.is_behind = is_behind

    def process(self, timeout: float) -> int:
        """Poll once and store what comes of it; the number of records."""
        self.go_back()
        left_s = self._resume_due()
        self.is_behind = True
        try:
            records = self._consumer.poll(min(timeout, left_s), max_records=self._pace.most)
        except unless_interrupted(DecodeError) as error:
            return self._pass_unreadable(error)
        except unless_interrupted(CorruptBatch) as error:
            return self._meet_again(
                error, "`eventlog verify` lists all damage; log.groups.reset_offsets() puts the group behind the batch."
            )
        except unless_interrupted(OffsetOutOfRange) as error:
            error._reword(
                advice='Make the processor with on_out_of_range="earliest" or "latest", or put the group elsewhere by '
                "log.groups.reset_offsets()."
            )
            raise
        self._polled_s = self._now_s()
        return self._process(records)

    def _process(self, records: list[Record[Any, Any]]) -> int:
        count, waiting = 0, set[TopicPartition]()
        until_s = self._polled_s + self._pace.budget_s
        is_whole = True
        self._permit = self._consumer._permit
        for chunk in self._chunks(records, waiting):
            is_over = count > 0 and self._now_s() >= min(until_s, self._permit[0])
            stored = 0 if is_over or self.is_stopping else self._store(chunk, until_s)
            count += stored
            if stored < len(chunk):
                is_whole = False
                break
        for tp in waiting:
            self._hold(tp)
        self.is_behind = not is_whole
        took_s = self._now_s() - self._polled_s
        if count and self._pace.note(count, took_s, is_cut=not is_whole and took_s >= self._pace.budget_s):
            self._warn(count, took_s)
        return count

    def _chunks(
        self, records: list[Record[Any, Any]], waiting: set[TopicPartition]
    ) -> Iterator[list[Record[Any, Any]]]:
        """The records of each transaction; partitions whose failed record is not due yet are put into `waiting`."""
        if not self._singles and not self._fresh:
            if records:
                yield records
            return
        chunk: list[Record[Any, Any]] = []
        for record in records:
            tp = _place(record)
            if tp in waiting:
                continue
            if record.offset >= self._singles.get(tp, 0) and tp not in self._fresh:
                chunk.append(record)
                continue
            if chunk:
                yield chunk
                chunk = []
            if self._is_due(record):
                yield [record]
            else:
                waiting.add(tp)
        if chunk:
            yield chunk

    def _warn(self, count: int, took_s: float) -> None:
        """Say once that the work is slow for the group's interval, and that transactions are smaller."""
        if self._has_warned:
            return
        self._has_warned = True
        from eventlog.notices import SLOW_WORK, tell  # here, since few processors are slow

        options = self._options
        tell(
            SLOW_WORK,
            group=options.group,
            seconds=took_s,
            count=count,
            max_records=options.max_records,
            max_poll_interval=options.max_poll_interval,
        )

    # -- transactions ----------------------------------------------------------------------------------------

    def _store(self, chunk: list[Record[Any, Any]], until_s: float) -> int:
        """
        Store the effects of some records, and their offsets; the number of records.

        It is less than all when it was stopped or the time is over, and 0 when they are to be tried again.
        """
        failure = self._given_up(chunk[0])
        if failure is None and self._is_risky(chunk[0]):
            failure = self._note_try(chunk[0])
        tx, function = self._begin(), self.function
        now_s, permit = self._now_s, self._permit
        called_count, is_commit = 0, False
        try:
            for record in chunk:
                if called_count and (self.is_stopping or not until_s > now_s() < permit[0]):
                    break
                called_count += 1
                if failure is not None and self._options.on_failure is not None:
                    self._options.on_failure(tx, record, failure.error)
                else:
                    function(tx, record)
            is_commit = True
            self._commit(tx, chunk[:called_count])
        except unless_interrupted(Exception) as error:
            tx.abort()
            self._judge(error, chunk[:called_count], is_commit=is_commit, is_given_up=failure is not None)
            return 0
        except BaseException:
            tx.abort()
            self._tries.take_back(chunk[0])  # an interruption is not the record's failure
            raise
        if failure is not None and self._options.tells_failures:
            self._tell_of_dead_letter(chunk[0], failure)
        return called_count

    def _commit(self, tx: LentTransaction, chunk: list[Record[Any, Any]]) -> None:
        pairs = {(record.topic, record.partition): record.offset + 1 for record in chunk}
        offsets = {TopicPartition(*pair): offset for pair, offset in pairs.items()}
        tx.commit_offsets(self._consumer, offsets)
        room = 2 * self._pace.most if self._pace.is_beginning else 0
        untils = {tp: max(offset + room, self._suspects.get(tp, 0)) for tp, offset in offsets.items()}
        for tp, offset in offsets.items():
            self._tries.pass_by(tx, tp, offset, untils[tp])
        tx.commit_as_owner()
        self._conflict_count = 0
        for tp, offset in offsets.items():
            self._tries.note_passed(tp, offset, untils[tp])
        if self._failures or self._singles or self._fresh or self._suspects:
            self._forget_passed(offsets)

    def _judge(self, error: Exception, chunk: list[Record[Any, Any]], *, is_commit: bool, is_given_up: bool) -> None:
        """Decide what becomes of records whose transaction failed: the one of the error is the last of them."""
        if isinstance(error, _FATAL):
            self._tries.take_back(chunk[0])
            raise error
        is_fenced = is_commit and isinstance(error, MemberFenced)
        is_slow = len(chunk) == 1 and self._now_s() - self._polled_s > self._options.max_poll_interval
        is_elsewhere = isinstance(error, ConflictError) or (is_fenced and not is_slow)
        if is_given_up and not is_elsewhere:
            self._raise(chunk[0], error, "and so did on_failure")
        self._be_careful(chunk)
        if isinstance(error, ConflictError):
            self._note_conflict(chunk[0], error)
        elif is_elsewhere or (len(chunk) > 1 and (is_commit or isinstance(error, TransactionTooLarge))):
            self._tries.take_back(chunk[0])
            wait_a_little(1)  # others own a partition by now, or it is not known which record it was
        else:
            self._note_failure(chunk[-1], error)

    def _forget_passed(self, offsets: dict[TopicPartition, int]) -> None:
        for tp, offset in offsets.items():
            self._fresh.discard(tp)
            if self._suspects.get(tp, offset + 1) <= offset:
                del self._suspects[tp]
            if tp in self._failures and self._failures[tp].offset < offset:
                del self._failures[tp]
            if self._singles.get(tp, offset + 1) <= offset:
                del self._singles[tp]

    # -- failures --------------------------------------------------------------------------------------------

    def _failure_of(self, record: Record[Any, Any]) -> Failure | None:
        failure = self._failures.get(_place(record))
        return failure if failure is not None and failure.offset == record.offset else None

    def _is_due(self, record: Record[Any, Any]) -> bool:
        failure = self._failure_of(record)
        return failure is None or self._now_s() >= failure.due_s

    def _is_risky(self, record: Record[Any, Any]) -> bool:
        """Whether a record may end the process: the first of a partition, a suspect, or one that failed before."""
        tp = _place(record)
        return tp in self._fresh or record.offset < self._suspects.get(tp, 0) or self._failure_of(record) is not None

    def _note_try(self, record: Record[Any, Any]) -> Failure | None:
        """Store that a record is tried; its failure, if earlier processes have had all attempts."""
        failure = self._failure_of(record)
        tp = _place(record)
        before, until = self._tries.note(record, 0 if failure is None else failure.count)
        if tp in self._fresh and until > record.offset:
            self._suspects[tp] = until
            self._singles[tp] = max(until, self._singles.get(tp, 0))
        most = max(self._options.attempts, _LEAST_DEATHS)
        if before < most:
            return None
        error = ProcessDied(
            f"offset {record.offset} of {record.topic}[{record.partition}] was tried {before} times for group "
            f"{self._options.group!r}, and the process ended each time before its outcome was stored.",
            stored="Nothing of it is stored.",
            advice="Look into the log of the system: the process crashed in compiled code, or was killed for want of "
            "memory.",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            group=self._options.group,
        )
        if before >= 2 * most:
            self._tries.forget(record)
            self._raise(record, error, "and the process ended in on_failure, too")
        self._failures[tp] = Failure(record.offset, before, error, 0.0)
        return self._given_up(record)

    def _given_up(self, record: Record[Any, Any]) -> Failure | None:
        """The failure of a record that has had all its attempts; raised when nobody takes it."""
        failure = self._failure_of(record)
        if failure is None or failure.count < self._options.attempts:
            return None
        if self._options.on_failure is None:
            del self._failures[_place(record)]
            self._tries.forget(record)
            self._raise(record, failure.error, f"{failure.count} times")
        return failure

    def _raise(self, record: Record[Any, Any], error: Exception, how: str) -> NoReturn:
        error.add_note(
            f"{record.topic}[{record.partition}] at offset {record.offset} failed for group "
            f"{self._options.group!r}, {how}. Nothing of it was stored, nor of what comes after it in its partition; "
            "the next run begins with it."
        )
        raise error

    def _be_careful(self, records: list[Record[Any, Any]]) -> None:
        """Give each of these, and what comes before it in its partition, a transaction of its own the next time."""
        for record in records:
            tp = _place(record)
            self._singles[tp] = max(record.offset + 1, self._singles.get(tp, 0))

    def _note_conflict(self, record: Record[Any, Any], error: ConflictError) -> None:
        self._tries.take_back(record)
        self._conflict_count += 1
        if self._conflict_count >= _MOST_CONFLICTS:
            self._conflict_count = 0
            self._raise(record, error, f"{_MOST_CONFLICTS} times in a row")
        wait_a_little(self._conflict_count)

    def _note_failure(self, record: Record[Any, Any], error: Exception) -> None:
        known = self._failure_of(record)
        count = 1 if known is None else known.count + 1
        pause_s = self._options.pauses.after(count) if count < self._options.attempts else 0.0
        self._failures[_place(record)] = Failure(record.offset, count, error, self._now_s() + pause_s)
        if count < self._options.attempts:
            self._tell_of_retry(record, error, count, pause_s)

    def _tell_of_retry(self, record: Record[Any, Any], error: Exception, count: int, pause_s: float) -> None:
        from eventlog.notices import RETRY, tell

        tell(
            RETRY,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            group=self._options.group,
            attempt=count,
            attempts=self._options.attempts,
            pause=pause_s,
            error=repr(error),
        )

    def _tell_of_dead_letter(self, record: Record[Any, Any], failure: Failure) -> None:
        from eventlog.notices import DEAD_LETTER, tell

        tell(
            DEAD_LETTER,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            group=self._options.group,
            attempts=failure.count,
            error=repr(failure.error),
        )

    # -- waiting for a failed record ---------------------------------------------------------------------------

    def _hold(self, tp: TopicPartition) -> None:
        """Receive nothing of a partition until its failed record is due; the others go on."""
        failure = self._failures[tp]
        self._consumer.seek(tp, failure.offset)
        self._consumer.pause(tp)
        self._held[tp] = failure.due_s

    def _resume_due(self) -> float:
        """Go on with the partitions whose records are due; how many seconds are left for the next one."""
        left_s = float("inf")
        if self._held:
            now_s, assigned = self._now_s(), set(self._consumer.assignment())
            for tp, due_s in list(self._held.items()):
                if due_s > now_s and tp in assigned:
                    left_s = min(left_s, due_s - now_s)
                    continue
                del self._held[tp]
                if tp in assigned:
                    self._consumer.resume(tp)
        return left_s

    # -- records that cannot be read ---------------------------------------------------------------------------

    def _pass_unreadable(self, error: DecodeError) -> int:
        """Give a record that cannot be decoded to `on_failure`, with its bytes; raise without one."""
        record = error.record
        if record is None or self._options.on_failure is None:
            return self._meet_again(
                error,
                "Make the processor with on_failure=, which gets such a record in bytes; or open the topic with the "
                "codec that wrote it.",
            )
        self._polled_s = self._now_s()
        self._failures[_place(record)] = Failure(record.offset, self._options.attempts, error, 0.0)
        stored = self._store([record], self._polled_s)
        if stored:
            self._consumer.seek(_place(record), record.offset + 1)
            self.is_behind = False
        return stored

    def _meet_again(self, error: DecodeError | CorruptBatch, advice: str) -> int:
        """Raise what cannot be read, once everything before it is processed."""
        if self._is_unreadable:
            error._reword(advice=advice)
            raise error
        self._is_unreadable = True
        self._pace.begin_small()  # what comes before it is processed, then it is met again
        return 0


def _place(record: Record[Any, Any]) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)
