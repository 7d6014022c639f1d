"""Errors of queues and their jobs."""

from __future__ import annotations

from typing import Any, Unpack

from eventlog.errors.base import ErrorParts, EventLogError


class QueueMismatch(EventLogError):
    """
    Raised when a queue is opened with options that differ from the stored ones.

    The queue is unchanged. Leave the option out to use what is stored.
    """


class LeaseLost(EventLogError):
    """
    Raised when a job is acknowledged whose lease is over: others may have it by now.

    Nothing of that acknowledgement was stored. `lost` are the jobs, where more than one is told of at once.
    """

    def __init__(self, what: str, *, lost: tuple[Any, ...] = (), **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.lost = lost
