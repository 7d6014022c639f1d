"""How far the types of keys and values reach: to the loop, the call of `send`, and the function. Never run."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
from types import UnionType
from typing import Any, NamedTuple, TypedDict, assert_type
from uuid import UUID

import attrs

import eventlog
from eventlog import Consumer, EventLog, Producer, Record, State, Topic, Transaction


@attrs.frozen
class Order:
    """A value of a user's own."""

    item: str


@dataclasses.dataclass
class Payment:
    """A value of a user's own."""

    cents: int


class Sizes(TypedDict):
    """A dict of a user's own."""

    width: int


class Point(NamedTuple):
    """A tuple of a user's own."""

    x: int


class Shade(enum.Enum):
    """An enum of a user's own."""

    DARK = 1


Event = Order | Payment | Point


class Reversed:
    """A codec of a user's own."""

    name = "shop.reversed"
    schema = None

    def encode(self, value: str) -> bytes:
        """Return the bytes."""
        return value[::-1].encode()

    def decode(self, data: bytes) -> str:
        """Return the text."""
        return data.decode()[::-1]


def every_type_and_class_is_known(log: EventLog) -> None:
    """As a key, as a value, and from a codec of one's own."""
    assert_type(log.topic("a", key=UUID, value=Order), Topic[UUID, Order])
    assert_type(log.topic("b", key=dt.date, value=Payment), Topic[dt.date, Payment])
    assert_type(log.topic("c", key=Shade, value=Sizes), Topic[Shade, Sizes])
    assert_type(log.topic("d", key=Point, value=decimal.Decimal), Topic[Point, decimal.Decimal])
    assert_type(log.topic("e", key=str, value="json"), Topic[str, Any])
    assert_type(log.topic("f", value=float), Topic[Any, float])
    assert_type(log.topic("g", key=str, value=Reversed()), Topic[str, str])
    assert_type(log.topic("h", key=Reversed(), value="json"), Topic[str, Any])


def a_consumer_knows_the_types_of_its_topics(
    log: EventLog, orders: Topic[str, Order], payments: Topic[int, Payment], texts: Topic[str, str]
) -> None:
    """One topic, several alike, several that differ; by name anything."""
    with log.consumer(orders, group="billing") as consumer:
        assert_type(consumer, Consumer[str, Order])
        for record in consumer:
            assert_type(record, Record[str, Order])
            assert_type(record.key, str)
        assert_type(consumer.poll(1.0), list[Record[str, Order]])
    assert_type(log.consumer(orders, orders), Consumer[str, Order])
    assert_type(log.consumer(orders, payments), Consumer[str | int, Order | Payment])
    assert_type(log.consumer(orders, texts, group="a"), Consumer[str, Order | str])
    assert_type(log.consumer(orders, payments, texts), Consumer[str | int, Order | Payment | str])
    points, shades = log.topic("points", key=str, value=Point), log.topic("shades", key=str, value=Shade)
    assert_type(log.consumer(orders, texts, points, shades), Consumer[str, Order | str | Point | Shade])
    assert_type(
        log.consumer(orders, payments, texts, points, shades, group="all"),
        Consumer[str | int, Order | Payment | str | Point | Shade],
    )
    assert_type(
        log.consumer(orders, orders, payments, texts, points, shades),
        Consumer[str | int, Order | Payment | str | Point | Shade],
    )
    assert_type(log.consumer(*[orders, orders]), Consumer[str, Order])
    assert_type(log.consumer(orders, orders, orders, orders, orders, orders, orders, orders), Consumer[str, Order])
    assert_type(log.consumer("orders"), Consumer[Any, Any])
    assert_type(log.consumer(orders, "payments"), Consumer[Any, Any])
    assert_type(log.consumer(group="billing"), Consumer[Any, Any])
    documents = log.topic("documents", key=str, value="json")
    assert_type(log.consumer(documents), Consumer[str, Any])
    for document in log.consumer(documents):
        assert_type(document.key, str)


def what_is_sent_fits_its_topic(producer: Producer, tx: Transaction, orders: Topic[str, Order]) -> None:
    """To a name anything may be sent; None is a tombstone everywhere."""
    assert_type(producer.send(orders, Order("tea"), key="alice"), eventlog.Delivery)
    producer.send(orders, None, key="alice")
    producer.send("orders", 7, key=7)
    producer.send_many(orders, [Order("tea"), None], keys=["alice", "bob"])
    producer.send(orders, Payment(5))  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    producer.send(orders, Order("tea"), key=7)  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    producer.send_many(orders, [Payment(5)])  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    assert_type(tx.send(orders, Order("tea"), key="alice", expected_version=0), eventlog.Delivery)
    tx.send("orders", 7, key=7)
    tx.send_many(orders, [Order("tea")])
    tx.send(orders, Payment(5))  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]


