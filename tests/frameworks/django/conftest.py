"""A backend on a log of its own, under the alias "default" of a project without a database."""

from __future__ import annotations

import os
from collections.abc import Iterator

import django
import pytest

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.frameworks.django.settings"
django.setup()
del os.environ["DJANGO_SETTINGS_MODULE"]  # programs that other tests start have settings of their own

from eventlog.frameworks.django import tasks  # noqa: E402 - after `setup()`
from eventlog.frameworks.django.backend import EventLogBackend  # noqa: E402


@pytest.fixture
def backend(path) -> Iterator[EventLogBackend]:
    """A backend whose results expire at once; any queue will do."""
    made = EventLogBackend("default", params={"OPTIONS": {"path": path, "results_ttl": 0.0}, "QUEUES": []})
    tasks.handler["default"] = made
    yield made
    del tasks.handler["default"]
    made.log.close()
