"""What type checkers infer in a program with an event loop: the same types as without one. Never run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, assert_type

import attrs

import eventlog
from eventlog import Event, Record, RecordBatch, State, TopicPartition, aio


@attrs.frozen
class Order:
    """A value of a user's own."""

    item: str


@attrs.frozen
class Payment:
    """A value of a user's own."""

    cents: int


async def a_topic_knows_its_key_and_value() -> None:
    """The declared types come back from records."""
    async with aio.open(":memory:") as log:
        assert_type(log, aio.EventLog)
        orders = await log.topic("orders", partitions=4, key=str, value=Order, index="key")
        assert_type(orders, aio.Topic[str, Order])
        async for record in orders.read():
            assert_type(record, Record[str, Order])
            assert_type(record.value, Order)
        assert_type(orders.read_batches(), AsyncIterator[RecordBatch[str, Order]])
        assert_type(orders.history("alice"), AsyncIterator[Event[str, Order]])
        assert_type(await orders.latest("alice"), Event[str, Order] | None)
        assert_type(await orders.append(Order("tea"), key="alice"), eventlog.RecordMetadata)
        assert_type(await orders.fold("alice", lambda count, _: count + 1, 0), tuple[int, int])
        await orders.append(Payment(5))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        assert_type(await log.topic("documents", key=str, value="json"), aio.Topic[str, Any])
        assert_type(await log.topic("plain"), aio.Topic[Any, Any])
        assert_type(await log.topic("values", value=int), aio.Topic[Any, int])
        assert_type(await log.topic("events", key=str, value=(Order, Payment)), aio.Topic[str, Order | Payment])


async def a_consumer_knows_the_types_of_its_topics(
    log: aio.EventLog, orders: aio.Topic[str, Order], payments: aio.Topic[int, Payment], texts: aio.Topic[str, str]
) -> None:
    """One topic, several alike, several that differ; by name anything."""

    async def note(partitions: list[TopicPartition]) -> None:
        assert_type(partitions, list[TopicPartition])

    async with log.consumer(orders, group="billing", on_assigned=note, on_lost=print) as consumer:
        assert_type(consumer, aio.Consumer[str, Order])
        async for record in consumer:
            assert_type(record, Record[str, Order])
            assert_type(record.key, str)
        assert_type(await consumer.poll(1.0), list[Record[str, Order]])
        assert_type(await consumer.poll_batches(), list[RecordBatch[str, Order]])
        assert_type(await consumer.lag(), dict[TopicPartition, int])
    assert_type(await log.consumer(orders), aio.Consumer[str, Order])
    assert_type(await log.consumer(orders, orders), aio.Consumer[str, Order])
    assert_type(await log.consumer(orders, payments), aio.Consumer[str | int, Order | Payment])
    assert_type(await log.consumer(orders, payments, texts), aio.Consumer[str | int, Order | Payment | str])
    events = await log.topic("events", key=str, value=Order | Payment)
    assert_type(events, aio.Topic[str, Order | Payment])
    assert_type(await log.consumer(orders, payments, texts, events), aio.Consumer[str | int, Order | Payment | str])
    assert_type(await log.consumer("orders"), aio.Consumer[Any, Any])
    assert_type(await log.consumer(orders, "payments"), aio.Consumer[Any, Any])
    assert_type(await log.consumer(group="billing"), aio.Consumer[Any, Any])


async def what_is_sent_fits_its_topic(log: aio.EventLog, orders: aio.Topic[str, Order]) -> None:
    """To a name anything may be sent; None is a tombstone everywhere."""
    async with log.producer() as producer:
        assert_type(producer, aio.Producer)
        assert_type(producer.send(orders, Order("tea"), key="alice"), eventlog.Delivery)
        assert_type(await producer.send(orders, None, key="alice"), eventlog.RecordMetadata)
        producer.send("orders", 7, key=7)
        producer.send_many(orders, [Order("tea"), None], keys=["alice", "bob"])
        producer.send(orders, Payment(5))  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
        producer.send(orders, Order("tea"), key=7)  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]
    async with log.transaction() as tx:
        assert_type(tx, aio.Transaction)
        assert_type(tx.send(orders, Order("tea"), key="alice", expected_version=0), eventlog.Delivery)
        tx.send("orders", 7, key=7)
        tx.send_many(orders, [Order("tea")])
        tx.send(orders, Payment(5))  # type: ignore[misc]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def deposit(tx: aio.Transaction) -> int:
    """Change a state."""
    balances = tx.state("balances", key=str, value=int)
    assert_type(balances, aio.State[str, int])
    assert_type(balances.get("alice", 0), int)
    async for name, balance in balances.items(prefix="a"):
        assert_type((name, balance), tuple[str, int])
    assert_type(list(balances.keys()), list[str])
    assert_type(await balances.load(["alice"]), dict[str, int])
    assert_type(tx.state("documents", key=str, value="json"), aio.State[str, Any])
    assert_type(tx.state("anything"), aio.State[Any, Any])
    return balances["alice"]


