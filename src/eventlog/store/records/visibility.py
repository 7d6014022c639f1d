"""
What native readers see of the transactions of Kafka's clients: what was committed, and nothing else.

Records of a transaction lie in their partitions from the moment in which they are sent. Readers end where the first
open transaction of a partition begins, and pass by aborted batches and by the control batches that end a transaction.
Only a Kafka record batch that says it is transactional leads here: partitions without one never pay for this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from eventlog.backend.reading import PASSED_BY
from eventlog.batches.header import COMPRESSION_AT, KAFKA_BIT, is_intact, read_header
from eventlog.batches.kafka_marks import KafkaMarks, kafka_marks
from eventlog.store.lmdb.environment import FORMAT, Environment, Snapshot, Transaction
from eventlog.store.records.log_order import has_open
from eventlog.store.rows.kafka_transactions import (
    AbortedRow,
    OpenRow,
    aborted_key,
    split_open_key,
)
from eventlog.store.rows.packing import LARGEST
from eventlog.store.rows.tables import KAFKA_ABORTED_KEY, KAFKA_OPEN_KEY, partition_key

NOTHING_OPEN = LARGEST
"""Where the first open transaction begins when there is none: behind all offsets and positions."""


def first_open(environment: Environment, transaction: Snapshot | Transaction, topic_id: int, partition: int) -> int:
    """The offset at which the first open transaction of a partition begins; `NOTHING_OPEN` if there is none."""
    rows = _opened(environment, transaction, KAFKA_OPEN_KEY + partition_key(topic_id, partition))
    return min(rows, default=_NO_ROW).first


def first_opens(
    environment: Environment, transaction: Snapshot | Transaction, partitions: Iterable[tuple[int, int]]
) -> dict[tuple[int, int], int]:
    """The same of some partitions, without those that have none: one look when there is none at all."""
    if not has_open(environment, transaction):
        return {}
    found = ((place, first_open(environment, transaction, *place)) for place in partitions)
    return {place: first for place, first in found if first < NOTHING_OPEN}


def first_opens_of_topic(
    environment: Environment, transaction: Snapshot | Transaction, topic_id: int
) -> dict[int, int]:
    """Where the first open transactions of a topic begin, by partition."""
    found: dict[int, int] = {}
    prefix = KAFKA_OPEN_KEY + topic_id.to_bytes(4, "big")
    with transaction.cursor(db=environment.table(FORMAT)) as cursor:
        is_found = cursor.set_range(prefix)
        while is_found and (key := bytes(cursor.key())).startswith(prefix):
            partition = split_open_key(key)[1]
            first = OpenRow.unpack(environment.value(FORMAT, key, cursor.value())).first
            found[partition] = min(found.get(partition, first), first)
            is_found = cursor.next()
    return found


def first_open_position(environment: Environment, transaction: Snapshot | Transaction) -> int:
    """The log position at which the first open transaction of the log begins; `NOTHING_OPEN` if there is none."""
    return min((row.log_position for row in _opened(environment, transaction, KAFKA_OPEN_KEY)), default=NOTHING_OPEN)


_NO_ROW = OpenRow(NOTHING_OPEN, NOTHING_OPEN)


def _opened(environment: Environment, transaction: Snapshot | Transaction, prefix: bytes) -> list[OpenRow]:
    rows = []
    with transaction.cursor(db=environment.table(FORMAT)) as cursor:
        is_found = cursor.set_range(prefix)
        while is_found and (key := bytes(cursor.key())).startswith(prefix):
            rows.append(OpenRow.unpack(environment.value(FORMAT, key, cursor.value())))
            is_found = cursor.next()
    return rows


def aborted_between(
    environment: Environment, transaction: Snapshot | Transaction, topic_id: int, partition: int, first: int, end: int
) -> list[AbortedRow]:
    """The aborted transactions of a partition that have records between two offsets, by their last ones."""
    rows = _AbortedRows(environment, transaction, topic_id, partition)
    found, row = [], rows.next(first)
    while row is not None:
        if row.first < end:
            found.append(row)
        row = rows.next(first) if row.stable < end else None
    return found


class _AbortedRows:
    """The rows of the aborted transactions of a partition, one after the other."""

    def __init__(
        self, environment: Environment, transaction: Snapshot | Transaction, topic_id: int, partition: int
    ) -> None:
        self._environment = environment
        self._transaction = transaction
        self._place = partition_key(topic_id, partition)
        self._next = -1

    def next(self, first: int) -> AbortedRow | None:
        """The next row of a transaction that ends at `first` or later; None if there is none."""
        prefix = KAFKA_ABORTED_KEY + self._place
        with self._transaction.cursor(db=self._environment.table(FORMAT)) as cursor:
            if not cursor.set_range(aborted_key(self._place, max(self._next, first))):
                return None
            key = bytes(cursor.key())
            if not key.startswith(prefix):
                return None
            row = AbortedRow.unpack(key, self._environment.value(FORMAT, key, cursor.value()))
        self._next = row.last + 1
        return row


class PartitionSight:
    """
    What may be seen of one partition in one snapshot; ask for its batches in the order of their offsets.

    Afterwards `is_open` says that reading ends before the last batch that was asked for.
    """

    def __init__(
        self, environment: Environment, transaction: Snapshot | Transaction, topic_id: int, partition: int
    ) -> None:
        self._rows = _AbortedRows(environment, transaction, topic_id, partition)
        self._end = first_open(environment, transaction, topic_id, partition)
        self._aborted: dict[int, deque[AbortedRow]] = {}
        self._known_end = -1
        """All aborted transactions with an offset below this are known, but for those that ended long before."""
        self.is_open = False

    def is_hidden(self, first: int, marks: KafkaMarks) -> bool:
        """Whether a Kafka record batch that begins at an offset is no part of what was committed."""
        if not marks.is_transactional:
            return marks.is_control
        self.is_open = first >= self._end
        return self.is_open or marks.is_control or self._is_aborted(first, marks.producer_id)

    def hides(self, last: int, data: bytes | memoryview) -> bool:
        """Whether no native reader sees a stored batch that ends with an offset."""
        if not data[COMPRESSION_AT] & KAFKA_BIT:
            return False
        return self._hides(last - read_header(data, "a batch").span + 1, data)

    def seen(self, first: int, data: bytes) -> bytes | None:
        """A stored batch, what stands for it where it is passed by, or None where the partition ends for readers."""
        if not data[COMPRESSION_AT] & KAFKA_BIT:
            return data
        if not self._hides(first, data):
            return data
        return None if self.is_open else PASSED_BY

    def _hides(self, first: int, data: bytes | memoryview) -> bool:
        """Whether a batch is hidden that is what was written: one that is damaged has to be an error, and be seen."""
        is_hidden = self.is_hidden(first, kafka_marks(data))
        if is_hidden and not is_intact(bytes(data)):
            self.is_open = is_hidden = False
        return is_hidden

    def _is_aborted(self, offset: int, producer_id: int) -> bool:
        while self._known_end <= offset:
            row = self._rows.next(offset)
            if row is None:
                self._known_end = LARGEST
            else:
                self._known_end = max(self._known_end, row.stable)
                self._aborted.setdefault(row.producer_id, deque()).append(row)
        rows = self._aborted.get(producer_id) or deque()
        while rows and rows[0].last < offset:
            rows.popleft()
        return bool(rows) and rows[0].first <= offset
