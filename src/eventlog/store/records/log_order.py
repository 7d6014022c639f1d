"""
The order of the whole log: which batch was stored after which, over all topics and partitions.

Each record has a log position: the number of records stored before it. One row per batch leads from a position to
the batch. Positions are assigned in the write transaction, as offsets are; they have no gaps and are never reused,
so a reader that has read up to one has missed nothing. Deleted records are skipped.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import TYPE_CHECKING

from eventlog.accelerators import accelerated
from eventlog.backend.reading import Deletion, OrderedBatch, ScannedOrder
from eventlog.batches.header import (
    COMPRESSION_AT,
    COMPRESSION_MASK,
    FRAME_BYTES,
    KAFKA_BIT,
    NO_LOG_POSITION,
    BatchHeader,
    PlacedRun,
    is_intact,
    placed_runs,
    read_header,
    read_place,
    read_runs,
    unpacked_bytes,
)
from eventlog.errors import CorruptBatch, EventLogError
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.store.lmdb.environment import (
    BATCHES,
    FORMAT,
    ORDER,
    PARTITIONS,
    Cursor,
    Environment,
    Snapshot,
    Transaction,
)
from eventlog.store.lmdb.errors import damaged_row
from eventlog.store.lmdb.lifecycle import Table
from eventlog.store.rows.packing import LARGEST, damaged
from eventlog.store.rows.tables import (
    KAFKA_OPEN_KEY,
    TOPICS_VERSION_KEY,
    PartitionRow,
    split_batch_key,
    split_partition_key,
)

if TYPE_CHECKING:
    from eventlog.store.records.visibility import PartitionSight

END_POSITION_KEY = b"end position"
"""The row of the least end that the order may have: written when rows are removed, so that none is used again."""
OLD_POSITIONS_KEY = b"old positions"
"""The end of the positions whose batches do not know them: those of version 1, in the order of their keys."""

DELETIONS_KEY = b"deletions"
"""
The row of the largest position before which a partition lost its records, and of the number of the last deletion.

The same of each partition follows it, under this key, a space, topic id and partition.
"""

_DELETION = struct.Struct(">QQ")
_POSITION = struct.Struct(">Q")
_LAST_POSITION = 2**64 - 1
_RUN_BYTES = 32
"""What a further run of a merged batch counts, whose bytes are there already."""
order_key = _POSITION.pack
"""The last position of a batch -> the key of its row."""


@accelerated("seal_record")
def seal_record(
    topic_id: int,  # noqa: ARG001
    partition: int,  # noqa: ARG001
    offset: int,  # noqa: ARG001
    log_position: int,  # noqa: ARG001
    timestamp_ms: int,  # noqa: ARG001
    largest_so_far_ms: int,  # noqa: ARG001
    key: bytes | None,  # noqa: ARG001
    value: bytes | None,  # noqa: ARG001
) -> tuple[bytes, bytes, bytes, bytes] | None:
    """
    Return the keys and values of the two rows of a record without headers: its batch, and its place in the order.

    None if key or value is neither None nor bytes, if the batch is large, and always without the accelerator: then
    `BatchEncoder.encode_one` and `seal` make the same bytes.
    """
    return None


@accelerated("seal_batch")
def seal_batch(
    topic_id: int,  # noqa: ARG001
    partition: int,  # noqa: ARG001
    last: int,  # noqa: ARG001
    log_position: int,  # noqa: ARG001
    largest_so_far_ms: int,  # noqa: ARG001
    count: int,  # noqa: ARG001
    span: int,  # noqa: ARG001
    first_ms: int,  # noqa: ARG001
    largest_ms: int,  # noqa: ARG001
    body: bytes,  # noqa: ARG001
) -> tuple[bytes, bytes, bytes, bytes] | None:
    """
    Return the keys and values of the two rows of a batch of columns up to an offset: its own, and its place.

    For batches that are not compressed and have no named producer. None if the batch is large, and always without the
    accelerator: then `seal` makes the same bytes.
    """
    return None


def position_of(key: bytes | memoryview | None) -> int:
    """The position of a row's key, or of a row of the format table; 0 when there is none."""
    if key is None:
        return 0
    try:
        position: int = _POSITION.unpack(key)[0]
    except unless_interrupted(struct.error) as error:
        raise damaged("the order of the log", error) from error
    if position >= LARGEST:
        raise damaged("the order of the log", f"no position is {position}")
    return position


