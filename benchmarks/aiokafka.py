"""
aiokafka as a peer: producing to librdkafka's mock broker from a loop, and consuming from it.

Without aiokafka each side is `Skipped`, with what to install. Knows nothing of eventlog.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from benchmarks.measure import Round, Sample, Skipped
from benchmarks.mock_broker import mock_broker
from benchmarks.setting import TOPIC, Setting, make_keys, make_values

_LINGER_MS = 5


def load_aiokafka() -> ModuleType:
    """The `aiokafka` module, or `Skipped` with what to install."""
    try:
        import aiokafka
    except ImportError as error:
        raise Skipped("aiokafka is not installed; run: pip install aiokafka") from error
    return aiokafka


@contextmanager
def produce(setting: Setting) -> Iterator[Round]:
    """`await send()` for every record, then the futures of all; linger 5 ms."""
    aiokafka = load_aiokafka()
    count = setting.count(100_000)
    values, keys = make_values(count), make_keys(count)
    with mock_broker({TOPIC: 1}) as address:

        async def measure() -> Sample:
            async with aiokafka.AIOKafkaProducer(bootstrap_servers=address, linger_ms=_LINGER_MS) as producer:
                await producer.partitions_for(TOPIC)
                started = time.perf_counter()
                deliveries = [
                    await producer.send(TOPIC, value, key=key, partition=0)
                    for value, key in zip(values, keys, strict=True)
                ]
                looped = time.perf_counter()
                stored = await asyncio.gather(*deliveries)
                ended = time.perf_counter()
            if stored[-1].offset - stored[0].offset != count - 1:
                raise RuntimeError(f"the mock broker got {stored[-1].offset - stored[0].offset + 1} of {count} records")
            return Sample(count / (ended - started), {"loop_records_per_s": count / (looped - started)})

        yield lambda: asyncio.run(measure())


@contextmanager
def consume(setting: Setting) -> Iterator[Round]:
    """`async for` over 40,000 records, all that the mock keeps; connected, from a seek to the beginning on."""
    aiokafka = load_aiokafka()
    count = setting.count(40_000, at_least=10_000)
    with mock_broker({TOPIC: 1}) as address:
        asyncio.run(_fill(aiokafka, address, count))

        async def measure() -> Sample:
            async with aiokafka.AIOKafkaConsumer(bootstrap_servers=address, fetch_max_wait_ms=1) as consumer:
                partition = aiokafka.TopicPartition(TOPIC, 0)
                consumer.assign([partition])
                consumer.seek(partition, 0)
                await consumer.getone()
                consumer.seek(partition, 0)
                seen = 0
                started = time.perf_counter()
                async for _record in consumer:
                    seen += 1
                    if seen == count:
                        break
                return Sample(count / (time.perf_counter() - started))

        yield lambda: asyncio.run(measure())


async def _fill(aiokafka: Any, address: str, count: int) -> None:
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=address) as producer:
        for value, key in zip(make_values(count), make_keys(count), strict=True):
            await producer.send(TOPIC, value, key=key, partition=0)
