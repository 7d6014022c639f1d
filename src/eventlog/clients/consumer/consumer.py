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
from time import monotonic
from typing import TYPE_CHECKING, Any, Never

from eventlog.api.consumer import Callback, Consumer, Offsets, Pair
from eventlog.api.overriding import override
from eventlog.backend import Backend
from eventlog.backend.waiting import RECHECK_SECONDS, Listener, Waiter
from eventlog.clients.consumer.core import ConsumerCore
from eventlog.clients.consumer.options import ConsumerOptions
from eventlog.clients.consumer.positions import offsets_of, pair_of
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.clock import to_ms
from eventlog.errors import ConcurrentUse, LogClosed, UsedAfterFork
from eventlog.groups.state import CommittedOffset
from eventlog.options import check_int, check_offset, check_offset_notes, check_seconds, refuse_options
from eventlog.records import K, Record, RecordBatch, TopicPartition, V
from eventlog.uninterruptible import HeldLock

if TYPE_CHECKING:
    from eventlog.api.transaction import Transaction
    from eventlog.clients.consumer.given_offsets import GivenOffsets

_NEVER_S = float("inf")
CLOSE_SECONDS = 10.0
"""So long a close waits for the threads that use its consumers, all together."""
_BLINK_SECONDS = 0.02
"""So long a thread waits for another to say that it closes, before it is told that there are two."""


