"""The worker of Django's tasks in processes of its own: killed, told to stop, and at work for a project."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.examples.programs import Program
from tests.frameworks.django import project_tasks

SETTINGS = """
SECRET_KEY = "of no use"
USE_TZ = True
INSTALLED_APPS = ["shop"]
TASKS = {"default": {"BACKEND": "IMMEDIATE"}}
"""
TASKS = """
import os
from eventlog.frameworks.django.tasks import base

@base.task
def greet(name):
    return f"hello {name} of {os.getpid()}"
"""
PROGRAM = """
import os, time
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
import django
django.setup()
from shop.tasks import greet
result = greet.enqueue("alice")
print("own", os.getpid(), "enqueued", result.id, flush=True)
while not result.is_finished:
    time.sleep(0.02)
    result.refresh()
print("got", result.return_value, flush=True)
"""


def worker(backend, *arguments):
    """A worker process for the log of a backend, which begins no task more than twice."""
    folder, settings = Path(backend.path).parent, f"settings_{Path(backend.path).name}"
    options = {"path": backend.path, "attempts": 2}
    (folder / f"{settings}.py").write_text(
        f"from tests.frameworks.django.settings import *\nTASKS['default']['OPTIONS'] = {options!r}\n"
    )
    environment = {"DJANGO_SETTINGS_MODULE": settings, "PYTHONPATH": str(folder)}
    return Program("-m", "eventlog.frameworks.django", *arguments, environment=environment)


def test_a_killed_worker_gives_its_task_to_another_at_once(backend):
    """A task that kills its workers has failed after its attempts, and the others are executed."""
    deadly, sound = project_tasks.die.enqueue(), project_tasks.add.enqueue(1)
    for _ in range(2):
        with worker(backend) as process:
            assert process.end() == -signal.SIGKILL
    with worker(backend) as process:
        process.wait_for(f"id={deadly.id} .* state=FAILED")
        process.wait_for(f"id={sound.id} .* state=SUCCESSFUL")
        assert process.end(signal.SIGTERM) == 0
    deadly.refresh()
    assert (deadly.status, deadly.attempts) == ("FAILED", 2)
    assert "2 workers have died with task" in deadly.errors[0].traceback


def test_a_worker_that_is_told_to_stop_finishes_what_it_has_in_hand(backend):
    """And ends with code 0."""
    told = project_tasks.be_told_to_stop.enqueue("done")
    with worker(backend, "--threads", "2") as process:
        assert process.end() == 0
        assert "finishing the tasks in hand" in process.output
    told.refresh()
    assert told.return_value == "done"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"threads": 0}, "--threads 0"),
        ({"threads": 2, "burst": True}, "1 with --burst"),
        ({"queue_name": "*"}, "names no queues"),
        ({"backend": "other"}, "--backend other"),
    ],
)
def test_wrong_options_of_the_command_are_told(backend, options, complaint):
    """Before anything is executed."""
    with pytest.raises(CommandError, match=complaint):
        call_command("eventlog_worker", **options)


def test_a_project_is_moved_to_a_log_by_one_line(tmp_path):
    """Its tasks are executed in its own process before that, and by a worker afterwards."""
    from eventlog.frameworks.django.tasks import ROOT

    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").touch()
    (tmp_path / "shop/tasks.py").write_text(TASKS)
    (tmp_path / "program.py").write_text(PROGRAM)
    before = SETTINGS.replace("IMMEDIATE", f"{ROOT}.backends.immediate.ImmediateBackend")
    (tmp_path / "settings.py").write_text(before)
    with Program("program.py", cwd=tmp_path) as program:
        assert program.end() == 0
        own = program.output.split()[1]
        assert f"got hello alice of {own}" in program.output

    backend = '{"BACKEND": "eventlog.frameworks.django.backend.EventLogBackend", "OPTIONS": {"path": "log"}}'
    after = [line if "TASKS" not in line else f'TASKS = {{"default": {backend}}}' for line in before.splitlines()]
    (tmp_path / "settings.py").write_text("\n".join(after))
    environment = {"DJANGO_SETTINGS_MODULE": "settings"}
    with (
        Program("program.py", cwd=tmp_path) as program,
        Program("-m", "eventlog.frameworks.django", cwd=tmp_path, environment=environment) as process,
    ):
        assert program.end() == 0
        assert f"got hello alice of {process.process_id}" in program.output
