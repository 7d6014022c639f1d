"""States are made and deleted, their rows are read, and what a transaction did to them is checked and written."""

from __future__ import annotations

import contextlib
from uuid import UUID, uuid4

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventlog
from eventlog.backend.states import Scan, StateChanges, StoredState
from eventlog.clients.state.scan_record import ScanRecord
from eventlog.errors import ConflictError, CorruptBatch, FormatTooNew, UnknownState
from eventlog.store.lmdb.environment import FORMAT, STATE, STATES
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.states.commands import ApplyStateChanges, EnsureState
from eventlog.store.states.rows import NEXT_STATE_ID_KEY, pack_state, unpack_state
from eventlog.store.store import Store

NAMES = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
CODECS = st.dictionaries(st.text("abc", max_size=3), st.text("xyz", max_size=3), max_size=3).map(
    lambda fields: {**fields, "name": "msgpack"}
)
STATE_ROWS = st.builds(
    StoredState,
    name=NAMES,
    id=st.integers(1, 2**32 - 2),
    uuid=st.uuids(),
    key=CODECS,
    value=CODECS,
    created_ms=st.integers(-(2**63), 2**63 - 1),
)
ROW = StoredState("totals", 7, UUID(int=5), {"name": "ordered"}, {"name": "msgpack"}, 5)
ALL = 1 << 20


class Commit(CommitRequest):
    """The commit of a transaction's states."""

    def __init__(self, *changes: StateChanges) -> None:
        super().__init__()
        self.changes = changes

    def apply(self, writing: WriteTransaction) -> None:
        """Checks all, then writes all."""
        pieces = [ApplyStateChanges(change) for change in self.changes]
        for piece in pieces:
            piece.check(writing)
        for piece in pieces:
            piece.write(writing)


class Rows(CommitRequest):
    """Writes rows of any table, as a failing disk might."""

    def __init__(self, table: bytes, rows: dict[bytes, bytes]) -> None:
        super().__init__()
        self.table = table
        self.rows = rows

    def apply(self, writing: WriteTransaction) -> None:
        """Puts them."""
        for key, data in self.rows.items():
            writing.put(self.table, key, data)


@pytest.fixture
def store(log: eventlog.EventLog) -> Store:
    """An empty store in memory."""
    return log._store


def made(store: Store, name: str = "totals") -> StoredState:
    """A state, made now unless it is there."""
    work = EnsureState(name, {"name": "ordered"}, {"name": "msgpack"}, 5)
    store.run(work)
    assert work.state is not None
    return work.state


def put(store: Store, state: StoredState, rows: dict[bytes, bytes | None]) -> None:
    """Writes rows of a state without having read any."""
    store.run(Commit(StateChanges(state, writes=dict(rows))))


def stored(store: Store, state: StoredState) -> dict[bytes, bytes]:
    """All rows of a state, by their encoded keys."""
    rows, is_whole = store.scan_state(state, b"", None, max_bytes=ALL)
    assert is_whole
    return dict(rows)


def seen(
    store: Store, state: StoredState, count: int | None = None, *, is_reversed: bool = False, first: bytes = b""
) -> Scan | None:
    """What is remembered of a scan that is stopped after some rows; None for none of them left."""
    so_far = ScanRecord(first, None, is_reversed=is_reversed)
    rows, _ = store.scan_state(state, first, None, is_reversed=is_reversed, max_bytes=ALL)
    so_far.take(rows)
    if count is None:
        so_far.is_whole = True
    elif count:
        so_far.last = rows[count - 1][0]
    return so_far.scan()


# --- rows of states -------------------------------------------------------------------------------------------------


@given(STATE_ROWS)
def test_a_row_comes_back(row: StoredState) -> None:
    """Every field; the name is the row's key."""
    assert unpack_state(row.name.encode(), pack_state(row)) == row
    assert unpack_state(memoryview(row.name.encode()), memoryview(pack_state(row))) == row


def test_a_row_of_a_newer_version_is_too_new() -> None:
    """Whatever else it says."""
    with pytest.raises(FormatTooNew, match=r"state b'totals'.*version 2.*Upgrade"):
        unpack_state(b"totals", msgpack.packb({"version": 2, "colour": "blue"}))


def test_unknown_fields_are_left_alone() -> None:
    """A later eventlog may add a field under the same version."""
    data = msgpack.packb(msgpack.unpackb(pack_state(ROW)) | {"colour": "blue"})
    assert unpack_state(b"totals", data) == ROW


