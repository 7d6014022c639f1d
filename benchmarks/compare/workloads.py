"""
The work itself, done over the seam of `peer.py`: produce, append durably, consume, open.

Each piece is bounded in time, not in records: what counts is the rate, and a slow peer does less. Afterwards the store
is asked how many records it has, and which are the first and the last; what does not fit makes the figure void.
Knows no peer.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import attrs

from benchmarks.compare.cost import Cost, Memory, measured
from benchmarks.compare.latency import between_processes, between_threads
from benchmarks.compare.peer import Contents, Peer, Place, Store, Workload, disk_bytes
from benchmarks.compare.records import Records, make_records
from benchmarks.measure import Sample

STOCK_RECORDS = {100: 200_000, 1_000: 50_000}

_FIRST_CHUNK = 100
_LARGEST_CHUNK = 20_000
_SHORT_CHUNK_S = 0.02
_MOST_BYTES = 400_000_000
_DURABLE_CHUNK = 10
_STOCK_S_FACTOR = 4.0
_IN_MEMORY_STOCK = 20_000
_OPENINGS = 5
_THREADS = 64


@attrs.frozen
class Task:
    """
    One cell, to be done once.

    Args:
        directory: where its store goes; empty.
        stock: a filled store for tasks that read; it stays as it is.
        measured_s: for how long the work goes on.
        latency_count: how many records a latency task publishes.
    """

    peer: Peer
    workload: Workload
    value_bytes: int
    directory: Path
    stock: Path | None = None
    measured_s: float = 0.5
    latency_count: int = 350

    @property
    def records(self) -> Records:
        """What is written or expected."""
        return make_records(self.value_bytes)

    @contextmanager
    def opened(self, directory: Path | None = None, *, is_durable: bool = False) -> Iterator[tuple[Store, Place]]:
        """The peer in that directory, or in the task's own."""
        with self.peer.serve(Place(directory or self.directory, is_durable)) as place, self.peer.open(place) as store:
            yield store, place


def perform(task: Task) -> Sample:
    """Does the task and checks what it did; raises when records are missing."""
    works: dict[Workload, Callable[[Task], Sample]] = {
        "stock": fill_stock,
        "produce_single": partial(produce, way="single"),
        "produce_batch": partial(produce, way="batch"),
        "durable_single": durable_single,
        "durable_threads": durable_threads,
        "consume_objects": partial(consume, way="objects"),
        "consume_columns": partial(consume, way="columns"),
        "open": open_stock,
        "latency_threads": partial(latency, run=between_threads),
        "latency_processes": partial(latency, run=between_processes),
        "latency_threads_memory": partial(latency, run=between_threads),
        "latency_processes_memory": partial(latency, run=between_processes),
    }
    return works[task.workload](task)


