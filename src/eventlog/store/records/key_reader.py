"""Reading the key index: versions, rows and keys, each call in one short snapshot."""

from __future__ import annotations

from itertools import pairwise

from eventlog.batches.format import decode
from eventlog.errors import CorruptBatch
from eventlog.interruptions import unless_interrupted
from eventlog.records import Headers
from eventlog.store.lmdb.environment import (
    BATCHES,
    FORMAT,
    INDEX,
    PARTITIONS,
    Cursor,
    EngineError,
    Environment,
    Snapshot,
    Transaction,
)
from eventlog.store.records.key_rows import (
    FRAME_BYTES,
    LAST_VERSION,
    check_row,
    damaged_index,
    entity_prefix,
    is_intact,
    row_count,
    split_row_key,
    topic_key,
    unescaped,
    version_key,
)
from eventlog.store.rows.packing import LARGEST
from eventlog.store.rows.tables import LOST_RECORDS_KEY, TOPIC_ROWS, batch_key, left_rows_key, split_batch_key

_FIRST_VERSION = version_key(1)


def last_version(environment: Environment, transaction: Snapshot | Transaction, prefix: bytes) -> int:
    """The number of records that a key ever had, by the prefix of its rows."""
    last = last_row(environment, transaction, prefix)
    if last is None:
        return 0
    version, data = last[0], bytes(last[1])
    check_row(data, f"version {version} of key {unescaped(prefix[4:])!r}")
    return version + row_count(data) - 1


def last_row(
    environment: Environment, transaction: Snapshot | Transaction, prefix: bytes
) -> tuple[int, bytes | memoryview] | None:
    """The first version and the bytes of a key's last row."""
    with transaction.cursor(db=environment.table(INDEX)) as cursor:
        return last_row_of(environment, transaction, cursor, prefix)


def last_row_of(
    environment: Environment, transaction: Snapshot | Transaction, cursor: Cursor, prefix: bytes
) -> tuple[int, bytes | memoryview] | None:
    """The same by a cursor of the index."""
    end = prefix + LAST_VERSION  # no record has that number
    before = b""
    if _find_end(environment, transaction, cursor, end):
        key, data = cursor.item()
        if len(key) == len(end) and key[:-8] == prefix:
            return split_row_key(bytes(key))[1], data
        before = bytes(key)
    _check_sorted(cursor, before, end)
    return None


def _find_end(environment: Environment, transaction: Snapshot | Transaction, cursor: Cursor, end: bytes) -> bool:
    """
    Move a cursor to the last row before a key; whether there is one.

    A changed bit in a key hides other rows from a search, but not its own: the search ends beside it. There it is
    mostly known by its version: the row behind those of a key is the first one of another key.

    Raises:
        CorruptBatch: if the row behind is not where its key belongs.
    """
    if not cursor.set_range(end):
        return bool(cursor.last())
    key = bytes(cursor.key())
    if key[-8:] != _FIRST_VERSION and key[:-8] != end[:-8]:
        _check_behind(environment, transaction, cursor, key, end)
        cursor.set_range(end)
    return bool(cursor.prev())


def _check_sides(cursor: Cursor, end: bytes) -> None:
    """Raise `CorruptBatch` if the rows on both sides of a key, two on each side, are not sorted."""
    is_found = cursor.prev() if cursor.set_range(end) else cursor.last()
    _check_sorted(cursor, bytes(cursor.key()) if is_found else b"", end)


def _check_sorted(cursor: Cursor, before: bytes, end: bytes) -> None:
    """The same when the cursor is at the row before it; without a key, there is none."""
    if before:
        if cursor.prev() and (first := bytes(cursor.key())) >= before:
            raise _unsorted(first)
        if before > end:
            raise _unsorted(before)
    if cursor.set_range(end):
        behind = bytes(cursor.key())
        if behind < end:
            raise _unsorted(behind)
        if cursor.next() and (last := bytes(cursor.key())) <= behind:
            raise _unsorted(last if behind == end else behind)


def _check_behind(
    environment: Environment, transaction: Snapshot | Transaction, cursor: Cursor, key: bytes, end: bytes
) -> None:
    """Raise `CorruptBatch` if the row of a key, where the cursor is, can be none behind `end`."""
    if key <= end or (cursor.next() and bytes(cursor.key()) <= key):
        raise _unsorted(key)
    entity, version = split_row_key(key)
    if version > 1:
        _check_trimmed(environment, transaction, entity, version)


def _unsorted(key: bytes | memoryview) -> CorruptBatch:
    return damaged_index(f"the key {bytes(key).hex()} in the index", "the rows are not sorted")


def stored_version(environment: Environment, prefix: bytes) -> int:
    """The same by the newest commit."""
    return environment.read(lambda transaction: last_version(environment, transaction, prefix))


