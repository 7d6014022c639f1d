"""The rows of projections, their checkpoints, builds and locks."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventlog
from eventlog.backend.projections import Build, FoldCheckpoint, StoredProjection
from eventlog.errors import ConflictError, CorruptBatch, FormatTooNew, StorageError, UnknownProjection
from eventlog.store.folder import Folder
from eventlog.store.lmdb.environment import FORMAT, PROJECTIONS, STATE, STATES
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.states import projections
from eventlog.store.states.fold_lock import ProjectionFileLock, remove_lock_files
from eventlog.store.states.projection_rows import pack_projection, unpack_projection
from eventlog.store.states.projections import EnsureProjection
from eventlog.store.store import Store

CODEC: dict[str, object] = {"name": "msgpack"}
KEY: dict[str, object] = {"name": "ordered"}
NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
TOPICS = st.text("abc._-XYZ019", min_size=3, max_size=20)
IDS = st.integers(1, 2**32 - 2)
BUILDS = st.builds(
    Build,
    state_id=IDS,
    log_position=st.integers(0, 2**63 - 1),
    topics=st.one_of(st.none(), st.lists(TOPICS, max_size=3).map(tuple)),
    deletions=st.integers(0, 2**63 - 1),
)
ROWS = st.builds(
    StoredProjection,
    name=NAMES,
    uuid=st.uuids(),
    active=BUILDS,
    rebuilding=st.one_of(st.none(), BUILDS),
    doomed=st.lists(IDS, max_size=3).map(tuple),
    created_ms=st.integers(-(2**63), 2**63 - 1),
)
ROW = StoredProjection("totals", UUID(int=5), Build(7, 100, ("orders",), 3), None, (), 5)


@pytest.fixture
def store(log: eventlog.EventLog) -> Store:
    """An empty store in memory."""
    return log._store


def made(store: Store, name: str = "totals") -> StoredProjection:
    """A new projection."""
    work = EnsureProjection(name, None, KEY, CODEC, 5)
    store.run(work)
    assert work.projection is not None
    return work.projection


def stored(store: Store) -> StoredProjection:
    """The projection as it is now."""
    row = store.projection("totals")
    assert row is not None
    return row


def rebuilding(store: Store, row: StoredProjection) -> Build:
    """A second build, begun now."""
    store.begin_rebuild(row, ("orders",), KEY, CODEC)
    build = stored(store).rebuilding
    assert build is not None
    return build


def move(
    store: Store,
    row: StoredProjection,
    build: Build,
    log_position: int,
    *,
    is_rebuild: bool = False,
    switches: bool = False,
) -> tuple[Build, bool]:
    """Moves a checkpoint in a commit of its own; the build afterwards, and whether it was switched."""
    is_switched = store.commit_fold(FoldCheckpoint(row, build, log_position, is_rebuild, switches), None)
    return build._replace(log_position=log_position), is_switched


class PutRows(CommitRequest):
    """Writes rows of a table."""

    def __init__(self, table: bytes, rows: dict[bytes, bytes]) -> None:
        super().__init__()
        self.table = table
        self.rows = rows

    def apply(self, writing: WriteTransaction) -> None:
        """Puts them."""
        for key, data in self.rows.items():
            writing.put(self.table, key, data)


def state_rows_of(store: Store, number: int) -> int:
    """How many rows a state has."""
    prefix = number.to_bytes(4, "big")
    with store.environment.reading() as transaction, transaction.cursor(db=store.environment.table(STATE)) as cursor:
        return sum(bytes(key).startswith(prefix) for key in cursor.iternext(values=False))


def fill(store: Store, number: int, count: int) -> None:
    """Puts rows into a state."""
    prefix = number.to_bytes(4, "big")
    store.run(PutRows(STATE, {prefix + b"%d" % row: b"x" for row in range(count)}))


# --- rows ---------------------------------------------------------------------------------------------------------


@given(row=ROWS)
def test_a_row_is_what_was_packed(row: StoredProjection) -> None:
    """Every field comes back."""
    assert unpack_projection(row.name.encode(), pack_projection(row)) == row


def test_the_bytes_of_a_row_are_pinned() -> None:
    """A map of MessagePack; fields that we do not know are passed over."""
    fields = {
        "version": 1,
        "uuid": UUID(int=5).bytes,
        "active": {"state": 7, "position": 100, "topics": ["orders"], "deletions": 3},
        "rebuilding": None,
        "doomed": [],
        "created_ms": 5,
    }
    assert pack_projection(ROW) == msgpack.packb(fields)
    assert unpack_projection(b"totals", msgpack.packb({**fields, "more": 1})) == ROW
    earlier = {**fields, "active": {"state": 7, "position": 100, "topics": ["orders"]}}
    assert unpack_projection(b"totals", msgpack.packb(earlier)).active == ROW.active._replace(deletions=0)


@pytest.mark.parametrize(
    "change",
    [
        {"uuid": b"short"},
        {"active": None},
        {"active": {"state": 7, "position": "100", "topics": None}},
        {"active": {"state": 7, "position": 100, "topics": [5]}},
        {"active": {"state": 7, "position": 100, "topics": None, "deletions": -1}},
        {"rebuilding": 5},
        {"doomed": ["a"]},
        {"created_ms": None},
    ],
)
def test_what_is_no_row_is_damage(change: dict[str, object]) -> None:
    """A field of another type says so."""
    fields = msgpack.unpackb(pack_projection(ROW))
    with pytest.raises(CorruptBatch, match="projection b'totals'"):
        unpack_projection(b"totals", msgpack.packb({**fields, **change}))


@given(data=st.binary(max_size=50))
def test_other_bytes_are_damage_or_too_new(data: bytes) -> None:
    """Nothing else is ever raised."""
    with pytest.raises((CorruptBatch, FormatTooNew)):
        unpack_projection(b"totals", data)


def test_a_newer_row_is_refused_as_such() -> None:
    """It is not called damaged."""
    fields = msgpack.unpackb(pack_projection(ROW))
    with pytest.raises(FormatTooNew):
        unpack_projection(b"totals", msgpack.packb({"version": 2, "other": fields}))


# --- commands -----------------------------------------------------------------------------------------------------


def test_a_projection_is_made_once_with_a_state_of_its_own(store: Store) -> None:
    """The second who makes it gets the first one's."""
    row = made(store)
    assert made(store) == row == stored(store)
    assert store.projections() == [row]
    assert store.projection_and_end("totals") == (row, 0)
    assert row.active == Build(1, 0, None)
    found = store.projection_and_state("totals")
    assert found is not None
    assert (found[0], found[1].name, found[1].id) == (row, "projection:totals:1", 1)
    assert store.projection_and_state("totals", is_rebuild=True) is None
    assert store.projection_and_state("others") is None


