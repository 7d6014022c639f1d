"""Unmodified clients with transactions: commit, abort, offsets of a group in the transaction, and fencing."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import confluent_kafka
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as LoopPartition
from aiokafka.errors import ProducerFenced

import eventlog
import eventlog.kafka

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, when it is imported
    import kafka as kafka_python

PATIENCE_S = 20.0
Run = Callable[[str], None]


def confluent(servers: str) -> None:
    """librdkafka, which adds partitions by requests of their own."""

    def producer() -> Any:
        options = {"bootstrap.servers": servers, "transactional.id": "mover", "retry.backoff.ms": 5, "linger.ms": 0}
        made = confluent_kafka.Producer(options)
        made.init_transactions(PATIENCE_S)
        return made

    old = producer()
    old.begin_transaction()
    old.produce("orders", b"kept", partition=0)
    old.produce("orders", b"kept too", partition=1)
    old.commit_transaction(PATIENCE_S)
    old.begin_transaction()
    old.produce("orders", b"lost", partition=0)
    old.flush(PATIENCE_S)
    old.abort_transaction(PATIENCE_S)
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "billing",
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe(["orders"])
    old.begin_transaction()
    for _ in range(2):
        message = None
        while message is None:
            message = consumer.poll(PATIENCE_S)
        assert message.error() is None
        old.produce("copies", message.value())
    positions = consumer.position(consumer.assignment())
    old.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), PATIENCE_S)
    old.commit_transaction(PATIENCE_S)
    consumer.close()
    old.begin_transaction()
    old.produce("orders", b"zombie", partition=0)
    old.flush(PATIENCE_S)
    new = producer()
    with pytest.raises(confluent_kafka.KafkaException) as caught:
        old.commit_transaction(PATIENCE_S)
    assert caught.value.args[0].fatal()
    new.begin_transaction()
    new.produce("orders", b"after", partition=0)
    new.commit_transaction(PATIENCE_S)


def plain_python(servers: str) -> None:
    """kafka-python."""

    def producer() -> Any:
        made = kafka_python.KafkaProducer(bootstrap_servers=servers, transactional_id="mover", retry_backoff_ms=5)
        made.init_transactions()
        return made

    old = producer()
    old.begin_transaction()
    old.send("orders", b"kept", partition=0)
    old.send("orders", b"kept too", partition=1)
    old.commit_transaction()
    old.begin_transaction()
    old.send("orders", b"lost", partition=0)
    old.flush(PATIENCE_S)
    old.abort_transaction()
    with contextlib.closing(
        kafka_python.KafkaConsumer(
            "orders",
            bootstrap_servers=servers,
            group_id="billing",
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            enable_auto_commit=False,
            consumer_timeout_ms=PATIENCE_S * 1000,
        )
    ) as consumer:
        old.begin_transaction()
        offsets = {}
        for _ in range(2):
            message = next(consumer)
            old.send("copies", message.value)
            place = kafka_python.TopicPartition(message.topic, message.partition)
            offsets[place] = kafka_python.structs.OffsetAndMetadata(message.offset + 1, "", -1)
        old.send_offsets_to_transaction(offsets, "billing")
        old.commit_transaction()
    old.begin_transaction()
    old.send("orders", b"zombie", partition=0)
    old.flush(PATIENCE_S)
    new = producer()
    with pytest.raises(kafka_python.errors.KafkaError):
        old.commit_transaction()
    new.begin_transaction()
    new.send("orders", b"after", partition=0)
    new.commit_transaction()
    new.close()
    with contextlib.suppress(kafka_python.errors.KafkaError):
        old.close(timeout=1.0)


def in_a_loop(servers: str) -> None:
    """Aiokafka."""
    asyncio.run(_in_a_loop(servers))


async def _in_a_loop(servers: str) -> None:
    async with contextlib.AsyncExitStack() as stack:

        async def producer() -> Any:
            made = AIOKafkaProducer(bootstrap_servers=servers, transactional_id="mover", retry_backoff_ms=5)
            await made.start()
            stack.push_async_callback(made.stop)
            return made

        old = await producer()
        async with old.transaction():
            await old.send_and_wait("orders", b"kept", partition=0)
            await old.send_and_wait("orders", b"kept too", partition=1)
        with contextlib.suppress(ZeroDivisionError):
            async with old.transaction():
                await old.send_and_wait("orders", b"lost", partition=0)
                raise ZeroDivisionError
        consumer = AIOKafkaConsumer(
            "orders",
            bootstrap_servers=servers,
            group_id="billing",
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            enable_auto_commit=False,
        )
        await consumer.start()
        stack.push_async_callback(consumer.stop)
        async with old.transaction():
            offsets = {}
            for _ in range(2):
                message = await asyncio.wait_for(consumer.getone(), PATIENCE_S)
                await old.send_and_wait("copies", message.value)
                offsets[LoopPartition(message.topic, message.partition)] = message.offset + 1
            await old.send_offsets_to_transaction(offsets, "billing")
        await old.begin_transaction()
        await old.send_and_wait("orders", b"zombie", partition=0)
        new = await producer()
        with pytest.raises(ProducerFenced):
            await old.commit_transaction()
        async with new.transaction():
            await new.send_and_wait("orders", b"after", partition=0)


@pytest.fixture
def log() -> Iterator[eventlog.EventLog]:
    """A log in memory with topics to read from and to copy into."""
    with eventlog.open(":memory:") as log:
        log.topic("orders", partitions=2)
        log.topic("copies")
        yield log


@pytest.mark.parametrize("client", [confluent, plain_python, in_a_loop])
def test_a_client_commits_aborts_copies_exactly_once_and_is_fenced(log: eventlog.EventLog, client: Run) -> None:
    """Native readers see what was committed, and the offsets of the group are those of the transaction."""
    with eventlog.kafka.listen(log) as kafka:
        client(kafka.bootstrap_servers)
    orders, copies = log.topic("orders"), log.topic("copies")
    assert [one.value for one in orders.read(0)] == [b"kept", b"after"]
    assert [one.value for one in orders.read(1)] == [b"kept too"]
    assert sorted(one.value for one in copies.read(0)) == [b"kept", b"kept too"]
    committed = log.groups.describe("billing").offsets
    assert {(one.topic, one.partition): one.committed for one in committed}.keys() == {("orders", 0), ("orders", 1)}
    assert log.verify().problems == ()
