"""
The index of a topic: the records of each key, numbered from 1.

A topic that was made with `index="key"` has one row for each record with a key, in the order key, version. The row
holds the record itself when it is small, so that an entity is read from one place however far apart its records
were stored; of a large record it says where it is. A record whose number is the last of its key leaves a mark when it
is deleted: versions are never used again.

Rows are written in the transaction that stores the records (`store/writing.py`). Knows nothing of codecs.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

import attrs
import google_crc32c
import msgpack

from eventlog.batches.format import decode
from eventlog.errors import CorruptBatch, EventLogError, FormatTooNew
from eventlog.records import Headers
from eventlog.store.env import BATCHES, INDEX, Environment, Snapshot, Transaction
from eventlog.store.tables import batch_key, split_batch_key

LONGEST_KEY_BYTES = 480
"""LMDB's keys have 511 bytes, of which topic, version and the end of the key take 14; a zero byte takes two."""
INLINE_BYTES = 1024
"""A record whose value and headers are larger than this is not kept twice."""

_VERSION_KEY = struct.Struct(">Q")
_ROW = struct.Struct(">BBIQqQ")
_CHECKSUM = struct.Struct("<I")
_RESIDUE = 0x48674BC7
_ROW_VERSION = 1
_ELSEWHERE = 1
_IS_TOMBSTONE = 2
_HAS_HEADERS = 4
_IS_DELETED = 8
_KNOWN = _ELSEWHERE | _IS_TOMBSTONE | _HAS_HEADERS | _IS_DELETED
_LAST_VERSION = b"\xff" * 8
_END = b"\0\0"

_topic_key = struct.Struct(">I").pack
version_key = _VERSION_KEY.pack
_checksum = google_crc32c.value
_NOT_A_BODY = (ValueError, TypeError, msgpack.UnpackException)


@attrs.define(slots=True, eq=False)
class StoredEvent:
    """
    Is one record as its index row has it.

    `is_elsewhere` says that value and headers are in the batch.
    """

    version: int
    partition: int
    offset: int
    timestamp_ms: int
    position: int
    value: bytes | None
    headers: Headers
    is_elsewhere: bool


def escaped(key: bytes) -> bytes:
    """The bytes that stand for a key: none is the beginning of another, and their order is that of the keys."""
    return (key.replace(b"\0", b"\0\xff") if b"\0" in key else key) + _END


def unescaped(data: bytes) -> bytes:
    """The key of these bytes."""
    return data[:-2].replace(b"\0\xff", b"\0")


def entity_prefix(topic_id: int, key: bytes) -> bytes:
    """What the keys of all rows of one key begin with."""
    return _topic_key(topic_id) + escaped(key)


def pack_row(
    partition: int, offset: int, timestamp_ms: int, position: int, value: bytes | None, headers: Headers
) -> bytes:
    """The bytes of a row."""
    flags = 0
    body = b""
    if value is None:
        flags = _IS_TOMBSTONE
    elif len(value) > INLINE_BYTES:
        flags = _ELSEWHERE
    else:
        body = value
    if headers and not flags & _ELSEWHERE:
        body = msgpack.packb([value, headers])
        flags |= _HAS_HEADERS
        if len(body) > INLINE_BYTES:
            flags, body = _ELSEWHERE, b""
    data = _ROW.pack(_ROW_VERSION, flags, partition, offset, timestamp_ms, position) + body
    return data + _CHECKSUM.pack(_checksum(data))


def deletion_mark(partition: int, offset: int, timestamp_ms: int, position: int) -> bytes:
    """What is left of the last record of a key."""
    data = _ROW.pack(_ROW_VERSION, _IS_DELETED, partition, offset, timestamp_ms, position)
    return data + _CHECKSUM.pack(_checksum(data))


def unpack_row(version: int, data: bytes, place: object) -> StoredEvent | None:
    """
    The record of a row; None for the mark of one that was deleted.

    Raises:
        CorruptBatch, FormatTooNew: if the bytes are not what was written, or of a newer eventlog.
    """
    if _checksum(data) != _RESIDUE or len(data) < _ROW.size + _CHECKSUM.size:
        raise _damaged(place)
    row_version, flags, partition, offset, timestamp_ms, position = _ROW.unpack_from(data)
    if row_version > _ROW_VERSION or flags & ~_KNOWN:
        raise FormatTooNew(
            f"cannot read {place}: its row has version {row_version} and flags {flags:#04x}, and this eventlog does "
            "not know them. Nothing is damaged. Upgrade eventlog to read it."
        )
    if flags & _IS_DELETED:
        return None
    value: bytes | None = None
    headers: Headers = ()
    if flags & _HAS_HEADERS:
        try:
            value, headers = msgpack.unpackb(data[_ROW.size : -4], use_list=False)
        except _NOT_A_BODY as error:
            raise _damaged(place) from error
    elif not flags:
        value = data[_ROW.size : -4]
    return StoredEvent(version, partition, offset, timestamp_ms, position, value, headers, bool(flags & _ELSEWHERE))


def last_version(environment: Environment, transaction: Snapshot | Transaction, prefix: bytes) -> int:
    """How many records a key ever had, by the prefix of its rows."""
    with transaction.cursor(db=environment.table(INDEX)) as cursor:
        is_behind = cursor.set_range(prefix + _LAST_VERSION)  # no record has that number
        if cursor.prev() if is_behind else cursor.last():
            key = bytes(cursor.key())
            if len(key) == len(prefix) + 8 and key.startswith(prefix):
                return int(_VERSION_KEY.unpack_from(key, len(prefix))[0])
    return 0


