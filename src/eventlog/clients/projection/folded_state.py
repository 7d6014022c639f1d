"""
The state that a projection folds into: a state in a transaction, made for millions of small changes.

Nobody else writes it, so the commit has nothing to check, and rows stay known from one transaction to the next. Values
become bytes once in a transaction, however often they change in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgpack

from eventlog.backend.states import StateBackend, StateChanges, StoredState
from eventlog.clients.state.row_cache import ITEM_BYTES, LEAST_INT, MOST_INT, ROW_BYTES, Row, RowCache
from eventlog.clients.state.scan_record import ScanRecord
from eventlog.clients.state.state import State
from eventlog.codecs import Codec
from eventlog.codecs.ordered import OrderedCodec
from eventlog.records import K, V

_FEW = 8
_PACK_BUFFER_BYTES = 4096
_DOCUMENTS = frozenset({"msgpack", "json"})
_COPIED = frozenset({tuple, dict})
_new_row = Row.__new__


class FoldedState(State[K, V]):
    """
    The state of a build while it is folded.

    Belongs to the folder: between `begin()` and `end()` the function may use it. Lists, tuples and dicts of plain
    values are kept as such, a list as a tuple, which nobody can change; what the function gets is a copy.

    Args:
        charge: is called with the memory that changed rows are about to take; raises when it is too much.
        check: raises when the function may not use the state.
        is_empty: says that nothing is stored, so that a row that is not known is not there.
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
        is_empty: bool,
    ) -> None:
        super().__init__(store, row, key, value, charge=charge, check=check)
        self._takes_documents = value.name in _DOCUMENTS
        if value.name == "msgpack":
            pack = msgpack.Packer(datetime=True, buf_size=_PACK_BUFFER_BYTES).pack
            self._cache = RowCache(row.name, key, value, encode_kept=pack)
            self._tables = self._cache.tables
        self._cache.knows_all = is_empty
        self._usable: dict[type, dict[Any, Row]] = {}
        """The cache's tables while the function may use them, else empty: so that the fast way needs no check."""

    def begin(self) -> None:
        """Let the function use it."""
        self._usable = self._tables

    def end(self) -> None:
        """Let nobody use it until the next `begin()`."""
        self._usable = {}

    @property
    def cached_bytes(self) -> int:
        """What the known rows take in memory."""
        return self._cache.size_bytes

    # -- reading ---------------------------------------------------------------------------------------------

    def get(self, key: K, default: Any = None) -> Any:
        """The value of a key as the transaction sees it; `default` when there is none."""
        table = self._usable.get(type(key))
        row = None if table is None else table.get(key)
        if row is None:
            self._check()
            row = self._known_row(key)
        value = row.value
        if value is None:
            return default if row.data is None else self._value_of(row)
        if type(value) in _COPIED:
            return list(value) if type(value) is tuple else value.copy()
        return value

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """The values of several keys; those that are not known are read one by one."""
        self._check()
        found: dict[K, V] = {}
        for key in keys:
            value = self.get(key)
            if value is not None:
                found[key] = value
        return found

    def _learn(self, key: K, encoded: bytes) -> Row:
        """Read a row, unless it is known that there is none."""
        cache = self._cache
        data = None if cache.knows_all else self._store.read_state_row(self._row, encoded)
        base_bytes = ROW_BYTES + len(encoded)
        row = Row(encoded, base_bytes, base_bytes if data is None else base_bytes + len(data), data)
        cache.size_bytes += row.size_bytes
        cache.add(key, row)
        return row

    def _value_of(self, row: Row) -> Any:
        """The value of a row of which only the bytes are known; the next time it is known."""
        assert row.data is not None
        value = self._decoded_value(row.key, row.data)
        if type(value) in self._cache.plain:
            row.value = value
        elif self._takes_documents and _document_size(value, self._cache.certain):
            row.value = value.copy() if type(value) is dict else tuple(value)
        return value

    # -- writing ---------------------------------------------------------------------------------------------

    def put(self, key: K, value: Any) -> None:
        """Set the value of a key; also `state[key] = value`."""
        table = self._usable.get(type(key))
        row = None if table is None else table.get(key)
        if row is not None and row.is_written:
            if type(value) is int:
                if self._takes_int and LEAST_INT <= value <= MOST_INT:
                    row.value = value
                    row.data = None
                    return
            elif type(value) is tuple and self._is_small(value, row):
                row.value = value
                row.data = None
                return
        self._put(key, table, row, value)

    __setitem__ = put

    def _is_small(self, items: tuple[Any, ...], row: Row) -> bool:
        """Whether a tuple has a few numbers alone, as totals have, which change often, and its row has room for it."""
        count = len(items)
        if count > _FEW or not self._takes_documents or row.base_bytes + ITEM_BYTES * (1 + count) > row.size_bytes:
            return False
        for item in items:  # noqa: SIM110 - twice as fast as all()
            if type(item) is not int or not LEAST_INT <= item <= MOST_INT:
                return False
        return True

    def _put(self, key: K, table: dict[Any, Row] | None, row: Row | None, value: Any) -> None:
        """Set the value of a row, which may be unknown; `table` is the one for keys of this type."""
        cache = self._cache
        encoded = b""
        if row is None:
            if table is None:
                self._check()
            encoded = self._encode_key(key)
            row = cache.rows.get(encoded)
        kept: Any = value
        data, size_bytes = None, ITEM_BYTES
        if type(value) is not int or not self._takes_int or not LEAST_INT <= value <= MOST_INT:
            if self._takes_documents and (size_bytes := _document_size(value, cache.certain)):
                kept = value.copy() if type(value) is dict else tuple(value)  # pyright: ignore[reportArgumentType]
            else:
                kept, data, size_bytes = cache.keep(value)
        if row is not None:
            self._change(row, row.base_bytes + size_bytes)
        else:
            base_bytes = ROW_BYTES + len(encoded)
            size_bytes += base_bytes
            self._charge(size_bytes)
            row = _new_row(Row)  # its __init__ would take a tenth of all that
            row.key = encoded
            row.base_bytes = base_bytes
            row.size_bytes = size_bytes
            row.is_written = True
            cache.size_bytes += size_bytes
            cache.written.append(row)
            cache.rows[encoded] = row
            if table is not None:
                table[key] = row
        row.value = kept
        row.data = data

    def delete(self, key: K) -> bool:
        """Remove the row of a key, and return whether there was one."""
        self._check()
        row = self._known_row(key)
        if row.value is None and row.data is None:
            return False
        self._change(row, row.base_bytes)
        row.value = row.data = None
        return True

    def _change(self, row: Row, size_bytes: int) -> None:
        """Take room for a change of a row: all of its size for the first one in a transaction, later what it grows."""
        if not row.is_written:
            self._charge(size_bytes)
            row.is_written = True
            self._cache.written.append(row)
        elif size_bytes > row.size_bytes:
            self._charge(size_bytes - row.size_bytes)
        else:
            return
        self._cache.size_bytes += size_bytes - row.size_bytes
        row.size_bytes = size_bytes

    # -- scans, and the end of the transaction -----------------------------------------------------------------

    def _begin_scan(self, first: bytes, end: bytes | None, *, is_reversed: bool) -> ScanRecord:
        """The record of a scan, which nobody checks."""
        return ScanRecord(first, end, is_reversed=is_reversed)

    def _changes(self) -> StateChanges:
        """What the commit has to write."""
        return StateChanges(self._row, writes=self._cache.writes({}))

    def _committed(self) -> None:
        """Go on knowing the rows: the changes are stored."""
        self._cache.keep_written()


def _document_size(value: Any, plain: frozenset[type]) -> int:
    """The size of a list, tuple or dict of plain values; 0 for anything else."""
    kind = type(value)
    if kind is tuple or kind is list:
        return _flat_size(value, plain)
    if kind is dict:
        size_bytes = _flat_size(value.values(), plain)
        if size_bytes and all(type(name) is str and name.isascii() for name in value):
            return size_bytes + sum(map(len, value)) + ITEM_BYTES * len(value)
    return 0


def _flat_size(items: Iterable[Any], plain: frozenset[type]) -> int:
    """The size of some items together; 0 if one of them is not plain."""
    size_bytes = ITEM_BYTES
    for item in items:
        kind = type(item)
        if kind is int:
            if not LEAST_INT <= item <= MOST_INT:
                return 0
        elif kind is str or kind is bytes:
            if kind not in plain or (kind is str and not item.isascii()):
                return 0
            size_bytes += len(item)
        elif item is not None and kind not in plain:
            return 0
        size_bytes += ITEM_BYTES
    return size_bytes
