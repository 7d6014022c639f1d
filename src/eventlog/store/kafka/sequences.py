"""
The sequence numbers of Kafka's idempotent producers, by which a batch that comes again is stored once.

The rules are those of KIP-98 as Kafka's broker has them: a partition remembers the epoch of each producer and its last
five batches. The row stands in the table of the sequences of named producers, under an id from 2^63 on, and is written
in the transaction that stores the batch. Why it is so: docs/decisions/0056-kafka-batches.md.

Knows nothing of LMDB; layout: docs/reference/format.md.
"""

from __future__ import annotations

import struct

from eventlog.backend.kafka import KafkaRefusal
from eventlog.errors import FormatTooNew
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.store.rows.packing import LARGEST, damaged, whole

NO_PRODUCER_ID = -1
KAFKA_PRODUCERS = 1 << 63
"""What is added to the id of a producer in the key of its row: those below are named producers of ours."""
KAFKA_PREFIX = 0x80
"""The bit of the first byte of such a key."""
REMEMBERED_BATCHES = 5
"""How many batches of a producer a partition remembers; a client has as many requests in flight at most."""
EXPIRATION_MS = 86_400_000
"""How long a producer is remembered that stores nothing: Kafka's `producer.id.expiration.ms`."""
MOST_SEQUENCE = 2**31 - 1
NO_TRANSACTION = -1

_ROW_VERSION = 1
_HEAD = struct.Struct(">BhqqB")
_BATCH = struct.Struct(">iiQ")
_KEY = struct.Struct(">QII")


def producer_key(producer_id: int, topic_id: int, partition: int) -> bytes:
    """Return the key of the row of a producer and a partition."""
    return _KEY.pack(KAFKA_PRODUCERS + producer_id, topic_id, partition)


class SequencedBatch(NamedTuple):
    """The sequence numbers of a stored batch, first and last, and the offset of its first record."""

    first: int
    last: int
    offset: int


class KafkaProducerRow(NamedTuple):
    """
    What a partition knows of a producer.

    `transaction_first` is the offset at which its open transaction begins in the partition, -1 without one. `batches`
    are the last ones of this epoch, oldest first; there may be none.
    """

    epoch: int
    last_ms: int
    transaction_first: int = NO_TRANSACTION
    batches: tuple[SequencedBatch, ...] = ()

    def pack(self) -> bytes:
        """Return the row's bytes."""
        head = _HEAD.pack(_ROW_VERSION, self.epoch, self.last_ms, self.transaction_first, len(self.batches))
        return head + b"".join([_BATCH.pack(*batch) for batch in self.batches])

    @classmethod
    def unpack(cls, data: bytes) -> KafkaProducerRow:
        """Return the row of these bytes."""
        what = "the sequences of a producer of Kafka's"
        if data and data[0] > _ROW_VERSION:
            raise FormatTooNew(
                f"cannot read {what}: its row has version {data[0]}, but this eventlog knows up to {_ROW_VERSION}.",
                stored="Nothing is damaged.",
                advice="Upgrade eventlog to read it.",
            )
        try:
            version, epoch, last_ms, transaction_first, count = _HEAD.unpack_from(data)
            batches = tuple(SequencedBatch(*numbers) for numbers in _BATCH.iter_unpack(data[_HEAD.size :]))
            whole(version, 1)
            whole(epoch)
            whole(transaction_first, NO_TRANSACTION, LARGEST - 1)
            whole(count, len(batches), min(len(batches), REMEMBERED_BATCHES))
            for batch in batches:
                whole(min(batch), 0)
                whole(batch.offset, 0, LARGEST - 1)
        except unless_interrupted(ValueError, struct.error) as error:
            raise damaged(what, error) from error
        return cls(epoch, last_ms, transaction_first, batches)

    def with_batch(self, epoch: int, batch: SequencedBatch, now_ms: int) -> KafkaProducerRow:
        """Return the row once another batch is stored."""
        before = self.batches[1 - REMEMBERED_BATCHES :] if epoch == self.epoch else ()
        return KafkaProducerRow(epoch, now_ms, self.transaction_first, (*before, batch))


def last_sequence(first: int, count: int) -> int:
    """Return the sequence number of the last of some records; after 2^31 - 1 comes 0."""
    return (first + count - 1) & MOST_SEQUENCE


def find_duplicate(row: KafkaProducerRow | None, epoch: int, first: int, count: int) -> SequencedBatch | None:
    """Return the stored batch that has the numbers of one that has come, None if none is remembered."""
    if row is None or row.epoch != epoch:
        return None
    last = last_sequence(first, count)
    for batch in row.batches:
        if batch.first == first and batch.last == last:
            return batch
    return None


def check_sequence(row: KafkaProducerRow | None, producer_id: int, epoch: int, first: int, what: str) -> None:
    """
    Raise `KafkaRefusal` unless a batch may be stored next; call it for one that is no duplicate.

    Whatever comes from a producer of which the partition knows nothing is taken: its rows may have expired, or its
    records may have been deleted.
    """
    if row is None:
        return
    if epoch < row.epoch:
        raise KafkaRefusal(
            f"cannot store a batch of {what}: producer {producer_id} sent it in epoch {epoch}, and has epoch "
            f"{row.epoch} by now.",
            code="INVALID_PRODUCER_EPOCH",
            stored="Nothing of it was stored.",
            advice="Another producer with the id goes on; this one has to stop.",
        )
    expected = last_sequence(row.batches[-1].last, 2) if epoch == row.epoch and row.batches else 0
    if first != expected:
        raise KafkaRefusal(
            f"cannot store a batch of {what}: it begins with sequence {first} of producer {producer_id} in epoch "
            f"{epoch}, and {expected} comes next.",
            code="OUT_OF_ORDER_SEQUENCE_NUMBER",
            stored="Nothing of it was stored.",
            advice="A batch before it is missing, or it was stored too long ago to be remembered.",
        )
