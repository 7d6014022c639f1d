"""A topic is deleted and made again, by whomever: a name means the topic that has it now."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog import TopicPartition

Topic = eventlog.Topic[Any, Any]
EXPECTED: dict[type, list[Any]] = {int: [7, 8], str: ["x", "y"]}
"""What the new topic gets, by the type of its values; that of the old topic is int."""


@pytest.fixture
def old(log: eventlog.EventLog) -> Topic:
    """The topic before."""
    topic = log.topic("orders", partitions=2, value=int)
    topic.append_many([0, 1, 2], partition=0)
    return topic


@pytest.fixture(params=[int, str], ids=["same types", "another codec"])
def kind(request: pytest.FixtureRequest) -> type:
    """The type of the values of the new topic."""
    kind: type = request.param
    return kind


@pytest.fixture
def expected(kind: type) -> list[Any]:
    """Two values for the new topic."""
    return EXPECTED[kind]


@pytest.fixture
def make_again(log: eventlog.EventLog, old: Topic, kind: type) -> Callable[[], Topic]:
    """Deletes the topic and makes another of its name."""

    def make() -> Topic:
        log.delete_topic("orders")
        return log.topic("orders", partitions=2, value=kind)

    return make


def values(records: list[eventlog.Record[Any, Any]]) -> list[Any]:
    """The values of some records."""
    return [record.value for record in records]


# --- producers --------------------------------------------------------------------------------------------------------


def test_a_producer_sends_to_the_topic_that_has_the_name(
    log: eventlog.EventLog, make_again: Callable[[], Topic], expected: list[Any]
) -> None:
    """From the first record on, nothing is refused, and it encodes as that topic wants it."""
    with log.producer() as producer:
        producer.send("orders", 3, partition=0).result()
        topic = make_again()
        for _ in range(100):
            producer.send_many("orders", expected, partition=1)
        producer.flush()
        assert topic.bounds() == {0: (0, 0), 1: (0, 200)}
        assert [record.value for record in topic.read(1)][-2:] == expected


def test_a_busy_producer_has_its_records_stored_in_a_topic_of_the_same_kind(log: eventlog.EventLog, old: Topic) -> None:
    """What is under way to a name when its topic is made again goes to the new one."""
    other = log.topic("other")
    with log.producer(linger=60.0) as producer:
        producer.send("orders", 1, partition=0).result()
        producer.send(other, b"under way")
        sent = producer.send("orders", 2, partition=0)
        log.delete_topic("orders")
        topic = log.topic("orders", partitions=2, value=int)
        later = producer.send("orders", 3, partition=0)
        producer.flush()
        assert (sent.result().offset, later.result().offset) == (0, 1)
        assert producer.send("orders", 4, partition=0).result().offset == 2
    assert [record.value for record in topic.read(0)] == [2, 3, 4]
    assert log.verify().problems == ()


def test_records_under_way_to_a_topic_of_another_kind_are_refused(log: eventlog.EventLog, old: Topic) -> None:
    """They were encoded and placed for the old one; the next are for the new one."""
    with log.producer(linger=60.0) as producer:
        producer.send("orders", 1, partition=0).result()
        sent = producer.send("orders", 2, partition=0)
        log.delete_topic("orders")
        topic = log.topic("orders", partitions=3, value=int)
        assert isinstance(sent.exception(), eventlog.UnknownTopic)
        assert producer.send("orders", 3, partition=2).result().offset == 0
    assert topic.bounds()[2] == (0, 1)


def test_a_topic_object_means_its_own_topic(log: eventlog.EventLog, old: Topic) -> None:
    """Who holds the old one is told, and so are records that a producer sent to it."""
    with log.producer(linger=60.0) as producer:
        by_object = producer.send(old, 1, partition=0)
        by_name = producer.send("orders", 2, partition=0)
        log.delete_topic("orders")
        topic = log.topic("orders", partitions=2, value=int)
        for delivery in (by_object, by_name):
            assert isinstance(delivery.exception(), eventlog.UnknownTopic)
        with pytest.raises(eventlog.UnknownTopic):
            old.append(3)
        with pytest.raises(eventlog.UnknownTopic):
            list(old.read(0))
        assert producer.send("orders", 4, partition=0).result().offset == 0
    assert topic.bounds()[0] == (0, 1)


# --- consumers --------------------------------------------------------------------------------------------------------


def _of_a_group(log: eventlog.EventLog) -> eventlog.Consumer[Any, Any]:
    return log.consumer("orders", group="billing")


def _of_nobody(log: eventlog.EventLog) -> eventlog.Consumer[Any, Any]:
    return log.consumer("orders")


def _by_pattern(log: eventlog.EventLog) -> eventlog.Consumer[Any, Any]:
    return log.consumer(re.compile("ord.*"))


def _of_the_end(log: eventlog.EventLog) -> eventlog.Consumer[Any, Any]:
    consumer = log.consumer("orders", start="latest")
    log.topic("orders").append_many([0, 1, 2], partition=0)
    return consumer


def _assigned(log: eventlog.EventLog) -> eventlog.Consumer[Any, Any]:
    consumer = log.consumer()
    consumer.assign([TopicPartition("orders", 0)])
    return consumer


def _assigned_in_a_group(log: eventlog.EventLog) -> eventlog.Consumer[Any, Any]:
    consumer = log.consumer(group="billing")
    consumer.assign([TopicPartition("orders", 0)])
    return consumer


@pytest.mark.parametrize(
    "made",
    [_of_a_group, _of_nobody, _by_pattern, _of_the_end, _assigned, _assigned_in_a_group],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("is_noticed", [False, True], ids=["at once", "between"])
def test_a_consumer_goes_on_with_the_first_record_of_the_new_topic(
    log: eventlog.EventLog,
    make_again: Callable[[], Topic],
    expected: list[Any],
    made: Callable[[eventlog.EventLog], eventlog.Consumer[Any, Any]],
    is_noticed: bool,
) -> None:
    """Wherever it stood in the old one, and whether or not it has seen that this is gone."""
    with made(log) as consumer:
        assert values(consumer.poll(timeout=1.0)) == [0, 1, 2]
        if is_noticed:
            log.delete_topic("orders")
            if made is _by_pattern:
                assert consumer.poll() == []
            else:
                with pytest.raises(eventlog.UnknownTopic):
                    consumer.poll()
            log.topic("orders")
        topic = make_again()
        topic.append_many(expected, partition=0)
        found: list[Any] = []
        for _ in range(4):
            found += values(consumer.poll(timeout=0.05))
        assert found == expected
        assert consumer.poll() == []


def test_assigning_again_reads_the_new_topic(log: eventlog.EventLog, make_again: Callable[[], Topic]) -> None:
    """Without a poll between, and without assigning nothing first."""
    consumer = _assigned(log)
    consumer.poll()
    topic = make_again()
    topic.append(None, partition=0)
    consumer.assign([TopicPartition("orders", 0)])
    assert consumer.position(("orders", 0)) == 0
    consumer.pause(("orders", 0))
    assert values(consumer.poll()) == []
    consumer.resume(("orders", 0))
    assert values(consumer.poll()) == [None]


def test_a_pause_outlives_the_topic(log: eventlog.EventLog, make_again: Callable[[], Topic]) -> None:
    """It is of the partition's name, too."""
    consumer = log.consumer()
    consumer.assign([TopicPartition("orders", 0), TopicPartition("orders", 1)])
    consumer.poll()
    consumer.pause(("orders", 0))
    topic = make_again()
    topic.append(None, partition=0)
    topic.append(None, partition=1)
    assert [record.partition for record in consumer.poll(timeout=1.0)] == [1]
    consumer.resume(("orders", 0))
    assert [record.partition for record in consumer.poll(timeout=1.0)] == [0]


