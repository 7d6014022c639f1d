"""Transactions of Kafka's clients: what native readers and clients that read committed records see of them."""

from __future__ import annotations

import struct
from typing import Any

import google_crc32c
import pytest

from eventlog import testing
from eventlog.backend.kafka import KafkaRefusal
from eventlog.backend.kafka_transactions import (
    AddGroup,
    AddOffsets,
    AddPartitions,
    EndTransaction,
    InitProducer,
    TransactionCommand,
)
from eventlog.batches.header import read_header
from eventlog.testing import ManualClock
from tests.kafka.record_batches import NOW_MS, Sent, backend_of, fetch, produce_one, record_batch
from tests.kafka.transactional import (
    TIMEOUT_MS,
    Transactional,
    abort_expired,
    carry_out,
    fetch_committed,
    kept_offsets,
)


@pytest.fixture(autouse=True)
def orders(log: Any) -> Any:
    """A topic with three partitions."""
    return log.topic("orders", partitions=3)


def values(records: Any) -> list[Any]:
    """The values of some records."""
    return [one.value for one in records]


def seen(log: Any) -> list[Any]:
    """All that native readers see, in the order of the log."""
    return [one.value for _, one in log.read_all()]


# -- what is seen --------------------------------------------------------------------------------------------


def test_records_of_an_open_transaction_are_not_seen(log: Any, orders: Any) -> None:
    """Nor is what lies behind them in their partition; other partitions go on."""
    orders.append(b"before", partition=0)
    producer = Transactional(log)
    assert producer.send(b"a", b"b") == 1
    orders.append(b"behind", partition=0)
    orders.append(b"elsewhere", partition=1)
    assert values(orders.read(0)) == [b"before"]
    assert values(orders.read(1)) == [b"elsewhere"]
    assert orders.bounds() == {0: (0, 1), 1: (0, 1), 2: (0, 0)}
    assert seen(log) == [b"before"]
    assert log.end_log_position() == 1
    producer.commit()
    assert values(orders.read(0)) == [b"before", b"a", b"b", b"behind"]
    assert orders.bounds()[0] == (0, 5), "the control batch has an offset, as in Kafka"
    assert seen(log) == [b"before", b"a", b"b", b"behind", b"elsewhere"]
    assert log.end_log_position() == 6
    assert log.verify().problems == ()


def test_records_of_an_aborted_transaction_are_never_seen(log: Any, orders: Any) -> None:
    """Readers go on behind them, with the offsets as they are."""
    producer = Transactional(log)
    producer.send(b"lost", partition=0)
    producer.send(b"lost too", partition=1)
    orders.append(b"kept", partition=0)
    producer.abort()
    producer.send(b"second", partition=0)
    producer.commit()
    records = list(orders.read(0))
    assert [(one.offset, one.value) for one in records] == [(1, b"kept"), (3, b"second")]
    assert values(orders.read(1)) == []
    assert orders.bounds() == {0: (0, 5), 1: (0, 2), 2: (0, 0)}
    assert seen(log) == [b"kept", b"second"]
    assert log.verify().problems == ()


def test_a_reader_of_one_topic_does_not_wait_for_another(log: Any, orders: Any) -> None:
    """The order of the log ends where a transaction of a wanted topic begins, and nowhere else."""
    other = log.topic("other")
    Transactional(log).send(b"open")
    other.append(b"free")
    assert [one.value for _, one in log.read_all(topics=["other"], end=backend_of(log).next_log_position())] == [
        b"free"
    ]
    assert [one.value for _, one in log.read_all(topics=["orders"])] == []
    assert values(other.read(0)) == [b"free"]


