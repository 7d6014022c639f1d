"""
A state in a transaction: what it wrote, on top of what is stored.

What was written stays here until the commit; what was read is remembered, rows, missing rows and scanned ranges, and
the commit checks that it is still so (`backend/states.py`).

Knows nothing of transactions but their bound and their end.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar, overload

from eventlog.backend.states import Row as StoredRow
from eventlog.backend.states import StateBackend, StateChanges, StoredState
from eventlog.clients.state.scan_record import ScanRecord
from eventlog.clients.state.view import MISSING, Missing, StateView, open_state, view
from eventlog.codecs import Codec
from eventlog.records import K, V

if TYPE_CHECKING:
    from eventlog.codecs.ordered import OrderedCodec

__all__ = ["State", "StateView", "open_state", "view"]

T = TypeVar("T")

_ROW_BYTES = 256
"""What a row takes in memory beside its key and value, roughly."""
_SCAN_BYTES = 512
_MOST_CACHED_ROWS = 100_000
_MOST_CACHED_BYTES = 1 << 27
_FEW = 32
_LEAST_INT, _MOST_INT = -(2**63), 2**63 - 1
_INT_BYTES = 9
_TEXT_BYTES = 5

_KEPT: dict[str, frozenset[type]] = {
    "msgpack": frozenset({int, float, bool, str, bytes}),
    "json": frozenset({int, float, bool, str}),
    "int": frozenset({int}),
    "str": frozenset({str}),
    "bytes": frozenset({bytes}),
}
"""For a codec of values, the types that nobody can change and that come back as they are: they need no copy."""

_QUICK_KEYS: dict[str | None, frozenset[type]] = {
    None: frozenset({str, int}),
    "str": frozenset({str}),
    "int": frozenset({int}),
    "bytes": frozenset({bytes}),
    "tuple": frozenset(),
}
"""
For a type of keys, those of which equal ones surely have equal bytes, so that a row is found without encoding.

