"""
The projection: a function that folds the records of the log into a state, and how far it has come.

Here is when to fold, who has the turn, and waiting; how records are folded is in `clients/projection/folder.py`, what
is stored in `store/states/projections.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from eventlog.api.topic import Topic
from eventlog.backend.projections import FoldLock, StoredProjection, unknown_projection
from eventlog.backend.waiting import Waiter
from eventlog.clients.projection.view import ProjectionView
from eventlog.clients.reading.log_reader import check_topics
from eventlog.clients.state.view import StateView, stored_codecs
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.codecs import codec_for
from eventlog.errors import ConcurrentUse, ConflictError, LogClosed, StateMismatch, UsedAfterFork
from eventlog.options import check_int, check_projection_name, check_seconds
from eventlog.store.store import Store

if TYPE_CHECKING:  # what folding needs is imported by the first projection: `import eventlog` is fast
    from eventlog.clients.projection.folder import Folder, FoldOptions

_EVERYTHING: Final = 1 << 63
_TURN_SECONDS = 0.1
_LONG_SECONDS = 3600.0


class Projection:
    """
    Folds the records of the log into a state, in the order in which they were stored, each exactly once.

    Get one from `EventLog.projection()`. The checkpoint is stored in the same commit as what was folded, so after a
    crash at any moment the state is that of the checkpoint, and folding goes on there. Readers see whole transactions.

    Any number of processes and threads may run one projection: one of them folds at a time, and when it ends or dies
    another goes on. Any thread may call anything but `run()`, of which there is one at a time.

    The function is given the state and a record, and should change nothing but the state: after an error, a crash or a
    rebuild it is given a record again. What it raises comes out of the call that folds, with a note that tells the
    record; nothing of that transaction is stored, and the next call begins with it again. A record for which the
    function does nothing is passed by.

    What was deleted from the log is passed by too: a rebuild sees only what is still there.

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
        store: Store,
        topics_by_id: Callable[[], Mapping[int, EmbeddedTopic[Any, Any]]],
        row: StoredProjection,
        options: FoldOptions | None,
        key: Any,
        value: Any,
        *,
        check: Callable[[], None],
    ) -> None:
        self._store = store
        self._topics_by_id = topics_by_id
        self._row = row
        self._options = options
        self._declared = (key, value)
        self._check_log = check
        self._folder: Folder | None = None
        """Knows the rows of the last call, which are as they were if the checkpoint is."""
        self._view: StateView[Any, Any] | None = None
        self._sleepers: set[Waiter] = set()
        self._turns: set[FoldLock] = set()
        self._is_stopped = False
        self._is_running = False
        self._is_closed = False
        store.on_fork(self)

    # -- what readers see ------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Its name."""
        return self._row.name

    @property
    def state(self) -> StateView[Any, Any]:
        """
        What was folded, as everybody may read it: the newest commit at each call.

        It stays good when the projection is rebuilt, by whomever: from then on it reads the new state.

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
        The checkpoint: everything before this position of the log is in the state.

        It never moves back.

        Raises:
            UnknownProjection: if the projection was deleted.
        """
        return self._stored().active.log_position

    @property
    def lag(self) -> int:
        """
        How many positions there are between the checkpoint and the end of the log.

        Raises:
            UnknownProjection: if the projection was deleted.
        """
        self._check()
        row, end = self._store.projection_and_end(self.name)
        return end - self._same(row).active.log_position

    def wait(self, log_position: int | None = None, *, timeout: float | None = None) -> None:
        """
        Waits until a record and everything before it is in the state, whoever folds it, in whatever process.

        So a writer reads its own writes: `projection.wait(metadata.log_position)`.

        Args:
            position: that of the record; None is the last one that the log has at the call.
            timeout: seconds to wait; None waits for ever, also when nobody runs the projection.

        Raises:
            TimeoutError: if it is not there in time.
            UnknownProjection: if the projection was deleted.
            ValueError, TypeError: for what cannot be.
        """
        self._check()
        deadline_s = self._deadline(timeout)
        goal = (
            self._store.end_log_position()
            if log_position is None
            else check_int("log_position", log_position, least=0) + 1
        )
        with self._sleeper() as sleeper:
            while True:
                seen = self._store.last_transaction()
                reached = self.log_position
                if reached >= goal:
                    return
                if not sleeper.sleep(deadline_s, _LONG_SECONDS, seen):
                    raise TimeoutError(
                        f"projection {self.name!r} has come to position {reached}, not to {goal}, in {timeout} s. "
                        "Nothing was changed. See that somebody runs it, or wait longer."
                    )

    # -- folding ---------------------------------------------------------------------------------------------

    def catch_up(self, timeout: float | None = None) -> int:
        """
        Folds up to the end that the log has at the call, and returns how many records it folded.

        While another folds, waits for its turn, or until the other has come so far.

        Args:
            timeout: seconds for all of it; None waits for ever.

        Raises:
            TimeoutError: if it takes longer. What was folded is stored.
            Exception: what the function raises. What was folded in earlier transactions is stored.
            TransactionTooLarge: if one record changes more than `max_bytes`. Likewise.
            CorruptBatch, DecodeError: if a record cannot be read. What comes before it was folded.
            UnknownProjection: if the projection was deleted.
            StateMismatch: if it is stored with other topics or codecs. `rebuild()` makes another state.
            ValueError: if the projection was opened without a function.
        """
        self._check_folds()
        deadline_s = self._deadline(timeout)
        end = self._store.end_log_position()

        def is_over() -> bool:
            return self.log_position >= end

        with self._sleeper() as sleeper, self._turn(sleeper, deadline_s, is_over) as turn:
            return 0 if turn is None else self._fold_up_to(end, turn, deadline_s)

    def run(self) -> int:
        """
        Folds what there is and what comes, until `stop()`; how many records it folded.

        While another process or thread runs the projection, waits for it to end. Sleeps while there is nothing to
        fold: any append, of whatever process, wakes it.

        Raises:
            ConcurrentUse: if this object runs in another thread.
            Exception: as `catch_up()`.
        """
        self._check_folds()
        if self._is_running:
            raise ConcurrentUse(
                f"projection {self.name!r} runs in another thread. Nothing was changed. Stop it first, or make another "
                "object with log.projection()."
            )
        self._is_running = True
        count = 0
        try:
            with self._sleeper() as sleeper, self._turn(sleeper, None, lambda: self._is_stopped) as turn:
                while turn is not None and not self._is_stopped:
                    count += self._fold_up_to(_EVERYTHING, turn, None)
                    folder = self._folder
                    sleeper.sleep(None, _LONG_SECONDS, -1 if folder is None else folder.seen_transaction)
        finally:
            self._is_running = False
            self._is_stopped = self._is_closed
        return count

    def stop(self) -> None:
        """
        Ends `run()` after the transaction that it is at, or else the next one.

        Any thread may call it, and a signal handler.
        """
        self._is_stopped = True
        for sleeper in list(self._sleepers):
            sleeper.wake()

    def rebuild(self, timeout: float | None = None) -> int:
        """
        Folds all records anew into another state, and lets it replace the present one; how many they were.

        For a new function, or new topics or codecs. Readers see the present state until the new one has caught up
        with it; then it is replaced in one commit. `run()` and `catch_up()` may fold the present state meanwhile,
        here and elsewhere, and then go on with the new one: give them the new function before.

        One that is interrupted leaves the present state as it is; the next begins from zero, and removes what is left.

        Args:
            timeout: seconds for all of it; None waits for ever.

        Raises:
            TimeoutError: if it takes longer, or another rebuilds it. The present state is as it was.
            Exception: as `catch_up()`. The present state is as it was.
        """
        from eventlog.codecs.ordered import OrderedCodec

        options = self._check_folds()
        deadline_s = self._deadline(timeout)
        with self._sleeper() as sleeper, self._turn(sleeper, deadline_s, lambda: False, is_rebuild=True) as turn:
            assert turn is not None
            key, value = self._declared
            found = self._found()
            key_codec = OrderedCodec(key, topic=self.name).to_stored() if key is not None else found[1].key
            value_codec = found[1].value
            if value is not None:
                value_codec = codec_for(value, topic=self.name, role="value", kind="state").to_stored()
            self._store.begin_rebuild(self._row, options.topics, key_codec, value_codec)
            folder = self._new_folder(is_rebuild=True)
            count, end, may_switch = 0, self._store.end_log_position(), False
            while not folder.is_switched:
                self._check_time(deadline_s, folder.build.log_position)
                count += folder.step(
                    end, lambda: not self._is_over(deadline_s), lambda: self._check_turn(turn), switches=may_switch
                )
                if folder.build.log_position >= end:
                    end, may_switch = self._store.end_log_position(), True
            self._folder = None
            self._sweep()
            return count

    # -- folding, within ---------------------------------------------------------------------------------------

    def _fold_up_to(self, end: int, turn: FoldLock, deadline_s: float | None) -> int:
        """Folds until the checkpoint is at `end`, or at the end of the log, or the run is stopped."""
        count = 0
        is_endless = end == _EVERYTHING
        folder, self._folder = self._folder, None
        if folder is None or not self._is_current(folder):
            folder = self._new_folder()
            if folder.row.doomed:
                self._sweep()

        def may_go_on() -> bool:
            return not (is_endless and self._is_stopped) and not self._is_over(deadline_s)

        while folder.build.log_position < end:
            before = folder.build
            self._check_time(deadline_s, before.log_position)
            try:
                count += folder.step(end, may_go_on, lambda: self._check_turn(turn))
            except ConflictError:
                if not folder.is_overtaken:
                    raise  # by the function
                folder = self._new_folder()  # it was rebuilt
                continue
            if is_endless and (folder.build == before or self._is_stopped):
                break
        self._folder = folder
        return count

    def _is_current(self, folder: Folder) -> bool:
        row = self._stored()
        return row.active == folder.build

    def _new_folder(self, *, is_rebuild: bool = False) -> Folder:
        from eventlog.clients.projection.folder import Folder

        options = self._check_folds()
        row, state = self._found(is_rebuild=is_rebuild)
        codecs = stored_codecs(state, *self._declared)
        if not is_rebuild and row.active.topics != options.topics:
            raise StateMismatch(
                f"cannot fold topics {_shown(options.topics)} into projection {self.name!r}: its state was folded from "
                f"{_shown(row.active.topics)}. Nothing was stored. Declare these, or call rebuild(), which folds "
                "everything anew."
            )
        return Folder(self._store, self._topics_by_id, options, row, state, codecs, is_rebuild=is_rebuild)

    def _found(self, *, is_rebuild: bool = False) -> Any:
        found = self._store.projection_and_state(self.name, is_rebuild=is_rebuild)
        if found is None:
            raise unknown_projection(self.name)
        self._same(found[0])
        return found

    def _sweep(self) -> None:
        while not self._store.sweep_builds(self._row):
            pass

    def _check_turn(self, turn: FoldLock) -> None:
        """Raises in a child, when the turn is the parent's."""
        if not turn.is_held:
            raise UsedAfterFork(
                f"projection {self.name!r} was being folded before a fork, and that is the parent's to go on with. "
                "Nothing was stored. Call run() or catch_up() in the child."
            )

    def _check_time(self, deadline_s: float | None, log_position: int) -> None:
        self._check()
        if self._is_over(deadline_s):
            raise TimeoutError(
                f"projection {self.name!r} has come to log position {log_position}, and the time is over. What was "
                "folded is stored. Call it again to go on."
            )

    @contextmanager
    def _turn(
        self,
        sleeper: Waiter,
        deadline_s: float | None,
        is_over: Callable[[], bool],
        *,
        is_rebuild: bool = False,
    ) -> Iterator[FoldLock | None]:
        """The turn to fold, for a block; None when it is not needed any more."""
        turn = self._store.fold_lock(self._row, is_rebuild=is_rebuild)
        self._turns.add(turn)
        try:
            while not turn.try_acquire():
                if is_over():
                    yield None
                    return
                if not sleeper.sleep(deadline_s, _TURN_SECONDS, -1):
                    raise TimeoutError(
                        f"projection {self.name!r} is {'rebuilt' if is_rebuild else 'folded'} by another process or "
                        "thread, and the time is over. Nothing was changed. Wait for the other, or longer."
                    )
            yield turn
        finally:
            turn.release()
            self._turns.discard(turn)

    @contextmanager
    def _sleeper(self) -> Iterator[Waiter]:
        sleeper = self._store.waiter()
        self._sleepers.add(sleeper)
        try:
            yield sleeper
        finally:
            self._sleepers.discard(sleeper)
            sleeper.close()

    def _stored(self) -> StoredProjection:
        self._check()
        return self._same(self._store.projection(self.name))

    def _same(self, row: StoredProjection | None) -> StoredProjection:
        if row is None or row.uuid != self._row.uuid:
            raise unknown_projection(self.name)
        return row

    def _deadline(self, timeout: float | None) -> float | None:
        return None if timeout is None else self._store.clock.monotonic() + check_seconds("timeout", timeout)

    def _is_over(self, deadline_s: float | None) -> bool:
        return deadline_s is not None and self._store.clock.monotonic() >= deadline_s

    def _check(self) -> None:
        self._check_log()
        if self._is_closed:
            raise LogClosed(
                f"projection {self.name!r} is closed. Nothing was stored. Make another with log.projection()."
            )

    def _check_folds(self) -> FoldOptions:
        self._check()
        if self._options is None:
            raise ValueError(
                f"projection {self.name!r} was opened without a function, to read it. Nothing was stored. Give "
                "log.projection() the function to fold it."
            )
        return self._options

    # -- life ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """
        Ends `run()`, and frees what was kept in memory.

        Calling it again does nothing.
        """
        self._is_closed = True
        self.stop()
        self._folder = None

    def _after_fork(self) -> None:
        """Leaves turns and places to sleep to the parent."""
        for turn in list(self._turns):
            turn.forget()
        for sleeper in list(self._sleepers):
            sleeper.forget()
        self._turns, self._sleepers = set(), set()
        self._folder = None
        self._is_running = False

    def __enter__(self) -> Self:
        self._check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Projection {self.name!r}>"


def declare_projection(
    store: Store,
    topics_by_id: Callable[[], Mapping[int, EmbeddedTopic[Any, Any]]],
    name: str,
    function: object,
    *,
    topics: Iterable[str | Topic[Any, Any]] | None,
    key: Any,
    value: Any,
    max_records: int,
    max_bytes: int,
    check: Callable[[], None],
) -> Projection:
    """
    The projection that a caller asked for, when each option is within its bounds.

    Raises:
        UnknownProjection, ValueError, TypeError, InvalidTopicName: as `EventLog.projection`. Nothing was stored.
    """
    checked = check_projection_name(name)
    names = check_topics(topics)
    check_int("max_records", max_records, least=1)
    check_int("max_bytes", max_bytes, least=1)
    options = None
    if function is not None:
        # The first projection imports what folding needs: `import eventlog` is fast.
        from eventlog.clients.projection.folder import FoldOptions, fold_of

        chosen = None if names is None else tuple(sorted(set(names)))
        options = FoldOptions(fold_of(function), chosen, max_records, max_bytes)
    return open_projection(store, topics_by_id, checked, options, key, value, check=check)


def open_projection(
    store: Store,
    topics_by_id: Callable[[], Mapping[int, EmbeddedTopic[Any, Any]]],
    name: str,
    options: FoldOptions | None,
    key: Any,
    value: Any,
    *,
    check: Callable[[], None],
) -> Projection:
    """
    A projection, made when the log has none of that name and there is a function to fold it.

    Raises:
        UnknownProjection: if there is none, and no function.
        TypeError, ValueError: if `key` or `value` cannot be declared. Nothing was stored.
    """
    from eventlog.codecs.ordered import OrderedCodec

    row = store.projection(name)
    key_codec: OrderedCodec[Any] = OrderedCodec(key, topic=name)
    value_codec = codec_for("msgpack" if value is None else value, topic=name, role="value", kind="state")
    if row is None:
        if options is None:
            raise unknown_projection(name)
        row = store.ensure_projection(name, options.topics, key_codec.to_stored(), value_codec.to_stored())
    return Projection(store, topics_by_id, row, options, key, value, check=check)


def _shown(topics: tuple[str, ...] | None) -> str:
    return "all topics" if topics is None else ", ".join(map(repr, topics)) or "no topics"
