"""The backend of Django's tasks: what is enqueued, what its results tell, and what it refuses."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone

from eventlog.frameworks.django import tasks
from eventlog.frameworks.django.backend import EventLogBackend
from eventlog.frameworks.django.worker import Worker
from tests.frameworks.django import project_tasks


def executed(backend, *queue_names):
    """How many tasks a worker executes now."""
    return Worker(backend, queue_names or ["default"], worker_id="tester").run_burst()


def test_a_task_is_executed_once_and_its_result_kept(backend):
    """Enqueued, executed, refreshed, and found by its id."""
    result = project_tasks.add.enqueue(1, other=2)
    assert (result.status, result.is_finished, result.attempts, result.args) == ("READY", False, 0, [1])
    assert project_tasks.add.get_result(result.id) == result
    with pytest.raises(ValueError, match="not finished"):
        _ = result.return_value
    assert executed(backend) == 1
    assert executed(backend) == 0
    assert result.status == "READY"
    result.refresh()
    assert (result.status, result.return_value, result.attempts) == ("SUCCESSFUL", 3, 1)
    assert result.worker_ids == ["tester"]
    assert result.enqueued_at <= result.started_at == result.last_attempted_at <= result.finished_at


def test_tasks_are_enqueued_and_looked_at_in_a_loop(backend):
    """The asynchronous half of the interface, and a task that is a coroutine."""

    async def main():
        result = await project_tasks.double.aenqueue(21)
        await asyncio.to_thread(executed, backend)
        await result.arefresh()
        return result, await project_tasks.double.aget_result(result.id)

    result, again = asyncio.run(main())
    assert (result.return_value, again) == (42, result)


def test_a_task_knows_its_attempt_and_its_result(backend):
    """By its context."""
    result = project_tasks.attempt.enqueue()
    executed(backend)
    result.refresh()
    assert result.return_value == [1, result.id, "RUNNING"]


@pytest.mark.parametrize(
    ("task", "arguments", "error"),
    [
        (project_tasks.fail, ["no"], LookupError),
        (project_tasks.leave, [], SystemExit),
        (project_tasks.unspeakable, [], TypeError),
        (project_tasks.add, [], TypeError),
    ],
)
def test_a_task_that_raises_has_failed_and_the_worker_goes_on(backend, task, arguments, error):
    """Its error is kept with its traceback; Django's tasks are not tried again."""
    result, next_one = task.enqueue(*arguments), project_tasks.add.enqueue(1)
    assert executed(backend) == 2
    result.refresh()
    (found,) = result.errors
    assert (result.status, found.exception_class) == ("FAILED", error)
    assert error.__name__ in found.traceback
    assert project_tasks.add.get_result(next_one.id).return_value == 2


def test_higher_priorities_come_first(backend):
    """Above 0, 0, and below; within each in the order of enqueueing."""
    project_tasks.seen.clear()
    for priority in (-100, 0, 1, -1, 100, 0):
        project_tasks.note.using(priority=priority).enqueue(priority)
    executed(backend)
    assert project_tasks.seen == [1, 100, 0, 0, -100, -1]


def test_a_deferred_task_waits_for_its_time_and_holds_nothing_up(backend):
    """Its worker is not busy with it meanwhile."""
    later = project_tasks.add.using(run_after=timezone.now() + timedelta(hours=1)).enqueue(1)
    soon = project_tasks.add.using(run_after=timezone.now() + timedelta(seconds=0.3)).enqueue(2)
    project_tasks.add.enqueue(3)
    assert executed(backend) == 1
    worker = Worker(backend, ["default"])
    tasks.signals.task_finished.connect(stop := lambda **_: worker.stop())
    worker.run()
    tasks.signals.task_finished.disconnect(stop)
    soon.refresh()
    later.refresh()
    assert (soon.return_value, soon.attempts, later.status, later.attempts) == (3, 1, "READY", 0)
    assert [schedule.value for schedule in backend.log.schedules.list()] == [later.id]
    assert soon.started_at >= soon.task.run_after


def test_a_worker_takes_the_queues_that_it_is_given(backend):
    """The others wait for theirs."""
    mail, image = (project_tasks.add.using(queue_name=name).enqueue(1) for name in ("mail", "image"))
    assert executed(backend, "mail") == 1
    mail.refresh()
    image.refresh()
    assert (mail.status, image.status) == ("SUCCESSFUL", "READY")
    assert backend.queue_names() == ["image", "mail"]


def test_results_are_pruned_after_their_time(backend):
    """What is not finished stays, whatever its age."""
    done = project_tasks.add.enqueue(1)
    executed(backend)
    waiting = project_tasks.add.enqueue(1)
    assert backend.prune_results() == 1
    assert backend.prune_results() == 0
    with pytest.raises(tasks.exceptions.TaskResultDoesNotExist, match=done.id):
        project_tasks.add.get_result(done.id)
    assert project_tasks.add.get_result(waiting.id) == waiting


def test_a_result_of_another_task_is_refused(backend):
    """As the framework wants it."""
    result = project_tasks.add.enqueue(1)
    with pytest.raises(tasks.exceptions.TaskResultMismatch):
        project_tasks.fail.get_result(result.id)
    with pytest.raises(tasks.exceptions.TaskResultDoesNotExist):
        backend.get_result("never enqueued")


def test_a_task_whose_function_is_gone_has_failed(backend, monkeypatch):
    """Its name stands in the error; the worker goes on."""
    result = project_tasks.add.enqueue(1)
    monkeypatch.setattr(project_tasks, "add", project_tasks.no_task)
    project_tasks.double.enqueue(1)
    assert executed(backend) == 2
    row = backend.row(result.id)
    assert row["status"] == "FAILED"
    assert "tests.frameworks.django.project_tasks.add is no task" in row["errors"][0]["traceback"]


def test_nothing_is_stored_of_arguments_that_are_not_json(backend):
    """The error comes to the one who enqueues."""
    with pytest.raises(TypeError):
        project_tasks.add.enqueue(object())
    assert executed(backend) == 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "it has no path"),
        ({"path": "x", "nam": "y"}, "it has no use for nam"),
        ({"path": "x", "attempts": 0}, "attempts"),
        ({"path": "x", "name": "no name"}, "no name"),
        ({"path": 3}, "int"),
    ],
)
def test_wrong_options_are_told_before_anything_is_opened(options, complaint):
    """The message names the backend and what is wrong."""
    with pytest.raises(ImproperlyConfigured, match=complaint) as raised:
        EventLogBackend("mine", params={"OPTIONS": options})
    assert "TASKS['mine']" in str(raised.value)


def test_a_name_of_a_queue_that_no_topic_can_have_is_refused():
    """Before anything is enqueued."""
    with pytest.raises(ImproperlyConfigured, match="a queue"):
        EventLogBackend("mine", params={"OPTIONS": {"path": "x"}, "QUEUES": ["a queue"]})