async def states_have_their_types(log: aio.EventLog) -> None:
    """In a transaction, and as they are stored."""
    assert_type(await log.transact(deposit), int)
    assert_type(await log.transact(lambda _: "done"), str)
    assert_type(log.state("balances", key=str, value=int), aio.StateView[str, int])
    assert_type(log.state("balances", key=str), aio.StateView[str, Any])


async def bill(tx: aio.Transaction, record: Record[str, Order]) -> None:
    """Bill one order."""


def book(tx: aio.Transaction, record: Record[str | int, Order | Payment]) -> None:
    """Book an order or a payment."""


async def a_processor_calls_a_function_of_its_records(
    log: aio.EventLog, orders: aio.Topic[str, Order], payments: aio.Topic[int, Payment]
) -> None:
    """The function is a coroutine function or not, and takes the records of the topics, or any."""
    async with log.processor(orders, function=bill, group="billing", max_records=10) as processor:
        assert_type(processor, aio.Processor)
        assert_type(await processor.run_to_end(), int)
    log.processor(orders, orders, function=bill, group="billing")
    log.processor(orders, payments, function=book, group="billing")
    log.processor("orders", function=bill, group="billing")
    log.processor(orders, function=lambda tx, record: tx.send("bills", record.value.item), group="billing")
    log.processor(payments, function=bill, group="billing")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


def count(state: State[str, int], record: Record[str, Order]) -> None:
    """Count the orders."""
    state[record.key] = state.get(record.key, 0) + 1


async def a_projection_has_the_state_of_its_function(log: aio.EventLog, orders: aio.Topic[str, Order]) -> None:
    """Its keys and values are those that are declared."""
    projection = await log.projection("counts", count, topics=[orders], key=str, value=int)
    assert_type(projection, aio.Projection[str, int])
    assert_type(projection.state, aio.StateView[str, int])
    assert_type(projection.state["alice"], int)
    assert_type(await log.projection("counts", key=str, value=int), aio.Projection[str, int])
    assert_type(await log.projection("counts", count, key=str), aio.Projection[str, Any])
    assert_type(await log.projection("counts", count), aio.Projection[Any, Any])
    await log.projection("counts", count, topics=[orders], key=str, value=str)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


async def the_whole_log_is_in_one_order(log: aio.EventLog) -> None:
    """Pairs of a position and a record of anything."""
    async for position, record in log.read_all():
        assert_type(position, int)
        assert_type(record, Record[Any, Any])
    assert_type(log.follow("latest"), aio.Follower)
    assert_type(log.follow(datetime.now(UTC)), aio.Follower)
    assert_type(await anext(log.follow()), tuple[int, Record[Any, Any]])
    assert_type(await log.end_log_position(), int)


async def a_copy_has_the_new_types(log: aio.EventLog, orders: aio.Topic[str, Order]) -> None:
    """The key of the old topic, unless another is declared."""
    copy = await log.copy_topic(orders, to="payments", value=Payment, convert=lambda order: Payment(1))
    assert_type(copy, aio.TopicCopy[str, Payment])
    assert_type(copy.topic, aio.Topic[str, Payment])
    assert_type(await log.copy_topic("orders", to="payments", value=Payment), aio.TopicCopy[Any, Payment])
    assert_type(await copy.carry_groups(), dict[str, dict[TopicPartition, int]])


async def a_request_has_the_type_of_its_reply(
    log: aio.EventLog, orders: aio.Topic[str, Order], payments: aio.Topic[int, Payment]
) -> None:
    """That of the topic's values, unless another is declared."""
    assert_type(await log.request(orders, Order("tea")), Record[Any, Order])
    assert_type(await log.request(orders, Order("tea"), reply=Payment, timeout=1.0), Record[Any, Payment])
    assert_type(await log.request("orders", Order("tea")), Record[Any, Any])
    assert_type(await log.gather(orders, Order("tea"), expect=2, reply_to=payments), list[Record[Any, Order]])
    async with log.responder(orders, function=bill, group="billing") as responder:
        assert_type(responder, aio.Responder)
    log.responder(payments, function=bill, group="billing")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
