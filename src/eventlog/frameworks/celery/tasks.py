"""
A shared queue of kombu, from the side of one channel: the workers that take its messages.

Each priority has a topic and a worker of its own; the highest is asked first, so a message never waits for one that
matters less. A task whose time has not come is given back with a delay: it is nobody's until then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

from kombu.log import get_logger

from eventlog import Job, LeaseLost, Queue
from eventlog.frameworks.celery.broker import Broker
from eventlog.frameworks.celery.messages import seconds_until_eta, to_message
from eventlog.interruptions import unless_interrupted

logger = get_logger(__name__)

HELD_SECONDS: Final = 1.0
"""Tasks whose time comes later than this wait in the log; others wait in the worker, to the millisecond."""
_LOOK_SECONDS: Final = 0.1
"""The pause between two looks for priorities that are new."""

T = TypeVar("T")
Delivery = tuple[dict[str, Any], Job[bytes, bytes]]


class TaskQueue:
    """The workers of one channel for one shared queue."""

    def __init__(self, broker: Broker, name: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._broker = broker
        self._monotonic = monotonic
        self._workers: dict[int, Queue[bytes, bytes]] = {}
        self._look_at_s = 0.0

    def _learn_priorities(self) -> None:
        now_s = self._monotonic()
        if now_s < self._look_at_s:
            return
        self._look_at_s = now_s + _LOOK_SECONDS
        priorities = self._broker.priorities(self.name)
        if self._workers.keys() != set(priorities):
            for priority in sorted(priorities, reverse=True):
                if priority not in self._workers:
                    topic = self._broker.queue_topic(self.name, priority)
                    self._workers[priority] = self._broker.open_queue(topic)
            self._workers = dict(sorted(self._workers.items(), reverse=True))

    def take(self, most: int) -> list[Delivery]:
        """Take messages, those of the highest priority first, and store what has become of those before."""
        self._learn_priorities()
        taken: list[Delivery] = []
        for worker in self._workers.values():
            while len(taken) < most:
                jobs = _told(partial(worker.poll, 0, max_records=most - len(taken)))
                if not jobs:
                    break
                taken += self._due(jobs)
            else:
                self._commit(worker)
        return taken

    def _due(self, jobs: list[Job[bytes, bytes]]) -> Iterator[Delivery]:
        now = datetime.now(UTC)
        for job in jobs:
            message = to_message(job)
            delay = seconds_until_eta(message, now)
            if delay > HELD_SECONDS:
                job.release(delay=delay)
                continue
            handed = job.delivery_count
            if (message.get("headers") or {}).get("eta"):
                handed -= 1  # it was given back for later
            message["properties"]["delivery_info"]["redelivered"] = handed > 1
            message["properties"]["delivery_tag"] = f"{job.id}-{job.delivery_count}"
            yield message, job

    def commit(self) -> None:
        """Store what has become of messages."""
        for worker in self._workers.values():
            self._commit(worker)

    @staticmethod
    def _commit(worker: Queue[bytes, bytes]) -> None:
        _told(worker.commit)

    @property
    def workers(self) -> Iterator[Queue[bytes, bytes]]:
        """The workers, to be watched."""
        return iter(self._workers.values())

    def close(self) -> None:
        """Store what has become of messages, and give back all others."""
        for worker in self._workers.values():
            worker.close()
        self._workers.clear()


def _told(call: Callable[[], T]) -> T:
    """What a call returns; a message that is another worker's by now is told, and the call made again."""
    while True:
        try:
            return call()
        except unless_interrupted(LeaseLost) as error:
            logger.warning("%s", error)
