"""
What partitions cost: topics of 1 to 10,000 of them with the same records, spread by random keys.

Each number of partitions has a log of its own, on the disk. Knows nothing of tables.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import eventlog
from benchmarks.compare.growth_figures import Budget, Growth, Series, elapsed_s, median_us
from benchmarks.setting import RECORDS_PER_CALL, TOPIC, Setting, make_keys, make_values
from eventlog import Consumer, EventLog, Topic

SIZES = (1, 10, 100, 1_000, 10_000)
SERIES = (
    Series("create", "making the topic", "ms"),
    Series("send", "send() with keys", "ns a record"),
    Series("append_many", "append_many() with keys", "ns a record"),
    Series("append", "append() of one record", "us"),
    Series("open", "open()", "ms"),
    Series("bounds", "bounds()", "ms"),
    Series("consumer", "making a consumer without a group", "ms"),
    Series("consume", "reading all, in columns", "ns a record"),
    Series("idle_poll", "poll() when nothing was stored", "us"),
    Series("woken_poll", "poll() after a commit of another topic", "us"),
    Series("one_record", "append() and poll() of one record", "us"),
    Series("lag", "lag()", "ms"),
    Series("join", "joining a group, to the first records", "ms"),
    Series("commit", "commit() of all partitions", "ms"),
    Series("second_join", "a second member has its half", "ms"),
    Series("idle_core", "a waiting consumer, of one core", "%"),
)

_OTHER_TOPIC = "other"
_RECORDS = 200_000
_LEAST_RECORDS = 20_000
_CALLS = 50
_IDLE_S = 1.0
_PATIENCE_S = 60.0


def measure(growth: Growth, setting: Setting, budget: Budget) -> None:
    """Takes the figures of each number of partitions, as long as there is time."""
    took_s = 0.0
    for size in growth.sizes:
        if budget.left_s < 3 * took_s:
            growth.leave_out(size, f"takes about {3 * took_s:.0f} s, and {max(budget.left_s, 0):.0f} s were left")
            continue
        with setting.fresh_directory() as path:
            count = setting.count(_RECORDS, at_least=_LEAST_RECORDS)
            began_s = time.monotonic()
            _measure_writes(growth, path, size, count)
            _measure_reads(growth, path, size, 2 * count)
            took_s = time.monotonic() - began_s


def _measure_writes(growth: Growth, path: Path, size: int, count: int) -> None:
    values, keys = make_values(count), make_keys(count)
    with eventlog.open(path) as log:
        log.topic(_OTHER_TOPIC)
        growth.note("create", size, elapsed_s(lambda: log.topic(TOPIC, partitions=size)) * 1e3)
        topic = log.topic(TOPIC)
        with log.producer() as producer:

            def send_all() -> None:
                send = producer.send
                for value, key in zip(values, keys, strict=True):
                    send(topic, value, key=key)
                producer.flush()

            growth.note("send", size, elapsed_s(send_all) * 1e9 / count)

        def append_all() -> None:
            for first in range(0, count, RECORDS_PER_CALL):
                end = first + RECORDS_PER_CALL
                topic.append_many(values[first:end], keys=keys[first:end])

        growth.note("append_many", size, elapsed_s(append_all) * 1e9 / count)
        growth.note("append", size, median_us(lambda: topic.append(values[0], partition=0), _CALLS))


def _measure_reads(growth: Growth, path: Path, size: int, count: int) -> None:
    growth.note("open", size, median_us(lambda: eventlog.open(path).close(), 5) / 1e3)
    with eventlog.open(path) as log:
        topic, other = log.topic(TOPIC), log.topic(_OTHER_TOPIC)
        growth.note("bounds", size, elapsed_s(topic.bounds) * 1e3)
        began_s = time.perf_counter()
        with log.consumer(TOPIC) as consumer:
            growth.note("consumer", size, (time.perf_counter() - began_s) * 1e3)
            growth.note("consume", size, elapsed_s(lambda: _read(consumer, count)) * 1e9 / count)
            _measure_polls(growth, consumer, topic, other, size)
        _measure_group(growth, log, size)


def _read(consumer: Consumer[Any, Any], count: int) -> None:
    """Takes so many records, which are there."""
    for batches in iter(consumer.poll_batches, []):
        count -= sum(map(len, batches))
    if count > 0:
        raise RuntimeError(f"{count} records are missing; the figures of this size are void")


def _measure_polls(
    growth: Growth, consumer: Consumer[Any, Any], topic: Topic[Any, Any], other: Topic[Any, Any], size: int
) -> None:
    """What a consumer costs that has read everything."""
    rng = random.Random(1)
    _drain(consumer)
    growth.note("idle_poll", size, median_us(consumer.poll, 10 * _CALLS))
    for _ in range(_CALLS):
        other.append(b"woken")
        growth.note("woken_poll", size, elapsed_s(consumer.poll) * 1e6)

    def one_record() -> None:
        topic.append(b"one", partition=rng.randrange(size))
        while not consumer.poll():
            pass

    growth.note("one_record", size, median_us(one_record, _CALLS))
    growth.note("lag", size, elapsed_s(consumer.lag) * 1e3)
    consumer.poll(timeout=0.01)
    used_s, began_s = time.thread_time(), time.monotonic()
    consumer.poll(timeout=_IDLE_S)
    growth.note("idle_core", size, (time.thread_time() - used_s) / (time.monotonic() - began_s) * 100)


def _drain(consumer: Consumer[Any, Any]) -> None:
    while consumer.poll_batches():
        pass


def _measure_group(growth: Growth, log: EventLog, size: int) -> None:
    began_s = time.perf_counter()
    with log.consumer(TOPIC, group="all", auto_commit=False, max_poll_records=10_000) as first:
        while not first.poll():
            pass
        growth.note("join", size, (time.perf_counter() - began_s) * 1e3)
        _drain(first)
        growth.note("commit", size, elapsed_s(first.commit) * 1e3)
        began_s = time.perf_counter()
        with log.consumer(TOPIC, group="all", auto_commit=False) as second:
            halves = {size // 2, size - size // 2}
            while {len(one.assignment()) for one in (first, second)} != halves:
                first.poll()
                second.poll()
                if time.perf_counter() - began_s > _PATIENCE_S:
                    raise RuntimeError(f"two members do not share {size} partitions; the figures of this size are void")
            growth.note("second_join", size, (time.perf_counter() - began_s) * 1e3)
