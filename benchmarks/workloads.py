"""
Our side of every row: plain functions over the public API, as a user would write them.

Each is a context manager that makes ready, gives the function of one round, and cleans up. Each round checks that
all records came through: a fast loss is not a result. Latencies are in `latency.py`.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Literal

import eventlog
from benchmarks.measure import Round, Sample, percentile
from benchmarks.peers import WARM_UP_COUNT, timed_calls
from benchmarks.setting import PAYLOAD_BYTES, RECORDS_PER_CALL, TOPIC, VALUE_BYTES, Setting, make_keys, make_values

Durability = Literal["commit", "ordered"]

_OPEN = """
import sys, time, eventlog
started = time.perf_counter_ns()
log = eventlog.open(sys.argv[1])
opened = time.perf_counter_ns()
log.topic("t").bounds()
print(opened - started, time.perf_counter_ns() - opened)
"""
_TIMEOUT_S = 60.0


@contextmanager
def send(setting: Setting, *, partitions: int) -> Iterator[Round]:
    """`send()` for every record, then `flush()`, to a durable log, with all options left alone."""
    count = setting.count(500_000)
    values, keys = make_values(count), make_keys(count)

    def run() -> Sample:
        with setting.fresh_directory() as path, eventlog.open(path / "log") as log:
            topic = log.topic(TOPIC, partitions=partitions)
            with log.producer() as producer:
                started = time.perf_counter()
                for value, key in zip(values, keys, strict=True):
                    producer.send("t", value, key=key)
                looped = time.perf_counter()
                producer.flush()
                ended = time.perf_counter()
            expect_records(topic.bounds(), count)
        return Sample(count / (ended - started), {"loop_records_per_s": count / (looped - started)})

    yield run


@contextmanager
def append_many(setting: Setting, *, is_synced: bool, partitions: int = 1) -> Iterator[Round]:
    """`append_many()` of 50,000 records a call, columns in; durable, or in memory when not synced."""
    calls = setting.count(500_000, at_least=RECORDS_PER_CALL) // RECORDS_PER_CALL
    values, keys = make_values(RECORDS_PER_CALL), make_keys(RECORDS_PER_CALL)

    def run() -> Sample:
        with (
            setting.fresh_directory() as path,
            eventlog.open(path / "log" if is_synced else ":memory:") as log,
        ):
            topic = log.topic(TOPIC, partitions=partitions)
            started = time.perf_counter()
            for _ in range(calls):
                topic.append_many(values, keys=keys)
            elapsed = time.perf_counter() - started
            expect_records(topic.bounds(), calls * RECORDS_PER_CALL)
        return Sample(calls * RECORDS_PER_CALL / elapsed)

    yield run


def fill(path: Path, count: int) -> None:
    """Makes a log of `count` records in one partition, in batches of the usual size."""
    with eventlog.open(path) as log:
        topic = log.topic(TOPIC, partitions=1)
        for first in range(0, count, RECORDS_PER_CALL):
            size = min(RECORDS_PER_CALL, count - first)
            topic.append_many(make_values(size), keys=make_keys(size))


@contextmanager
def consume_records(setting: Setting) -> Iterator[Round]:
    """`for record in consumer`: one `Record` object each."""
    count = setting.count(1_000_000)
    with setting.fresh_directory() as path:
        fill(path / "log", count)

        def run() -> Sample:
            with eventlog.open(path / "log") as log, log.consumer(TOPIC) as consumer:
                started = time.perf_counter()
                for record in islice(consumer, count):
                    last = record
                elapsed = time.perf_counter() - started
                expect("last offset", last.offset, count - 1)
            return Sample(count / elapsed)

        yield run


@contextmanager
def consume_polls(setting: Setting) -> Iterator[Round]:
    """`poll()` with its default of 500 records a call, and a loop over what it gives."""
    count = setting.count(1_000_000)
    with setting.fresh_directory() as path:
        fill(path / "log", count)

        def run() -> Sample:
            seen = 0
            with eventlog.open(path / "log") as log, log.consumer(TOPIC) as consumer:
                started = time.perf_counter()
                while records := consumer.poll():
                    for _record in records:
                        pass
                    seen += len(records)
                elapsed = time.perf_counter() - started
                expect("records", seen, count)
            return Sample(count / elapsed)

        yield run


@contextmanager
def consume_columns(setting: Setting) -> Iterator[Round]:
    """`poll_batches()`: the values as a column, no object for each record."""
    count = setting.count(1_000_000)
    with setting.fresh_directory() as path:
        fill(path / "log", count)

        def run() -> Sample:
            seen = 0
            with eventlog.open(path / "log") as log, log.consumer(TOPIC) as consumer:
                started = time.perf_counter()
                while batches := consumer.poll_batches():
                    for batch in batches:
                        seen += len(batch.values)
                elapsed = time.perf_counter() - started
                expect("records", seen, count)
            return Sample(count / elapsed)

        yield run


@contextmanager
def append_one(setting: Setting, *, durability: Durability) -> Iterator[Round]:
    """`append()` of one record at a time in one thread, each on disk before the next."""
    count = WARM_UP_COUNT + setting.count(4_000)
    rows = list(zip(make_values(count), make_keys(count), strict=True))

    def run() -> Sample:
        with setting.fresh_directory() as path, eventlog.open(path / "log", durability=durability) as log:
            topic = log.topic(TOPIC, partitions=1)

            def append(row: tuple[bytes, bytes]) -> None:
                topic.append(row[0], key=row[1])

            sample = timed_calls(append, rows)
            expect_records(topic.bounds(), count)
        return sample

    yield run


@contextmanager
def append_in_threads(setting: Setting, *, threads: int, full: int) -> Iterator[Round]:
    """`threads` threads, each waiting for its own durable `append()` before its next; `full` records in all."""
    each = max(1, setting.count(full) // threads)
    values, keys = make_values(each), make_keys(each)

    def run() -> Sample:
        barrier = threading.Barrier(threads + 1)
        with setting.fresh_directory() as path, eventlog.open(path / "log") as log:
            topic = log.topic(TOPIC, partitions=1)

            def work() -> None:
                barrier.wait(_TIMEOUT_S)
                for value, key in zip(values, keys, strict=True):
                    topic.append(value, key=key)

            workers = [threading.Thread(target=work) for _ in range(threads)]
            for worker in workers:
                worker.start()
            barrier.wait(_TIMEOUT_S)
            started = time.perf_counter()
            for worker in workers:
                worker.join()
            elapsed = time.perf_counter() - started
            expect_records(topic.bounds(), threads * each)
        return Sample(threads * each / elapsed)

    yield run


@contextmanager
def disk_bytes(setting: Setting, *, way: Literal["send", "append_many", "append"]) -> Iterator[Round]:
    """What the files of a closed log take, per byte of key and value, by the way it was written."""
    count = setting.count(1_000_000 if way != "append" else 10_000, at_least=1_000)

    def run() -> Sample:
        with setting.fresh_directory() as path:
            _write(path / "log", count, way)
            status = [file.stat() for file in (path / "log").rglob("*") if file.is_file()]
        size_bytes = sum(each.st_size for each in status)
        allocated_bytes = sum(each.st_blocks * 512 for each in status)
        return Sample(
            size_bytes / (count * PAYLOAD_BYTES),
            {
                "allocated": allocated_bytes / (count * PAYLOAD_BYTES),
                "per_value_byte": size_bytes / (count * VALUE_BYTES),
            },
        )

    yield run


def _write(path: Path, count: int, way: Literal["send", "append_many", "append"]) -> None:
    if way == "append_many":
        fill(path, count)
        return
    with eventlog.open(path) as log, log.producer() as producer:
        topic = log.topic(TOPIC, partitions=1)
        for value, key in zip(make_values(count), make_keys(count), strict=True):
            if way == "send":
                producer.send(topic, value, key=key)
            else:
                topic.append(value, key=key)


@contextmanager
def reopen(setting: Setting) -> Iterator[Round]:
    """`eventlog.open()` of a closed log of 1 M records, in this process."""
    with setting.fresh_directory() as path:
        fill(path / "log", setting.count(1_000_000))

        def run() -> Sample:
            durations: list[int] = []
            for _ in range(10):
                started = time.perf_counter_ns()
                log = eventlog.open(path / "log")
                durations.append(time.perf_counter_ns() - started)
                log.topic(TOPIC).bounds()
                log.close()
            return Sample(percentile(durations, 50) / 1e6)

        yield run


@contextmanager
def open_in_new_process(setting: Setting) -> Iterator[Round]:
    """`eventlog.open()` of a log of 1 M records, the first thing a new process does with it."""
    with setting.fresh_directory() as path:
        fill(path / "log", setting.count(1_000_000))

        def run() -> Sample:
            opened_ns, looked_ns = map(int, _python("-c", _OPEN, str(path / "log")).split())
            return Sample(opened_ns / 1e6, {"first_bounds_ms": looked_ns / 1e6})

        yield run


@contextmanager
def import_time(setting: Setting) -> Iterator[Round]:
    """A fresh interpreter that imports eventlog, less a fresh interpreter that imports nothing."""
    del setting
    _python("-c", "import eventlog")

    def run() -> Sample:
        started = time.perf_counter()
        _python("-c", "pass")
        bare = time.perf_counter()
        _python("-c", "import eventlog")
        ended = time.perf_counter()
        bare_ms, with_import_ms = (bare - started) * 1e3, (ended - bare) * 1e3
        return Sample(with_import_ms - bare_ms, {"bare_interpreter_ms": bare_ms})

    yield run


def expect_records(bounds: dict[int, tuple[int, int]], count: int) -> None:
    """Raises when the partitions do not hold `count` records in all."""
    expect("records", sum(end - first for first, end in bounds.values()), count)


def expect(what: str, found: int, wanted: int) -> None:
    """Raises when a workload did not do its work: its time would mean nothing."""
    if found != wanted:
        raise RuntimeError(f"{what}: found {found}, wanted {wanted}; the figure of this round is void")


def _python(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    return done.stdout
