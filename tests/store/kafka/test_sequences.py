"""Kafka's sequence numbers: a batch that comes again is stored once, and nothing is stored out of order."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog import testing
from eventlog.backend.kafka import KafkaAppended, KafkaRefusal
from eventlog.store.kafka.sequences import (
    EXPIRATION_MS,
    MOST_SEQUENCE,
    KafkaProducerRow,
    SequencedBatch,
    check_sequence,
    find_duplicate,
    last_sequence,
    producer_key,
)
from eventlog.store.lmdb.environment import SEQUENCES
from eventlog.testing import ManualClock
from tests.kafka.record_batches import backend_of, produce, produce_one, producer_id, record_batch


@pytest.fixture(autouse=True)
def orders(log: Any) -> Any:
    """A topic with two partitions."""
    return log.topic("orders", partitions=2)


def sent(log: Any, producer: int, epoch: int, sequence: int, count: int = 1, **options: Any) -> KafkaAppended:
    """The reply to a batch of a producer."""
    values = [b"%d" % number for number in range(sequence, sequence + count)]
    return produce_one(log, record_batch(*values, producer=(producer, epoch, sequence)), **options)


def code(reply: KafkaAppended) -> str | None:
    """Kafka's name of a reply's error."""
    if reply.error is None:
        return None
    assert isinstance(reply.error, KafkaRefusal)
    return reply.error.code


def test_a_batch_that_comes_again_has_its_first_offset(log: Any, orders: Any) -> None:
    """Any of the last five, in any order, however often."""
    producer = producer_id(log)
    offsets = [sent(log, producer, 0, sequence, 2).base_offset for sequence in range(0, 14, 2)]
    assert offsets == list(range(0, 14, 2))
    for _ in range(2):
        for sequence in (12, 4, 8, 6, 10):
            assert sent(log, producer, 0, sequence, 2) == KafkaAppended(None, sequence, 0)
    assert orders.bounds()[0] == (0, 14)


def test_a_batch_that_came_before_the_last_five_is_out_of_order(log: Any, orders: Any) -> None:
    """Nobody can tell any more where it is; it is not stored again."""
    producer = producer_id(log)
    for sequence in range(7):
        sent(log, producer, 0, sequence)
    assert code(sent(log, producer, 0, 1)) == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert orders.bounds()[0] == (0, 7)


def test_a_gap_and_an_overlap_are_out_of_order(log: Any, orders: Any) -> None:
    """Also a batch that begins like a stored one and is longer."""
    producer = producer_id(log)
    sent(log, producer, 0, 0, 3)
    for sequence, count in ((4, 1), (1, 2), (0, 4), (0, 2), (2, 2)):
        assert code(sent(log, producer, 0, sequence, count)) == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert sent(log, producer, 0, 3).base_offset == 3
    assert orders.bounds()[0] == (0, 4)


def test_partitions_and_producers_count_apart(log: Any) -> None:
    """Each pair of them begins with 0."""
    first, second = producer_id(log), producer_id(log)
    assert first != second
    assert [
        sent(log, one, 0, 0, partition=partition).base_offset for one in (first, second) for partition in (0, 1)
    ] == [*(0, 0, 1, 1)]


def test_a_new_epoch_begins_with_0_and_fences_the_one_before(log: Any) -> None:
    """Its own batches are remembered from then on."""
    producer = producer_id(log)
    sent(log, producer, 0, 0, 5)
    assert code(sent(log, producer, 1, 5)) == "OUT_OF_ORDER_SEQUENCE_NUMBER"
    assert sent(log, producer, 1, 0, 5).base_offset == 5
    assert code(sent(log, producer, 0, 5)) == "INVALID_PRODUCER_EPOCH"
    assert code(sent(log, producer, 0, 0, 5)) == "INVALID_PRODUCER_EPOCH"
    assert sent(log, producer, 1, 0, 5).base_offset == 5


def test_a_producer_that_the_partition_has_forgotten_goes_on(log: Any) -> None:
    """Its numbers do not begin with 0 then; Kafka's clients count on it after retention."""
    assert sent(log, producer_id(log), 0, 17).base_offset == 0


def test_an_id_that_this_log_has_not_given_is_refused(log: Any) -> None:
    """Of a log that was there before: it would meet the producer that gets the id later."""
    assert code(sent(log, producer_id(log) + 1, 0, 0)) == "UNKNOWN_PRODUCER_ID"