CALLS: dict[str, Callable[[eventlog.Consumer[Any, Any]], object]] = {
    "position": lambda consumer: consumer.position(("orders", 1)),
    "seek": lambda consumer: consumer.seek(("orders", 1), 0),
    "seek_to_beginning": lambda consumer: consumer.seek_to_beginning(("orders", 1)),
    "seek_to_end": lambda consumer: consumer.seek_to_end(("orders", 1)),
    "seek_to_time": lambda consumer: consumer.seek_to_time(0, ("orders", 1)),
    "seek_to_committed": lambda consumer: consumer.seek_to_committed(("orders", 1)),
    "pause": lambda consumer: consumer.pause(("orders", 1)),
    "resume": lambda consumer: consumer.resume(("orders", 1)),
    "committed": lambda consumer: consumer.committed(("orders", 1)),
    "commit": lambda consumer: consumer.commit({("orders", 1): 0}),
    "poll": lambda consumer: [consumer.poll() for _ in range(2)],
}
"""Calls that name a partition, or read it."""


@pytest.mark.parametrize("call", CALLS)
def test_a_chosen_partition_that_the_new_topic_lacks_is_named(log: eventlog.EventLog, old: Topic, call: str) -> None:
    """In each call, also in the first; the others are read on, and another choice ends it."""
    consumer = log.consumer(group="billing")
    consumer.assign([TopicPartition("orders", 0), TopicPartition("orders", 1)])
    consumer.poll()
    log.delete_topic("orders")
    topic = log.topic("orders", partitions=1, value=int)
    topic.append(7)
    for _ in range(2):
        with pytest.raises(eventlog.UnknownPartition, match=r"orders\[1\].* with 1 partition\.") as raised:
            CALLS[call](consumer)
        assert (raised.value.topic, raised.value.partition) == ("orders", 1)
    consumer.assign([TopicPartition("orders", 0)])
    assert consumer.position(("orders", 0)) in (0, 1)  # the second poll finishes what the first has handed out
    topic.append(8)
    assert values(consumer.poll(timeout=1.0))[-1] == 8
    with pytest.raises(ValueError, match="not assigned"):
        consumer.position(("orders", 1))


