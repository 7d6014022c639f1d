"""A program that redacts and is killed; the function is the whole program of a child."""

from __future__ import annotations

from typing import Any

import eventlog
from eventlog.store.records import redaction
from tests.processes.child import hear, say


def redact_until_killed(path: str, stop: int) -> None:
    """Redact one batch at a time, and stop after some."""
    log = eventlog.open(path)
    count = 0
    real = redaction.RedactBatches.__init__

    def begin(self: Any, topic: Any, changes: Any) -> None:
        nonlocal count
        count += 1
        if count > stop:
            say("slices")
            hear()
        real(self, topic, changes)

    redaction.RedactBatches.__init__ = begin  # type: ignore[method-assign]
    redaction._FIRST_SLICE = redaction._MOST_SLICE = 1
    log.topic("users").redact("u-7")
