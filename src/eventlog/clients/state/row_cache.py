"""
The rows of a state that somebody knows: read or written, by key, with what they take in memory.

A transaction knows rows until it ends (`clients/state/state.py`), a folder from one transaction to the next
(`clients/projection/folded_state.py`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from eventlog.backend.states import Row as StoredRow
from eventlog.clients.state.view import MISSING
from eventlog.codecs import Codec

if TYPE_CHECKING:
    from eventlog.codecs.ordered import OrderedCodec

ROW_BYTES = 256
"""What a row takes in memory beside its key and value, roughly."""
ITEM_BYTES = 9
"""What a value takes beside its text or bytes, roughly."""
MOST_CACHED_BYTES = 1 << 27
LEAST_INT, MOST_INT = -(2**63), 2**63 - 1
_FEW = 32

PLAIN: dict[str, frozenset[type]] = {
    "msgpack": frozenset({int, float, bool, str, bytes}),
    "json": frozenset({int, float, bool, str}),
    "int": frozenset({int}),
    "str": frozenset({str}),
    "bytes": frozenset({bytes}),
}
"""For a codec of values, the types that nobody can change and that come back as they are: they need no copy."""

_CERTAIN: dict[str, frozenset[type]] = {"json": frozenset({int, bool, str})}
"""The types of `PLAIN` that a codec surely can encode, where these are fewer; text if it is ASCII, int of 64 bits."""
_NONE: frozenset[type] = frozenset()

_KEY_TYPES: dict[str | None, tuple[type, ...]] = {
    None: (str, int, bytes),
    "str": (str,),
    "int": (int,),
    "bytes": (bytes,),
    "tuple": (),
}
"""
For a type of keys, those of which equal ones surely have equal bytes, so that a row is found without encoding.

