"""What becomes of records that cannot be stored, and of those that find no room."""

from __future__ import annotations

import threading
import time

import pytest

import eventlog
from tests.clients.helpers import PATIENCE_SECONDS, held_up, values


@pytest.fixture
def topic(log):
    """A topic of one partition."""
    return log.topic("orders", value=int)


# -- failures ----------------------------------------------------------------------------------------------------------


def test_failures_that_nobody_looked_at_come_out_of_flush_once(log, topic):
    """Counted, with the first error as the cause; what was looked at is not counted."""
    producer = log.producer(linger=3600.0)
    deliveries = [producer.send(topic, n) for n in range(5)]
    log.delete_topic("orders")
    assert isinstance(deliveries[2].exception(), eventlog.UnknownTopic)
    with pytest.raises(eventlog.DeliveryError, match="4 sent records were not stored") as caught:
        producer.flush()
    assert (caught.value.count, type(caught.value.__cause__)) == (4, eventlog.UnknownTopic)
    producer.flush()
    with pytest.raises(eventlog.UnknownTopic, match="Nothing was stored"):
        deliveries[0].result()
    assert repr(deliveries[0]) == "<Delivery to orders[0]: failed>"
    producer.close()


def test_failures_that_were_looked_at_stay_quiet(log, topic):
    """The caller knows already."""
    with log.producer(linger=3600.0) as producer:
        delivery = producer.send(topic, 1)
        log.delete_topic("orders")
        assert delivery.exception() is not None


def test_closing_the_log_tells_of_failures(path):
    """A `with` block around the log alone loses no error."""
    log = eventlog.open(path)
    producer = log.producer(linger=3600.0)
    producer.send(log.topic("orders"), b"x")
    log.delete_topic("orders")
    with pytest.raises(eventlog.DeliveryError, match="1 sent records"):
        log.close()
    assert log.is_closed


def test_a_topic_that_was_made_anew_is_found_by_its_name(log, topic):
    """At once, and by the same producer; the `Topic` of before means that one still."""
    with log.producer() as producer:
        producer.send("orders", 1).result()
        log.delete_topic("orders")
        new = log.topic("orders", value=int)
        assert producer.send("orders", 2).result().offset == 0
        assert producer.send("orders", 3).result().offset == 1
        assert isinstance(producer.send(topic, 4).exception(), eventlog.UnknownTopic)
    assert values(new.read()) == [2, 3]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"value": "text"}, TypeError),
        ({"value": 1, "key": 5}, TypeError),
        ({"value": 2**63}, TypeError),
        ({"value": 1, "headers": {"h": 5}}, TypeError),
        ({"value": 1, "headers": {"h": "\ud800"}}, TypeError),
        ({"value": 1, "headers": [("h",)]}, TypeError),
        ({"value": 1, "timestamp_ms": 1.5}, TypeError),
        ({"value": 1, "timestamp_ms": 2**63}, ValueError),
        ({"value": 1, "partition": "0"}, TypeError),
    ],
)
def test_what_does_not_fit_fails_at_the_call(log, arguments, error):
    """Before any effect; the records before and after are stored."""
    topic = log.topic("orders", key=str, value=int)
    with log.producer(linger=3600.0) as producer:
        producer.send(topic, 0)
        with pytest.raises(error, match=r"Nothing was (stored|changed)|not taken"):
            producer.send(topic, **arguments)
        producer.send(topic, 1)
    assert values(topic.read()) == [0, 1]


@pytest.mark.parametrize("bad", [5, None, b"orders"])
def test_a_topic_that_is_none_is_refused(log, bad):
    """A topic is its name or a Topic."""
    with log.producer() as producer, pytest.raises(TypeError, match="name or a Topic"):
        producer.send(bad, b"x")


# -- back-pressure -----------------------------------------------------------------------------------------------------


def test_a_full_buffer_blocks_until_there_is_room(log):
    """Nothing is lost, nothing is refused, and memory stays bounded."""
    topic = log.topic("orders")
    producer = log.producer(linger=3600.0, max_buffered_bytes=100_000)
    sent = 0
    started = threading.Event()

    def send():
        nonlocal sent
        while sent < 500:
            producer.send(topic, bytes(1000))
            sent += 1
            if sent == 100:
                started.set()
        return sent

    with held_up(log):
        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        assert started.wait(PATIENCE_SECONDS)
        thread.join(0.05)
        assert thread.is_alive()
        assert sent < 400
    thread.join(PATIENCE_SECONDS)
    producer.close()
    assert topic.bounds() == {0: (0, 500)}


def test_a_buffer_that_stays_full_refuses_the_record(log):
    """BufferFull after `max_block`, which may be tried again; those before it are kept."""
    topic = log.topic("orders")
    producer = log.producer(linger=3600.0, max_buffered_bytes=100_000, max_block=0.02)
    deliveries = []

    def send_much():
        for _ in range(500):
            deliveries.append(producer.send(topic, bytes(1000)))  # noqa: PERF401 - those before the error count

    with held_up(log):
        with pytest.raises(eventlog.BufferFull, match=r"max_block=0.02 s.*not taken") as caught:
            send_much()
        assert caught.value.retriable
        assert (caught.value.topic, caught.value.partition) == ("orders", 0)
    deliveries.append(producer.send(topic, b"last"))
    producer.close()
    assert [delivery.result().offset for delivery in deliveries] == list(range(len(deliveries)))
    assert topic.bounds() == {0: (0, len(deliveries))}


@pytest.mark.parametrize(
    ("option", "bad", "error"),
    [
        ("linger", -1, ValueError),
        ("linger", "5", TypeError),
        ("linger", float("nan"), ValueError),
        ("batch_bytes", 10, ValueError),
        ("batch_bytes", 1 << 20, ValueError),
        ("max_buffered_bytes", 10, ValueError),
        ("max_block", -0.1, ValueError),
    ],
)
def test_an_option_out_of_its_bounds_makes_no_producer(log, option, bad, error):
    """The message names the option, the value and the bounds."""
    with pytest.raises(error, match=option):
        log.producer(**{option: bad})


def test_threads_that_wait_for_one_batch_wake_at_once(log, topic):
    """All of them, when the commit that stores it is done."""
    producer = log.producer(linger=3600.0)
    deliveries = [producer.send(topic, n) for n in range(16)]
    woken_s = []

    def wait(delivery):
        delivery.result(PATIENCE_SECONDS)
        woken_s.append(time.monotonic())

    threads = [threading.Thread(target=wait, args=(delivery,), daemon=True) for delivery in deliveries]
    with held_up(log):
        for thread in threads:
            thread.start()
        threads[0].join(0.05)
        released_s = time.monotonic()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    producer.close()
    assert len(woken_s) == 16
    assert max(woken_s) - released_s < 0.5


def test_a_callback_sends_until_the_producer_is_closed(log, topic):
    """A flush runs the callbacks while the producer is open; `close()` takes no more records."""
    answers = []

    def send_again(delivery):
        try:
            answers.append(producer.send(topic, 2))
        except eventlog.LogClosed as error:
            answers.append(error)

    producer = log.producer(linger=3600.0)
    producer.send(topic, 1).add_done_callback(send_again)
    producer.flush()
    producer.close()
    assert [record.value for record in topic.read()] == [1, 2]
    producer = log.producer(linger=3600.0)
    producer.send(topic, 3).add_done_callback(send_again)
    producer.close()
    assert [record.value for record in topic.read()] == [1, 2, 3]
    assert answers[0].result().offset == 1
    assert isinstance(answers[1], eventlog.LogClosed)