def stored_version(environment: Environment, prefix: bytes) -> int:
    """The same, of the newest commit."""
    with environment.reading() as transaction:
        return last_version(environment, transaction, prefix)


def read_rows(
    environment: Environment, prefix: bytes, first: int, end: int | None, *, is_reversed: bool, max_bytes: int
) -> tuple[list[tuple[int, bytes]], bool]:
    """
    The rows of a key from version `first` to `end` (exclusive, None for all), of one snapshot, and whether that is all.

    Reversed, the rows begin with the last. Stops after `max_bytes`; one row comes back even if it is larger.
    """
    rows: list[tuple[int, bytes]] = []
    length = len(prefix)
    with environment.reading() as transaction, transaction.cursor(db=environment.table(INDEX)) as cursor:
        if is_reversed:
            is_behind = cursor.set_range(prefix + (_LAST_VERSION if end is None else version_key(end)))
            steps = cursor.iterprev() if (cursor.prev() if is_behind else cursor.last()) else iter(())
        else:
            steps = cursor.iternext() if cursor.set_range(prefix + version_key(first)) else iter(())
        for key, data in steps:
            if key[:length] != prefix:
                break
            (version,) = _VERSION_KEY.unpack_from(key, length)
            if version < first or (end is not None and version >= end):
                break
            if max_bytes <= 0:
                return rows, False
            row = bytes(data)
            rows.append((version, row))
            max_bytes -= len(row)
    return rows, True


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


def read_elsewhere(environment: Environment, topic_id: int, event: StoredEvent) -> StoredEvent | None:
    """The record with its value and headers, which its batch has; None when it was deleted meanwhile."""
    with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
        if not cursor.set_range(batch_key(topic_id, event.partition, event.offset)):
            return None
        stored_topic, partition, last = split_batch_key(cursor.key())
        data = bytes(cursor.value())
    if (stored_topic, partition) != (topic_id, event.partition):
        return None
    columns = decode(data, f"the batch of partition {partition} up to offset {last}")
    try:
        place = columns.offsets(last).index(event.offset)
    except ValueError:
        return None
    return attrs.evolve(event, value=columns.values[place], headers=columns.headers[place], is_elsewhere=False)


class KeyIndex:
    """
    Writes the rows of one transaction, and knows how many records each key has so far, stored or not.

    What it has learned stays true until another process commits, as `Writing` says.
    """

    _MOST_KNOWN = 100_000

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._versions: dict[bytes, int] = {}
        self.forget = self._versions.clear

    def trim(self) -> None:
        """Forgets what it has learned when that is much."""
        if len(self._versions) > self._MOST_KNOWN:
            self._versions.clear()

    def version(self, transaction: Transaction, prefix: bytes) -> int:
        """How many records a key has, with those of this transaction."""
        known = self._versions.get(prefix)
        if known is None:
            known = self._versions[prefix] = last_version(self._environment, transaction, prefix)
        return known

    def take_version(self, transaction: Transaction, prefix: bytes) -> int:
        """The number of the next record of a key, which is given to no other."""
        version = self._versions[prefix] = self.version(transaction, prefix) + 1
        return version

    def put(self, transaction: Transaction, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Writes rows, whose keys are prefix and version."""
        table = self._environment.table(INDEX)
        if len(rows) == 1:
            transaction.put(*rows[0], db=table)
            return
        with transaction.cursor(db=table) as cursor:
            cursor.putmulti(sorted(rows))

    def delete_before(self, transaction: Transaction, prefix: bytes, partition: int, first: int) -> None:
        """Removes the rows of a key's records that lie before an offset of one partition."""
        with transaction.cursor(db=self._environment.table(INDEX)) as cursor:
            doomed = list(_doomed(cursor.iternext() if cursor.set_range(prefix) else (), prefix, partition, first))
            for key, mark in doomed:
                if mark is None:
                    transaction.delete(key, db=self._environment.table(INDEX))
                else:
                    transaction.put(key, mark, db=self._environment.table(INDEX))


def _doomed(rows: object, prefix: bytes, partition: int, first: int) -> Iterator[tuple[bytes, bytes | None]]:
    """The keys of the rows to remove; the last row of all with the mark that stays in its place."""
    before: tuple[bytes, StoredEvent] | None = None
    for key, data in rows:  # type: ignore[attr-defined]
        if not key.startswith(prefix):
            break
        event = unpack_row(0, bytes(data), "a row of the index")
        if before is not None:
            yield before[0], None
        before = None
        if event is None or event.partition != partition:
            continue
        if event.offset >= first:
            return
        before = (key, event)
    if before is not None:
        key, event = before
        yield key, deletion_mark(event.partition, event.offset, event.timestamp_ms, event.position)


def damaged_index_row(key: bytes, data: bytes) -> str | None:
    """What is wrong with a row, None when nothing is."""
    try:
        unpack_row(_VERSION_KEY.unpack_from(key, len(key) - 8)[0], data, f"the index row {key.hex()}")
    except EventLogError as error:
        return str(error)
    return None


def _damaged(place: object) -> CorruptBatch:
    return CorruptBatch(
        f"cannot read {place}: its row in the index is not what was written. The record itself is unaffected in its "
        "partition. Run `eventlog verify` to list all damage."
    )
