"""
Projections: which state is folded from the records, and up to where.

One row for each says which of its builds readers see, and the checkpoint of that: everything before it is in the
state. The checkpoint moves in the commit that changes the state, and only from where its folder believes it to be: a
second folder that comes late is refused, so no record is folded twice. A rebuild is a second build in the same row.

The rows of a build are those of a state of its own, which has a name that no user's has. Layout:
docs/reference/format.md. Knows nothing of functions, codecs, or of who reads.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID, uuid4

from eventlog.errors import ConflictError, UnknownProjection
from eventlog.options import PROJECTION_PREFIX
from eventlog.store.lmdb.data_file import make_directory
from eventlog.store.lmdb.environment import PROJECTIONS, STATE, STATES, Environment
from eventlog.store.lmdb.errors import kind_of
from eventlog.store.lmdb.file_lock import FileLock
from eventlog.store.records.log_order import end_log_position
from eventlog.store.records.write_transaction import CommitRequest, WriteTransaction
from eventlog.store.rows.packing import NOT_A_ROW, checked, damaged, fields_of, packed
from eventlog.store.states.states import StateRow, new_state

_VERSION = 1
_ID_BYTES = 4
_REBUILD = ".rebuild"
_ROWS_AT_ONCE = 20_000
"""How many rows of an old build are removed in one transaction, in which nobody else can write."""


class Build(NamedTuple):
    """
    One state that is folded from the records, and its checkpoint.

    `topics` are those whose records are folded, sorted; None is all.
    """

    state_id: int
    log_position: int
    topics: tuple[str, ...] | None

    def fields(self) -> dict[str, object]:
        """What is stored of it."""
        topics = None if self.topics is None else list(self.topics)
        return {"state": self.state_id, "position": self.log_position, "topics": topics}

    @classmethod
    def of(cls, fields: dict[str, object]) -> Build:
        """The build of these fields."""
        names = fields["topics"]
        topics = None if names is None else tuple(checked(name, str) for name in checked(names, list))
        return cls(checked(fields["state"], int), checked(fields["position"], int), topics)


class ProjectionRow(NamedTuple):
    """
    Is what the log keeps of a projection.

    `active` is what readers see, `rebuilding` what is to replace it; `doomed` are the states of earlier builds, of
    which rows may be left.
    """

    name: str
    uuid: UUID
    active: Build
    rebuilding: Build | None
    doomed: tuple[int, ...]
    created_ms: int

    def pack(self) -> bytes:
        """The row's bytes; the name is the row's key."""
        return packed(
            {
                "version": _VERSION,
                "uuid": self.uuid.bytes,
                "active": self.active.fields(),
                "rebuilding": None if self.rebuilding is None else self.rebuilding.fields(),
                "doomed": list(self.doomed),
                "created_ms": self.created_ms,
            }
        )

    @classmethod
    def unpack(cls, name: bytes | memoryview, data: bytes | memoryview) -> ProjectionRow:
        """
        The row of this key and these bytes.

        Fields that we do not know are kept out, not refused.
        """
        what = f"projection {bytes(name)!r}"
        try:
            fields = fields_of(data, what, _VERSION)
            rebuilding = fields["rebuilding"]
            return cls(
                name=bytes(name).decode(),
                uuid=UUID(bytes=checked(fields["uuid"], bytes)),
                active=Build.of(checked(fields["active"], dict)),
                rebuilding=None if rebuilding is None else Build.of(checked(rebuilding, dict)),
                doomed=tuple(checked(number, int) for number in checked(fields["doomed"], list)),
                created_ms=checked(fields["created_ms"], int),
            )
        except NOT_A_ROW as error:
            raise damaged(what) from error

    def state_name(self, build: Build) -> str:
        """The name of the state of a build."""
        return _state_name(self.name, build.state_id)


def _state_name(name: str, number: int) -> str:
    return f"{PROJECTION_PREFIX}{name}:{number}"


# --- reading ------------------------------------------------------------------------------------------------------


def projection_row(environment: Environment, name: str) -> ProjectionRow | None:
    """The stored projection of that name."""
    key = name.encode()
    with environment.reading() as transaction:
        data = transaction.get(key, db=environment.table(PROJECTIONS))
        return None if data is None else ProjectionRow.unpack(key, data)


def projection_and_end(environment: Environment, name: str) -> tuple[ProjectionRow | None, int]:
    """The stored projection of that name, and the end of the log's order in the same commit."""
    key = name.encode()
    with environment.reading() as transaction:
        data = transaction.get(key, db=environment.table(PROJECTIONS))
        row = None if data is None else ProjectionRow.unpack(key, data)
        return row, end_log_position(environment, transaction)


def projection_rows(environment: Environment) -> list[ProjectionRow]:
    """All projections, by name."""
    with environment.reading() as transaction, transaction.cursor(db=environment.table(PROJECTIONS)) as cursor:
        return [ProjectionRow.unpack(name, data) for name, data in cursor.iternext()]


