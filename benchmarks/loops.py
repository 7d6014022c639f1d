"""Our side of the rows about asyncio: the same work by tasks of one loop, beside threads and a `for` loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.measure import Round, Sample
from benchmarks.setting import TOPIC, Setting, make_keys, make_values
from benchmarks.workloads import expect, expect_records, fill
from eventlog import aio


@contextmanager
def append_in_tasks(setting: Setting, *, tasks: int, full: int) -> Iterator[Round]:
    """`tasks` tasks, each awaiting its own durable `append()` before its next; `full` records in all."""
    each = max(1, setting.count(full) // tasks)
    values, keys = make_values(each), make_keys(each)

    async def measure() -> Sample:
        with setting.fresh_directory() as path:
            async with aio.open(path / "log") as log:
                topic = await log.topic(TOPIC, partitions=1)

                async def work() -> None:
                    for value, key in zip(values, keys, strict=True):
                        await topic.append(value, key=key)

                started = time.perf_counter()
                await asyncio.gather(*[work() for _ in range(tasks)])
                elapsed = time.perf_counter() - started
                expect_records(await topic.bounds(), tasks * each)
                return Sample(tasks * each / elapsed)

    yield lambda: asyncio.run(measure())


@contextmanager
def send(setting: Setting, *, is_gathered: bool) -> Iterator[Round]:
    """
    `send()` for every record, then an `await` of every delivery, to a durable log; linger 5 ms, as the peer has it.

    Gathered is `asyncio.gather()` of them, which makes a task for each, since a delivery is no `Future`.
    """
    count = setting.count(100_000)
    values, keys = make_values(count), make_keys(count)

    async def measure() -> Sample:
        with setting.fresh_directory() as path:
            async with aio.open(path / "log") as log:
                topic = await log.topic(TOPIC, partitions=1)
                async with log.producer() as producer:
                    started = time.perf_counter()
                    deliveries = [producer.send(TOPIC, value, key=key) for value, key in zip(values, keys, strict=True)]
                    looped = time.perf_counter()
                    if is_gathered:
                        stored = await asyncio.gather(*deliveries)
                    else:
                        stored = [await delivery for delivery in deliveries]
                    ended = time.perf_counter()
                expect("last offset", stored[-1].offset, count - 1)
                expect_records(await topic.bounds(), count)
        return Sample(count / (ended - started), {"loop_records_per_s": count / (looped - started)})

    yield lambda: asyncio.run(measure())


@contextmanager
def consume_records(setting: Setting) -> Iterator[Round]:
    """`async for record in consumer`: one `Record` object each."""
    count = setting.count(1_000_000)
    with setting.fresh_directory() as path:
        fill(path / "log", count)

        async def measure() -> Sample:
            async with aio.open(path / "log") as log, log.consumer(TOPIC) as consumer:
                seen, last = 0, -1
                started = time.perf_counter()
                async for record in consumer:
                    seen += 1
                    last = record.offset
                    if seen == count:
                        break
                elapsed = time.perf_counter() - started
                expect("last offset", last, count - 1)
                return Sample(count / elapsed)

        yield lambda: asyncio.run(measure())
