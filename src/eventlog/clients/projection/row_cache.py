"""
The state that a projection folds into: a state in a transaction, made for millions of small changes.

Nobody else writes it, so there is nothing to check at the commit, and what was read or written stays known from one
transaction to the next. Rows with plain keys are kept as Python values, and become bytes once in a transaction,
however often they change in it. What is rare goes the way of `State`: keys that are tuples, and everything once the
function has scanned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import msgpack

from eventlog.backend.states import Row as StoredRow
from eventlog.backend.states import StateBackend, StateChanges, StoredState
from eventlog.clients.state.state import Row, State
from eventlog.clients.state.view import MISSING
from eventlog.codecs import Codec
from eventlog.codecs.ordered import OrderedCodec
from eventlog.records import K, V

MOST_CACHED_BYTES = 1 << 27
_ROW_BYTES = 256
"""What a row takes in memory beside its key and value, roughly."""
_ITEM_BYTES = 9
_PLAIN_KEYS = (bytes, str, int)
"""The types of keys that are kept as Python values, in the order of their rows."""
_FEW = 8
_LEAST_INT, _MOST_INT = -(2**63), 2**63 - 1
_PLAIN_VALUES: dict[str, frozenset[type]] = {
    "msgpack": frozenset({int, float, bool, str, bytes}),
    "json": frozenset({int, bool, str}),
    "int": frozenset({int}),
    "str": frozenset({str}),
    "bytes": frozenset({bytes}),
}
"""For a codec, the types that nobody can change, that come back as they are, and that it surely can encode."""
_DOCUMENTS = frozenset({"msgpack", "json"})


class _Held:
    """
    A value that a caller could change, or none at all: `content` is never handed out, only copies of it.

    Bytes are those of the row; None is a row that is not there. A tuple of plain values needs none of this: nobody can
    change it, and it stands for a list.
    """

    __slots__ = ("content", "size_bytes")

    def __init__(self, content: bytes | dict[str, Any] | None, size_bytes: int) -> None:
        self.content = content
        self.size_bytes = size_bytes

    def encoded(self, encode: Callable[[Any], bytes | None]) -> bytes | None:
        """The bytes of the row."""
        content = self.content
        return content if content is None or type(content) is bytes else encode(content)


_ABSENT = _Held(None, 0)
_COPIED = frozenset({_Held, tuple})


class FoldedState(State[K, V]):
    """
    The state of a build while it is folded.

    Belongs to the folder: between `begin()` and `end()` the function may use it.

    Args:
        charge: is told of the memory that changed rows take, before they take it; raises when it is too much.
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
        super().__init__(store, row, key, value, charge=charge, check=check, is_owned=True)
        self._plain = _PLAIN_VALUES.get(value.name, frozenset())
        self._takes_int = int in self._plain
        self._takes_documents = value.name in _DOCUMENTS
        self._encode_plain: Callable[[Any], bytes | None] = value.encode
        if value.name == "msgpack":
            self._encode_plain = msgpack.Packer(datetime=True, buf_size=4096).pack
        self._has_scanned = False
        self._clear()
        self._knows_all = is_empty

    def _clear(self) -> None:
        self._tables: dict[type, dict[Any, Any]] = {kind: {} for kind in _PLAIN_KEYS}
        """By the type of the key: what is known of each row, stored or not."""
        self._encoded_keys: dict[type, dict[Any, bytes]] = {kind: {} for kind in _PLAIN_KEYS}
        """Has the keys of `_tables`, no others."""
        self._changed: dict[type, set[Any]] = {kind: set() for kind in _PLAIN_KEYS}
        self._usable: dict[type, dict[Any, Any]] = {}
        """Is `_tables` while the function may use them, else empty: so that the quick way needs no check."""
        self._known_bytes = 0

    def begin(self) -> None:
        """Lets the function use it."""
        if not self._has_scanned:
            self._usable = self._tables

    def end(self) -> None:
        """Lets nobody use it until the next `begin()`."""
        self._usable = {}

    @property
    def cached_bytes(self) -> int:
        """What the known rows take in memory."""
        return self._known_bytes + self._cached_bytes

    # -- reading ---------------------------------------------------------------------------------------------

    def get(self, key: K, default: Any = None) -> Any:
        """The value of a key as the transaction sees it; `default` when there is none."""
        table = self._usable.get(type(key))
        value = None if table is None else table.get(key)
        if value is None:
            self._check()
            if self._has_scanned:
                return super().get(key, default)
            plain, value = self._looked_up(key)
            if value is None:
                return super().get(key, default)
            key = plain
        if type(value) in _COPIED:
            return self._copied(key, value, default)
        return value

    def get_many(self, keys: Iterable[K]) -> dict[K, V]:
        """The values of several keys; those that are not known are read one by one."""
        self._check()  # not as `State` does: what it keeps of a row would be stale once the row is changed here
        found = {key: self.get(key, MISSING) for key in keys}
        return {key: value for key, value in found.items() if value is not MISSING}

    def __contains__(self, key: K) -> bool:
        return self.get(key) is not None

    def _copied(self, key: K, held: _Held | tuple[Any, ...], default: Any) -> Any:
        if type(held) is tuple:
            return list(held)
        assert isinstance(held, _Held)
        content = held.content
        if content is None:
            return default
        if type(content) is dict:
            return content.copy()
        assert type(content) is bytes
        return self._decoded_value(self._encoded_keys[type(key)][key], content)

    def _looked_up(self, key: Any) -> tuple[Any, Any]:
        """The key as it comes back from its bytes, and what is known of its row; None if it is no plain key."""
        kind = type(key)
        table = self._tables.get(kind)
        if table is not None and (value := table.get(key)) is not None:
            return key, value
        encoded = self._encode_key(key)
        if table is None:
            key = self._key_codec.decode(encoded)  # one that only looks like a plain key is the same row
            kind = type(key)
            table = self._tables.get(kind)
            if table is None:
                return key, None
            if (value := table.get(key)) is not None:
                return key, value
        data = None if self._knows_all else self._store.read_state_row(self._row, encoded)
        value = _ABSENT
        if data is not None:
            value, _ = self._kept_value(self._decoded_value(encoded, data), data)
        self._note_row(kind, key, encoded, value)
        return key, value

    def _note_row(self, kind: type, key: Any, encoded: bytes, kept: Any) -> None:
        self._encoded_keys[kind][key] = encoded
        self._tables[kind][key] = kept
        self._known_bytes += _ROW_BYTES + len(encoded) + _size_of(kept)

    # -- writing ---------------------------------------------------------------------------------------------

    def put(self, key: K, value: Any) -> None:
        """Sets the value of a key; also `state[key] = value`."""
        kind = type(key)
        table = self._usable.get(kind)
        old = None if table is None else table.get(key)
        if table is None or old is None:
            self._put_unknown(key, value)
            return
        size_bytes = _ITEM_BYTES
        if type(value) is not int or not self._takes_int or not _LEAST_INT <= value <= _MOST_INT:
            if type(value) is tuple and self._is_small(value):
                if type(old) is not tuple or len(old) < len(value) or key not in self._changed[kind]:
                    size_bytes += _ITEM_BYTES * len(value)
            else:
                value, size_bytes = self._kept_value(value, None)
        if key not in self._changed[kind]:
            self._change(key, value, size_bytes)
            return
        if size_bytes > _ITEM_BYTES and (grown_bytes := size_bytes - _size_of(old)) > 0:
            self._charge(grown_bytes)
            self._known_bytes += grown_bytes
        table[key] = value

    __setitem__ = put

    def _is_small(self, items: tuple[Any, ...]) -> bool:
        """Whether a tuple has a few numbers alone, as totals have, which change often."""
        if len(items) > _FEW or not self._takes_documents:
            return False
        for item in items:  # noqa: SIM110 - twice as fast as all()
            if type(item) is not int or not _LEAST_INT <= item <= _MOST_INT:
                return False
        return True

    def delete(self, key: K) -> bool:
        """Removes the row of a key; whether there was one."""
        self._check()
        plain, known = (key, None) if self._has_scanned else self._looked_up(key)
        if known is None:
            return super().delete(key)
        if known is _ABSENT:
            return False
        self._change(plain, _ABSENT, 0)
        return True

    def _put_unknown(self, key: Any, value: Any) -> None:
        """Puts a row of which nothing is known, or one that has no plain key."""
        self._check()
        if not self._has_scanned:
            encoded = self._encode_key(key)
            if type(key) not in self._tables:
                key = self._key_codec.decode(encoded)  # one that only looks like a plain key is the same row
            kind = type(key)
            if kind in self._tables:
                kept, size_bytes = self._kept_value(value, None)
                if key not in self._encoded_keys[kind]:
                    self._note_row(kind, key, encoded, _ABSENT)
                self._change(key, kept, size_bytes)
                return
        super().put(key, value)

    def _change(self, key: Any, kept: Any, size_bytes: int) -> None:
        """Replaces what is known of a known row."""
        kind = type(key)
        changed = self._changed[kind]
        if key not in changed:
            self._charge(_ROW_BYTES + len(self._encoded_keys[kind][key]) + size_bytes)
            self._known_bytes += size_bytes
            changed.add(key)
        self._tables[kind][key] = kept

    def _kept_value(self, value: Any, data: bytes | None) -> tuple[Any, int]:
        """
        What is kept of a value, and its size.

        Encodes it now, unless that surely works later. `data` are its bytes, if it was read.
        """
        kind = type(value)
        if kind in self._plain:
            if kind is int:
                if _LEAST_INT <= value <= _MOST_INT:
                    return value, _ITEM_BYTES
            elif kind is bytes or (kind is str and value.isascii()):
                return value, _ITEM_BYTES + len(value)
            elif kind is not str:
                return value, _ITEM_BYTES
        elif self._takes_documents and (size_bytes := _document_size(value, self._plain)):
            return _Held(value.copy(), size_bytes) if kind is dict else tuple(value), size_bytes
        if data is None:
            data, _ = self._encoded(value)
            if data is None:
                data = self._value_codec.encode(value)
                assert data is not None
        return _Held(data, len(data)), len(data)

    # -- scans, and the end of the transaction -----------------------------------------------------------------

    def _scan(self, first: bytes, end: bytes | None, *, is_reversed: bool, max_rows: int | None) -> Iterator[StoredRow]:
        """From the first scan on all rows are kept as `State` does it, which can merge them with the stored ones."""
        if not self._has_scanned:
            self._has_scanned = True
            for encoded, data in self._plain_writes().items():
                self._hand_over(encoded, data)
            self._clear()
            self._knows_all = False
        return super()._scan(first, end, is_reversed=is_reversed, max_rows=max_rows)

    def _hand_over(self, encoded: bytes, data: bytes | None) -> None:
        """Has a changed row kept as `State` does it."""
        row = Row(encoded, _ROW_BYTES + len(encoded))
        row.data = data
        row.charged_bytes = row.base_bytes + (0 if data is None else len(data))
        row.is_written = True
        self._add(None, row)  # type: ignore[arg-type]
        self._written[encoded] = row

    def _changes(self) -> StateChanges:
        """What is to be written at the commit."""
        writes = self._plain_writes()
        writes.update(super()._changes().writes)
        return StateChanges(self._row, writes=writes)

    def _plain_writes(self) -> dict[bytes, bytes | None]:
        """The changed rows with plain keys, in their order."""
        writes: dict[bytes, bytes | None] = {}
        encode = self._encode_plain
        for kind, changed in self._changed.items():
            table, encoded_keys = self._tables[kind], self._encoded_keys[kind]
            for key in sorted(changed):
                value = table[key]
                writes[encoded_keys[key]] = value.encoded(encode) if type(value) is _Held else encode(value)
        return writes

    def _committed(self) -> None:
        super()._committed()
        for changed in self._changed.values():
            changed.clear()
        if self._known_bytes > MOST_CACHED_BYTES:
            self._forget_half()

    def _forget_half(self) -> None:
        """Forgets the rows that were known first."""
        self._knows_all = False
        self._known_bytes //= 2
        for kind, table in self._tables.items():
            encoded_keys = self._encoded_keys[kind]
            for key in list(islice(table, len(table) // 2)):
                del table[key], encoded_keys[key]

    def _rolled_back(self) -> None:
        """Says that nothing was stored, or that nobody knows; all that was known is forgotten."""
        super()._rolled_back()
        self._clear()


def _size_of(value: Any) -> int:
    """The size of what is kept of a value."""
    if type(value) is _Held:
        return value.size_bytes
    if type(value) is tuple:
        return _ITEM_BYTES + sum(map(_size_of, value))
    return _ITEM_BYTES + len(value) if isinstance(value, str | bytes) else _ITEM_BYTES


def _document_size(value: Any, plain: frozenset[type]) -> int:
    """The size of a list, tuple or dict of plain values; 0 for all else."""
    kind = type(value)
    if kind is tuple or kind is list:
        return _flat_size(value, plain)
    if kind is dict:
        size_bytes = _flat_size(value.values(), plain)
        if size_bytes and all(type(name) is str and name.isascii() for name in value):
            return size_bytes + sum(map(len, value)) + _ITEM_BYTES * len(value)
    return 0


def _flat_size(items: Iterable[Any], plain: frozenset[type]) -> int:
    """The size of some items together; 0 if one of them is not plain."""
    size_bytes = _ITEM_BYTES
    for item in items:
        kind = type(item)
        if kind is int:
            if not _LEAST_INT <= item <= _MOST_INT:
                return 0
        elif kind is str or kind is bytes:
            if kind not in plain or (kind is str and not item.isascii()):
                return 0
            size_bytes += len(item)
        elif item is not None and kind not in plain:
            return 0
        size_bytes += _ITEM_BYTES
    return size_bytes
