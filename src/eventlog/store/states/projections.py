"""
Projections: reading them, and the commands that change them within a write transaction.

One row for each says which of its builds readers see, and its checkpoint. A rebuild is a second build in the same row.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import uuid4

from eventlog.backend.projections import Build, FoldCheckpoint, StoredProjection, unknown_projection
from eventlog.backend.states import StateChanges, StoredState
from eventlog.errors import ConflictError, TransactionEnded
from eventlog.store.lmdb.environment import FORMAT, PROJECTIONS, STATE, STATES, Environment
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.log_order import end_log_position
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.packing import damaged
from eventlog.store.rows.tables import STATE_ROWS, left_rows_key
from eventlog.store.states.commands import ApplyStateChanges, new_state
from eventlog.store.states.projection_rows import build_state_name, pack_projection, unpack_projection
from eventlog.store.states.rows import state_prefix, unpack_state

_ROWS_AT_ONCE = 20_000
"""How many rows of an old build are removed in one transaction, in which nobody else can write."""


def projection_row(environment: Environment, name: str) -> StoredProjection | None:
    """The stored projection of that name."""
    key = name.encode()
    with environment.reading() as transaction:
        data = environment.row(transaction, PROJECTIONS, key)
        return None if data is None else unpack_projection(key, data)


def projection_and_end(environment: Environment, name: str) -> tuple[StoredProjection | None, int]:
    """The stored projection of that name, and the log position of the next record, of one snapshot."""
    key = name.encode()
    with environment.reading() as transaction:
        data = environment.row(transaction, PROJECTIONS, key)
        row = None if data is None else unpack_projection(key, data)
        return row, end_log_position(environment, transaction)


def projection_rows(environment: Environment) -> list[StoredProjection]:
    """All projections, by name."""
    with environment.reading() as transaction, transaction.cursor(db=environment.table(PROJECTIONS)) as cursor:
        value = environment.value
        return [unpack_projection(name, value(PROJECTIONS, name, data)) for name, data in cursor.iternext()]


def build_and_state(
    environment: Environment, name: str, *, is_rebuild: bool = False
) -> tuple[StoredProjection, StoredState] | None:
    """A projection with the state of its active build or of its rebuild, of one snapshot."""
    key = name.encode()
    with environment.reading() as transaction:
        data = environment.row(transaction, PROJECTIONS, key)
        if data is None:
            return None
        row = unpack_projection(key, data)
        build = row.rebuilding if is_rebuild else row.active
        if build is None:
            return None
        state_name = build_state_name(row.name, build.state_id).encode()
        stored = environment.row(transaction, STATES, state_name)
        if stored is None:
            raise damaged(f"projection {name!r}", f"its state {state_name.decode()!r} does not exist")
        return row, unpack_state(state_name, stored)


# --- commands -----------------------------------------------------------------------------------------------------


class _NewBuild(CommitRequest):
    """A request that begins a build of a projection, with an empty state."""

    __slots__ = ("_key", "_now_ms", "_topics", "_value")

    def __init__(
        self, topics: tuple[str, ...] | None, key: dict[str, object], value: dict[str, object], now_ms: int
    ) -> None:
        super().__init__()
        self._topics = topics
        self._key = key
        self._value = value
        self._now_ms = now_ms

    def _begin(self, writing: WriteTransaction, name: str) -> Build:
        state = new_state(writing, lambda number: build_state_name(name, number), self._key, self._value, self._now_ms)
        return Build(state.id, 0, self._topics, writing.deletions_number())


class EnsureProjection(_NewBuild):
    """Creation of a projection with an empty state unless it is there; `projection` is the stored one either way."""

    __slots__ = ("_name", "projection")

    def __init__(
        self,
        name: str,
        topics: tuple[str, ...] | None,
        key: dict[str, object],
        value: dict[str, object],
        now_ms: int,
    ) -> None:
        super().__init__(topics, key, value, now_ms)
        self._name = name
        self.projection: StoredProjection | None = None

    def apply(self, writing: WriteTransaction) -> None:
        """Store it with its checkpoint at the beginning of the log."""
        name = self._name.encode()
        stored = writing.get(PROJECTIONS, name)
        if stored is not None:
            self.projection = unpack_projection(name, stored)
            return
        build = self._begin(writing, self._name)
        self.projection = StoredProjection(self._name, uuid4(), build, None, (), self._now_ms)
        writing.put(PROJECTIONS, name, pack_projection(self.projection))


class BeginRebuild(_NewBuild):
    """A second build for a projection, empty; an earlier one that was never finished is doomed."""

    __slots__ = ("_row",)

    def __init__(
        self,
        row: StoredProjection,
        topics: tuple[str, ...] | None,
        key: dict[str, object],
        value: dict[str, object],
        now_ms: int,
    ) -> None:
        super().__init__(topics, key, value, now_ms)
        self._row = row

    def apply(self, writing: WriteTransaction) -> None:
        """Store it with its checkpoint at the beginning of the log."""
        row = _required(writing, self._row)
        if row.rebuilding is not None:
            row = _without(writing, row, row.rebuilding)
        build = self._begin(writing, row.name)
        writing.put(PROJECTIONS, row.name.encode(), pack_projection(row._replace(rebuilding=build)))


def _required(writing: WriteTransaction, row: StoredProjection) -> StoredProjection:
    """The projection as it is stored now, unless it was deleted."""
    stored = writing.get(PROJECTIONS, row.name.encode())
    found = None if stored is None else unpack_projection(row.name.encode(), stored)
    if found is None or found.uuid != row.uuid:
        raise unknown_projection(row.name)
    return found


def _without(writing: WriteTransaction, row: StoredProjection, build: Build) -> StoredProjection:
    """The row after one of its builds was given up; from now on its state is unknown."""
    writing.delete(STATES, build_state_name(row.name, build.state_id).encode())
    return row._replace(doomed=(*row.doomed, build.state_id))


class CommitFold(CommitRequest):
    """
    A step of a build: the changes of its state, and its checkpoint.

    `is_switched` says whether it has replaced the active build.
    """

    __slots__ = ("_changes", "_checkpoint", "_is_withdrawn", "is_switched")
    notifies = True

    def __init__(self, checkpoint: FoldCheckpoint, changes: StateChanges | None) -> None:
        super().__init__()
        self._checkpoint = checkpoint
        self._changes = None if changes is None else ApplyStateChanges(changes)
        self._is_withdrawn = False
        self.is_switched = False

    def withdraw(self) -> None:
        """
        Refuse to be stored from now on.

        The request of an interrupted caller stays in the queue. The next folder must not find it stored later.
        """
        self._is_withdrawn = True

    def apply(self, writing: WriteTransaction) -> None:
        """Check the build and its state, then write both."""
        if self._is_withdrawn:
            raise TransactionEnded(
                "the transaction was interrupted.",
                stored="Nothing of it was stored.",
                advice="Begin another.",
            )
        stored = self._check(writing)
        if self._changes is not None:
            self._changes.check(writing)
            self._changes.write(writing)
        self._move(writing, stored)

    def _check(self, writing: WriteTransaction) -> StoredProjection:
        step = self._checkpoint
        stored = _required(writing, step.projection)
        found = stored.rebuilding if step.is_rebuild else stored.active
        if found != step.build:
            raise ConflictError(
                f"cannot move the checkpoint of projection {stored.name!r} from {step.build.log_position} to "
                f"{step.log_position}: another process or thread has folded these records, or rebuilt it.",
                stored="Nothing of this transaction was stored.",
                advice="Go on from the stored checkpoint, as another call does.",
                projection=stored.name,
            )
        return stored

    def _move(self, writing: WriteTransaction, row: StoredProjection) -> None:
        step = self._checkpoint
        build = step.build._replace(log_position=step.log_position, deletions=step.deletions)
        self.is_switched = (
            step.is_rebuild
            and step.switches
            # A checkpoint beyond the end of the log is damage, and would never be reached.
            and (build.log_position >= row.active.log_position or build.log_position >= writing.end_log_position())
        )
        if self.is_switched:
            row = _without(writing, row, row.active)._replace(active=build, rebuilding=None)
        elif step.is_rebuild:
            row = row._replace(rebuilding=build)
        else:
            row = row._replace(active=build)
        writing.put(PROJECTIONS, row.name.encode(), pack_projection(row))


class SweepBuilds(CommitRequest):
    """Removal of some rows of builds that were given up; `is_clean` when none are left."""

    __slots__ = ("_row", "is_clean")
    bound_share = 1.0

    def __init__(self, row: StoredProjection) -> None:
        super().__init__()
        self._row = row
        self.is_clean = False

    def apply(self, writing: WriteTransaction) -> None:
        """Remove the rows of one build, up to a bound, and the build's id with the last of them."""
        row = _required(writing, self._row)
        self.is_clean = not row.doomed
        if self.is_clean:
            return
        number, *others = row.doomed
        if not _delete_rows(writing, state_prefix(number), _ROWS_AT_ONCE):
            self.is_clean = not others
            writing.put(PROJECTIONS, row.name.encode(), pack_projection(row._replace(doomed=tuple(others))))


