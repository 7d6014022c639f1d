"""A broker with tasks, as a project would have it: `taskiq worker tests.frameworks.taskiq.project_broker:broker`."""

from __future__ import annotations

import os
import signal

from eventlog.frameworks.taskiq import EventLogBroker, EventLogResultBackend

PATH = os.environ.get("TASKIQ_LOG", ":memory:")
broker = EventLogBroker(PATH, queues=("default", "mail"), attempts=1)
broker.with_result_backend(EventLogResultBackend(PATH))


@broker.task
async def add(one: int, other: int = 1) -> int:
    """Add two numbers."""
    return one + other


@broker.task
def who() -> int:
    """The process of the worker."""
    return os.getpid()


@broker.task
def fail(message: str) -> None:
    """Raise an error."""
    raise LookupError(message)


@broker.task
def die() -> None:
    """Die as by `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)
