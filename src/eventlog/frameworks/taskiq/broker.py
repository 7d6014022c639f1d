"""
The broker: messages are records of queues, and each is acknowledged when taskiq says so.

A worker gives its messages back when it is closed, and to another at once when it is killed.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

from taskiq import AckableMessage, AsyncBroker, BrokerMessage, TaskiqResult

import eventlog
import eventlog.aio
from eventlog.frameworks.priorities import topic_of, topics_of, weights_of
from eventlog.frameworks.taskiq.home import Home
from eventlog.interruptions import unless_interrupted
from eventlog.options import Durability, check_int, check_seconds, check_topic_name

_log = logging.getLogger(__name__)
_MOST_DELIVERIES = 2**16 - 2


class WorkersDied(RuntimeError):
    """The workers of a task have died, as many as its attempts."""


class EventLogBroker(AsyncBroker):
    """
    A broker of taskiq on a log.

    Tasks may have the labels `queue_name`, `priority` (above, at or below 0) and `delay` in seconds.

    Args:
        path: the directory of the log.
        queues: the names of the queues that its workers take from; the first one is that of tasks without a label.
        name: what the names of its topics and of its queue begin with.
        attempts: the deaths of workers after which a task is given up.
        durability: as `eventlog.open`.

    Example:
        >>> from eventlog.frameworks.taskiq import EventLogBroker, EventLogResultBackend
        >>> broker = EventLogBroker("data/tasks").with_result_backend(EventLogResultBackend("data/tasks"))
        >>> @broker.task
        ... async def add(one: int, other: int) -> int:
        ...     return one + other
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        queues: Sequence[str] = ("default",),
        name: str = "taskiq",
        attempts: int = 5,
        durability: Durability = "commit",
    ) -> None:
        super().__init__()
        if isinstance(queues, str) or not queues:
            raise ValueError(f"queues are names, at least one, not {queues!r}. Nothing was made.")
        self._name = check_topic_name(name)
        self._queues = list(queues)
        self._topic_names = topics_of(name, queues)
        self._attempts = check_int("attempts", attempts, least=1)
        self._home = Home("broker", path, durability)
        self._topics: dict[str, eventlog.aio.Topic[bytes, bytes]] = {}
        self._queue: eventlog.aio.Queue[bytes, bytes] | None = None
        self._committing = asyncio.Lock()
        self._accepted_count = 0
        self._stored_count = 0
        """How many of the accepted messages are stored as such."""

    async def startup(self) -> None:
        """Open the log, and make the topics that are missing."""
        await super().startup()
        log = await self._home.open()
        for name in self._topic_names:
            self._topics[name] = await log.topic(name, value=bytes, until_read_by=[self._name])

    async def shutdown(self) -> None:
        """Give back the messages that are not acknowledged, and close the log."""
        await super().shutdown()
        queue, self._queue = self._queue, None
        if queue is not None:
            await queue.close()
        self._topics.clear()
        await self._home.close()

    async def kick(self, message: BrokerMessage) -> None:
        """
        Store a message; it is durable when this returns.

        Raises:
            ValueError: a label is wrong, or names a queue that the broker has not. Nothing was stored.
        """
        labels = message.labels
        queue = str(labels.get("queue_name", self._queues[0]))
        if queue not in self._queues:
            raise ValueError(
                f"task {message.task_name} has the label queue_name={queue!r}, and the broker has {self._queues}. "
                "Nothing was stored. Name it in queues= of the broker."
            )
        delay_seconds = check_seconds("delay", float(labels.get("delay", 0.0)))
        self._home.log  # noqa: B018  # raises if there is none
        topic = self._topics[topic_of(self._name, queue, float(labels.get("priority", 0)))]
        if delay_seconds > 0:
            await topic.schedule(message.message, delay=delay_seconds)
        else:
            await topic.append(message.message)

    async def listen(self) -> AsyncGenerator[AckableMessage, None]:
        """Take messages without end."""
        if self._queue is None:
            self._queue = await self._home.log.queue(
                *self._topics.values(),
                group=self._name,
                attempts=_MOST_DELIVERIES,
                weights=weights_of(self._topic_names),
            )
        async for job in self._queue:
            if job.delivery_count > self._attempts:
                await self._give_up(job)
            else:
                yield AckableMessage(data=job.value or b"", ack=partial(self._acknowledge, self._queue, job))

    async def _acknowledge(self, queue: eventlog.aio.Queue[bytes, bytes], job: eventlog.Job[bytes, bytes]) -> None:
        """Store that a message is done; those that are done at the same time share a commit."""
        job.accept()
        self._accepted_count += 1
        number = self._accepted_count
        async with self._committing:
            if self._stored_count >= number:
                return
            covered_count = self._accepted_count
            try:
                await queue.commit()
            except unless_interrupted(eventlog.LeaseLost) as lost:
                _log.warning("%s", lost)
            self._stored_count = covered_count

    async def _give_up(self, job: eventlog.Job[bytes, bytes]) -> None:
        """Make a message a dead letter, with a result that says so."""
        message = self.formatter.loads(job.value or b"")
        reason = f"task {message.task_id}, {message.task_name}: {self._attempts} of its workers have died"
        _log.error("%s", reason)
        result: TaskiqResult[Any] = TaskiqResult(
            is_err=True, return_value=None, execution_time=0.0, labels=message.labels, error=WorkersDied(reason)
        )
        await self.result_backend.set_result(message.task_id, result)
        job.reject(reason)
