"""Tasks for workers, of whichever framework there is."""

from __future__ import annotations

import os
import signal
import sys

from eventlog.frameworks.django.tasks import base

seen: list[object] = []
"""What tasks have noted, in this process."""


@base.task
def add(one, other=1):
    """Add two numbers."""
    return one + other


@base.task
async def double(number):
    """Double a number in a loop."""
    return 2 * number


@base.task(takes_context=True)
def attempt(context):
    """What it knows of itself."""
    return [context.attempt, context.task_result.id, str(context.task_result.status)]


@base.task
def note(what):
    """Leave a note."""
    seen.append(what)


@base.task
def fail(message):
    """Raise an error."""
    raise LookupError(message)


@base.task
def leave():
    """End the worker, as it thinks."""
    sys.exit(3)


@base.task
def unspeakable():
    """Return what is not JSON."""
    return object()


@base.task
def die():
    """Die as by `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)


@base.task
def be_told_to_stop(what):
    """Get a SIGTERM in the midst of the work."""
    os.kill(os.getpid(), signal.SIGTERM)
    return what


def no_task():
    """A function."""