def test_a_checkpoint_moves_from_where_it_is_believed_to_be(store: Store) -> None:
    """Who comes late stores nothing."""
    row = made(store)
    moved, _ = move(store, row, row.active, 10)
    assert stored(store).active == moved == Build(1, 10, None)
    with pytest.raises(ConflictError, match="from 0 to 20"):
        move(store, row, row.active, 20)
    assert stored(store).active.log_position == 10
    move(store, row, moved, 20)
    assert stored(store).active.log_position == 20


def test_a_rebuild_switches_when_it_is_as_far(store: Store) -> None:
    """Before that its own checkpoint moves, and after it the old build's cannot."""
    store.run(PutRows(FORMAT, {b"end position": (100).to_bytes(8, "big")}))
    row = made(store)
    active, _ = move(store, row, row.active, 10)
    build = rebuilding(store, row)
    assert build == Build(2, 0, ("orders",))
    early, is_switched = move(store, row, build, 9, is_rebuild=True, switches=True)
    assert not is_switched
    assert (stored(store).active, stored(store).rebuilding) == (active, early)
    unwilling, is_switched = move(store, row, early, 10, is_rebuild=True)
    assert not is_switched
    _, is_switched = move(store, row, unwilling, 10, is_rebuild=True, switches=True)
    assert is_switched
    assert stored(store) == row._replace(active=Build(2, 10, ("orders",)), doomed=(1,))
    with pytest.raises(ConflictError):
        move(store, row, active, 20)
    found = store.projection_and_state("totals")
    assert found is not None
    assert found[1].id == 2


