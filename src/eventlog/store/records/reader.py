"""
Reading batches in a transaction that runs: from an offset, from a time, and where a partition begins and ends.

What is returned is copied. A changed bit in a key makes its row that of another partition, at a place where no search
finds it. The end would be an earlier batch: readers would stop there, and offsets would be given twice. Every batch
says its position in the order of the log, and the order says the batch's key, so the rows on both sides of an end are
known to be what their keys say (docs/decisions/0028).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from eventlog.backend.reading import Fetch, Fetched, StoredBatch
from eventlog.batches.format import decode
from eventlog.batches.header import (
    COMPRESSION_AT,
    COMPRESSION_MASK,
    KAFKA,
    KAFKA_BIT,
    is_intact,
    read_header,
    read_place,
    unpacked_bytes,
)
from eventlog.errors import CorruptBatch
from eventlog.named_tuples import NamedTuple
from eventlog.store.lmdb.environment import BATCHES, ORDER, PARTITIONS, Cursor, Environment, Snapshot, Transaction
from eventlog.store.records.log_order import has_open, order_key
from eventlog.store.rows.packing import LARGEST, damaged
from eventlog.store.rows.tables import BATCH_KEY_BYTES, PartitionRow, batch_key, partition_key, split_batch_key

if TYPE_CHECKING:
    from eventlog.store.records.visibility import PartitionSight

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
    at, mask = COMPRESSION_AT, COMPRESSION_MASK | KAFKA_BIT
    cursor = transaction.cursor(db=environment.tables[BATCHES])
    for topic_id, partition, offset in requests:
        if max_bytes <= 0:
            break
        batches: list[StoredBatch] = []
        prefix, sight = partition_key(topic_id, partition), None
        is_found = cursor.set_range(batch_key(topic_id, partition, offset))
        while is_found and max_bytes > 0:
            key = cursor.key()
            if not key.startswith(prefix):
                break
            data, last = cursor.value(), int.from_bytes(key[8:], "big")
            if len(key) != BATCH_KEY_BYTES or not offset <= last < LARGEST:
                raise unsorted_batches(topic_id, partition)
            size = len(data)
            if size > at and data[at] & mask:
                if data[at] & KAFKA_BIT:
                    sight = sight or _sight(environment, transaction, topic_id, partition)
                    seen = sight.seen(last - read_header(data, "a batch").span + 1, data)
                    if seen is None:
                        break
                    data = seen
                    size = len(data)
                else:
                    size = unpacked_bytes(data)
            batches.append(StoredBatch(last, data))
            offset = last + 1
            max_bytes -= size
            is_found = cursor.next()
        row = _partition_row(environment, transaction, topic_id, partition)
        is_end = batches or (sight is not None and sight.is_open)
        end = offset if is_end else _end(environment, transaction, topic_id, partition, row)
        if not batches and row.first <= offset < end:
            raise damaged(
                f"offset {offset} of partition {partition} of topic id {topic_id}",
                f"no batch has it, and it ends at {end}",
            )
        answers.append(Fetched(batches, row.first, end))
    return answers


def _sight(
    environment: Environment, transaction: Snapshot | Transaction, topic_id: int, partition: int
) -> PartitionSight:
    """What native readers see of the transactions of Kafka's clients in a partition, in which there may be some."""
    from eventlog.store.records.visibility import PartitionSight  # few logs have any: `import eventlog` is fast

    return PartitionSight(environment, transaction, topic_id, partition)


