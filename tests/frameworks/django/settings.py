"""The settings of a project without a database; a test puts backends of its own under the alias."""

from __future__ import annotations

SECRET_KEY = "of no use"
USE_TZ = True
INSTALLED_APPS = ["eventlog.frameworks.django"]
LOGGING_CONFIG = None
TASKS = {
    "default": {
        "BACKEND": "eventlog.frameworks.django.backend.EventLogBackend",
        "OPTIONS": {"path": ":memory:"},
        "QUEUES": [],
    }
}