@pytest.mark.parametrize("value", [..., None, 1.5, [7], b"short"])
@pytest.mark.parametrize("field", sorted(msgpack.unpackb(pack_state(ROW))))
def test_a_damaged_field_is_corrupt(field: str, value: object) -> None:
    """No other error comes out, and nothing of another type gets in."""
    fields = msgpack.unpackb(pack_state(ROW))
    del fields[field]
    data = msgpack.packb(fields if value is ... else fields | {field: value})
    with pytest.raises(CorruptBatch, match="state b'totals'"):
        unpack_state(b"totals", data)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_row_or_an_error_of_ours(data: bytes) -> None:
    """Whatever a failing disk gives back."""
    with contextlib.suppress(CorruptBatch, FormatTooNew):
        unpack_state(b"totals", data)


# --- making and deleting --------------------------------------------------------------------------------------------


def test_a_state_is_made_once(store: Store) -> None:
    """Who comes second gets the first one's."""
    assert store.state("totals") is None
    row = made(store)
    assert made(store) == row == store.state("totals")
    assert (row.name, row.key, row.value, row.created_ms) == ("totals", {"name": "ordered"}, {"name": "msgpack"}, 5)


def test_states_are_listed_by_name(store: Store) -> None:
    """All of them."""
    rows = [made(store, name) for name in ("b", "a", "c")]
    assert store.states() == [rows[1], rows[0], rows[2]]


def test_no_id_is_given_twice(store: Store) -> None:
    """Not even that of the newest state, once it is deleted."""
    first = made(store)
    store.delete_state("totals")
    second = made(store)
    assert second.id > first.id
    assert second.uuid != first.uuid


def test_a_deleted_state_leaves_no_rows(store: Store) -> None:
    """Those of its neighbours stay."""
    states = [made(store, name) for name in ("a", "b", "c")]
    for state in states:
        put(store, state, {b"k%d" % number: b"v" for number in range(100)})
    store.delete_state("b")
    assert store.state("b") is None
    assert len(stored(store, states[0])) == len(stored(store, states[2])) == 100
    with store.environment.reading() as transaction:
        assert transaction.stat(store.environment.table(STATE))["entries"] == 200


def test_what_is_not_there_can_not_be_deleted(store: Store) -> None:
    """The error says what there is to do."""
    with pytest.raises(UnknownState, match=r"no state 'totals'.*log.states\(\)"):
        store.delete_state("totals")


def test_a_damaged_counter_makes_no_state(store: Store) -> None:
    """It might give an id that another state has."""
    store.run(Rows(FORMAT, {NEXT_STATE_ID_KEY: b"\0"}))
    with pytest.raises(CorruptBatch, match="next id of a state"):
        made(store)
    assert store.states() == []


def test_a_damaged_row_is_named(store: Store) -> None:
    """By whatever wants it."""
    store.run(Rows(STATES, {b"totals": b"\xc1"}))
    for call in (
        lambda: made(store),
        lambda: store.delete_state("totals"),
        lambda: store.state("totals"),
        lambda: store.states(),
        lambda: store.run(Commit(StateChanges(ROW))),
    ):
        with pytest.raises(CorruptBatch, match="state b'totals'"):
            call()


# --- reading --------------------------------------------------------------------------------------------------------


def test_a_row_is_read(store: Store) -> None:
    """Or None, which is not empty bytes."""
    state = made(store)
    put(store, state, {b"a": b"1", b"": b""})
    assert store.read_state_row(state, b"a") == b"1"
    assert store.read_state_row(state, b"") == b""
    assert store.read_state_row(state, b"b") is None
    store.check_state(state)


@given(
    st.dictionaries(st.binary(max_size=3), st.binary(max_size=5), max_size=12),
    st.binary(max_size=3),
    st.binary(max_size=3) | st.none(),
    st.booleans(),
    st.integers(1, 40),
    st.none() | st.integers(1, 4),
)
def test_a_scan_in_parts_gives_every_row_of_the_range_once(
    rows: dict[bytes, bytes],
    first: bytes,
    end: bytes | None,
    is_reversed: bool,
    max_bytes: int,
    max_rows: int | None,
) -> None:
    """In the order of the keys or against it, beside rows of other states."""
    with eventlog.open(":memory:") as log:
        store = log._store
        below, state, above = (made(store, name) for name in ("a", "b", "c"))
        for one in (below, state, above):
            put(store, one, dict(rows))
        low, high = first, end
        found: list[tuple[bytes, bytes]] = []
        is_whole = False
        while not is_whole:
            part, is_whole = store.scan_state(
                state, low, high, is_reversed=is_reversed, max_bytes=max_bytes, max_rows=max_rows
            )
            assert part or is_whole
            assert len(part) <= (max_rows or len(part))
            assert sum(map(len, (text for row in part[:-1] for text in row))) < max_bytes
            found += part
            if part and is_reversed:
                high = part[-1][0]
            elif part:
                low = part[-1][0] + b"\0"
        chosen = {key: data for key, data in rows.items() if first <= key and (end is None or key < end)}
        assert found == [(key, chosen[key]) for key in sorted(chosen, reverse=is_reversed)]