def build_and_state(
    environment: Environment, name: str, *, is_rebuild: bool = False
) -> tuple[ProjectionRow, StateRow] | None:
    """A projection with the state of its active build, or of the one that is to replace it, of one commit."""
    key = name.encode()
    with environment.reading() as transaction:
        data = transaction.get(key, db=environment.table(PROJECTIONS))
        if data is None:
            return None
        row = ProjectionRow.unpack(key, data)
        build = row.rebuilding if is_rebuild else row.active
        if build is None:
            return None
        state_name = row.state_name(build).encode()
        stored = transaction.get(state_name, db=environment.table(STATES))
        if stored is None:
            raise damaged(f"projection {name!r}")
        return row, StateRow.unpack(state_name, stored)


def unknown_projection(name: str) -> UnknownProjection:
    """The error for a projection that is not there."""
    return UnknownProjection(
        f"the log has no projection {name!r}. Nothing was stored. log.projections() tells which there are; "
        f"log.projection({name!r}, function) makes one."
    )


# --- works --------------------------------------------------------------------------------------------------------


class EnsureProjection(CommitRequest):
    """Creates a projection with an empty state unless it is there; `projection` is the stored one either way."""

    __slots__ = ("_key", "_name", "_now_ms", "_topics", "_value", "projection")

    def __init__(
        self,
        name: str,
        topics: tuple[str, ...] | None,
        key: dict[str, object],
        value: dict[str, object],
        now_ms: int,
    ) -> None:
        super().__init__()
        self._name = name
        self._topics = topics
        self._key = key
        self._value = value
        self._now_ms = now_ms
        self.projection: ProjectionRow | None = None

    def apply(self, writing: WriteTransaction) -> None:
        """Its checkpoint is the beginning of the log."""
        name = self._name.encode()
        stored = writing.get(PROJECTIONS, name)
        if stored is not None:
            self.projection = ProjectionRow.unpack(name, stored)
            return
        build = _new_build(writing, self._name, self._topics, self._key, self._value, self._now_ms)
        self.projection = ProjectionRow(self._name, uuid4(), build, None, (), self._now_ms)
        writing.put(PROJECTIONS, name, self.projection.pack())


class BeginRebuild(CommitRequest):
    """Gives a projection a second build, empty; one that was begun before and never finished is doomed."""

    __slots__ = ("_key", "_now_ms", "_row", "_topics", "_value")

    def __init__(
        self,
        row: ProjectionRow,
        topics: tuple[str, ...] | None,
        key: dict[str, object],
        value: dict[str, object],
        now_ms: int,
    ) -> None:
        super().__init__()
        self._row = row
        self._topics = topics
        self._key = key
        self._value = value
        self._now_ms = now_ms

    def apply(self, writing: WriteTransaction) -> None:
        """Its checkpoint is the beginning of the log."""
        row = _required(writing, self._row)
        if row.rebuilding is not None:
            row = _without(writing, row, row.rebuilding)
        build = _new_build(writing, row.name, self._topics, self._key, self._value, self._now_ms)
        writing.put(PROJECTIONS, row.name.encode(), row._replace(rebuilding=build).pack())


def _new_build(
    writing: WriteTransaction,
    name: str,
    topics: tuple[str, ...] | None,
    key: dict[str, object],
    value: dict[str, object],
    now_ms: int,
) -> Build:
    state = new_state(writing, lambda number: _state_name(name, number), key, value, now_ms)
    return Build(state.id, 0, topics)


def _required(writing: WriteTransaction, row: ProjectionRow) -> ProjectionRow:
    """The projection as it is stored now, unless it was deleted."""
    stored = writing.get(PROJECTIONS, row.name.encode())
    found = None if stored is None else ProjectionRow.unpack(row.name.encode(), stored)
    if found is None or found.uuid != row.uuid:
        raise unknown_projection(row.name)
    return found


def _without(writing: WriteTransaction, row: ProjectionRow, build: Build) -> ProjectionRow:
    """The row after one of its builds was given up; whoever uses its state from now on is told that it is gone."""
    writing.delete(STATES, row.state_name(build).encode())
    return row._replace(doomed=(*row.doomed, build.state_id))


