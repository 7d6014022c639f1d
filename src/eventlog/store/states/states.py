"""
States: mappings kept beside the records, and what a transaction did to them.

A transaction reads in short read transactions, long before it commits, and keeps its writes to itself. At the commit
`StateChanges` compares what was read with what is stored then, and writes: so transactions have the effect of one
after the other. It compares bytes: a row that was changed and changed back is no conflict, and rows need no version.

Rows of all states stand in one table, by the state's id and the encoded key. Layout: docs/reference/format.md. Knows
nothing of codecs, or of who reads.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID, uuid4

import attrs
import msgpack

from eventlog.errors import ConflictError, UnknownState
from eventlog.store.lmdb.environment import (
    FORMAT,
    STATE,
    STATES,
    Cursor,
    EngineError,
    Environment,
    Snapshot,
    Transaction,
)
from eventlog.store.records.write_transaction import CommitRequest, WriteTransaction
from eventlog.store.rows.packing import NOT_A_ROW, checked, damaged, fields_of, packed

if TYPE_CHECKING:
    from hashlib import blake2b

NEXT_STATE_ID_KEY = b"next state id"

_VERSION = 1
_ID_BYTES = 4
_DIGEST_BYTES = 16
_PACK_BUFFER_BYTES = 4096
_KNOWN_COUNT = 64
_SHOWN_KEY_BYTES = 40


class StateRow(NamedTuple):
    """
    Is what the log keeps of a state.

    `id` is never given to another state; `uuid` neither in any other log.
    """

    name: str
    id: int
    uuid: UUID
    key: dict[str, object]
    value: dict[str, object]
    created_ms: int

    def __hash__(self) -> int:
        """Rows with equal ids are few; the codecs have no hash."""
        return self.id

    @property
    def prefix(self) -> bytes:
        """What the keys of the state's rows begin with."""
        return self.id.to_bytes(_ID_BYTES, "big")

    @property
    def end(self) -> bytes:
        """The key behind all rows of the state."""
        return (self.id + 1).to_bytes(_ID_BYTES, "big")

    def pack(self) -> bytes:
        """The row's bytes; the name is the row's key."""
        return packed(
            {
                "version": _VERSION,
                "id": self.id,
                "uuid": self.uuid.bytes,
                "key": self.key,
                "value": self.value,
                "created_ms": self.created_ms,
            }
        )

    @classmethod
    def unpack(cls, name: bytes | memoryview, data: bytes | memoryview) -> StateRow:
        """
        The row of this key and these bytes.

        Fields that we do not know are kept out, not refused.
        """
        what = f"state {bytes(name)!r}"
        try:
            fields = fields_of(data, what, _VERSION)
            return cls(
                name=bytes(name).decode(),
                id=checked(fields["id"], int),
                uuid=UUID(bytes=checked(fields["uuid"], bytes)),
                key=checked(fields["key"], dict),
                value=checked(fields["value"], dict),
                created_ms=checked(fields["created_ms"], int),
            )
        except NOT_A_ROW as error:
            raise damaged(what) from error


# --- reading: short transactions, results copied ------------------------------------------------------------------


def state_row(environment: Environment, name: str) -> StateRow | None:
    """The stored state of that name."""
    return environment.read(lambda transaction: _stored(environment, transaction, name))


def state_rows(environment: Environment) -> list[StateRow]:
    """All states, by name."""
    with environment.reading() as transaction, transaction.cursor(db=environment.table(STATES)) as cursor:
        return [StateRow.unpack(name, data) for name, data in cursor.iternext()]


def check_state(environment: Environment, state: StateRow) -> None:
    """Raises `UnknownState` when the state was deleted, whether or not another has its name."""
    environment.read(lambda transaction: _check_stored(environment, transaction, state))


def read_row(environment: Environment, key: bytes) -> bytes | None:
    """The value of one row, None when there is none; then `check_state` tells whether its state is there."""
    return read_many(environment, (key,))[0]


