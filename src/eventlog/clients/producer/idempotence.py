"""
A producer with a name: its records are numbered, and only the newest producer of the name may store.

The store judges the numbers (`store/records/producer_epochs.py`): a batch of an older epoch is fenced, and one whose
predecessor is missing is out of order. Either ends the producer.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from eventlog.batches.format import EncodedBatch
from eventlog.clients.producer.batch import PartitionBuffer, ProducerBatch
from eventlog.errors import OutOfOrderSequence, ProducerFenced
from eventlog.store.records.append import Part, Rows
from eventlog.store.records.producer_epochs import (
    BeginEpoch,
    ProducerRow,
    SequencedPart,
    SequenceRange,
    check_epoch,
    fenced,
    judge,
    remember,
)
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.store import Store


class NamedBatch(ProducerBatch):
    """A batch of a named producer: its records have numbers, from its sealing on."""

    __slots__ = ("_first", "_producer")

    def __init__(
        self, producer: ProducerRow, lane: PartitionBuffer, limit: int, timestamp_ms: int, opened_s: float
    ) -> None:
        super().__init__(lane, limit, timestamp_ms, opened_s)
        self._producer = producer
        self._first = -1

    def part_of(self, encoded: list[EncodedBatch], rows: Rows) -> Part:
        """What is to be stored of it, with its numbers."""
        lane, producer = self.lane, self._producer
        if self._first < 0:  # else an interruption came when it was sealed before; it may have grown since
            self._first = lane.next_sequence
        lane.next_sequence = self._first + self.count
        sequence = SequenceRange(producer.id, producer.epoch, self._first, self.count)
        return SequencedPart(lane.topic, lane.partition, encoded, rows, sequence)

    def apply(self, writing: WriteTransaction) -> None:
        """Stores it, unless it is stored already or may not be."""
        part = self.parts[0]
        assert isinstance(part, SequencedPart)
        check_epoch(writing, self._producer)
        row = judge(writing, part, self.now_ms)
        if row is not None:
            super().apply(writing)
            remember(writing, part, row)

    def report(self) -> Any:
        """Ends the producer when no later batch of its can be stored either."""
        if isinstance(self.error, ProducerFenced):
            self.lane.accumulator.refuse(partial(fenced, self._producer))
        elif isinstance(self.error, OutOfOrderSequence):
            self.lane.accumulator.refuse(partial(_ended, self._producer.name, str(self.error)))
        return super().report()


class ProducerEpoch:
    """One epoch of a name: makes the batches that carry it."""

    def __init__(self, store: Store, name: str) -> None:
        begin = BeginEpoch(name, store.clock.now_ms())
        store.run(begin)
        self.row: ProducerRow = begin.row

    def batch(self, lane: PartitionBuffer, limit: int, timestamp_ms: int, opened_s: float) -> NamedBatch:
        """A batch to fill."""
        return NamedBatch(self.row, lane, limit, timestamp_ms, opened_s)


def _ended(name: str, cause: str) -> OutOfOrderSequence:
    return OutOfOrderSequence(
        f"the producer {name!r} takes no records, since earlier ones could not be stored: {cause} The record was not "
        "taken. Close this producer and make another of that name."
    )
