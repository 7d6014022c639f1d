"""What the tests of queues share: a log whose time a test moves, jobs and their values, and what is counted."""

from __future__ import annotations

from typing import Any

import eventlog


def values(jobs: Any) -> list[Any]:
    """The values of some jobs."""
    return [job.value for job in jobs]


def accept_all(queue: Any, *, timeout: float = 0.0, most: int = 100) -> list[Any]:
    """Take jobs until there are none, and accept them; their values."""
    found: list[Any] = []
    while jobs := queue.poll(timeout=timeout, max_records=most):
        found += values(jobs)
        for job in jobs:
            job.accept()
    queue.commit()
    return found


def dead_letters(log: eventlog.EventLog, topic: str) -> list[tuple[Any, dict[str, str]]]:
    """The values of dead letters with the headers that say why, without what these begin with."""
    begin = "__dlq.errors."
    return [
        (
            record.value,
            {
                name.removeprefix(begin): (text or b"").decode()
                for name, text in record.headers
                if name.startswith(begin)
            },
        )
        for record in log.topic(topic).read()
    ]


def counts(log: Any, name: str) -> dict[str, int]:
    """What a queue has, by its own counts, which are right."""
    assert log.verify().problems == ()
    details = log._store.queues().queue_details(name)
    return {
        what: getattr(details, what)
        for what in ("ready", "leased", "delayed", "waiting", "dead", "expired")
        if getattr(details, what)
    }


def starts(log: Any, name: str) -> list[tuple[int, int]]:
    """Where each partition of a queue's begins that is not done, and what is handed out next."""
    return [(one.start, one.next) for one in log._store.queues().queue_details(name).partitions]


def open_again(job: Any) -> Any:
    """A job as it was before it was acknowledged."""
    job.state = "open"
    return job