def test_aborted_transactions_of_several_producers_interleave(log: Any, orders: Any) -> None:
    """What is kept is decided by producer, not by place."""
    one, two, three = (Transactional(log, name) for name in ("one", "two", "three"))
    one.send(b"1a")
    two.send(b"2a")
    three.send(b"3a")
    one.send(b"1b")
    two.abort()
    one.commit()
    two.send(b"2b")
    three.abort()
    two.commit()
    expected = [b"1a", b"1b", b"2b"]
    assert values(orders.read(0)) == expected
    assert seen(log) == expected
    answer = fetch_committed(log)
    assert answer.last_stable == answer.high_watermark == 9
    assert sorted(answer.aborted) == sorted([(two.producer_id, 1), (three.producer_id, 2)])
    assert kept_offsets(answer) == [one.offset for one in orders.read(0)]


def test_a_committed_fetch_ends_at_the_last_stable_offset(log: Any, orders: Any) -> None:
    """One that reads uncommitted records gets all."""
    orders.append(b"a", partition=0)
    producer = Transactional(log)
    producer.send(b"b")
    orders.append(b"c", partition=0)
    answer = fetch_committed(log)
    assert ([one.last for one in answer.batches], answer.high_watermark, answer.last_stable) == ([0], 3, 1)
    assert answer.aborted == []
    everything = fetch(log)
    assert ([one.last for one in everything.batches], everything.last_stable) == ([0, 1, 2], 1)
    assert fetch_committed(log, 1).batches == []
    producer.abort()
    answer = fetch_committed(log)
    assert (answer.last_stable, list(answer.aborted)) == (4, [(producer.producer_id, 1)])
    assert list(fetch_committed(log, 3).aborted) == [(producer.producer_id, 1)]
    assert list(fetch_committed(log, 0, partition=1).aborted) == []


def test_a_consumer_waits_at_an_open_transaction_and_its_lag_reaches_zero(log: Any, orders: Any) -> None:
    """Its position passes control batches, so what it commits is the end."""
    with log.consumer("orders", group="billing") as consumer:
        producer = Transactional(log)
        producer.send(b"a")
        assert consumer.poll(timeout=0.0) == []
        producer.commit()
        assert values(consumer.poll(timeout=5.0)) == [b"a"]
        producer.send(b"b")
        producer.abort()
        assert consumer.poll(timeout=0.0) == []
        consumer.commit()
        assert consumer.committed(("orders", 0)) == 4
        assert sum(consumer.lag().values()) == 0
    assert log.verify().problems == ()


def test_a_sleeping_consumer_is_woken_by_the_end_of_a_transaction(log: Any, orders: Any) -> None:
    """By its commit, which stores no record of its own."""
    import threading

    producer = Transactional(log)
    producer.send(b"a")
    got: list[Any] = []
    with log.consumer("orders", group="billing") as consumer:
        assert consumer.poll(timeout=0.0) == []
        thread = threading.Thread(target=producer.commit)
        thread.start()
        got = values(consumer.poll(timeout=30.0))
        thread.join()
    assert got == [b"a"]


def test_following_the_order_goes_on_when_the_transaction_ends(log: Any, orders: Any) -> None:
    """A projection folds what was committed, in the order of the log, once."""
    producer = Transactional(log)
    producer.send(Sent(b"1", b"k"))
    orders.append(b"2", key=b"k", partition=0)
    producer.send(Sent(b"3", b"k"))

    def fold(state: Any, record: Any) -> None:
        state["all"] = [*state.get("all", []), record.value.decode()]

    sums = log.projection("sums", fold, topics=["orders"], key=str, value="json")
    assert sums.catch_up() == 0
    producer.commit()
    assert sums.catch_up() == 3
    assert sums.state.get("all") == ["1", "2", "3"]


def test_a_time_leads_to_no_aborted_record(log: Any, orders: Any) -> None:
    """And to the first open one that may be committed later."""
    producer = Transactional(log)
    producer.send(Sent(b"lost", ms=NOW_MS + 10))
    producer.abort()
    backend, row = backend_of(log), backend_of(log).require_topic("orders")
    late = NOW_MS + 5
    produce_one(log, record_batch(Sent(b"kept", ms=NOW_MS + 20)))
    assert backend.offset_of_time(row, 0, late) in (1, 2)  # a control batch has the time of its end
    assert [one.offset for one in orders.read(0, start=backend.offset_of_time(row, 0, late))] == [2]
    producer.send(Sent(b"open", ms=NOW_MS + 10**9))
    assert backend.offset_of_time(row, 0, NOW_MS + 10**9) == 3


