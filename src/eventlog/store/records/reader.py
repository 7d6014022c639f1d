"""
Reading batches in a transaction that runs: from an offset, from a time, and where a partition begins and ends.

What is returned is copied.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from eventlog.backend.reading import Fetch, Fetched, StoredBatch
from eventlog.batches.format import decode, read_header
from eventlog.errors import CorruptBatch
from eventlog.store.lmdb.environment import BATCHES, PARTITIONS, Cursor, Environment, Snapshot, Transaction
from eventlog.store.rows.packing import LARGEST, damaged
from eventlog.store.rows.tables import BATCH_KEY_BYTES, PartitionRow, batch_key, partition_key, split_batch_key

_LAST_OFFSET = 2**64 - 1
_WHOLE = PartitionRow()


def fetch_within(
    environment: Environment, transaction: Transaction, requests: Iterable[Fetch], max_bytes: int
) -> list[Fetched]:
    """
    The batches of several partitions, in the order of the requests, in a transaction that runs.

    The commit number of its snapshot is that of the newest commit in it. `Environment.last_transaction` may be ahead
    for a moment: LMDB writes a commit's number to the file before it lets readers see the commit.

    Stops after `max_bytes` of batches; the last request that is answered gets as much as there was room for, those
    behind it are not looked at, and at least one batch comes back if there is any.
    """
    answers: list[Fetched] = []
    cursor = transaction.cursor(db=environment.tables[BATCHES])
    for topic_id, partition, offset in requests:
        if max_bytes <= 0:
            break
        batches: list[StoredBatch] = []
        prefix = partition_key(topic_id, partition)
        is_found = cursor.set_range(batch_key(topic_id, partition, offset))
        while is_found and max_bytes > 0:
            key = cursor.key()
            if not key.startswith(prefix):
                break
            data, last = cursor.value(), int.from_bytes(key[8:], "big")
            if len(key) != BATCH_KEY_BYTES or not offset <= last < LARGEST:
                raise _unsorted(topic_id, partition)
            batches.append(StoredBatch(last, data))
            offset = last + 1
            max_bytes -= len(data)
            is_found = cursor.next()
        row = _partition_row(environment, transaction, topic_id, partition)
        end = offset if batches else _stored_end(environment, transaction, topic_id, partition, row)
        if not batches and row.first <= offset < end:
            raise damaged(
                f"offset {offset} of partition {partition} of topic id {topic_id}",
                f"no batch has it, and it ends at {end}",
            )
        answers.append(Fetched(batches, row.first, end))
    return answers


def bounds_within(
    environment: Environment, transaction: Snapshot | Transaction, partitions: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The first and the end offset (exclusive) of some partitions, by topic id and number."""
    with transaction.cursor(db=environment.table(BATCHES)) as cursor:
        rows = [(pair, _partition_row(environment, transaction, *pair)) for pair in partitions]
        return [(row.first, _end(cursor, *pair, row)) for pair, row in rows]


def offset_of_time_within(
    environment: Environment, transaction: Snapshot | Transaction, topic_id: int, partition: int, timestamp_ms: int
) -> int:
    """
    The first offset whose record has this timestamp or a later one; the end offset when there is none.

    A binary search over the offsets: a batch's `largest_so_far_ms` never goes down along a partition. The search
    may end too early where the late record was deleted, so we walk on from there.
    """
    row = _partition_row(environment, transaction, topic_id, partition)
    with transaction.cursor(db=environment.table(BATCHES)) as cursor:
        first, end = row.first, _end(cursor, topic_id, partition, row)
        low, high = first, end
        prefix = partition_key(topic_id, partition)
        while low < high:
            middle = (low + high) // 2
            if not cursor.set_range(batch_key(topic_id, partition, middle)) or cursor.key()[:8] != prefix:
                high = middle
                continue
            last = split_batch_key(cursor.key())[2]
            if last < middle:
                raise _unsorted(topic_id, partition)
            header = read_header(cursor.value(), f"the batch up to offset {last}")
            if header.largest_so_far_ms < timestamp_ms:
                low = last + 1
            else:
                high = min(middle, last - header.span + 1)
        is_found = cursor.set_range(batch_key(topic_id, partition, low))
        while is_found and cursor.key()[:8] == prefix:
            last = split_batch_key(cursor.key())[2]
            place = f"the batch up to offset {last}"
            if read_header(cursor.value(), place).largest_ms >= timestamp_ms:
                columns = decode(bytes(cursor.value()), place)
                for offset, moment in zip(columns.offsets(last), columns.timestamps_ms, strict=True):
                    if moment >= timestamp_ms and offset >= first:
                        return offset
            is_found = cursor.next()
    return end


def scan(environment: Environment, after: bytes, max_bytes: int) -> list[tuple[bytes, bytes]]:
    """The rows of all batches after a key, in key order, up to `max_bytes`; to check every one."""
    rows: list[tuple[bytes, bytes]] = []
    with environment.reading() as transaction, transaction.cursor(db=environment.table(BATCHES)) as cursor:
        is_found = cursor.set_range(after + b"\0") if after else cursor.first()
        while is_found and max_bytes > 0:
            key, data = bytes(cursor.key()), bytes(cursor.value())
            rows.append((key, data))
            max_bytes -= len(data)
            is_found = cursor.next()
    return rows


def _partition_row(
    environment: Environment, transaction: Snapshot | Transaction, topic_id: int, partition: int
) -> PartitionRow:
    data = transaction.get(partition_key(topic_id, partition), db=environment.tables[PARTITIONS])
    return _WHOLE if data is None else PartitionRow.unpack(data)


def _end(cursor: Cursor, topic_id: int, partition: int, row: PartitionRow) -> int:
    """The end of a partition."""
    is_behind = cursor.set_range(batch_key(topic_id, partition, _LAST_OFFSET))
    if cursor.prev() if is_behind else cursor.last():
        key = bytes(cursor.key())
        if key[:8] == partition_key(topic_id, partition):
            end: int = split_batch_key(key)[2] + 1
            if end < row.first:
                raise damaged("the bounds of a partition", f"it begins at offset {row.first} and ends at {end}")
            return end
    return row.end


def _stored_end(
    environment: Environment, transaction: Transaction, topic_id: int, partition: int, row: PartitionRow
) -> int:
    """
    The same, from the root of the table.

    A cursor that has a page looks no further than that page, so among keys that are not sorted it would find the end
    where a reader stopped, and the reader would wait for good.
    """
    with transaction.cursor(db=environment.tables[BATCHES]) as cursor:
        return _end(cursor, topic_id, partition, row)


def _unsorted(topic_id: int, partition: int) -> CorruptBatch:
    """Return the error for batches that do not follow each other."""
    return damaged(
        f"partition {partition} of topic id {topic_id}", "its batches are not sorted", unaffected="Other partitions"
    )