def end_log_position(environment: Environment, transaction: Snapshot | Transaction) -> int:
    """The position that the next record gets."""
    with transaction.cursor(db=environment.table(ORDER)) as cursor:
        end = position_of(cursor.key()) + 1 if cursor.last() else 0
    return max(end, position_of(environment.row(transaction, FORMAT, END_POSITION_KEY)))


def checked_end(environment: Environment, transaction: Snapshot | Transaction) -> int:
    """The same; `CorruptBatch` if the last row of the order does not stand where it was stored."""
    end = 0
    with transaction.cursor(db=environment.table(ORDER)) as cursor:
        if cursor.last():
            key, value = cursor.item()
            end = position_of(key) + 1
            if (true := _true_position(environment, transaction, key, value)) != end - 1:
                raise misplaced(end - 1, true)
    return max(end, position_of(environment.row(transaction, FORMAT, END_POSITION_KEY)))


def _true_position(
    environment: Environment, transaction: Snapshot | Transaction, key: bytes | memoryview, value: bytes | memoryview
) -> int:
    """The position under which a row was stored, by its batch; the one that it has if the batch does not know it."""
    batch_key = environment.value(ORDER, key, value)
    data = transaction.get(bytes(batch_key), db=environment.table(BATCHES))
    found, place = position_of(key), None if data is None else read_place(data)
    if place is None or (true := sum(place) - 1) == found or not is_intact(bytes(data or b"")):
        return found
    return true


def misplaced(log_position: int, true: int) -> CorruptBatch:
    """Return the error for a row of the order that does not stand where it was stored."""
    return damaged("the order of the log", f"what was stored at position {true} stands at {log_position}")


def stored_end_log_position(environment: Environment) -> int:
    """The same, of the newest commit; checked."""
    with environment.reading() as transaction:
        return checked_end(environment, transaction)


def visible_end_log_position(environment: Environment) -> int:
    """The position behind all that native readers see: where the first open transaction begins, if there is one."""
    with environment.reading() as transaction:
        end = checked_end(environment, transaction)
        if not has_open(environment, transaction):
            return end
        from eventlog.store.records.visibility import first_open_position

        return min(end, first_open_position(environment, transaction))


def has_open(environment: Environment, transaction: Snapshot | Transaction) -> bool:
    """Whether any transaction of a client of Kafka's is open in some partition of the log."""
    with transaction.cursor(db=environment.tables[FORMAT]) as cursor:
        return cursor.set_range(KAFKA_OPEN_KEY) and cursor.key()[: len(KAFKA_OPEN_KEY)] == KAFKA_OPEN_KEY


class StoredMark(NamedTuple):
    """
    Where the order ends in a snapshot, to ask later what was stored since.

    With the rows that change when batches are removed and when topics come or go, as they are stored, and the
    commit number of the snapshot.
    """

    end: int
    removals: bytes | None
    topics: bytes | None
    transaction: int


def mark_within(environment: Environment, transaction: Snapshot | Transaction) -> StoredMark:
    """A mark of a snapshot."""
    table = environment.table(FORMAT)
    removals, topics = (transaction.get(key, db=table) for key in (END_POSITION_KEY, TOPICS_VERSION_KEY))
    return StoredMark(
        end_log_position(environment, transaction),
        None if removals is None else bytes(removals),
        None if topics is None else bytes(topics),
        transaction.id(),
    )


def arrivals(environment: Environment, since: StoredMark, most: int) -> tuple[list[tuple[int, int]] | None, StoredMark]:
    """
    The partitions to which something was appended since a mark, by topic id and number, and a mark of now.

    None when the order does not tell all that a reader has to know: batches were removed, topics came or went, more
    than `most` batches were stored, or a row is damaged.
    """
    found: dict[tuple[int, int], None] = {}
    with environment.reading() as transaction:
        now = mark_within(environment, transaction)
        if (now.removals, now.topics) != (since.removals, since.topics):
            return None, now
        with transaction.cursor(db=environment.table(ORDER)) as cursor:
            is_found = cursor.set_range(order_key(since.end))
            while is_found:
                if most <= 0:
                    return None, now
                try:
                    topic_id, partition, _ = split_batch_key(environment.value(ORDER, *cursor.item()))
                except unless_interrupted(CorruptBatch):
                    return None, now
                found[topic_id, partition] = None
                most -= 1
                is_found = cursor.next()
    return list(found), now