def test_control_batches_are_kafkas_own_bytes(log: Any, orders: Any) -> None:
    """78 bytes: no sequence, key 0 and type, value 0 and the coordinator's epoch."""
    producer = Transactional(log)
    producer.send(b"a")
    producer.commit()
    last, data = fetch(log).batches[1]
    body = data[read_header(data, "a batch").body_at : -4]
    assert (last, len(body)) == (1, 78)
    base, length, leader, magic, crc = struct.unpack_from(">qiibI", body)
    assert (base, length, leader, magic, crc) == (1, 66, 0, 2, google_crc32c.value(body[21:]))
    attributes, delta, first_ms, largest_ms, producer_id, epoch, sequence, count = struct.unpack_from(
        ">hiqqqhii", body, 21
    )
    assert (attributes, delta, sequence, count) == (0x30, 0, -1, 1)
    assert first_ms == largest_ms
    assert (producer_id, epoch) == (producer.producer_id, producer.epoch)
    assert body[61:] == bytes([32, 0, 0, 0, 8, 0, 0, 0, 1, 12, 0, 0, 0, 0, 0, 0, 0])


def test_offsets_of_groups_are_stored_with_the_end_alone(log: Any, orders: Any) -> None:
    """Those of an aborted transaction are gone; until the end they are pending."""
    backend, place = backend_of(log), (backend_of(log).require_topic("orders").id, 0)
    orders.append(b"a", partition=0)
    producer = Transactional(log)
    producer.send_offset("billing", 1)
    assert backend.committed("billing", [place]) == [None]
    assert backend.pending_offsets("billing") == {place: 1}
    assert backend.pending_offsets("other") == {}
    producer.abort()
    assert backend.committed("billing", [place]) == [None]
    producer.send_offset("billing", 1)
    producer.send(b"b", partition=1)
    before = backend.last_transaction()
    producer.commit()
    assert backend.last_transaction() == before + 1
    assert backend.committed("billing", [place]) == [1]
    assert backend.pending_offsets("billing") == {}
    assert values(orders.read(1)) == [b"b"]


# -- who may do what -----------------------------------------------------------------------------------------


def refused(log: Any, command: TransactionCommand) -> str:
    """Kafka's name of the error of a command."""
    with pytest.raises(KafkaRefusal) as caught:
        carry_out(log, command)
    return caught.value.code


def test_a_new_producer_fences_the_one_before(log: Any, orders: Any) -> None:
    """And aborts its transaction; what the old one does then is refused, each request with Kafka's code."""
    old = Transactional(log)
    old.send(b"lost")
    row = backend_of(log).require_topic("orders")
    new = carry_out(log, InitProducer("mover", TIMEOUT_MS))
    assert (new.producer_id, new.epoch, new.aborted) == (old.producer_id, 2, ("mover",))
    assert refused(log, AddPartitions("mover", old.producer_id, 0, [(row, 0)])) == "PRODUCER_FENCED"
    assert refused(log, AddGroup("mover", old.producer_id, 0, "billing")) == "PRODUCER_FENCED"
    assert refused(log, EndTransaction("mover", old.producer_id, 0, is_commit=True)) == "PRODUCER_FENCED"
    with pytest.raises(KafkaRefusal) as caught:
        old.send(b"lost too")
    assert caught.value.code == "INVALID_PRODUCER_EPOCH"
    assert seen(log) == []
    assert backend_of(log).kafka_transaction("mover").state == "Empty"


