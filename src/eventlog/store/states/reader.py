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
from eventlog.store.lmdb.errors import damaged_row
from eventlog.store.states.rows import ID_BYTES, state_end, state_prefix, unpack_state, unpack_state_again


def read_state(environment: Environment, name: str) -> StoredState | None:
    """The stored state of that name."""
    key = name.encode()
    token = object()
    try:
        transaction = environment.begin_copying(token)
        try:
            data = environment.row(transaction, STATES, key)
        except unless_interrupted(EngineError) as error:
            raise environment.read_error(error) from error
        finally:
            transaction.abort()
    finally:
        environment.leave(token, None)
    return None if data is None else unpack_state_again(key, data)


def read_states(environment: Environment) -> list[StoredState]:
    """All states, by name."""
    with environment.reading() as transaction, transaction.cursor(db=environment.table(STATES)) as cursor:
        return [unpack_state(name, environment.value(STATES, name, data)) for name, data in cursor.iternext()]


def check_state(environment: Environment, state: StoredState) -> None:
    """Raise `UnknownState` when a state was deleted, whether or not another has its name."""
    environment.read(lambda transaction: check_stored(environment, transaction, state))


def check_stored(environment: Environment, transaction: Transaction | Snapshot, state: StoredState) -> None:
    """The same within a transaction."""
    key = state.name.encode()
    data = environment.row(transaction, STATES, key)
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
            return [environment.row(transaction, STATE, prefix + key) for key in keys]
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
            for key, value in walk_range(environment, cursor, state, first, end, is_reversed=is_reversed):
                if left_bytes <= 0 or len(rows) == max_rows:
                    return rows, False
                rows.append((key, value))
                left_bytes -= len(key) + len(value) + ID_BYTES
            check_stored(environment, transaction, state)
        return rows, True

    return environment.read(scan)


def walk_range(
    environment: Environment,
    cursor: CopyingCursor,
    state: StoredState,
    first: bytes,
    end: bytes | None,
    *,
    is_reversed: bool,
) -> Iterator[Row]:
    """The rows from `first` on that come before `end`, or the same in the opposite order."""
    prefix, unseal = state_prefix(state.id), environment.unseal  # called here: a method for each row costs a tenth
    low, high = prefix + first, state_end(state.id) if end is None else prefix + end
    is_found = cursor.set_range(high if is_reversed else low)
    if not is_reversed:
        if is_found:
            for key, data in cursor.iternext():
                if key >= high:
                    return
                value = data if unseal is None else unseal(key, data)
                if value is None:
                    raise damaged_row(STATE, key)
                yield key[ID_BYTES:], value
    elif cursor.prev() if is_found else cursor.last():
        for key, data in cursor.iterprev():
            if key < low:
                return
            value = data if unseal is None else unseal(key, data)
            if value is None:
                raise damaged_row(STATE, key)
            yield key[ID_BYTES:], value
