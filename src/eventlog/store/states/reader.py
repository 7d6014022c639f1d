"""Reading states: each call in one short snapshot, its results copied."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from eventlog.backend.states import Row, StoredState
from eventlog.errors import UnknownState
from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.environment import (
    STATE,
    STATES,
    CopyingCursor,
    EngineError,
    Environment,
    Snapshot,
    Transaction,
)
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


def check_stored(transaction: Transaction | Snapshot, states_table: Table, state: StoredState) -> None:
    """The same within a transaction."""
    key = state.name.encode()
    data = transaction.get(key, db=states_table)
    if data is None or unpack_state_again(key, bytes(data)).id != state.id:
        raise UnknownState(
            f"cannot use state {state.name!r}: it was deleted.",
            stored="Nothing of the transaction was stored.",
            advice=f"tx.state({state.name!r}) in another transaction makes another one of that name.",
            state=state.name,
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
        except unless_interrupted(EngineError) as error:
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

    def scan(transaction: Transaction) -> tuple[list[Row], bool]:
        rows: list[Row] = []
        left_bytes = max_bytes
        with transaction.cursor(db=environment.table(STATE)) as cursor:
            for key, value in walk_range(cursor, state, first, end, is_reversed=is_reversed):
                if left_bytes <= 0 or len(rows) == max_rows:
                    return rows, False
                rows.append((key, value))
                left_bytes -= len(key) + len(value) + ID_BYTES
            check_stored(transaction, environment.table(STATES), state)
        return rows, True

    return environment.read(scan)


def walk_range(
    cursor: CopyingCursor, state: StoredState, first: bytes, end: bytes | None, *, is_reversed: bool
) -> Iterator[Row]:
    """The rows from `first` on that come before `end`, or the same in the opposite order."""
    prefix = state_prefix(state.id)
    low, high = prefix + first, state_end(state.id) if end is None else prefix + end
    is_found = cursor.set_range(high if is_reversed else low)
    if not is_reversed:
        if is_found:
            for key, value in cursor.iternext():
                if key >= high:
                    return
                yield key[ID_BYTES:], value
    elif cursor.prev() if is_found else cursor.last():
        for key, value in cursor.iterprev():
            if key < low:
                return
            yield key[ID_BYTES:], value