Not tuples: (1,) equals (True,), which is no key. Not bytes beside text: they may not be compared under `python -b`.
"""


class Row:
    """
    A row as one transaction knows it.

    `value` is an object that nobody can change, `data` its bytes; one of them may be None, and both are when there is
    no such row. `stored` is what was read, for the check. `base_bytes` is what it takes in memory without what was
    written, `charged_bytes` what the transaction was told of.
    """

    __slots__ = ("alias", "base_bytes", "cached_bytes", "charged_bytes", "data", "is_written", "key", "stored", "value")

    def __init__(
        self,
        key: bytes,
        base_bytes: int,
        data: bytes | None = None,
        stored: bytes | Missing | None = MISSING,
        charged_bytes: int = 0,
    ) -> None:
        self.key = key
        self.alias: Any = MISSING
        self.value: Any = None
        self.data = data
        self.stored = stored
        self.is_written = False
        self.base_bytes = base_bytes
        self.charged_bytes = charged_bytes
        self.cached_bytes = 0


class State(StateView[K, V]):
    """
    A state in a transaction: a mapping that shows what the transaction wrote, and stores it at the commit.

    Get one from `Transaction.state()`. It belongs to the thread of its transaction. If anything that was read here,
    rows, missing rows and scanned ranges included, was changed by others before the commit, the commit raises
    `ConflictError` and stores nothing.

    Args:
        charge: is told of the memory that rows take, before they take it; raises when it is too much.
        check: raises when the transaction has ended.
        is_owned: says that nobody else writes this state, so that what was read needs no check and stays known from
            one transaction to the next: 100,000 rows or 128 MiB of them.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     with log.transaction() as tx:
        ...         totals = tx.state("totals", key=str, value=int)
        ...         totals["alice"] = totals.get("alice", 0) + 7
        ...         totals["alice"], "bob" in totals, totals.delete("bob")
        (7, False, False)
    """

    def __init__(
        self,
        store: StateBackend,
        row: StoredState,
        key: OrderedCodec[K],
        value: Codec[V],
        *,
        charge: Callable[[int], None],
        check: Callable[[], None],
        is_owned: bool = False,
    ) -> None:
        super().__init__(store, row, key, value, check=check)
        self._charge = charge
        self._is_owned = is_owned
        self._knows_all = False
        """Whether a row that is not in `_rows` is not stored either; its owner may say so."""
        self._quick_keys = _QUICK_KEYS[key.type]
        self._kept = _KEPT.get(value.name, frozenset())
        self._keeps_int = int in self._kept
        self._forget()

    def _forget(self) -> None:
        self._aliases: dict[Any, Row] = {}
        """Rows by the keys that users gave, as far as equal keys of one type have equal bytes."""
        self._rows: dict[bytes, Row] = {}
        self._written: dict[bytes, Row] = {}
        self._ordered: list[bytes] = []
        """The keys in `_written`, sorted, but for those that came since the last scan."""
        self._scans: list[ScanRecord] = []
        self._cached_bytes = 0

    # -- reading ---------------------------------------------------------------------------------------------

    @overload
    def get(self, key: K) -> V | None: ...
    @overload
    def get(self, key: K, default: V) -> V: ...
    @overload
    def get(self, key: K, default: T) -> V | T: ...

    def get(self, key: K, default: Any = None) -> Any:
        """
        The value of a key as the transaction sees it; `default` when there is none.

        Raises:
            TransactionEnded: if the transaction has ended.
            TransactionTooLarge: if there is no room to remember what was read. The transaction is unchanged.
            TypeError, ValueError, DecodeError: as for a view. Whether the state was deleted, the commit says.
        """
        self._check()
        row = self._aliases.get(key) if type(key) in self._quick_keys else None
        if row is None:
            row = self._known_row(key)
        value = row.value
        if value is not None:
            return value
        data = row.data
        if data is None:
            return default
        value = self._decoded_value(row.key, data)
        if type(value) in self._kept:
            row.value = value
        return value

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """
        The values of several keys as the transaction sees them; a key that has no row is not in the result.

        One look at the log for all that are not known yet, which for a hundred rows takes a fifth of the time of a
        hundred `get()`; those are known afterwards.

        Raises:
            TransactionEnded, TransactionTooLarge, TypeError, ValueError, DecodeError, UnknownState: as `get()`.
        """
        self._check()
        chosen = list(keys)
        encode, aliases, quick_keys = self._encode_key, self._aliases, self._quick_keys
        fresh: dict[bytes, K] = {}
        for key in chosen:
            if type(key) not in quick_keys or key not in aliases:
                encoded = encode(key)
                if encoded not in self._rows:
                    fresh[encoded] = key
        if fresh:
            self._learn_many(fresh)
        found: dict[K, V] = {}
        for key in chosen:
            row = aliases.get(key) if type(key) in quick_keys else None
            if row is None:
                row = self._known_row(key)
            value = row.value
            if value is None:
                if row.data is None:
                    continue
                value = self._decoded_value(row.key, row.data)
                if type(value) in self._kept:
                    row.value = value
            found[key] = value
        return found

    def _learn_many(self, keys: dict[bytes, K]) -> None:
        """Reads some rows, or none of them when there is no room to remember them all."""
        found: Sequence[bytes | None] = (
            [None] * len(keys) if self._knows_all else self._store.read_state_rows(self._row, keys)
        )
        if not self._is_owned:
            self._charge(_ROW_BYTES * len(keys) + sum(map(len, keys)) + sum([len(data) for data in found if data]))
        for (encoded, key), data in zip(keys.items(), found, strict=True):
            size_bytes = _ROW_BYTES + len(encoded) + (0 if data is None else len(data))
            if self._is_owned:
                self._add(key, Row(encoded, size_bytes, data))
            else:
                self._add(key, Row(encoded, size_bytes, data, data, size_bytes))

    def __contains__(self, key: K) -> bool:
        self._check()
        row = self._known_row(key)
        return row.value is not None or row.data is not None

    def _known_row(self, key: K) -> Row:
        """The row of a key, read if it was not."""
        encoded = self._encode_key(key)
        row = self._rows.get(encoded)
        if row is not None:
            return row
        return self._learn(key, encoded, None if self._knows_all else self._store.read_state_row(self._row, encoded))

    def _learn(self, key: K, encoded: bytes, data: bytes | None) -> Row:
        """Notes what was read of a row."""
        row = Row(encoded, _ROW_BYTES + len(encoded) + (0 if data is None else len(data)))
        row.data = data
        if not self._is_owned:
            self._charge(row.base_bytes)
            row.charged_bytes = row.base_bytes
            row.stored = data
        self._add(key, row)
        return row

    def _add(self, key: K, row: Row) -> None:
        self._rows[row.key] = row
        row.cached_bytes = row.base_bytes
        self._cached_bytes += row.base_bytes
        if type(key) in self._quick_keys:
            row.alias = key
            self._aliases[key] = row

    # -- writing ---------------------------------------------------------------------------------------------

    def put(self, key: K, value: V) -> None:
        """
        Sets the value of a key; also `state[key] = value`.

        It is encoded, or cannot be changed: changing the object later changes nothing here.

        Raises:
            TypeError: if the key or value does not fit the codecs, or the value is None. Nothing was changed.
            ValueError: if the key is too long. Nothing was changed.
            TransactionTooLarge: if the transaction has no room for it. Nothing was changed.
            TransactionEnded: if the transaction has ended.
        """
        self._check()
        row = self._aliases.get(key) if type(key) in self._quick_keys else None
        if row is None:
            encoded = self._encode_key(key)
            row = self._rows.get(encoded) or Row(encoded, _ROW_BYTES + len(encoded))
        data, size_bytes = None, _INT_BYTES
        kept: Any = value
        if type(value) is not int or not self._keeps_int or not _LEAST_INT <= kept <= _MOST_INT:
            data, size_bytes = self._encoded(value)
            if type(value) not in self._kept:
                kept = None
        size_bytes += row.base_bytes
        if size_bytes > row.charged_bytes:
            self._charge(size_bytes - row.charged_bytes)
            row.charged_bytes = size_bytes
        row.value = kept
        row.data = data
        if not row.is_written:
            if row.cached_bytes == 0:
                self._add(key, row)
            row.is_written = True
            self._written[row.key] = row

    __setitem__ = put

    def delete(self, key: K) -> bool:
        """
        Removes the row of a key; whether there was one.

        Raises:
            TypeError, ValueError, TransactionTooLarge, TransactionEnded: as for `get()`. Nothing was
                changed.
        """
        self._check()
        row = self._known_row(key)
        if row.value is None and row.data is None:
            return False
        if row.charged_bytes < row.base_bytes:
            self._charge(row.base_bytes - row.charged_bytes)
            row.charged_bytes = row.base_bytes
        row.value = row.data = None
        row.is_written = True
        self._written[row.key] = row
        return True

    def __delitem__(self, key: K) -> None:
        if not self.delete(key):
            raise KeyError(key)

    def _encoded(self, value: object) -> tuple[bytes | None, int]:
        """The bytes of a value and how many; None when it surely can be encoded later, as most will be replaced."""
        kind = type(value)
        if kind in self._kept:
            if kind is str and str.isascii(value):  # type: ignore[arg-type]
                return None, _TEXT_BYTES + len(value)  # type: ignore[arg-type]
            if kind is bytes:
                return None, _TEXT_BYTES + len(value)  # type: ignore[arg-type]
        if value is None:
            raise TypeError(
                f"cannot put None into state {self.name!r}: None stands for a key that has no row. Nothing was "
                "changed. Use delete() to remove the row."
            )
        data = self._value_codec.encode(value)
        assert data is not None
        return data, len(data)

    def _data_of(self, row: Row) -> bytes | None:
        if row.data is None and row.value is not None:
            row.data = self._value_codec.encode(row.value)
        return row.data

    # -- scans -----------------------------------------------------------------------------------------------

    def _scan(self, first: bytes, end: bytes | None, *, is_reversed: bool, max_rows: int | None) -> Iterator[StoredRow]:
        """The stored rows merged with our own; what was handed out is remembered for the check."""
        self._check()
        if max_rows == 0:
            return
        so_far = ScanRecord(first, end, is_reversed=is_reversed)
        if not self._is_owned:
            self._charge(_SCAN_BYTES)
            self._scans.append(so_far)
        left = -1 if max_rows is None else max_rows
        try:
            own = self._written_between(first, end)
            for rows, is_whole in self._chunks(first, end, is_reversed=is_reversed, max_rows=max_rows):
                so_far.take(rows)
                for key, data in self._merged(rows, own, is_reversed=is_reversed, is_whole=is_whole):
                    so_far.last = key
                    yield key, data
                    self._check()
                    left -= 1
                    if left == 0:
                        return
            so_far.is_whole = True
        finally:
            so_far.end_here()

    def _merged(
        self, rows: list[StoredRow], own: list[bytes], *, is_reversed: bool, is_whole: bool
    ) -> Iterator[StoredRow]:
        """
        Some stored rows with ours of the same part, as they are when they are asked for.

        Takes their keys off `own`.
        """
        if is_whole:
            here, own[:] = own[:], ()
        elif is_reversed:
            cut = bisect_left(own, rows[-1][0])
            here, own[cut:] = own[cut:], ()
        else:
            cut = bisect_right(own, rows[-1][0])
            here, own[:cut] = own[:cut], ()
        written = self._written
        merged: Iterator[tuple[bytes, bytes | None]] = iter(rows)
        if here:
            stored = dict(rows)
            keys = sorted({*stored, *here}, reverse=is_reversed)
            merged = ((key, stored.get(key)) for key in keys)
        for key, data in merged:
            row = written.get(key)
            if row is not None:
                data = self._data_of(row)
            if data is not None:
                yield key, data

    def _written_between(self, first: bytes, end: bytes | None) -> list[bytes]:
        """The keys of a range that we wrote, sorted."""
        ordered = self._ordered
        new_count = len(self._written) - len(ordered)  # rows are only ever added, and dicts keep them in order
        new = list(islice(reversed(self._written), new_count))
        if new_count <= _FEW:
            for key in new:
                insort(ordered, key)
        else:
            ordered += new
            ordered.sort()
        return ordered[bisect_left(ordered, first) : None if end is None else bisect_left(ordered, end)]

    # -- the end of the transaction ---------------------------------------------------------------------------

    def _changes(self) -> StateChanges:
        """What is to be checked and written at the commit; what was put as it was read needs no write."""
        if self._is_owned:
            return StateChanges(self._row, writes={key: self._data_of(row) for key, row in self._written.items()})
        reads: dict[bytes, bytes | None] = {}
        writes: dict[bytes, bytes | None] = {}
        for key, row in self._rows.items():  # what was written is among them
            stored = row.stored
            if not isinstance(stored, Missing):
                reads[key] = stored
            if row.is_written:
                data = self._data_of(row)
                if data != stored:
                    writes[key] = data
        scans = [scan for so_far in self._scans if (scan := so_far.scan()) is not None]
        return StateChanges(self._row, reads, scans, writes)

    def _committed(self) -> None:
        """Says that the changes are stored; who owns the state goes on knowing its rows."""
        if not self._is_owned:
            self._forget()
            return
        for row in self._written.values():
            size_bytes = max(row.charged_bytes, row.base_bytes)
            self._cached_bytes += size_bytes - row.cached_bytes
            row.cached_bytes = size_bytes
            row.charged_bytes = 0
            row.is_written = False
            if row.value is not None:
                row.data = None
        self._written = {}
        self._ordered = []
        if len(self._rows) > _MOST_CACHED_ROWS or self._cached_bytes > _MOST_CACHED_BYTES:
            self._evict()

    def _evict(self) -> None:
        """Drops the rows that came first; an eighth more than it must, so that it is done once in a while."""
        self._knows_all = False
        most_rows = _MOST_CACHED_ROWS - _MOST_CACHED_ROWS // 8
        most_bytes = _MOST_CACHED_BYTES - _MOST_CACHED_BYTES // 8
        for row in list(self._rows.values()):
            if len(self._rows) <= most_rows and self._cached_bytes <= most_bytes:
                return
            del self._rows[row.key]
            self._aliases.pop(row.alias, None)
            self._cached_bytes -= row.cached_bytes

    def _rolled_back(self) -> None:
        """Says that nothing was stored, or that nobody knows; all that was known is forgotten."""
        self._knows_all = False
        self._forget()
