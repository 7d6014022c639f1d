"""
A producer with a name: what it numbers, what it cannot say of whether it is stored, and how that is sent again.

A failed commit leaves it open whether its records are on the disk. After one a named producer stores nothing more: so
what is stored of a partition is always the beginning of what was sent to it, and a number tells where it ends. The
next producer of the name goes on from there. Knows nothing of how numbers are judged
(`store/records/producer_epochs.py`).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs

from eventlog.backend.topics import StoredTopic
from eventlog.batches.format import EncodedBatch
from eventlog.clients.delivery import ROW_WIDTH, Delivery
from eventlog.clients.producer.accumulator import Accumulator
from eventlog.clients.producer.batch import PartitionBuffer, ProducerBatch
from eventlog.clients.producer.unconfirmed import UnconfirmedBatch, UnconfirmedRecords
from eventlog.errors import EventLogError, OutOfOrderSequence, ProducerFenced, StorageError
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

    __slots__ = ("_is_refused_for_good", "_rows", "_session", "again")

    def __init__(
        self, session: ProducerEpoch, lane: PartitionBuffer, limit: int, timestamp_ms: int, opened_s: float
    ) -> None:
        super().__init__(lane, limit, timestamp_ms, opened_s)
        self._session = session
        self._rows: Rows | None = None
        self._is_refused_for_good = False
        self.again: SequenceRange | None = None
        """What it was called when it was sent first, if it was sent before."""

    @property
    def advice(self) -> str:
        """What to do when it was not stored, for messages."""
        if isinstance(self.error, OutOfOrderSequence):
            return "Look whether they are there before you send them again."
        if self._is_refused_for_good:
            return super().advice
        return "Some may be stored: give unconfirmed() to resend() of a new producer of that name."

    @property
    def sequence(self) -> SequenceRange:
        """What it is called."""
        part = self.parts[0]
        assert isinstance(part, SequencedPart)
        return part.sequence

    def part_of(self, encoded: list[EncodedBatch], rows: Rows) -> Part:
        """What is to be stored of it, with its numbers."""
        lane = self.lane
        self._rows = rows
        sequence = self.again or self._session.take(lane.topic, lane.partition, self.count)
        return SequencedPart(lane.topic, lane.partition, encoded, rows, sequence)

    def apply(self, writing: WriteTransaction) -> None:
        """Stores it, unless it is stored already or may not be."""
        self._is_refused_for_good = False
        self._session.check()
        part = self.parts[0]
        assert isinstance(part, SequencedPart)
        try:
            check_epoch(writing, self._session.row)
            row = judge(writing, part, self.now_ms)
            if row is not None:
                super().apply(writing)
                remember(writing, part, row)
        except EventLogError:
            self._is_refused_for_good = True
            raise

    def report(self) -> Any:
        """Tells the others of its fate; what may or may not be stored keeps its records."""
        if self.error is None:
            self._session.acknowledge(self.lane, self.sequence)
        elif not self._is_refused_for_good:
            self._session.fail(self, self.error)
        elif isinstance(self.error, ProducerFenced):
            self.lane.accumulator.refuse(partial(fenced, self._session.row))
        if self.error is None or self._is_refused_for_good:
            self._rows = None
        return super().report()

    def unconfirmed(self) -> UnconfirmedBatch:
        """Its records, after it failed."""
        topic, rows, sequence = self.lane.topic, self._rows, self.sequence
        assert rows is not None
        acknowledged = self._session.acknowledged(self.lane, sequence)
        times = rows.timestamps_ms
        return UnconfirmedBatch(
            topic.name,
            topic.id,
            topic.uuid,
            self.lane.partition,
            attrs.evolve(sequence, acknowledged=acknowledged),
            tuple(rows.keys),
            tuple(rows.values),
            times if isinstance(times, int) else tuple(times),
            None if rows.headers is None else tuple(rows.headers),
            dict(self.message_ids),
        )


class ProducerEpoch:
    """
    One epoch of a name: what a producer has numbered, what it knows to be stored, and what it does not.

    Numbers are given under the accumulator's lock; the rest belongs to whoever leads a round.
    """

    def __init__(self, store: Store, name: str) -> None:
        begin = BeginEpoch(name, store.clock.now_ms())
        store.run(begin)
        self._store = store
        self.row: ProducerRow = begin.row
        self._next: dict[tuple[int, int], int] = {}
        self._ends: dict[tuple[int, int, int], int] = {}
        self._failed: list[NamedBatch] = []
        self._failure: BaseException | None = None

    def batch(self, lane: PartitionBuffer, limit: int, timestamp_ms: int, opened_s: float) -> NamedBatch:
        """A batch to fill."""
        return NamedBatch(self, lane, limit, timestamp_ms, opened_s)

    def take(self, topic: StoredTopic, partition: int, count: int) -> SequenceRange:
        """The next numbers of a partition."""
        first = self._next.get((topic.id, partition), 0)
        self._next[topic.id, partition] = first + count
        return SequenceRange(self.row.id, self.row.epoch, first, count)

    def check(self) -> None:
        """Raises when an earlier commit failed: to store more would be to store it before what failed."""
        if self._failure is not None:
            raise self._refusal()

    def acknowledge(self, lane: PartitionBuffer, sequence: SequenceRange) -> None:
        """Notes that a batch is stored."""
        self._ends[lane.topic.id, lane.partition, sequence.epoch] = sequence.end

    def acknowledged(self, lane: PartitionBuffer, sequence: SequenceRange) -> int:
        """Up to which number the records of a batch's epoch are known to be stored."""
        return max(sequence.acknowledged, self._ends.get((lane.topic.id, lane.partition, sequence.epoch), 0))

    def fail(self, batch: NamedBatch, error: BaseException) -> None:
        """Notes that nobody knows whether a batch is stored."""
        self._failed.append(batch)
        if self._failure is None:
            self._failure = error
            batch.lane.accumulator.refuse(self._refusal)

    def unconfirmed(self) -> UnconfirmedRecords:
        """The records of the failed batches, which count as looked at."""
        for batch in self._failed:
            batch.looked_at.update(range(batch.count))
        batches = tuple(batch.unconfirmed() for batch in self._failed)
        return UnconfirmedRecords(self.row.name, self._store.uuid, self.row.id, batches)

    def resend(self, accumulator: Accumulator, records: UnconfirmedRecords) -> list[Delivery]:
        """Queues the records that may not be stored yet."""
        self._check(records)
        accumulator.check_usable()
        names = dict.fromkeys(batch.topic for batch in records._batches)
        topics = {name: self._store.topic(name) for name in names}
        deliveries: list[Delivery] = []
        for one in records._batches:
            rows = Rows(one.keys, one.values, one.timestamps_ms, one.headers)
            row = one.topic_row(topics[one.topic])
            batch = accumulator.queue(row, one.partition, rows, partial(_prepare, one))
            deliveries += [Delivery((batch, ROW_WIDTH * index)) for index in range(batch.count)]
        return deliveries

    def forget(self) -> None:
        """Leaves the records to the parent, in a forked child."""
        self._failed = []

    def _check(self, records: UnconfirmedRecords) -> None:
        row = self.row
        if not isinstance(records, UnconfirmedRecords):
            raise TypeError(
                f"what is sent again is what unconfirmed() gave, not {type(records).__name__}. Nothing was stored."
            )
        if (records.name, records._producer_id, records._log_uuid) != (row.name, row.id, self._store.uuid):
            raise ValueError(
                f"cannot send the records of producer {records.name!r} again by {row.name!r}: they are of another name "
                f"or of another log. Nothing was stored. Use log.producer(name={records.name!r}) of their log."
            )
        newest = max((batch.sequence.epoch for batch in records._batches), default=-1)
        if newest >= row.epoch:
            raise OutOfOrderSequence(
                f"cannot send records of epoch {newest} again by producer {row.name!r} of epoch {row.epoch}, which is "
                "no later one. Nothing was stored. Make a new producer of that name; if this is one, the log is older "
                "than the records: was it restored from a backup?"
            )

    def _refusal(self) -> StorageError:
        return StorageError(
            f"the producer {self.row.name!r} takes no records, since earlier ones could not be stored: "
            f"{self._failure} The record was not taken. Open the log again if it refuses writes, make a new producer "
            "of that name, and give it unconfirmed() of this one to resend()."
        )


def _prepare(one: UnconfirmedBatch, batch: ProducerBatch) -> None:
    """Tells a batch what it was called, and what its rows do not say."""
    assert isinstance(batch, NamedBatch)
    batch.again = one.sequence
    batch.message_ids = dict(one.message_ids)
