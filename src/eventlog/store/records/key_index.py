"""
The index of a topic: the records of each key, numbered from 1.

A topic that was made with `index="key"` keeps its records a second time, by key: some consecutive records of one key
make a row, in the order key, first version. So an entity is read from one place, however far apart its records were
stored, and the next record goes into the key's last row until that is full. Of a large record the row says only
where it is. What was deleted leaves an empty place, and a key that lost all its records an empty row: versions are
never used again.

Rows are written in the transaction that stores the records. Layout: docs/reference/format.md. Knows nothing of codecs.
"""

from __future__ import annotations

import contextlib
import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, repeat
from typing import TypeAlias

import google_crc32c
import msgpack

from eventlog.batches.format import decode
from eventlog.errors import CorruptBatch, EventLogError, FormatTooNew
from eventlog.records import Headers
from eventlog.store.lmdb.environment import (
    BATCHES,
    INDEX,
    CopyingCursor,
    Cursor,
    EngineError,
    Environment,
    Snapshot,
    Transaction,
)
from eventlog.store.rows.tables import batch_key, split_batch_key

LONGEST_KEY_BYTES = 480
"""LMDB's keys have 511 bytes, of which topic and version take 12; the rest is room."""
INLINE_BYTES = 1024
"""A record whose value and headers are larger than this is not kept twice."""

_ROW_BYTES = 1980
"""What a row's key and value take at most: more than half a page would go to pages of its own."""
_HEAD = struct.Struct(">BBI")
_HEAD_VERSION = 1
_ARRAY = 0xDD
"""MessagePack's sign of an array whose length has four bytes: so entries are added without reading the others."""
ENTRIES = slice(1, -4)
"""Where the array of entries is in a row, in MessagePack."""
_CHECKSUM = struct.Struct("<I")
_FRAME_BYTES = _HEAD.size + _CHECKSUM.size
_RESIDUE = 0x48674BC7
_ENTRY_BYTES = 40
"""What an entry takes at most beside value and headers."""
_LAST_VERSION = b"\xff" * 8
_END = b"\0\0"
LEAST_KEY_BYTES = 14
"""Topic, end of the key, version."""

_topic_key = struct.Struct(">I").pack
version_key = struct.Struct(">Q").pack
_checksum = google_crc32c.value
_packed: Callable[[object], bytes] = msgpack.Packer(use_bin_type=True, buf_size=4096).pack
_NOT_A_ROW = (ValueError, TypeError, msgpack.UnpackException)


Entry: TypeAlias = "tuple[int, int, int, int, bytes | None, Headers | None]"
"""
One record of a row: partition, offset, timestamp in ms, position, value, headers.

Headers are None when they and the value are in the batch alone.
"""


def escaped(key: bytes) -> bytes:
    """The bytes that stand for a key: none is the beginning of another, and their order is that of the keys."""
    return (key.replace(b"\0", b"\0\xff") if b"\0" in key else key) + _END


def unescaped(data: bytes) -> bytes:
    """The key of these bytes."""
    return data[:-2].replace(b"\0\xff", b"\0")


def entity_prefix(topic_id: int, key: bytes) -> bytes:
    """What the keys of all rows of one key begin with."""
    return _topic_key(topic_id) + escaped(key)


def pack_entries(
    partition: int,
    offsets: Iterable[int],
    timestamps_ms: Iterable[int],
    positions: Iterable[int],
    values: Sequence[bytes | None],
    headers: Iterable[Headers],
) -> list[bytes]:
    """The bytes of some records in a row."""
    rows = zip(repeat(partition), offsets, timestamps_ms, positions, values, headers)
    entries = list(map(_packed, rows))
    if max(map(len, entries)) > INLINE_BYTES + _ENTRY_BYTES:
        for place, entry in enumerate(entries):
            if len(entry) > INLINE_BYTES + _ENTRY_BYTES:
                where = msgpack.unpackb(entry)[:4]
                entries[place] = _packed((*where, None, None))
    return entries


def pack_entry(
    partition: int, offset: int, timestamp_ms: int, position: int, value: bytes | None, headers: Headers
) -> bytes:
    """The bytes of one record in a row: the same as from `pack_entries`."""
    entry = _packed((partition, offset, timestamp_ms, position, value, headers))
    if len(entry) > INLINE_BYTES + _ENTRY_BYTES:
        return _packed((partition, offset, timestamp_ms, position, None, None))
    return entry


def repacked(entry: Entry) -> bytes:
    """The bytes that an entry had in its row."""
    return _packed(entry)