def pack_deletion(log_position: int, number: int) -> bytes:
    """The bytes of a row of deletions."""
    return _DELETION.pack(log_position, number)


def unpack_deletion(data: bytes | memoryview | None) -> tuple[int, int]:
    """The position behind the deleted records, and the number of the deletion; zeros without a row."""
    if data is None:
        return 0, 0
    try:
        log_position, number = _DELETION.unpack(data)
    except unless_interrupted(struct.error) as error:
        raise damaged("the deletions of the log", error) from error
    if max(log_position, number) >= LARGEST:
        raise damaged("the deletions of the log", f"no position or number is {max(log_position, number)}")
    return log_position, number


def deletion_key(place: bytes) -> bytes:
    """The key of the row of a partition's deletions, or what those of a topic begin with."""
    return DELETIONS_KEY + b" " + place


def deletions_after(environment: Environment, transaction: Snapshot | Transaction, start: int) -> tuple[Deletion, ...]:
    """The deletions of records at a position or later; one look when there are none."""
    table = environment.table(FORMAT)
    if unpack_deletion(environment.row(transaction, FORMAT, DELETIONS_KEY))[0] <= start:
        return ()
    found, prefix = [], deletion_key(b"")
    with transaction.cursor(db=table) as cursor:
        is_found = cursor.set_range(prefix)
        while is_found and (key := bytes(cursor.key())).startswith(prefix):
            log_position, number = unpack_deletion(environment.value(FORMAT, key, cursor.value()))
            if log_position > start:
                found.append(Deletion(*split_partition_key(key[len(prefix) :]), log_position, number))
            is_found = cursor.next()
    return tuple(found)


def scan_order(
    environment: Environment,
    start: int,
    max_bytes: int,
    *,
    topic_ids: Collection[int] | None = None,
    is_raw: bool = False,
) -> ScannedOrder:
    """
    The batches that hold the position `start` and later ones, in order, of one snapshot.

    Returns also the position behind what was looked at, which is the end of the order when nothing follows, also where
    the last records were deleted; and the number of the snapshot.

    Args:
        max_bytes: bound of all batches together; one comes back even if it is larger.
        topic_ids: passes by what is of other topics; None takes all.
        is_raw: brings what no native reader sees, too. Else it ends where an open transaction begins.

    Raises:
        CorruptBatch, FormatTooNew: if the first batch has no header that can be read; else it ends before that one.
    """
    found: list[OrderedBatch] = []
    with environment.reading() as transaction:
        number: int = transaction.id()
        batches = _OrderedBatches(environment, transaction, topic_ids, is_raw=is_raw)
        end, deletions = start, deletions_after(environment, transaction, start)
        try:
            with transaction.cursor(db=environment.table(ORDER)) as cursor:
                is_found = cursor.set_range(order_key(start))
                if is_found and start:
                    is_found = batches.check_beginning(cursor, start)
                while is_found and max_bytes > 0:
                    end, batch = batches.batch(end, cursor.key(), cursor.value())
                    if batch is not None:
                        found.append(batch)
                        size = _RUN_BYTES if batches.is_known else len(batch.data)
                        if size >= FRAME_BYTES and batch.data[COMPRESSION_AT] & COMPRESSION_MASK:
                            size = unpacked_bytes(batch.data)
                        max_bytes -= size
                        start = end
                    elif batches.is_open:
                        break
                    is_found = cursor.next()
            if not is_found:
                end = max(end, checked_end(environment, transaction))
        except unless_interrupted(EventLogError):
            if not found:
                raise
            end = start  # not behind rows of other topics: one of them may be damaged
    return ScannedOrder(found, end, number, deletions)


