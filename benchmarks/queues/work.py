"""
The figures: jobs are added, workers start, and all of them begin at one moment.

Each worker is a process, which opens the queue before it begins. It works until the time is over; the rate is that of
all of them from the beginning to the last job. A job that two workers have done, or that nobody added, makes the figure
void. Knows no peer.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import attrs

from benchmarks.compare.cost import own_cpu_s, server_cpu_s
from benchmarks.compare.peer import Place
from benchmarks.crew import crew, hear_all
from benchmarks.measure import Sample, Skipped
from benchmarks.queues.catalogue import peer_named
from benchmarks.queues.peer import QueuePeer
from benchmarks.setting import Setting

_AT_ONCE_TO_FILL = 10_000
_PATIENCE_S = 300.0
_HEAD_START_S = 0.05


@attrs.frozen
class Shape:
    """How the work is done: `pending` jobs are there besides those that are done, and `delayed` are not due yet."""

    at_once: int
    workers: int = 1
    threads: int = 0
    pending: int = 0
    delayed: int = 0


def work(peer: QueuePeer, setting: Setting, seconds: float, shape: Shape) -> Sample:
    """Jobs a second."""
    if max(shape.pending, shape.delayed) > peer.most_pending:
        raise Skipped("not measured with so many")
    to_do = int(peer.filled[shape.at_once > 1] * seconds)
    with _served(peer, setting) as place, crew() as workers:
        workers.start(_fill, peer.name, _unsynced(place), to_do + shape.pending, shape.delayed).hear(
            seconds=_PATIENCE_S
        )
        crowd = workers.start_many(shape.workers, _work, peer.name, place, shape.at_once, shape.threads)
        hear_all(crowd, seconds=60.0)
        server_before_s = server_cpu_s(place.process_id)
        begin_s = time.monotonic() + _HEAD_START_S
        for worker in crowd:
            worker.say((begin_s, begin_s + seconds))
        heard = hear_all(crowd, seconds=seconds + 60.0)
        server_s = server_cpu_s(place.process_id) - server_before_s
    done = [number for numbers, _, _ in heard for number in numbers]
    if len(set(done)) != len(done) or not 0 <= min(done, default=0) <= max(done, default=0) < to_do + shape.pending:
        raise RuntimeError(f"{len(done) - len(set(done))} jobs were done twice; the figure is void")
    return _rated(len(done), max(end for _, end, _ in heard) - begin_s, sum(cpu for _, _, cpu in heard) + server_s)


def add(peer: QueuePeer, setting: Setting, seconds: float, at_once: int) -> Sample:
    """Jobs that are added in a second by one process."""
    with _served(peer, setting) as place, crew() as workers:
        worker = workers.start(_add, peer.name, place, at_once)
        worker.hear()
        server_before_s = server_cpu_s(place.process_id)
        worker.say(seconds)
        count, elapsed_s, cpu_s = worker.hear(seconds=seconds + 60.0)
        server_s = server_cpu_s(place.process_id) - server_before_s
    return _rated(count, elapsed_s, cpu_s + server_s)


def _rated(count: int, elapsed_s: float, cpu_s: float) -> Sample:
    if not count:
        raise RuntimeError("no job was done; the figure is void")
    return Sample(count / elapsed_s, {"cpu_us": cpu_s / count * 1e6, "jobs_count": float(count)})


@contextmanager
def _served(peer: QueuePeer, setting: Setting) -> Iterator[Place]:
    missing = peer_missing(peer)
    if missing:
        raise Skipped(missing)
    with setting.fresh_directory() as path, peer.serve(Place(path, is_durable=True)) as place:
        yield place


def peer_missing(peer: QueuePeer) -> str | None:
    """What has to be installed first; None when nothing is missing."""
    packages = [name for name, module in peer.packages.items() if importlib.util.find_spec(module) is None]
    programs = [package for program, package in peer.programs.items() if not shutil.which(program)]
    if packages:
        return f"not installed; run: pip install {' '.join(packages)}"
    return f"no server on the PATH; run: apt-get install {' '.join(programs)}" if programs else None


def _unsynced(place: Place) -> Place:
    return attrs.evolve(place, is_durable=False)


def _fill(parent: Connection, name: str, place: Place, count: int, delayed: int) -> None:
    with peer_named(name).open(place) as jobs:
        if delayed:
            jobs.delay(range(count, count + delayed))
        jobs.add(range(count), _AT_ONCE_TO_FILL)
    _sync(place.directory)
    parent.send("filled")


def _sync(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _work(parent: Connection, name: str, place: Place, at_once: int, threads: int) -> None:
    cpu_s = 0.0

    def begin() -> float:
        nonlocal cpu_s
        parent.send("ready")
        begin_s, until_s = parent.recv()
        time.sleep(max(0.0, begin_s - time.monotonic()))
        cpu_s = own_cpu_s()
        return float(until_s)

    with peer_named(name).open(place) as jobs:
        numbers = jobs.work_in_threads(begin, threads) if threads else jobs.work(begin, at_once)
        parent.send((numbers, time.monotonic(), own_cpu_s() - cpu_s))
        parent.close()


def _add(parent: Connection, name: str, place: Place, at_once: int) -> None:
    with peer_named(name).open(place) as jobs:
        parent.send("ready")
        seconds = parent.recv()
        jobs.add(range(at_once), at_once)  # what is made with the first is made before
        count, step, cpu_s, begin_s = 0, at_once * 10, own_cpu_s(), time.monotonic()
        while time.monotonic() < begin_s + seconds:
            jobs.add(range(count, count + step), at_once)
            count += step
        parent.send((count, time.monotonic() - begin_s, own_cpu_s() - cpu_s))
        parent.close()


Figure = Callable[[QueuePeer, Setting, float], Sample]


def figures(most_pending: int) -> dict[str, Figure]:
    """The figures by their names."""

    def adding(at_once: int) -> Figure:
        return lambda peer, setting, seconds: add(peer, setting, seconds, at_once)

    def working(**shape: Any) -> Figure:
        return lambda peer, setting, seconds: work(peer, setting, seconds, Shape(**shape))

    found = {
        "add one by one": adding(1),
        "add 100 at a time": adding(100),
        "work one by one, 1 worker": working(at_once=1),
        "work one by one, 8 workers": working(at_once=1, workers=8),
        "work one by one, 8 threads": working(at_once=1, threads=8),
        "work 100 at a time, 1 worker": working(at_once=100),
        "work 100 at a time, 8 workers": working(at_once=100, workers=8),
    }
    counts = {1_000: "1 thousand", 1_000_000: "1 million", 10_000_000: "10 million"}
    for count, text in counts.items():
        if count <= most_pending:
            found[f"work one by one, {text} pending"] = working(at_once=1, pending=count)
    if most_pending >= 1_000_000:
        found["work one by one, 1 million delayed"] = working(at_once=1, delayed=1_000_000)
    return found