def pack_row(count: int, body: bytes) -> bytes:
    """The bytes of a row with so many entries."""
    data = _HEAD.pack(_HEAD_VERSION, _ARRAY, count) + body
    return data + _CHECKSUM.pack(_checksum(data))


def row_count(data: bytes | memoryview) -> int:
    """How many entries a row has, without a look at them."""
    if len(data) < _FRAME_BYTES:
        raise damaged_index("a row of the index")
    return int(_HEAD.unpack_from(data)[2])


def check_row(data: bytes, place: object) -> None:
    """
    Looks at a row as a whole, and not at its entries: these are in `data[ENTRIES]`.

    Raises:
        CorruptBatch, FormatTooNew: if the bytes are not what was written, or of a newer eventlog.
    """
    if len(data) < _FRAME_BYTES or _checksum(data) != _RESIDUE:
        raise damaged_index(place)
    if data[0] > _HEAD_VERSION:
        raise FormatTooNew(
            f"cannot read {place}: its row in the index has version {data[0]}, and this eventlog knows up to "
            f"{_HEAD_VERSION}. Nothing is damaged. Upgrade eventlog to read it."
        )


def unpack_row(data: bytes, place: object) -> Sequence[Entry | None]:
    """
    The entries of a row; None for those that were deleted.

    Raises:
        CorruptBatch, FormatTooNew: if the bytes are not what was written, or of a newer eventlog.
    """
    check_row(data, place)
    try:
        entries: Sequence[Entry | None] = msgpack.unpackb(data[ENTRIES], use_list=False)
    except _NOT_A_ROW as error:
        raise damaged_index(place) from error
    return entries


# --- reading ------------------------------------------------------------------------------------------------------


def last_version(environment: Environment, transaction: Snapshot | Transaction, prefix: bytes) -> int:
    """How many records a key ever had, by the prefix of its rows."""
    last = _last_row(environment, transaction, prefix)
    return 0 if last is None else last[0] + row_count(last[1]) - 1


def _last_row(
    environment: Environment, transaction: Snapshot | Transaction, prefix: bytes
) -> tuple[int, bytes | memoryview] | None:
    """The first version and the bytes of a key's last row."""
    with transaction.cursor(db=environment.table(INDEX)) as cursor:
        return _row_at_end(cursor, prefix)


def _row_at_end(cursor: Cursor, prefix: bytes) -> tuple[int, bytes | memoryview] | None:
    is_behind = cursor.set_range(prefix + _LAST_VERSION)  # no record has that number
    if cursor.prev() if is_behind else cursor.last():
        key, data = cursor.item()
        if len(key) == len(prefix) + 8 and key[:-8] == prefix:
            return int.from_bytes(key[-8:], "big"), data
    return None


def stored_version(environment: Environment, prefix: bytes) -> int:
    """How many records a key ever had, by the newest commit."""
    return environment.read(lambda transaction: last_version(environment, transaction, prefix))


def read_rows(
    environment: Environment, prefix: bytes, first: int, end: int | None, *, is_reversed: bool, max_bytes: int
) -> tuple[list[tuple[int, bytes]], bool]:
    """
    The rows that hold versions from `first` to `end` (exclusive, None for all), and whether that is all.

    Each with its first version; of one snapshot. Reversed, they begin with the last. Stops after `max_bytes`; one row
    comes back even if it is larger.
    """
    token = object()
    try:
        transaction = environment.begin_copying(token)
        try:
            cursor = transaction.cursor(db=environment.tables[INDEX])
            if is_reversed:
                is_behind = cursor.set_range(prefix + (_LAST_VERSION if end is None else version_key(end)))
                is_found = cursor.prev() if is_behind else cursor.last()
            else:
                is_found = cursor.set_range(prefix) if first == 1 else _find_row(cursor, prefix, first)
            if not is_found:
                return [], True
            return _walk(cursor, prefix, first, end, is_reversed=is_reversed, max_bytes=max_bytes)
        except EngineError as error:
            raise environment.unreadable(error) from error
        finally:
            transaction.abort()
    finally:
        environment.leave(token, None)


def _walk(
    cursor: CopyingCursor, prefix: bytes, first: int, end: int | None, *, is_reversed: bool, max_bytes: int
) -> tuple[list[tuple[int, bytes]], bool]:
    """Is `read_rows` from where a cursor stands."""
    rows: list[tuple[int, bytes]] = []
    length = len(prefix) + 8
    is_found = True
    while is_found:
        key = cursor.key()
        if len(key) != length or not key.startswith(prefix):
            break
        version = int.from_bytes(key[-8:], "big")
        if end is not None and version >= end:
            break
        if max_bytes <= 0:
            return rows, False
        data = cursor.value()
        rows.append((version, data))
        if is_reversed and version <= first:
            break
        max_bytes -= len(data)
        is_found = cursor.prev() if is_reversed else cursor.next()
    return rows, True