class Checkpoint:
    """
    Moves the checkpoint of a build, in the transaction that changes its state.

    Args:
        row: the projection, as it was read.
        build: the build, as it was read or last written.
        position: where the checkpoint goes.
        is_rebuild: says that the build is the one that is to replace the active one.
        switches: lets it replace that now, if it is as far; `is_switched` says whether it did.
    """

    def __init__(
        self, row: ProjectionRow, build: Build, log_position: int, *, is_rebuild: bool = False, switches: bool = False
    ) -> None:
        self._row = row
        self._build = build
        self._is_rebuild = is_rebuild
        self._switches = switches
        self._stored: ProjectionRow | None = None
        self.build = build._replace(log_position=log_position)
        self.is_switched = False

    def check(self, writing: WriteTransaction) -> None:
        """
        Compares the build with what is stored now.

        Raises:
            UnknownProjection: if the projection was deleted. Nothing was written.
            ConflictError: if another folder has moved the checkpoint, or replaced the build. Nothing was written.
        """
        self.is_switched = False
        stored = _required(writing, self._row)
        found = stored.rebuilding if self._is_rebuild else stored.active
        if found != self._build:
            raise ConflictError(
                f"cannot move the checkpoint of projection {stored.name!r} from {self._build.log_position} to "
                f"{self.build.log_position}: another process or thread has folded these records, or rebuilt it. "
                "Nothing of this transaction was stored. Go on from the stored checkpoint, as another call does."
            )
        self._stored = stored

    def write(self, writing: WriteTransaction) -> None:
        """Writes the row; what was stored by earlier pieces of the same round is kept."""
        row = self._stored
        assert row is not None
        if not self._is_rebuild:
            row = row._replace(active=self.build)
        elif self._switches and self.build.log_position >= row.active.log_position:
            row = _without(writing, row, row.active)._replace(active=self.build, rebuilding=None)
            self.is_switched = True
        else:
            row = row._replace(rebuilding=self.build)
        writing.put(PROJECTIONS, row.name.encode(), row.pack())


class SweepBuilds(CommitRequest):
    """Removes rows of builds that were given up, some at a time; `is_clean` when none were left."""

    __slots__ = ("_row", "is_clean")

    def __init__(self, row: ProjectionRow) -> None:
        super().__init__()
        self._row = row
        self.is_clean = False

    def apply(self, writing: WriteTransaction) -> None:
        """Removes the rows of one build, up to a bound, and the build's number with the last of them."""
        row = _required(writing, self._row)
        self.is_clean = not row.doomed
        if self.is_clean:
            return
        number, *others = row.doomed
        if not _delete_rows(writing, number.to_bytes(_ID_BYTES, "big"), _ROWS_AT_ONCE):
            self.is_clean = not others
            writing.put(PROJECTIONS, row.name.encode(), row._replace(doomed=tuple(others)).pack())


def _delete_rows(writing: WriteTransaction, prefix: bytes, most: int) -> bool:
    """Removes up to so many rows of a state; whether more are left."""
    with writing.transaction.cursor(db=writing._environment.table(STATE)) as cursor:
        is_found = cursor.set_range(prefix)
        while is_found and cursor.key().startswith(prefix):
            if most == 0:
                return True
            most -= 1
            is_found = cursor.delete() and bool(cursor.key())
    return False


class DeleteProjection(CommitRequest):
    """
    Removes a projection with all its rows.

    Whoever folds or reads it gets `UnknownProjection`.
    """

    __slots__ = ("_name", "projection")
    rings = True

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.projection: ProjectionRow | None = None

    def apply(self, writing: WriteTransaction) -> None:
        """Removes the rows of all its builds."""
        name = self._name.encode()
        stored = writing.get(PROJECTIONS, name)
        if stored is None:
            raise unknown_projection(self._name)
        row = self.projection = ProjectionRow.unpack(name, stored)
        for build in _builds(row):
            row = _without(writing, row, build)
        for number in row.doomed:
            writing.delete_prefix(STATE, number.to_bytes(_ID_BYTES, "big"))
        writing.delete(PROJECTIONS, name)


def _builds(row: ProjectionRow) -> Iterable[Build]:
    return [row.active] if row.rebuilding is None else [row.active, row.rebuilding]


# --- turns --------------------------------------------------------------------------------------------------------


class Turn:
    """
    The turn to fold a projection, or to rebuild it: one of all threads and processes has it at a time.

    The kernel ends it when the process dies, however it dies. It saves work and protects nothing: that no record is
    folded twice is up to `Checkpoint`. Where the system has no file locks everybody has the turn.
    """

    def __init__(self, directory: str, row: ProjectionRow, *, is_rebuild: bool, mode: int) -> None:
        self._directory = directory
        self._name = os.path.join(directory, row.uuid.hex)
        self._path = self._name + _REBUILD if is_rebuild else self._name
        self._mode = mode
        self._lock: FileLock | None = None
        self.is_taken = False

    def take(self) -> bool:
        """
        Takes the turn, if nobody has it.

        Raises:
            StorageError: if its file cannot be made or opened.
        """
        try:
            if self._lock is None:
                make_directory(self._directory, self._mode)
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, self._mode))
                self._lock = FileLock(self._path)
            self.is_taken = self._lock.try_acquire()
        except OSError as error:
            raise kind_of(error)(
                f"cannot take the turn to fold a projection: its file {self._path} cannot be used: {error}. Nothing "
                "was stored. Mend what the error names, and try again."
            ) from error
        return self.is_taken

    def end(self) -> None:
        """Lets another have the turn."""
        lock, self._lock = self._lock, None
        self.is_taken = False
        if lock is not None:
            lock.release()
            lock.close()

    def forget(self) -> None:
        """Closes a child's copy of the file after a fork; the turn is the parent's, and stays."""
        lock, self._lock = self._lock, None
        self.is_taken = False
        if lock is not None:
            lock.close()

    def remove(self) -> None:
        """Removes the files of a projection that was deleted."""
        for path in (self._name, self._name + _REBUILD):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
