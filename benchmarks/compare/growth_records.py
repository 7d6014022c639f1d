"""
What the next record costs in a log that holds many: 10,000 to 100 million of 100 bytes, in one partition.

Up to 100,000 each round has a log of its own; above, one log grows and is measured on its way. Figures are of what
comes next in a log of that size, so writing makes it a little larger while it is measured. The indexed topic and the
appends without a disk are in logs on a file system in memory, as far as there is room. Knows nothing of tables.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import eventlog
from benchmarks.compare.growth_figures import Budget, Growth, Series, elapsed_s, median_us, process_memory_mb
from benchmarks.setting import RECORDS_PER_CALL, TOPIC, Setting, make_values
from eventlog import EventLog, RecordBatch, Topic

SIZES = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
_LARGEST_INDEXED = 10_000_000
SERIES = (
    Series("send", "send()", "ns a record"),
    Series("append_many", "append_many()", "ns a record"),
    Series("append", "append(), durable", "us"),
    Series("append_in_memory", "append(), no disk", "us"),
    Series("read_one", "one record at a random offset", "us"),
    Series("read_time", "the first record of a random time", "us"),
    Series("consume_columns", "poll_batches() from the middle", "ns a record"),
    Series("consume_objects", "poll() from the middle", "ns a record"),
    Series("open", "open()", "ms"),
    Series("verify", "verify()", "ns a record"),
    Series("file", "the file", "bytes a record"),
    Series("memory", "memory of the process", "MB"),
    Series("indexed_append", "append(expected_version=), no disk", "us"),
    Series("history", "history() of a key with 10 events", "us"),
    Series("version", "version() of a key", "us"),
)
_IN_MEMORY = ("append_in_memory",)
_INDEXED = ("indexed_append", "history", "version")

_LARGEST_FRESH = 100_000
_ROUNDS = 5
_SMALL_CALL = 1_000
_SEND_COUNT = 100_000
_CONSUME_COUNT = 200_000
_APPENDS = 200
_LOOKS = 300
_FIRST_MS = 4_000_000_000_000
"""Stored records have times in a far future, so that those of the measured appends do not come between them."""
_RECORDS_PER_MS = 1_000
_BYTES_A_RECORD = 125
_BYTES_AN_INDEXED_RECORD = 450
_EVENTS_A_KEY = 10
_SHARE_OF_ROOM = 0.5
_SHARE_OF_MEMORY = 0.25


def measure(growth: Growth, setting: Setting, budget: Budget) -> None:
    """Fills logs on the disk and in memory, and takes the figures of every size that there is room and time for."""
    rng = random.Random(1)
    _in_one_place(growth, setting, budget, rng, is_on_disk=True)
    _in_one_place(growth, setting, budget, rng, is_on_disk=False)
    _indexed(growth, setting, budget, rng)


# -- records -------------------------------------------------------------------------------------------------


def _in_one_place(growth: Growth, setting: Setting, budget: Budget, rng: random.Random, *, is_on_disk: bool) -> None:
    names = [one.name for one in SERIES if one.name not in (*_IN_MEMORY, *_INDEXED)] if is_on_disk else _IN_MEMORY
    station = _measure_all if is_on_disk else _measure_append
    for size in (size for size in growth.sizes if size <= _LARGEST_FRESH):
        for _ in range(_ROUNDS):
            with setting.fresh_directory(in_memory=not is_on_disk) as path:
                _fill(path, 0, size, _SMALL_CALL)
                station(growth, path, size, rng, rounds=1)
    with setting.fresh_directory(in_memory=not is_on_disk) as path:
        held, ns_a_record = 0, 600.0
        for size in (size for size in growth.sizes if size > _LARGEST_FRESH):
            reason = _obstacle(path, size - held, _BYTES_A_RECORD, budget, ns_a_record, is_on_disk=is_on_disk)
            if reason is not None:
                growth.leave_out(size, reason, names=names)
                break
            ns_a_record = _fill(path, held, size, RECORDS_PER_CALL) * 1e9 / (size - held)
            try:
                station(growth, path, size, rng, rounds=_ROUNDS)
            except eventlog.EventLogError as error:
                growth.fail(size, error, names=names)
                break
            held = _end(path)


def _obstacle(
    path: Path, count: int, record_bytes: int, budget: Budget, ns_a_record: float, *, is_on_disk: bool
) -> str | None:
    """Why so many more records cannot be stored here; None when they can."""
    needed, free = count * record_bytes, shutil.disk_usage(path).free
    room = free * _SHARE_OF_ROOM if is_on_disk else min(free * _SHARE_OF_ROOM, available_memory() * _SHARE_OF_MEMORY)
    if needed > room:
        place = "disk" if is_on_disk else "memory"
        return f"takes {needed / 1e9:.1f} GB of {place}, and no more than {room / 1e9:.1f} GB are used here"
    needed_s = count * ns_a_record * 2 / 1e9
    if needed_s > budget.left_s:
        return f"takes about {needed_s:.0f} s, and {max(budget.left_s, 0):.0f} s of the run were left"
    return None


def available_memory(meminfo: Path = Path("/proc/meminfo")) -> float:
    """The bytes of memory that are free, as the system sees it; nothing where it does not say."""
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024
    except OSError:
        pass
    return 0.0


def _fill(path: Path, held: int, size: int, count: int) -> float:
    """Appends records until the log holds `size`; the seconds that it takes."""
    values = make_values(count)
    with eventlog.open(path) as log:
        topic = log.topic(TOPIC)

        def append_all() -> None:
            for first in range(held, size, count):
                some = values if first + count <= size else values[: size - first]
                topic.append_many(some, timestamps_ms=_FIRST_MS + first // _RECORDS_PER_MS)

        return elapsed_s(append_all)


def _end(path: Path) -> int:
    with eventlog.open(path) as log:
        return log.topic(TOPIC).bounds()[0][1]


def _measure_append(growth: Growth, path: Path, size: int, rng: random.Random, *, rounds: int) -> None:
    with eventlog.open(path) as log:
        topic, value = log.topic(TOPIC), rng.randbytes(100)
        growth.note("append_in_memory", size, median_us(lambda: topic.append(value), 5 * _APPENDS * rounds))


def _measure_all(growth: Growth, path: Path, size: int, rng: random.Random, *, rounds: int) -> None:
    """Everything about a log on the disk: reads first, for writes change it."""
    growth.note("file", size, (path / "data.mdb").stat().st_size / size)
    growth.note("open", size, median_us(lambda: eventlog.open(path).close(), 5) / 1e3)
    with eventlog.open(path) as log:
        topic = log.topic(TOPIC)
        _measure_reads(growth, log, topic, size, rng)
        growth.note("verify", size, elapsed_s(log.verify) * 1e9 / size)
        memory = process_memory_mb()
        if memory is not None:
            growth.note("memory", size, memory)
        _measure_writes(growth, log, topic, size, rounds=rounds)


def _measure_reads(growth: Growth, log: EventLog, topic: Topic[Any, Any], size: int, rng: random.Random) -> None:
    def read_one() -> None:
        next(topic.read(0, start=rng.randrange(size), max_records=1))

    growth.note("read_one", size, median_us(read_one, _LOOKS))
    with log.consumer(topic) as consumer:

        def read_time() -> None:
            consumer.seek_to_time(_FIRST_MS + rng.randrange(max(size // _RECORDS_PER_MS, 1)))

        growth.note("read_time", size, median_us(read_time, _LOOKS))
        count = min(size // 2, _CONSUME_COUNT)
        columns = map(_record_count, iter(consumer.poll_batches, []))
        objects = map(len, iter(lambda: consumer.poll(max_records=5_000), []))
        for name, counts in (("consume_columns", columns), ("consume_objects", objects)):
            consumer.seek((TOPIC, 0), size // 2)
            growth.note(name, size, elapsed_s(partial(_consume, counts, count)) * 1e9 / count)


def _record_count(batches: list[RecordBatch[Any, Any]]) -> int:
    return sum(map(len, batches))


def _consume(counts: Iterator[int], count: int) -> None:
    """Polls until there were so many records, which are there."""
    while count > 0:
        count -= next(counts)


def _measure_writes(growth: Growth, log: EventLog, topic: Topic[Any, Any], size: int, *, rounds: int) -> None:
    values = make_values(_SEND_COUNT)
    some = values[:RECORDS_PER_CALL]
    growth.note("append", size, median_us(lambda: topic.append(values[0]), _APPENDS))
    for _ in range(rounds):
        growth.note("append_many", size, elapsed_s(lambda: topic.append_many(some)) * 1e9 / len(some))
        with log.producer() as producer:

            def send_all() -> None:
                send = producer.send
                for value in values:
                    send(topic, value)
                producer.flush()

            growth.note("send", size, elapsed_s(send_all) * 1e9 / len(values))


# -- a topic with an index -----------------------------------------------------------------------------------


def _indexed(growth: Growth, setting: Setting, budget: Budget, rng: random.Random) -> None:
    held, ns_a_record = 0, 6_000.0
    with setting.fresh_directory(in_memory=True) as path:
        for size in growth.sizes:
            reason: str | None = f"the indexed topic is measured up to {_LARGEST_INDEXED:,} records"
            if size <= _LARGEST_INDEXED:
                is_on_disk = setting.memory_directory is None
                reason = _obstacle(
                    path, size - held, _BYTES_AN_INDEXED_RECORD, budget, ns_a_record, is_on_disk=is_on_disk
                )
            if reason is not None:
                growth.leave_out(size, reason, names=_INDEXED)
                continue
            with eventlog.open(path) as log:
                topic = log.topic(TOPIC, index="key")
                seconds = elapsed_s(lambda: _fill_index(topic, held, size))  # noqa: B023 - called at once
                ns_a_record = seconds * 1e9 / (size - held)
                _measure_index(growth, topic, size, rng)
            held = size


def key_of(number: int) -> bytes:
    """The key of an entity: their order says nothing of when they came."""
    return (number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big")


def _fill_index(topic: Topic[Any, Any], held: int, size: int) -> None:
    values = make_values(RECORDS_PER_CALL)
    for first in range(held, size, RECORDS_PER_CALL):
        count = min(RECORDS_PER_CALL, size - first)
        entities = range(first // _EVENTS_A_KEY, (first + count) // _EVENTS_A_KEY)
        keys = [key_of(entity) for _ in range(_EVENTS_A_KEY) for entity in entities]
        topic.append_many(values[:count], keys=keys)


def _measure_index(growth: Growth, topic: Topic[Any, Any], size: int, rng: random.Random) -> None:
    entities = size // _EVENTS_A_KEY
    growth.note("history", size, median_us(lambda: list(topic.history(key_of(rng.randrange(entities)))), _LOOKS))
    growth.note("version", size, median_us(lambda: topic.version(key_of(rng.randrange(entities))), _LOOKS))
    value = rng.randbytes(100)
    chosen = rng.sample(range(entities), 5 * _APPENDS)
    behind = iter([(key_of(entity), topic.version(key_of(entity))) for entity in chosen])

    def append() -> None:
        key, version = next(behind)
        topic.append(value, key=key, expected_version=version)

    growth.note("indexed_append", size, median_us(append, len(chosen)))