def visible_bounds_within(
    environment: Environment, transaction: Snapshot | Transaction, partitions: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The first offset of some partitions, and the end for native readers: where an open transaction begins."""
    bounds = bounds_within(environment, transaction, partitions)
    if not has_open(environment, transaction):
        return bounds
    from eventlog.store.records.visibility import first_open

    return [
        (first, min(end, max(first, first_open(environment, transaction, *place))))
        for place, (first, end) in zip(partitions, bounds, strict=True)
    ]


def bounds_within(
    environment: Environment, transaction: Snapshot | Transaction, partitions: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The first and the end offset (exclusive) of some partitions, by topic id and number."""
    rows = [(pair, _partition_row(environment, transaction, *pair)) for pair in partitions]
    return [(row.first, _end(environment, transaction, *pair, row)) for pair, row in rows]


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
        first, end = row.first, _end(environment, transaction, topic_id, partition, row)
        low, high = first, end
        prefix = partition_key(topic_id, partition)
        while low < high:
            middle = (low + high) // 2
            if not cursor.set_range(batch_key(topic_id, partition, middle)) or cursor.key()[:8] != prefix:
                raise unsorted_batches(topic_id, partition)
            last = split_batch_key(cursor.key())[2]
            header = read_header(cursor.value(), f"the batch up to offset {last}")
            if not last - header.span < middle <= last:
                raise unsorted_batches(topic_id, partition)
            if header.largest_so_far_ms < timestamp_ms:
                low = last + 1
            else:
                high = min(middle, last - header.span + 1)
        is_found, sight = cursor.set_range(batch_key(topic_id, partition, low)), None
        while is_found and cursor.key()[:8] == prefix:
            last = split_batch_key(cursor.key())[2]
            place = f"the batch up to offset {last}"
            header, is_hidden = read_header(cursor.value(), place), False
            if header.kind == KAFKA:
                sight = sight or _sight(environment, transaction, topic_id, partition)
                is_hidden = sight.hides(last, cursor.value())
                if sight.is_open and header.largest_ms >= timestamp_ms:
                    return max(first, last - header.span + 1)
            if header.largest_ms >= timestamp_ms and not is_hidden:
                columns = decode(bytes(cursor.value()), place)
                for offset, moment in zip(columns.offsets(last), columns.timestamps_ms, strict=True):
                    if moment >= timestamp_ms and offset >= first:
                        return offset
            low = last + 1
            is_found = cursor.next()
    if low < end:
        raise unsorted_batches(topic_id, partition)
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
    data = environment.row(transaction, PARTITIONS, partition_key(topic_id, partition))
    return _WHOLE if data is None else PartitionRow.unpack(data)


def _end(
    environment: Environment,
    transaction: Snapshot | Transaction,
    topic_id: int,
    partition: int,
    row: PartitionRow,
) -> int:
    """
    The end of a partition.

    The cursor is a new one. One that stands on a page is first looked for on that page by LMDB, so on damaged pages an
    end would depend on what was read before: a reader could find one end, and `bounds()` another that it never reaches.
    """
    with transaction.cursor(db=environment.table(BATCHES)) as cursor:
        found = last_batch(environment, transaction, cursor, topic_id, partition)
    if found is None:
        return row.end
    end = found.last + 1
    if end < row.first:
        raise damaged("the bounds of a partition", f"it begins at offset {row.first} and ends at {end}")
    return end


# -- the end of a partition -----------------------------------------------------------------------------------


class LastBatch(NamedTuple):
    """The last offset of a partition's last batch, and the batch's bytes."""

    last: int
    data: bytes | memoryview


def last_batch(
    environment: Environment, transaction: Snapshot | Transaction, cursor: Cursor, topic_id: int, partition: int
) -> LastBatch | None:
    """
    The last batch of a partition, by a cursor of the batches; None if there is none.

    Raises:
        CorruptBatch: if it is not certain which is the last, because rows are not where their keys belong.
    """
    wanted = batch_key(topic_id, partition, _LAST_OFFSET)
    is_behind = cursor.set_range(wanted)
    if is_behind:
        key, data = cursor.item()
        if min(bytes(key), true_key(environment, transaction, key, data)) < wanted:
            raise unsorted_batches(topic_id, partition)
    if not (cursor.prev() if is_behind else cursor.last()):
        return None
    key, data = cursor.item()
    stored, true = bytes(key), true_key(environment, transaction, key, data)
    if max(stored, true) > wanted or (stored != true and wanted[:8] in (stored[:8], true[:8])):
        raise unsorted_batches(topic_id, partition)
    return LastBatch(split_batch_key(stored)[2], data) if stored[:8] == wanted[:8] else None


def true_key(
    environment: Environment, transaction: Snapshot | Transaction, key: bytes | memoryview, data: bytes | memoryview
) -> bytes:
    """
    The key that a batch had when it was stored, by its position and the order of the log.

    It is the one that it has if nothing else is known: the order has no row for it, the batch is damaged, or it is
    of version 1 and does not know its position.
    """
    stored, place = bytes(key), read_place(data)
    if place is None:
        return stored
    last = sum(place) - 1
    row = environment.row(transaction, ORDER, order_key(last)) if 0 <= last < LARGEST else None
    if row is None or row == stored or not is_intact(bytes(data)):
        return stored
    return bytes(row)


def unsorted_batches(topic_id: int, partition: int) -> CorruptBatch:
    """Return the error for batches that do not follow each other."""
    return damaged(
        f"partition {partition} of topic id {topic_id}", "its batches are not sorted", unaffected="Other partitions"
    )
