"""Partitions that are added later: who learns of them, and when."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import eventlog
from eventlog import EventLog, Producer, Topic
from eventlog.store.records.append import AppendOne
from eventlog.store.records.topics import CreatePartitions, DeleteTopic
from tests.clients.helpers import values

KEY = next(f"key-{number}" for number in range(100) if len({zlib.crc32(b"key-%d" % number) % n for n in (2, 8)}) == 2)
OLD, NEW = (zlib.crc32(KEY.encode()) % count for count in (2, 8))


@pytest.fixture
def orders(log: EventLog) -> Topic[str, bytes]:
    """A topic of two partitions."""
    return log.topic("orders", partitions=2, key=str, value=bytes)


@pytest.fixture
def other(path: Path) -> Iterator[Topic[Any, Any]]:
    """The topic `orders` of a log at `path`, opened when it had two partitions."""
    with eventlog.open(path) as log:
        yield log.topic("orders", partitions=2, key=str, value=bytes)


@pytest.fixture
def grower(path: Path, other: Topic[Any, Any]) -> Iterator[Topic[Any, Any]]:
    """The same topic by a second log object, to add partitions with."""
    with eventlog.open(path) as log:
        yield log.topic(other.name)


def placed(producer: Producer, topic: str | Topic[Any, Any], **options: Any) -> int:
    """The partition of one sent and stored record."""
    return producer.send(topic, b"", **options).result().partition


# --- the call itself ------------------------------------------------------------------------------------------------


def test_a_topic_gets_partitions_and_keeps_all_else(path: Path) -> None:
    """Its id, its records and its options are what they were, after reopening too."""
    with eventlog.open(path) as log:
        orders = log.topic("orders", partitions=2, key=str, value="json", partitioner="murmur2", max_record_bytes=99)
        meta = orders.append(1, key=KEY)
        orders.create_partitions(8)
        assert orders.partitions == 8
        assert orders.uuid == log.topic("orders").uuid
    with eventlog.open(path) as log:
        opened = log.topic("orders")
        assert (opened.partitions, opened.key, opened.value, opened.uuid) == (8, "str", "json", orders.uuid)
        assert (opened.partitioner, opened.max_record_bytes) == ("murmur2", 99)
        assert [(record.partition, record.offset) for record in opened.read()] == [(meta.partition, meta.offset)]
        assert log.verify().is_sound


def test_new_partitions_are_empty_and_take_records(orders: Topic[str, bytes]) -> None:
    """They begin at offset 0."""
    orders.create_partitions(3)
    assert orders.bounds() == {0: (0, 0), 1: (0, 0), 2: (0, 0)}
    assert orders.append(b"tea", partition=2).offset == 0
    assert values(orders.read(2)) == [b"tea"]


def test_as_many_as_there_are_changes_nothing(log: EventLog, orders: Topic[str, bytes]) -> None:
    """Two programs may ask for the same number."""
    version = log._store.topics_version()
    orders.create_partitions(2)
    assert (orders.partitions, log._store.topics_version()) == (2, version)


def test_partitions_are_never_removed(orders: Topic[str, bytes]) -> None:
    """The message says how many there are."""
    with pytest.raises(ValueError, match=r"'orders' 1 partitions: it has 2.*Nothing was changed.*more than 2"):
        orders.create_partitions(1)
    assert orders.partitions == 2


@pytest.mark.parametrize(
    ("total", "error"), [(0, ValueError), (100_001, ValueError), (2.5, TypeError), ("3", TypeError)]
)
def test_a_number_that_can_not_be_is_refused(orders: Topic[str, bytes], total: Any, error: type[Exception]) -> None:
    """Before anything is looked at."""
    with pytest.raises(error, match="total must be"):
        orders.create_partitions(total)
    assert orders.partitions == 2


def test_a_deleted_topic_gets_none(log: EventLog, orders: Topic[str, bytes]) -> None:
    """Not even if another topic has its name by now."""
    log.delete_topic("orders")
    with pytest.raises(eventlog.UnknownTopic, match="deleted"):
        orders.create_partitions(3)
    again = log.topic("orders")
    with pytest.raises(eventlog.UnknownTopic, match="deleted"):
        orders.create_partitions(3)
    assert (again.partitions, orders.partitions) == (1, 2)


def test_a_closed_log_adds_none(path: Path) -> None:
    """The number that was known last can still be asked for."""
    with eventlog.open(path) as log:
        orders = log.topic("orders", partitions=2)
    with pytest.raises(eventlog.LogClosed):
        orders.create_partitions(3)
    assert orders.partitions == 2


def test_the_version_of_the_topics_rises_with_each_change(log: EventLog) -> None:
    """Whoever remembers it knows by one look whether topics or partitions came or went."""
    seen = [log._store.topics_version()]
    orders = log.topic("orders")
    seen.append(log._store.topics_version())
    log.topic("orders").append(b"no change")
    orders.create_partitions(2)
    seen.append(log._store.topics_version())
    log.delete_topic("orders")
    seen.append(log._store.topics_version())
    assert seen == [0, 1, 2, 3]


# --- in one round with others ---------------------------------------------------------------------------------------


def run_together(log: EventLog, *works: Any) -> None:
    """Has works stored in one transaction."""
    for work in works:
        log._store.committer.submit(work)
    log._store.committer.commit_queued()


def test_an_append_behind_it_in_the_round_is_placed_anew(log: EventLog, orders: Topic[str, bytes]) -> None:
    """It says so and stores nothing; one before it stays, and one by number is stored."""
    row = orders._route.row
    before, behind, by_number = (
        AppendOne(row, 0, None, b"tea", (), 1, is_placed=is_placed) for is_placed in (True, True, False)
    )
    run_together(log, before, CreatePartitions(row, 3), behind, by_number)
    assert behind.newer is not None
    assert behind.newer.partitions == 3
    assert (before.offset, behind.offset, by_number.offset) == (0, -1, 1)
    assert orders.bounds()[0] == (0, 2)


def test_deleting_in_the_same_round_leaves_nothing(log: EventLog, orders: Topic[str, bytes]) -> None:
    """In either order."""
    row = orders._route.row
    run_together(log, CreatePartitions(row, 3), DeleteTopic("orders"))
    assert log.topics() == []
    row = log.topic("orders")._route.row
    refused = CreatePartitions(row, 3)
    run_together(log, DeleteTopic("orders"), refused)
    assert isinstance(refused.error, eventlog.UnknownTopic)
    assert log.topics() == []


# --- another object of the topic ------------------------------------------------------------------------------------


def test_append_goes_by_the_new_number_at_once(other: Topic[Any, Any], grower: Topic[Any, Any]) -> None:
    """The first append after the call, by an object that was not told."""
    assert other.append(b"", key=KEY).partition == OLD
    grower.create_partitions(8)
    assert other.append(b"", key=KEY).partition == NEW
    assert sum(end for _, end in other.bounds().values()) == 2, "the first attempt stored nothing"


def test_append_many_goes_by_the_new_number_at_once(other: Topic[Any, Any], grower: Topic[Any, Any]) -> None:
    """All columns are placed anew."""
    grower.create_partitions(8)
    keys = [f"key-{number}" for number in range(20)]
    ranges = other.append_many([b""] * 20, keys=keys)
    assert [part.partition for part in ranges] == sorted({zlib.crc32(key.encode()) % 8 for key in keys})
    assert sum(part.end - part.first for part in ranges) == 20
    assert sum(end for _, end in other.bounds().values()) == 20


def test_a_topic_of_one_partition_grows_too(path: Path) -> None:
    """Where keys did not matter before, they do now."""
    with eventlog.open(path) as log, eventlog.open(path) as second:
        stale = log.topic("orders", key=str)
        second.topic("orders").create_partitions(8)
        assert stale.append(b"", key=KEY).partition == NEW
        assert log.producer().send(stale, b"", key=KEY).result().partition == NEW


def test_appending_by_number_reaches_a_new_partition(other: Topic[Any, Any], grower: Topic[Any, Any]) -> None:
    """A number beyond the old ones is looked for; one beyond the new ones is an error."""
    grower.create_partitions(8)
    assert other.append(b"", partition=7).partition == 7
    assert other.append_many([b""], partition=6)[0].partition == 6
    with pytest.raises(eventlog.UnknownPartition, match="it has 8, from 0 to 7"):
        other.append(b"", partition=8)


def test_an_append_by_number_is_stored_once(other: Topic[Any, Any], grower: Topic[Any, Any]) -> None:
    """It need not be placed anew."""
    grower.create_partitions(8)
    other.append(b"", partition=0)
    other.append_many([b""], partition=0)
    assert other.bounds()[0] == (0, 2)


@pytest.mark.parametrize(
    "look",
    [
        lambda topic: topic.partitions,
        lambda topic: len(topic.bounds()),
        lambda topic: len({record.partition for record in topic.read()}),
        lambda topic: len(list(topic.read(7))) + 7,
        lambda topic: topic.delete_records({7: 1}) or 8,
        lambda topic: len({batch.partition for batch in topic.read_batches()}),
    ],
)
def test_reading_sees_the_new_partitions(other: Topic[Any, Any], grower: Topic[Any, Any], look: Any) -> None:
    """Each way of looking, as the first one after the call."""
    grower.create_partitions(8)
    for number in range(8):
        grower.append(b"", partition=number)
    assert look(other) == 8


def test_a_consumer_of_a_name_gets_the_new_partitions(path: Path) -> None:
    """The log may have known the topic before."""
    with eventlog.open(path) as log, eventlog.open(path) as second:
        log.topic("orders", partitions=2)
        second.topic("orders").create_partitions(3)
        with log.consumer("orders") as consumer:
            assert len(consumer.assignment()) == 3
        with log.consumer() as consumer:
            consumer.assign([("orders", 2)])


# --- producers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_name", [True, False])
def test_a_producer_with_nothing_under_way_goes_by_the_new_number(
    other: Topic[Any, Any], grower: Topic[Any, Any], by_name: bool
) -> None:
    """Its next record, however it names the topic."""
    with other._owner.producer() as producer:  # type: ignore[attr-defined]
        named = other.name if by_name else other
        assert placed(producer, named, key=KEY) == OLD
        grower.create_partitions(8)
        assert placed(producer, named, key=KEY) == NEW


def test_a_busy_producer_learns_with_its_next_commit(other: Topic[Any, Any], grower: Topic[Any, Any]) -> None:
    """What joined an open batch stays where it was placed; nothing is lost."""
    with other._owner.producer(linger=1000.0) as producer:  # type: ignore[attr-defined]
        first = producer.send(other, b"1", key=KEY)
        by_name = producer.send("orders", b"2", key=KEY)
        grower.create_partitions(8)
        joined = producer.send(other, b"3", key=KEY)
        producer.flush()
        later = producer.send(other, b"4", key=KEY)
        later_by_name = producer.send("orders", b"5", key=KEY)
    assert [one.result().partition for one in (first, by_name, joined, later, later_by_name)] == [OLD] * 3 + [NEW] * 2
    assert values(other.read(OLD)) == [b"1", b"2", b"3"]
    assert values(other.read(NEW)) == [b"4", b"5"]


def test_keyless_records_reach_the_new_partitions(other: Topic[Any, Any], grower: Topic[Any, Any]) -> None:
    """They take turns among all."""
    with other._owner.producer() as producer:  # type: ignore[attr-defined]
        producer.send(other, b"").result()
        grower.create_partitions(4)
        assert {placed(producer, other) for _ in range(8)} == {0, 1, 2, 3}


def test_sending_by_number_reaches_a_new_partition(other: Topic[Any, Any], grower: Topic[Any, Any]) -> None:
    """While something is under way as well."""
    with other._owner.producer(linger=1000.0) as producer:  # type: ignore[attr-defined]
        waiting = producer.send(other, b"", key=KEY)
        grower.create_partitions(8)
        assert placed(producer, other, partition=7) == 7
        with pytest.raises(eventlog.UnknownPartition, match="from 0 to 7"):
            producer.send(other, b"", partition=8)
        assert waiting.result().partition == OLD


def test_a_topic_that_learned_by_itself_does_not_confuse_its_producer(
    other: Topic[Any, Any], grower: Topic[Any, Any]
) -> None:
    """The topic object knows more partitions than the producer has buffers for, until that learns of them."""
    with other._owner.producer(linger=1000.0) as producer:  # type: ignore[attr-defined]
        producer.send(other, b"")
        grower.create_partitions(8)
        assert other.partitions == 8
        for number in range(2_000):
            producer.send(other, b"", key=f"key-{number}")
            producer.send(other, b"")
    assert sum(end for _, end in other.bounds().values()) == 4_001


def test_a_producer_fed_while_partitions_come_loses_nothing(other: Topic[Any, Any], grower: Topic[Any, Any]) -> None:
    """No delivery fails, and each record is there once."""
    deliveries = []
    with other._owner.producer() as producer:  # type: ignore[attr-defined]
        for total in range(3, 40):
            deliveries += [producer.send(other, b"%d" % total, key=f"key-{number}") for number in range(100)]
            grower.create_partitions(total)
    assert all(delivery.exception() is None for delivery in deliveries)
    assert sorted((record.partition, record.offset) for record in other.read()) == sorted(
        (delivery.result().partition, delivery.result().offset) for delivery in deliveries
    )