def test_commands_of_no_known_producer_are_refused(log: Any, orders: Any) -> None:
    """With the codes of Kafka's coordinator."""
    row = backend_of(log).require_topic("orders")
    assert refused(log, EndTransaction("nobody", 1, 0, is_commit=True)) == "INVALID_PRODUCER_ID_MAPPING"
    assert refused(log, AddPartitions("nobody", 1, 0, [(row, 0)])) == "INVALID_PRODUCER_ID_MAPPING"
    producer = Transactional(log)
    other = producer.producer_id + 7
    assert refused(log, EndTransaction("mover", other, 0, is_commit=True)) == "INVALID_PRODUCER_ID_MAPPING"
    assert refused(log, InitProducer("mover", 0)) == "INVALID_TRANSACTION_TIMEOUT"
    assert refused(log, InitProducer("mover", 900_001)) == "INVALID_TRANSACTION_TIMEOUT"
    assert refused(log, InitProducer("", 1000)) == "INVALID_REQUEST"
    assert refused(log, InitProducer("x" * 401, 1000)) == "INVALID_REQUEST"
    assert refused(log, AddOffsets("mover", producer.producer_id, 0, "g", [])) == "INVALID_TXN_STATE"
    with pytest.raises(KafkaRefusal) as caught:
        producer.send(b"a", adds=False)
    assert caught.value.code == "INVALID_TXN_STATE"
    assert seen(log) == []
    carry_out(log, AddPartitions("mover", producer.producer_id, 0, [(row, 0)]))
    producer.send(b"a", adds=False)
    producer.commit()
    assert seen(log) == [b"a"]


def test_an_end_that_comes_again_is_answered_as_before(log: Any, orders: Any) -> None:
    """Without another control batch; the other end is refused."""
    producer = Transactional(log)
    assert refused(log, EndTransaction("mover", producer.producer_id, 0, is_commit=True)) == "INVALID_TXN_STATE"
    producer.send(b"a")
    producer.commit()
    producer.commit()
    assert orders.bounds()[0] == (0, 2)
    assert refused(log, EndTransaction("mover", producer.producer_id, 0, is_commit=False)) == "INVALID_TXN_STATE"
    producer.send(b"b")
    producer.abort()
    producer.abort()
    assert orders.bounds()[0] == (0, 4)
    assert refused(log, EndTransaction("mover", producer.producer_id, 0, is_commit=True)) == "INVALID_TXN_STATE"


def test_epochs_rise_with_each_end_of_the_second_protocol(log: Any, orders: Any) -> None:
    """KIP-890: an end that comes again has the epoch before, and a batch of it is late and refused."""
    producer = Transactional(log, bumps=True)
    producer.send(b"a")
    late = record_batch(b"late", producer=(producer.producer_id, 0, 1), attributes=16)
    producer.commit()
    assert producer.epoch == 1
    again = EndTransaction("mover", producer.producer_id, 0, is_commit=True, bumps_epoch=True)
    assert carry_out(log, again)[:2] == (producer.producer_id, 1)
    assert refused(log, again._replace(is_commit=False)) == "INVALID_TXN_STATE"
    reply = backend_of(log).prepare_produce(
        [(backend_of(log).require_topic("orders"), 0, late)],
        lambda: None,
        transactional_id="mover",
        adds_partitions=True,
    )
    backend_of(log).submit(reply)
    assert backend_of(log).wait(reply, 10.0)
    assert reply.replies[0].error.code == "INVALID_PRODUCER_EPOCH"
    producer.send(b"b")
    producer.abort()
    producer.abort()
    assert producer.epoch == 3, "an abort of nothing raises the epoch, too"
    producer.send(b"c")
    producer.commit()
    assert seen(log) == [b"a", b"c"]


