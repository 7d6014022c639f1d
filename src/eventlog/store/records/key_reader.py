"""Reading the key index: versions, rows and keys, each call in one short snapshot."""

from __future__ import annotations

from eventlog.batches.format import decode
from eventlog.interruptions import unless_interrupted
from eventlog.records import Headers
from eventlog.store.lmdb.environment import (
    BATCHES,
    INDEX,
    Cursor,
    EngineError,
    Environment,
    Snapshot,
    Transaction,
)
from eventlog.store.records.key_rows import (
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
from eventlog.store.rows.tables import batch_key, split_batch_key


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
        return last_row_of(cursor, prefix)


def last_row_of(cursor: Cursor, prefix: bytes) -> tuple[int, bytes | memoryview] | None:
    """The same by a cursor of the index."""
    is_behind = cursor.set_range(prefix + LAST_VERSION)  # no record has that number
    if cursor.prev() if is_behind else cursor.last():
        key, data = cursor.item()
        if len(key) == len(prefix) + 8 and key[:-8] == prefix:
            return split_row_key(bytes(key))[1], data
    return None


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
                is_behind = cursor.set_range(prefix + (LAST_VERSION if end is None else version_key(end)))
                is_found = cursor.prev() if is_behind else cursor.last()
            else:
                is_found = cursor.set_range(prefix) if first == 1 else _find_row(cursor, prefix, first)
            rows: list[tuple[int, bytes]] = []
            length = len(prefix) + 8
            while is_found:
                key = cursor.key()
                if len(key) != length or not key.startswith(prefix):
                    break
                version = int.from_bytes(key[-8:], "big")
                if end is not None and version >= end:
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
            return rows, True
        except unless_interrupted(EngineError) as error:
            raise environment.read_error(error) from error
        finally:
            transaction.abort()
    finally:
        environment.leave(token, None)


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
    before = start
    with environment.reading() as transaction, transaction.cursor(db=environment.table(INDEX)) as cursor:
        is_found = cursor.set_range(start)
        while is_found and len(keys) < max_count:
            key = bytes(cursor.key())
            if not key.startswith(begin):
                break
            entity, _ = split_row_key(key)
            if key < before:
                raise damaged_index(f"the key {key.hex()} in the index", "the rows are not sorted")
            before = entity + LAST_VERSION
            keys.append(unescaped(entity[4:]))
            is_found = cursor.set_range(before)
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
