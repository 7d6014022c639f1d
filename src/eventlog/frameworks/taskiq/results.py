"""The result backend: results of tasks are rows of a state, and expire."""

from __future__ import annotations

import os
import time
from functools import partial
from typing import Any, TypeVar

from taskiq import AsyncResultBackend, TaskiqResult
from taskiq.abc.serializer import TaskiqSerializer
from taskiq.depends.progress_tracker import TaskProgress

import eventlog
from eventlog.frameworks.results import ResultTable
from eventlog.frameworks.taskiq.home import Home
from eventlog.interruptions import unless_interrupted
from eventlog.options import Durability, check_seconds, check_topic_name

R = TypeVar("R")

_WEEK_SECONDS = 7 * 86400.0
_PRUNE_SECONDS = 60.0


class EventLogResultBackend(AsyncResultBackend[R]):
    """
    A result backend of taskiq on a log.

    Args:
        path: the directory of the log; that of the broker will do.
        name: the name of its state, and what that of its second one begins with.
        results_ttl: the seconds for which a result is kept (default: a week); None keeps it.
        serializer: turns results into bytes and back; None is pydantic's JSON, which takes dates and models, too.
        durability: as `eventlog.open`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str = "taskiq.results",
        results_ttl: float | None = _WEEK_SECONDS,
        serializer: TaskiqSerializer | None = None,
        durability: Durability = "commit",
    ) -> None:
        self._results = ResultTable(check_topic_name(name), "msgpack")
        self._progress = ResultTable(f"{name}.progress", "msgpack")
        self._ttl = None if results_ttl is None else check_seconds("results_ttl", results_ttl)
        self._serializer = serializer
        self._home = Home("result backend", path, durability)
        self._prune_at_s = 0.0

    async def startup(self) -> None:
        """Open the log."""
        await self._home.open()

    async def shutdown(self) -> None:
        """Close the log."""
        await self._home.close()

    async def set_result(self, task_id: str, result: TaskiqResult[R]) -> None:
        """Store a result; it is durable when this returns."""
        if self._serializer is None:
            stored = result.model_dump_json().encode()
        else:
            stored = self._serializer.dumpb(result.model_dump())
        await self._put(self._results, task_id, stored)

    async def is_result_ready(self, task_id: str) -> bool:
        """Whether a task has a result that was not pruned."""
        return self._get(self._results, task_id) is not None

    async def get_result(self, task_id: str, with_logs: bool = False) -> TaskiqResult[R]:
        """
        Return the result of a task.

        Raises:
            LookupError: it has none, or none any more.
        """
        stored = self._get(self._results, task_id)
        if stored is None:
            raise LookupError(f"task {task_id} has no result, or none any more: results are kept for {self._ttl} s.")
        if self._serializer is None:
            return TaskiqResult[R].model_validate_json(stored)
        return TaskiqResult[R].model_validate(self._serializer.loadb(stored))

    async def set_progress(self, task_id: str, progress: TaskProgress[Any]) -> None:
        """Store how far a task has come."""
        await self._put(self._progress, task_id, progress.model_dump_json().encode())

    async def get_progress(self, task_id: str) -> TaskProgress[Any] | None:
        """Return how far a task has come, if it has said so."""
        stored = self._get(self._progress, task_id)
        return None if stored is None else TaskProgress[Any].model_validate_json(stored)

    async def prune(self) -> int:
        """Delete what has expired, and return its number; `set_result` does that once a minute."""
        log, now_ms, count = self._home.log, int(time.time() * 1000), 0
        for table in (self._results, self._progress):
            count += await log.transact(partial(table.prune, now_ms=now_ms))
        return count

    async def _put(self, table: ResultTable, key: str, stored: bytes) -> None:
        log = self._home.log
        expires_ms = None if self._ttl is None else int((time.time() + self._ttl) * 1000)
        await log.transact(lambda transaction: table.put(transaction, key, {"result": stored}, expires_ms=expires_ms))
        if time.monotonic() >= self._prune_at_s:
            self._prune_at_s = time.monotonic() + _PRUNE_SECONDS
            await self.prune()

    def _get(self, table: ResultTable, key: str) -> bytes | None:
        try:
            state = self._home.log.state(table.name, key=str, value=table.value)
        except unless_interrupted(eventlog.UnknownState):
            return None
        row = state.get(key)
        return None if row is None else row["result"]
