"""
The tasks framework that the project uses: Django's own, or the package django-tasks.

Both have the same names in the same places. A project that has `django_tasks` among its applications uses that one.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django import conf  # not `settings` itself: whoever looks at the names of a module would ask it
from django.core.exceptions import ImproperlyConfigured

from eventlog.frameworks import missing_framework


def _root() -> str:
    names = ["django.tasks", "django_tasks"]
    try:
        applications = conf.settings.INSTALLED_APPS
    except ImproperlyConfigured:  # whoever only looks at our modules has no project
        applications = []
    if any(application.partition(".")[0] == "django_tasks" for application in applications):
        names.reverse()
    missing = ModuleNotFoundError()
    for name in names:
        try:
            return import_module(name).__name__
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            missing = error
    raise missing_framework("Django's tasks", "django", missing)  # Django is there, but before 6, and no django-tasks


ROOT = _root()
"""The package: "django.tasks" or "django_tasks"."""

base: Any = import_module(f"{ROOT}.base")
signals: Any = import_module(f"{ROOT}.signals")
exceptions: Any = import_module(f"{ROOT}.exceptions")
BaseTaskBackend: Any = import_module(f"{ROOT}.backends.base").BaseTaskBackend
handler: Any = import_module(ROOT).task_backends
"""The backends of the setting `TASKS`, by their aliases."""
