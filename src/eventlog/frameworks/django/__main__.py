"""`python -m eventlog.frameworks.django`: the worker of the project that DJANGO_SETTINGS_MODULE names."""

from __future__ import annotations

import sys

import django
from django.core.exceptions import ImproperlyConfigured

from eventlog.interruptions import unless_interrupted

if __name__ == "__main__":
    from eventlog.frameworks.django.management.commands.eventlog_worker import Command

    try:
        django.setup()
    except unless_interrupted(ImproperlyConfigured) as error:
        sys.exit(f"Error: {error}")
    Command().run_from_argv(["python -m", "eventlog.frameworks.django", *sys.argv[1:]])
