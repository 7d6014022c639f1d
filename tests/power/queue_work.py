"""
A process that works for a queue under the journal's library, and claims what it has stored.

Called as `python -m tests.power.queue_work LOG JOURNAL SEED PLANT`. A job is done in a transaction, put off for a
moment, or rejected; the process ends when all are done. A *plant* is a bug that the test must find.
"""

from __future__ import annotations

import os
import random
import sys
from typing import Any

import eventlog
from tests.power.journal import ACKNOWLEDGED, append_frame

JOBS, DONE, LETTERS, GROUP = "jobs", "done", "jobs.dead", "workers"
OPTIONS: dict[str, Any] = {
    "group": GROUP,
    "per_key": 1,
    "attempts": 1000,
    "backoff": (0.0, 0.0),
    "dead_letters": LETTERS,
}
PLANTS = {"early": "claimed", "halves": "twice", "letters": "twice"}
"""
Claimed before it is stored; done in one commit and accepted in another; a letter and the end of its job likewise.

Each with a word of what is found.
"""


def count_of(log: eventlog.EventLog, topic: str) -> int:
    """How many records a topic of one partition has got."""
    return log.topic(topic).bounds()[0][1]


def is_over(log: eventlog.EventLog) -> bool:
    """Whether each job is done, or is a dead letter."""
    return count_of(log, DONE) + count_of(log, LETTERS) >= count_of(log, JOBS)


class QueueWorker:
    """Does what its seed says with each job."""

    def __init__(self, log: eventlog.EventLog, journal: int, chance: random.Random, plant: str) -> None:
        self._log = log
        self._journal = journal
        self._chance = chance
        self._plant = plant

    def work(self) -> None:
        """Do jobs until all are done."""
        with self._log.queue(JOBS, **OPTIONS) as queue:
            while not is_over(self._log):
                for job in queue.poll(timeout=0.02, max_records=self._chance.randrange(1, 4)):
                    choice = self._chance.random()
                    if choice < 0.2:
                        job.release(delay=self._chance.choice([None, 0.003]))
                    elif choice < 0.35:
                        self._reject(queue, job)
                    else:
                        self._do(queue, job)

    def _do(self, queue: eventlog.Queue[Any, Any], job: eventlog.Job[Any, Any]) -> None:
        if self._plant == "early":
            self._claim("done", job)
        if self._plant == "halves":
            self._log.topic(DONE).append(job.value, key=job.key)
            job.accept()
            queue.commit()
        else:
            with self._log.transaction() as tx:
                tx.send(DONE, job.value, key=job.key)
                tx.accept(job)
        self._claim("done", job)

    def _reject(self, queue: eventlog.Queue[Any, Any], job: eventlog.Job[Any, Any]) -> None:
        if self._plant == "letters":
            self._log.topic(LETTERS).append(job.value, key=job.key)
            job.accept()
        else:
            job.reject("it is bad")
        queue.commit()
        self._claim("dead", job)

    def _claim(self, what: str, job: eventlog.Job[Any, Any]) -> None:
        append_frame(self._journal, ACKNOWLEDGED, f"{what} {job.value}".encode())


def main(path: str, journal: str, seed: str, plant: str) -> None:
    """Work in the log at a path."""
    descriptor = os.open(journal, os.O_WRONLY | os.O_APPEND)
    with eventlog.open(path) as log:
        QueueWorker(log, descriptor, random.Random(seed), plant).work()
    os.close(descriptor)


if __name__ == "__main__":
    main(*sys.argv[1:])
