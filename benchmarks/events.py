"""
Our side of the event-sourcing rows: appends with an expected version, one entity's history, projections, exactly-once.

As a user would write it, over the public API. Each round checks what it stored: a fast loss is not a result.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import eventlog
from benchmarks.event_data import (
    EVENTS_PER_ENTITY,
    PAGE_RECORDS,
    Commit,
    Order,
    amount,
    appends,
    chunks,
    entity_count,
    input_rows,
    rated,
    some_entities,
    timed_reads,
    total_of,
    with_total,
)
from benchmarks.measure import Round, Sample
from benchmarks.peers import timed_calls
from benchmarks.setting import RECORDS_PER_CALL, TOPIC, Setting
from benchmarks.workloads import expect, expect_records

_LOG = "log"
_OUTPUTS = "outputs"
_TOTALS = "totals"


@contextmanager
def append(setting: Setting, *, events: int, is_new: bool, in_memory: bool) -> Iterator[Round]:
    """`append()`, or `append_many()` of one entity's events, with the version that the entity has."""
    commits = appends(setting, events=events, is_new=is_new)

    def run() -> Sample:
        with setting.fresh_directory(in_memory=in_memory) as path, eventlog.open(path / _LOG) as log:
            topic = log.topic(TOPIC, key=str, index="key")

            def one(commit: Commit) -> None:
                topic.append(commit.values[0], key=commit.entity, expected_version=commit.expected_version)

            def many(commit: Commit) -> None:
                topic.append_many(commit.values, key=commit.entity, expected_version=commit.expected_version)

            sample = timed_calls(one if events == 1 else many, commits)
            expect_records(topic.bounds(), len(commits) * events)
            last = commits[-1]
            expect("version", topic.version(last.entity), last.expected_version + events)
        return rated(sample, events)

    yield run


@contextmanager
def read(setting: Setting, *, order: Order) -> Iterator[Round]:
    """`list(topic.history(entity))`."""
    entities = some_entities(setting)
    with _filled(setting, order) as path, eventlog.open(path / _LOG) as log:
        topic = log.topic(TOPIC, key=str, index="key")
        yield lambda: timed_reads(lambda entity: list(topic.history(entity)), entities)


def _filled(setting: Setting, order: Order) -> Any:
    return setting.filled(f"eventlog, {order}", partial(_fill, count=entity_count(setting), order=order))


def _fill(directory: Path, *, count: int, order: Order) -> None:
    with eventlog.open(directory / _LOG) as log:
        topic = log.topic(TOPIC, key=str, index="key")
        for rows in chunks(count, order):
            for first in range(0, len(rows), RECORDS_PER_CALL):
                part = rows[first : first + RECORDS_PER_CALL]
                topic.append_many([value for _, _, value in part], keys=[entity for entity, _, _ in part])


@contextmanager
def project(setting: Setting) -> Iterator[Round]:
    """`log.projection()` from zero to the end, its state and its checkpoint in one commit."""
    count = entity_count(setting)
    with _filled(setting, "interleaved") as path:

        def run() -> Sample:
            with eventlog.open(path / _LOG) as log:
                log.topic(TOPIC, key=str, index="key")
                projection = log.projection(_TOTALS, _count_and_add, topics=[TOPIC], key=str, value="msgpack")
                started = time.perf_counter()
                folded = projection.catch_up()
                elapsed = time.perf_counter() - started
                expect("folded events", folded, count * EVENTS_PER_ENTITY)
                counts = [events for events, _ in projection.state.values()]
                expect("entities", len(counts), count)
                expect("events", sum(counts), count * EVENTS_PER_ENTITY)
                log.delete_projection(_TOTALS)
            return Sample(count * EVENTS_PER_ENTITY / elapsed)

        yield run


def _count_and_add(state: Any, record: Any) -> None:
    count, total = state.get(record.key) or (0, 0)
    state[record.key] = (count + 1, total + amount(record.value))


@contextmanager
def exactly_once(setting: Setting, *, in_memory: bool) -> Iterator[Round]:
    """
    100 records a transaction: totals read in one look and written, an output for each, and the consumer's offsets.

    In columns, as the loop of sqlite3 does it: SELECT with IN, and `executemany`.
    """
    rows = input_rows(setting)

    def run() -> Sample:
        with setting.fresh_directory(in_memory=in_memory) as path, eventlog.open(path / _LOG) as log:
            topic, outputs = log.topic(TOPIC, key=str), log.topic(_OUTPUTS, key=str)
            topic.append_many([value for _, value in rows], keys=[entity for entity, _ in rows])
            with log.consumer(TOPIC, group="loop", max_poll_records=PAGE_RECORDS) as consumer:
                started = time.perf_counter()
                while records := consumer.poll():
                    with log.transaction() as tx:
                        totals = tx.state(_TOTALS, key=str, value=int)
                        keys = [record.key for record in records]
                        known, values = totals.get_many(keys), []
                        for record in records:
                            total = known.get(record.key, 0) + amount(record.value)
                            totals[record.key] = known[record.key] = total
                            values.append(with_total(record.value, total))
                        tx.send_many(outputs, values, keys=keys)
                        tx.commit_offsets(consumer)
                elapsed = time.perf_counter() - started
            expect_records(outputs.bounds(), len(rows))
            expect("total", sum(log.state(_TOTALS, key=str, value=int).values()), total_of(rows))
        return Sample(len(rows) / elapsed)

    yield run


@contextmanager
def processor(setting: Setting, *, in_memory: bool) -> Iterator[Round]:
    """The same as `exactly_once`, by `log.processor()` and a function of one record: a row is read at a time."""
    rows = input_rows(setting)

    def run() -> Sample:
        with setting.fresh_directory(in_memory=in_memory) as path, eventlog.open(path / _LOG) as log:
            topic, outputs = log.topic(TOPIC, key=str), log.topic(_OUTPUTS, key=str)
            topic.append_many([value for _, value in rows], keys=[entity for entity, _ in rows])

            def process(tx: eventlog.Transaction, record: Any) -> None:
                totals = tx.state(_TOTALS, key=str, value=int)
                total = totals.get(record.key, 0) + amount(record.value)
                totals[record.key] = total
                tx.send(outputs, with_total(record.value, total), key=record.key)

            with log.processor(TOPIC, function=process, group="loop", max_records=PAGE_RECORDS) as loop:
                started = time.perf_counter()
                loop.run_to_end()
                elapsed = time.perf_counter() - started
            expect_records(outputs.bounds(), len(rows))
            expect("total", sum(log.state(_TOTALS, key=str, value=int).values()), total_of(rows))
        return Sample(len(rows) / elapsed)

    yield run
