"""
The projection: a function that folds the records of the log into a state, and its checkpoint.

When to fold and how to wait is decided here; `clients/projection/runner.py` folds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Generic, Self

from eventlog import api
from eventlog.api.features import Closing
from eventlog.backend import Backend
from eventlog.backend.projections import FoldLock, StoredProjection
from eventlog.backend.waiting import Waiter
from eventlog.clients.projection.view import ProjectionView
from eventlog.clients.state.view import StateView
from eventlog.clients.topic_handle import TopicHandle
from eventlog.errors import ConcurrentUse, LogClosed
from eventlog.options import check_int, check_seconds
from eventlog.records import K, V

if TYPE_CHECKING:  # what folding needs is imported by the first projection: `import eventlog` is fast
    from eventlog.clients.projection.folder import FoldOptions

_LONG_SECONDS: Final = 3600.0


class Projection(Closing, Generic[K, V]):
    """
    A state that is folded from the records of the log, in the order in which they were stored, each exactly once.

    Get one from `EventLog.projection()`. The checkpoint is stored in the commit that stores the folded rows, so after a
    crash at any moment the state is that of the checkpoint, and folding goes on there. Readers see whole transactions.

    Any number of processes and threads may run one projection: one of them folds at a time, and when it ends or dies
    another goes on. Any thread may call any method, but only one at a time `run()`.

    The function is given the state and a record, and should change nothing but the state: after an error, a crash or a
    rebuild it is given a record again. An exception of the function comes out of the call that folds, with a note that
    names the record; nothing of that transaction is stored, and the next call begins with it again. A record for which
    the function does nothing is skipped.

    Records that were deleted before they were folded are an error, unless `on_out_of_range` is "earliest". A rebuild
    sees only the records that are still stored. A tombstone is not: the
    function is given the record, whose value is None, and deletes the row if that is what it means.

    Example:
        >>> def count(state, record):
        ...     state[record.key] = state.get(record.key, 0) + 1
        >>> with eventlog.open(":memory:") as log:
        ...     orders = log.topic("orders", key=str)
        ...     projection = log.projection("orders per customer", count, topics=[orders])
        ...     for customer in ("alice", "bob", "alice"):
        ...         meta = orders.append(b"tea", key=customer)
        ...     projection.catch_up(), dict(projection.state.items())
        (3, {'alice': 2, 'bob': 1})
    """

    def __init__(
        self,
        store: Backend,
        topics_by_id: Callable[[], Mapping[int, TopicHandle]],
        row: StoredProjection,
        options: api.FoldOptions | None,
        key: Any,
        value: Any,
        *,
        check: Callable[[], None],
    ) -> None:
        from eventlog.clients.projection.runner import FoldRunner

        self._store = store
        self._check_log = check
        self._options = options
        self._declared = (key, value)
        self._runner = FoldRunner(store, topics_by_id, row, self._declared, check=self._check)
        self._view: StateView[K, V] | None = None
        self._waiters: set[Waiter] = set()
        self._is_running = False
        self._is_closed = False
        store.on_fork(self)

    # -- what readers see ------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of the projection."""
        return self._runner.name

    @property
    def state(self) -> StateView[K, V]:
        """
        A view of the folded state: each call reads the newest commit.

        It stays valid when somebody rebuilds the projection: from then on it reads the new state.

        Raises:
            UnknownProjection: if it was deleted.
            StateMismatch: if the stored state has other codecs than were declared. `rebuild()` makes another.
        """
        self._check()
        view = self._view
        if view is None:
            view = self._view = ProjectionView(self._store, self.name, *self._declared, check=self._check_log)
        return view

    @property
    def log_position(self) -> int:
        """
        The checkpoint: everything before this log position is in the state.

        It never moves back.

        Raises:
            UnknownProjection: if the projection was deleted.
        """
        return self._runner.stored().active.log_position

    @property
    def lag(self) -> int:
        """
        The number of log positions between the checkpoint and the end of the log.

        Raises:
            UnknownProjection: if the projection was deleted.
        """
        self._check()
        return self._runner.lag()

    def wait(self, log_position: int | None = None, *, timeout: float | None = None) -> None:
        """
        Wait until a record and everything before it is in the state, whichever process folds it.

        So a writer reads its own writes: `projection.wait(metadata.log_position)`.

        Args:
            log_position: that of the record; None is the last record that the log has at the call.
            timeout: seconds to wait; None waits forever, even if nobody runs the projection.

        Raises:
            TimeoutError: if the checkpoint does not come so far in time.
            UnknownProjection: if the projection was deleted.
            ValueError, TypeError: for a wrong argument.
        """
        self._check()
        deadline_s = self._deadline(timeout)
        goal = (
            self._store.end_log_position()
            if log_position is None
            else check_int("log_position", log_position, least=0) + 1
        )
        with self._waiter() as waiter:
            while True:
                seen = self._store.last_transaction()
                reached = self.log_position
                if reached >= goal:
                    return
                self._runner.check_may_wait()
                if not waiter.sleep(deadline_s, _LONG_SECONDS, seen):
                    raise TimeoutError(
                        f"projection {self.name!r} has come to position {reached}, not to {goal}, in {timeout} s. "
                        "Nothing was changed. See that somebody runs it, or wait longer."
                    )

    # -- folding ---------------------------------------------------------------------------------------------

    def catch_up(self, timeout: float | None = None) -> int:
        """
        Fold up to the end that the log has at the call, and return the number of folded records.

        While another process or thread folds, it waits until that ends, or has come so far.

        Args:
            timeout: seconds for all of it; None waits forever.

        Raises:
            TimeoutError: if it takes longer. What was folded is stored.
            Exception: what the function raises. Earlier transactions are stored.
            TransactionTooLarge: if one record changes more than `max_bytes`. Earlier transactions are stored.
            CorruptBatch, DecodeError: if a record cannot be read. The records before it were folded.
            OffsetOutOfRange: if records were deleted before they were folded, and `on_out_of_range` is "raise". The
                records before them were folded.
            UnknownProjection: if the projection was deleted.
            StateMismatch: if it is stored with other topics or codecs. `rebuild()` makes another state.
            ValueError: if the projection was opened without a function.
        """
        options = self._check_function()
        deadline_s = self._deadline(timeout)
        end = self._store.end_log_position()

        def is_over() -> bool:
            return self.log_position >= end

        def fold(lock: FoldLock) -> int:
            return self._runner.fold_up_to(options, end, lock, deadline_s)

        with self._waiter() as waiter:
            return self._runner.under_lock(waiter, deadline_s, is_over, fold)

    def run(self) -> int:
        """
        Fold all records, and new ones as they come, until `stop()`; return the number of folded records.

        While another process or thread runs the projection, it waits for that to end. It sleeps while there is nothing
        to fold: an append by any process wakes it.

        Raises:
            ConcurrentUse: if this object runs in another thread.
            Exception: as `catch_up()`.
        """
        options = self._check_function()
        if self._is_running:
            raise ConcurrentUse(
                f"projection {self.name!r} runs in another thread.",
                stored="Nothing was changed.",
                advice="Stop it first, or make another object with log.projection().",
                projection=self.name,
            )
        self._is_running = True
        runner = self._runner
        try:
            with self._waiter() as waiter:

                def fold(lock: FoldLock) -> int:
                    count = 0
                    while not runner.is_stopped:
                        count += runner.fold_up_to(options, None, lock, None)
                        waiter.sleep(None, _LONG_SECONDS, runner.seen_transaction)
                    return count

                return runner.under_lock(waiter, None, lambda: runner.is_stopped, fold)
        finally:
            self._is_running = False
            runner.is_stopped = self._is_closed

    def stop(self) -> None:
        """
        End `run()` after its present transaction; if it does not run, the next `run()` ends at once.

        A transaction takes a second at most, and the time of one record: what a slow function has done is stored.
        Any thread and any signal handler may call it.
        """
        self._runner.is_stopped = True
        for waiter in list(self._waiters):
            waiter.wake()

    def rebuild(self, timeout: float | None = None) -> int:
        """
        Fold all records again, into a new state that replaces the present one; return the number of folded records.

        For a new function, or new topics or codecs. Readers see the present state until the new one has caught up
        with it; then it is replaced in one commit. `run()` and `catch_up()` may fold the present state meanwhile,
        here and elsewhere, and then go on with the new one: give them the new function before.

        An interrupted rebuild leaves the present state unchanged; the next one begins from zero, and removes its rows.

        Args:
            timeout: seconds for all of it; None waits forever.

        Raises:
            TimeoutError: if it takes longer, or another process or thread rebuilds it. The present state is unchanged.
            Exception: as `catch_up()`. The present state is unchanged.
        """
        options = self._check_function()
        deadline_s = self._deadline(timeout)

        def rebuild(lock: FoldLock) -> int:
            return self._runner.rebuild(options, lock, deadline_s)

        with self._waiter() as waiter:
            return self._runner.under_lock(waiter, deadline_s, lambda: False, rebuild, is_rebuild=True)

    @contextmanager
    def _waiter(self) -> Iterator[Waiter]:
        waiter = self._store.waiter()
        self._waiters.add(waiter)
        try:
            yield waiter
        finally:
            self._waiters.discard(waiter)
            waiter.close()

    def _deadline(self, timeout: float | None) -> float | None:
        return None if timeout is None else self._store.clock.monotonic() + check_seconds("timeout", timeout)

    def _check(self) -> None:
        self._check_log()
        if self._is_closed:
            raise LogClosed(
                f"projection {self.name!r} is closed.",
                stored="Nothing was changed.",
                advice="Make another with log.projection().",
                projection=self.name,
            )

    def _check_function(self) -> FoldOptions:
        self._check()
        if self._options is None:
            raise ValueError(
                f"projection {self.name!r} was opened without a function, to read it. Nothing was changed. Give "
                "log.projection() the function to fold it."
            )
        return self._options

    # -- life ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """
        End `run()`, and free the cached rows.

        Calling it again does nothing.
        """
        self._is_closed = True
        self.stop()
        self._runner.forget()

    def _after_fork(self) -> None:
        """Leave the locks and waiters to the parent."""
        self._runner.forget_parents_locks()
        for waiter in list(self._waiters):
            waiter.forget()
        self._waiters = set()
        self._is_running = False

    def __enter__(self) -> Self:
        self._check()
        return self

    def __repr__(self) -> str:
        return f"<Projection {self.name!r}>"


Projection.__module__ = "eventlog"
