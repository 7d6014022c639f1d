"""
A native program beside clients of Kafka: it appends, commits transactions of its own, and reads what they committed.

It writes down the offset of each record that it sees, since a partition has holes for it where control batches are, and
what was aborted. Knows nothing of kills and of what is right.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import eventlog
from tests.history.kafka.clients import DONE, ORDERS, PARTITIONS
from tests.history.kafka.raw import seen
from tests.history.kafka.recording import folder_of, run_recorded
from tests.history.operations import (
    FAILED,
    OK,
    ORDER,
    Advance,
    Put,
    Read,
    Recorder,
    Sent,
    Stored,
    Writes,
    now_ns,
    offset_place,
    partition_place,
    row_place,
)

LISTS = "lists"
_ROWS = 3
_PAUSE_S = 0.01


def open_log(path: Path) -> eventlog.EventLog:
    """The log with its topics."""
    log = eventlog.open(path)
    for name in (ORDERS, DONE):
        log.topic(name, partitions=PARTITIONS)
    if LISTS not in log.states():
        with log.transaction() as tx:
            tx.state(LISTS, key=str)
    return log


def element_of(value: bytes | None) -> str:
    """The element of a value."""
    return (value or b"").decode(errors="replace")


class Native:
    """One thread with a log, and all that it does."""

    def __init__(self, path: Path, recorder: Recorder, group: str, seed: str) -> None:
        self._log = open_log(path)
        self._recorder = recorder
        self._group = group
        self._chance = random.Random(seed)
        self._pause = threading.Event()
        self._ends: dict[str, int] = {}
        self._finisher: eventlog.Consumer[Any, Any] | None = None
        self._committed = 0

    def run(self, is_over: threading.Event) -> None:
        """Do one thing after the other until it is over."""
        deeds: dict[Callable[[], None], int] = {
            self._append: 2,
            self._append_many: 2,
            self._transact: 4,
            self._finish: 3,
            self._bounds: 3,
            self._read: 4,
            self._read_all: 2,
            self._rows: 2,
            self._offsets: 2,
        }
        kinds, weights = list(deeds), list(deeds.values())
        while not is_over.is_set():
            self._chance.choices(kinds, weights)[0]()
            self._pause.wait(self._chance.uniform(0.0, _PAUSE_S))
        if self._finisher is not None:
            self._finisher.close()
        self._log.close()

    def _any_place(self) -> tuple[str, int]:
        return self._chance.choice((ORDERS, DONE)), self._chance.randrange(PARTITIONS)

    # -- writing ---------------------------------------------------------------------------------------------

    def _append(self) -> None:
        topic, partition = self._any_place()
        element = f"{self._recorder.next_name()}.0"
        name = self._recorder.begin("append", Writes((Sent(topic, partition, None, element),)))
        meta = self._log.topic(topic).append(element.encode(), partition=partition)
        self._recorder.end(name, OK, stored=[_stored_at(meta)])

    def _append_many(self) -> None:
        topic, partition = self._any_place()
        elements = [f"{self._recorder.next_name()}.{number}" for number in range(self._chance.randint(2, 5))]
        name = self._recorder.begin("append_many", Writes(tuple(Sent(topic, partition, None, one) for one in elements)))
        values = [element.encode() for element in elements]
        [run] = self._log.topic(topic).append_many(values, partition=partition)
        numbers = range(run.end - run.first)
        stored = [Stored(partition, run.first + one, run.log_position + one, None) for one in numbers]
        self._recorder.end(name, OK, stored=stored)

    def _transact(self) -> None:
        """Append to a row, and send some records; or give all of it up."""
        name = self._recorder.begin("transaction")
        is_given_up = self._chance.random() < 0.2
        try:
            with self._log.transaction() as tx:
                key = f"row-{self._chance.randrange(_ROWS)}"
                rows = tx.state(LISTS, key=str)
                row = list(rows.get(key, []))
                element = f"{name}.0"
                rows[key] = [*row, element]
                sent, deliveries = self._send_some(tx, name)
                put = Put(row_place(LISTS, key), element)
                self._recorder.attempt(name, Writes(sent, (put,)), [Read(put.place, 0, tuple(row), True)])
                if is_given_up:
                    tx.abort()
        except eventlog.ConflictError as error:
            self._recorder.end(name, FAILED, note=type(error).__name__)
            return
        if is_given_up:
            self._recorder.end(name, FAILED, note="given up")
        else:
            self._recorder.end(name, OK, stored=[_stored_at(one.result()) for one in deliveries])

    def _send_some(self, tx: eventlog.Transaction, name: str) -> tuple[tuple[Sent, ...], list[eventlog.Delivery]]:
        places = [self._any_place() for _ in range(self._chance.randint(1, 4))]
        sent = tuple(Sent(*place, None, f"{name}.{number}") for number, place in enumerate(places, 1))
        return sent, [tx.send(one.topic, one.element.encode(), partition=one.partition) for one in sent]

    def _finish(self) -> None:
        """Read on for a group of the slot, and store how far it came with records of its own."""
        source = (ORDERS, 0)
        place = offset_place(self._group, *source)
        if self._finisher is None:
            consumer = self._finisher = self._log.consumer(group=self._group, auto_commit=False)
            consumer.assign([source])
            name = self._recorder.begin("committed")
            self._committed = consumer.committed(source) or 0
            self._recorder.end(name, OK, [Read(place, self._committed, (), True)])
        consumer = self._finisher
        first, began = consumer.position(source), now_ns()
        records = consumer.poll(max_records=self._chance.randint(1, 9))
        if not records:
            return
        found = [(record.offset, element_of(record.value)) for record in records]
        end = found[-1][0] + 1
        read = seen(partition_place(*source), first, found, end=end, is_end=False)
        self._recorder.note("poll", began, [read], session=self._recorder.name)
        name = self._recorder.begin("finish")
        with self._log.transaction() as tx:
            sent, deliveries = self._send_some(tx, name)
            tx.commit_offsets(consumer, {source: end})
            self._recorder.attempt(name, Writes(sent, advances=(Advance(place, self._committed, end),)))
        self._recorder.end(name, OK, stored=[_stored_at(one.result()) for one in deliveries])
        self._committed = end

    # -- reading ---------------------------------------------------------------------------------------------

    def _bounds(self) -> None:
        topic = self._chance.choice((ORDERS, DONE))
        name = self._recorder.begin("bounds")
        self._recorder.end(name, OK, bounds_reads(self._log, topic))

    def _read(self) -> None:
        topic, partition = self._any_place()
        place = partition_place(topic, partition)
        start = max(0, self._ends.get(place, 0) - self._chance.randrange(8))
        name = self._recorder.begin("read")
        end = self._log.topic(topic).bounds()[partition][1]
        start = min(start, end)
        found = [(one.offset, element_of(one.value)) for one in self._log.topic(topic).read(partition, start=start)]
        self._recorder.end(name, OK, [up_to(place, start, found, end)])
        self._ends[place] = end

    def _read_all(self) -> None:
        start = max(0, self._ends.get(ORDER, 0) - self._chance.randrange(12))
        name = self._recorder.begin("read_all")
        end = self._log.end_log_position()
        start = min(start, end)
        found = [(position, element_of(one.value)) for position, one in self._log.read_all(start)]
        self._recorder.end(name, OK, [up_to(ORDER, start, found, end)])
        self._ends[ORDER] = end

    def _rows(self) -> None:
        name = self._recorder.begin("rows")
        view = self._log.state(LISTS)
        rows = view.get_many([f"row-{number}" for number in range(_ROWS)])
        reads = [Read(row_place(LISTS, key), 0, tuple(rows.get(key, [])), True) for key in _row_keys()]
        self._recorder.end(name, OK, reads)

    def _offsets(self) -> None:
        """Where a group of a client stands."""
        groups = self._log.groups.list()
        if groups:
            group = self._chance.choice(groups)
            name = self._recorder.begin("offsets")
            self._recorder.end(name, OK, offset_reads(self._log, group))


def _row_keys() -> list[str]:
    return [f"row-{number}" for number in range(_ROWS)]


def _stored_at(meta: eventlog.RecordMetadata) -> Stored:
    return Stored(meta.partition, meta.offset, meta.log_position, None)


def bounds_reads(log: eventlog.EventLog, topic: str) -> list[Read]:
    """The ends of all partitions of a topic, of one moment."""
    return [
        seen(partition_place(topic, partition), end, (), end=end, is_end=True)
        for partition, (_, end) in log.topic(topic).bounds().items()
    ]


def up_to(place: str, start: int, found: Sequence[tuple[int, str]], end: int) -> Read:
    """A read that began after the end was looked at, and so has all before it, and maybe more."""
    return seen(place, start, found, end=max([end, *(offset + 1 for offset, _ in found)]), is_end=False)


def offset_reads(log: eventlog.EventLog, group: str) -> list[Read]:
    """Where a group stands in each partition."""
    return [
        Read(offset_place(group, one.topic, one.partition), one.committed or 0, (), True)
        for one in log.groups.describe(group).offsets
    ]


def work_natively(path: Path, pipe: int, number: int, seed: str) -> None:
    """Run one native program until the parent asks it to end; the slot is that of the seed, before a colon."""
    slot = int(seed.partition(":")[0])

    def work(recorder: Recorder, is_over: threading.Event) -> None:
        native = Native(path, recorder, f"native-{slot}", seed)
        os.write(pipe, b".")
        native.run(is_over)

    run_recorded(folder_of(path), f"native-{slot}-p{number}", work)
