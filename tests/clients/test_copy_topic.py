"""Copies of topics: every record once, positions that are known, groups that go on."""

from __future__ import annotations

import random
import threading
from typing import Any

import attrs
import pytest

import eventlog
from eventlog import EventLog, TopicPartition


@attrs.frozen
class Order:
    """A value of the new topic."""

    sku: str
    count: int


def _orders(log: EventLog, count: int = 100, **options: Any) -> eventlog.Topic[str, Any]:
    orders = log.topic("orders", key=str, value="json", partitions=3, **options)
    orders.append_many(
        [{"sku": "tea", "count": number} for number in range(count)],
        keys=[f"key {number % 7}" for number in range(count)],
    )
    return orders


def _order(document: dict[str, Any]) -> Order:
    return Order(document["sku"], document["count"])


def test_a_copy_has_the_records_with_other_values(log: EventLog) -> None:
    """In their partitions, in their order, with keys, headers, times and tombstones."""
    orders = _orders(log, 20)
    orders.append(None, key="gone", headers={"a": b"b"}, timestamp_ms=5)
    orders.append({"sku": "no key", "count": 0}, partition=2)
    told: list[tuple[int, int]] = []
    copy = log.copy_topic(
        orders, to="orders2", value=Order, convert=_order, max_records=9, progress=lambda *both: told.append(both)
    )
    assert copy.topic.name == "orders2"
    assert copy.records == 22
    assert told == [(9, 22), (18, 22), (22, 22)]
    for old, new in zip(orders.read(), log.topic("orders2", value=Order).read(), strict=True):
        assert (old.partition, old.offset, old.key, old.headers, old.timestamp_ms) == (
            new.partition,
            new.offset,
            new.key,
            new.headers,
            new.timestamp_ms,
        )
        assert new.value == (None if old.value is None else _order(old.value))
    assert [record.key for _, record in log.read_all(topics=["orders"])] == [
        record.key for _, record in log.read_all(topics=["orders2"])
    ]


def test_a_copy_has_the_options_of_the_topic(log: EventLog) -> None:
    """Also its index, and so the versions of its keys."""
    _orders(log, index="key", partitioner="murmur2", max_record_bytes=5000, duplicate_window=7.0)
    copy = log.copy_topic("orders", to="orders2", value=Order, convert=_order).topic
    assert (copy.partitions, copy.partitioner, copy.index) == (3, "murmur2", "key")
    assert (copy.max_record_bytes, copy.duplicate_window, copy.key) == (5000, 7.0, "str")
    assert copy.version("key 1") == log.topic("orders").version("key 1")


def test_a_copy_goes_on_with_what_has_come_since(log: EventLog) -> None:
    """And has nothing to do if nothing has come."""
    orders = _orders(log, 10)
    log.copy_topic(orders, to="orders2", value=Order, convert=_order)
    orders.append({"sku": "late", "count": 1}, key="late")
    calls: list[object] = []
    copy = log.copy_topic(orders, to="orders2", value=Order, convert=lambda one: calls.append(one) or _order(one))
    assert len(calls) == 1
    assert copy.records == 11
    assert log.copy_topic(orders, to="orders2").records == 11


@pytest.mark.parametrize("seed", range(5))
def test_every_old_offset_has_a_new_one(log: EventLog, seed: int) -> None:
    """Wherever records were deleted, before the copy and during it."""
    rng = random.Random(seed)
    orders = log.topic("orders", value=int, partitions=2)
    for _ in range(6):
        orders.append_many(list(range(rng.randrange(1, 20))), partition=rng.randrange(2))
        for number, (first, end) in orders.bounds().items():
            if rng.random() < 0.3:
                orders.delete_records({number: rng.randint(first, end)})
        if rng.random() < 0.6:
            log.copy_topic(orders, to="copies", max_records=rng.choice([1, 3, 100]))
    copy = log.copy_topic(orders, to="copies")
    copies = {number: [record.value for record in copy.topic.read(number)] for number in range(2)}
    for number, (_, end) in orders.bounds().items():
        for record in orders.read(number):
            assert copies[number][copy.offset(number, record.offset)] == record.value
        offsets = [copy.offset(number, offset) for offset in range(end + 1)]
        assert offsets == sorted(offsets)
        assert offsets[end] == len(copies[number])
        with pytest.raises(eventlog.OffsetOutOfRange, match=r"has not been copied.*Call copy_topic\(\) again"):
            copy.offset(number, end + 1)


def test_groups_go_on_in_the_copy(log: EventLog) -> None:
    """Each with the first record that it has not finished."""
    orders = _orders(log)
    orders.delete_records({0: 3})
    with log.consumer(orders, group="billing", auto_commit=False) as consumer:
        seen = consumer.poll(max_records=40)
        consumer.commit()
    log.consumer(log.topic("other"), group="elsewhere").close()
    copy = log.copy_topic(orders, to="orders2", value=Order, convert=_order)
    carried = copy.carry_groups()
    assert list(carried) == ["billing"]
    assert carried["billing"][TopicPartition("orders2", 0)] >= 0
    with log.consumer(copy.topic, group="billing") as consumer:
        rest = [record.value.count for record in consumer.poll(max_records=1000)]
    old = [record.value["count"] for record in orders.read()]
    assert sorted([record.value["count"] for record in seen] + rest) == sorted(old)


