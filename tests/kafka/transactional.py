"""A transactional producer as a client of Kafka's has one, at the waist under a log."""

from __future__ import annotations

from typing import Any

from eventlog.backend.kafka import KafkaAppend, KafkaFetch, KafkaFetched
from eventlog.backend.kafka_transactions import (
    AbortExpired,
    AddOffsets,
    EndTransaction,
    InitProducer,
    TransactionCommand,
    TransactionReply,
)
from eventlog.batches.kafka_marks import TRANSACTIONAL, kafka_marks
from tests.kafka.record_batches import Sent, backend_of, record_batch

TIMEOUT_MS = 60_000


def carry_out(log: Any, command: TransactionCommand) -> TransactionReply:
    """Carry out a command; its reply, or its error."""
    backend = backend_of(log)
    pending = backend.prepare_transaction(command, lambda: None)
    backend.submit(pending)
    assert backend.wait(pending, 10.0)
    if pending.error is not None:
        raise pending.error
    assert isinstance(pending.reply, TransactionReply)
    return pending.reply


def abort_expired(log: Any) -> tuple[str, ...]:
    """Abort what has no time left; the transactional ids."""
    return carry_out(log, AbortExpired()).aborted


class Transactional:
    """A producer with a transactional id, whose partitions join by what it sends."""

    def __init__(self, log: Any, name: str = "mover", *, timeout_ms: int = TIMEOUT_MS, bumps: bool = False) -> None:
        self._log = log
        self.name = name
        self._bumps = bumps
        self.sequences: dict[tuple[str, int], int] = {}
        self.producer_id, self.epoch = carry_out(log, InitProducer(name, timeout_ms))[:2]

    def send(self, *values: Sent | bytes, topic: str = "orders", partition: int = 0, adds: bool = True) -> int:
        """Append one batch to the transaction; its first offset."""
        backend = backend_of(self._log)
        first = self.sequences.get((topic, partition), 0)
        data = record_batch(*values, producer=(self.producer_id, self.epoch, first), attributes=TRANSACTIONAL)
        pending = backend.prepare_produce(
            [KafkaAppend(backend.require_topic(topic), partition, data)],
            lambda: None,
            transactional_id=self.name,
            adds_partitions=adds,
        )
        if not pending.is_done:
            backend.submit(pending)
            assert backend.wait(pending, 10.0)
        if pending.error is not None:
            raise pending.error
        (reply,) = pending.replies
        if reply.error is not None:
            raise reply.error
        self.sequences[topic, partition] = first + len(values)
        return int(reply.base_offset)

    def send_offset(self, group: str, offset: int, *, topic: str = "orders", partition: int = 0) -> None:
        """Make an offset of a group a part of the transaction."""
        row = backend_of(self._log).require_topic(topic)
        offsets = [(row, partition, offset, -1, "")]
        carry_out(self._log, AddOffsets(self.name, self.producer_id, self.epoch, group, offsets, adds_group=True))

    def end(self, *, is_commit: bool) -> None:
        """End the transaction."""
        reply = carry_out(
            self._log, EndTransaction(self.name, self.producer_id, self.epoch, is_commit, bumps_epoch=self._bumps)
        )
        if (self.producer_id, self.epoch) != reply[:2]:
            self.sequences = {}
        self.producer_id, self.epoch = reply[:2]

    def commit(self) -> None:
        """Commit it."""
        self.end(is_commit=True)

    def abort(self) -> None:
        """Abort it."""
        self.end(is_commit=False)


def fetch_committed(log: Any, offset: int = 0, *, topic: str = "orders", partition: int = 0) -> KafkaFetched:
    """What a client that reads committed records gets."""
    backend = backend_of(log)
    request = KafkaFetch(backend.require_topic(topic).id, partition, offset, 1 << 20, only_committed=True)
    (answer,), _ = backend.fetch_stored([request], 1 << 20)
    assert isinstance(answer, KafkaFetched)
    return answer


def kept_offsets(answer: KafkaFetched) -> list[int]:
    """The last offsets of the batches that such a client keeps, by Kafka's rule for clients."""
    aborted = sorted(answer.aborted, key=lambda one: one[1])
    dropping: set[int] = set()
    kept = []
    for last, data in answer.batches:
        marks = kafka_marks(data)
        while aborted and aborted[0][1] <= last:
            dropping.add(aborted.pop(0)[0])
        if marks.is_control:
            if marks.type == 0:
                dropping.discard(marks.producer_id)
        elif not (marks.is_transactional and marks.producer_id in dropping):
            kept.append(last)
    return kept
