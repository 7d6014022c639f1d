"""The jobs that a transaction accepts: they are done exactly when it is stored."""

from __future__ import annotations

from typing import Any

from eventlog.api.queue import Job
from eventlog.backend import Backend
from eventlog.backend.queues import Acknowledgement, QueuePiece, StoredQueue
from eventlog.clients.queue.queue import EmbeddedQueue


class AcceptedJobs:
    """The jobs of one transaction; those of each worker are one piece of it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._jobs: list[Job[Any, Any]] = []
        self._by_worker: dict[str, tuple[StoredQueue, list[Acknowledgement]]] = {}

    def add(self, job: Job[Any, Any]) -> None:
        """Take a job, which nobody else acknowledges meanwhile."""
        if not isinstance(job, Job):
            raise TypeError(f"accept() takes a Job of a queue, not {type(job).__name__}. Nothing was changed.")
        owner = job._settler()
        if not isinstance(owner, EmbeddedQueue) or owner._backend is not self._backend:
            raise ValueError(
                f"job {job.id} is of another log than the transaction. Nothing was changed. Use a transaction of the "
                "log of its queue."
            )
        queue, member_id, one = owner._acknowledgement(job)
        self._by_worker.setdefault(member_id, (queue, []))[1].append(one)
        self._jobs.append(job)
        job.state = "accepted"

    def pieces(self) -> list[object]:
        """The acknowledgements to be stored with the transaction."""
        return [QueuePiece(queue, member_id, ones) for member_id, (queue, ones) in self._by_worker.items()]

    def fail(self) -> None:
        """Have the jobs as they were: nothing was stored."""
        for job in self._jobs:
            job.state = "open"
