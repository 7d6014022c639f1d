"""Reading states: each call in one short snapshot, its results copied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from eventlog.backend.states import Row, StoredState
from eventlog.errors import UnknownState
from eventlog.store.lmdb.environment import STATE, STATES, Cursor, EngineError, Environment, Snapshot, Transaction
from eventlog.store.lmdb.lifecycle import Table
from eventlog.store.states.rows import ID_BYTES, state_end, state_prefix, unpack_state, unpack_state_again


def read_state(environment: Environment, name: str) -> StoredState | None:
    """The stored state of that name."""
    key = name.encode()
    data = environment.read(lambda transaction: transaction.get(key, db=environment.tables[STATES]))
    return None if data is None else unpack_state_again(key, data)


def read_states(environment: Environment) -> list[StoredState]:
    """All states, by name."""
    with environment.reading() as transaction, transaction.cursor(db=environment.table(STATES)) as cursor:
        return [unpack_state(name, data) for name, data in cursor.iternext()]


def check_state(environment: Environment, state: StoredState) -> None:
    """Raise `UnknownState` when a state was deleted, whether or not another has its name."""
    environment.read(lambda transaction: check_stored(transaction, environment.table(STATES), state))


def check_stored(transaction: Snapshot | Transaction, states_table: Table, state: StoredState) -> None:
    """The same within a transaction."""
    key = state.name.encode()
    data = transaction.get(key, db=states_table)
    if data is None or unpack_state_again(key, bytes(data)).id != state.id:
        raise UnknownState(
            f"cannot use state {state.name!r}: it was deleted. Nothing of the transaction was stored. "
            f"tx.state({state.name!r}) in another transaction makes another one of that name."
        )


def read_rows(environment: Environment, state: StoredState, keys: Iterable[bytes]) -> list[bytes | None]:
    """The values of some keys, in one snapshot; None for those that have no row."""
    prefix = state_prefix(state.id)
    token = object()
    try:
        transaction = environment.begin_copying(token)
        try:
            table = environment.tables[STATE]
            return [transaction.get(prefix + key, db=table) for key in keys]
        except EngineError as error:
            raise environment.read_error(error) from error
        finally:
            transaction.abort()
    finally:
        environment.leave(token, None)


def scan_rows(
    environment: Environment,
    state: StoredState,
    first: bytes,
    end: bytes | None,
    *,
    is_reversed: bool = False,
    max_bytes: int,
    max_rows: int | None = None,
) -> tuple[list[Row], bool]:
    """The rows of a range, and whether these are all of them (`StateBackend.scan_state`)."""
    rows: list[Row] = []
    with environment.reading() as transaction, transaction.cursor(db=environment.table(STATE)) as cursor:
        for row in walk_range(cursor, state, first, end, is_reversed=is_reversed):
            if max_bytes <= 0 or len(rows) == max_rows:
                return rows, False
            rows.append(row)
            max_bytes -= ID_BYTES + len(row[0]) + len(row[1])
        check_stored(transaction, environment.table(STATES), state)
    return rows, True


def walk_range(
    cursor: Cursor, state: StoredState, first: bytes, end: bytes | None, *, is_reversed: bool
) -> Iterator[Row]:
    """Copies of the rows from `first` on that come before `end`, or the same in the opposite order."""
    prefix = state_prefix(state.id)
    low, high = prefix + first, state_end(state.id) if end is None else prefix + end
    is_found = cursor.set_range(high if is_reversed else low)
    if not is_reversed:
        if is_found:
            for stored, value in cursor.iternext():
                key = bytes(stored)
                if key >= high:
                    return
                yield key[ID_BYTES:], bytes(value)
    elif cursor.prev() if is_found else cursor.last():
        for stored, value in cursor.iterprev():
            key = bytes(stored)
            if key < low:
                return
            yield key[ID_BYTES:], bytes(value)