def test_a_group_beyond_the_copy_is_not_carried(log: EventLog) -> None:
    """It would get records again that it has finished."""
    orders = _orders(log, 5)
    copy = log.copy_topic(orders, to="orders2", value=Order, convert=_order)
    orders.append_many([{"sku": "late", "count": number} for number in range(30)], keys=[str(n) for n in range(30)])
    with log.consumer(orders, group="billing") as consumer:
        consumer.poll(max_records=100)
        consumer.commit()
    with pytest.raises(eventlog.OffsetOutOfRange, match="has not been copied"):
        copy.carry_groups("billing")
    assert log.copy_topic(orders, to="orders2", value=Order, convert=_order).carry_groups("billing")


def test_an_error_of_the_function_names_the_record(log: EventLog) -> None:
    """What was copied before stays, and the next call begins with that record."""
    numbers = log.topic("numbers", value=int)
    numbers.append_many(list(range(10)))

    def convert(number: int) -> str:
        if number == 7 and not repaired:
            raise LookupError("no seven")
        return str(number)

    repaired: list[bool] = []
    with pytest.raises(LookupError) as caught:
        log.copy_topic("numbers", to="texts", value=str, convert=convert, max_records=2)
    assert caught.value.__notes__ == ["while copying offset 7 of numbers[0]"]
    assert log.topic("texts").bounds() == {0: (0, 6)}
    repaired.append(True)
    copy = log.copy_topic("numbers", to="texts", value=str, convert=convert)
    assert [record.value for record in copy.topic.read()] == [str(number) for number in range(10)]


def test_a_record_of_somebody_else_in_the_copy_is_found(log: EventLog) -> None:
    """The new offsets would be wrong."""
    orders = _orders(log, 5)
    copy = log.copy_topic(orders, to="orders2", value=Order, convert=_order)
    copy.topic.append(Order("ours", 1), key="key 1")
    assert log.copy_topic(orders, to="orders2").records == 5  # there is nothing to do: producers may have switched
    orders.append({"sku": "late", "count": 1}, key="key 1")
    with pytest.raises(eventlog.TopicMismatch, match="has records that are not of this copy"):
        log.copy_topic(orders, to="orders2", value=Order, convert=_order)
    log.topic("full", value=int, key=str, partitions=3).append(1)
    with pytest.raises(eventlog.TopicMismatch, match="has records that are not of this copy"):
        log.copy_topic(orders, to="full")


def test_a_topic_that_was_made_again_is_copied_again(log: EventLog) -> None:
    """The old place means nothing in it."""
    _orders(log, 5)
    log.copy_topic("orders", to="orders2", value=Order, convert=_order)
    log.delete_topic("orders2")
    assert log.copy_topic("orders", to="orders2", value=Order, convert=_order).records == 5


def test_a_copy_of_a_source_that_was_made_again_is_refused(log: EventLog) -> None:
    """The records of the earlier one are in the copy; nobody else is copying, and so it says."""
    _orders(log, 5)
    log.copy_topic("orders", to="orders2", value=Order, convert=_order)
    log.delete_topic("orders")
    _orders(log, 3)
    with pytest.raises(eventlog.TopicMismatch, match="has records that are not of this copy"):
        log.copy_topic("orders", to="orders2", value=Order, convert=_order)
    assert log.copy_topic("orders", to="orders3", value=Order, convert=_order).records == 3


def test_two_threads_copy_each_record_once(disk_log: EventLog) -> None:
    """Only one of them gets on at a time."""
    orders = _orders(disk_log, 300)

    def copy() -> None:
        disk_log.copy_topic(orders, to="orders2", value=Order, convert=_order, max_records=5)

    disk_log.topic("orders2", key=str, value=Order, partitions=3)
    threads = [threading.Thread(target=copy) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    new = [(record.key, record.value.count) for record in disk_log.topic("orders2", value=Order).read()]
    assert new == [(record.key, record.value["count"]) for record in orders.read()]


def test_large_records_take_smaller_transactions(log: EventLog) -> None:
    """A transaction that has no room is tried with fewer records."""
    blobs = log.topic("blobs", max_record_bytes=20 << 20)
    blobs.append_many([bytes(16 << 20)] * 6)
    copy = log.copy_topic("blobs", to="copies")
    assert [len(record.value) for record in copy.topic.read()] == [16 << 20] * 6


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"to": "orders"}, "cannot copy topic 'orders' to itself"),
        ({"to": "two"}, "they have 3 and 2 partitions"),
        ({"to": "three"}, "their partitioners are 'crc32' and 'murmur2'"),
        ({"to": "new", "key": int}, "their keys have the codecs 'str' and 'int'"),
        ({"to": "new", "max_records": 0}, "max_records must be at least 1"),
    ],
)
def test_what_cannot_be_copied_is_refused(log: EventLog, options: dict[str, Any], told: str) -> None:
    """Before anything is stored."""
    _orders(log, 5)
    log.topic("two", key=str, value="json", partitions=2)
    log.topic("three", key=str, value="json", partitions=3, partitioner="murmur2")
    with pytest.raises(ValueError, match=told):
        log.copy_topic("orders", **options)


def test_a_topic_that_is_not_there_is_not_copied(log: EventLog) -> None:
    """Nor created."""
    with pytest.raises(eventlog.UnknownTopic):
        log.copy_topic("orders", to="orders2")
    assert log.topics() == []


def test_classes_are_declared_for_the_copy(log: EventLog) -> None:
    """A class has no name by which it could be declared."""
    log.topic("orders", value=Order).append(Order("tea", 2))
    with pytest.raises(ValueError, match=r"its values have the codec 'class'.*Pass value= for the new topic"):
        log.copy_topic("orders", to="orders2")
    copy = log.copy_topic("orders", to="orders2", value="json", convert=attrs.asdict)
    assert [record.value for record in copy.topic.read()] == [{"sku": "tea", "count": 2}]
