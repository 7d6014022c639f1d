"""
The consumer that users hold: checks who may call, and blocks where waiting is asked for.

All else is `ConsumerCore` (`clients/consumer/core.py`): what a poll does, the positions, the group.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self

from eventlog.backend import Backend
from eventlog.backend.waiting import RECHECK_SECONDS
from eventlog.clients.consumer.core import ConsumerCore
from eventlog.clients.consumer.options import Callback, ConsumerOptions
from eventlog.clients.consumer.positions import Offsets, Pair, offsets_of, pair_of
from eventlog.clients.topic.topic import Topic
from eventlog.clock import to_ms
from eventlog.errors import ConcurrentUse, LogClosed, UsedAfterFork
from eventlog.options import check_int, check_offset, check_seconds
from eventlog.records import K, Record, RecordBatch, TopicPartition, V
from eventlog.uninterruptible import HeldLock

if TYPE_CHECKING:
    from eventlog.clients.consumer.offset_commits import GivenOffsets

_NEVER_S = float("inf")
_CLOSE_SECONDS = 10.0
_BLINK_SECONDS = 0.02
"""So long a thread waits for another to say that it closes, before it is told that there are two."""


class Consumer(Generic[K, V]):
    """
    Reads the records of some topics in order, waits for more, and shares them with the other members of its group.

    Delivery is at least once: a record comes again if the program stops between receiving it and committing it.
    What was handed out is *finished* when the caller asks for more; with a group, finished offsets are committed
    every `auto_commit_interval` and on `close()`. So nothing is committed that the caller has not done with: leave
    the loop by `break` or an exception, and the record in hand comes again. `commit()` says "done with all of it".

    With a group and topics it is a member: it joins at once, and each partition is read by one member at a time.
    Members come and go, in any thread or process; partitions move one by one, each in its owner's next `poll()`,
    committed up to what is finished. A member whose process dies loses its partitions within milliseconds.

    One consumer belongs to one thread at a time; only `wakeup()` and `close()` may come from another.

    Args:
        group: keeps positions in the log under this name, and shares the topics. Without one, it reads everything
            from `start` each time.
        start: where to begin when the group has no committed offset: "earliest" (default), "latest", an offset,
            or a `datetime`. Partitions that appear later are read from their first record.
        auto_commit: whether finished offsets are committed without a call (default, with a group).
        auto_commit_interval: seconds between automatic commits (default 1.0). Each costs a sync.
        max_poll_records: the most records `poll()` hands out (default 500).
        fetch_max_bytes: the most encoded bytes read from disk at once (default 1 MiB). One batch is read even if
            larger: reading never gets stuck.
        assignor: who gets which partition: "sticky" (default: even, and moves as few as possible), "range",
            "roundrobin", or a function of a module (`eventlog.Assignor`). The same for all members.
        instance_id: a name that makes it a static member (KIP-345): when it ends and comes back under that name
            within the session timeout, it has its partitions again, and nobody else was bothered.
        session_timeout: seconds of silence of the process (stopped, swapped out), after which the others take the
            partitions (default 10.0, at least 0.1). A killed process is noticed at once.
        max_poll_interval: seconds that the program may take between two `poll()` (default 300.0, at least 0.1).
        on_assigned: called inside `poll()` with the partitions that are read from now on. It may `seek()`.
        on_revoked: called inside `poll()`, or by `close()`, with those that are given up. It may `commit()`; inside
            `close()`, which may follow an error, that stores only what is finished.
        on_lost: called inside `poll()` with those that others took after a silence. Nothing can be committed.

    An exception of a callback comes out of `poll()`; nothing was handed out, and the next `poll()` calls it again.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     meta = log.topic("orders", key=str).append(b"tea", key="alice")
        ...     with log.consumer("orders", group="billing") as consumer:
        ...         [record.value for record in consumer.poll(timeout=1.0)]
        [b'tea']
    """

    def __init__(
        self, backend: Backend, open_topic: Callable[[str], Topic[Any, Any]], options: ConsumerOptions
    ) -> None:
        self._backend = backend
        self._options = options
        self._in_use = threading.Lock()
        self._calling: int | None = None
        self._refusal: Callable[[], Exception] | None = None
        self._is_closing = False
        us = weakref.proxy(self)  # a circle would keep a dropped member alive until the collector comes by

        def call(callback: Callback, partitions: list[TopicPartition]) -> None:
            us._call(callback, partitions)

        self._core = ConsumerCore(backend, lambda name: open_topic(name)._route, options, call)
        backend.on_fork(self)

    def _begin(self) -> None:
        """Join the group; the last thing that is done to make a consumer, so that no half-made one is a member."""
        self._core.join()

    @property
    def group(self) -> str | None:
        """The group whose offsets this consumer keeps, None without one."""
        return self._options.group

    # -- reading ---------------------------------------------------------------------------------------------

    def poll(self, timeout: float = 0.0, *, max_records: int | None = None) -> list[Record[K, V]]:
        """
        The next records, in order within each partition; says that those of the call before are finished.

        Args:
            timeout: seconds to wait when there is none (default 0.0: look once). Waiting takes no CPU, and Ctrl-C
                and `wakeup()` end it.
            max_records: the most to hand out, `max_poll_records` when not given.

        Returns:
            At least one record, or an empty list when the time is over.

        Raises:
            OffsetOutOfRange: if the next offset of a partition was deleted, or `seek()` went beyond its end. The
                position is unchanged; `seek()` moves it.
            CorruptBatch, DecodeError: if the next record cannot be read. The position is unchanged.
            UnknownTopic: if a topic was deleted. Make another consumer for one that has its name.
            InstanceInUse, GroupMismatch: if the group removed this member after a silence, and cannot have it back.
            Exception: whatever a callback or an assignor of yours raises. The group keeps its assignment.
            ConcurrentUse, LogClosed, UsedAfterFork: for what their names say. Nothing was handed out.
        """
        limit = self._options.max_poll_records
        if max_records is not None:
            limit = check_int("max_records", max_records, least=1)
        batches = self._poll(check_seconds("timeout", timeout), limit)
        if len(batches) == 1:
            records = batches[0].records()
        else:
            records = [record for batch in batches for record in batch.records()]
        self._core.is_handing = False
        return records

    def poll_batches(self, timeout: float = 0.0) -> list[RecordBatch[K, V]]:
        """
        The next records in columns: whole batches as they were stored, up to `fetch_max_bytes`.

        The fastest way to read: no object for each record. Waits, finishes and raises as `poll` does.
        """
        batches = self._poll(check_seconds("timeout", timeout), None)
        self._core.is_handing = False
        return batches

    def __iter__(self) -> Iterator[Record[K, V]]:
        """
        Hands out records one by one, and blocks for more; `wakeup()` ends it.

        Asking for the next record says that the one before is finished.
        """
        # The chain walks lists of records in C. Where it stands is asked of the list's iterator, not counted.
        return chain.from_iterable(self._core.chunks(lambda count: self._poll(None, count, is_loop=True)))

    def _poll(
        self, timeout: float | None, max_records: int | None, *, is_loop: bool = False
    ) -> list[RecordBatch[K, V]]:
        with self._used():
            self._refuse_in_callback("poll()")
            core = self._core
            batches = core.try_take(max_records, is_loop=is_loop)
            if batches or core.take_wakeup() or timeout == 0.0:
                return batches
            monotonic = self._backend.clock.monotonic
            until_s = _NEVER_S if timeout is None else monotonic() + timeout
            while monotonic() < until_s:
                if not core.prepare_to_wait():  # else look once more before the first wait
                    core.waiter.wait_until(min(until_s, core.next_wake_at()), core.seen_transaction)
                batches = core.try_take(max_records, is_loop=is_loop)
                if batches or core.take_wakeup():
                    return batches
            return []

    def wakeup(self) -> None:
        """
        Ends a wait that runs now in another thread, or else the next one: `poll` returns what it has.

        A loop ends as soon as it asks for more than it was given at once, whether it waits or not. A loop of the
        program that watches `fileno()` wakes up.

        The one method that any thread may call, and a signal handler too.
        """
        self._core.wake()

    # -- loops of the program --------------------------------------------------------------------------------

    def fileno(self) -> int:
        """
        A descriptor for an event loop of the program: readable while `poll(0)` may find something.

        It becomes readable when something is committed to a topic of the consumer, by any thread or process, when
        something changes in its group, and by `wakeup()`; and it stays readable until a `poll(0)` has found nothing.
        So a loop that calls `poll(0)` whenever it is readable misses nothing and does not spin. It is one descriptor
        until `close()`: take it out of the loop before. Never read from it.

        Some things come with time and not with a commit (offsets to commit, the lease of a member, a notification that
        was lost): call `poll(0)` also when `max_wait()` seconds have passed since the last call.

        Raises:
            NotSupported: where the platform or the file system has no FIFOs. Call `poll(0)` every few milliseconds
                then, or `poll(timeout)` in a thread.

        Example:
            >>> import selectors
            >>> with eventlog.open(":memory:") as log, selectors.DefaultSelector() as selector:
            ...     topic = log.topic("orders")
            ...     with log.consumer(topic) as consumer:
            ...         key = selector.register(consumer, selectors.EVENT_READ)
            ...         meta = topic.append(b"tea")
            ...         while not (records := consumer.poll(0)):
            ...             ready = selector.select(consumer.max_wait())
            ...         key = selector.unregister(consumer)
            >>> [record.value for record in records]
            [b'tea']
        """
        with self._used():
            return self._core.fileno()

    def max_wait(self) -> float:
        """
        For how many seconds an event loop may wait before it calls `poll(0)`, though `fileno()` is not readable.

        At most 0.1: a notification may be lost, when a writer is killed between its commit and the notification, and
        a consumer looks by itself as often. Less when offsets are to be committed or the group has to be attended to,
        0.0 when that is due.
        """
        with self._used():
            left_s = self._core.next_wake_at() - self._backend.clock.monotonic()
            return min(max(left_s, 0.0), RECHECK_SECONDS)

    # -- finishing and committing ----------------------------------------------------------------------------

    def commit(self, offsets: Offsets | None = None) -> None:
        """
        Stores the group's position: everything handed out is finished.

        Durable when the call returns.

        Called before the work on what `poll` returned, delivery is at most once; after it, at least once.

        Args:
            offsets: the next offset to read, for some partitions; when not given, all positions.

        Raises:
            ValueError: if the consumer has no group, or an offset is negative. Nothing was stored.
            UnknownTopic, UnknownPartition: if there is none of that name. Nothing was stored.
            MemberFenced: if a member has one of the partitions that is not this one: it was silent for too long, and
                the group gave them away. Nothing was stored; the next `poll()` joins again.
        """
        with self._used():
            self._check_group("commit")
            self._core.commit(None if offsets is None else offsets_of(offsets))

    def _give_offsets(self, store: Backend, offsets: Offsets | None) -> GivenOffsets:
        """What a transaction is to commit for us; we commit nothing by ourselves any more."""
        if store is not self._backend:
            raise ValueError(
                f"the consumer reads the log at {self._backend.path}, and the transaction is one of {store.path}. "
                "Nothing was changed. Use a transaction of the consumer's log."
            )
        with self._used():
            self._check_group("commit in a transaction")
            return self._core.give_offsets(None if offsets is None else offsets_of(offsets))

    def committed(self, tp: Pair) -> int | None:
        """
        The offset that the log has for the group in one partition, None when it has none.

        Raises:
            ValueError: if the consumer has no group.
            UnknownTopic, UnknownPartition: if there is none of that name.
        """
        with self._used():
            self._check_group("ask for a committed offset")
            return self._core.starts.committed(pair_of(tp))

    def _check_group(self, what: str) -> None:
        if self._options.group is None:
            raise ValueError(
                f"cannot {what}: this consumer has no group, and offsets are kept for groups. Nothing was stored. "
                'Make it with log.consumer(..., group="name").'
            )

    # -- positions -------------------------------------------------------------------------------------------

    def assign(self, partitions: Iterable[Pair]) -> None:
        """
        Reads exactly these partitions from now on, from the committed offset or `start`.

        What was finished is committed first; partitions that stay keep their positions.

        Raises:
            UnknownTopic, UnknownPartition: if there is none of that name. The assignment is unchanged.
        """
        with self._used():
            self._refuse_in_callback("assign()")
            if self._options.membership is not None:
                raise ValueError(
                    "cannot assign partitions to a member of a group: the group divides its topics among its members. "
                    "The assignment is unchanged. Make a consumer with group= and without topics to choose by hand."
                )
            self._core.assign([pair_of(tp) for tp in partitions])

    def assignment(self) -> list[TopicPartition]:
        """The partitions that this consumer reads."""
        with self._used():
            return self._core.positions.partitions()

    def position(self, tp: Pair) -> int:
        """The offset of the next record that will be handed out of one partition."""
        with self._used():
            positions = self._core.positions
            return positions.next_offset(positions[tp])

    def seek(self, tp: Pair, offset: int) -> None:
        """
        Goes to an offset of one assigned partition; the next record handed out has that offset or a later one.

        An offset outside the partition is found at the next `poll`, which raises `OffsetOutOfRange`.

        Raises:
            ValueError: if the offset is negative, or the partition is not assigned. The position is unchanged.
        """
        check_offset(offset)
        with self._used():
            self._core.seek((tp,), lambda _: offset)

    def seek_to_beginning(self, *partitions: Pair) -> None:
        """Goes to the first record of some assigned partitions, or of all."""
        with self._used():
            self._core.seek_to_start(partitions, "earliest")

    def seek_to_end(self, *partitions: Pair) -> None:
        """Goes behind the last record of some assigned partitions, or of all."""
        with self._used():
            self._core.seek_to_start(partitions, "latest")

    def seek_to_committed(self, *partitions: Pair) -> None:
        """
        Goes back to where the group stands in some assigned partitions, or in all.

        Where it stands nowhere yet, to what `start` means now. So what was handed out and not committed comes again:
        after a transaction that was aborted, say.

        Raises:
            ValueError: if the consumer has no group, or a partition is not assigned. The positions are unchanged.
        """
        self._check_group("go back to what is committed")
        with self._used():
            self._core.seek_to_committed(partitions)

    def seek_to_time(self, moment: datetime | int, *partitions: Pair) -> None:
        """
        Goes to the first record of a time or later, in some assigned partitions, or in all.

        Args:
            moment: a `datetime` with a time zone, or ms since 1970 UTC. Where no record is as late, the position
                is the end.
        """
        timestamp_ms = to_ms(moment)
        with self._used():
            self._core.seek(partitions, lambda position: self._core.starts.of_time(position, timestamp_ms))

    def pause(self, *partitions: Pair) -> None:
        """
        Hands out nothing of some assigned partitions, or of all, until `resume`.

        Positions stay.
        """
        with self._used():
            self._core.pause(partitions)

    def resume(self, *partitions: Pair) -> None:
        """Goes on with some paused partitions, or with all."""
        with self._used():
            self._core.resume(partitions)

    def paused(self) -> list[TopicPartition]:
        """The partitions that are paused."""
        with self._used():
            return [position.tp for position in self._core.positions.order if position.is_paused]

    def lag(self) -> dict[TopicPartition, int]:
        """How many offsets lie between the position and the end, for each assigned partition."""
        with self._used():
            return self._core.lags()

    # -- life ------------------------------------------------------------------------------------------------

    def _used(self) -> AbstractContextManager[None] | HeldLock:
        if self._calling == threading.get_ident():  # a callback of ours: its thread has the lock
            self._check_use(is_ours=True)
            return nullcontext()
        return HeldLock(self._in_use, _CLOSE_SECONDS if self._is_closing else _BLINK_SECONDS, self._check_use)

    def _call(self, callback: Callback, partitions: list[TopicPartition]) -> None:
        """Runs a callback of the user's, which may use the consumer."""
        self._calling = threading.get_ident()
        try:
            callback(partitions)
        finally:
            self._calling = None
        if self._refusal is not None:
            raise self._refusal()  # the callback forked, and this is the child

    def _refuse_in_callback(self, what: str) -> None:
        if self._calling == threading.get_ident():
            raise ConcurrentUse(
                f"cannot call {what} inside a callback of the same consumer. Nothing was changed. Commit, seek, pause "
                "and ask there; do the rest after poll() has returned."
            )

    def _check_use(self, is_ours: bool) -> None:  # noqa: FBT001
        self._check_ours(is_ours)
        if self._refusal is not None:
            raise self._refusal()
        if self._calling is None:
            self._core.take_back()

    def _check_ours(self, is_ours: bool) -> None:  # noqa: FBT001
        if not is_ours:
            raise ConcurrentUse(
                "another thread is using this consumer. Nothing was handed out. Give each thread a consumer of its "
                "own; only wakeup() and close() may be called from others."
            )

    def close(self) -> None:
        """
        Commits what is finished, and ends the consumer.

        What was handed out last counts as finished only if `commit()` said so: it comes again to the next one.
        Calling it again does nothing. Another thread may call it: a wait that runs is ended first.

        Raises:
            StorageError: if the commit failed. The consumer is closed all the same.
            ConcurrentUse: if the other thread did not leave the consumer within 10 s. It is not closed.
        """
        if self._refusal is not None:
            return
        self._refuse_in_callback("close()")
        self._is_closing = True
        try:
            self._close()
        finally:
            self._is_closing = False

    def _close(self) -> None:
        self.wakeup()
        with HeldLock(self._in_use, _CLOSE_SECONDS, self._check_ours):
            if self._refusal is not None:
                return  # another thread closed it meanwhile
            self._check_use(is_ours=True)
            try:
                self._core.close()
            finally:
                self._refusal = lambda: LogClosed(
                    "the consumer is closed. Nothing was handed out. Make another with log.consumer()."
                )

    def _after_fork(self) -> None:
        """Leave the parent's place to wait alone; this consumer is of no use in the child."""
        self._core.forget()
        self._in_use = threading.Lock()
        self._refusal = lambda: UsedAfterFork(
            "the consumer was made before a fork and belongs to the parent. Nothing was handed out. Make another "
            "with log.consumer() in the child."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        group = "no group" if self._options.group is None else f"group {self._options.group!r}"
        state = "closed" if self._refusal is not None else f"{len(self._core.positions.order)} partitions"
        return f"<Consumer of {group}: {state}>"
