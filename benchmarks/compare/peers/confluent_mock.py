"""
confluent-kafka beside librdkafka's own mock broker, which keeps records in memory: nothing here is durable.

The broker is a process of its own, as a real one would be; its CPU and memory are counted. `linger.ms=5`, room for
all records; `produce()` takes its arguments by position and reports no delivery, which is its fastest form; in bulk
`produce_batch()`. Objects are `Message`s of `consume(1000)`. The mock keeps the last 5 MB of a partition, so that is
what is read, again and again; `fetch.wait.max.ms=1`, since it does not answer a waiting fetch before its time is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import attrs

from benchmarks.compare.broker import mock_server
from benchmarks.compare.peer import TIMEOUT_S, TOPIC, Contents, Peer, Place, Wait

IN_MEMORY = "the mock broker keeps records in memory"

_READ_RECORDS = 1_000


@attrs.define
class _Store:
    module: Any
    address: str
    producer: Any

    def send(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        produce = self.producer.produce
        for value, key in zip(values, keys, strict=True):
            produce(TOPIC, value, key, 0)

    def flush(self) -> None:
        if self.producer.flush(TIMEOUT_S):
            raise RuntimeError("the mock broker did not take all records")

    def send_batch(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        records = [{"value": value, "key": key} for value, key in zip(values, keys, strict=True)]
        self.producer.produce_batch(TOPIC, records, 0)

    def append(self, value: bytes, key: bytes) -> None:
        self.producer.produce(TOPIC, value, key, 0)
        self.producer.flush(TIMEOUT_S)

    def consumer(self) -> Any:
        """A consumer of the one partition, at its beginning."""
        options = {
            "bootstrap.servers": self.address,
            "group.id": "compare",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 1,
            "log_level": 0,
        }
        return closing(self.module.Consumer(options))

    def bounds(self, consumer: Any) -> tuple[int, int]:
        """The first offset that is kept, and the end."""
        partition = self.module.TopicPartition(TOPIC, 0)
        bounds: tuple[int, int] = consumer.get_watermark_offsets(partition, timeout=TIMEOUT_S)
        return bounds

    def objects(self) -> Iterator[Sequence[Any]]:
        with self.consumer() as consumer:
            first, end = self.bounds(consumer)
            consumer.assign([self.module.TopicPartition(TOPIC, 0, first)])
            while first < end:
                messages = consumer.consume(min(_READ_RECORDS, end - first), timeout=TIMEOUT_S)
                if not messages or messages[0].error():
                    raise RuntimeError(f"the mock broker gave nothing at {first} of {end}")
                yield messages
                first += len(messages)

    def value_of(self, record: Any) -> bytes:
        value: bytes = record.value()
        return value

    def count(self) -> int:
        with self.consumer() as consumer:
            return self.bounds(consumer)[1]

    def contents(self) -> Contents:
        with self.consumer() as consumer:
            first, end = self.bounds(consumer)
            if not end:
                return Contents(0, None, None)
            values = []
            for offset in (first, end - 1):
                consumer.assign([self.module.TopicPartition(TOPIC, 0, offset)])
                values.append(consumer.consume(1, timeout=TIMEOUT_S)[0].value())
        return Contents(end, values[0] if first == 0 else None, values[1])

    @contextmanager
    def tail(self) -> Iterator[Wait]:
        with self.consumer() as consumer:
            consumer.assign([self.module.TopicPartition(TOPIC, 0, 0)])

            def wait() -> Sequence[bytes]:
                message = consumer.poll(TIMEOUT_S)
                return [] if message is None else [message.value()]

            yield wait


@contextmanager
def _open(place: Place) -> Iterator[_Store]:
    import confluent_kafka

    options = {
        "bootstrap.servers": place.address,
        "linger.ms": 0 if place.is_durable else 5,
        "queue.buffering.max.messages": 10_000_000,
        "queue.buffering.max.kbytes": 2_097_151,
        "log_level": 0,
    }
    producer = confluent_kafka.Producer(options)
    producer.list_topics(TOPIC, timeout=TIMEOUT_S)
    yield _Store(confluent_kafka, place.address, producer)


PEER = Peer(
    name="confluent-kafka",
    notes=__doc__,
    keeps_in="mock broker, memory",
    open=_open,
    serve=mock_server,
    packages={"confluent-kafka": "confluent_kafka"},
    is_in_memory=True,
    lacks={
        "stock": IN_MEMORY,
        "durable_single": IN_MEMORY,
        "durable_threads": IN_MEMORY,
        "consume_columns": "a message is a record",
        "open": IN_MEMORY,
    },
)
