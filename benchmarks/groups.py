"""
Our side of the group figures: a crash, a newcomer, waiting, sharing the work, and a crowd that settles.

Every member is a process of its own (`group_tasks.py`), killed by `kill -9` where one is killed. A round that loses a
record or waits for too long is void. Knows nothing of the peer, which is in `group_peers.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import lmdb

import eventlog
from benchmarks import group_tasks
from benchmarks.company import Company, Takeover
from benchmarks.crew import Crew, Worker, crew, hear_all, hear_any
from benchmarks.group_tasks import GROUP, Form
from benchmarks.measure import Round, Sample, Skipped, percentile
from benchmarks.setting import RECORDS_PER_CALL, TOPIC, Setting, make_values
from benchmarks.workloads import expect

MEMBERS = 3
PARTITIONS = 12

_IDLE_S = 10.0
_MORE = 3
"""A quick run is short, but what counts seconds needs some."""
_QUIET_S = 0.3
_SETTLING_S = 60.0


@contextmanager
def take_over(setting: Setting, *, is_busy: bool, full: int = 60) -> Iterator[Round]:
    """`kill -9` of one of three members, until all its partitions give records to the other two."""
    kills = setting.count(full, at_least=2)

    def run() -> Sample:
        with setting.fresh_directory() as path, crew() as workers:
            company = fed_company(workers, path / "log", auto_commit=True)
            takeovers: list[Takeover] = []
            for _ in range(kills):
                company.fill()
                takeovers.append(company.take_over(is_busy=is_busy))
        return takeover_sample(takeovers)

    yield run


def takeover_sample(takeovers: Sequence[Takeover]) -> Sample:
    """The p99 of a round in ms, until the last partition; with that until the first."""
    lasts, firsts = [each.last_ns for each in takeovers], [each.first_ns for each in takeovers]
    details = {
        "kills_count": len(takeovers),
        "first_partition_p50_ms": percentile(firsts, 50) / 1e6,
        "first_partition_p99_ms": percentile(firsts, 99) / 1e6,
    }
    return Sample(percentile(lasts, 99) / 1e6, details, lasts)


@contextmanager
def join(setting: Setting, *, is_opened_before: bool, full: int = 100) -> Iterator[Round]:
    """A fourth process joins three members that poll: from its `consumer()`, or its `open()`, to its first record."""
    joins = setting.count(full, at_least=2)

    def run() -> Sample:
        with setting.fresh_directory() as path, crew() as workers:
            company = fed_company(workers, path / "log", auto_commit=False)
            company.fill()
            task = group_tasks.join_before if is_opened_before else group_tasks.open_and_join
            durations = [company.joins(task, path / "log") for _ in range(joins)]
        return Sample(percentile(durations, 99) / 1e6, {"joins_count": joins}, durations)

    yield run


def fed_company(workers: Crew, path: Path, *, auto_commit: bool) -> Company:
    """Three members to be, and a process that appends to each of their twelve partitions every 5 ms."""
    with eventlog.open(path) as log:
        log.topic(TOPIC, partitions=PARTITIONS)
    workers.start(group_tasks.feed, path, PARTITIONS).hear()
    return Company(workers, group_tasks.share, (path, auto_commit), members=MEMBERS, partitions=PARTITIONS)


@contextmanager
def idle(
    setting: Setting, *, processes: int, threads: int = 1, is_member: bool = True, full_s: float = _IDLE_S
) -> Iterator[Round]:
    """What consumers take of a core while nothing happens, all together; each member has one partition."""
    seconds = max(0.2, full_s * min(setting.scale * _MORE, 1.0))

    def run() -> Sample:
        with setting.fresh_directory() as path, crew() as workers:
            with eventlog.open(path / "log") as log:
                log.topic(TOPIC, partitions=processes * threads)
            group = GROUP if is_member else None
            waiting = workers.start_many(processes, group_tasks.wait_idle, path / "log", group, threads)
            for _ in range(threads):
                hear_all(waiting)
            time.sleep(_QUIET_S)
            before_ns, started_ns = _cpu_ns(waiting), time.monotonic_ns()
            time.sleep(seconds)
            spent_ns, elapsed_ns = _cpu_ns(waiting) - before_ns, time.monotonic_ns() - started_ns
        return Sample(100 * spent_ns / elapsed_ns, {"window_ms": elapsed_ns / 1e6})

    yield run


def _cpu_ns(workers: Sequence[Worker]) -> int:
    return sum(cpu_ns(worker.process_id) for worker in workers)


def cpu_ns(process_id: int, *, proc: Path = Path("/proc")) -> int:
    """
    The time that all threads of a process spent on a core, which the scheduler counts in ns.

    Raises:
        Skipped: where the system keeps no such count.
    """
    tasks = list((proc / str(process_id) / "task").glob("*/schedstat"))
    if not tasks:
        raise Skipped(f"no /proc/{process_id}/task/*/schedstat; run it on Linux with CONFIG_SCHED_INFO")
    return sum(int(task.read_text().split()[0]) for task in tasks)


@contextmanager
def drain(setting: Setting, *, members: int, form: Form, is_member: bool = True) -> Iterator[Round]:
    """`members` processes of one group read a topic of 8 partitions to its end, all released at once."""
    partitions = 8
    count = setting.count(2_000_000, at_least=partitions * 100) // partitions * partitions
    rounds = 0
    with setting.fresh_directory() as path:
        _fill(path / "log", count, partitions)

        def run() -> Sample:
            nonlocal rounds
            rounds += 1
            group = f"{GROUP}{rounds}" if is_member else None
            with crew() as workers:
                arguments = (path / "log", group, partitions // members, form)
                readers = workers.start_many(members, group_tasks.drain, *arguments)
                hear_all(readers)
                for reader in readers:
                    reader.say("go")
                told = hear_all(readers)
            expect("records", sum(seen for _, _, seen in told), count)
            elapsed_ns = max(ended for _, ended, _ in told) - min(started for started, _, _ in told)
            return Sample(count / elapsed_ns * 1e9)

        yield run


def _fill(path: Path, count: int, partitions: int) -> None:
    with eventlog.open(path) as log:
        topic = log.topic(TOPIC, partitions=partitions)
        for partition in range(partitions):
            for first in range(0, count // partitions, RECORDS_PER_CALL):
                values = make_values(min(RECORDS_PER_CALL, count // partitions - first))
                topic.append_many(values, partition=partition)


@contextmanager
def settle(setting: Setting, *, is_leaving: bool) -> Iterator[Round]:
    """100 processes join a group on 1,000 partitions at once, until all have their share; or one of them leaves."""
    members, partitions = setting.count(100, at_least=4), setting.count(1_000, at_least=40)

    def run() -> Sample:
        with setting.fresh_directory() as path, crew() as workers:
            with eventlog.open(path / "log") as log:
                log.topic(TOPIC, partitions=partitions)
            crowd = workers.start_many(members, group_tasks.settle, path / "log")
            hear_all(crowd, seconds=_SETTLING_S)
            transactions, started_ns = last_transaction(path / "log"), time.monotonic_ns()
            for worker in crowd:
                worker.say("join")
            shares: dict[Worker, tuple[int, int]] = {}
            settled_ns = _settled(crowd, shares, partitions)
            if is_leaving:
                time.sleep(_QUIET_S)
                transactions = last_transaction(path / "log")
                leaver, *stayers = crowd
                leaver.say("leave")
                del shares[leaver]
                started_ns = leaver.hear()
                settled_ns = _settled(stayers, shares, partitions)
            time.sleep(_QUIET_S)
            used = last_transaction(path / "log") - transactions
        details: dict[str, float] = {
            "members_count": members,
            "partitions_count": partitions,
            "transactions_count": used,
        }
        return Sample((settled_ns - started_ns) / 1e6, details)

    yield run


def _settled(workers: Sequence[Worker], shares: dict[Worker, tuple[int, int]], partitions: int) -> int:
    """The moment of the last change, once the partitions are shared evenly; `shares` has what each reported last."""
    deadline_s = time.monotonic() + _SETTLING_S
    least, most = partitions // len(workers), math.ceil(partitions / len(workers))
    while True:
        counts = [count for _, count in shares.values()]
        if len(counts) == len(workers) and sum(counts) == partitions and least <= min(counts) <= max(counts) <= most:
            return max(moment_ns for moment_ns, _ in shares.values())
        if time.monotonic() > deadline_s:
            raise RuntimeError(f"{len(workers)} members did not settle in {_SETTLING_S:g} s; they have {counts}")
        shares.update(hear_any(workers, seconds=1.0))


def last_transaction(path: Path) -> int:
    """The number of the last commit of a log that this process has not open."""
    with closing(lmdb.open(str(path), readonly=True, lock=False, create=False, lib_version=0)) as environment:
        number: int = environment.info()["last_txnid"]
        return number
