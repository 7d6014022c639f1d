"""
The consumer: reads topics from a position, waits for more, and keeps the position in the log for its group.

What it puts together is elsewhere: what a poll does in `clients/consumer/core.py`, fetching and waiting in
`clients/consumer/fetcher.py`, offsets in `clients/consumer/positions.py`, sharing with other members in
`clients/consumer/group/membership.py`. Here is who may call, and how it ends.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from itertools import chain
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self

from eventlog.backend import Backend
from eventlog.clients.consumer.core import ConsumerCore
from eventlog.clients.consumer.fetcher import Fetcher
from eventlog.clients.consumer.options import Callback, ConsumerOptions
from eventlog.clients.consumer.positions import Offsets, Pair, Position, Positions, offsets_of, pair_of
from eventlog.clients.consumer.topic_discovery import TopicDiscovery
from eventlog.clients.reading.batch_reader import resolve_start
from eventlog.clients.topic.topic import Topic
from eventlog.clock import to_ms
from eventlog.errors import ConcurrentUse, LogClosed, UsedAfterFork
from eventlog.groups.state import Subscription
from eventlog.options import Start, check_int, check_offset, check_seconds
from eventlog.records import K, Record, RecordBatch, TopicPartition, V
from eventlog.uninterruptible import HeldLock

if TYPE_CHECKING:  # what groups need is imported by the first consumer of one: `import eventlog` is fast
    from eventlog.clients.consumer.group.membership import Membership
    from eventlog.clients.consumer.offset_commits import GivenOffsets, OffsetCommits

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

    def __init__(self, store: Backend, open_topic: Callable[[str], Topic[Any, Any]], options: ConsumerOptions) -> None:
        self._store = store
        self._open_topic = open_topic
        self._options = options
        self._positions = positions = Positions(store, open_topic, group=options.group, start=options.start)
        self._intake = Fetcher(store, positions, options.fetch_max_bytes)
        self._in_use = threading.Lock()
        self._calling: int | None = None
        self._refusal: Callable[[], Exception] | None = None
        self._is_closing = False
        self._is_leaving = False
        self._membership: Membership | None = None
        following: TopicDiscovery | None = None
        if options.membership is not None:
            from eventlog.clients.consumer.group.membership import Membership

            us = weakref.proxy(self)  # a circle would keep a dropped member alive until the collector comes by

            def call(callback: Callback, partitions: list[TopicPartition]) -> None:
                us._call(callback, partitions)

            self._membership = Membership(store, open_topic, positions, options.membership, call)
        elif options.subscription != Subscription():
            following = TopicDiscovery(store, open_topic, positions, options.subscription)
        self._commits: OffsetCommits | None = None
        if options.group is not None:
            from eventlog.clients.consumer.offset_commits import OffsetCommits

            interval_s = options.auto_commit_interval if options.auto_commit else None
            self._commits = OffsetCommits(store, open_topic, positions, self._membership, options.group, interval_s)
        self._polling = ConsumerCore(
            store.clock, options, positions, self._intake, self._membership, following, self._commits
        )
        store.on_fork(self)

    def _begin(self) -> None:
        """Joins the group; the last thing that is done to make a consumer, so that no half-made one is a member."""
        if self._membership is not None:
            self._membership.begin()

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
        self._polling.is_handing = False
        return records

    def poll_batches(self, timeout: float = 0.0) -> list[RecordBatch[K, V]]:
        """
        The next records in columns: whole batches as they were stored, up to `fetch_max_bytes`.

        The fastest way to read: no object for each record. Waits, finishes and raises as `poll` does.
        """
        batches = self._poll(check_seconds("timeout", timeout), None)
        self._polling.is_handing = False
        return batches

    def __iter__(self) -> Iterator[Record[K, V]]:
        """
        Hands out records one by one, and blocks for more; `wakeup()` ends it.

        Asking for the next record says that the one before is finished.
        """
        # The chain walks lists of records in C. Where it stands is asked of the list's iterator, not counted.
        return chain.from_iterable(self._polling.chunks(lambda count: self._poll(None, count, is_loop=True)))

    def _poll(
        self, timeout: float | None, max_records: int | None, *, is_loop: bool = False
    ) -> list[RecordBatch[K, V]]:
        with self._used():
            self._refuse_in_callback("poll()")
            return self._polling.take(timeout, max_records, is_loop=is_loop)

    def wakeup(self) -> None:
        """
        Ends a wait that runs now in another thread, or else the next one: `poll` returns what it has.

        A loop ends as soon as it asks for more than it was given at once, whether it waits or not.

        The one method that any thread may call, and a signal handler too.
        """
        self._polling.wake()

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
            commits = self._group_commits("commit")
            if offsets is None:
                if not self._is_leaving:  # else we are in `on_revoked`, maybe because the work failed
                    self._positions.finish_handed()
                chosen = self._positions.uncommitted()
            else:
                chosen = offsets_of(offsets)
            commits.store(chosen, is_automatic=False)

    def _give_offsets(self, store: Backend, offsets: Offsets | None) -> GivenOffsets:
        """What a transaction is to commit for us; we commit nothing by ourselves any more."""
        if store is not self._store:
            raise ValueError(
                f"the consumer reads the log at {self._store.path}, and the transaction is one of {store.path}. "
                "Nothing was changed. Use a transaction of the consumer's log."
            )
        with self._used():
            commits = self._group_commits("commit in a transaction")
            chosen = self._positions.handed(is_in_hand=not self._is_leaving) if offsets is None else offsets_of(offsets)
            return commits.give(chosen)

    def committed(self, tp: Pair) -> int | None:
        """
        The offset that the log has for the group in one partition, None when it has none.

        Raises:
            ValueError: if the consumer has no group.
            UnknownTopic, UnknownPartition: if there is none of that name.
        """
        with self._used():
            self._group_commits("ask for a committed offset")
            return self._positions.committed(pair_of(tp))

    def _group_commits(self, what: str) -> OffsetCommits:
        if self._commits is None:
            raise ValueError(
                f"cannot {what}: this consumer has no group, and offsets are kept for groups. Nothing was stored. "
                'Make it with log.consumer(..., group="name").'
            )
        return self._commits

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
            if self._membership is not None:
                raise ValueError(
                    "cannot assign partitions to a member of a group: the group divides its topics among its members. "
                    "The assignment is unchanged. Make a consumer with group= and without topics to choose by hand."
                )
            chosen = [(self._open_topic(pair.topic), pair) for pair in map(pair_of, partitions)]
            for topic, pair in chosen:
                topic._route.check_partition(pair.partition)
            self._positions.finish_before_hand()
            self._positions.reclaim()
            if self._commits is not None:
                self._commits.commit_finished()
            self._positions.assign(chosen)
            self._polling.stop_following()
            self._intake.look_again()

    def assignment(self) -> list[TopicPartition]:
        """The partitions that this consumer reads."""
        with self._used():
            return self._positions.partitions()

    def position(self, tp: Pair) -> int:
        """The offset of the next record that will be handed out of one partition."""
        with self._used():
            return self._positions.next_offset(self._positions[tp])

    def seek(self, tp: Pair, offset: int) -> None:
        """
        Goes to an offset of one assigned partition; the next record handed out has that offset or a later one.

        An offset outside the partition is found at the next `poll`, which raises `OffsetOutOfRange`.

        Raises:
            ValueError: if the offset is negative, or the partition is not assigned. The position is unchanged.
        """
        check_offset(offset)
        self._seek((tp,), lambda _: offset)

    def seek_to_beginning(self, *partitions: Pair) -> None:
        """Goes to the first record of some assigned partitions, or of all."""
        self._seek(partitions, lambda position: self._resolved(position, "earliest"))

    def seek_to_end(self, *partitions: Pair) -> None:
        """Goes behind the last record of some assigned partitions, or of all."""
        self._seek(partitions, lambda position: self._resolved(position, "latest"))

    def seek_to_committed(self, *partitions: Pair) -> None:
        """
        Goes back to where the group stands in some assigned partitions, or in all.

        Where it stands nowhere yet, to what `start` means now. So what was handed out and not committed comes again:
        after a transaction that was aborted, say.

        Raises:
            ValueError: if the consumer has no group, or a partition is not assigned. The positions are unchanged.
        """
        self._group_commits("go back to what is committed")
        self._store.commit_queued()  # a commit that was interrupted may be under way in another thread
        self._seek(partitions, self._positions.group_offset)

    def seek_to_time(self, moment: datetime | int, *partitions: Pair) -> None:
        """
        Goes to the first record of a time or later, in some assigned partitions, or in all.

        Args:
            moment: a `datetime` with a time zone, or ms since 1970 UTC. Where no record is as late, the position
                is the end.
        """
        timestamp_ms = to_ms(moment)
        self._seek(
            partitions,
            lambda position: self._store.offset_of_time(position.cursor.route.row, position.tp.partition, timestamp_ms),
        )

    def _resolved(self, position: Position, start: Start) -> int:
        return resolve_start(self._store, position.cursor.route.row, position.tp.partition, start)

    def _seek(self, partitions: Sequence[Pair], offset_of: Callable[[Position], int]) -> None:
        with self._used():
            self._positions.seek(partitions, offset_of)
            self._intake.look_again()

    def pause(self, *partitions: Pair) -> None:
        """
        Hands out nothing of some assigned partitions, or of all, until `resume`.

        Positions stay.
        """
        with self._used():
            self._positions.reclaim()
            for position in self._positions.chosen(partitions):
                position.is_paused = True

    def resume(self, *partitions: Pair) -> None:
        """Goes on with some paused partitions, or with all."""
        with self._used():
            for position in self._positions.chosen(partitions):
                position.is_paused = False
            self._intake.look_again()

    def paused(self) -> list[TopicPartition]:
        """The partitions that are paused."""
        with self._used():
            return [position.tp for position in self._positions.order if position.is_paused]

    def lag(self) -> dict[TopicPartition, int]:
        """How many offsets lie between the position and the end, for each assigned partition."""
        with self._used():
            return self._positions.lags()

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
            self._polling.take_back()

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
                self._positions.finish_before_hand()
                self._leave()
            finally:
                if self._membership is not None:
                    self._membership.drop()
                self._polling.close()
                self._refusal = lambda: LogClosed(
                    "the consumer is closed. Nothing was handed out. Make another with log.consumer()."
                )

    def _leave(self) -> None:
        membership = self._membership
        if membership is None:
            if self._commits is not None:
                self._commits.commit_finished()
            return
        try:
            self._is_leaving = True
            membership.give_up()
        finally:
            membership.leave({} if self._commits is None else self._commits.left_to_commit())

    def _after_fork(self) -> None:
        """Leaves the parent's place to sleep alone; this consumer is of no use in the child."""
        self._intake.forget()
        if self._membership is not None:
            self._membership.forget()
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
        state = "closed" if self._refusal is not None else f"{len(self._positions.order)} partitions"
        return f"<Consumer of {group}: {state}>"
