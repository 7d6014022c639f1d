"""The methods of a store that concern states and projections (`backend/states.py`, `backend/projections.py`)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from eventlog.backend.states import Row, StateChanges, StoredState
from eventlog.clock import Clock
from eventlog.interruptions import unless_interrupted
from eventlog.store.committer import Committer
from eventlog.store.folder import Folder
from eventlog.store.lmdb.environment import STATE, EngineError, Environment, Transaction
from eventlog.store.lmdb.errors import damaged_row
from eventlog.store.states import reader
from eventlog.store.states.commands import ApplyStateChanges, DeleteState, EnsureState
from eventlog.store.states.rows import state_prefix

if TYPE_CHECKING:  # what projections need is imported by the first of them: `import eventlog` is fast
    from eventlog.backend.projections import FoldCheckpoint, StoredProjection
    from eventlog.store.states.fold_lock import ProjectionFileLock

_PROJECTIONS_DIRECTORY = "projections"


class StoreStates:
    """The states and projections of a store."""

    path: str
    clock: Clock
    environment: Environment
    committer: Committer
    _fold_holders: dict[str, int]
    """The threads of this process that hold locks of projections, by the names of these."""
    _mode: int

    # -- states ----------------------------------------------------------------------------------------------

    def state(self, name: str) -> StoredState | None:
        """The state of that name."""
        return reader.read_state(self.environment, name)

    def states(self) -> list[StoredState]:
        """All states, by name."""
        return reader.read_states(self.environment)

    def check_state(self, state: StoredState) -> None:
        """Raise `UnknownState` if a state was deleted since it was read."""
        reader.check_state(self.environment, state)

    def ensure_state(self, name: str, key: dict[str, object], value: dict[str, object]) -> StoredState:
        """The state of that name, created if there is none."""
        request = EnsureState(name, key, value, self.clock.now_ms())
        self.committer.run(request)
        assert request.state is not None
        return request.state

    def delete_state(self, name: str) -> None:
        """Delete a state with its rows."""
        from eventlog.store.records.emptying import delete

        delete(self.environment, self.committer.run, lambda in_steps: DeleteState(name, in_steps=in_steps))

    def read_state_row(self, state: StoredState, key: bytes) -> bytes | None:
        """The value of a key; None when there is no such row."""
        environment = self.environment
        token = object()
        try:
            transaction = environment.begin_copying(token)
            try:
                row_key = state_prefix(state.id) + key
                data: bytes | None = transaction.get(row_key, db=environment.tables[STATE])
                if data is None or (unseal := environment.unseal) is None:
                    return data
                value = unseal(row_key, data)  # as `environment.row`, without its call
                if value is None:
                    raise damaged_row(STATE, row_key)
                return value
            except unless_interrupted(EngineError) as error:
                raise environment.read_error(error) from error
            finally:
                transaction.abort()
        finally:
            environment.leave(token, None)

    def read_state_rows(self, state: StoredState, keys: Iterable[bytes]) -> list[bytes | None]:
        """The values of several keys, of one snapshot."""
        return reader.read_rows(self.environment, state, keys)

    def scan_state(
        self,
        state: StoredState,
        first: bytes,
        end: bytes | None,
        *,
        is_reversed: bool = False,
        max_bytes: int,
        max_rows: int | None = None,
    ) -> tuple[list[Row], bool]:
        """The rows of a range, of one snapshot, and whether these are all of them."""
        return reader.scan_rows(
            self.environment, state, first, end, is_reversed=is_reversed, max_bytes=max_bytes, max_rows=max_rows
        )

    def check_state_changes(self, changes: Iterable[StateChanges]) -> None:
        """Compare what a transaction has read with one snapshot."""
        environment = self.environment

        def check(transaction: Transaction) -> None:
            for one in changes:
                ApplyStateChanges(one).check_within(environment, transaction)

        environment.read(check)

    # -- projections -----------------------------------------------------------------------------------------

    def projection(self, name: str) -> StoredProjection | None:
        """The projection of that name."""
        from eventlog.store.states import projections

        return projections.projection_row(self.environment, name)

    def projection_and_end(self, name: str) -> tuple[StoredProjection | None, int]:
        """The projection of that name, and the log position that the next record gets."""
        from eventlog.store.states import projections

        return projections.projection_and_end(self.environment, name)

    def projections(self) -> list[StoredProjection]:
        """All projections, by name."""
        from eventlog.store.states import projections

        return projections.projection_rows(self.environment)

    def projection_and_state(
        self, name: str, *, is_rebuild: bool = False
    ) -> tuple[StoredProjection, StoredState] | None:
        """A projection with the state of its active build, or of its rebuild."""
        from eventlog.store.states import projections

        return projections.build_and_state(self.environment, name, is_rebuild=is_rebuild)

    def ensure_projection(
        self, name: str, topics: tuple[str, ...] | None, key: dict[str, object], value: dict[str, object]
    ) -> StoredProjection:
        """The projection of that name, created if there is none."""
        from eventlog.store.states import projections

        request = projections.EnsureProjection(name, topics, key, value, self.clock.now_ms())
        self.committer.run(request)
        assert request.projection is not None
        return request.projection

    def begin_rebuild(
        self,
        projection: StoredProjection,
        topics: tuple[str, ...] | None,
        key: dict[str, object],
        value: dict[str, object],
    ) -> None:
        """Give a projection a second build, empty."""
        from eventlog.store.states import projections

        self.committer.run(projections.BeginRebuild(projection, topics, key, value, self.clock.now_ms()))

    def commit_fold(self, checkpoint: FoldCheckpoint, changes: StateChanges | None) -> bool:
        """Store the changes of a build's state and move its checkpoint; whether the build was switched."""
        from eventlog.store.states import projections

        request = projections.CommitFold(checkpoint, changes)
        try:
            self.committer.run(request)
        except BaseException:
            request.withdraw()
            raise
        return request.is_switched

    def sweep_builds(self, projection: StoredProjection) -> bool:
        """Remove some rows of builds that were given up; whether none are left."""
        from eventlog.store.states import projections

        request = projections.SweepBuilds(projection)
        self.committer.run(request)
        return request.is_clean

    def delete_projection(self, name: str) -> None:
        """Delete a projection with all its builds."""
        from eventlog.store.records.emptying import delete
        from eventlog.store.states import projections
        from eventlog.store.states.fold_lock import remove_lock_files

        request = delete(
            self.environment,
            self.committer.run,
            lambda in_steps: projections.DeleteProjection(name, in_steps=in_steps),
        )
        assert request.projection is not None
        remove_lock_files(self._projections(), request.projection)

    def fold_lock(self, projection: StoredProjection, *, is_rebuild: bool) -> ProjectionFileLock:
        """The lock to fold or to rebuild a projection, not taken yet."""
        from eventlog.store.states.fold_lock import ProjectionFileLock

        return ProjectionFileLock(self._projections(), projection, is_rebuild=is_rebuild, holders=self._fold_holders)

    def _projections(self) -> Folder:
        return Folder(os.path.join(self.path, _PROJECTIONS_DIRECTORY), self._mode)
