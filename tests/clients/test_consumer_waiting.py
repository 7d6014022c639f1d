"""How a consumer waits for more, and what it does with what cannot be read."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import eventlog
from eventlog import TopicPartition
from eventlog.store.wakeup.notifier import Notifier
from tests.clients.helpers import (
    PATIENCE_SECONDS,
    flip_last_bit,
    in_threads,
    is_held,
    poll_all,
    rewrite_batch,
    topic_of_ten,
    values,
)

TP = TopicPartition("orders", 0)


@pytest.fixture
def topic(log):
    """Ten numbers in three batches."""
    return topic_of_ten(log)


# -- waiting -------------------------------------------------------------------------------------------------------


def test_poll_waits_as_long_as_it_is_told(log, topic):
    """Not shorter, and not much longer."""
    with log.consumer("orders", start="latest") as consumer:
        for timeout in (0.0, 0.05):
            began_s = time.monotonic()
            assert consumer.poll(timeout) == []
            assert timeout <= time.monotonic() - began_s < timeout + 1.0


def test_poll_returns_as_soon_as_there_is_something(log, topic):
    """Long before its timeout is over."""
    with log.consumer("orders", start="latest") as consumer:
        waiting = threading.Event()

        def poll():
            waiting.set()
            return values(consumer.poll(timeout=PATIENCE_SECONDS))

        def append():
            assert waiting.wait(PATIENCE_SECONDS)
            return topic.append(10).offset

        began_s = time.monotonic()
        assert in_threads(poll, append) == [[10], 10]
        assert time.monotonic() - began_s < PATIENCE_SECONDS / 2


def test_wakeup_ends_a_poll_that_waits(log, topic):
    """It returns empty, and the next one waits again."""
    with log.consumer("orders", start="latest") as consumer:
        waiting = threading.Event()

        def poll():
            waiting.set()
            return consumer.poll(timeout=PATIENCE_SECONDS)

        def wake():
            assert waiting.wait(PATIENCE_SECONDS)
            consumer.wakeup()

        assert in_threads(poll, wake)[0] == []
        topic.append(10)
        assert values(consumer.poll(timeout=PATIENCE_SECONDS)) == [10]


def test_wakeup_ends_a_loop_that_has_more_to_read(log, topic):
    """A loop that never catches up ends too, after what it was given at once; nothing is lost."""
    with log.consumer("orders", max_poll_records=2) as consumer:
        seen = []
        for record in consumer:
            seen.append(record.value)
            if record.value == 0:
                consumer.wakeup()
        assert 1 <= len(seen) < 10
        seen += values(poll_all(consumer, 10 - len(seen)))
        assert seen == list(range(10))


def test_wakeup_before_a_poll_that_finds_something_hands_it_out(log, topic):
    """Only a wait is ended."""
    with log.consumer("orders") as consumer:
        consumer.wakeup()
        assert len(consumer.poll(timeout=PATIENCE_SECONDS)) == 10


def test_two_threads_in_one_consumer_are_refused(log, topic):
    """The second gets ConcurrentUse and nothing else happens; wakeup() is allowed."""
    with log.consumer("orders", start="latest") as consumer:
        waiting = threading.Event()

        def poll():
            waiting.set()
            return consumer.poll(timeout=PATIENCE_SECONDS)

        def disturb():
            assert waiting.wait(PATIENCE_SECONDS)
            while not is_held(consumer._in_use):
                pass
            for use in (
                consumer.poll,
                consumer.poll_batches,
                consumer.assignment,
                consumer.lag,
                lambda: consumer.position(TP),
            ):
                with pytest.raises(eventlog.ConcurrentUse, match=r"another thread.*only wakeup\(\)"):
                    use()
            consumer.wakeup()

        assert in_threads(poll, disturb)[0] == []


def test_a_lost_notification_loses_no_record(log, topic, monkeypatch):
    """A reader that waits looks at the log by itself."""
    monkeypatch.setattr(Notifier, "find_waiting", lambda _: False)
    with log.consumer("orders", start="latest") as consumer:
        assert consumer.poll(timeout=0.01) == []
        thread = threading.Timer(0.05, topic.append, [10])
        thread.start()
        assert values(consumer.poll(timeout=PATIENCE_SECONDS)) == [10]
        thread.join()


def test_a_waiting_consumer_learns_that_the_log_was_closed(log, topic):
    """Whoever closed it."""
    consumer = log.consumer("orders", start="latest")
    assert consumer.poll(timeout=0.01) == []
    thread = threading.Timer(0.05, log._store.environment.close)
    thread.start()
    with pytest.raises(eventlog.LogClosed):
        consumer.poll(timeout=PATIENCE_SECONDS)
    thread.join()


# -- what a waiting consumer hears of ------------------------------------------------------------------------------


def is_rung(consumer):
    """Whether its bell rang since it was asked last; it has one from its first wait on."""
    return consumer._waiter.wait(0.0)


def waiting(log, *arguments, **options):
    """A consumer that has found nothing."""
    consumer = log.consumer(*arguments, start="latest", **options)
    assert consumer.poll(timeout=0.01) == []
    assert not is_rung(consumer)
    return consumer


def test_a_waiting_consumer_hears_of_its_own_topics(log, topic):
    """And of no others, in whatever way they were appended to."""
    other = log.topic("other")
    with waiting(log, "orders") as consumer, log.producer(linger=0) as producer:
        other.append(b"x")
        producer.send("other", b"x").result()
        with log.transaction() as transaction:
            transaction.send("other", b"x")
        assert not is_rung(consumer)
        for append in (
            lambda: topic.append(1),
            lambda: topic.append_many([1]),
            lambda: producer.send("orders", 1).result(),
        ):
            append()
            assert is_rung(consumer)
        with log.transaction() as transaction:
            transaction.send("other", b"x")
            transaction.send("orders", 1)
        assert is_rung(consumer)
        assert values(consumer.poll()) == [1, 1, 1, 1]


def test_a_consumer_of_a_pattern_hears_of_a_topic_that_comes(log, topic):
    """Nobody knows its number before."""
    with waiting(log, re.compile("or.*")) as consumer:
        log.topic("orphans", value=int).append(11)
        assert is_rung(consumer)
        assert values(consumer.poll()) == [11]


def test_a_consumer_that_is_given_others_hears_of_them(log, topic):
    """With its next wait, and of the first no longer."""
    other = log.topic("other", value=int)
    with waiting(log, "orders") as consumer:
        consumer.assign([("other", 0)])
        assert values(consumer.poll(timeout=0.01)) == []
        topic.append(1)
        assert not is_rung(consumer)
        other.append(2)
        assert is_rung(consumer)


def test_a_member_hears_of_its_group_and_of_what_it_reads(log, topic):
    """Of other groups and other topics it does not; one of a pattern hears of all."""
    other = log.topic("other", value=int)
    with waiting(log, "orders", group="g") as member, waiting(log, re.compile(".*"), group="h") as curious:
        other.append(1)
        log.consumer("orders", group="i").close()
        assert not is_rung(member)
        assert is_rung(curious)
        topic.append(1)
        assert is_rung(member)
        log.consumer("orders", group="g").close()
        assert is_rung(member)


def test_a_member_that_gets_a_topic_hears_of_it(log, topic):
    """Whatever it had before."""
    other = log.topic("other", value=int)
    with waiting(log, "orders", "other", group="g") as first:
        second = log.consumer("orders", "other", group="g", start="latest")
        for _ in range(4):
            first.poll(timeout=0.01)
            second.poll(timeout=0.01)
        assert [len(first.assignment()), len(second.assignment())] == [1, 1]
        second.close()
        first.poll(timeout=0.01)
        first.poll(timeout=0.01)
        assert not is_rung(first)
        for one in (topic, other):
            one.append(1)
            assert is_rung(first)


# -- what cannot be read ------------------------------------------------------------------------------------------


def test_good_records_come_before_a_damaged_batch(log, topic):
    """Then CorruptBatch as often as one asks; the position stays, and seek() goes past it."""
    rewrite_batch(topic, 3, flip_last_bit)
    with log.consumer("orders", group="g") as consumer:
        assert values(consumer.poll()) == [0]
        for _ in range(2):
            with pytest.raises(eventlog.CorruptBatch, match=r"orders\[0\] up to offset 3"):
                consumer.poll()
            assert consumer.position(TP) == 1
        consumer.seek(TP, 4)
        assert values(consumer.poll()) == [4, 5, 6, 7, 8, 9]


def test_a_loop_raises_at_the_damage_and_commits_what_came_before(log, topic):
    """The next consumer of the group stands before it."""
    rewrite_batch(topic, 9, flip_last_bit)
    seen = []
    with log.consumer("orders", group="g") as consumer:
        with pytest.raises(eventlog.CorruptBatch):
            seen.extend(record.value for record in consumer)
    with log.consumer("orders", group="g") as consumer:
        assert (seen, consumer.position(TP)) == ([0, 1, 2, 3], 4)


def test_damage_in_one_partition_leaves_the_others_readable(log):
    """Every record that can be read comes, whatever the order in which partitions are looked at."""
    topic = log.topic("orders", partitions=3, value=int)
    for partition in range(3):
        topic.append(partition, partition=partition)
    rewrite_batch(topic, 0, flip_last_bit, partition=1)
    seen, failures = [], 0
    with log.consumer("orders") as consumer:
        for _ in range(8):
            try:
                seen += values(consumer.poll())
            except eventlog.CorruptBatch:
                failures += 1
    assert sorted(seen) == [0, 2]
    assert failures


def test_a_deleted_topic_is_told_of(log, topic):
    """UnknownTopic, whether anything had been read of it or not, until another has its name."""
    consumers = [log.consumer("orders"), log.consumer("orders", start="latest")]
    consumers[0].poll()
    log.delete_topic("orders")
    for _ in range(2):
        for consumer in consumers:
            with pytest.raises(eventlog.UnknownTopic, match="deleted"):
                consumer.poll()
    log.topic("orders", value=str).append("new")
    for consumer in consumers:
        assert [record.value for record in consumer.poll()] == ["new"]


def test_a_dropped_consumer_leaves_no_place_to_sleep(log):
    """Its descriptors go with it, and its FIFO with the next commit."""
    topic = log.topic("orders")
    for _ in range(3):
        consumer = log.consumer("orders")
        consumer.poll(timeout=0.01)
        del consumer
    topic.append(b"x")
    assert list((log.path / "waiters").glob("*.fifo")) == []


# -- a reader that does nothing but wait ---------------------------------------------------------------------------


@contextmanager
def patient(log: eventlog.EventLog) -> Iterator[tuple[Any, list[int]]]:
    """A consumer as a responder has it, which is told of commits and has read everything; and its fetches by now."""
    with log.consumer("orders", start="latest") as consumer:
        consumer._be_patient()
        reader = consumer._core._fetcher._reader
        sound, fetches = reader.fetch, []

        def counted(*arguments: Any, **options: Any) -> Any:
            fetches.append(len(fetches))
            return sound(*arguments, **options)

        reader.fetch = counted
        assert consumer.poll(0.01) == []
        log.topic("orders", value=int).append(10)
        assert values(consumer.poll(PATIENCE_SECONDS)) == [10]
        fetches.clear()
        yield consumer, fetches


def test_a_patient_reader_looks_once_for_each_record(log, topic):
    """Not before it waits as well: while it looks, others of its process do nothing."""
    with patient(log) as (consumer, fetches):
        for number in range(20):
            topic.append(number)
            assert values(consumer.poll(PATIENCE_SECONDS)) == [number]
        assert len(fetches) == 20


def test_a_patient_reader_finds_what_it_was_not_told_of(log, topic, monkeypatch):
    """At once when it does not wait, and with the next look of a wait."""
    with patient(log) as (consumer, _), monkeypatch.context() as lost:
        lost.setattr(Notifier, "notify", lambda *_: None)
        topic.append(11)
        assert values(consumer.poll(0.0)) == [11]
        topic.append(12)
        began_s = time.monotonic()
        assert values(consumer.poll(PATIENCE_SECONDS)) == [12]
        assert time.monotonic() - began_s < PATIENCE_SECONDS / 2


@pytest.mark.parametrize(
    ("move", "expected"),
    [
        (lambda consumer: consumer.seek(TP, 8), [8, 9, 10]),
        (lambda consumer: consumer.assign([TP]), [11]),
        (lambda consumer: (consumer.pause(TP), consumer.poll(0.2), consumer.resume(TP)), [11]),
    ],
)
def test_a_patient_reader_looks_when_its_positions_changed(log, topic, monkeypatch, move, expected):
    """Nobody would tell it of what is there by then."""
    with patient(log) as (consumer, _):
        with monkeypatch.context() as lost:
            lost.setattr(Notifier, "notify", lambda *_: None)
            if expected == [11]:
                topic.append(11)
        move(consumer)
        began_s = time.monotonic()
        assert values(consumer.poll(PATIENCE_SECONDS)) == expected
        assert time.monotonic() - began_s < PATIENCE_SECONDS / 2
