"""The errors of the listener itself; what it answers to clients is in `listener/failures.py`."""

from __future__ import annotations

from typing import Unpack

from eventlog.errors import ErrorParts, EventLogError


class CannotListen(EventLogError):
    """
    Raised when no listener can be had at an address: another program has the port, or the address is not ours.

    Nothing was opened. `host` and `port` are what was asked for.
    """

    def __init__(self, what: str, *, host: str, port: int, **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.host = host
        self.port = port
