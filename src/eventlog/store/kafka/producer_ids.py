"""
The ids of Kafka's idempotent producers, and the end of what is known of those that are silent.

Ids come from the same counter as those of named producers, so that no two share one. Each new id takes some rows of
producers away that have stored nothing for a day: a log that nobody asks for ids gets no such rows either.
"""

from __future__ import annotations

from collections.abc import Callable

from eventlog.errors import CorruptBatch, FormatTooNew
from eventlog.interruptions import unless_interrupted
from eventlog.store.kafka.sequences import (
    EXPIRATION_MS,
    KAFKA_PREFIX,
    KAFKA_PRODUCERS,
    NO_TRANSACTION,
    KafkaProducerRow,
)
from eventlog.store.lmdb.environment import FORMAT, SEQUENCES
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.producer_epochs import NEXT_PRODUCER_ID_KEY
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.tables import next_id

_LOOKED_AT_COUNT = 1_000
"""How many rows a new id looks at; as a rule those that are too old are the first."""


class TakeProducerId(CommitRequest):
    """A new id for a producer."""

    __slots__ = ("_now_ms", "_when_done", "producer_id")

    def __init__(self, when_done: Callable[[], object], now_ms: int) -> None:
        super().__init__()
        self._when_done = when_done
        self._now_ms = now_ms
        self.producer_id = -1

    def apply(self, writing: WriteTransaction) -> None:
        """Take the next id, and forget producers."""
        self.producer_id = take_producer_id(writing)
        expire_producers(writing, self._now_ms)

    def report(self) -> Callable[[], object] | None:
        """Have the caller told."""
        return self._when_done


def take_producer_id(writing: WriteTransaction) -> int:
    """Return an id that no other producer gets."""
    number = next_producer_id(writing)
    writing.put(FORMAT, NEXT_PRODUCER_ID_KEY, (number + 1).to_bytes(8, "big"))
    return number


def next_producer_id(writing: WriteTransaction) -> int:
    """Return the id that the next producer gets, a named one or one of Kafka's."""
    return next_id(writing.get(FORMAT, NEXT_PRODUCER_ID_KEY), "producer", size_bytes=8)


def expire_producers(writing: WriteTransaction, now_ms: int, *, most: int = _LOOKED_AT_COUNT) -> int:
    """Forget producers that have stored nothing in a partition for a day; return how many rows are gone."""
    doomed, oldest_ms = [], now_ms - EXPIRATION_MS
    environment = writing.environment
    with writing.transaction.cursor(db=writing.table(SEQUENCES)) as cursor:
        is_found = cursor.set_range(KAFKA_PRODUCERS.to_bytes(8, "big"))
        while is_found and most > 0:
            key = cursor.key()
            if not key[0] & KAFKA_PREFIX:
                break
            try:
                row = KafkaProducerRow.unpack(environment.value(SEQUENCES, key, cursor.value()))
            except unless_interrupted(CorruptBatch, FormatTooNew):
                row = None  # `verify` tells of it
            if row is not None and row.last_ms < oldest_ms and row.transaction_first == NO_TRANSACTION:
                doomed.append(key)
            most -= 1
            is_found = cursor.next()
    for key in doomed:
        writing.delete(SEQUENCES, key)
    return len(doomed)
