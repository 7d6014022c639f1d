"""
The tests of django-tasks, unmodified, with its two backends replaced by ours.

A program of its own, run in the folder of that suite, whose package is called `tests` as ours: see `suite.py`. Its
tests ask a backend that executes nothing for a list of results, and expect of another that it executes at once; so ours
is given the one, and a worker for the other. The last line of the output has the tests that fail.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

sys.path.insert(0, os.getcwd())  # noqa: PTH109  # a place of modules is text
os.environ.update(DJANGO_SETTINGS_MODULE="tests.settings", IN_TEST="yes")

import django
import django_tasks.backends.dummy
import django_tasks.backends.immediate
from django.test.runner import DiscoverRunner

from eventlog import UnknownState
from eventlog.frameworks.django.backend import EventLogBackend
from eventlog.frameworks.django.worker import Worker

PATH = f"{tempfile.mkdtemp()}/log"


class Backend(EventLogBackend):
    """Ours, with a path that the suite does not know."""

    def __init__(self, alias, params):
        super().__init__(alias, params={**params, "OPTIONS": {**params.get("OPTIONS", {}), "path": PATH}})
        self.options = params.get("OPTIONS", {})


class DummyBackend(Backend):
    """One without a worker, with a list of results."""

    @property
    def results(self):
        """All results, the oldest first."""
        try:
            keys = list(self.log.state(self.result_table.name, key=str, value="json"))
        except UnknownState:
            return []
        return sorted(map(self.get_result, keys), key=lambda result: result.enqueued_at)

    def clear(self):
        """Forget them."""
        with self.log.transaction() as transaction:
            rows = self.result_table.rows(transaction)
            for key in list(rows.keys()):
                rows.delete(key)


class ImmediateBackend(Backend):
    """One whose worker is at once at work."""

    def enqueue(self, task, args, kwargs):
        """Enqueue a task, and execute it."""
        result = super().enqueue(task, args, kwargs)
        Worker(self, [task.queue_name]).run_burst()
        result.refresh()
        return result


class Runner(DiscoverRunner):
    """A runner that says what has failed."""

    def suite_result(self, suite, result, **_):
        """The names of the tests."""
        failed = {test.id().split(" ")[0] for test, _ in [*result.failures, *result.errors]}
        return {"run": result.testsRun, "failed": sorted(name.split(".", 2)[2] for name in failed)}


django_tasks.backends.dummy.DummyBackend = DummyBackend
django_tasks.backends.immediate.ImmediateBackend = ImmediateBackend
django.setup()
print(json.dumps(Runner(verbosity=1).run_tests([])))
