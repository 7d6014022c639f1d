"""`python -m eventlog.frameworks.django`: the worker of the project that DJANGO_SETTINGS_MODULE names."""

from __future__ import annotations

import sys

import django

if __name__ == "__main__":
    from eventlog.frameworks.django.management.commands.eventlog_worker import Command

    django.setup()
    Command().run_from_argv(["python -m", "eventlog.frameworks.django", *sys.argv[1:]])
