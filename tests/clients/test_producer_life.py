"""How a producer ends, in every way it can, and what its callbacks are told."""

from __future__ import annotations

import gc
import logging
import threading
import tracemalloc

import pytest

import eventlog
from tests.clients.helpers import PATIENCE_SECONDS, held_up, poll_all, values


@pytest.fixture
def topic(log):
    """A topic of one partition."""
    return log.topic("orders", value=int)


# -- flush and close ---------------------------------------------------------------------------------------------------


def test_flush_gives_up_after_its_timeout_and_keeps_what_waits(log, topic):
    """TimeoutError, and the next flush stores it."""
    producer = log.producer(linger=3600.0)
    with held_up(log):
        delivery = producer.send(topic, 1)
        with pytest.raises(TimeoutError, match="still queued"):
            producer.flush(timeout=0.01)
        with pytest.raises(TimeoutError, match="still queued"):
            delivery.result(timeout=0.01)
        with pytest.raises(TimeoutError):
            delivery.exception(timeout=0.0)
    producer.flush(PATIENCE_SECONDS)
    assert values(topic.read()) == [1]
    producer.close()


def test_close_gives_up_after_its_timeout_and_nothing_is_lost(path):
    """The producer is closed all the same; closing the log stores what waits."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", value=int)
        producer = log.producer(linger=0.0)
        with held_up(log):
            producer.send(topic, 1)
            with pytest.raises(TimeoutError):
                producer.close(timeout=0.01)
            with pytest.raises(eventlog.LogClosed):
                producer.send(topic, 2)
    with eventlog.open(path) as log:
        assert values(log.topic("orders").read()) == [1]


def test_closing_the_log_closes_its_producers(path):
    """And stores what they were given."""
    log = eventlog.open(path)
    topic = log.topic("orders")
    producer = log.producer(linger=3600.0)
    producer.send(topic, b"tea")
    log.close()
    with pytest.raises(eventlog.LogClosed, match=r"producer is closed.*not taken.*log.producer"):
        producer.send(topic, b"milk")
    with eventlog.open(path) as log:
        assert values(log.topic("orders").read()) == [b"tea"]


def test_a_closed_producer_leaves_no_thread(log, topic):
    """close() waits for it."""
    producer = log.producer(linger=0.0)
    producer.send(topic, 1)
    producer.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "eventlog-sender"]


@pytest.mark.parametrize("is_in_a_cycle", [False, True])
def test_a_producer_that_nobody_holds_any_more_stores_what_it_was_given(path, is_in_a_cycle):
    """Though it was not closed, and the collector may take the log first."""

    def send_and_forget():
        log = eventlog.open(path)
        producer = log.producer(linger=3600.0)
        log.topic("orders", value=int)
        for n in range(100):
            producer.send("orders", n)
        if is_in_a_cycle:
            cycle = {"log": log, "producer": producer}
            cycle["me"] = cycle

    send_and_forget()
    gc.collect()
    with eventlog.open(path) as log, log.consumer("orders") as consumer:
        assert values(poll_all(consumer, 100)) == list(range(100))


def test_the_collector_may_come_in_the_middle_of_a_commit(path):
    """A forgotten producer that is collected inside its own thread's commit hangs nobody."""

    def send_and_forget():
        log = eventlog.open(path)
        producer = log.producer(linger=0.05)
        log.topic("orders", value=int)
        environment = log._store.environment
        commit = environment.commit

        def collecting(transaction):
            if threading.current_thread().name == "eventlog-sender":
                gc.collect()
            commit(transaction)

        environment.commit = collecting
        for n in range(100):
            producer.send("orders", n)
        cycle = {"log": log, "producer": producer}
        cycle["me"] = cycle

    gc.disable()
    try:
        send_and_forget()
        with eventlog.open(path) as log, log.consumer("orders") as consumer:
            assert values(poll_all(consumer, 100)) == list(range(100))
    finally:
        gc.enable()


def test_deliveries_that_are_kept_do_not_keep_the_records(log):
    """What was stored is not held in memory as well."""
    topic = log.topic("orders")
    with log.producer() as producer:
        tracemalloc.start()
        try:
            deliveries = [producer.send(topic, bytes(1000)) for _ in range(5000)]
            producer.flush()
            kept_bytes, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert len(deliveries) == 5000
    assert kept_bytes < 1_500_000


# -- callbacks ---------------------------------------------------------------------------------------------------------


def test_callbacks_come_in_the_order_of_the_offsets(log, topic):
    """Across batches, and whatever the order in which they were added."""
    called = []
    with log.producer(linger=3600.0, batch_bytes=1024) as producer:
        deliveries = [producer.send(topic, n) for n in range(2000)]
        for delivery in reversed(deliveries):
            delivery.add_done_callback(lambda done: called.append(done.result().offset))
    assert sorted(called) == list(range(2000))
    batches = [batch.offsets for batch in topic.read_batches()]
    late = [offset for offset in called if offset in batches[-1]]
    assert late == sorted(late)


def test_a_callback_may_send_flush_and_ask(log, topic):
    """It runs outside all locks."""
    done = threading.Event()

    def again(delivery):
        if delivery.result().offset < 5:
            producer.send(topic, delivery.result().offset + 1).add_done_callback(again)
            producer.flush(PATIENCE_SECONDS)
        else:
            done.set()

    producer = log.producer(linger=0.001)
    producer.send(topic, 0).add_done_callback(again)
    assert done.wait(PATIENCE_SECONDS)
    producer.close()
    assert values(topic.read()) == [0, 1, 2, 3, 4, 5]


def test_a_failing_callback_is_logged_and_keeps_no_other_from_being_called(log, topic, caplog):
    """Before the record is stored, and after."""
    called = []
    with log.producer(linger=3600.0) as producer, caplog.at_level(logging.ERROR, "eventlog"):
        deliveries = [producer.send(topic, n) for n in range(3)]
        deliveries[0].add_done_callback(lambda _: 1 / 0)
        for delivery in deliveries:
            delivery.add_done_callback(lambda done: called.append(done.result().offset))
        producer.flush()
        deliveries[1].add_done_callback(lambda _: 1 / 0)
    assert called == [0, 1, 2]
    assert [record.exc_info[0] for record in caplog.records] == [ZeroDivisionError] * 2
    assert values(topic.read()) == [0, 1, 2]


def test_a_callback_for_a_stored_record_is_called_at_once(log, topic):
    """In the thread that adds it."""
    called = []
    with log.producer() as producer:
        delivery = producer.send(topic, 1)
        delivery.result()
        delivery.add_done_callback(lambda done: called.append((done, threading.current_thread())))
    assert called == [(delivery, threading.current_thread())]
