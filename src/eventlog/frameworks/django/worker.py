"""
The worker: it takes tasks of some queues, executes them in threads, and stores their results.

A task is begun in one commit, and ended in another together with the acknowledgement of its job. One whose worker was
killed is another worker's at once; how often it was begun stands in its row, and after the last attempt it has failed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from django.db import close_old_connections, reset_queries
from django.utils import timezone
from django.utils.crypto import get_random_string

import eventlog
from eventlog.frameworks.django import tasks
from eventlog.frameworks.django.backend import EventLogBackend
from eventlog.frameworks.django.rows import Row, error_row, result_of
from eventlog.interruptions import is_interruption, unless_interrupted

_log = logging.getLogger(__name__)
_PRUNE_SECONDS = 60.0


class WorkerDied(RuntimeError):
    """The workers of a task have died, as many as its attempts."""


class Worker:
    """
    A worker of some queues of a backend.

    `stop()` ends it, from a signal handler as well, when the tasks in hand are done. If the process is killed, its
    tasks are another worker's at once.
    """

    def __init__(
        self, backend: EventLogBackend, queue_names: Sequence[str], *, threads: int = 1, worker_id: str | None = None
    ) -> None:
        self.backend = backend
        self.worker_id = worker_id or get_random_string(32)
        self._threads = threads
        self._queue = backend.queue(queue_names)
        self._is_stopping = False
        self._prune_at_s = 0.0

    def run(self) -> None:
        """Execute tasks until `stop()`."""
        with self._queue:
            self._queue.run(self._work, threads=self._threads)

    def run_burst(self) -> int:
        """Execute in this thread what there is to do now, and return how many tasks that were."""
        count = 0
        self.backend.log.schedules.send_due()
        with self._queue:
            while not self._is_stopping and (jobs := self._poll()):
                for job in jobs:
                    with job:
                        self._work(job)
                    count += job.state == "accepted"
        return count

    def stop(self) -> None:
        """End when the tasks in hand are done; any thread and a signal handler may call it."""
        self._is_stopping = True
        self._queue.wakeup()

    def _poll(self) -> list[eventlog.Job[Any, str]]:
        while True:
            try:
                return self._queue.poll()
            except unless_interrupted(eventlog.LeaseLost) as lost:
                _log.warning("%s", lost)

    # -- one task --------------------------------------------------------------------------------------------------

    def _work(self, job: eventlog.Job[Any, str]) -> None:
        self._prune()
        row = self.backend.log.transact(lambda transaction: self._begin(transaction, job.value))
        if row is not None:
            close_old_connections()
            reset_queries()
            try:
                self._execute(job, row)
            finally:
                close_old_connections()

    def _begin(self, transaction: eventlog.Transaction, key: str) -> Row | None:
        """Note that a task is begun, and return its row; None if there is nothing to do."""
        backend = self.backend
        row: Row | None = backend.result_table.rows(transaction).get(key)
        if row is None or row["finished_at"] is not None:
            return None  # it was pruned, or done by another worker, for which its job was lost
        if len(row["worker_ids"]) < backend.attempts:
            now = timezone.now().isoformat()
            row |= {
                "status": "RUNNING",
                "started_at": row["started_at"] or now,
                "last_attempted_at": now,
                "worker_ids": [*row["worker_ids"], self.worker_id],
            }
            backend.result_table.put(transaction, key, row)
        return row

    def _execute(self, job: eventlog.Job[Any, str], row: Row) -> None:
        backend, key = self.backend, job.value
        try:
            if row["status"] != "RUNNING" or row["worker_ids"][-1] != self.worker_id:
                raise WorkerDied(
                    f"{len(row['worker_ids'])} workers have died with task {key}, {row['task']}. It is not begun again."
                )
            result = result_of(row, key, backend.alias)
            tasks.signals.task_started.send_robust(type(backend), task_result=result)
            context = (tasks.base.TaskContext(task_result=result),) if result.task.takes_context else ()
            returned = tasks.base.normalize_json(result.task.call(*context, *result.args, **result.kwargs))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) or (isinstance(error, Exception) and is_interruption(error)):
                raise
            self._end(job, "FAILED", error=error)
        else:
            self._end(job, "SUCCESSFUL", returned=returned)

    def _end(
        self, job: eventlog.Job[Any, str], status: str, *, returned: Any = None, error: BaseException | None = None
    ) -> None:
        """Store what has become of a task, and that its job is done."""
        backend, key, now = self.backend, job.value, timezone.now().isoformat()

        def store(transaction: eventlog.Transaction) -> Row | None:
            row: Row | None = backend.result_table.rows(transaction).get(key)
            transaction.accept(job)
            if row is not None:
                errors = [] if error is None else [error_row(error)]
                row |= {"status": status, "finished_at": now, "return_value": returned}
                row["errors"] = [*row["errors"], *errors]
                backend.result_table.put(transaction, key, row, expires_ms=backend.expires_ms())
            return row

        try:
            row = backend.log.transact(store)
        except unless_interrupted(eventlog.LeaseLost) as lost:
            _log.warning("Task id=%s is another worker's by now; nothing was stored: %s", key, lost)
            return
        try:
            result = None if row is None else result_of(row, key, backend.alias)
        except unless_interrupted(Exception):
            _log.exception("Task id=%s has failed: it cannot be made of what is stored", key)
            return
        if result is not None:
            tasks.signals.task_finished.send_robust(type(backend), task_result=result)

    def _prune(self) -> None:
        """Delete expired results, once a minute."""
        now_s = time.monotonic()
        if now_s >= self._prune_at_s:
            self._prune_at_s = now_s + _PRUNE_SECONDS
            self.backend.prune_results()
