"""
taskiq on a log: a broker on its queues, a result backend and a source of schedules on its states.

docs/how-to/taskiq.md shows how to use them.
"""

from __future__ import annotations

from eventlog.frameworks import missing_framework

try:
    from eventlog.frameworks.taskiq.broker import EventLogBroker, WorkersDied
    from eventlog.frameworks.taskiq.results import EventLogResultBackend
    from eventlog.frameworks.taskiq.schedules import EventLogScheduleSource
except ModuleNotFoundError as error:
    if error.name != "taskiq":
        raise
    raise missing_framework("taskiq", "taskiq", error) from error

__all__ = ["EventLogBroker", "EventLogResultBackend", "EventLogScheduleSource", "WorkersDied"]
