"""Tasks and their results as rows of a state: what is enqueued, what has become of it, and back."""

from __future__ import annotations

import traceback
from datetime import datetime
from typing import Any

from django.utils.module_loading import import_string

from eventlog.frameworks.django import tasks

Row = dict[str, Any]
"""A result and its task as JSON: times in ISO 8601."""

_TIMES = ("enqueued_at", "started_at", "last_attempted_at", "finished_at")


def row_of(result: Any) -> Row:
    """The row of a result that has been made."""
    task = result.task
    return {
        "task": task.module_path,
        "priority": task.priority,
        "queue_name": task.queue_name,
        "run_after": _text(task.run_after),
        "args": result.args,
        "kwargs": result.kwargs,
        "status": str(result.status),
        **{name: _text(getattr(result, name)) for name in _TIMES},
        "errors": [_error_row(error) for error in result.errors],
        "worker_ids": list(result.worker_ids),
        "return_value": result._return_value,
    }


def result_of(row: Row, key: str, alias: str) -> Any:
    """
    The result that a row has, of a backend by its alias.

    Raises:
        ImportError: its function is not there any more, or is no task.
    """
    result = tasks.base.TaskResult(
        task=_task_of(row, alias),
        id=key,
        status=tasks.base.TaskResultStatus(row["status"]),
        **{name: _time(row[name]) for name in _TIMES},
        args=row["args"],
        kwargs=row["kwargs"],
        backend=alias,
        errors=[tasks.base.TaskError(**error) for error in row["errors"]],
        worker_ids=list(row["worker_ids"]),
    )
    object.__setattr__(result, "_return_value", row["return_value"])  # no argument of a frozen class, and kept by name
    return result


def error_row(error: BaseException) -> Row:
    """The row of an error that a task has raised."""
    kind = type(error)
    return {
        "exception_class_path": f"{kind.__module__}.{kind.__qualname__}",
        "traceback": "".join(traceback.format_exception(error)),
    }


def _error_row(error: Any) -> Row:
    return {"exception_class_path": error.exception_class_path, "traceback": error.traceback}


def _task_of(row: Row, alias: str) -> Any:
    path = row["task"]
    task = import_string(path)
    if not isinstance(task, tasks.base.Task):
        raise ImportError(  # noqa: TRY004  # no argument is wrong
            f"{path} is no task: it is a {type(task).__name__}. The task stays as it is stored. Declare the function "
            "with @task under the name that it was enqueued by."
        )
    return task.using(
        priority=row["priority"], queue_name=row["queue_name"], run_after=_time(row["run_after"]), backend=alias
    )


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.isoformat()


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