class _OrderedBatches:
    """The batches of a snapshot, by the rows of the order."""

    def __init__(
        self, environment: Environment, transaction: Snapshot, topic_ids: Collection[int] | None, *, is_raw: bool
    ) -> None:
        self._is_raw = is_raw
        self._sights: dict[bytes, PartitionSight] = {}
        self.is_open = False
        """Whether the last batch is of an open transaction, or lies behind one in its partition."""
        self._environment = environment
        self._transaction = transaction
        self._topic_ids = topic_ids
        self._unseal = environment.unseal
        self._firsts: dict[bytes, int] = {}
        self._merged: dict[bytes, tuple[bytes, dict[int, PlacedRun]]] = {}
        """The merged batches so far, with their runs by the positions behind them."""
        self.is_known = False
        """Whether the last batch was copied before, for another run of it."""

    def check_beginning(self, cursor: Cursor, start: int) -> bool:
        """
        Raise `CorruptBatch` if a search for a position passed by rows behind it; the cursor stays where it is.

        A row whose key was changed leads a search astray only from beside the place where it ends.
        """
        if cursor.prev():
            key, value = cursor.item()
            true = _true_position(self._environment, self._transaction, key, value)
            if max(true, position_of(key)) >= start:
                raise misplaced(position_of(key), true)
            return bool(cursor.next())
        return bool(cursor.first())

    def batch(self, start: int, position: memoryview, data_view: memoryview) -> tuple[int, OrderedBatch | None]:
        """
        Return the position behind a row of the order, and its batch; None if that is of another topic.

        Raises:
            CorruptBatch, FormatTooNew: if the row is not behind `start`, it or the batch's header cannot be read, or
                the batch is not there, or not of this position.
        """
        end = position_of(position) + 1
        if end <= start:
            raise damaged("the order of the log", f"position {end - 1} comes after {start - 1}")
        key = bytes(data_view) if self._unseal is None else self._unseal(position, data_view)
        if key is None:
            raise damaged_row(ORDER, position)
        topic_id, partition, last = split_batch_key(key)
        if self._topic_ids is not None and topic_id not in self._topic_ids:
            return end, None
        data = self._transaction.get(key, db=self._environment.table(BATCHES))
        if data is None:
            raise damaged("the order of the log", f"{_Place(key)} is not there, which ends before position {end}")
        header = read_header(data, _Place(key))
        span = header.span
        if header.runs_at is not None:
            self.is_known = key in self._merged
            return end, self._run(end, key, header, data)
        self.is_known = False
        if span > min(end, last + 1):
            raise damaged("the order of the log", f"the batch before position {end} has {span} records")
        if header.log_position not in (NO_LOG_POSITION, end - span) and is_intact(bytes(data)):
            raise misplaced(end - 1, header.log_position + span - 1)
        if header.flags & KAFKA_BIT and not self._is_raw and self._is_hidden(key, last, data):
            return (start if self.is_open else end), None
        first = self._firsts.get(key[:8])
        if first is None:
            first = self._first(key)
        return end, OrderedBatch(end - span, topic_id, partition, last, first, span, bytes(data), last + 1)

    def _is_hidden(self, key: bytes, last: int, data: bytes | memoryview) -> bool:
        """Whether no native reader sees a Kafka record batch."""
        sight = self._sights.get(key[:8])
        if sight is None:
            from eventlog.store.records.visibility import PartitionSight

            sight = PartitionSight(self._environment, self._transaction, *split_partition_key(key[:8]))
            self._sights[key[:8]] = sight
        is_hidden = sight.hides(last, data)
        self.is_open = sight.is_open
        return is_hidden

    def _run(self, end: int, key: bytes, header: BatchHeader, data: bytes | memoryview) -> OrderedBatch:
        """The part of a batch of several runs that ends before a position."""
        topic_id, partition, last = split_batch_key(key)
        base = last - header.span + 1
        if key not in self._merged:
            copy = bytes(data)
            runs = placed_runs(read_runs(header, copy, _Place(key)), base, last + 1)
            self._merged[key] = copy, {one.end_position: one for one in runs}
        copy, by_end = self._merged[key]
        run = by_end.get(end)
        if run is None:
            raise misplaced(end - 1, max(by_end) - 1)
        first = max(self._first(key), run.first)
        log_position = run.log_position - (run.first - base)
        return OrderedBatch(log_position, topic_id, partition, last, first, header.span, copy, run.end)

    def _first(self, key: bytes) -> int:
        """The first offset that may be read of the partition of a batch."""
        row = self._environment.row(self._transaction, PARTITIONS, key[:8])
        first = self._firsts[key[:8]] = PartitionRow.unpack(row).first
        return first


