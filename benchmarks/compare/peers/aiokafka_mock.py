"""
aiokafka beside librdkafka's mock broker, a process of its own that keeps records in memory: nothing here is durable.

`linger_ms=5`, batches of up to 256 KB; `send()` for every record; in bulk batches that the program builds itself, with
`create_batch()` and `send_batch()`. Objects are `ConsumerRecord`s of `getmany()`. The mock keeps the last 5 MB of a
partition, so that is what is read, again and again; `fetch_max_wait_ms=1`, since the mock does not answer a waiting
fetch before its time is over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

from benchmarks.compare.broker import mock_server
from benchmarks.compare.peer import TIMEOUT_S, TOPIC, Contents, Peer, Place, Wait
from benchmarks.compare.peers.confluent_mock import IN_MEMORY

_READ_RECORDS = 1_000
_BATCH_BYTES = 256 * 1024


@attrs.define
class _Store:
    module: Any
    address: str
    loop: asyncio.AbstractEventLoop
    producer: Any

    def run(self, work: Any) -> Any:
        """Runs a coroutine to its end."""
        return self.loop.run_until_complete(work)

    def send(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        async def send() -> None:
            send_one = self.producer.send
            for value, key in zip(values, keys, strict=True):
                await send_one(TOPIC, value, key, 0)

        self.run(send())

    def flush(self) -> None:
        self.run(self.producer.flush())

    def send_batch(self, values: Sequence[bytes], keys: Sequence[bytes]) -> None:
        async def send() -> None:
            batch = self.producer.create_batch()
            for value, key in zip(values, keys, strict=True):
                if batch.append(key=key, value=value, timestamp=None) is None:
                    await self.producer.send_batch(batch, TOPIC, partition=0)
                    batch = self.producer.create_batch()
                    batch.append(key=key, value=value, timestamp=None)
            await self.producer.send_batch(batch, TOPIC, partition=0)

        self.run(send())

    def append(self, value: bytes, key: bytes) -> None:
        self.run(self.producer.send_and_wait(TOPIC, value, key, 0))

    @contextmanager
    def consumer(self, loop: asyncio.AbstractEventLoop) -> Iterator[Any]:
        """A consumer of the one partition, at its beginning, on a loop of the calling thread."""

        async def make() -> Any:
            consumer = self.module.AIOKafkaConsumer(
                bootstrap_servers=self.address, fetch_max_wait_ms=1, auto_offset_reset="earliest"
            )
            await consumer.start()
            consumer.assign([self.module.TopicPartition(TOPIC, 0)])
            return consumer

        consumer = loop.run_until_complete(make())
        try:
            yield consumer
        finally:
            loop.run_until_complete(consumer.stop())

    def bounds(self, consumer: Any) -> tuple[int, int]:
        """The first offset that is kept, and the end."""
        partition = self.module.TopicPartition(TOPIC, 0)
        firsts, ends = self.run(consumer.beginning_offsets([partition])), self.run(consumer.end_offsets([partition]))
        return firsts[partition], ends[partition]

    def objects(self) -> Iterator[Sequence[Any]]:
        with self.consumer(self.loop) as consumer:
            first, end = self.bounds(consumer)
            while first < end:
                found = self.run(consumer.getmany(timeout_ms=TIMEOUT_S * 1000, max_records=_READ_RECORDS))
                for records in found.values():
                    yield records
                    first += len(records)
                if not found:
                    raise RuntimeError(f"the mock broker gave nothing at {first} of {end}")

    def value_of(self, record: Any) -> bytes:
        value: bytes = record.value
        return value

    def count(self) -> int:
        with self.consumer(self.loop) as consumer:
            return self.bounds(consumer)[1]

    def contents(self) -> Contents:
        partition = self.module.TopicPartition(TOPIC, 0)
        with self.consumer(self.loop) as consumer:
            first, end = self.bounds(consumer)
            if not end:
                return Contents(0, None, None)
            values = []
            for offset in (first, end - 1):
                consumer.seek(partition, offset)
                values.append(self.run(asyncio.wait_for(consumer.getone(), TIMEOUT_S)).value)
        return Contents(end, values[0] if first == 0 else None, values[1])

    @contextmanager
    def tail(self) -> Iterator[Wait]:
        loop = asyncio.new_event_loop()
        try:
            with self.consumer(loop) as consumer:

                def wait() -> Sequence[bytes]:
                    found = loop.run_until_complete(consumer.getmany(timeout_ms=TIMEOUT_S * 1000))
                    return [record.value for records in found.values() for record in records]

                yield wait
        finally:
            loop.close()


@contextmanager
def _open(place: Place) -> Iterator[_Store]:
    import aiokafka

    async def make() -> Any:
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=place.address, linger_ms=0 if place.is_durable else 5, max_batch_size=_BATCH_BYTES
        )
        await producer.start()
        return producer

    loop = asyncio.new_event_loop()
    try:
        producer = loop.run_until_complete(make())
        try:
            yield _Store(aiokafka, place.address, loop, producer)
        finally:
            loop.run_until_complete(producer.stop())
    finally:
        loop.close()


PEER = Peer(
    name="aiokafka",
    notes=__doc__,
    keeps_in="mock broker, memory",
    open=_open,
    serve=mock_server,
    packages={"aiokafka": "aiokafka", "confluent-kafka": "confluent_kafka"},
    is_in_memory=True,
    lacks={
        "stock": IN_MEMORY,
        "durable_single": IN_MEMORY,
        "durable_threads": IN_MEMORY,
        "consume_columns": "a record is an object",
        "open": IN_MEMORY,
    },
)
