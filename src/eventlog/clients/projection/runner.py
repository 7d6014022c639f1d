"""
Folding a projection under its lock: up to a checkpoint, as long as records come, or from the beginning for a rebuild.

One transaction of folded records is the business of `clients/projection/folder.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from eventlog.backend import Backend
from eventlog.backend.projections import FoldLock, StoredProjection, unknown_projection
from eventlog.backend.states import StoredState
from eventlog.backend.waiting import Waiter
from eventlog.clients.reading.log_reader import LogReader, read_batches, records_of
from eventlog.clients.state.view import stored_codecs
from eventlog.clients.topic_handle import TopicHandle
from eventlog.codecs import codec_for
from eventlog.errors import ConflictError, NestedCall, StateMismatch, UsedAfterFork
from eventlog.interruptions import unless_interrupted
from eventlog.notices import REBUILT, tell
from eventlog.records import Record

if TYPE_CHECKING:  # what folding needs is imported by the first projection: `import eventlog` is fast
    from eventlog.clients.projection.folder import Folder, FoldOptions
    from eventlog.clients.projection.suspects import Suspects

_EVERYTHING: Final = 1 << 63
_LOCK_SECONDS = 0.1
"""The lock of another folder is tried again this often: nobody tells us when it is free."""


class FoldRunner:
    """
    The folder of one projection in this process, and its locks.

    Args:
        row: the projection as it was opened.
        declared: the key and the value that the caller declared, or None.
        check: raises when the projection is closed.
    """

    def __init__(
        self,
        store: Backend,
        topics_by_id: Callable[[], Mapping[int, TopicHandle]],
        row: StoredProjection,
        declared: tuple[Any, Any],
        *,
        check: Callable[[], None],
    ) -> None:
        self._store = store
        self._topics_by_id = topics_by_id
        self._row = row
        self._declared = declared
        self._check = check
        self._folder: Folder | None = None
        """Knows the rows of the last call, which are unchanged if the checkpoint is."""
        self._locks: set[FoldLock] = set()
        self.name = row.name
        self.is_stopped = False

    # -- the stored projection -------------------------------------------------------------------------------

    def stored(self) -> StoredProjection:
        """The projection as it is stored now; `UnknownProjection` when it was deleted."""
        self._check()
        return self._same(self._store.projection(self.name))

    def lag(self) -> int:
        """The number of log positions between the checkpoint and the end of the log."""
        row, end = self._store.projection_and_end(self.name)
        return end - self._same(row).active.log_position

    def _same(self, row: StoredProjection | None) -> StoredProjection:
        if row is None or row.uuid != self._row.uuid:
            raise unknown_projection(self.name)
        return row

    def _with_state(self, *, is_rebuild: bool = False) -> tuple[StoredProjection, StoredState]:
        found = self._store.projection_and_state(self.name, is_rebuild=is_rebuild)
        if found is None:
            raise unknown_projection(self.name)
        self._same(found[0])
        return found

    def check_may_wait(self) -> None:
        """Refuse to wait for a fold that goes on when this call is over."""
        if self._store.fold_lock(self._row, is_rebuild=False).is_ours:
            raise NestedCall(
                f"cannot wait for projection {self.name!r} inside its fold: its function, a signal handler or a "
                "finalizer called us.",
                stored="Nothing was changed.",
                advice="Call it outside.",
                projection=self.name,
            )

    # -- the lock --------------------------------------------------------------------------------------------

    def under_lock(
        self,
        waiter: Waiter,
        deadline_s: float | None,
        is_over: Callable[[], bool],
        fold: Callable[[FoldLock], int],
        *,
        is_rebuild: bool = False,
    ) -> int:
        """
        Call a function with the lock to fold or to rebuild, and return its result.

        Returns 0 when `is_over` comes true before the lock is free. No `with`: a signal handler may raise after the
        lock was taken and before the block begins, and after the block and before the lock is released.
        """
        lock = self._store.fold_lock(self._row, is_rebuild=is_rebuild)
        self._locks.add(lock)
        try:
            while not lock.try_acquire():
                if is_over():
                    return 0
                if not waiter.sleep(deadline_s, _LOCK_SECONDS, -1):
                    raise TimeoutError(
                        f"projection {self.name!r} is {'rebuilt' if is_rebuild else 'folded'} by another process or "
                        "thread, and the time is over. Nothing was changed. Wait for the other, or longer."
                    )
            return fold(lock)
        finally:
            try:
                lock.release()
            finally:
                lock.release()  # in case a signal handler has interrupted the first
                self._locks.discard(lock)

    def forget(self) -> None:
        """Free what is kept in memory."""
        folder, self._folder = self._folder, None
        if folder is not None:
            folder.free()

    def forget_parents_locks(self) -> None:
        """Close a forked child's copies of the locks, which stay the parent's."""
        for lock in list(self._locks):
            lock.forget()
        self._locks = set()
        self._folder = None

    # -- folding ---------------------------------------------------------------------------------------------

    @property
    def seen_transaction(self) -> int:
        """The number of the newest commit that was looked at; below zero when that is unknown."""
        return -1 if self._folder is None else self._folder.seen_transaction

    def fold_up_to(self, options: FoldOptions, end: int | None, lock: FoldLock, deadline_s: float | None) -> int:
        """
        Fold until the checkpoint is at `end`; the number of folded records.

        Without `end`, until there are no more records, or `is_stopped`.
        """
        count = 0
        folder, self._folder = self._folder, None
        if folder is None or self.stored().active != folder.build:
            folder = self._new_folder(options)
            if folder.row.doomed:
                self._sweep()

        def may_go_on() -> bool:
            return not (end is None and self.is_stopped) and not self._is_over(deadline_s)

        suspects = self._suspects(lock, options, folder.build.log_position)
        while end is None or folder.build.log_position < end:
            before = folder.build
            self._check_time(deadline_s, before.log_position)
            stop, most = suspects.bound(before.log_position, _EVERYTHING if end is None else end, options.max_records)
            try:
                folded = folder.step(
                    stop,
                    may_go_on,
                    lambda: self._check_lock(lock),
                    until_s=math.inf if deadline_s is None else deadline_s,
                    most=most,
                )
                suspects.note_folded(before.log_position, folded)
                count += folded
            except unless_interrupted(ConflictError):
                if not folder.is_overtaken:
                    raise  # by the function
                folder = self._new_folder(options)  # it was rebuilt
                continue
            if end is None and (folder.build == before or self.is_stopped):
                break
        self._folder = folder
        return count

    def rebuild(self, options: FoldOptions, lock: FoldLock, deadline_s: float | None) -> int:
        """Fold all records into a second build, and let it replace the active one; the number of folded records."""
        key_codec, value_codec = self._codecs_of_rebuild()
        self._store.begin_rebuild(self._row, options.topics, key_codec, value_codec)
        folder = self._new_folder(options, is_rebuild=True)
        count, end, may_switch = 0, self._store.end_log_position(), False
        suspects = self._suspects(lock, options, folder.build.log_position)
        while not folder.is_switched:
            log_position = folder.build.log_position
            self._check_time(deadline_s, log_position)
            stop, most = suspects.bound(log_position, end, options.max_records)
            folded = folder.step(
                stop,
                lambda: not self._is_over(deadline_s),
                lambda: self._check_lock(lock),
                until_s=math.inf if deadline_s is None else deadline_s,
                switches=may_switch and stop == end,
                most=most,
            )
            suspects.note_folded(log_position, folded)
            count += folded
            if folder.build.log_position >= end:
                end, may_switch = self._store.end_log_position(), True
        self._folder = None
        self._sweep()
        tell(REBUILT, projection=self.name, count=count)
        return count

    def _suspects(self, lock: FoldLock, options: FoldOptions, first: int) -> Suspects:
        from eventlog.clients.projection.suspects import Suspects

        def record_at(log_position: int) -> tuple[int, Record[Any, Any]] | None:
            reader = LogReader(self._store, self._topics_by_id, options.topics, log_position)
            batches = read_batches(reader, self._store.end_log_position(), 1)
            return next(records_of(batches), None)

        return Suspects(self.name, lock, first, record_at)

    def _codecs_of_rebuild(self) -> tuple[dict[str, object], dict[str, object]]:
        """The codecs that were declared, and the stored ones where none were."""
        from eventlog.codecs.ordered import OrderedCodec

        key, value = self._declared
        _, state = self._with_state()
        key_codec, value_codec = state.key, state.value
        if key is not None:
            key_codec = OrderedCodec(key, topic=self.name, kind="projection").to_stored()
        if value is not None:
            value_codec = codec_for(value, topic=self.name, role="value", kind="projection").to_stored()
        return key_codec, value_codec

    def _new_folder(self, options: FoldOptions, *, is_rebuild: bool = False) -> Folder:
        from eventlog.clients.projection.folder import Folder

        row, state = self._with_state(is_rebuild=is_rebuild)
        codecs = stored_codecs(state, *self._declared)
        if not is_rebuild and row.active.topics != options.topics:
            raise StateMismatch(
                f"cannot fold topics {_shown(options.topics)} into projection {self.name!r}: its state was folded "
                f"from {_shown(row.active.topics)}.",
                stored="Nothing was changed.",
                advice="Declare these, or call rebuild(), which folds everything again.",
                projection=self.name,
            )
        return Folder(self._store, self._topics_by_id, options, row, state, codecs, is_rebuild=is_rebuild)

    def _sweep(self) -> None:
        """Remove the rows of earlier builds."""
        while not self._store.sweep_builds(self._row):
            pass

    def _check_lock(self, lock: FoldLock) -> None:
        """Raise an error in a child that was forked meanwhile: the lock is the parent's."""
        if not lock.is_held:
            raise UsedAfterFork(
                f"projection {self.name!r} was being folded before a fork, and that is the parent's to go on with.",
                stored="Nothing was changed.",
                advice="Call run() or catch_up() in the child.",
                projection=self.name,
            )

    def _check_time(self, deadline_s: float | None, log_position: int) -> None:
        self._check()
        if self._is_over(deadline_s):
            raise TimeoutError(
                f"projection {self.name!r} has come to position {log_position}, and the time is over. What was folded "
                "is stored. Call it again to go on."
            )

    def _is_over(self, deadline_s: float | None) -> bool:
        return deadline_s is not None and self._store.clock.monotonic() >= deadline_s


def _shown(topics: tuple[str, ...] | None) -> str:
    return "all topics" if topics is None else ", ".join(map(repr, topics)) or "no topics"