def runs_of_batch(
    environment: Environment,
    transaction: Snapshot | Transaction,
    old_end: int,
    key: bytes,
    data: bytes | memoryview,
) -> list[PlacedRun]:
    """
    The runs of positions of a stored batch that have rows in the order, mostly one.

    A batch of version 1 does not know its position: its row is found by a search, because the rows below `old_end` have
    the order of the batches' keys. What a damaged batch says is not believed: then we look at all rows.
    """
    last, runs = int.from_bytes(key[8:16], "big"), []  # the key may be that of no batch
    try:
        header = read_header(data, _Place(key))
        span = header.span
        if header.log_position == NO_LOG_POSITION:
            found = position_of_old(environment, transaction, old_end, key)
            runs = [] if found is None else [PlacedRun(last - span + 1, last + 1, found - span + 1)]
        else:
            runs = placed_runs(read_runs(header, data, _Place(key)), last - span + 1, last + 1)
    except unless_interrupted(EventLogError):
        span = 1
    table = environment.table(ORDER)
    if runs and all(_leads_to(_step(transaction, table, run.end_position - 1), key) for run in runs):
        return runs
    return [PlacedRun(last - span + 1, last + 1, step - span + 1) for step in _walked(environment, transaction, key)]


def _step(transaction: Snapshot | Transaction, table: Table, position: int) -> bytes | memoryview | None:
    """The bytes of a row of the order."""
    return transaction.get(order_key(position), db=table) if 0 <= position <= _LAST_POSITION else None


def _leads_to(data: bytes | memoryview | None, key: bytes) -> bool:
    """Whether the bytes of a row of the order, which may be damaged, begin with the key of a batch."""
    return data is not None and data[: len(key)] == key


def _walked(environment: Environment, transaction: Snapshot | Transaction, key: bytes) -> list[int]:
    """The positions of all rows of the order that lead to a batch."""
    with transaction.cursor(db=environment.table(ORDER)) as cursor:
        return [position_of(step) for step, data in cursor.iternext() if _leads_to(data, key)]


def position_of_old(
    environment: Environment, transaction: Snapshot | Transaction, old_end: int, key: bytes
) -> int | None:
    """The last position of a batch of version 1, by a search; None when it has no row."""
    low, high = 0, old_end
    with transaction.cursor(db=environment.table(ORDER)) as cursor:
        while low < high:
            middle = (low + high) // 2
            if not cursor.set_range(order_key(middle)) or (found := position_of(cursor.key())) >= old_end:
                high = middle
                continue
            if found < middle:
                return None  # the rows are not sorted, which `verify` tells
            value = bytes(cursor.value())[: len(key)]
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

    Their bytes are left as they are. A damaged one has positions, too: as many as there is room for before it.
    """
    log_position, before = 0, b""
    order = environment.table(ORDER)
    with transaction.cursor(db=environment.table(BATCHES)) as batches, transaction.cursor(db=order) as cursor:
        for key, data in batches:
            log_position += _span(key, data, before)
            before = key
            cursor.put(order_key(log_position - 1), key, append=True)
    if log_position:
        for row in (END_POSITION_KEY, OLD_POSITIONS_KEY):
            transaction.put(row, order_key(log_position), db=environment.table(FORMAT))


def _span(key: bytes, data: bytes, before: bytes) -> int:
    try:
        return read_header(data, _Place(key)).span
    except unless_interrupted(EventLogError):
        last = split_batch_key(key)[2]
        return int(last - split_batch_key(before)[2]) if before[:8] == key[:8] else 1


class _Place:
    """The name of a batch in errors; its text is made only when there is one."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __str__(self) -> str:
        topic_id, partition, last = split_batch_key(self._key)
        return f"the batch of topic id {topic_id}, partition {partition}, up to offset {last}"
