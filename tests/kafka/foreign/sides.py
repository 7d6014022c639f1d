"""
The native side of a test: who writes and reads beside the foreign client.

`Native` is a log of eventlog that another process serves to Kafka clients. `RealKafka` is a real broker, seen by
confluent-kafka: with it the same tests show that the programs and their judges are right.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

import eventlog


class Row(NamedTuple):
    """A record as both sides see it."""

    partition: int
    offset: int
    timestamp: int
    key: str | None
    value: str | None
    headers: tuple[tuple[str, str | None], ...]


class Side(Protocol):
    """What a test asks of the native side."""

    bootstrap: str

    def write(self, topic: str, partitions: int, rows: Iterable[tuple[Any, ...]]) -> None:
        """Create a topic with records of partition, timestamp, key, value and headers."""

    def rows(self, topic: str) -> list[Row]:
        """All committed records, in the order of partitions and offsets."""

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """The committed offsets of a group, by partition."""

    def topics(self) -> set[str]:
        """The names of all topics."""


class Native:
    """A log in a directory, and a process with a listener on it."""

    def __init__(self, path: Path) -> None:
        self._log = eventlog.open(path)
        self._child = subprocess.Popen(
            [sys.executable, "-m", "tests.kafka.foreign.serving", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdout is not None
        self.bootstrap = self._child.stdout.readline().strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self._child.communicate(timeout=20)  # closes its input, at which it ends
        finally:
            self._child.kill()
            self._log.close()
        if kind is None:
            assert self._child.returncode == 0

    def write(self, topic: str, partitions: int, rows: Iterable[tuple[Any, ...]]) -> None:
        """Create a topic with records of partition, timestamp, key, value and headers."""
        opened = self._log.topic(topic, partitions=partitions, key=bytes, value=bytes)
        for partition, timestamp, key, value, headers in rows:
            opened.append(
                _bytes(value),
                key=_bytes(key),
                partition=partition,
                timestamp_ms=timestamp,
                headers=[(name, _bytes(text)) for name, text in headers],
            )

    def rows(self, topic: str) -> list[Row]:
        """All committed records, in the order of partitions and offsets."""
        return sorted(
            Row(
                record.partition,
                record.offset,
                record.timestamp_ms,
                _text(record.key),
                _text(record.value),
                tuple((name, _text(value)) for name, value in record.headers),
            )
            for record in self._log.topic(topic).read()
        )

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """The committed offsets of a group, by partition."""
        try:
            offsets = self._log.groups.describe(group).offsets
        except eventlog.UnknownGroup:
            return {}
        return {found.partition: found.committed for found in offsets if found.topic == topic}

    def topics(self) -> set[str]:
        """The names of all topics."""
        return set(self._log.topics())


class RealKafka:
    """A real broker."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    def write(self, topic: str, partitions: int, rows: Iterable[tuple[Any, ...]]) -> None:
        """Create a topic with records of partition, timestamp, key, value and headers."""
        from confluent_kafka import Producer
        from confluent_kafka.admin import AdminClient, NewTopic

        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(20)
        producer = Producer({"bootstrap.servers": self.bootstrap})
        for partition, timestamp, key, value, headers in rows:
            producer.produce(topic, value, key, partition, timestamp=timestamp, headers=list(headers))
        producer.flush(20)

    def rows(self, topic: str) -> list[Row]:
        """All committed records, in the order of partitions and offsets."""
        from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "reader",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
            }
        )
        found = consumer.list_topics(topic, 20).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in found])
        rows, ended, deadline = [], set(), time.monotonic() + 20
        while ended != set(found):
            assert time.monotonic() < deadline
            message = consumer.poll(0.1)
            if message is not None and message.error():
                ended.add(message.partition())
            elif message is not None:
                headers = tuple((name, _text(value)) for name, value in message.headers() or ())
                key, value = _text(message.key()), _text(message.value())
                rows.append(Row(message.partition(), message.offset(), message.timestamp()[1], key, value, headers))
        consumer.close()
        return sorted(rows)

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """The committed offsets of a group, by partition."""
        from confluent_kafka import ConsumerGroupTopicPartitions
        from confluent_kafka.admin import AdminClient

        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        (answer,) = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]).values()
        return {found.partition: found.offset for found in answer.result(20).topic_partitions if found.topic == topic}

    def topics(self) -> set[str]:
        """The names of all topics."""
        from confluent_kafka.admin import AdminClient

        return set(AdminClient({"bootstrap.servers": self.bootstrap}).list_topics(timeout=20).topics)


def real_bootstrap() -> str | None:
    """The address of a real broker to run against in place of a listener: KAFKA_BOOTSTRAP."""
    return os.environ.get("KAFKA_BOOTSTRAP")


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def _text(data: Any) -> str | None:
    return None if data is None else data.decode()
