"""
The order of the whole log: which batch was stored after which, over all topics and partitions.

Each record has a position: how many were stored in the log before it. One row for each batch leads from a position to
the batch. Positions are born in the write transaction, as offsets are; they have no gaps and are never used again,
so who has read up to one has missed nothing. What was deleted is passed by.

Knows nothing of codecs, or of who reads.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

import attrs

from eventlog.batches.format import NO_POSITION, read_header
from eventlog.store.env import BATCHES, FORMAT, ORDER, PARTITIONS, Environment, Snapshot, Table, Transaction
from eventlog.store.tables import PartitionRow, split_batch_key

END_POSITION_KEY = b"end position"
"""The row of the least end that the order may have: written when rows are removed, so that none is used again."""
OLD_POSITIONS_KEY = b"old positions"
"""The end of the positions whose batches do not know them: those of version 1, in the order of their keys."""

_POSITION = struct.Struct(">Q")
_LAST = b"\xff" * 8
order_key = _POSITION.pack
"""The last position of a batch -> the key of its row."""


def position_of(key: bytes | memoryview | None) -> int:
    """The position of a row's key, or of a row of the format table; 0 when there is none."""
    return 0 if key is None else int(_POSITION.unpack(key)[0])


@attrs.frozen
class OrderedBatch:
    """
    Is one batch at its place in the order.

    `position` is that of its first offset, `first` the first offset of its partition that may be read.
    """

    position: int
    topic_id: int
    partition: int
    last: int
    first: int
    span: int
    data: bytes


def end_position(environment: Environment, transaction: Snapshot | Transaction) -> int:
    """The position that the next record gets."""
    with transaction.cursor(db=environment.table(ORDER)) as cursor:
        end = position_of(cursor.key()) + 1 if cursor.last() else 0
    return max(end, position_of(transaction.get(END_POSITION_KEY, db=environment.table(FORMAT))))


def stored_end_position(environment: Environment) -> int:
    """The same, of the newest commit."""
    with environment.reading() as transaction:
        return end_position(environment, transaction)


def scan_order(
    environment: Environment, start: int, max_bytes: int, *, topic_ids: Collection[int] | None = None
) -> tuple[list[OrderedBatch], int, int]:
    """
    The batches that hold the position `start` and later ones, in order, of one snapshot.

    Returns also the position behind the last row that was looked at, and the number of the snapshot.

    Args:
        max_bytes: bound of all batches together; one comes back even if it is larger.
        topic_ids: passes by what is of other topics; None takes all.
    """
    found: list[OrderedBatch] = []
    firsts: dict[bytes, int] = {}
    with environment.reading() as transaction:
        number: int = transaction.id()
        batches = environment.table(BATCHES)
        with transaction.cursor(db=environment.table(ORDER)) as cursor:
            is_found = cursor.set_range(order_key(start))
            while is_found and max_bytes > 0:
                start = position_of(cursor.key()) + 1
                key = bytes(cursor.value())
                topic_id, partition, last = split_batch_key(key)
                data = None
                if topic_ids is None or topic_id in topic_ids:
                    data = transaction.get(key, db=batches)
                if data is not None:
                    span = read_header(data, "a batch").span
                    first = firsts.get(key[:8])
                    if first is None:
                        row = transaction.get(key[:8], db=environment.table(PARTITIONS))
                        first = firsts[key[:8]] = PartitionRow.unpack(row).first
                    found.append(OrderedBatch(start - span, topic_id, partition, last, first, span, bytes(data)))
                    max_bytes -= len(data)
                is_found = cursor.next()
    return found, start, number


def position_of_batch(transaction: Transaction, order: Table, old_end: int, key: bytes, data: bytes) -> int | None:
    """
    The last position of a stored batch, None when it has no row.

    A batch of version 1 does not know it: its row is found by a search, because the rows below `old_end` have the
    order of the batches' keys.
    """
    header = read_header(data, "a batch")
    if header.position != NO_POSITION:
        return header.position + header.span - 1
    low, high = 0, old_end
    with transaction.cursor(db=order) as cursor:
        while low < high:
            middle = (low + high) // 2
            if not cursor.set_range(order_key(middle)) or (found := position_of(cursor.key())) >= old_end:
                high = middle
                continue
            value = bytes(cursor.value())
            if value == key:
                return found
            if value < key:
                low = found + 1
            else:
                high = middle
    return None


def put_into_order(environment: Environment, transaction: Transaction) -> None:
    """
    Gives positions to the batches of a log that had none: in the order of their keys, which is all that is known.

    Their bytes are left as they are.
    """
    position = 0
    order = environment.table(ORDER)
    with transaction.cursor(db=environment.table(BATCHES)) as batches, transaction.cursor(db=order) as cursor:
        for key, data in batches:
            position += read_header(data, "a batch").span
            cursor.put(order_key(position - 1), key, append=True)
    if position:
        for row in (END_POSITION_KEY, OLD_POSITIONS_KEY):
            transaction.put(row, order_key(position), db=environment.table(FORMAT))