def read_many(environment: Environment, keys: Iterable[bytes]) -> list[bytes | None]:
    """The same of several rows, in one snapshot."""
    token = object()
    try:
        transaction = environment.begin_copying(token)
        try:
            table = environment.tables[STATE]
            return [transaction.get(key, db=table) for key in keys]
        except EngineError as error:
            raise environment.read_error(error) from error
        finally:
            transaction.abort()
    finally:
        environment.leave(token, None)


def scan_rows(
    environment: Environment,
    state: StateRow,
    first: bytes,
    end: bytes,
    *,
    is_reversed: bool = False,
    max_bytes: int,
    max_rows: int | None = None,
) -> tuple[list[tuple[bytes, bytes]], bool]:
    """
    The rows between two keys, of one snapshot, and whether these are all of them.

    Args:
        is_reversed: begins at the end of the range.
        max_bytes: bound of the values and keys together; one row comes back even if it is larger.
        max_rows: bound of their number.

    Raises:
        UnknownState: if the state was deleted.
    """
    rows: list[tuple[bytes, bytes]] = []
    with environment.reading() as transaction, transaction.cursor(db=environment.table(STATE)) as cursor:
        for row in _walk(cursor, first, end, is_reversed=is_reversed):
            if max_bytes <= 0 or len(rows) == max_rows:
                return rows, False
            rows.append(row)
            max_bytes -= len(row[0]) + len(row[1])
        _check_stored(environment, transaction, state)
    return rows, True


def _walk(cursor: Cursor, first: bytes, end: bytes, *, is_reversed: bool) -> Iterator[tuple[bytes, bytes]]:
    """Copies of the rows from `first` on that come before `end`, or the same from behind."""
    is_found = cursor.set_range(end if is_reversed else first)
    if not is_reversed:
        if is_found:
            for stored, value in cursor.iternext():
                key = bytes(stored)
                if key >= end:
                    return
                yield key, bytes(value)
    elif cursor.prev() if is_found else cursor.last():
        for stored, value in cursor.iterprev():
            key = bytes(stored)
            if key < first:
                return
            yield key, bytes(value)


def _stored(environment: Environment, transaction: Snapshot | Transaction, name: str) -> StateRow | None:
    key = name.encode()
    data = transaction.get(key, db=environment.table(STATES))
    return None if data is None else _unpacked(key, bytes(data))


def _check_stored(environment: Environment, transaction: Snapshot | Transaction, state: StateRow) -> None:
    stored = _stored(environment, transaction, state.name)
    if stored is None or stored.id != state.id:
        raise UnknownState(
            f"cannot use state {state.name!r}: it was deleted. Nothing of the transaction was stored. "
            f"tx.state({state.name!r}) in another transaction makes another one of that name."
        )


_unpacked = lru_cache(maxsize=_KNOWN_COUNT)(StateRow.unpack)
"""Every scan and every commit looks whether the state is there, and finds the same bytes as the last."""


# --- what a transaction did ---------------------------------------------------------------------------------------


@attrs.frozen(repr=False)
class Scan:
    """Is what a transaction saw of a range: how many rows, and a digest of them in their order."""

    first: bytes
    end: bytes
    is_reversed: bool
    count: int
    digest: bytes


