"""A process that copies a topic until it is killed."""

from __future__ import annotations

import eventlog
from tests.processes.child import say


def double(text: str) -> int:
    """Convert the values of these tests."""
    return 2 * int(text)


def copies(path: str) -> None:
    """Copy in small transactions, and say how far it has come."""
    with eventlog.open(path) as log:
        log.topic("texts", key=str, value=str)
        log.copy_topic(
            "texts", to="numbers", value=int, convert=double, max_records=7, progress=lambda done, _: say(done)
        )
        say("copied")