def _find_row(cursor: object, prefix: bytes, first: int) -> bool:
    """Goes to the row that holds a version, or to the next."""
    least = prefix + version_key(first)
    is_found: bool = cursor.set_range(least)  # type: ignore[attr-defined]
    if is_found and cursor.key() == least:  # type: ignore[attr-defined]
        return is_found
    if cursor.prev() if is_found else cursor.last():  # type: ignore[attr-defined]
        if cursor.key()[:-8] == prefix:  # type: ignore[attr-defined]
            return True
        return bool(cursor.next())  # type: ignore[attr-defined]
    return bool(cursor.set_range(least))  # type: ignore[attr-defined]


def read_keys(
    environment: Environment, topic_id: int, key_prefix: bytes, after: bytes | None, max_count: int
) -> list[bytes]:
    """Keys of a topic in byte order: those that begin with `key_prefix`, behind the key `after`."""
    keys: list[bytes] = []
    topic = _topic_key(topic_id)
    begin = topic + key_prefix.replace(b"\0", b"\0\xff")
    start = begin if after is None else entity_prefix(topic_id, after) + _LAST_VERSION
    with environment.reading() as transaction, transaction.cursor(db=environment.table(INDEX)) as cursor:
        is_found = cursor.set_range(start)
        while is_found and len(keys) < max_count:
            entity = bytes(cursor.key())[:-8]
            if not entity.startswith(begin):
                break
            keys.append(unescaped(entity[4:]))
            is_found = cursor.set_range(entity + _LAST_VERSION)
    return keys


def read_elsewhere(
    environment: Environment, topic_id: int, partition: int, offset: int
) -> tuple[bytes | None, Headers] | None:
    """The value and headers of a record that only its batch has; None when it was deleted meanwhile."""
    with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
        if not cursor.set_range(batch_key(topic_id, partition, offset)):
            return None
        stored_topic, stored_partition, last = split_batch_key(cursor.key())
        data = bytes(cursor.value())
    if (stored_topic, stored_partition) != (topic_id, partition):
        return None
    columns = decode(data, f"the batch of partition {partition} up to offset {last}")
    try:
        place = columns.offsets(last).index(offset)
    except ValueError:
        return None
    return columns.values[place], columns.headers[place]


# --- writing ------------------------------------------------------------------------------------------------------


class _Tail:
    """The last row of a key: its first version, how many entries it has, and their bytes."""

    __slots__ = ("body", "count", "first")

    def __init__(self, first: int, count: int, body: bytes) -> None:
        self.first = first
        self.count = count
        self.body = body


def _tail_of(last: tuple[int, bytes | memoryview] | None, prefix: bytes) -> _Tail:
    if last is None:
        return _Tail(1, 0, b"")
    first, data = last[0], bytes(last[1])
    if _checksum(data) != _RESIDUE:
        raise damaged_index(f"the records of key {unescaped(prefix[4:])!r}")  # a new checksum would hide it
    return _Tail(first, row_count(data), data[_HEAD.size : -4])


