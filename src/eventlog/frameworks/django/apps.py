"""The application that brings the command `eventlog_worker`."""

from __future__ import annotations

from django.apps import AppConfig


class EventLogTasksConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """The application; it has no models."""

    name = "eventlog.frameworks.django"
    label = "eventlog_tasks"
    verbose_name = "Tasks on an event log"
