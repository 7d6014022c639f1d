"""
The rows of transactions of a log that was restored or repaired, made again from the batches.

The batches say all of it: whose they are, and by the control batches how their transactions ended. A transaction
without an end is open, with a deadline that is over: whoever opens the log next aborts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import attrs

from eventlog.backend.topics import StoredTopic
from eventlog.batches.header import read_header
from eventlog.batches.kafka_marks import ABORT, KafkaMarks, kafka_marks
from eventlog.errors import EventLogError
from eventlog.interruptions import suppress
from eventlog.store.kafka.sequences import KafkaProducerRow, producer_key
from eventlog.store.lmdb.environment import BATCHES, FORMAT, SEQUENCES
from eventlog.store.rows.kafka_transactions import (
    EMPTY,
    KAFKA_ROWS,
    MOST_EPOCH,
    NO_EPOCH,
    ONGOING,
    TRANSACTION_KEY,
    AbortedRow,
    OpenRow,
    TransactionRow,
    aborted_key,
    ongoing_key,
    open_key,
    pack_deadline,
    transaction_key,
)
from eventlog.store.rows.tables import partition_key, split_batch_key


class Rows(Protocol):
    """The tables of a log that nobody else has open."""

    def items(self, table: bytes) -> Iterable[tuple[bytes, bytes]]:
        """The rows of a table by their keys."""
        ...

    def get(self, table: bytes, key: bytes) -> bytes | None:
        """The value of a row."""
        ...

    def put(self, table: bytes, key: bytes, data: bytes) -> None:
        """Write a row."""
        ...

    def delete(self, table: bytes, key: bytes) -> None:
        """Remove a row."""
        ...


_Member = tuple[int, int, int]
"""Topic id, partition and producer id."""


class Traces:
    """What the batches say of transactions; they come in the order of their keys."""

    def __init__(self) -> None:
        self.open: dict[_Member, OpenRow] = {}
        self.epochs: dict[int, int] = {}
        self.aborted: dict[bytes, AbortedRow] = {}

    def add(self, key: bytes, data: bytes) -> None:
        """Take note of a batch."""
        marks = kafka_marks(data)
        if not marks.is_transactional:
            return
        topic_id, partition, last = split_batch_key(key)
        member = (topic_id, partition, marks.producer_id)
        self.epochs[marks.producer_id] = max(self.epochs.get(marks.producer_id, 0), marks.producer_epoch)
        if marks.is_control:
            self._end(member, last, marks)
            return
        header = read_header(data, "a batch")
        self.open.setdefault(member, OpenRow(last - header.span + 1, header.log_position))

    def _end(self, member: _Member, last: int, marks: KafkaMarks) -> None:
        begun = self.open.pop(member, None)
        if begun is not None and marks.type == ABORT:
            stable = min((row.first for other, row in self.open.items() if other[:2] == member[:2]), default=last + 1)
            row = AbortedRow(last, marks.producer_id, begun.first, stable)
            self.aborted[aborted_key(partition_key(*member[:2]), last)] = row


def rebuild(target: Rows, topics: Mapping[int, StoredTopic]) -> int:
    """Write the rows again; return how many transactions are open."""
    traces, known = Traces(), dict[int, TransactionRow]()
    for key, data in target.items(BATCHES):
        with suppress(EventLogError):
            traces.add(key, data)
    for key, data in list(target.items(FORMAT)):
        if key.startswith(KAFKA_ROWS):
            if key.startswith(TRANSACTION_KEY):
                with suppress(EventLogError):
                    row = TransactionRow.unpack(key, data)
                    known[row.producer_id] = row
            target.delete(FORMAT, key)
    members: dict[int, list[_Member]] = {}
    for member, begun in traces.open.items():
        if member[0] in topics:
            members.setdefault(member[2], []).append(member)
            target.put(FORMAT, open_key(partition_key(*member[:2]), member[2]), begun.pack())
    for key, aborted in traces.aborted.items():
        target.put(FORMAT, key, aborted.pack())
    for producer_id in {*known, *members}:
        row = known.get(producer_id) or TransactionRow(f"repaired-{producer_id}", producer_id, 0, 1, 0)
        _write(target, row, members.get(producer_id, []), traces, topics)
    return len(members)


def _write(
    target: Rows, row: TransactionRow, members: list[_Member], traces: Traces, topics: Mapping[int, StoredTopic]
) -> None:
    """Write the row of a transactional id with the partitions in which its transaction is open."""
    epoch = min(max(row.epoch, traces.epochs.get(row.producer_id, NO_EPOCH)), MOST_EPOCH)
    partitions = tuple((topics[topic_id].name, topic_id, partition) for topic_id, partition, _ in members)
    row = attrs.evolve(row, epoch=epoch, groups={}, partitions=partitions)
    if members:
        row = attrs.evolve(row, state=ONGOING, started_ms=0, timeout_ms=max(row.timeout_ms, 1))
        target.put(FORMAT, ongoing_key(row.id), pack_deadline(0))
    elif row.state == ONGOING:
        row = attrs.evolve(row, state=EMPTY, started_ms=-1)
    target.put(FORMAT, transaction_key(row.id), row.pack())
    for topic_id, partition, producer_id in members:
        key = producer_key(producer_id, topic_id, partition)
        data = target.get(SEQUENCES, key)
        known = KafkaProducerRow(epoch, 0) if data is None else KafkaProducerRow.unpack(data)
        first = traces.open[topic_id, partition, producer_id].first
        target.put(SEQUENCES, key, known._replace(transaction_first=first).pack())
