"""
What other groups cost: 1 to 1,000 of them on one topic, as committed offsets, and as members that wait.

The waiting members are threads of one other process, so that their work is not in the figures of ours. Knows nothing
of tables.
"""

from __future__ import annotations

import resource
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

import eventlog
from benchmarks.compare.growth_figures import Budget, Growth, Series, elapsed_s, median_us, process_memory_mb
from benchmarks.crew import crew
from benchmarks.setting import TOPIC, Setting, make_values
from eventlog import EventLog

SIZES = (1, 10, 100, 1_000)
SERIES = (
    Series("append", "append(), durable", "us"),
    Series("join", "joining a group, to the first records", "ms"),
    Series("poll", "poll() of one record", "us"),
    Series("commit", "commit()", "us"),
    Series("list", "groups.list()", "ms"),
    Series("describe", "groups.describe()", "ms"),
    Series("append_alone", "append(), no disk", "us"),
    Series("append_waiting", "the same while members of all groups wait", "us"),
    Series("last_waiting", "append() until the last of them has the record", "ms"),
    Series("join_waiting", "joining one more group, while they wait", "ms"),
    Series("idle_core", "all of them waiting, of one core", "%"),
    Series("waiting_memory", "memory of a waiting member", "kB"),
)
_WAITING = (
    "append_alone",
    "append_waiting",
    "last_waiting",
    "join_waiting",
    "idle_core",
    "waiting_memory",
)

_PARTITIONS = 4
_RECORDS = 4_000
_CALLS = 50
_JOINS = 10
_ROUNDS = 20
_FEW_ROUNDS = 5
_IDLE_S = 2.0
_SETTLE_S = 0.3
_FILES_A_MEMBER = 6
_START_S = 120.0


def measure(growth: Growth, setting: Setting, budget: Budget) -> None:
    """Takes the figures of each number of groups, as long as there is time."""
    took_s = 0.0
    for size in growth.sizes:
        if budget.left_s < 2 * took_s:
            growth.leave_out(size, f"takes about {2 * took_s:.0f} s, and {max(budget.left_s, 0):.0f} s were left")
            continue
        began_s = time.monotonic()
        for is_in_memory, measure_one in ((False, _measure_stored), (True, _measure_waiting)):
            with setting.fresh_directory(in_memory=is_in_memory) as path:
                with eventlog.open(path) as log:
                    log.topic(TOPIC, partitions=_PARTITIONS).append_many(make_values(_RECORDS))
                measure_one(growth, path, size)
        took_s = time.monotonic() - began_s


def name_of(number: int) -> str:
    """The name of a group."""
    return f"group-{number:05}"


# -- groups that are stored ----------------------------------------------------------------------------------