def test_another_rebuild_dooms_the_first(store: Store) -> None:
    """The first cannot go on, and its state is gone."""
    row = made(store)
    first = rebuilding(store, row)
    second = rebuilding(store, row)
    assert (second.state_id, stored(store).doomed) == (3, (2,))
    with pytest.raises(ConflictError):
        move(store, row, first, 1, is_rebuild=True)


def test_old_rows_are_removed_some_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may write in between; rows of living builds stay."""
    monkeypatch.setattr(projections, "_ROWS_AT_ONCE", 10)
    row = made(store)
    for _ in range(3):
        rebuilding(store, row)
    for number in (1, 2, 3, 4):
        fill(store, number, 25)
    left: list[int] = []
    is_clean = False
    while not is_clean:
        is_clean = store.sweep_builds(row)
        left.append(state_rows_of(store, 2) + state_rows_of(store, 3))
    assert left == [40, 30, 25, 15, 5, 0]
    assert [state_rows_of(store, number) for number in (1, 2, 3, 4)] == [25, 0, 0, 25]
    assert stored(store).doomed == ()


def test_a_deleted_projection_leaves_no_row(store: Store) -> None:
    """All its builds go, and whoever uses it is told."""
    row = made(store)
    other = made(store, "other")
    build = rebuilding(store, row)
    for number in range(1, 4):
        fill(store, number, 5)
    store.delete_projection("totals")
    assert store.projections() == [other]
    assert [state_rows_of(store, number) for number in (1, 2, 3)] == [0, 5, 0]
    with store.environment.reading() as transaction:
        assert transaction.stat(store.environment.table(STATES))["entries"] == 1
    with pytest.raises(UnknownProjection):
        store.delete_projection("totals")
    again = made(store)
    assert again.uuid != row.uuid
    for call in (
        lambda: store.begin_rebuild(row, None, KEY, CODEC),
        lambda: store.sweep_builds(row),
        lambda: move(store, row, row.active, 5),
        lambda: move(store, row, build, 5, is_rebuild=True),
    ):
        with pytest.raises(UnknownProjection):
            call()
    assert stored(store) == again


def test_a_projection_without_its_state_is_damage(store: Store) -> None:
    """As a failing disk might leave it."""
    store.run(PutRows(PROJECTIONS, {b"totals": pack_projection(ROW)}))
    with pytest.raises(CorruptBatch, match="projection 'totals'"):
        store.projection_and_state("totals")


# --- locks --------------------------------------------------------------------------------------------------------


def test_one_has_the_lock_at_a_time(tmp_path: Path) -> None:
    """A rebuild has a lock of its own, and so has another projection."""
    first, second = (
        ProjectionFileLock(Folder(str(tmp_path), 0o600), ROW, is_rebuild=False, holders={}) for _ in range(2)
    )
    assert first.try_acquire()
    assert first.try_acquire()
    assert not second.try_acquire()
    assert not second.is_held
    for other in (
        ProjectionFileLock(Folder(str(tmp_path), 0o600), ROW, is_rebuild=True, holders={}),
        ProjectionFileLock(Folder(str(tmp_path), 0o600), ROW._replace(uuid=UUID(int=6)), is_rebuild=False, holders={}),
    ):
        assert other.try_acquire()
        other.release()
    first.release()
    first.release()
    assert second.try_acquire()
    second.release()
    remove_lock_files(Folder(str(tmp_path), 0o600), ROW)
    assert not (tmp_path / ROW.uuid.hex).exists()


def test_a_lock_that_was_forgotten_is_given_back(tmp_path: Path) -> None:
    """Closing the only descriptor frees it; in a child the parent's keeps it."""
    first, second = (
        ProjectionFileLock(Folder(str(tmp_path), 0o600), ROW, is_rebuild=False, holders={}) for _ in range(2)
    )
    assert first.try_acquire()
    first.forget()
    first.forget()
    assert second.try_acquire()
    second.release()


def test_a_lock_without_a_directory_says_so(tmp_path: Path) -> None:
    """An error of the system becomes ours."""
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(StorageError, match="cannot take the lock"):
        ProjectionFileLock(Folder(str(file), 0o600), ROW, is_rebuild=False, holders={}).try_acquire()