def test_a_producer_that_goes_on_after_an_error_keeps_its_id(log: Any) -> None:
    """KIP-360: with the epoch that it had, or again if the answer was lost; an older one is fenced."""
    first = carry_out(log, InitProducer("mover", TIMEOUT_MS))
    second = carry_out(log, InitProducer("mover", TIMEOUT_MS, *first[:2]))
    assert second[:2] == (first.producer_id, 1)
    assert carry_out(log, InitProducer("mover", TIMEOUT_MS, *first[:2]))[:2] == (first.producer_id, 1)
    third = carry_out(log, InitProducer("mover", TIMEOUT_MS))
    assert third[:2] == (first.producer_id, 2)
    assert refused(log, InitProducer("mover", TIMEOUT_MS, *second[:2])) == "PRODUCER_FENCED"
    assert refused(log, InitProducer("mover", TIMEOUT_MS, first.producer_id + 5, 0)) == "PRODUCER_FENCED"
    assert carry_out(log, InitProducer("other", TIMEOUT_MS, 0, 0))[1] == 0, "nothing is known: it begins"


def test_an_exhausted_epoch_gives_another_producer_id(log: Any, orders: Any) -> None:
    """The last epoch is 32,766, so that a fence can raise it once more."""
    first = carry_out(log, InitProducer("mover", TIMEOUT_MS))
    _set_epoch(log, "mover", 32_765)
    second = carry_out(log, InitProducer("mover", TIMEOUT_MS))
    assert second[:2] == (first.producer_id, 32_766)
    third = carry_out(log, InitProducer("mover", TIMEOUT_MS, *second[:2]))
    assert (third.producer_id > first.producer_id, third.epoch) == (True, 0)
    _set_epoch(log, "mover", 32_766)
    producer = Transactional(log, "other", bumps=True)
    _set_epoch(log, "other", 32_766)
    old, producer.epoch = producer.producer_id, 32_766
    producer.send(b"a")
    producer.commit()
    assert (producer.producer_id > old, producer.epoch) == (True, 0)
    again = EndTransaction("other", old, 32_766, is_commit=True, bumps_epoch=True)
    assert carry_out(log, again)[:2] == (producer.producer_id, 0)
    producer.send(b"b")
    with pytest.raises(KafkaRefusal, match="has producer id"):  # it would end what has begun since
        carry_out(log, again)
    producer.commit()
    assert seen(log) == [b"a", b"b"]
    assert log.verify().problems == ()


def test_a_producer_that_was_too_slow_in_its_last_epoch_gets_another_id() -> None:
    """Its transaction was aborted in epoch 32,767, in which nothing could fence it another time."""
    clock = ManualClock()
    with testing.open(clock=clock) as log:
        log.topic("orders")
        producer = Transactional(log, bumps=True)
        _set_epoch(log, "mover", 32_766)
        producer.epoch = 32_766
        producer.send(b"a")
        clock.advance(TIMEOUT_MS / 1000 + 1)
        assert abort_expired(log) == ("mover",)
        command = InitProducer("mover", TIMEOUT_MS, producer.producer_id, 32_766)
        reply = carry_out(log, command)
        assert (reply.producer_id > producer.producer_id, reply.epoch) == (True, 0)
        assert carry_out(log, command) == reply
        assert log.verify().problems == ()


def _set_epoch(log: Any, name: str, epoch: int) -> None:
    """Let an id have had as many producers."""
    import attrs

    from eventlog.store.kafka.producers import load, save
    from eventlog.store.records.commit_request import CommitRequest

    class SetEpoch(CommitRequest):
        def apply(self, writing: Any) -> None:
            save(writing, attrs.evolve(load(writing, name), epoch=epoch))

    backend_of(log).run(SetEpoch())


def test_an_idempotent_batch_inside_of_a_transaction_is_refused(log: Any, orders: Any) -> None:
    """As Kafka refuses it."""
    producer = Transactional(log)
    producer.send(b"a")
    reply = produce_one(log, record_batch(b"b", producer=(producer.producer_id, 0, 1)))
    assert isinstance(reply.error, KafkaRefusal)
    assert reply.error.code == "INVALID_TXN_STATE"
