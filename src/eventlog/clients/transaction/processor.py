"""
The processor: consume, transform, produce, each record exactly once.

It is a loop around a consumer and transactions of the front door, so it serves every backend.
`clients/transaction/worker.py` works on the records of a poll.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

from eventlog.api.consumer import Callback
from eventlog.api.features import Closing
from eventlog.api.requests import Responding
from eventlog.api.transaction import Function, OnFailure, Processing
from eventlog.backend import Backend
from eventlog.clients.consumer.consumer import EmbeddedConsumer
from eventlog.clients.consumer.options import divided
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.clients.transaction.lent import LentTransaction
from eventlog.clients.transaction.retries import Pauses
from eventlog.clients.transaction.transaction import EmbeddedLentTransaction
from eventlog.clients.transaction.worker import ProcessorOptions, Worker
from eventlog.clock import Clock
from eventlog.errors import ConcurrentUse, LogClosed
from eventlog.interruptions import unless_interrupted
from eventlog.options import (
    DEFAULT_ATTEMPTS,
    DEFAULT_MAX_RECORDS,
    DEFAULT_MAX_RETRY_PAUSE,
    DEFAULT_RETRY_JITTER,
    DEFAULT_RETRY_PAUSE,
    MAX_TRANSACTION_BYTES,
    check_function,
    check_group_name,
    check_int,
    check_seconds,
    check_share,
)
from eventlog.records import TopicPartition
from eventlog.uninterruptible import HeldLock

_LONGEST_WAIT_SECONDS = 60.0
_SHORT_WAIT_SECONDS = 0.5


class Processor(Closing):
    """
    A loop that calls a function for each record of some topics, with exactly-once effect.

    The function gets a transaction and the record. The records it sends and the states it changes are stored in one
    commit with the offsets, or not at all. So after an error, a `kill -9` or a restart the processor goes on from the
    last commit, and nothing is lost or stored twice. Effects of the function elsewhere may happen again.

    Each transaction takes the records of one poll, at most `max_records`. If it fails, nothing of it is stored; its
    records are tried again, each in a transaction of its own, and the one that failed after a pause, which grows from
    `retry_pause` to `max_retry_pause`. Meanwhile only the later records of its partition wait. A record that has failed
    `attempts` times goes to `on_failure`; without one, its last exception is raised. A `ConflictError` is not a failure
    of the record: somebody else was faster, and it is tried again; only the hundredth in a row is raised.

    A record that ends the process raises nothing. So the transactions after a start, and after partitions came from
    another member, begin with one record and double, and tries are counted in the log: under a supervisor that starts
    the process again, such a record goes to `on_failure` with `ProcessDied` after `attempts` tries.

    A record that cannot be decoded goes to `on_failure` at once, with the `DecodeError`; its key and value are then
    bytes, as they are stored.

    The group takes the partitions of a member that does not poll for `max_poll_interval`. A transaction ends after half
    of that, the next ones take fewer records, and a line in Python's log (`logging`, "eventlog") says so once.

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
        open_consumer: Callable[[Callback], EmbeddedConsumer[Any, Any]],
        begin: Callable[[], LentTransaction],
        clock: Clock,
        options: ProcessorOptions,
    ) -> None:
        us = weakref.ref(self)  # a circle would keep a dropped member alive until the collector comes by

        def note_assigned(partitions: list[TopicPartition]) -> None:
            if (processor := us()) is not None:
                processor._worker.note_assigned(partitions)

        self._consumer = consumer = open_consumer(note_assigned)
        self._worker = Worker(consumer, begin, clock, options)
        self._clock = clock
        self._in_use = threading.RLock()

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
            DecodeError: a record cannot be decoded, and there is no `on_failure`. Those before it are processed.
            CorruptBatch: a record is damaged. Those before it are processed.
            OffsetOutOfRange: records were deleted before they were processed, and `on_out_of_range` is "raise".
            ProcessDied: a record has ended the process in each of its attempts, and there is no `on_failure`.
            UnknownTopic, InstanceInUse, GroupMismatch: as for `Consumer.poll`.
            StorageError: the disk failed.
            ConcurrentUse, LogClosed, UsedAfterFork: the processor cannot be used.
        """
        with self._used():
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
        with self._used():
            return self._run({}, None if left_s is None else self._clock.monotonic() + left_s)

    def stop(self) -> None:
        """
        End the run that is going on, or else the next one.

        The record in hand is finished and committed, with those before it in its transaction; the others come again. A
        pause before another attempt ends at once. Any thread may call it, and a signal handler too. It does not wait.
        """
        self._worker.is_stopping = True
        self._consumer.wakeup()

    def _used(self) -> HeldLock:
        if self._in_use._is_owned():  # type: ignore[attr-defined]
            raise ConcurrentUse(
                "this processor runs already, in the same thread: its function, a signal handler or a finalizer called "
                "it again.",
                stored="Nothing was done.",
                advice="Call only stop() and close() there.",
            )
        return HeldLock(self._in_use, 0.0, self._check_ours)

    def _check_ours(self, is_ours: bool) -> None:  # noqa: FBT001
        if not is_ours:
            raise ConcurrentUse(
                "another thread runs this processor.",
                stored="Nothing was done.",
                advice="Make a processor for each thread; only stop() and close() may be called from others.",
            )

    def _run(self, ends: dict[TopicPartition, int] | None, deadline_s: float | None) -> int:
        self._consumer.assignment()  # raises what speaks against using it
        self._worker.begin_run()
        count, wait_s = 0, _LONGEST_WAIT_SECONDS if ends is None else 0.0
        try:
            if ends is not None:
                self._note_ends(ends)
            while not self._worker.is_stopping:
                done_count = self._worker.process(wait_s)
                count += done_count
                if ends is not None and self._is_through(ends, done_count):
                    break
                if ends is not None:
                    wait_s = self._wait_s(deadline_s, count)
        except unless_interrupted(LogClosed):
            if not self._consumer._is_ending:  # else another thread closes us: the run ends as by stop()
                raise
        finally:
            self._worker.is_stopping = False
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
        self._worker.go_back()
        if any(tp not in ends for tp in self._consumer.assignment()):
            for tp, count in self._consumer.lag().items():
                ends.setdefault(tp, self._consumer.position(tp) + count)

    def _is_through(self, ends: dict[TopicPartition, int], done_count: int) -> bool:
        self._note_ends(ends)
        if self._worker.is_behind:
            return False
        if all(self._consumer.position(tp) >= ends[tp] for tp in self._consumer.assignment()):
            return True
        # A topic that was deleted and made again since has another end, which may never be that one.
        return not done_count and not any(self._consumer.lag().values())

    # -- life ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """
        End the run that is going on, and leave the group; what is not committed comes again to others.

        Calling it again does nothing. From another thread it does not wait for the function: the transaction in hand
        is refused. In a signal handler it waits for nothing: the run that was interrupted ends, and closes.

        Raises:
            ConcurrentUse: as `Consumer.close`.
        """
        self.stop()
        self._consumer.close()
        if self._consumer.is_closed:
            self._worker.is_stopping = False

    def __repr__(self) -> str:
        return f"<Processor of group {self._consumer.group!r}>"


def open_processor(
    store: Backend,
    known: Callable[[str], EmbeddedTopic[Any, Any]],
    make_consumer: Callable[..., EmbeddedConsumer[Any, Any]],
    topics: tuple[object, ...],
    function: Function,
    group: str,
    options: Processing,
) -> Processor:
    """
    A processor whose consumer is made last, when every option was checked.

    Args:
        known: finds a topic of the log by its name.
        make_consumer: makes a consumer of the log, as `EventLog.consumer`.

    Raises:
        ValueError, TypeError: for an option out of its bounds. Nothing was made.
    """
    if not topics:
        raise ValueError("a processor reads at least one topic, and none is named. Nothing was made. Name it.")
    _, own = divided(options)
    checked = processor_options(function, group=group, **own)
    return Processor(*working(store, known, make_consumer, topics, group, options), store.clock, checked)


def working(
    store: Backend,
    known: Callable[[str], EmbeddedTopic[Any, Any]],
    make_consumer: Callable[..., EmbeddedConsumer[Any, Any]],
    topics: tuple[object, ...],
    group: str,
    options: Processing | Responding,
) -> tuple[Callable[[Callback], EmbeddedConsumer[Any, Any]], Callable[[], LentTransaction]]:
    """What makes the consumer of a processor, with a function to be told of its partitions, and its transactions."""
    reading, _ = divided(options)
    max_bytes = options.get("max_bytes", MAX_TRANSACTION_BYTES)

    def open_consumer(on_assigned: Callback) -> EmbeddedConsumer[Any, Any]:
        return make_consumer(*topics, group=group, auto_commit=False, on_assigned=on_assigned, **reading)

    return open_consumer, lambda: EmbeddedLentTransaction(store, known, max_bytes=max_bytes)


def processor_options(
    function: Function,
    *,
    group: str,
    max_records: int = DEFAULT_MAX_RECORDS,
    attempts: int = DEFAULT_ATTEMPTS,
    on_failure: OnFailure | None = None,
    retry_pause: float = DEFAULT_RETRY_PAUSE,
    max_retry_pause: float = DEFAULT_MAX_RETRY_PAUSE,
    retry_jitter: float = DEFAULT_RETRY_JITTER,
    max_bytes: int = MAX_TRANSACTION_BYTES,
    max_poll_interval: float = 300.0,
    budget_s: float | None = None,
    tells_failures: bool = True,
) -> ProcessorOptions:
    """
    The options of a processor, checked.

    Args:
        budget_s: so long a transaction takes records at most; None is half of `max_poll_interval`.
        tells_failures: whether a line in Python's log tells of each record that is given to `on_failure`.

    Raises:
        ValueError, TypeError: for an option out of its bounds.
    """
    check_int("max_bytes", max_bytes, least=1)
    check_function("function", function, "Nothing was made.")
    if on_failure is not None:
        check_function("on_failure", on_failure, "Nothing was made.")
    return ProcessorOptions(
        function,
        on_failure,
        check_group_name(group),
        check_int("max_records", max_records, least=1),
        check_seconds("max_poll_interval", max_poll_interval, least=0.1),
        check_int("attempts", attempts, least=1),
        Pauses(
            check_seconds("retry_pause", retry_pause),
            check_seconds("max_retry_pause", max_retry_pause),
            check_share("retry_jitter", retry_jitter),
        ),
        budget_s,
        tells_failures,
    )


Processor.__module__ = "eventlog"