class ScanSoFar:
    """
    Remembers what a scan has handed out, for as long as it runs.

    Rows that were read ahead and never handed out do not count: `scan()` is of the range up to `last`, the key that
    was handed out last, whether its row is stored or the transaction's own.
    """

    __slots__ = ("_count", "_digest", "_end", "_final", "_first", "_is_reversed", "_rows", "is_whole", "last")

    def __init__(self, first: bytes, end: bytes, *, is_reversed: bool) -> None:
        self._first = first
        self._end = end
        self._is_reversed = is_reversed
        self._digest: blake2b | None = None
        self._count = 0
        self._rows: list[tuple[bytes, bytes]] = []
        self._final: Scan | None = None
        self.last: bytes | None = None
        self.is_whole = False

    def take(self, rows: list[tuple[bytes, bytes]]) -> None:
        """Says what was read next; all that was read before it has been handed out."""
        if self._rows:
            self._digest = self._digested(self._rows)
            self._count += len(self._rows)
        self._rows = rows

    def end_here(self) -> None:
        """Says that no more will be asked for; frees what was read ahead."""
        if sys.is_finalizing():
            return  # a scan that nobody closed: nothing can be imported any more, and nothing will be committed
        self._final = self.scan()
        self._rows = []
        self._digest = None

    def scan(self) -> Scan | None:
        """What is to be checked at the commit; None when nothing was handed out."""
        if self._final is not None:
            return self._final
        first, end, rows = self._first, self._end, self._rows
        if not self.is_whole:
            last = self.last
            if last is None:
                return None
            if self._is_reversed:
                first, rows = last, [row for row in rows if row[0] >= last]
            else:
                end, rows = last + b"\0", [row for row in rows if row[0] <= last]
        digest = self._digested(rows).digest()
        return Scan(first, end, self._is_reversed, self._count + len(rows), digest)

    def _digested(self, rows: list[tuple[bytes, bytes]]) -> blake2b:
        digest = _new_digest() if self._digest is None else self._digest.copy()
        digest.update(_framed(rows))
        return digest


@attrs.frozen(repr=False)
class StateChanges:
    """
    Is what one transaction read of a state and wrote to it, by the keys of rows.

    None in `reads` is a row that was not there, None in `writes` one that is to go.
    """

    state: StateRow
    reads: dict[bytes, bytes | None] = attrs.Factory(dict)
    scans: list[Scan] = attrs.Factory(list)
    writes: dict[bytes, bytes | None] = attrs.Factory(dict)

    @property
    def is_used(self) -> bool:
        """Whether there is anything to check or to write."""
        return bool(self.reads or self.scans or self.writes)

    def check(self, writing: WriteTransaction) -> None:
        """
        Compares what was read with what is stored now.

        Raises:
            ConflictError: if it differs. Nothing was written.
            UnknownState: if the state was deleted. Nothing was written.
        """
        self.check_within(writing._environment, writing.transaction)

    def check_within(self, environment: Environment, transaction: Snapshot | Transaction) -> None:
        """Is `check` in any transaction of the store."""
        _check_stored(environment, transaction, self.state)
        table = environment.table(STATE)
        for key, data in self.reads.items():
            if transaction.get(key, db=table) != data:
                raise self._conflict(f"the row with the encoded key {_shown(key)}")
        if self.scans:
            with transaction.cursor(db=table) as cursor:
                for scan in self.scans:
                    if not _is_unchanged(cursor, scan):
                        raise self._conflict(
                            f"a row in the range that it scanned, of the encoded keys {_shown(scan.first)} up to "
                            f"{_shown(scan.end)}"
                        )

    def write(self, writing: WriteTransaction) -> None:
        """Puts and deletes the rows, in the order of the table."""
        writes = self.writes
        keys = sorted(writes)
        puts = [(key, data) for key in keys if (data := writes[key]) is not None]
        if len(puts) < len(keys):
            for key in keys:
                if writes[key] is None:
                    writing.delete(STATE, key)
        if puts:
            writing.put(STATE, *puts[0])
        if len(puts) > 1:
            with writing.transaction.cursor(db=writing._environment.tables[STATE]) as cursor:
                cursor.putmulti(puts[1:])  # four times as fast as one by one

    def _conflict(self, what: str) -> ConflictError:
        return ConflictError(
            f"cannot commit the transaction: in state {self.state.name!r} somebody else has changed {what}, since the "
            "transaction read it. Nothing of the transaction was stored. Do it again from its first read on, as "
            "log.transact() does."
        )


