"""Unmodified clients read a compacted topic from which aborted batches and the ends of transactions are gone."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import Callable, Iterator

import confluent_kafka
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as LoopPartition

import eventlog
import eventlog.kafka
from tests.kafka.record_batches import Sent, fetch
from tests.kafka.transactional import Transactional

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, when it is imported
    import kafka as kafka_python

PATIENCE_S = 20.0
Read = Callable[[str, str], list[tuple[int, bytes | None]]]


def confluent(servers: str, level: str) -> list[tuple[int, bytes | None]]:
    """Librdkafka."""
    options = {"bootstrap.servers": servers, "group.id": "g", "isolation.level": level, "enable.partition.eof": True}
    consumer = confluent_kafka.Consumer(options)
    consumer.assign([confluent_kafka.TopicPartition("stock", 0, 0)])
    found = []
    try:
        while True:
            message = consumer.poll(PATIENCE_S)
            assert message is not None
            if message.error() is not None:
                assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
                return found
            found.append((message.offset(), message.value()))
    finally:
        consumer.close()


def plain_python(servers: str, level: str) -> list[tuple[int, bytes | None]]:
    """kafka-python."""
    consumer = kafka_python.KafkaConsumer(bootstrap_servers=servers, isolation_level=level)
    with contextlib.closing(consumer):
        place = kafka_python.TopicPartition("stock", 0)
        consumer.assign([place])
        consumer.seek(place, 0)
        end, found = consumer.end_offsets([place])[place], []
        while consumer.position(place) < end:
            for messages in consumer.poll(1000).values():
                found += [(one.offset, one.value) for one in messages]
        return found


def in_a_loop(servers: str, level: str) -> list[tuple[int, bytes | None]]:
    """Aiokafka."""

    async def read() -> list[tuple[int, bytes | None]]:
        place = LoopPartition("stock", 0)
        consumer = AIOKafkaConsumer(bootstrap_servers=servers, isolation_level=level)
        await consumer.start()
        try:
            consumer.assign([place])
            consumer.seek(place, 0)
            end, found = (await consumer.end_offsets([place]))[place], []
            while await consumer.position(place) < end:
                for messages in (await consumer.getmany(timeout_ms=100)).values():
                    found += [(one.offset, one.value) for one in messages]
            return found
        finally:
            await consumer.stop()

    return asyncio.run(asyncio.wait_for(read(), PATIENCE_S))


@pytest.fixture
def log() -> Iterator[eventlog.EventLog]:
    """A log in memory; another producer has a transaction open behind what is compacted."""
    with eventlog.open(":memory:") as log:
        log.topic("stock", compaction="key", min_dirty_ratio=0.0)
        one, two = Transactional(log, "one"), Transactional(log, "two")
        for number in range(100):
            producer = (one, two)[number % 2]
            keys = (b"a", b"b", b"%d" % (number // 10))
            sent = [Sent(b"%d" % number, key) for key in keys]
            producer.send(*sent, topic="stock")
            producer.end(is_commit=number % 3 > 0)
        one.send(Sent(b"open", b"a"), topic="stock")
        log.clean()
        yield log


@pytest.mark.parametrize("client", [confluent, plain_python, in_a_loop])
def test_a_client_reads_what_is_left(log: eventlog.EventLog, client: Read) -> None:
    """With committed records alone it gets what native readers get; else what is open, too, and nothing aborted."""
    native = [(one.offset, one.value) for one in log.topic("stock").read(0)]
    assert len(native) == 12
    assert len(fetch(log, 0, "stock").batches) < 5 * len(native), "of 201"
    with eventlog.kafka.listen(log) as kafka:
        assert client(kafka.bootstrap_servers, "read_committed") == native
        assert client(kafka.bootstrap_servers, "read_uncommitted") == [*native, (400, b"open")]
