"""
From producer to consumer: how long one record takes, between threads and between processes.

One record about every 2 ms, its value begins with the `perf_counter_ns()` of just before the call; the receiver
subtracts it from its own. That clock is one for all processes of a machine on Linux and macOS. Beside ours stand
the bare floors: `queue.SimpleQueue` between threads, a pipe between processes.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import eventlog
from benchmarks.measure import Round, Sample, percentile
from benchmarks.setting import TOPIC, VALUE_BYTES, Setting
from eventlog import aio

Way = Literal["append", "send"]
Medium = Literal["memory", "tmpfs", "disk"]
Publish = Callable[[bytes], object]

_PAUSE_S = 0.002
_WARM_UP = 10
_TIMEOUT_S = 30.0
_STAMP_BYTES = 8


@contextmanager
def between_threads(setting: Setting, *, way: Way, medium: Medium) -> Iterator[Round]:
    """One thread publishes, another waits in `poll()`; both have the same log object."""
    count = setting.count(500)

    def run() -> Sample:
        with setting.fresh_directory(in_memory=medium == "tmpfs") as path:
            with eventlog.open(":memory:" if medium == "memory" else path / "log") as log:
                log.topic(TOPIC, partitions=1)
                durations: list[int] = []
                ready = threading.Event()

                def work() -> None:
                    with log.consumer(TOPIC) as consumer:
                        consumer.poll()
                        ready.set()
                        durations.extend(_received(consumer, count))

                receiver = threading.Thread(target=work)
                receiver.start()
                ready.wait(_TIMEOUT_S)
                with _publisher(log, way) as publish:
                    publish_paced(publish, count)
                    receiver.join(_TIMEOUT_S)
        return latency_sample(durations, count)

    yield run


@contextmanager
def between_processes(setting: Setting, *, way: Way, medium: Medium, is_loop: bool = False) -> Iterator[Round]:
    """One process publishes, a spawned one waits in `poll()`, in a loop or not; they share the directory of the log."""
    consume = _consume_in_loop if is_loop else _consume_in_child
    count = setting.count(500)
    context = multiprocessing.get_context("spawn")

    def run() -> Sample:
        with setting.fresh_directory(in_memory=medium == "tmpfs") as path:
            with eventlog.open(path / "log") as log:
                log.topic(TOPIC, partitions=1)
                here, there = context.Pipe()
                process = context.Process(target=consume, args=(path / "log", count, there))
                process.start()
                try:
                    _wait_for(here)
                    with _publisher(log, way) as publish:
                        publish_paced(publish, count)
                        durations: list[int] = _wait_for(here)
                finally:
                    process.join(_TIMEOUT_S)
        return latency_sample(durations, count)

    yield run


def _consume_in_child(path: Path, count: int, parent: Connection) -> None:
    with eventlog.open(path) as log, log.consumer(TOPIC) as consumer:
        consumer.poll()
        parent.send("ready")
        parent.send(_received(consumer, count))


def _consume_in_loop(path: Path, count: int, parent: Connection) -> None:
    asyncio.run(_await_in_loop(path, count, parent))


async def _await_in_loop(path: Path, count: int, parent: Connection) -> None:
    durations: list[int] = []
    async with aio.open(path) as log, log.consumer(TOPIC) as consumer:
        await consumer.poll(0)
        parent.send("ready")
        while len(durations) < count:
            records = await consumer.poll(_TIMEOUT_S)
            now = time.perf_counter_ns()
            if not records:
                break
            durations.extend(now - stamp_of(record.value) for record in records if record.value is not None)
    parent.send(durations)


def _received(consumer: eventlog.Consumer[Any, Any], count: int) -> list[int]:
    """The latencies of the next `count` records; fewer if they stay away for too long."""
    durations: list[int] = []
    clock = time.perf_counter_ns
    while len(durations) < count:
        records = consumer.poll(timeout=_TIMEOUT_S)
        now = clock()
        if not records:
            break
        durations.extend(now - stamp_of(record.value) for record in records if record.value is not None)
    return durations


@contextmanager
def _publisher(log: eventlog.EventLog, way: Way) -> Iterator[Publish]:
    """Stores one record: on return with `append`, or soon with a producer that does not linger."""
    if way == "append":
        yield log.topic(TOPIC).append
        return
    with log.producer(linger=0) as producer:
        yield lambda value: producer.send("t", value)


@contextmanager
def queue_between_threads(setting: Setting) -> Iterator[Round]:
    """The floor in one process: a `queue.SimpleQueue`, nothing stored."""
    count = setting.count(500)

    def run() -> Sample:
        channel: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        durations: list[int] = []

        def work() -> None:
            for _ in range(count):
                value = channel.get(timeout=_TIMEOUT_S)
                durations.append(time.perf_counter_ns() - stamp_of(value))

        receiver = threading.Thread(target=work)
        receiver.start()
        publish_paced(channel.put, count)
        receiver.join(_TIMEOUT_S)
        return latency_sample(durations, count)

    yield run


@contextmanager
def pipe_between_processes(setting: Setting) -> Iterator[Round]:
    """The floor between processes: a pipe, nothing stored."""
    count = setting.count(500)
    context = multiprocessing.get_context("spawn")

    def run() -> Sample:
        here, there = context.Pipe()
        process = context.Process(target=_read_pipe_in_child, args=(count, there))
        process.start()
        try:
            _wait_for(here)
            publish_paced(here.send_bytes, count)
            durations: list[int] = _wait_for(here)
        finally:
            process.join(_TIMEOUT_S)
        return latency_sample(durations, count)

    yield run


def _read_pipe_in_child(count: int, parent: Connection) -> None:
    parent.send("ready")
    parent.send([time.perf_counter_ns() - stamp_of(value) for value in (parent.recv_bytes() for _ in range(count))])


def publish_paced(publish: Publish, count: int) -> None:
    """Publishes `count` stamped values, with a pause before each."""
    rest = b"\0" * (VALUE_BYTES - _STAMP_BYTES)
    for _ in range(count):
        time.sleep(_PAUSE_S)
        publish(time.perf_counter_ns().to_bytes(_STAMP_BYTES, "big") + rest)


def stamp_of(value: bytes) -> int:
    """The moment that `publish_paced` put into a value."""
    return int.from_bytes(value[:_STAMP_BYTES], "big")


def latency_sample(durations: Sequence[int], count: int) -> Sample:
    """The p50 of a round in us, without its first ten records; raises when records are missing."""
    if len(durations) != count:
        raise RuntimeError(f"received {len(durations)} of {count} records; the figure of this round is void")
    counted = durations[_WARM_UP:]
    return Sample(percentile(counted, 50) / 1e3, durations_ns=counted)


def _wait_for(connection: Connection) -> list[int]:
    """The next message of the child; raises when it stays away."""
    if not connection.poll(_TIMEOUT_S):
        raise RuntimeError(f"the other process said nothing for {_TIMEOUT_S} s")
    message: list[int] = connection.recv()
    return message
