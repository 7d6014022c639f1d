"""
The processor: consume, transform, produce, each record exactly once.

It is a loop around a consumer and transactions of the front door, so it serves every backend. Between two polls every
record received is either committed or sought back, so a partition that a poll gives up is always at a committed offset.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, NoReturn, Self

import attrs

from eventlog.api.consumer import Consumer, Pair
from eventlog.api.transaction import Function, OnFailure
from eventlog.clients.transaction.attempts import wait_a_little
from eventlog.clients.transaction.lent import LentTransaction
from eventlog.clock import Clock
from eventlog.errors import (
    ConcurrentUse,
    ConflictError,
    CorruptBatch,
    DecodeError,
    LogClosed,
    MemberFenced,
    StorageError,
    TransactionTooLarge,
    UnknownTopic,
    UsedAfterFork,
)
from eventlog.interruptions import unless_interrupted
from eventlog.options import check_group_name, check_int, check_seconds
from eventlog.records import Record, TopicPartition
from eventlog.uninterruptible import HeldLock

_MOST_CONFLICTS = 100
_LONGEST_WAIT_SECONDS = 60.0
_SHORT_WAIT_SECONDS = 0.5
_FATAL = (StorageError, LogClosed, UsedAfterFork)
"""Errors that another attempt cannot repair."""


@attrs.define(eq=False, repr=False)
class _Failure:
    """A record that failed: its offset, the number of attempts, and the last error."""

    offset: int
    count: int
    error: Exception


class Processor:
    """
    A loop that calls a function for each record of some topics, with exactly-once effect.

    The function gets a transaction and the record. The records it sends and the states it changes are stored in one
    commit with the offsets, or not at all. So after an error, a `kill -9` or a restart the processor goes on from the
    last commit, and nothing is lost or stored twice. Effects of the function elsewhere may happen again.

    Each transaction takes the records of one poll, at most `max_records`. If it fails, nothing of it is stored; its
    records are tried again after a growing pause, each in a transaction of its own, so that one bad record delays only
    the later records of its partition. A record that has failed `attempts` times goes to `on_failure`; without one, its
    last exception is raised. A `ConflictError` is not a failure of the record: somebody else was faster, and it is
    tried again; only the hundredth in a row is raised.

    It is a member of its group from the beginning; `close()` ends it. One thread at a time runs it; `stop()` and
    `close()` may be called from any other, or from a signal handler.

    Get one from `EventLog.processor()`.

    Example:
        >>> def bill(tx: eventlog.Transaction, record: eventlog.Record) -> None:
        ...     tx.send("invoices", b"invoice for " + record.value)
        >>> with eventlog.open(":memory:") as log:
        ...     invoices = log.topic("invoices")
        ...     ranges = log.topic("orders").append_many([b"tea", b"milk"])
        ...     with log.processor("orders", function=bill, group="billing") as processor:
        ...         processor.run_to_end(), [record.value for record in invoices.read()]
        (2, [b'invoice for tea', b'invoice for milk'])
    """

    def __init__(
        self,
        consumer: Consumer[Any, Any],
        begin: Callable[[], LentTransaction],
        clock: Clock,
        function: Function,
        *,
        max_records: int,
        attempts: int,
        on_failure: OnFailure | None,
    ) -> None:
        self._consumer = consumer
        self._begin = begin
        self._clock = clock
        self._function = function
        self._max_records = max_records
        self._attempts = attempts
        self._on_failure = on_failure
        self._in_use = threading.Lock()
        self._is_stopping = False
        self._is_behind = False
        """Whether records may have been received but not stored: the next poll seeks back first."""
        self._most = max_records
        self._failures: dict[TopicPartition, _Failure] = {}
        self._singles: dict[TopicPartition, int] = {}
        """The offset up to which each record gets a transaction of its own."""
        self._conflict_count = 0

    # -- running ---------------------------------------------------------------------------------------------

    def run(self) -> int:
        """
        Process existing and new records until `stop()`.

        Returns:
            The number of records processed.

        Raises:
            Exception: the function, or `on_failure`, failed for good; a note names the record. Neither it nor a later
                record of its partition is stored: the next run begins with it.
            ConflictError: others were faster a hundred times in a row.
            DecodeError, CorruptBatch: a record cannot be read. Those before it are processed.
            UnknownTopic, InstanceInUse, GroupMismatch: as for `Consumer.poll`.
            StorageError: the disk failed.
            ConcurrentUse, LogClosed, UsedAfterFork: the processor cannot be used.
        """
        with HeldLock(self._in_use, 0.0, self._check_ours):
            return self._run(None, None)

    def run_to_end(self, timeout: float | None = None) -> int:
        """
        Process the records that exist at the call, in the partitions of this member, or until `stop()`.

        Other members process their own partitions. Records that arrive meanwhile may or may not be processed.

        Args:
            timeout: seconds for all of it; None for as long as it takes.

        Returns:
            The number of records processed.

        Raises:
            TimeoutError: the time is over. Processed records are stored.
            Exception: as for `run`.
        """
        left_s = None if timeout is None else check_seconds("timeout", timeout)
        with HeldLock(self._in_use, 0.0, self._check_ours):
            return self._run({}, None if left_s is None else self._clock.monotonic() + left_s)

    def stop(self) -> None:
        """
        End the run that is going on, or else the next one, once the transaction in hand is committed.

        Any thread may call it, and a signal handler too. It does not wait.
        """
        self._is_stopping = True
        self._consumer.wakeup()

    def _check_ours(self, is_ours: bool) -> None:  # noqa: FBT001
        if not is_ours:
            raise ConcurrentUse(
                "another thread runs this processor.",
                stored="Nothing was done.",
                advice="Make a processor for each thread; only stop() and close() may be called from others.",
            )

    def _run(self, ends: dict[TopicPartition, int] | None, deadline_s: float | None) -> int:
        self._consumer.assignment()  # raises what speaks against using it
        self._most = self._max_records
        count, wait_s = 0, _LONGEST_WAIT_SECONDS if ends is None else 0.0
        try:
            if ends is not None:
                self._note_ends(ends)
            while not self._is_stopping:
                count += self._process(wait_s)
                if ends is not None and self._is_through(ends):
                    break
                if ends is not None:
                    wait_s = self._wait_s(deadline_s, count)
        except unless_interrupted(LogClosed):
            if not self._consumer.is_closed:  # else another thread closed us: the run ends as by stop()
                raise
        finally:
            self._is_stopping = False
        return count

    def _wait_s(self, deadline_s: float | None, count: int) -> float:
        if deadline_s is None:
            return _SHORT_WAIT_SECONDS
        left_s = deadline_s - self._clock.monotonic()
        if left_s <= 0:
            raise TimeoutError(
                f"the processor of group {self._consumer.group!r} has not come to the end in time. The {count} records "
                "that it has processed are stored. Call run_to_end() again to go on."
            )
        return min(_SHORT_WAIT_SECONDS, left_s)

    def _note_ends(self, ends: dict[TopicPartition, int]) -> None:
        """Note the ends of partitions that are new to us."""
        self._go_back()
        if any(tp not in ends for tp in self._consumer.assignment()):
            for tp, count in self._consumer.lag().items():
                ends.setdefault(tp, self._consumer.position(tp) + count)

    def _is_through(self, ends: dict[TopicPartition, int]) -> bool:
        self._note_ends(ends)
        return not self._is_behind and all(
            self._consumer.position(tp) >= ends[tp] for tp in self._consumer.assignment()
        )

    # -- records ---------------------------------------------------------------------------------------------

    def _go_back(self) -> None:
        """Go back to where the group stands, after something was not stored."""
        if self._is_behind:
            is_behind = False
            for tp in self._consumer.assignment():
                try:
                    self._consumer.seek_to_committed(tp)
                except unless_interrupted(UnknownTopic):
                    is_behind = True  # the next poll says so, or gives the partition up
            self._is_behind = is_behind

    def _process(self, timeout: float) -> int:
        """Poll once and store what comes of it; the number of records."""
        self._go_back()
        self._is_behind = True
        try:
            records = self._consumer.poll(timeout, max_records=self._most)
        except unless_interrupted(CorruptBatch, DecodeError):
            if self._most == 1:
                raise
            self._most = 1  # what comes before it is processed, then it is met again
            return 0
        count = 0
        for chunk in self._chunks(records):
            if not self._store(chunk):
                return count
            count += len(chunk)
        self._is_behind = False
        return count

    def _chunks(self, records: list[Record[Any, Any]]) -> Iterator[list[Record[Any, Any]]]:
        """The records of each transaction."""
        if not self._singles:
            if records:
                yield records
            return
        chunk: list[Record[Any, Any]] = []
        for record in records:
            if record.offset >= self._singles.get(_place(record), 0):
                chunk.append(record)
                continue
            if chunk:
                yield chunk
                chunk = []
            yield [record]
        if chunk:
            yield chunk

    def _store(self, chunk: list[Record[Any, Any]]) -> bool:
        """
        Store the effects of some records, and their offsets.

        False when nothing was stored and they are to be tried again.
        """
        failure = self._given_up(chunk)
        tx = self._begin()
        called_count, is_commit = 0, False
        try:
            for record in chunk:
                called_count += 1
                if failure is not None and self._on_failure is not None:
                    self._on_failure(tx, record, failure.error)
                else:
                    self._function(tx, record)
            is_commit = True
            offsets: dict[Pair, int] = {(record.topic, record.partition): record.offset + 1 for record in chunk}
            tx.commit_offsets(self._consumer, offsets)
            tx.commit_as_owner()
        except unless_interrupted(Exception) as error:
            tx.abort()
            if isinstance(error, _FATAL):
                raise
            is_elsewhere = isinstance(error, ConflictError) or (is_commit and isinstance(error, MemberFenced))
            if failure is not None and not is_elsewhere:
                self._raise(chunk[0], error, "and so did on_failure")
            self._be_careful(chunk[:called_count])
            if isinstance(error, ConflictError):
                self._note_conflict(chunk[0], error)
            elif is_elsewhere or (len(chunk) > 1 and (is_commit or isinstance(error, TransactionTooLarge))):
                wait_a_little(1)  # others own a partition by now, or it is not known which record it was
            else:
                self._note_failure(chunk[called_count - 1], error)
            return False
        except BaseException:
            tx.abort()
            raise
        self._conflict_count = 0
        if self._failures or self._singles:
            self._forget_passed({_place(record): record.offset + 1 for record in chunk})
        return True

    def _forget_passed(self, offsets: dict[TopicPartition, int]) -> None:
        for tp, offset in offsets.items():
            if tp in self._failures and self._failures[tp].offset < offset:
                del self._failures[tp]
            if self._singles.get(tp, offset + 1) <= offset:
                del self._singles[tp]

    def _given_up(self, chunk: list[Record[Any, Any]]) -> _Failure | None:
        """The failure of a record that has had all its attempts; raised when nobody takes it."""
        failure = self._failures.get(_place(chunk[0]))
        if failure is None or failure.offset != chunk[0].offset or failure.count < self._attempts:
            return None
        if self._on_failure is None:
            del self._failures[_place(chunk[0])]
            self._raise(chunk[0], failure.error, f"{failure.count} times")
        return failure

    def _raise(self, record: Record[Any, Any], error: Exception, how: str) -> NoReturn:
        error.add_note(
            f"{record.topic}[{record.partition}] at offset {record.offset} failed for group "
            f"{self._consumer.group!r}, {how}. Nothing of it was stored, nor of what comes after it in its partition; "
            "the next run begins with it."
        )
        raise error

    def _be_careful(self, records: list[Record[Any, Any]]) -> None:
        """Give each of these, and what comes before it in its partition, a transaction of its own the next time."""
        for record in records:
            tp = _place(record)
            self._singles[tp] = max(record.offset + 1, self._singles.get(tp, 0))

    def _note_conflict(self, record: Record[Any, Any], error: ConflictError) -> None:
        self._conflict_count += 1
        if self._conflict_count >= _MOST_CONFLICTS:
            self._conflict_count = 0
            self._raise(record, error, f"{_MOST_CONFLICTS} times in a row")
        wait_a_little(self._conflict_count)

    def _note_failure(self, record: Record[Any, Any], error: Exception) -> None:
        known = self._failures.get(_place(record))
        count = 1 if known is None or known.offset != record.offset else known.count + 1
        self._failures[_place(record)] = _Failure(record.offset, count, error)
        if count < self._attempts:
            wait_a_little(count)

    # -- life ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """
        End the run that is going on, and leave the group; what is not committed comes again to others.

        Calling it again does nothing. From another thread it does not wait for the function: the transaction in hand
        is refused.

        Raises:
            ConcurrentUse: as `Consumer.close`.
        """
        self.stop()
        self._consumer.close()
        self._is_stopping = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Processor of group {self._consumer.group!r}>"


def _place(record: Record[Any, Any]) -> TopicPartition:
    return TopicPartition(record.topic, record.partition)


def open_processor(
    open_consumer: Callable[[], Consumer[Any, Any]],
    begin: Callable[[], LentTransaction],
    clock: Clock,
    function: Function,
    *,
    is_of_topics: bool,
    group: str,
    max_records: int,
    attempts: int,
    on_failure: OnFailure | None,
    max_bytes: int,
) -> Processor:
    """
    A processor whose consumer is made last, when every option was checked.

    Raises:
        ValueError, TypeError: for an option out of its bounds. Nothing was made.
    """
    check_group_name(group)
    check_int("max_bytes", max_bytes, least=1)
    check_int("max_records", max_records, least=1)
    check_int("attempts", attempts, least=1)
    if not is_of_topics:
        raise ValueError("a processor reads at least one topic, and none is named. Nothing was made. Name it.")
    for called in (function,) if on_failure is None else (function, on_failure):
        if not callable(called):
            raise TypeError(f"function and on_failure are functions, not {called!r}. Nothing was made.")
    return Processor(
        open_consumer(),
        begin,
        clock,
        function,
        max_records=max_records,
        attempts=attempts,
        on_failure=on_failure,
    )


Processor.__module__ = "eventlog"
