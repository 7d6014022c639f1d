"""The error of a user who is not there; what a listener answers to clients is in the guards."""

from __future__ import annotations

from typing import Unpack

from eventlog.errors import ErrorParts, EventLogError


class UnknownUser(EventLogError):
    """
    Raised when a log has no user of that name.

    Nothing was changed. `user` is the name.
    """

    def __init__(self, what: str, *, user: str, **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.user = user