def bill(tx: Transaction, record: Record[str, Order]) -> None:
    """Bill one order."""


def book(tx: Transaction, record: Record[str | int, Order | Payment]) -> None:
    """Book an order or a payment."""


def follow_four(tx: Transaction, record: Record[str | int, Order | Payment | str | Point]) -> None:
    """Take the records of four topics."""


def anything(tx: Transaction, record: Record[Any, Any]) -> None:
    """Take any record."""


def a_processor_calls_a_function_of_its_records(
    log: EventLog, orders: Topic[str, Order], payments: Topic[int, Payment]
) -> None:
    """The function takes the records of the topics, or any."""
    log.processor(orders, function=bill, group="billing", max_records=10)
    log.processor(orders, orders, function=bill, group="billing")
    log.processor(orders, payments, function=book, group="billing")
    points, texts = log.topic("points", key=str, value=Point), log.topic("texts", key=str, value=str)
    log.processor(orders, payments, texts, points, function=follow_four, group="billing")
    log.processor(orders, payments, texts, points, function=book, group="billing")  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    log.processor("orders", function=bill, group="billing")
    log.processor(orders, "payments", function=anything, group="billing")
    log.processor(orders, function=lambda tx, record: tx.send("bills", record.value.item), group="billing")
    log.processor(payments, function=bill, group="billing")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


def count(state: State[str, int], record: Record[str, Order]) -> None:
    """Count the orders."""
    state[record.key] = state.get(record.key, 0) + 1


class Counting:
    """An object that counts the orders."""

    def apply(self, state: State[str, int], record: Record[str, Order]) -> None:
        """Count one."""


def a_projection_has_the_state_of_its_function(log: EventLog, orders: Topic[str, Order]) -> None:
    """Its keys and values are those that are declared."""
    projection = log.projection("counts", count, topics=[orders], key=str, value=int)
    assert_type(projection, eventlog.Projection[str, int])
    assert_type(projection.state, eventlog.StateView[str, int])
    assert_type(projection.state["alice"], int)
    assert_type(log.projection("counts", Counting(), topics=[orders], key=str, value=int).state["a"], int)
    assert_type(log.projection("counts", Counting, topics=[orders], key=str, value=int).state["a"], int)
    assert_type(log.projection("counts", key=str, value=int), eventlog.Projection[str, int])
    assert_type(log.projection("counts", count, key=str), eventlog.Projection[str, Any])
    assert_type(log.projection("counts", count), eventlog.Projection[Any, Any])
    log.projection("counts", count, topics=[orders], key=str, value=str)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


def several_classes_give_their_union(log: EventLog) -> None:
    """A tuple of classes, or their union, which may have a name."""
    events = log.topic("events", key=str, value=(Order, Payment))
    assert_type(events, Topic[str, Order | Payment])
    for record in log.consumer(events):
        assert_type(record, Record[str, Order | Payment])
    assert_type(log.topic("events", key=str, value=(Order, Payment, Point)), Topic[str, Order | Payment | Point])
    assert_type(log.topic("events", key=str, value=(Order,)), Topic[str, Order])
    four = log.topic("events", key=str, value=(Order, Payment, Point, Sizes))
    assert_type(four, Topic[str, Order | Payment | Point | Sizes])
    assert_type(log.topic("events", key=str, value=Order | Payment), Topic[str, Order | Payment])
    assert_type(log.topic("events", key=str, value=Event), Topic[str, Order | Payment | Point])
    assert_type(log.topic("events", value=Order | Payment), Topic[Any, Order | Payment])
    assert_type(log.state("last", key=str, value=Order | Payment), eventlog.StateView[str, Order | Payment])


def classes_that_are_found_at_run_time_are_anything(log: EventLog, found: UnionType, one: type[Any]) -> None:
    """What type checkers do not see they do not guess."""
    assert_type(log.topic("events", key=str, value=found), Topic[str, Any])
    assert_type(log.topic("events", value=found), Topic[Any, Any])
    assert_type(log.topic("events", key=str, value=one), Topic[str, Any])


def a_copy_has_the_new_types(log: EventLog, orders: Topic[str, Order]) -> None:
    """The key of the old topic, unless another is declared."""
    copy = log.copy_topic(orders, to="payments", value=Payment, convert=lambda order: Payment(1))
    assert_type(copy, eventlog.TopicCopy[str, Payment])
    assert_type(copy.topic, Topic[str, Payment])
    assert_type(log.copy_topic("orders", to="payments", value=Payment), eventlog.TopicCopy[Any, Payment])
    assert_type(log.copy_topic(orders, to="both", value=Order | Payment), eventlog.TopicCopy[str, Order | Payment])
