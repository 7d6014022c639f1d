"""The unmodified clients that the tests run, each behind the same few calls: send records, and read a partition."""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import confluent_kafka
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import TopicPartition as LoopPartition

from eventlog.named_tuples import NamedTuple

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # kafka-python's own, when it is imported
    import kafka as kafka_python

PATIENCE_SECONDS = 20.0


class Sent(NamedTuple):
    """A record for a partition."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    timestamp_ms: int | None = None


class Got(NamedTuple):
    """A record as a client read it."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int


class Confluent:
    """confluent-kafka, which is librdkafka."""

    codecs = ("none", "gzip", "snappy", "lz4", "zstd")

    @staticmethod
    def send(servers: str, topic: str, records: Iterable[Sent], **options: Any) -> list[tuple[int, int]]:
        """Send some records, and return their partitions and offsets."""
        compression = options.pop("compression", "none")
        producer = confluent_kafka.Producer(
            {"bootstrap.servers": servers, "linger.ms": 5, "compression.type": compression, **options}
        )
        stored: list[tuple[int, int]] = []

        def note(error: object, message: Any) -> None:
            if error is not None:
                raise AssertionError(str(error))
            stored.append((message.partition(), message.offset()))

        for one in records:
            extra = {} if one.timestamp_ms is None else {"timestamp": one.timestamp_ms}
            headers = list(one.headers)
            producer.produce(
                topic, one.value, one.key, one.partition, on_delivery=note, headers=headers, **extra
            )  # fmt: skip
        assert producer.flush(PATIENCE_SECONDS) == 0
        return stored

    @staticmethod
    def read(servers: str, topic: str, starts: dict[int, int], count: int) -> list[Got]:
        """Read so many records of some partitions, from these offsets on."""
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": servers, "group.id": "none", "enable.auto.commit": False, "check.crcs": True}
        )
        found: list[Got] = []
        try:
            consumer.assign([confluent_kafka.TopicPartition(topic, number, at) for number, at in starts.items()])
            while len(found) < count:
                messages = consumer.consume(count - len(found), PATIENCE_SECONDS)
                assert messages, f"{len(found)} of {count} records came"
                for one in messages:
                    assert one.error() is None, one.error()
                    found.append(
                        Got(
                            one.partition(), one.offset(), one.key(), one.value(), tuple(one.headers() or ()),
                            one.timestamp()[1],
                        )
                    )  # fmt: skip
        finally:
            consumer.close()
        return found


class Aiokafka:
    """aiokafka."""

    codecs = ("none", "gzip", "snappy", "lz4", "zstd")

    @staticmethod
    def send(servers: str, topic: str, records: Iterable[Sent], **options: Any) -> list[tuple[int, int]]:
        """Send some records, and return their partitions and offsets."""
        compression = options.pop("compression", "none")

        async def run() -> list[tuple[int, int]]:
            producer = AIOKafkaProducer(
                bootstrap_servers=servers, compression_type=None if compression == "none" else compression, **options
            )
            await producer.start()
            try:
                sent = [
                    await producer.send(
                        topic, one.value, one.key, one.partition, one.timestamp_ms, headers=list(one.headers)
                    )
                    for one in records
                ]
                return [(one.partition, one.offset) for one in await asyncio.gather(*sent)]
            finally:
                await producer.stop()

        return asyncio.run(run())

    @staticmethod
    def read(servers: str, topic: str, starts: dict[int, int], count: int) -> list[Got]:
        """Read so many records of some partitions, from these offsets on."""

        async def run() -> list[Got]:
            consumer = AIOKafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False, check_crcs=True)
            await consumer.start()
            found: list[Got] = []
            try:
                consumer.assign([LoopPartition(topic, number) for number in starts])
                for number, at in starts.items():
                    consumer.seek(LoopPartition(topic, number), at)
                while len(found) < count:
                    for one in (await asyncio.wait_for(consumer.getmany(timeout_ms=5000), PATIENCE_SECONDS)).values():
                        found.extend(map(_got, one))
            finally:
                await consumer.stop()
            return found

        return asyncio.run(run())


class KafkaPython:
    """kafka-python, whose codecs are three further packages: gzip is Python's. It sends no header without a value."""

    codecs = ("none", "gzip")

    @staticmethod
    def send(servers: str, topic: str, records: Iterable[Sent], **options: Any) -> list[tuple[int, int]]:
        """Send some records, and return their partitions and offsets."""
        compression = options.pop("compression", "none")
        producer = kafka_python.KafkaProducer(
            bootstrap_servers=servers, compression_type=None if compression == "none" else compression, **options
        )
        with contextlib.closing(producer):
            sent = [
                producer.send(topic, one.value, one.key, list(one.headers), one.partition, one.timestamp_ms)
                for one in records
            ]
            stored = [one.get(PATIENCE_SECONDS) for one in sent]
        return [(one.partition, one.offset) for one in stored]

    @staticmethod
    def read(servers: str, topic: str, starts: dict[int, int], count: int) -> list[Got]:
        """Read so many records of some partitions, from these offsets on."""
        consumer = kafka_python.KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
        found: list[Got] = []
        with contextlib.closing(consumer):
            consumer.assign([kafka_python.TopicPartition(topic, number) for number in starts])
            for number, at in starts.items():
                consumer.seek(kafka_python.TopicPartition(topic, number), at)
            while len(found) < count:
                for one in consumer.poll(timeout_ms=int(PATIENCE_SECONDS * 1000)).values():
                    found.extend(map(_got, one))
        return found


def _got(one: Any) -> Got:
    return Got(one.partition, one.offset, one.key, one.value, tuple(one.headers), one.timestamp)


Client = type[Confluent] | type[Aiokafka] | type[KafkaPython]
CLIENTS: Sequence[Client] = (Confluent, Aiokafka, KafkaPython)
WITH_CODECS: Sequence[tuple[Client, str]] = [(client, codec) for client in CLIENTS for codec in client.codecs]
NAMES: Callable[[Any], str] = lambda one: one if isinstance(one, str) else one.__name__  # noqa: E731