def _measure_stored(growth: Growth, path: Path, size: int) -> None:
    with eventlog.open(path) as log:
        topic, value = log.topic(TOPIC), b"v" * 100
        for number in range(size):
            log.groups.reset_offsets(name_of(number), to="earliest", topics=[topic])
        growth.note("append", size, median_us(lambda: topic.append(value), _CALLS))
        growth.note("list", size, median_us(log.groups.list, 5) / 1e3)
        middle = name_of(size // 2)
        growth.note("describe", size, median_us(lambda: log.groups.describe(middle), _CALLS) / 1e3)
        for _ in range(_JOINS):
            growth.note("join", size, _joined_ms(log, middle))
        with log.consumer(TOPIC, group=middle, auto_commit=False) as consumer:
            consumer.poll(timeout=1.0, max_records=1)
            growth.note("poll", size, median_us(lambda: consumer.poll(max_records=1), 10 * _CALLS))
            for _ in range(_CALLS):
                consumer.poll(max_records=1)
                growth.note("commit", size, elapsed_s(consumer.commit) * 1e6)


def _joined_ms(log: EventLog, group: str) -> float:
    """From the call that makes a member to its first record; what it reads is not committed."""
    began_s = time.perf_counter()
    with log.consumer(TOPIC, group=group, auto_commit=False) as consumer:
        while not consumer.poll(timeout=1.0, max_records=1):
            pass
        return (time.perf_counter() - began_s) * 1e3


# -- groups whose members wait -------------------------------------------------------------------------------


def _measure_waiting(growth: Growth, path: Path, size: int) -> None:
    if (files := _allow_files(size * _FILES_A_MEMBER + 200)) is not None:
        growth.leave_out(size, f"this process may open {files} files", names=_WAITING)
        return
    with crew() as workers, eventlog.open(path) as log:
        topic, value = log.topic(TOPIC), b"v" * 100
        growth.note("append_alone", size, median_us(lambda: topic.append(value, partition=0), _CALLS))
        hosts = workers.start(host, str(path), size)
        growth.note("waiting_memory", size, hosts.hear(seconds=_START_S))
        for _ in range(_ROUNDS if size < SIZES[-1] else _FEW_ROUNDS):
            began_s = time.monotonic()
            growth.note("append_waiting", size, elapsed_s(lambda: topic.append(value, partition=0)) * 1e6)
            hosts.say("all")
            growth.note("last_waiting", size, (hosts.hear() - began_s) * 1e3)
        hosts.say(_IDLE_S)
        growth.note("idle_core", size, hosts.hear())
        for _ in range(_JOINS):
            growth.note("join_waiting", size, _joined_ms(log, "another"))
        hosts.say("end")
        hosts.hear(seconds=_START_S)


def _allow_files(count: int) -> int | None:
    """Has this process and those it starts open so many files; how many they may, when that is fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count or soft == resource.RLIM_INFINITY:
        return None
    if hard != resource.RLIM_INFINITY and hard < count:
        return hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return None


class _Tally:
    """Counts the records that the members of a process have got."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._count = 0
        self._changed = threading.Condition()
        self.may_wait = threading.Event()
        self.is_over = False

    def add(self, count: int) -> None:
        """Says that a member has got so many."""
        with self._changed:
            self._count += count
            if self._count >= self._size:
                self._changed.notify()

    def take(self, seconds: float) -> float:
        """Waits until all members have got one more, and says when that was."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._count >= self._size, seconds):
                raise RuntimeError(f"{self._count} of {self._size} members have the record; the figure is void")
            self._count -= self._size
            return time.monotonic()


def host(parent: Connection, path: str, size: int) -> None:
    """Is a process with a waiting member of each group, a thread each; it does what its parent says."""
    _allow_files(size * _FILES_A_MEMBER + 200)
    threading.stack_size(256 * 1024)
    tally, ready = _Tally(size), _Tally(size)
    before_mb = process_memory_mb() or 0.0
    with eventlog.open(path) as log:
        threads = [
            threading.Thread(target=_wait_in_group, args=(log, name_of(number), tally, ready), daemon=True)
            for number in range(size)
        ]
        for thread in threads:
            thread.start()
        ready.take(_START_S)
        tally.may_wait.set()
        time.sleep(_SETTLE_S)  # they are on their way to sleep
        parent.send(((process_memory_mb() or 0.0) - before_mb) * 1024 / size)
        while (word := parent.recv()) != "end":
            if word == "all":
                parent.send(tally.take(30.0))
            else:
                used_s, began_s = time.process_time(), time.monotonic()
                time.sleep(word)
                parent.send((time.process_time() - used_s) / (time.monotonic() - began_s) * 100)
        tally.is_over = True
        for thread in threads:
            thread.join(_START_S)
        parent.send("over")


def _wait_in_group(log: EventLog, name: str, tally: _Tally, ready: _Tally) -> None:
    with log.consumer(TOPIC, group=name, start="latest", auto_commit=False) as consumer:
        consumer.seek_to_end()
        consumer.poll()
        ready.add(1)
        tally.may_wait.wait()  # each that joins would wake those that wait already
        while not tally.is_over:
            if records := consumer.poll(timeout=0.5):
                tally.add(len(records))
