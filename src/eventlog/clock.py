"""
What time it is, and how long things take.

Everything above takes a `Clock` as an argument, so that tests can hold time still. This is the one module that
asks the operating system; it knows nothing of logs.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time of day and the time elapsed."""

    def now_ms(self) -> int:
        """Milliseconds since 1970 UTC; may be set back by the operator."""
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

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""
        return time.monotonic()


def to_ms(moment: datetime | int) -> int:
    """
    Milliseconds since 1970 UTC of a moment given as a `datetime` with a time zone, or as those milliseconds.

    Raises:
        ValueError: for a `datetime` without a time zone; the same words mean another moment on another machine.
        TypeError: for anything else.
    """
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise ValueError(
                f"cannot place {moment!r} in time: it has no time zone. Nothing was read. "
                "Pass datetime.now(timezone.utc), or .astimezone() to mean this machine's zone."
            )
        whole_seconds = int(moment.replace(microsecond=0).timestamp())
        return whole_seconds * 1000 + moment.microsecond // 1000
    if isinstance(moment, bool) or not isinstance(moment, int):
        raise TypeError(
            f"a moment is a datetime with a time zone or an int of milliseconds since 1970 UTC, not {moment!r}."
        )
    return moment


def from_ms(timestamp_ms: int) -> datetime:
    """The moment of a timestamp, as a `datetime` in UTC."""
    seconds, milliseconds = divmod(timestamp_ms, 1000)
    return datetime.fromtimestamp(seconds, tz=UTC).replace(microsecond=milliseconds * 1000)