def _is_unchanged(cursor: Cursor, scan: Scan) -> bool:
    """Whether the range holds what it held; looks at one row more than it held at most."""
    rows = _walk(cursor, scan.first, scan.end, is_reversed=scan.is_reversed)
    digest = _new_digest()
    left = scan.count
    while left > 0:
        chunk = list(islice(rows, min(left, 1024)))
        if not chunk:
            return False
        digest.update(_framed(chunk))
        left -= len(chunk)
    return next(rows, None) is None and digest.digest() == scan.digest


def _new_digest() -> blake2b:
    from hashlib import blake2b  # here, since most programs scan nothing, and hashlib loads OpenSSL

    return blake2b(digest_size=_DIGEST_BYTES)


def _framed(rows: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Bytes that no other rows have, however they are cut into keys and values."""
    return b"".join(map(msgpack.Packer(buf_size=_PACK_BUFFER_BYTES).pack, rows))


def _shown(key: bytes) -> str:
    text = repr(key[_ID_BYTES:][:_SHOWN_KEY_BYTES])
    return text if len(key) <= _ID_BYTES + _SHOWN_KEY_BYTES else text + "..."


def check_now(environment: Environment, changes: Iterable[StateChanges]) -> None:
    """
    Checks what a transaction read that writes nothing: it needs no lock, and waits for no writer.

    All of it is compared with one snapshot, so the transaction has the effect of one at that moment.
    """
    with environment.reading() as transaction:
        for one in changes:
            one.check_within(environment, transaction)


# --- works --------------------------------------------------------------------------------------------------------


class EnsureState(CommitRequest):
    """Creates a state unless it is there; `state` is the stored one either way."""

    __slots__ = ("_key", "_name", "_now_ms", "_value", "state")

    def __init__(self, name: str, key: dict[str, object], value: dict[str, object], now_ms: int) -> None:
        super().__init__()
        self._name = name
        self._key = key
        self._value = value
        self._now_ms = now_ms
        self.state: StateRow | None = None

    def apply(self, writing: WriteTransaction) -> None:
        """Gives the state the next id, which no other state ever had."""
        name = self._name.encode()
        stored = writing.get(STATES, name)
        if stored is not None:
            self.state = StateRow.unpack(name, stored)
            return
        self.state = new_state(writing, self._name, self._key, self._value, self._now_ms)


def new_state(
    writing: WriteTransaction,
    name: str | Callable[[int], str],
    key: dict[str, object],
    value: dict[str, object],
    now_ms: int,
) -> StateRow:
    """Stores the row of a new state under the next id, which may be told to what makes the name."""
    counter = writing.get(FORMAT, NEXT_STATE_ID_KEY)
    if counter is not None and len(counter) != _ID_BYTES:
        raise damaged("the next state's id")
    number = 1 if counter is None else int.from_bytes(counter, "big")
    state = StateRow(name if isinstance(name, str) else name(number), number, uuid4(), key, value, now_ms)
    writing.put(STATES, state.name.encode(), state.pack())
    writing.put(FORMAT, NEXT_STATE_ID_KEY, (number + 1).to_bytes(_ID_BYTES, "big"))
    return state


class DeleteState(CommitRequest):
    """
    Removes a state with its rows.

    Transactions that use it and commit later get `UnknownState`.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def apply(self, writing: WriteTransaction) -> None:
        """Removes all rows that carry the state's id."""
        name = self._name.encode()
        stored = writing.get(STATES, name)
        if stored is None:
            raise unknown_state(self._name)
        state = StateRow.unpack(name, stored)
        writing.delete(STATES, name)
        writing.delete_prefix(STATE, state.prefix)


def unknown_state(name: str) -> UnknownState:
    """The error for a state that is not there."""
    return UnknownState(
        f"the log has no state {name!r}. Nothing was stored. log.states() tells which there are; tx.state({name!r}) in "
        "a transaction makes one."
    )