class EmbeddedConsumer(Consumer[K, V]):
    """The embedded consumer: see `eventlog.Consumer`."""

    def __init__(
        self,
        backend: Backend,
        open_topic: Callable[[str], EmbeddedTopic[Any, Any]],
        options: ConsumerOptions,
        listener: Listener | None = None,
    ) -> None:
        self._backend = backend
        self._options = options
        self._in_use = threading.RLock()
        self._calling: int | None = None
        self._refusal: Callable[[], Exception] | None = None
        self._is_closing = False
        self._is_to_close = False
        """Whether `close()` was called inside a call of the same thread, which closes when it ends."""
        self._when_closed: Callable[[], object] | None = None
        us = weakref.proxy(self)  # a circle would keep a dropped member alive until the collector comes by

        def call(callback: Callback, partitions: list[TopicPartition]) -> None:
            us._call(callback, partitions)

        self._is_patient = False
        """Whether a poll that waits anyway does not look first where it was through and nothing was notified."""
        self._waiter: Waiter | None = None
        """Where a poll waits; None where somebody else waits and listens."""
        if listener is None:
            listener = self._waiter = backend.waiter()
        self._core = ConsumerCore(backend, lambda name: open_topic(name)._route, options, call, listener)
        backend.on_fork(self)

    def _be_patient(self) -> None:
        """
        Have polls wait first where all was read, as our reader does nothing but wait, and a look costs it time.

        A commit wakes them; one whose notification was lost is found within 100 ms, as in any wait.
        """
        self._is_patient = True

    def _begin(self) -> None:
        """Join the group; the last thing that is done to make a consumer, so that no half-made one is a member."""
        self._core.join()

    @property
    @override
    def group(self) -> str | None:
        return self._options.group

    @property
    @override
    def is_closed(self) -> bool:
        return self._refusal is not None

    # -- reading ---------------------------------------------------------------------------------------------

    @override
    def poll(self, timeout: float = 0.0, *, max_records: int | None = None, **others: Never) -> list[Record[K, V]]:
        if others:
            refuse_options("Consumer.poll", others)
        limit = self._options.max_poll_records
        if max_records is not None:
            limit = check_int("max_records", max_records, least=1)
        timeout = check_seconds("timeout", timeout)
        while True:
            batches = self._poll(timeout, limit)
            if len(batches) == 1:
                records = batches[0].records()
            else:
                records = [record for batch in batches for record in batch.records()]
            if self._core.may_hand_out(batches):
                return records

    @override
    def poll_batches(self, timeout: float = 0.0, **others: Never) -> list[RecordBatch[K, V]]:
        if others:
            refuse_options("Consumer.poll_batches", others)
        timeout = check_seconds("timeout", timeout)
        while True:
            batches = self._poll(timeout, None)
            if self._core.may_hand_out(batches):
                return batches

    @override
    def __iter__(self) -> Iterator[Record[K, V]]:
        # The chain walks lists of records in C. Where it stands is asked of the list's iterator, not counted.
        return chain.from_iterable(self._core.chunks(lambda count: self._poll(None, count, is_loop=True)))

    def _poll(
        self, timeout: float | None, max_records: int | None, *, is_loop: bool = False
    ) -> list[RecordBatch[K, V]]:
        if self._calling is not None:
            self._refuse_in_callback("poll()")
        core, is_over = self._core, self._is_to_close
        batches: list[RecordBatch[K, V]] = []
        with self._used(self._check_ours if is_over else self._check_use):
            try:
                if is_over:
                    return []
                if self._is_closing:  # another thread waits for its turn, and woke the poll before this one
                    if is_loop:
                        return []
                    raise closed_consumer()
                waiter = self._waiter
                is_patient = self._is_patient and timeout != 0.0 and waiter is not None and waiter.is_notified
                batches = core.try_take(max_records, is_loop=is_loop, is_patient=is_patient)
                if batches or core.take_wakeup() or timeout == 0.0:
                    return batches
                now = self._backend.clock.monotonic
                until_s = _NEVER_S if timeout is None else now() + timeout
                while now() < until_s:
                    if not core.prepare_to_wait():  # else look once more before the first wait
                        assert self._waiter is not None
                        self._waiter.wait_until(min(until_s, core.next_wake_at()), core.seen_transaction)
                    batches = core.try_take(max_records, is_loop=is_loop)
                    if batches or core.take_wakeup():
                        return batches
                return []
            finally:
                if self._is_to_close:
                    batches.clear()  # what came does not arrive any more
                    self._close_core()

    def _try(self, max_records: int | None, *, is_loop: bool, is_resting: bool) -> tuple[list[RecordBatch[K, V]], bool]:
        """One try of a poll that does not wait here; whether it was woken by `wakeup()`."""
        self._refuse_in_callback("poll()")
        with self._used():
            try:
                self._core.is_resting = is_resting
                batches = self._core.try_take(max_records, is_loop=is_loop)
                return batches, not batches and self._core.take_wakeup()
            finally:
                self._core.is_resting = False
                if self._is_to_close:
                    self._close_core()

    @override
    def wakeup(self) -> None:
        self._core.wake()

    # -- loops of the program --------------------------------------------------------------------------------

    @override
    def fileno(self) -> int:
        with self._used():
            return self._core.fileno()

    @override
    def max_wait(self) -> float:
        with self._used():
            left_s = self._core.next_wake_at() - self._backend.clock.monotonic()
            return min(max(left_s, 0.0), RECHECK_SECONDS)

    @property
    def _permit(self) -> list[float]:
        """Holds the time until which work on what was handed out may begin: as long as the lease of a member runs."""
        return self._core.permit

    # -- finishing and committing ----------------------------------------------------------------------------

    @override
    def commit(
        self, offsets: Offsets | None = None, *, metadata: str | None = None, leader_epoch: int | None = None
    ) -> None:
        note = None
        if metadata is not None or leader_epoch is not None:
            note = check_offset_notes(leader_epoch, metadata)
        with self._used():
            self._check_group("commit")
            self._core.commit(None if offsets is None else offsets_of(offsets), note)

    def _join_transaction(self, store: Backend, transaction: Transaction) -> GivenOffsets:
        """Our part in a transaction that is begun with us; we commit nothing by ourselves any more."""
        self._check_store(store)
        with self._used():
            self._check_group("commit in a transaction")
            return self._core.join_transaction(transaction)

    def _give_offsets(self, store: Backend, offsets: Offsets | None, given: GivenOffsets | None) -> GivenOffsets:
        """What a transaction is to commit for us, in our part in it if there is one already."""
        self._check_store(store)
        with self._used():
            self._check_group("commit in a transaction")
            return self._core.give_offsets(None if offsets is None else offsets_of(offsets), given)

    def _check_store(self, store: Backend) -> None:
        if store is not self._backend:
            raise ValueError(
                f"the consumer reads the log at {self._backend.path}, and the transaction is one of {store.path}. "
                "Nothing was changed. Use a transaction of the consumer's log."
            )

    @override
    def committed(self, tp: Pair) -> int | None:
        with self._used():
            self._check_group("ask for a committed offset")
            self._core.follow_names((tp,))
            return self._core.starts.committed(pair_of(tp))

    @override
    def committed_metadata(self, tp: Pair) -> CommittedOffset | None:
        with self._used():
            self._check_group("ask for a committed offset")
            self._core.follow_names((tp,))
            return self._core.starts.committed_metadata(pair_of(tp))

    def _check_group(self, what: str) -> None:
        if self._options.group is None:
            raise ValueError(
                f"cannot {what}: this consumer has no group, and offsets are kept for groups. Nothing was changed. "
                'Make it with log.consumer(..., group="name").'
            )

    # -- positions -------------------------------------------------------------------------------------------

    @override
    def assign(self, partitions: Iterable[Pair]) -> None:
        with self._used():
            self._refuse_in_callback("assign()")
            if self._options.membership is not None:
                raise ValueError(
                    "cannot assign partitions to a member of a group: the group divides its topics among its members. "
                    "The assignment is unchanged. Make a consumer with group= and without topics to choose by hand."
                )
            self._core.assign([pair_of(tp) for tp in partitions])

    @override
    def assignment(self) -> list[TopicPartition]:
        with self._used():
            return self._core.positions.partitions()

    @override
    def position(self, tp: Pair) -> int:
        with self._used():
            self._core.follow_names((tp,))
            positions = self._core.positions
            return positions.place_of(positions[tp])

    @override
    def seek(self, tp: Pair, offset: int) -> None:
        check_offset(offset)
        with self._used():
            self._core.seek((tp,), lambda _: offset)

    @override
    def seek_to_beginning(self, *partitions: Pair) -> None:
        with self._used():
            self._core.seek_to_start(partitions, "earliest")

    @override
    def seek_to_end(self, *partitions: Pair) -> None:
        with self._used():
            self._core.seek_to_start(partitions, "latest")

    @override
    def seek_to_committed(self, *partitions: Pair) -> None:
        self._check_group("go back to what is committed")
        with self._used():
            self._core.seek_to_committed(partitions)

    @override
    def seek_to_time(self, moment: datetime | int, *partitions: Pair) -> None:
        timestamp_ms = to_ms(moment)
        with self._used():
            self._core.seek(partitions, lambda position: self._core.starts.of_time(position, timestamp_ms))

    @override
    def pause(self, *partitions: Pair) -> None:
        with self._used():
            self._core.pause(partitions)

    @override
    def resume(self, *partitions: Pair) -> None:
        with self._used():
            self._core.resume(partitions)

    @override
    def paused(self) -> list[TopicPartition]:
        with self._used():
            return [position.tp for position in self._core.positions.order if position.is_paused]

    @override
    def lag(self) -> dict[TopicPartition, int]:
        with self._used():
            return self._core.lags()

    # -- life ------------------------------------------------------------------------------------------------

    def _used(self, judge: Callable[[bool], None] | None = None) -> AbstractContextManager[None] | HeldLock:
        if self._in_use._is_owned():  # type: ignore[attr-defined]
            if self._calling is None:
                raise ConcurrentUse(
                    "this consumer is in the middle of a call of the same thread: a signal handler or a finalizer "
                    "called it again.",
                    stored="Nothing was changed.",
                    advice="Call only wakeup() and close() there.",
                )
            self._check_use(is_ours=True)  # a callback of ours
            return nullcontext()
        seconds = CLOSE_SECONDS if self._is_closing else _BLINK_SECONDS
        return HeldLock(self._in_use, seconds, judge or self._check_use)

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
                f"cannot call {what} inside a callback of the same consumer.",
                stored="Nothing was changed.",
                advice="Commit, seek, pause and ask there; do the rest after poll() has returned.",
            )

    def _check_use(self, is_ours: bool) -> None:  # noqa: FBT001
        if not is_ours:
            self._check_ours(is_ours)
        if self._calling is None:
            if self._is_to_close:
                self._close_core()
            if self._core.is_handing:
                self._core.take_back()
        if self._refusal is not None:
            raise self._refusal()

    def _check_ours(self, is_ours: bool) -> None:  # noqa: FBT001
        if not is_ours:
            raise ConcurrentUse(
                "another thread is using this consumer.",
                stored="Nothing was handed out.",
                advice="Give each thread a consumer of its own; only wakeup() and close() may be called from others.",
            )

    @override
    def close(self) -> None:
        self._close_by(monotonic() + CLOSE_SECONDS)

    def _prepare_to_close(self) -> None:
        """Refuse new polls, and end the one that runs: `_close_by` follows, after the same of other consumers."""
        if not self._in_use._is_owned():  # type: ignore[attr-defined]
            self._is_closing = True
            self.wakeup()

    def _close_by(self, deadline_s: float) -> None:
        """Close, and wait for another thread until a moment of `time.monotonic()`."""
        if self._refusal is not None:
            return
        if self._in_use._is_owned() or self._backend.is_interrupted:  # type: ignore[attr-defined]
            self._close_later()
            return
        self._is_closing = True
        try:
            self.wakeup()
            with HeldLock(self._in_use, max(deadline_s - monotonic(), 0.0), self._check_ours):
                self._close_core()
        finally:
            self._is_closing = False

    @property
    def _is_ending(self) -> bool:
        """Whether it is closed, or another thread is closing it."""
        return self._is_closing or self.is_closed

    @property
    def _is_interrupted(self) -> bool:
        """Whether this very thread is in the middle of one of our calls."""
        owned: bool = self._in_use._is_owned()  # type: ignore[attr-defined]
        return owned and self._refusal is None

    def _close_later(self, when_closed: Callable[[], object] | None = None) -> None:
        """
        Have the call close that this thread was interrupted in; or else the next one, which then finds it closed.

        A signal handler waits for nothing: least of all for the call that goes on when it is over.
        """
        self._when_closed = when_closed or self._when_closed
        self._is_to_close = True
        self.wakeup()

    def _close_core(self) -> None:
        """Close now; belongs to the thread that has the lock."""
        if self._refusal is not None:
            self._is_to_close = False
            return  # another thread closed it meanwhile
        self._core.take_back()
        try:
            self._core.close()
            self._is_to_close = False
        finally:
            if self._core.is_closed:  # else Ctrl-C came before it was, and it can be closed again
                self._refusal = closed_consumer
        if self._when_closed is not None:
            self._when_closed()

    def _die(self) -> None:
        """End as the death of the process would: nothing is committed, and the group finds out by itself."""
        with self._used():
            if self._core.membership is not None:
                self._core.membership.drop()
        self.close()

    def _after_fork(self) -> None:
        """Leave the parent's place to wait alone; this consumer is of no use in the child."""
        self._core.forget()
        self._in_use = threading.RLock()
        self._refusal = lambda: UsedAfterFork(
            "the consumer was made before a fork and belongs to the parent.",
            stored="Nothing was handed out.",
            advice="Make another with log.consumer() in the child.",
        )

    def __repr__(self) -> str:
        group = "no group" if self._options.group is None else f"group {self._options.group!r}"
        state = "closed" if self._refusal is not None else f"{len(self._core.positions.order)} partitions"
        return f"<Consumer of {group}: {state}>"


def closed_consumer() -> LogClosed:
    """The error for a consumer that was closed."""
    return LogClosed(
        "the consumer is closed.", stored="Nothing was handed out.", advice="Make another with log.consumer()."
    )