def test_who_scans_a_deleted_state_is_told(store: Store) -> None:
    """No rows might be true of an empty state too."""
    state = made(store)
    store.delete_state("totals")
    made(store)
    for call in (
        lambda: store.check_state(state),
        lambda: store.scan_state(state, b"", None, max_bytes=ALL),
    ):
        with pytest.raises(UnknownState, match=r"state 'totals'.*was deleted"):
            call()


# --- the check at the commit ----------------------------------------------------------------------------------------


def test_changes_are_written(store: Store) -> None:
    """Puts and deletes; to delete what is not there is no error."""
    state = made(store)
    put(store, state, {b"a": b"1", b"b": b"2", b"c": b"3"})
    put(store, state, {b"d": b"4", b"b": None, b"z": None, b"a": b"5", b"e": b""})
    assert stored(store, state) == {b"a": b"5", b"c": b"3", b"d": b"4", b"e": b""}


@pytest.mark.parametrize(
    ("read", "now", "is_conflict"),
    [
        (b"1", b"1", False),
        (b"1", b"2", True),
        (b"1", None, True),
        (None, None, False),
        (None, b"1", True),
        (None, b"", True),
        (b"", None, True),
    ],
)
def test_a_row_that_was_read_and_changed_is_a_conflict(
    store: Store, read: bytes | None, now: bytes | None, is_conflict: bool
) -> None:
    """Rows that come or go are changes too; a row that is as it was is none."""
    state = made(store)
    put(store, state, {b"a": b"x", b"k": now})
    changes = StateChanges(state, {b"k": read}, writes={b"a": b"y"})
    if is_conflict:
        with pytest.raises(ConflictError, match=r"state 'totals'.*encoded key b'k'.*Nothing.*log.transact\(\)"):
            store.run(Commit(changes))
        assert stored(store, state)[b"a"] == b"x"
    else:
        store.run(Commit(changes))
        assert stored(store, state)[b"a"] == b"y"


def test_transactions_of_one_round_conflict_too(store: Store) -> None:
    """The second of a group commit sees what the first wrote; a third that read something else goes through."""
    state = made(store)
    put(store, state, {b"a": b"1", b"b": b"1"})
    works = [
        Commit(StateChanges(state, {b"a": b"1"}, writes={b"a": b"2"})),
        Commit(StateChanges(state, {b"a": b"1"}, writes={b"a": b"3"})),
        Commit(StateChanges(state, {b"b": b"1"}, writes={b"b": b"2"})),
    ]
    rounds = store.committer.round_count
    for work in works:
        store.committer.submit(work)
    store.committer.commit_queued()
    assert store.committer.round_count == rounds + 1
    assert [type(work.error) for work in works] == [type(None), ConflictError, type(None)]
    assert stored(store, state) == {b"a": b"2", b"b": b"2"}


def test_a_conflict_in_one_state_spares_the_others_too(store: Store) -> None:
    """All states of a transaction are checked before any is written."""
    one, two = made(store, "one"), made(store, "two")
    put(store, two, {b"k": b"changed"})
    with pytest.raises(ConflictError, match="state 'two'"):
        store.run(
            Commit(
                StateChanges(one, writes={b"k": b"1"}),
                StateChanges(two, {b"k": None}),
            )
        )
    assert stored(store, one) == {}


