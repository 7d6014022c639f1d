"""Unmodified clients in groups: confluent-kafka by each protocol, aiokafka, kafka-python."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Callable
from typing import Any

import confluent_kafka
import pytest
from aiokafka import AIOKafkaConsumer
from confluent_kafka.admin import AdminClient

import eventlog
from eventlog.kafka import Listener

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, when it is imported
    import kafka as kafka_python

PATIENCE_S = 20.0
COUNT = 30

CONFLUENT = {
    "eager": {"partition.assignment.strategy": "range", "heartbeat.interval.ms": 50},
    "cooperative": {"partition.assignment.strategy": "cooperative-sticky", "heartbeat.interval.ms": 50},
    "new": {"group.protocol": "consumer"},
}


@pytest.fixture(autouse=True)
def filled(log: eventlog.EventLog, kafka: Listener) -> None:
    """The topic of the listener has some records, ten in each partition."""
    assert kafka.port
    for number in range(COUNT):
        log.topic("orders").append(b"%d" % number, partition=number % 3)


def confluent(kafka: Listener, kind: str, **options: Any) -> confluent_kafka.Consumer:
    """A consumer of the group "billing"."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": kafka.bootstrap_servers,
            "group.id": "billing",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 50,
            **CONFLUENT[kind],
            **options,
        }
    )
    consumer.subscribe(["orders"])
    return consumer


def until(is_so: Callable[[], bool], *polled: confluent_kafka.Consumer) -> list[bytes]:
    """Poll until something is so; the values that came meanwhile."""
    deadline_s = time.monotonic() + PATIENCE_S
    values: list[bytes] = []
    while not is_so():
        assert time.monotonic() < deadline_s, "it took too long"
        for consumer in polled:
            message = consumer.poll(0.01)
            if message is not None:
                assert message.error() is None
                values.append(message.value() or b"")
    return values


def read_one(consumer: confluent_kafka.Consumer) -> bytes:
    """The value of the next record."""
    message = consumer.poll(PATIENCE_S)
    assert message is not None
    assert message.error() is None
    return message.value() or b""


@pytest.mark.parametrize("kind", [*CONFLUENT])
def test_two_consumers_of_confluent_share_and_commit(log: eventlog.EventLog, kafka: Listener, kind: str) -> None:
    """The first gets all records; the second gets a part of the partitions; the offsets are the log's."""
    first = confluent(kafka, kind)
    values = [read_one(first) for _ in range(COUNT)]
    assert sorted(map(int, values)) == list(range(COUNT))
    first.commit(asynchronous=False)
    assert log.groups.describe("billing").lag == 0
    second = confluent(kafka, kind)
    until(lambda: bool(second.assignment()) and len(first.assignment()) + len(second.assignment()) == 3, first, second)
    owners = {place.member_id for place in log.groups.describe("billing").offsets}
    assert None not in owners
    second.close()
    until(lambda: len(first.assignment()) == 3, first)
    first.close()
    assert log.groups.describe("billing").state == "empty"


def test_static_consumer_comes_back_without_a_rebalance(kafka: Listener) -> None:
    """Its place is kept while it is away; the other one notices nothing."""
    changes: list[str] = []
    other = confluent(kafka, "eager", **{"group.instance.id": "b"})
    other.subscribe(
        ["orders"],
        on_assign=lambda _, partitions: changes.append(f"+{len(partitions)}"),
        on_revoke=lambda _, partitions: changes.append(f"-{len(partitions)}"),
    )
    first = confluent(kafka, "eager", **{"group.instance.id": "a"})
    until(lambda: sorted(map(len, (first.assignment(), other.assignment()))) == [1, 2], first, other)
    had, seen = first.assignment(), list(changes)
    first.close()
    again = confluent(kafka, "eager", **{"group.instance.id": "a"})
    until(lambda: again.assignment() == had, again, other)
    assert changes == seen
    again.close()
    other.close()


def test_aiokafka_shares_and_commits(log: eventlog.EventLog, kafka: Listener) -> None:
    """With its own assignors."""

    async def main() -> None:
        options: dict[str, Any] = {
            "bootstrap_servers": kafka.bootstrap_servers,
            "group_id": "billing",
            "auto_offset_reset": "earliest",
            "enable_auto_commit": False,
            "heartbeat_interval_ms": 50,
        }
        async with AIOKafkaConsumer("orders", **options) as first:
            values = [int((await first.getone()).value or b"") for _ in range(COUNT)]
            assert sorted(values) == list(range(COUNT))
            await first.commit()
            async with AIOKafkaConsumer("orders", **options) as second:
                # aiokafka tells nobody
                while sorted(map(len, (first.assignment(), second.assignment()))) != [1, 2]:  # noqa: ASYNC110
                    await asyncio.sleep(0)
            while len(first.assignment()) != 3:  # noqa: ASYNC110
                await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(main(), PATIENCE_S))
    assert log.groups.describe("billing").lag == 0


def test_kafka_python_reads_and_commits(log: eventlog.EventLog, kafka: Listener) -> None:
    """A second one goes on where the first stood."""
    options: dict[str, Any] = {
        "bootstrap_servers": kafka.bootstrap_servers,
        "group_id": "billing",
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
    }
    first = kafka_python.KafkaConsumer("orders", **options)
    values: list[int] = []
    while len(values) < COUNT:
        values += [int(one.value) for records in first.poll(1000).values() for one in records]
    assert sorted(values) == list(range(COUNT))
    first.commit()
    first.close()
    log.topic("orders").append(b"new", partition=0)
    second = kafka_python.KafkaConsumer("orders", **options)
    found: list[Any] = []
    while not found:
        found = [one.value for records in second.poll(1000).values() for one in records]
    second.close()
    assert found == [b"new"]


def test_admin_of_confluent_sees_and_changes_groups(log: eventlog.EventLog, kafka: Listener) -> None:
    """List, describe, offsets and their changes, deletion; refused while there are members."""
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    consumer = confluent(kafka, "eager")
    until(lambda: len(consumer.assignment()) == 3, consumer)
    consumer.commit(offsets=[confluent_kafka.TopicPartition("orders", 0, 4)], asynchronous=False)
    [listing] = admin.list_consumer_groups().result().valid
    assert listing.group_id == "billing"
    described = admin.describe_consumer_groups(["billing"])["billing"].result()
    assert described.state.name == "STABLE"
    [member] = described.members
    assert {tp.partition for tp in member.assignment.topic_partitions} == {0, 1, 2}
    change = confluent_kafka.ConsumerGroupTopicPartitions("billing", [confluent_kafka.TopicPartition("orders", 0, 1)])
    refused = admin.alter_consumer_group_offsets([change])["billing"].result().topic_partitions
    assert refused[0].error is not None
    consumer.close()
    assert admin.alter_consumer_group_offsets([change])["billing"].result().topic_partitions[0].error is None
    found = admin.list_consumer_group_offsets([confluent_kafka.ConsumerGroupTopicPartitions("billing")])[
        "billing"
    ].result()
    assert [(tp.partition, tp.offset) for tp in found.topic_partitions] == [(0, 1)]
    admin.delete_consumer_groups(["billing"])["billing"].result()
    assert log.groups.list() == []
