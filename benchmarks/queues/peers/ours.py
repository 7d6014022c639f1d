"""
Ours: `log.queue()` with its defaults, durable; one partition for all workers.

What `poll()` takes and what was acknowledged before go in one commit. `threads` is `queue.run(function, threads=8)`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs

import eventlog
from benchmarks.compare.peer import Place
from benchmarks.queues.peer import HOUR_S, Begin, QueuePeer, job_of, parts

_TOPIC, _GROUP = "jobs", "workers"
_DELAYED_AT_ONCE = 1_000


@attrs.define
class _Jobs:
    log: eventlog.EventLog
    topic: eventlog.Topic[Any, Any]

    def add(self, numbers: Sequence[int], at_once: int) -> None:
        if at_once == 1:
            for number in numbers:
                self.topic.append(job_of(number))
            return
        for part in parts(numbers, at_once):
            self.topic.append_many([job_of(number) for number in part])

    def work(self, begin: Begin, at_once: int) -> list[int]:
        done: list[int] = []
        with self.log.queue(_TOPIC, group=_GROUP, max_poll_records=at_once) as queue:
            until_s = begin()
            while time.monotonic() < until_s and (jobs := queue.poll()):
                for job in jobs:
                    with job:
                        done.append(int(job.value))
        return done

    def work_in_threads(self, begin: Begin, threads: int) -> list[int]:
        done: list[int] = []
        with self.log.queue(_TOPIC, group=_GROUP, max_poll_records=1) as queue:
            until_s = begin()

            def work(job: eventlog.Job[Any, Any]) -> None:
                done.append(int(job.value))
                if time.monotonic() >= until_s:
                    queue.wakeup()

            queue.run(work, threads=threads)
        return done

    def delay(self, numbers: Sequence[int]) -> None:
        self.add(numbers, 10_000)
        left = len(numbers)
        with self.log.queue(_TOPIC, group=_GROUP, max_poll_records=_DELAYED_AT_ONCE) as queue:
            while left:
                for job in queue.poll():
                    job.release(delay=HOUR_S)
                    left -= 1
            queue.commit()


@contextmanager
def _open(place: Place) -> Iterator[_Jobs]:
    with eventlog.open(place.directory / "log", durability="commit" if place.is_durable else "ordered") as log:
        yield _Jobs(log, log.topic(_TOPIC))


PEER = QueuePeer(
    name="eventlog",
    notes=__doc__,
    kind="embedded",
    is_durable=True,
    open=_open,
    most_pending=10_000_000,
)