def produce(task: Task, *, way: Literal["single", "batch"]) -> Sample:
    """Records as fast as they go, and the flush after the last of them."""
    records = task.records
    memory = Memory.begin()
    with task.opened() as (store, place):
        with measured(place.process_id) as cost:
            count = _send_for(task, store, records, way=way, most=_MOST_BYTES // task.value_bytes)
            store.flush()
        details = memory.details(place.process_id)
        expect(store.contents(), count, records)
    return _rated(count, cost, details)


def _send_for(
    task: Task,
    store: Store,
    records: Records,
    *,
    way: Literal["single", "batch"],
    most: int,
    seconds: float | None = None,
) -> int:
    """Sends until the time is over or `most` records are sent; how many they were."""
    end = time.perf_counter() + (seconds or task.measured_s)
    batch = max(1, task.peer.batch_records * 100 // task.value_bytes)
    chunk = batch if way == "batch" else _FIRST_CHUNK
    send = store.send_batch if way == "batch" else store.send
    count = 0
    while (started := time.perf_counter()) < end and count < most:
        size = min(chunk, most - count)
        send(*records.part(count, size))
        count += size
        if way == "single" and time.perf_counter() - started < _SHORT_CHUNK_S:
            chunk = min(chunk * 2, _LARGEST_CHUNK, len(records.values))
    return count


def durable_single(task: Task) -> Sample:
    """One record after the other, each on disk before the next."""
    records = task.records
    durations: list[int] = []
    clock = time.perf_counter_ns
    with task.opened(is_durable=True) as (store, place):
        warm_up = task.peer.warm_up_count
        for value, key in zip(*records.part(0, warm_up), strict=True):
            store.append(value, key)
        with measured(place.process_id) as cost:
            end = clock() + int(task.measured_s * 1e9)
            called = clock()
            while called < end:
                for value, key in zip(*records.part(warm_up + len(durations), _DURABLE_CHUNK), strict=True):
                    store.append(value, key)
                    returned = clock()
                    durations.append(returned - called)
                    called = returned
        expect(store.contents(), warm_up + len(durations), records)
    sample = _rated(len(durations), cost, {})
    return attrs.evolve(sample, durations_ns=durations)


def durable_threads(task: Task) -> Sample:
    """64 threads, each waiting for its own record to be on disk before its next."""
    records = task.records
    counts = [0] * _THREADS
    failures: list[BaseException] = []
    barrier = threading.Barrier(_THREADS + 1)
    with task.opened(is_durable=True) as (store, place):
        for value, key in zip(*records.part(0, task.peer.warm_up_count), strict=True):
            store.append(value, key)

        def work(number: int) -> None:
            try:
                value, key = records.values[number], records.keys[number]
                barrier.wait()
                end = time.perf_counter() + task.measured_s
                while time.perf_counter() < end:
                    store.append(value, key)
                    counts[number] += 1
            except BaseException as error:  # noqa: BLE001 - the cell's own thread raises it
                failures.append(error)

        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(_THREADS)]
        for thread in threads:
            thread.start()
        barrier.wait()
        with measured(place.process_id) as cost:
            for thread in threads:
                thread.join()
        if failures:
            raise RuntimeError(f"{len(failures)} of {_THREADS} threads failed: {failures[0]!r}")
        found = store.contents().count
        if found != sum(counts) + task.peer.warm_up_count:
            raise RuntimeError(f"{found} records stored, {sum(counts)} acknowledged; the figure is void")
    return _rated(sum(counts), cost, {})


def fill_stock(task: Task) -> Sample:
    """A store for the tasks that read; the figure is its bytes on disk per record, closed."""
    records = task.records
    with task.opened() as (store, _):
        count = fill(task, store, records, STOCK_RECORDS[task.value_bytes])
        expect(store.contents(), count, records)
    _sync_files(task.directory)
    return Sample(disk_bytes(task.directory) / count, {"records_count": float(count)})


def _sync_files(directory: Path) -> None:
    """Leaves nothing of a stock for the system to write while others are measured."""
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb+") as file:
                os.fsync(file.fileno())


def fill(task: Task, store: Store, records: Records, most: int) -> int:
    """Up to `most` records, fewer where the peer is slow; how many they are."""
    way: Literal["single", "batch"] = "single" if "produce_batch" in task.peer.lacks else "batch"
    count = _send_for(task, store, records, way=way, most=most, seconds=task.measured_s * _STOCK_S_FACTOR)
    store.flush()
    return count


def consume(task: Task, *, way: Literal["objects", "columns"]) -> Sample:
    """All records from the first on, and again from there until the time is over."""
    records = task.records
    memory = Memory.begin()
    with _readable(task, records) as (store, place, stored):
        read_count = 0
        with measured(place.process_id) as cost:
            end = time.perf_counter() + task.measured_s
            while True:
                found = _read(store, way, end)
                _expect_read(found, stored, records)
                read_count += found.count
                if task.peer.is_emptied_by_reading or time.perf_counter() >= end:
                    break
        details = memory.details(place.process_id)
    return _rated(read_count, cost, details | {"stock_count": float(stored.count)})


@contextmanager
def _readable(task: Task, records: Records) -> Iterator[tuple[Store, Place, Contents]]:
    """A store with records: of the stock, of a copy where reading takes records away, or filled now."""
    if task.peer.is_in_memory:
        with task.opened() as (store, place):
            most = _IN_MEMORY_STOCK * 100 // task.value_bytes
            count = fill(task, store, records, most)
            yield store, place, expect(store.contents(), count, records)
        return
    if task.stock is None:
        raise RuntimeError(f"no stock of {task.peer.name} with values of {task.value_bytes} bytes")
    if task.peer.is_emptied_by_reading:
        shutil.copytree(task.stock, task.directory, dirs_exist_ok=True)
    directory = task.directory if task.peer.is_emptied_by_reading else task.stock
    with task.opened(directory) as (store, place):
        yield store, place, store.contents()


def _read(store: Store, way: Literal["objects", "columns"], end: float) -> Contents:
    """Reads all records, or as many as there is time for."""
    count = 0
    first: Any = None
    last: Any = None
    for part in store.objects() if way == "objects" else store.columns():
        if way == "objects":
            for _record in part:
                pass
        if not part:
            continue
        first = part[0] if count == 0 else first
        last = part[-1]
        count += len(part)
        if time.perf_counter() >= end:
            break
    if way == "objects" and count:
        first, last = store.value_of(first), store.value_of(last)
    return Contents(count, first, last)


def open_stock(task: Task) -> Sample:
    """From nothing to a store that knows how many records it has, its server's start included; the median of five."""
    if task.stock is None:
        raise RuntimeError(f"no stock of {task.peer.name}")
    durations: list[float] = []
    for _ in range(_OPENINGS):
        started = time.perf_counter()
        with task.opened(task.stock) as (store, _place):
            count = store.count()
            durations.append(time.perf_counter() - started)
    if not count:
        raise RuntimeError("the stock is empty; the figure is void")
    return Sample(
        sorted(durations)[_OPENINGS // 2] * 1e3, {"records_count": float(count), "first_ms": durations[0] * 1e3}
    )


def latency(task: Task, *, run: Callable[..., Sample]) -> Sample:
    """From just before a durable append to the return of the wait that has the record."""
    with task.opened(is_durable=True) as (store, place):
        return run(task.peer.name, store, place, value_bytes=task.value_bytes, count=task.latency_count)


def expect(found: Contents, count: int, records: Records) -> Contents:
    """Raises unless the store has these records: the first `count` of them."""
    wanted = Contents(count, records.value(0), records.value(count - 1))
    if found.first is None:
        wanted = attrs.evolve(wanted, first=None)
    if found != wanted:
        raise RuntimeError(f"stored {found.count} records of {count}, or others than sent; the figure is void")
    return found


def _expect_read(found: Contents, stored: Contents, records: Records) -> None:
    """Raises unless what was read are the first records of the store, or all of them."""
    wanted = (records.value(0), records.value(found.count - 1))
    if not 0 < found.count <= stored.count or (found.first, found.last) != wanted:
        raise RuntimeError(f"read {found.count} of {stored.count} records, or others than stored; the figure is void")


def _rated(count: int, cost: Cost, details: dict[str, float]) -> Sample:
    """Records per second, and what a million of them cost."""
    million = count / 1e6
    return Sample(
        count / cost.elapsed_s,
        {
            "cpu_s_per_million": (cost.cpu_s + cost.server_cpu_s) / million,
            "server_cpu_s_per_million": cost.server_cpu_s / million,
            "records_count": float(count),
            **details,
        },
    )
