"""
The backend: tasks are enqueued in queues of the log, and their results kept in a state.

A task is its row in the state of results; the record of its queue has the key of that row, and both are stored in one
commit. Each queue of Django has three topics, for priorities above, at and below 0.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from django.utils.crypto import get_random_string

import eventlog
from eventlog.frameworks.django import tasks
from eventlog.frameworks.django.rows import Row, result_of, row_of
from eventlog.frameworks.priorities import queues_of, topic_of, topics_of, weights_of
from eventlog.frameworks.results import ResultTable
from eventlog.interruptions import unless_interrupted
from eventlog.options import check_int, check_seconds, check_topic_name

_WEEK_SECONDS = 7 * 86400.0
_MOST_DELIVERIES = 2**16 - 2
"""As many as a queue knows: how often a task is attempted is counted in its row."""
_PRUNED_AT_ONCE = 1000


class EventLogBackend(tasks.BaseTaskBackend):  # type: ignore[misc]  # the class of either framework, without types
    """
    Django's tasks on a log.

    The setting `OPTIONS` has `path`, the directory of the log, and may have `name` ("tasks"), which the names of
    topics, queue and state begin with, `attempts` (5), after which a task whose workers die has failed,
    `results_ttl` (a week), the seconds for which the result of a task is kept at least, None forever, and
    `durability`, as `eventlog.open`.

    Example:
        >>> TASKS = {
        ...     "default": {
        ...         "BACKEND": "eventlog.frameworks.django.backend.EventLogBackend",
        ...         "OPTIONS": {"path": "data/tasks"},
        ...     }
        ... }
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, **settings: dict[str, Any]) -> None:
        super().__init__(alias, **settings)
        options = dict(self.options)
        if "path" not in options:
            raise _refused(alias, "it has no path", 'Add "path", the directory of the log')
        try:
            self.path = os.fspath(options.pop("path"))
            self.name = check_topic_name(options.pop("name", "tasks"))
            self.attempts = check_int("attempts", options.pop("attempts", 5), least=1)
            ttl = options.pop("results_ttl", _WEEK_SECONDS)
            self.results_ttl = None if ttl is None else check_seconds("results_ttl", ttl)
            self._durability = options.pop("durability", "commit")
            topics_of(self.name, self.queues)
        except unless_interrupted(ValueError, TypeError) as error:
            raise _refused(alias, str(error), "Correct it") from error
        if options:
            raise _refused(alias, f"it has no use for {', '.join(sorted(options))}", "Leave that out")
        self.result_table = ResultTable(f"{self.name}.results", "json")

    @property
    def log(self) -> eventlog.EventLog:
        """The log, opened by its first use in each process."""
        return _open_log(self.path, self._durability, os.getpid())

    # -- what Django calls -----------------------------------------------------------------------------------------

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Store a task to be executed by a worker, and return its result, which is ready."""
        self.validate_task(task)
        result = tasks.base.TaskResult(
            task=task,
            id=get_random_string(32),
            status=tasks.base.TaskResultStatus.READY,
            enqueued_at=timezone.now(),
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=list(args),
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        topic = self._topic(topic_of(self.name, task.queue_name, task.priority))
        with self.log.transaction() as transaction:
            self.result_table.put(transaction, result.id, row_of(result))
            if task.run_after is None:
                transaction.send(topic, result.id)
            else:
                transaction.schedule(topic, result.id, at=math.ceil(task.run_after.timestamp() * 1000) / 1000)
        tasks.signals.task_enqueued.send(type(self), task_result=result)
        return result

    def get_result(self, result_id: str) -> Any:
        """
        Return the result of a task.

        Raises:
            TaskResultDoesNotExist: there is none of this id, or it was pruned.
            ImportError: the function of the task is not there any more.
        """
        row = self.row(result_id)
        if row is None:
            raise tasks.exceptions.TaskResultDoesNotExist(result_id)
        return result_of(row, result_id, self.alias)

    # -- what the worker calls -------------------------------------------------------------------------------------

    def row(self, result_id: str) -> Row | None:
        """The row of a task; None if there is none."""
        try:
            state = self.log.state(self.result_table.name, key=str, value=self.result_table.value)
        except unless_interrupted(eventlog.UnknownState):
            return None
        row: Row | None = state.get(result_id)
        return row

    def queue(self, queue_names: Iterable[str]) -> eventlog.Queue[Any, str]:
        """A worker of some queues of Django."""
        names = topics_of(self.name, queue_names)
        return self.log.queue(
            *map(self._topic, names), group=self.name, attempts=_MOST_DELIVERIES, weights=weights_of(names)
        )

    def queue_names(self) -> list[str]:
        """The queues of the setting `QUEUES`, or where that is empty all that tasks were enqueued in."""
        return sorted(self.queues or queues_of(self.name, self.log.topics()))

    def prune_results(self) -> int:
        """Delete the results that have expired, and return their number; workers do that once a minute."""
        count, now_ms = 0, int(time.time() * 1000)
        while True:
            found = self.log.transact(lambda tx: self.result_table.prune(tx, now_ms, _PRUNED_AT_ONCE))
            count += found
            if found < _PRUNED_AT_ONCE:
                return count

    def expires_ms(self) -> int | None:
        """When a result expires that is stored now."""
        return None if self.results_ttl is None else int((time.time() + self.results_ttl) * 1000)

    def _topic(self, name: str) -> eventlog.Topic[bytes, str]:
        return _open_topic(self.log, name, self.name)


@cache
def _open_log(path: str, durability: Any, _process_id: int) -> eventlog.EventLog:
    """The log of a process: Django makes a backend for each thread, and a server may fork."""
    return eventlog.open(path, durability=durability)


@cache
def _open_topic(log: eventlog.EventLog, name: str, group: str) -> eventlog.Topic[bytes, str]:
    return log.topic(name, value=str, until_read_by=[group])


def _refused(alias: str, what: str, advice: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"cannot take TASKS[{alias!r}]: {what.rstrip('.')}. Nothing was opened. {advice} in its OPTIONS or QUEUES."
    )