def test_a_partition_that_comes_back_is_read(log: eventlog.EventLog, old: Topic) -> None:
    """The topic that was made again gets it later."""
    consumer = _assigned(log)
    consumer.assign([TopicPartition("orders", 1)])
    log.delete_topic("orders")
    topic = log.topic("orders", partitions=1, value=int)
    with pytest.raises(eventlog.UnknownPartition):
        consumer.poll()
    topic.create_partitions(2)
    topic.append(7, partition=1)
    assert values(consumer.poll()) == [7]


@pytest.mark.parametrize("made", [_of_nobody, _assigned, _assigned_in_a_group], ids=lambda f: f.__name__)
def test_what_is_said_of_a_partition_means_the_new_topic(
    log: eventlog.EventLog,
    make_again: Callable[[], Topic],
    made: Callable[[eventlog.EventLog], eventlog.Consumer[Any, Any]],
) -> None:
    """Without a poll between: a position is that of the new topic, and a seek, a pause and a commit go to it."""
    with made(log) as consumer:
        assert len(consumer.poll(timeout=1.0)) == 3
        topic = make_again()
        topic.append_many([None] * 5, partition=0)
        assert consumer.position(("orders", 0)) == 0
        assert consumer.lag()["orders", 0] == 5
        consumer.seek(("orders", 0), 3)
        consumer.pause(("orders", 0))
        assert consumer.poll() == []
        consumer.resume(("orders", 0))
        assert [record.offset for record in consumer.poll(timeout=1.0)] == [3, 4]
        if consumer.group is not None:
            topic = make_again()
            topic.append_many([None] * 5, partition=0)
            consumer.commit({("orders", 0): 2})
            assert consumer.committed(("orders", 0)) == 2


# --- the others -------------------------------------------------------------------------------------------------------


def test_processors_projections_and_transactions_go_on(
    log: eventlog.EventLog, make_again: Callable[[], Topic], expected: list[Any]
) -> None:
    """Each by the name that it was made with."""
    seen: list[Any] = []

    def fold(state: Any, record: eventlog.Record[Any, Any]) -> None:
        state["last"] = record.offset

    processor = log.processor("orders", function=lambda _, record: seen.append(record.value), group="billing")
    projection = log.projection("last", fold, topics=["orders"], key=str, value=int)
    processor.run_to_end()
    projection.catch_up()
    with log.transaction() as transaction:
        transaction.send("orders", 3, partition=0)
    make_again()
    with log.transaction() as transaction:
        transaction.send_many("orders", expected, partition=0)
    assert processor.run_to_end() == 2
    assert seen == [0, 1, 2, *expected]
    projection.catch_up()
    assert dict(projection.state.items()) == {"last": 1}
    assert [record.value for _, record in log.read_all(topics=["orders"])][-2:] == expected


def test_another_process_makes_the_topic_again(path: Path) -> None:
    """What a producer and a consumer know of a topic is asked of the log, not of this process."""
    from tests.processes.child import Child
    from tests.store.volume_scenes import make_again_when_told

    with eventlog.open(path) as log, Child(make_again_when_told, str(path)) as other:
        log.topic("orders", value=int).append(1)
        other.hear("ready")
        with log.producer() as producer, log.consumer("orders") as consumer:
            producer.send("orders", 2).result()
            assert values(consumer.poll()) == [1, 2]
            other.say()
            other.hear("made")
            assert producer.send("orders", "tea").result().offset == 0
            assert values(consumer.poll(timeout=1.0)) == ["tea"]