class KeyIndex:
    """
    Writes the rows of one transaction, and knows how many records each key has so far, stored or not.

    What it has learned stays true until another process commits, as `WriteTransaction` says.
    """

    _MOST_VERSIONS = 100_000
    _MOST_TAILS = 4096

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._versions: dict[bytes, int] = {}
        self._tails: dict[bytes, _Tail] = {}

    def forget(self) -> None:
        """Forgets what it has learned."""
        self._versions.clear()
        self._tails.clear()

    def trim(self) -> None:
        """Forgets what it has learned when that is much; between two transactions."""
        if len(self._versions) > self._MOST_VERSIONS:
            self._versions.clear()
        if len(self._tails) > self._MOST_TAILS:
            self._tails.clear()

    def version(self, transaction: Transaction, prefix: bytes) -> int:
        """How many records a key has, with those of this transaction."""
        known = self._versions.get(prefix)
        if known is None:
            tail = self._tail(transaction, prefix)
            known = self._versions[prefix] = tail.first + tail.count - 1
        return known

    def check(self, transaction: Transaction, prefixes: Iterable[bytes]) -> None:
        """Raises `CorruptBatch` when the next record of a key has no place to go; after that `add` finds one."""
        unknown = sorted(prefix for prefix in prefixes if prefix not in self._tails)
        if unknown:
            with transaction.cursor(db=self._environment.table(INDEX)) as cursor:
                for prefix in unknown:
                    self._tails[prefix] = _tail_of(_row_at_end(cursor, prefix), prefix)

    def take_version(self, transaction: Transaction, prefix: bytes) -> int:
        """The number of the next record of a key, which is given to no other."""
        if prefix not in self._tails:
            self._tail(transaction, prefix)
        before = self._versions.get(prefix)
        version = self._versions[prefix] = (self.version(transaction, prefix) if before is None else before) + 1
        return version

    def take_versions(self, transaction: Transaction, prefix: bytes, count: int) -> range:
        """
        The numbers of the next records of a key.

        Raises:
            CorruptBatch: if the key's last row is damaged. Nothing was taken.
        """
        self._tail(transaction, prefix)
        version = self.version(transaction, prefix)
        self._versions[prefix] = version + count
        return range(version + 1, version + count + 1)

    def _tail(self, transaction: Transaction, prefix: bytes) -> _Tail:
        tail = self._tails.get(prefix)
        if tail is None:
            tail = self._tails[prefix] = _tail_of(_last_row(self._environment, transaction, prefix), prefix)
        return tail

    def add(self, transaction: Transaction, entries: dict[bytes, list[bytes]]) -> None:
        """Writes the next entries of some keys, by the prefixes of their rows."""
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
        """Writes the next entry of one key: the same as `add`, at half the cost."""
        tail = self._tails.get(prefix) or self._tail(transaction, prefix)
        size = len(tail.body)
        if size and size + len(entry) > _ROW_BYTES - len(prefix) - 8 - _FRAME_BYTES:
            tail.first += tail.count
            tail.count, tail.body = 1, entry
        else:
            tail.count += 1
            tail.body += entry
        row = pack_row(tail.count, tail.body)
        transaction.put(prefix + version_key(tail.first), row, db=self._environment.tables[INDEX])

    @staticmethod
    def _extend(tail: _Tail, prefix: bytes, added: list[bytes], rows: list[tuple[bytes, bytes]]) -> None:
        """Fills the last row of a key, and begins others."""
        room = _ROW_BYTES - len(prefix) - 8 - _FRAME_BYTES
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

    def delete_before(self, transaction: Transaction, prefix: bytes, partition: int, first: int) -> None:
        """
        Removes a key's records that lie before an offset of one partition.

        A damaged row stays as it is, and is found by `verify`.
        """
        self._tails.pop(prefix, None)
        table = self._environment.table(INDEX)
        with transaction.cursor(db=table) as cursor:
            rows, is_all = _rows_before(cursor, prefix, partition, first)
        for number, (version, entries) in enumerate(rows):
            if entries is None:
                continue
            kept = [None if _is_before(entry, partition, first) else entry for entry in entries]
            key = prefix + version_key(version)
            if any(entry is not None for entry in kept):
                if list(entries) != kept:
                    transaction.put(key, pack_row(len(kept), b"".join(map(_packed, kept))), db=table)
                continue
            transaction.delete(key, db=table)
            if is_all and number == len(rows) - 1:
                transaction.put(prefix + version_key(version + len(kept)), pack_row(0, b""), db=table)

    def delete_all_before(self, transaction: Transaction, topic_id: int, partition: int, first: int) -> None:
        """The same of all keys of a topic, for when it cannot be read which ones these are."""
        topic = _topic_key(topic_id)
        with transaction.cursor(db=self._environment.table(INDEX)) as cursor:
            is_found = cursor.set_range(topic)
            while is_found and (key := cursor.key()).startswith(topic):
                if len(key) < LEAST_KEY_BYTES:
                    is_found = cursor.next()
                    continue
                self.delete_before(transaction, key[:-8], partition, first)
                is_found = cursor.set_range(key[:-8] + _LAST_VERSION)


def _is_before(entry: tuple[object, ...] | None, partition: int, first: int) -> bool:
    return entry is None or (entry[0] == partition and entry[1] < first)  # type: ignore[operator]


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
        with contextlib.suppress(EventLogError):
            entries = unpack_row(bytes(data), "a row of the index")
        rows.append((int.from_bytes(key[-8:], "big"), entries))
        if any(entry is not None and entry[0] == partition and entry[1] >= first for entry in entries or ()):
            return rows, False
        is_found = cursor.next()
    return rows, True


def damaged_index(place: object) -> CorruptBatch:
    """The error for a row of the index that is not what was written."""
    return CorruptBatch(
        f"cannot read {place}: its row in the index is not what was written. The record itself is unaffected in its "
        "partition. Run `eventlog verify` to list all damage."
    )
