"""
What bad input gets: a typed error that says what failed, on which values, what is stored now and what to do.

The lines that need another process or a file system are shown elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

import eventlog
from tests.clients.helpers import flip_last_bit, rewrite_batch


@attrs.frozen
class Case:
    """
    One bad thing to do.

    `says` are words of the message: what failed with its values, what is stored now, what to do next.
    """

    do: Callable[[Any], object]
    error: type[Exception]
    says: tuple[str, ...]
    is_ours: bool = True


def _consume(log: Any, use: Callable[[Any], object], **options: Any) -> object:
    with log.consumer("orders", **options) as consumer:
        return use(consumer)


def _closed(log: Any) -> Any:
    other = eventlog.open(":memory:")
    topic = other.topic("orders")
    other.close()
    return other, topic


def _forgotten_producer(log: Any) -> Any:
    producer = log.producer()
    producer.close()
    return producer


def _damaged(log: Any) -> Any:
    topic = log.topic("damaged")
    topic.append(b"x")
    rewrite_batch(topic, 0, flip_last_bit)
    return topic


def _too_new(log: Any) -> Any:
    topic = log.topic("new")
    topic.append(b"x")
    rewrite_batch(topic, 0, lambda data: data[:1] + b"\x63" + data[2:])
    return topic


ORDERS = ("orders", 0)
STORED_NOTHING = "Nothing was stored."
CHANGED_NOTHING = "Nothing was changed."
CASES = {
    "value for the codec": Case(
        lambda log: log.topic("orders").append(5),
        TypeError,
        ("value for topic 'orders'", "int", STORED_NOTHING, "Declare log.topic('orders', value=int)"),
        is_ours=False,
    ),
    "key for the codec": Case(
        lambda log: log.topic("orders").append(b"x", key=5),
        TypeError,
        ("key for topic 'orders'", "int", CHANGED_NOTHING, "key=int"),
        is_ours=False,
    ),
    "value for the codec, sent": Case(
        lambda log: log.producer().send("orders", {"a": 1}),
        TypeError,
        ("value for topic 'orders'", "dict", STORED_NOTHING, 'value="json"'),
        is_ours=False,
    ),
    "record larger than the limit": Case(
        lambda log: log.topic("small").append(b"x" * 101),
        eventlog.RecordTooLarge,
        ("101 bytes", "'small'", "100 bytes", STORED_NOTHING, "max_record_bytes="),
    ),
    "unknown topic, sent to": Case(
        lambda log: log.producer().send("nothing", b"x"),
        eventlog.UnknownTopic,
        ("no topic 'nothing'", CHANGED_NOTHING, "Create it with log.topic('nothing'"),
    ),
    "unknown topic, consumed": Case(
        lambda log: log.consumer("nothing"),
        eventlog.UnknownTopic,
        ("no topic 'nothing'", "Create it with"),
    ),
    "unknown topic, deleted": Case(
        lambda log: log.delete_topic("nothing"), eventlog.UnknownTopic, ("no topic 'nothing'",)
    ),
    "bad topic name": Case(
        lambda log: log.topic("a/b"),
        eventlog.InvalidTopicName,
        ("'a/b'", "1 to 249", CHANGED_NOTHING, "Choose another name."),
    ),
    "negative partition": Case(
        lambda log: log.topic("orders").append(b"x", partition=-1),
        ValueError,
        ("partition", "-1", "at least 0", CHANGED_NOTHING),
        is_ours=False,
    ),
    "partition that is not there": Case(
        lambda log: log.topic("orders").append(b"x", partition=7),
        eventlog.UnknownPartition,
        ("'orders'", "no partition 7", "from 0 to 0", CHANGED_NOTHING, "Pass one of them"),
    ),
    "partition that is not there, read": Case(
        lambda log: log.topic("orders").read(7), eventlog.UnknownPartition, ("no partition 7",)
    ),
    "negative offset": Case(
        lambda log: log.topic("orders").read(start=-1),
        ValueError,
        ("an offset to start at", "-1", "at least 0"),
        is_ours=False,
    ),
    "negative offset, sought": Case(
        lambda log: _consume(log, lambda consumer: consumer.seek(ORDERS, -1)),
        ValueError,
        ("an offset", "-1"),
        is_ours=False,
    ),
    "offset out of range": Case(
        lambda log: log.topic("orders").read(start=2),
        eventlog.OffsetOutOfRange,
        ("offset 2 of orders[0]", "0 to 1", "Nothing was read", '"earliest"'),
    ),
    "offset out of range, polled": Case(
        lambda log: _consume(log, lambda consumer: (consumer.seek(ORDERS, 2), consumer.poll())),
        eventlog.OffsetOutOfRange,
        ("offset 2 of orders[0]", "position is unchanged", "seek()"),
    ),
    "offset out of range, deleted": Case(
        lambda log: log.topic("orders").delete_records({0: 2}),
        eventlog.OffsetOutOfRange,
        ("before offset 2 of orders[0]", "Nothing was deleted.", "at most 1"),
    ),
    "closed log": Case(
        lambda log: _closed(log)[0].topic("orders"),
        eventlog.LogClosed,
        ("is closed", CHANGED_NOTHING, "eventlog.open()"),
    ),
    "closed log, appended to": Case(
        lambda log: _closed(log)[1].append(b"x"),
        eventlog.LogClosed,
        ("is closed", CHANGED_NOTHING, "eventlog.open()"),
    ),
    "closed log, read": Case(lambda log: list(_closed(log)[1].read()), eventlog.LogClosed, ("is closed",)),
    "closed producer": Case(
        lambda log: _forgotten_producer(log).send("orders", 1),
        eventlog.LogClosed,
        ("producer is closed", "not taken", "log.producer()"),
    ),
    "newer batch": Case(
        lambda log: list(_too_new(log).read()),
        eventlog.FormatTooNew,
        ("new[0]", "version 99", "Nothing is damaged.", "Upgrade"),
    ),
    "damaged batch": Case(
        lambda log: list(_damaged(log).read()),
        eventlog.CorruptBatch,
        ("damaged[0] up to offset 0", "checksum", "other batches are unaffected", "eventlog verify", "seek()"),
    ),
    "options that differ": Case(
        lambda log: log.topic("orders", partitions=9),
        eventlog.TopicMismatch,
        ("'orders'", "partitions=9", "partitions=1", "unchanged", "Leave partitions= out"),
    ),
    "durability that differs": Case(
        lambda log: eventlog.open(log.path, durability="ordered"),
        ValueError,
        ("durability 'ordered'", "has it open with 'commit'", "Nothing was changed.", "close it first"),
        is_ours=False,
    ),
    "durability that is none": Case(
        lambda log: eventlog.open(log.path, durability="never"),
        ValueError,
        ("'never'", "Nothing was opened."),
        is_ours=False,
    ),
    "commit without a group": Case(
        lambda log: _consume(log, lambda consumer: consumer.commit()),
        ValueError,
        ("no group", CHANGED_NOTHING, "group="),
        is_ours=False,
    ),
    "header that is no bytes": Case(
        lambda log: log.topic("orders").append(b"x", headers={"h": 1}),
        TypeError,
        ("header 'h'", "int", STORED_NOTHING, "Encode it."),
        is_ours=False,
    ),
    "timestamp that is none": Case(
        lambda log: log.topic("orders").append(b"x", timestamp_ms="now"),
        TypeError,
        ("timestamp_ms", "'now'", CHANGED_NOTHING),
        is_ours=False,
    ),
}


@pytest.fixture
def shop(disk_log):
    """A log with one record."""
    disk_log.topic("orders").append(b"x")
    disk_log.topic("small", max_record_bytes=100)
    return disk_log


@pytest.mark.parametrize("name", CASES)
def test_bad_input_gets_a_typed_error_and_changes_nothing(shop, name):
    """The class, the words, and the log as it was."""
    case = CASES[name]
    with pytest.raises(case.error) as caught:
        case.do(shop)
    message = str(caught.value)
    assert isinstance(caught.value, eventlog.EventLogError) == case.is_ours
    for words in case.says:
        assert words in message
    assert message.endswith("."), "whole sentences"
    assert 40 < len(message) < 500
    assert shop.topic("orders").bounds() == {0: (0, 1)}
    assert shop.topic("small").bounds() == {0: (0, 0)}


def test_only_what_may_succeed_later_is_retriable():
    """A caller may loop on `retriable` and nothing else."""
    ours = [one for name in eventlog.__all__ if isinstance(one := getattr(eventlog, name), type)]
    errors = [one for one in ours if issubclass(one, eventlog.EventLogError)]
    assert len(errors) > 15
    assert {one.__name__ for one in errors if one.retriable} == {
        "BufferFull",
        "InstanceInUse",
        "GroupBehind",
        "ConflictError",
        "LogFull",
        "LogInUse",
        "NoResponders",
        "RequestTimeout",
    }


def test_errors_can_be_caught_as_what_python_would_raise():
    """Wrong arguments are ValueError, absent things LookupError."""
    assert issubclass(eventlog.InvalidTopicName, ValueError)
    assert issubclass(eventlog.RecordTooLarge, ValueError)
    assert issubclass(eventlog.UnknownTopic, LookupError)
    assert issubclass(eventlog.UnknownPartition, LookupError)


def test_everything_of_a_closed_log_says_that_it_is_closed(path):
    """Whichever call comes first; and closing it again does nothing."""
    log = eventlog.open(path)
    topic = log.topic("orders")
    producer, consumer = log.producer(), log.consumer("orders", group="g")
    log.close()
    log.close()
    assert log.is_closed
    assert "closed" in repr(log)
    for use in (
        lambda: log.topic("orders"),
        log.topics,
        lambda: log.delete_topic("orders"),
        log.producer,
        log.consumer,
        log.sync,
        log.verify,
        lambda: log.compact(path / "copy"),
        lambda: topic.append(b"x"),
        lambda: topic.append_many([b"x"]),
        topic.bounds,
        topic.read,
        lambda: topic.delete_records({0: 0}),
        lambda: producer.send("orders", b"x"),
        lambda: producer.send(topic, b"x"),
        consumer.poll,
        consumer.commit,
        consumer.lag,
    ):
        with pytest.raises(eventlog.LogClosed, match="is closed"):
            use()
    producer.close()
    consumer.close()


def test_a_record_that_is_no_document_of_the_class_is_a_decode_error(path):
    """Bytes that another codec wrote are told of, with the offset and the way past it."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", value=str)
        topic.append_many(["x", "y", "z"])
        rewrite_batch(topic, 2, _with_bad_text)
        records = topic.read()
        assert next(records).value == "x"
        with pytest.raises(eventlog.DecodeError, match=r"offset 1 of orders\[0\].*UTF-8.*intact.*go on at 2"):
            next(records)


def _with_bad_text(data: bytes) -> bytes:
    from eventlog.batches.format import BatchEncoder
    from eventlog.batches.header import seal

    (batch,) = BatchEncoder().encode(None, [b"x", b"\xff", b"z"], timestamps_ms=0)
    return seal(batch, largest_so_far_ms=0, log_position=0)
