"""The log of one part of taskiq: opened by `startup()` in the loop that runs then, closed by `shutdown()`."""

from __future__ import annotations

import os

import eventlog.aio
from eventlog.options import Durability


class Home:
    """A log that is open between `startup()` and `shutdown()`."""

    def __init__(self, what: str, path: str | os.PathLike[str], durability: Durability) -> None:
        self._what = what
        self._path = os.fspath(path)
        self._durability: Durability = durability
        self._log: eventlog.aio.EventLog | None = None

    @property
    def log(self) -> eventlog.aio.EventLog:
        """
        The log.

        Raises:
            RuntimeError: it is not open.
        """
        if self._log is None:
            raise RuntimeError(
                f"the {self._what} on {self._path!r} was not started. Nothing was done. Call `await broker.startup()` "
                "first, and `await broker.shutdown()` at the end."
            )
        return self._log

    async def open(self) -> eventlog.aio.EventLog:
        """Open the log, unless it is open."""
        if self._log is None:
            self._log = await eventlog.aio.open(self._path, durability=self._durability)
        return self._log

    async def close(self) -> None:
        """Close the log, and all that was made of it."""
        log, self._log = self._log, None
        if log is not None:
            await log.close()