def test_named_producers_have_other_ids(log: Any) -> None:
    """One counter for both."""
    first = producer_id(log)
    with log.producer(name="till-7") as producer:
        producer.send("orders", b"x").result()
    named = backend_of(log).begin_producer("till-7").id
    assert len({first, named, producer_id(log)}) == 3
    assert log.verify().is_sound


def test_the_numbers_survive_the_end_of_the_process(path: Path) -> None:
    """They are in the commit of the batch."""
    with eventlog.open(path) as log:
        log.topic("orders")
        producer = producer_id(log)
        sent(log, producer, 0, 0, 3)
    with eventlog.open(path) as log:
        assert sent(log, producer, 0, 0, 3).base_offset == 0
        assert sent(log, producer, 0, 3).base_offset == 3
        assert log.verify().is_sound
        log.delete_topic("orders")
        assert log.verify().is_sound


def test_a_producer_that_is_silent_for_a_day_is_forgotten() -> None:
    """When the next one asks for an id; one that still sends is not."""
    clock = ManualClock()
    with testing.open(clock=clock) as log:
        log.topic("orders")
        silent, busy = producer_id(log), producer_id(log)
        sent(log, silent, 0, 0)
        sent(log, busy, 0, 0)
        clock.advance(EXPIRATION_MS / 2_000)
        sent(log, busy, 0, 1)
        clock.advance(EXPIRATION_MS / 2_000 + 1)
        assert code(sent(log, silent, 0, 7)) == "OUT_OF_ORDER_SEQUENCE_NUMBER"
        producer_id(log)
        assert sent(log, silent, 0, 7).error is None
        assert code(sent(log, busy, 0, 7)) == "OUT_OF_ORDER_SEQUENCE_NUMBER"
        assert log.verify().is_sound


def test_after_the_largest_number_comes_0() -> None:
    """A batch may reach over it, too."""
    assert last_sequence(MOST_SEQUENCE, 1) == MOST_SEQUENCE
    assert last_sequence(MOST_SEQUENCE - 1, 4) == 1
    row = KafkaProducerRow(3, 0, batches=(SequencedBatch(MOST_SEQUENCE - 1, 1, 70),))
    assert find_duplicate(row, 3, MOST_SEQUENCE - 1, 4) == row.batches[0]
    check_sequence(row, 1, 3, 2, "orders[0]")
    row = row.with_batch(3, SequencedBatch(2, MOST_SEQUENCE, 74), 0)
    check_sequence(row, 1, 3, 0, "orders[0]")
    with pytest.raises(KafkaRefusal):
        check_sequence(row, 1, 3, 1, "orders[0]")


@pytest.mark.parametrize("count", [0, 1, 5])
def test_a_row_is_read_as_it_was_written(count: int) -> None:
    """With any number of batches."""
    batches = tuple(SequencedBatch(number, number + 3, 2**40 + number) for number in range(count))
    row = KafkaProducerRow(32_767, -5, 2**40, batches)
    assert KafkaProducerRow.unpack(row.pack()) == row


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data + b"\0", lambda data: b"", lambda data: b"\1" * 9]
)
def test_a_row_that_is_not_what_was_written_is_an_error(change: Any) -> None:
    """Of ours, which says what to do."""
    row = KafkaProducerRow(1, 2, batches=(SequencedBatch(0, 1, 2),)).pack()
    with pytest.raises(eventlog.CorruptBatch):
        KafkaProducerRow.unpack(change(row))
    with pytest.raises(eventlog.FormatTooNew):
        KafkaProducerRow.unpack(b"\2" + row[1:])


def test_a_changed_bit_of_a_row_is_found_and_concerns_its_producer_alone(log: Any, rng: random.Random) -> None:
    """The others of the request are stored, and `verify` names the row."""
    first, second = producer_id(log), producer_id(log)
    sent(log, first, 0, 0)
    environment = backend_of(log).environment
    key = producer_key(first, backend_of(log).require_topic("orders").id, 0)
    transaction = environment.begin_writing()
    row = bytearray(transaction.get(key, db=environment.table(SEQUENCES)))
    row[rng.randrange(len(row))] ^= 1 << rng.randrange(8)
    transaction.put(key, bytes(row), db=environment.table(SEQUENCES))
    environment.commit(transaction)
    replies = produce(
        log,
        ("orders", 0, record_batch(b"x", producer=(first, 0, 1))),
        ("orders", 0, record_batch(b"y", producer=(second, 0, 0))),
        ("orders", 1, record_batch(b"z", producer=(first, 0, 0))),
    )
    assert [type(one.error) for one in replies] == [eventlog.CorruptBatch, type(None), type(None)]
    (problem,) = log.verify().problems
    assert "sequences" in problem
