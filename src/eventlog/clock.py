"""
Time of day and elapsed time.

All other modules take a `Clock` as an argument, so that tests can hold time still. This is the only module that asks
the operating system for the time.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of the time of day and of elapsed time."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC; the operator may set it back."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        ...


class SystemClock:
    """The clock of the operating system."""

    __slots__ = ()

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC."""
        return time.time_ns() // 1_000_000

    monotonic = staticmethod(time.monotonic)
    """
    Seconds since some moment; never goes back.

    The function itself: a waiting consumer calls it all the time, and an accelerator knows it.
    """


def to_ms(moment: datetime | int) -> int:
    """
    Return a moment as milliseconds since 1970 UTC.

    Args:
        moment: a `datetime` with a time zone, or the milliseconds themselves.

    Raises:
        ValueError: the `datetime` has no time zone; it would mean another moment on another machine.
        TypeError: `moment` is neither.
    """
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ValueError(
                f"cannot use {moment!r}: it has no time zone. Nothing was read. "
                "Pass datetime.now(timezone.utc), or .astimezone() to mean this machine's zone."
            )
        whole_seconds = int(moment.replace(microsecond=0).timestamp())
        return whole_seconds * 1000 + moment.microsecond // 1000
    if isinstance(moment, bool) or not isinstance(moment, int):
        raise TypeError(
            f"a moment must be a datetime with a time zone or an int of milliseconds since 1970 UTC, not {moment!r}."
        )
    return moment


def from_ms(timestamp_ms: int) -> datetime:
    """Return a timestamp as a `datetime` in UTC."""
    seconds, milliseconds = divmod(timestamp_ms, 1000)
    return datetime.fromtimestamp(seconds, tz=UTC).replace(microsecond=milliseconds * 1000)
