"""
Commands of states: what is done to them within a write transaction.

A transaction's changes are checked first: what it read is compared, byte by byte, with what is stored now. So rows need
no version, and a row that was changed and changed back is no conflict.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from uuid import uuid4

from eventlog.backend.states import RowDigest, Scan, StateChanges, StoredState, unknown_state
from eventlog.errors import ConflictError
from eventlog.store.lmdb.environment import FORMAT, STATE, STATES, CopyingCursor, Environment, Transaction
from eventlog.store.lmdb.errors import damaged_row
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.tables import STATE_ROWS, left_rows_key, next_id
from eventlog.store.states.reader import check_stored, walk_range
from eventlog.store.states.rows import ID_BYTES, NEXT_STATE_ID_KEY, pack_state, state_prefix, unpack_state

_CHUNK_ROWS = 1024
_SHOWN_KEY_BYTES = 40


class EnsureState(CommitRequest):
    """Creation of a state unless it is there; `state` is the stored one either way."""

    __slots__ = ("_key", "_name", "_now_ms", "_value", "state")

    def __init__(self, name: str, key: dict[str, object], value: dict[str, object], now_ms: int) -> None:
        super().__init__()
        self._name = name
        self._key = key
        self._value = value
        self._now_ms = now_ms
        self.state: StoredState | None = None

    def apply(self, writing: WriteTransaction) -> None:
        """Give the state the next id, which no other state ever had."""
        name = self._name.encode()
        stored = writing.get(STATES, name)
        if stored is not None:
            self.state = unpack_state(name, stored)
            return
        self.state = new_state(writing, self._name, self._key, self._value, self._now_ms)


def new_state(
    writing: WriteTransaction,
    name: str | Callable[[int], str],
    key: dict[str, object],
    value: dict[str, object],
    now_ms: int,
) -> StoredState:
    """Store the row of a new state under the next id; `name` may be a function of that id."""
    number = next_id(writing.get(FORMAT, NEXT_STATE_ID_KEY), "state", size_bytes=ID_BYTES)
    state = StoredState(name if isinstance(name, str) else name(number), number, uuid4(), key, value, now_ms)
    writing.put(STATES, state.name.encode(), pack_state(state))
    writing.put(FORMAT, NEXT_STATE_ID_KEY, (number + 1).to_bytes(ID_BYTES, "big"))
    return state


class DeleteState(CommitRequest):
    """Removal of a state with its rows; transactions that use it and commit later get `UnknownState`."""

    __slots__ = ("_in_steps", "_name", "reserve_share")
    bound_share = 1.0

    def __init__(self, name: str, *, in_steps: bool = False) -> None:
        super().__init__()
        self._name = name
        self._in_steps = in_steps
        self.reserve_share = float(in_steps)

    def apply(self, writing: WriteTransaction) -> None:
        """Remove all rows that carry the state's id; in steps, note that they are left."""
        name = self._name.encode()
        stored = writing.get(STATES, name)
        if stored is None:
            raise unknown_state(self._name)
        state = unpack_state(name, stored)
        writing.delete(STATES, name)
        if self._in_steps:
            writing.put(FORMAT, left_rows_key(STATE_ROWS, state.id), b"")
        else:
            writing.delete_prefix(STATE, state_prefix(state.id))


class ApplyStateChanges:
    """The part of a transaction that checks what it read of one state, and writes its rows."""

    __slots__ = ("_changes",)

    def __init__(self, changes: StateChanges) -> None:
        self._changes = changes

    def check(self, writing: WriteTransaction) -> None:
        """
        Compare what was read with what is stored now.

        Raises:
            ConflictError: if it differs. Nothing was written.
            UnknownState: if the state was deleted. Nothing was written.
        """
        self.check_within(writing.environment, writing.transaction)

    def check_within(self, environment: Environment, transaction: Transaction) -> None:
        """The same check in any transaction that hands out copies."""
        state, reads, scans, _ = self._changes  # taken apart: a field of a named tuple is found slowly
        check_stored(environment, transaction, state)
        prefix, table, unseal = state_prefix(state.id), environment.tables[STATE], environment.unseal
        for key, data in reads.items():
            row_key = prefix + key
            stored = transaction.get(row_key, db=table)
            if stored is not None and unseal is not None:
                stored = unseal(row_key, stored)  # as `environment.row`, without its call
                if stored is None:
                    raise damaged_row(STATE, row_key)
            if stored != data:
                raise _conflict(state, f"the row with the encoded key {_shown(key)}")
        if scans:
            with transaction.cursor(db=table) as cursor:
                for scan in scans:
                    if not _is_unchanged(environment, cursor, state, scan):
                        raise _conflict(state, f"a row in the range that it scanned, of {_range_shown(scan)}")

    def write(self, writing: WriteTransaction) -> None:
        """Put and delete the rows, in the order of the table."""
        state, _, _, writes = self._changes
        prefix = state_prefix(state.id)
        if len(writes) == 1:
            ((key, value),) = writes.items()
            if value is None:
                writing.delete(STATE, prefix + key)
            else:
                writing.put(STATE, prefix + key, value)
            return
        keys = sorted(writes)
        values = [data for key in keys if (data := writes[key]) is not None]
        if len(values) < len(keys):
            for key in keys:
                if writes[key] is None:
                    writing.delete(STATE, prefix + key)
            keys = [key for key in keys if writes[key] is not None]
        if keys:
            writing.put_sorted(STATE, [prefix + key for key in keys], values)


def _is_unchanged(environment: Environment, cursor: CopyingCursor, state: StoredState, scan: Scan) -> bool:
    """Whether the range holds what it held; reads at most one row more than it held."""
    rows = walk_range(environment, cursor, state, scan.first, scan.end, is_reversed=scan.is_reversed)
    digest = RowDigest()
    left = scan.count
    while left > 0:
        chunk = list(islice(rows, min(left, _CHUNK_ROWS)))
        if not chunk:
            return False
        digest.add(chunk)
        left -= len(chunk)
    return next(rows, None) is None and digest.digest() == scan.digest


def _conflict(state: StoredState, what: str) -> ConflictError:
    return ConflictError(
        f"cannot commit the transaction: in state {state.name!r} somebody else has changed {what}, since the "
        "transaction read it.",
        stored="Nothing of the transaction was stored.",
        advice="Do it again from its first read on, as log.transact() does.",
        state=state.name,
    )


def _range_shown(scan: Scan) -> str:
    end = "the last" if scan.end is None else _shown(scan.end)
    return f"the encoded keys {_shown(scan.first)} up to {end}"


def _shown(key: bytes) -> str:
    text = repr(key[:_SHOWN_KEY_BYTES])
    return text if len(key) <= _SHOWN_KEY_BYTES else text + "..."