@pytest.mark.parametrize("is_made_anew", [False, True])
def test_a_deleted_state_takes_no_rows(store: Store, is_made_anew: bool) -> None:
    """They would belong to nobody for ever, or show up in another state."""
    state = made(store)
    store.delete_state("totals")
    if is_made_anew:
        made(store)
    with pytest.raises(UnknownState, match=r"state 'totals'.*was deleted"):
        put(store, state, {b"k": b"v"})
    with store.environment.reading() as transaction:
        assert transaction.stat(store.environment.table(STATE))["entries"] == 0


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize(
    ("change", "is_conflict"),
    [
        ({b"c": b"v"}, False),
        ({b"c": b"w"}, True),
        ({b"c": None}, True),
        ({b"bb": b"v"}, True),
        ({b"z": b"v"}, True),
        ({b"A": b"v"}, False),
    ],
)
def test_a_change_in_a_scanned_range_is_a_conflict(
    store: Store, change: dict[bytes, bytes | None], is_conflict: bool, is_reversed: bool
) -> None:
    """A row that is new there was read as well: as missing."""
    state = made(store)
    put(store, state, {b"b": b"v", b"c": b"v", b"d": b"v"})
    scan = seen(store, state, is_reversed=is_reversed, first=b"a")
    assert scan is not None
    put(store, state, change)
    work = Commit(StateChanges(state, scans=[scan]))
    if is_conflict:
        with pytest.raises(ConflictError, match=r"state 'totals'.*range that it scanned.*b'a'"):
            store.run(work)
    else:
        store.run(work)


@given(
    st.dictionaries(st.binary(max_size=2), st.sampled_from([b"v", b"w"]), max_size=8),
    st.booleans(),
    st.data(),
)
def test_a_scan_is_checked_as_far_as_it_was_read(
    rows: dict[bytes, bytes], is_reversed: bool, data: st.DataObject
) -> None:
    """Whatever changes behind the last row that was handed out is no conflict, and all else is."""
    count = data.draw(st.none() | st.integers(0, len(rows)))
    keys = sorted(rows, reverse=is_reversed)
    key = data.draw(st.binary(max_size=2) | st.sampled_from(keys or [b""]))
    value = data.draw(st.sampled_from([b"v", b"w", None]))
    with eventlog.open(":memory:") as log:
        store = log._store
        below, state, above = (made(store, name) for name in ("a", "b", "c"))
        put(store, state, dict(rows))
        scan = seen(store, state, count, is_reversed=is_reversed)
        assert (scan is None) == (count == 0)
        put(store, below, {key: value})
        put(store, above, {key: value})
        put(store, state, {key: value})
        if count is None:
            is_seen = True
        else:
            is_seen = count > 0 and (key >= keys[count - 1] if is_reversed else key <= keys[count - 1])
        work = Commit(StateChanges(state, scans=[] if scan is None else [scan]))
        if is_seen and rows.get(key) != value:
            with pytest.raises(ConflictError):
                store.run(work)
        else:
            store.run(work)


def test_rows_cut_elsewhere_are_other_rows(store: Store) -> None:
    """A byte that moves from a key to its value, or from one row to the next, changes the digest."""
    state = made(store)
    scans = []
    for rows in ({b"ab": b"c"}, {b"a": b"bc"}, {b"a": b"b", b"c": b""}, {b"abc": b""}):
        store.delete_state("totals")
        state = made(store)._replace(uuid=uuid4())
        put(store, state, dict(rows))
        scan = seen(store, state)
        assert scan is not None
        scans.append((scan.count, scan.digest))
    assert len(set(scans)) == 4


def test_a_scan_over_many_parts_is_one(store: Store) -> None:
    """The digest does not depend on how the rows were cut into parts, nor on when it was asked for."""
    state = made(store)
    put(store, state, {b"%04d" % number: b"v" * (number % 50) for number in range(3000)})
    whole = seen(store, state)
    rows, _ = store.scan_state(state, b"", None, max_bytes=1 << 30)
    so_far = ScanRecord(b"", None, is_reversed=False)
    for first in range(0, 3000, 7):
        so_far.take(rows[first : first + 7])
        so_far.last = rows[first][0]
        before = so_far.scan()
        assert before is not None
        assert before.count == first + 1
    so_far.is_whole = True
    so_far.end_here()
    so_far.end_here()
    assert so_far.scan() == whole
    store.run(Commit(StateChanges(state, scans=[so_far.scan()])))


def test_a_range_that_filled_up_is_refused_without_reading_it_all(store: Store) -> None:
    """The check happens while everybody waits: one row more than before is enough to know."""
    state = made(store)
    scan = seen(store, state)
    assert scan is not None
    put(store, state, {b"%04d" % number: b"v" for number in range(1000)})
    with pytest.raises(ConflictError):
        store.run(Commit(StateChanges(state, scans=[scan])))
