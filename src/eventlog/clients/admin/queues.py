"""The administration of queues: each change is one transaction, each description one snapshot."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

from eventlog.api.overriding import override
from eventlog.api.queue import Job
from eventlog.api.queues import PartitionProgress, QueueDescription, Queues, WorkerDescription
from eventlog.api.topic import Topic
from eventlog.api.transaction import Transaction
from eventlog.backend import Backend
from eventlog.backend.queues import QueueDetails
from eventlog.clients.queue.opening import open_queue
from eventlog.clients.queue.queue import EmbeddedQueue
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.options import MAX_NAME_LENGTH, check_function, check_group_name, check_seconds, check_topic_name
from eventlog.records import Record

_BEGIN = "__dlq.errors."
_TRACEBACK = "eventlog.traceback"
_AT_ONCE = 100


class EmbeddedQueues(Queues):
    """The embedded queues: see `eventlog.Queues`."""

    def __init__(
        self,
        backend: Backend,
        check_open: Callable[[], None],
        known: Callable[[str], EmbeddedTopic[Any, Any]],
        transaction: Callable[[], Transaction],
    ) -> None:
        self._backend = backend
        self._check_open = check_open
        self._known = known
        self._transaction = transaction

    @override
    def list(self) -> builtins.list[str]:
        self._check_open()
        return self._backend.queues().queue_names()

    @override
    def describe(self, name: str) -> QueueDescription:
        self._check_open()
        return _described(self._backend.queues().queue_details(check_group_name(name)))

    @override
    def pause(self, name: str) -> None:
        self._check_open()
        self._backend.queues().pause_queue(check_group_name(name), is_paused=True)

    @override
    def resume(self, name: str) -> None:
        self._check_open()
        self._backend.queues().pause_queue(check_group_name(name), is_paused=False)

    @override
    def purge(self, name: str) -> int:
        self._check_open()
        return self._backend.queues().purge_queue(check_group_name(name))

    @override
    def delete(self, name: str) -> None:
        self._check_open()
        self._backend.queues().delete_queue(check_group_name(name))

    @override
    def replay(
        self,
        dead_letters: str | Topic[Any, Any],
        *,
        where: Callable[[Record[Any, Any]], bool] | None = None,
        edit: Callable[[Record[Any, Any]], Any] | None = None,
        rate: float | None = None,
    ) -> int:
        self._check_open()
        for option, function in (("where", where), ("edit", edit)):
            if function is not None:
                check_function(option, function, "Nothing was replayed.")
        pause_s = 0.0 if rate is None else 1.0 / check_seconds("rate", rate, least=0.001, unit="dead letters a second")
        name = dead_letters if isinstance(dead_letters, str) else dead_letters.name
        group = f"replay.{check_topic_name(name)}"[:MAX_NAME_LENGTH]
        options: dict[str, Any] = {
            "group": group,
            "start": "earliest",
            "attempts": None,
            "dead_letters": False,
            "backoff": None,
            "per_key": None,
            "timeout": None,
            "weights": None,
            "max_poll_records": _AT_ONCE,
            "session_timeout": 10.0,
        }
        with open_queue(self._backend, self._known, (dead_letters,), **options) as queue:
            return self._replay(queue, where, edit, pause_s)

    def _replay(
        self,
        queue: EmbeddedQueue[Any, Any],
        where: Callable[[Record[Any, Any]], bool] | None,
        edit: Callable[[Record[Any, Any]], Any] | None,
        pause_s: float,
    ) -> int:
        count, next_s = 0, monotonic()
        while jobs := queue.poll():  # what is not replayed stays with this worker, which gives it back at the end
            chosen = [job for job in jobs if where is None or where(job)]
            step = 1 if pause_s else max(1, len(chosen))
            for at in range(0, len(chosen), step):
                sleep(max(0.0, next_s - monotonic()))
                next_s = max(next_s, monotonic()) + pause_s
                count += self._append(chosen[at : at + step], edit)
        return count

    def _append(self, jobs: builtins.list[Job[Any, Any]], edit: Callable[[Record[Any, Any]], Any] | None) -> int:
        """Append some letters, in one commit with the note that they were."""
        with self._transaction() as tx:
            for job in jobs:
                headers = dict(job.headers)
                name = (headers.get(f"{_BEGIN}topic") or b"").decode(errors="replace")
                if not name:
                    raise ValueError(
                        f"offset {job.offset} of {job.topic}[{job.partition}] is no dead letter: it has no header "
                        f"{_BEGIN}topic. It was left out, and those before it were replayed. Pass it by with where=."
                    )
                kept = [pair for pair in job.headers if not pair[0].startswith((_BEGIN, _TRACEBACK))]
                value = job.value if edit is None else edit(job)
                tx.send(name, value, key=job.key, headers=kept)
                tx.accept(job)
        return len(jobs)


def _described(details: QueueDetails) -> QueueDescription:
    queue, options = details.queue, details.queue.options
    return QueueDescription(
        queue.name,
        queue.is_paused,
        details.ready,
        details.leased,
        details.delayed,
        details.waiting,
        details.dead,
        details.expired,
        options.attempts,
        options.dead_letters,
        (options.backoff_ms[0] / 1000, options.backoff_ms[1] / 1000),
        options.per_key,
        None if options.timeout_ms is None else options.timeout_ms / 1000,
        tuple(
            WorkerDescription(
                one.member_id,
                one.process_id,
                "alive" if one.life.value == "alive" else "dead",
                one.joined_ms,
                one.leased,
                one.oldest_ms,
            )
            for one in details.workers
        ),
        tuple(PartitionProgress(*one) for one in details.partitions),
    )