def _delete_rows(writing: WriteTransaction, prefix: bytes, most: int) -> bool:
    """Remove rows of a state, `most` at most; whether more are left."""
    with writing.transaction.cursor(db=writing.table(STATE)) as cursor:
        is_found = cursor.set_range(prefix)
        while is_found and cursor.key().startswith(prefix):
            if most == 0:
                return True
            most -= 1
            is_found = cursor.delete() and bool(cursor.key())
    return False


class DeleteProjection(CommitRequest):
    """
    Removal of a projection with all its rows.

    Its folders and readers get `UnknownProjection`.
    """

    __slots__ = ("_in_steps", "_name", "projection", "reserve_share")
    notifies = True
    bound_share = 1.0

    def __init__(self, name: str, *, in_steps: bool = False) -> None:
        super().__init__()
        self._name = name
        self._in_steps = in_steps
        self.reserve_share = float(in_steps)
        self.projection: StoredProjection | None = None

    def apply(self, writing: WriteTransaction) -> None:
        """Remove the rows of all its builds; in steps, note that they are left."""
        name = self._name.encode()
        stored = writing.get(PROJECTIONS, name)
        if stored is None:
            raise unknown_projection(self._name)
        row = self.projection = unpack_projection(name, stored)
        for build in _builds(row):
            row = _without(writing, row, build)
        for number in row.doomed:
            if self._in_steps:
                writing.put(FORMAT, left_rows_key(STATE_ROWS, number), b"")
            else:
                writing.delete_prefix(STATE, state_prefix(number))
        writing.delete(PROJECTIONS, name)


def _builds(row: StoredProjection) -> Iterable[Build]:
    return [row.active] if row.rebuilding is None else [row.active, row.rebuilding]
