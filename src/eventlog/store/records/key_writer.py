"""
Writing the key index: rows are written in the transaction that stores their records.

The next record of a key goes into the key's last row until that is full.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import accumulate

from eventlog.errors import EventLogError
from eventlog.interruptions import suppress
from eventlog.store.lmdb.environment import INDEX, Cursor, Environment, Transaction
from eventlog.store.records.key_reader import last_row, last_row_of
from eventlog.store.records.key_rows import (
    FRAME_BYTES,
    LAST_VERSION,
    LEAST_KEY_BYTES,
    ROW_BYTES,
    Entry,
    pack_row,
    repacked,
    row_body,
    row_count,
    topic_key,
    unescaped,
    unpack_row,
    version_key,
)


class _Tail:
    """The last row of a key: its first version, the number of its entries, and their bytes."""

    __slots__ = ("body", "count", "first")

    def __init__(self, first: int, count: int, body: bytes) -> None:
        self.first = first
        self.count = count
        self.body = body


def _tail_of(last: tuple[int, bytes | memoryview] | None, prefix: bytes) -> _Tail:
    if last is None:
        return _Tail(1, 0, b"")
    first, data = last[0], bytes(last[1])
    body = row_body(data, f"the records of key {unescaped(prefix[4:])!r}")
    return _Tail(first, row_count(data), body)


class KeyIndex:
    """
    The writer of the index: knows how many records each key has so far, those of the open transaction included.

    Its knowledge stays true until another process commits, as that of `WriteTransaction`.
    """

    _MOST_VERSIONS = 100_000
    _MOST_TAILS = 4096

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._versions: dict[bytes, int] = {}
        self._tails: dict[bytes, _Tail] = {}
        self.is_grown = False
        """Whether it has learned of a key since `trim`."""

    def forget(self) -> None:
        """Drop what was learned of the keys."""
        self._versions.clear()
        self._tails.clear()

    def trim(self) -> None:
        """Drop what was learned when it is much; called between two transactions."""
        self.is_grown = False
        if len(self._versions) > self._MOST_VERSIONS:
            self._versions.clear()
        if len(self._tails) > self._MOST_TAILS:
            self._tails.clear()

    def version(self, transaction: Transaction, prefix: bytes) -> int:
        """The number of records of a key, with those of this transaction."""
        known = self._versions.get(prefix)
        if known is None:
            tail = self._tail(transaction, prefix)
            known = self._versions[prefix] = tail.first + tail.count - 1
        return known

    def check(self, transaction: Transaction, prefixes: Iterable[bytes]) -> None:
        """Raise `CorruptBatch` when the last row of a key is damaged; afterwards `add` cannot fail for that reason."""
        unknown = sorted(prefix for prefix in prefixes if prefix not in self._tails)
        if unknown:
            self.is_grown = True
            with transaction.cursor(db=self._environment.table(INDEX)) as cursor:
                for prefix in unknown:
                    self._tails[prefix] = _tail_of(last_row_of(self._environment, transaction, cursor, prefix), prefix)

    def take_version(self, transaction: Transaction, prefix: bytes) -> int:
        """Take the version of the next record of a key."""
        if prefix not in self._tails:
            self._tail(transaction, prefix)
        before = self._versions.get(prefix)
        version = self._versions[prefix] = (self.version(transaction, prefix) if before is None else before) + 1
        return version

    def take_versions(self, transaction: Transaction, prefix: bytes, count: int) -> range:
        """
        Take the versions of the next records of a key.

        Raises:
            CorruptBatch: if the key's last row is damaged. Nothing was taken.
        """
        self._tail(transaction, prefix)
        version = self.version(transaction, prefix)
        self._versions[prefix] = version + count
        return range(version + 1, version + count + 1)

    def skip_to(self, prefix: bytes, version: int) -> None:
        """Have the next record of a key get a version, in a row of its own: those between are gone."""
        self.is_grown = True
        self._tails[prefix] = _Tail(version, 0, b"")
        self._versions[prefix] = version - 1

    def _tail(self, transaction: Transaction, prefix: bytes) -> _Tail:
        tail = self._tails.get(prefix)
        if tail is None:
            self.is_grown = True
            tail = self._tails[prefix] = _tail_of(last_row(self._environment, transaction, prefix), prefix)
        return tail

    def add(self, transaction: Transaction, entries: dict[bytes, list[bytes]]) -> None:
        """Write the next entries of some keys, by the prefixes of their rows."""
        rows: list[tuple[bytes, bytes]] = []
        for prefix, added in entries.items():
            self._extend(self._tail(transaction, prefix), prefix, added, rows)
        table = self._environment.table(INDEX)
        if len(rows) == 1:
            transaction.put(*rows[0], db=table)
            return
        rows.sort()
        with transaction.cursor(db=table) as cursor:
            cursor.putmulti(rows)

    def add_one(self, transaction: Transaction, prefix: bytes, entry: bytes) -> None:
        """Write the next entry of one key: as `add`, at half the cost."""
        tail = self._tails.get(prefix) or self._tail(transaction, prefix)
        size = len(tail.body)
        if size and size + len(entry) > ROW_BYTES - len(prefix) - 8 - FRAME_BYTES:
            tail.first += tail.count
            tail.count, tail.body = 1, entry
        else:
            tail.count += 1
            tail.body += entry
        row = pack_row(tail.count, tail.body)
        transaction.put(prefix + version_key(tail.first), row, db=self._environment.tables[INDEX])

    @staticmethod
    def _extend(tail: _Tail, prefix: bytes, added: list[bytes], rows: list[tuple[bytes, bytes]]) -> None:
        """Fill the last row of a key, and begin others."""
        room = ROW_BYTES - len(prefix) - 8 - FRAME_BYTES
        sizes = list(accumulate(map(len, added), initial=0))
        begin, end = 0, len(added)
        while begin < end:
            size = len(tail.body)
            stop = max(bisect_right(sizes, sizes[begin] + room - size, begin) - 1, begin)
            if stop == begin and not size:
                stop += 1  # larger than a row: alone in one
            if stop > begin:
                tail.body = b"".join((tail.body, *added[begin:stop]))
                tail.count += stop - begin
                rows.append((prefix + version_key(tail.first), pack_row(tail.count, tail.body)))
                begin = stop
            if begin < end:
                tail.first += tail.count
                tail.count, tail.body = 0, b""

    def delete_before(
        self, transaction: Transaction, prefix: bytes, partition: int, first: int, *, most: int = 2**62
    ) -> int:
        """
        Remove a key's records that lie before an offset of one partition, from `most` rows at most.

        Return from how many. A damaged row stays as it is; `verify` finds it.
        """
        self._tails.pop(prefix, None)
        with transaction.cursor(db=self._environment.table(INDEX)) as cursor:
            rows, is_all = _rows_before(cursor, prefix, partition, first)
        return self._remove(transaction, prefix, rows, lambda entry: _is_before(entry, partition, first), most, is_all)

    def delete_offsets(self, transaction: Transaction, prefix: bytes, partition: int, offsets: Collection[int]) -> None:
        """Remove a key's records that have some offsets of one partition; there is at least one."""
        self._tails.pop(prefix, None)
        with transaction.cursor(db=self._environment.table(INDEX)) as cursor:
            rows, is_all = _rows_before(cursor, prefix, partition, max(offsets) + 1)
        self._remove(transaction, prefix, rows, lambda entry: _is_among(entry, partition, offsets), 2**62, is_all)

    def _remove(
        self,
        transaction: Transaction,
        prefix: bytes,
        rows: list[tuple[int, Sequence[Entry | None] | None]],
        is_gone: Callable[[Entry | None], bool],
        most: int,
        is_all: bool,  # noqa: FBT001 - whether these are all rows of the key
    ) -> int:
        """Remove entries from some rows of a key, from `most` rows at most; return from how many."""
        count, table = 0, self._environment.table(INDEX)
        for number, (version, entries) in enumerate(rows):
            if entries is None:
                continue
            if count >= most:
                break
            kept = [None if is_gone(entry) else entry for entry in entries]
            key = prefix + version_key(version)
            if any(entry is not None for entry in kept):
                if list(entries) != kept:
                    count += 1
                    transaction.put(key, pack_row(len(kept), b"".join(map(repacked, kept))), db=table)
                continue
            count += bool(kept)  # an empty row was written by an earlier call
            transaction.delete(key, db=table)
            if is_all and number == len(rows) - 1:
                transaction.put(prefix + version_key(version + len(kept)), pack_row(0, b""), db=table)
        return count

    def delete_all_before(self, transaction: Transaction, topic_id: int, partition: int, first: int) -> None:
        """The same for all keys of a topic, when the keys of the deleted records cannot be read."""
        topic = topic_key(topic_id)
        with transaction.cursor(db=self._environment.table(INDEX)) as cursor:
            is_found = cursor.set_range(topic)
            while is_found and (key := cursor.key()).startswith(topic):
                if len(key) < LEAST_KEY_BYTES:
                    is_found = cursor.next()
                    continue
                self.delete_before(transaction, key[:-8], partition, first)
                is_found = cursor.set_range(key[:-8] + LAST_VERSION)


def _is_before(entry: Entry | None, partition: int, first: int) -> bool:
    return entry is None or (entry[0] == partition and entry[1] < first)


def _is_among(entry: Entry | None, partition: int, offsets: Collection[int]) -> bool:
    return entry is None or (entry[0] == partition and entry[1] in offsets)


def _rows_before(
    cursor: Cursor, prefix: bytes, partition: int, first: int
) -> tuple[list[tuple[int, Sequence[Entry | None] | None]], bool]:
    """
    The rows of a key up to the first that has a record of a partition from an offset on, and whether these are all.

    Later rows have later records of that partition. The entries of a damaged row are None.
    """
    rows: list[tuple[int, Sequence[Entry | None] | None]] = []
    is_found = cursor.set_range(prefix)
    while is_found:
        key, data = cursor.item()
        if key[:-8] != prefix:
            break
        entries: Sequence[Entry | None] | None = None
        with suppress(EventLogError):
            entries = unpack_row(bytes(data), "a row of the index")
        rows.append((int.from_bytes(key[-8:], "big"), entries))
        if any(entry is not None and entry[0] == partition and entry[1] >= first for entry in entries or ()):
            return rows, False
        is_found = cursor.next()
    return rows, True