def read_rows(
    environment: Environment, prefix: bytes, first: int, end: int | None, *, is_reversed: bool, max_bytes: int
) -> tuple[list[tuple[int, bytes]], bool]:
    """
    The rows that hold versions from `first` to `end` (exclusive; None: no end), and whether these are all of them.

    Each comes with its first version, and all are of one snapshot. Reversed, the last row comes first. Stops after
    `max_bytes`, but not before the first row.
    """
    token = object()
    try:
        transaction = environment.begin_copying(token)
        try:
            cursor = transaction.cursor(db=environment.tables[INDEX])
            if is_reversed:
                is_found = _find_end(
                    environment, transaction, cursor, prefix + (LAST_VERSION if end is None else version_key(end))
                )
            else:
                is_found = cursor.set_range(prefix) if first == 1 else _find_row(cursor, prefix, first)
            rows: list[tuple[int, bytes]] = []
            length = len(prefix) + 8
            while is_found:
                key = cursor.key()
                if len(key) != length or not key.startswith(prefix):
                    if not is_reversed and key[-8:] != _FIRST_VERSION:
                        _check_behind(environment, transaction, cursor, key, prefix)
                    break
                version = int.from_bytes(key[-8:], "big")
                if end is not None and version >= end:
                    _check_whole(environment, transaction, [*rows[-1:], (version, b"")], prefix, version)
                    break
                if not 1 <= version < LARGEST or (rows and (version < rows[-1][0]) is not is_reversed):
                    raise damaged_index(f"the key {key.hex()} in the index", "the versions are not sorted")
                if max_bytes <= 0:
                    return rows, False
                data = cursor.value()
                rows.append((version, data))
                if is_reversed and version <= first:
                    break
                max_bytes -= len(data)
                is_found = cursor.prev() if is_reversed else cursor.next()
            if not rows or (rows[0][0] > first and not is_reversed):
                _check_sides(cursor, prefix + version_key(first))
            if len(rows) > 1 or (rows and rows[0][0] > first):
                _check_whole(environment, transaction, rows[::-1] if is_reversed else rows, prefix, first)
            return rows, True
        except unless_interrupted(EngineError) as error:
            raise environment.read_error(error) from error
        finally:
            transaction.abort()
    finally:
        environment.leave(token, None)


def _check_whole(
    environment: Environment, transaction: Transaction, rows: list[tuple[int, bytes]], prefix: bytes, first: int
) -> None:
    """Raise `CorruptBatch` if versions from `first` on are not in the rows of a key, and none was deleted."""
    if rows and rows[0][0] > first:
        _check_trimmed(environment, transaction, prefix, rows[0][0])
    for (one, data), (other, _) in pairwise(rows):
        if len(data) < FRAME_BYTES or one + row_count(data) != other:
            _check_trimmed(environment, transaction, prefix, other)


def _check_trimmed(environment: Environment, transaction: Snapshot | Transaction, prefix: bytes, version: int) -> None:
    """
    Raise `CorruptBatch` if no record was ever deleted from the topic of a key's rows, nor the topic itself.

    A repair and a restore note what they found to be missing already.
    """
    topic = prefix[:4]
    notes = left_rows_key(TOPIC_ROWS, int.from_bytes(topic, "big")), LOST_RECORDS_KEY + topic
    if any(transaction.get(note, db=environment.table(FORMAT)) is not None for note in notes):
        return
    with transaction.cursor(db=environment.table(PARTITIONS)) as cursor:
        if not cursor.set_range(topic) or cursor.key()[:4] != topic:
            raise damaged_index(
                f"version {version} of key {unescaped(prefix[4:])!r}", "what was stored before it is not there"
            )


def _find_row(cursor: object, prefix: bytes, first: int) -> bool:
    """Move a cursor to the row that holds a version, or else to the next row."""
    least = prefix + version_key(first)
    is_found: bool = cursor.set_range(least)  # type: ignore[attr-defined]
    if is_found and cursor.key() == least:  # type: ignore[attr-defined]
        return is_found
    if cursor.prev() if is_found else cursor.last():  # type: ignore[attr-defined]
        if cursor.key()[:-8] == prefix:  # type: ignore[attr-defined]
            version, data = int.from_bytes(cursor.key()[-8:], "big"), cursor.value()  # type: ignore[attr-defined]
            if version + row_count(data) > first if is_intact(data) else True:
                return True  # a damaged row is refused by whoever reads it
        return bool(cursor.next())  # type: ignore[attr-defined]
    return bool(cursor.set_range(least))  # type: ignore[attr-defined]


def read_keys(
    environment: Environment, topic_id: int, key_prefix: bytes, after: bytes | None, max_count: int
) -> list[bytes]:
    """The keys of a topic that begin with `key_prefix` and come after the key `after`, in byte order."""
    keys: list[bytes] = []
    topic = topic_key(topic_id)
    begin = topic + key_prefix.replace(b"\0", b"\0\xff")
    start = begin if after is None else entity_prefix(topic_id, after) + LAST_VERSION
    entity = b""
    with environment.reading() as transaction, transaction.cursor(db=environment.table(INDEX)) as cursor:
        while len(keys) < max_count:
            is_found = cursor.set_range(start)
            key = bytes(cursor.key())
            if (cursor.prev() if is_found else cursor.last()) and not bytes(cursor.key()).startswith(entity):
                raise _unsorted(cursor.key())
            if not is_found or not key.startswith(begin):
                _check_sides(cursor, start)
                break
            cursor.set_range(start)
            if key < start or (cursor.next() and bytes(cursor.key()) <= key):
                raise _unsorted(key)
            entity, _ = split_row_key(key)
            start = entity + LAST_VERSION
            keys.append(unescaped(entity[4:]))
    return keys


def read_content(
    environment: Environment, topic_id: int, partition: int, offset: int
) -> tuple[bytes | None, Headers] | None:
    """The value and headers of a record, from its batch; None when it was deleted meanwhile."""
    with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
        if not cursor.set_range(batch_key(topic_id, partition, offset)):
            return None
        stored_topic, stored_partition, last = split_batch_key(cursor.key())
        data = bytes(cursor.value())
    if (stored_topic, stored_partition) != (topic_id, partition):
        return None
    columns = decode(data, f"the batch of partition {partition} up to offset {last}")
    try:
        index = columns.offsets(last).index(offset)
    except unless_interrupted(ValueError):
        return None
    return columns.values[index], columns.headers[index]
