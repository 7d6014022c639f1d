"""
What the processes of the group figures do, as users would write it: each function is one process.

A member reports the first record of every partition it is given as `(partition, moment)`; moments are ns of the
monotonic clock, which all processes of a machine share. Knows nothing of figures.
"""

from __future__ import annotations

import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import eventlog
from benchmarks.crew import TIMEOUT_S
from benchmarks.setting import TOPIC, VALUE_BYTES

Form = Literal["records", "columns"]

GROUP = "g"
LOAD_PAUSE_S = 0.005
BUSY = "busy"

_POLL_S = 0.1
_VALUE = b"\0" * VALUE_BYTES
_clock = time.monotonic_ns


def feed(parent: Connection, path: Path, partitions: int) -> None:
    """Appends a record to every partition about every 5 ms, until the parent says something."""
    with eventlog.open(path) as log, log.producer(linger=0) as producer:
        parent.send("ready")
        while not parent.poll(LOAD_PAUSE_S):
            for partition in range(partitions):
                producer.send(TOPIC, _VALUE, partition=partition)
            producer.flush()


def share(parent: Connection, path: Path, auto_commit: bool) -> None:
    """
    Is a member that does nothing with its records; told to be busy, it works on one until it is killed.

    What is not committed is there at once for the next owner. A killed member leaves some of that, one that gives a
    partition up none: without `auto_commit` a newcomer need not wait for the next record.
    """
    awaited: set[Any] = set()
    with (
        eventlog.open(path) as log,
        log.consumer(
            TOPIC,
            group=GROUP,
            auto_commit=auto_commit,
            on_assigned=awaited.update,
            on_revoked=awaited.difference_update,
        ) as consumer,
    ):
        while True:
            records = consumer.poll(timeout=_POLL_S)
            moment_ns = _clock()
            if awaited:
                for pair in {(record.topic, record.partition) for record in records} & awaited:
                    awaited.remove(pair)
                    parent.send((pair[1], moment_ns))
            if records and parent.poll() and parent.recv() == BUSY:
                parent.send(BUSY)
                work_for_ever()


def work_for_ever() -> None:
    """Computes, as a program that has a lot to do with one record."""
    while True:
        sum(range(1_000))


def join_before(parent: Connection, path: Path) -> None:
    """Opens the log and, when told to, joins; says how long its first record took from there, in ns, and leaves."""
    with eventlog.open(path) as log:
        parent.send("ready")
        parent.recv()
        _join(parent, log, _clock())


def open_and_join(parent: Connection, path: Path) -> None:
    """The same with the opening, which it does only when told to."""
    parent.send("ready")
    parent.recv()
    started_ns = _clock()
    with eventlog.open(path) as log:
        _join(parent, log, started_ns)


def _join(parent: Connection, log: eventlog.EventLog, started_ns: int) -> None:
    with log.consumer(TOPIC, group=GROUP, auto_commit=False) as consumer:
        deadline_s = time.monotonic() + TIMEOUT_S
        while not consumer.poll(timeout=_POLL_S):
            if time.monotonic() > deadline_s:
                raise RuntimeError("a newcomer got no record")
        parent.send(_clock() - started_ns)


def wait_idle(parent: Connection, path: Path, group: str | None, threads: int) -> None:
    """Has `threads` consumers that wait for records which never come; a member says so once it has one partition."""
    saying = threading.Lock()
    with eventlog.open(path) as log:

        def work() -> None:
            with log.consumer(TOPIC, group=group) as consumer:
                while group is not None and len(consumer.assignment()) != 1:
                    consumer.poll(timeout=_POLL_S)
                with saying:
                    parent.send("waits")
                for _record in consumer:
                    raise AssertionError("nobody appends")

        for _ in range(threads):
            threading.Thread(target=work, daemon=True).start()
        parent.recv()


def drain(parent: Connection, path: Path, group: str | None, partitions: int, form: Form) -> None:
    """Waits until it has so many partitions, and reads them to their ends when told to: `(start, end, records)`."""

    def hold(assigned: list[eventlog.TopicPartition]) -> None:
        consumer.pause(*assigned)

    on_assigned = None if group is None else hold
    with eventlog.open(path) as log, log.consumer(TOPIC, group=group, on_assigned=on_assigned) as consumer:
        while group is not None and len(consumer.assignment()) != partitions:
            consumer.poll(timeout=_POLL_S)
        if group is not None:
            consumer.poll(timeout=0)  # hears of what it has, and pauses it
        parent.send("ready")
        parent.recv()
        consumer.resume()
        started_ns = _clock()
        seen = _drain_columns(consumer) if form == "columns" else _drain_records(consumer)
        parent.send((started_ns, _clock(), seen))
        parent.recv()


def _drain_records(consumer: eventlog.Consumer[Any, Any]) -> int:
    seen = 0
    while records := consumer.poll(timeout=0):
        for _record in records:
            pass
        seen += len(records)
    return seen


def _drain_columns(consumer: eventlog.Consumer[Any, Any]) -> int:
    seen = 0
    while batches := consumer.poll_batches(timeout=0):
        for batch in batches:
            seen += len(batch.values)
    return seen


def settle(parent: Connection, path: Path) -> None:
    """Joins when told to, and reports `(moment, partitions it has)` at each change; leaves when told to again."""
    changes: list[int] = []

    def note(_partitions: object) -> None:
        changes.append(_clock())

    with eventlog.open(path) as log:
        parent.send("ready")
        parent.recv()
        with log.consumer(
            TOPIC, group=GROUP, on_assigned=note, on_revoked=note, auto_commit=False
        ) as consumer:  # there are no records, so all transactions are the group's own
            while not parent.poll():
                consumer.poll(timeout=_POLL_S)
                if changes:
                    parent.send((changes[-1], len(consumer.assignment())))
                    changes.clear()
            parent.recv()
            leaving_ns = _clock()
        parent.send(leaving_ns)
        parent.recv()