Not tuples: (1,) equals (True,), which is no key. Each type has a table of its own, since bytes and text may not be
compared under `python -b`.
"""


class Row:
    """
    A row of a state.

    `value` is an object that nobody else can change, `data` its bytes. One of them may be None, and both are when there
    is no such row. `base_bytes` is what the row takes in memory without what was written, `size_bytes` what it is
    counted with.
    """

    __slots__ = ("base_bytes", "data", "is_written", "key", "size_bytes", "value")

    def __init__(self, key: bytes, base_bytes: int, size_bytes: int, data: bytes | None) -> None:
        self.key = key
        self.base_bytes = base_bytes
        self.size_bytes = size_bytes
        self.data = data
        self.value: Any = None
        self.is_written = False


class RowCache:
    """
    The known rows of one state.

    Belongs to one thread.
    """

    size_bytes = 0
    """What the rows take in memory, as far as their owner counts it."""
    knows_all = False
    """Whether a row that is not known is not stored either."""

    def __init__(
        self,
        name: str,
        key: OrderedCodec[Any],
        value: Codec[Any],
        *,
        encode_kept: Callable[[Any], bytes | None] | None = None,
    ) -> None:
        self._name = name
        self._encode = value.encode
        self._encode_kept = encode_kept or value.encode
        self.plain = PLAIN.get(value.name, _NONE)
        self.certain = _CERTAIN.get(value.name, self.plain)
        self._key_types = _KEY_TYPES[key.type]
        self.tables: dict[type, dict[Any, Row]] = {kind: {} for kind in self._key_types}
        """By the type of the key: the rows by the keys that users gave."""
        self.rows: dict[bytes, Row] = {}
        self.written: list[Row] = []
        self._ordered: list[bytes] = []
        """The keys in `written`, sorted, except for those that came since the last scan."""

    def forget(self) -> None:
        """Forget all rows."""
        for kind in self._key_types:
            self.tables[kind] = {}
        self.rows = {}
        self.written = []
        self._ordered = []
        self.size_bytes = 0
        self.knows_all = False

    def free(self) -> None:
        """Forget all rows, when nobody will use the cache any more."""
        self.tables.clear()
        self.rows = {}
        self.written = []
        self._ordered = []

    def add(self, key: Any, row: Row) -> None:
        """Add a row, by the key that a user gave."""
        self.rows[row.key] = row
        table = self.tables.get(type(key))
        if table is not None:
            table[key] = row

    def keep(self, value: Any) -> tuple[Any, bytes | None, int]:
        """
        What is kept of a value, as `value` and `data` of its row, and its size.

        It is encoded now, unless that surely works later: most values are replaced before anybody needs their bytes.
        """
        kind = type(value)
        if kind in self.certain:
            if kind is int:
                if LEAST_INT <= value <= MOST_INT:
                    return value, None, ITEM_BYTES
            elif kind is str:
                if value.isascii():
                    return value, None, ITEM_BYTES + len(value)
            elif kind is bytes:
                return value, None, ITEM_BYTES + len(value)
            else:
                return value, None, ITEM_BYTES
        elif value is None:
            raise TypeError(
                f"cannot put None into state {self._name!r}: None stands for a key that has no row. Nothing was "
                "changed. Use delete() to remove the row."
            )
        data = self._encode(value)
        assert data is not None
        return value if kind in self.plain else None, data, len(data)

    def data_of(self, row: Row) -> bytes | None:
        """The bytes of a row's value; None when there is no such row."""
        if row.data is None and row.value is not None:
            row.data = self._encode_kept(row.value)
        return row.data

    def writes(self, stored: Mapping[bytes, bytes | None]) -> dict[bytes, bytes | None]:
        """The rows that were written, without those that are as they are stored, as far as that is known."""
        encode = self._encode_kept
        if not stored:
            return {
                row.key: row.data if row.data is not None or row.value is None else encode(row.value)
                for row in self.written
            }
        writes: dict[bytes, bytes | None] = {}
        for row in self.written:
            data = row.data
            if data is None and row.value is not None:
                data = encode(row.value)
            if stored.get(row.key, MISSING) != data:
                writes[row.key] = data
        return writes

    def keep_written(self) -> None:
        """Keep the written rows as stored ones, and forget the oldest rows when there are too many."""
        for row in self.written:
            row.is_written = False
            if row.data is not None and row.value is not None:
                row.data = None
        self.written = []
        self._ordered = []
        if self.size_bytes > MOST_CACHED_BYTES:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Forget the rows that came first; an eighth more than it must, so that it happens once in a while."""
        self.knows_all = False
        most_bytes = MOST_CACHED_BYTES - MOST_CACHED_BYTES // 8
        rows = self.rows
        for row in list(rows.values()):
            if self.size_bytes <= most_bytes:
                break
            del rows[row.key]
            self.size_bytes -= row.size_bytes
        for kind, table in self.tables.items():
            self.tables[kind] = {key: row for key, row in table.items() if row.key in rows}

    # -- scans -----------------------------------------------------------------------------------------------

    def written_between(self, first: bytes, end: bytes | None) -> list[bytes]:
        """The keys of a range that were written, sorted."""
        ordered = self._ordered
        new = [row.key for row in self.written[len(ordered) :]]
        if len(new) <= _FEW:
            for key in new:
                insort(ordered, key)
        else:
            ordered += new
            ordered.sort()
        return ordered[bisect_left(ordered, first) : None if end is None else bisect_left(ordered, end)]

    def merge(
        self, rows: list[StoredRow], own: list[bytes], *, is_reversed: bool, is_whole: bool
    ) -> Iterator[StoredRow]:
        """
        Some stored rows with the written ones of the same part of a range, as they are when they are asked for.

        Takes the keys of that part off `own`; with `is_whole` the rows reach to the end of the range.
        """
        if is_whole:
            here, own[:] = own[:], ()
        elif is_reversed:
            cut = bisect_left(own, rows[-1][0])
            here, own[cut:] = own[cut:], ()
        else:
            cut = bisect_right(own, rows[-1][0])
            here, own[:cut] = own[:cut], ()
        known = self.rows
        merged: Iterator[tuple[bytes, bytes | None]] = iter(rows)
        if here:
            stored = dict(rows)
            keys = sorted({*stored, *here}, reverse=is_reversed)
            merged = ((key, stored.get(key)) for key in keys)
        for key, data in merged:
            row = known.get(key)
            if row is not None and row.is_written:
                data = self.data_of(row)
            if data is not None:
                yield key, data
