"""A clock that a test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from eventlog.clock import SystemClock, from_ms, to_ms

_BEGINNING = datetime(2024, 1, 1, tzinfo=UTC)
_LONGEST_SECONDS = 1e9
"""As for each duration that is an option; some thirty years."""


class ManualClock:
    """
    A clock for `eventlog.testing.open()`, and the fixture `event_log_clock`.

    The time of day stands still until the test moves it, so timestamps are known beforehand. Elapsed time goes on as
    always, so that a `poll(timeout=1.0)` ends, and jumps with the clock: then duplicate windows, leases and pauses
    between retries are over. Members of groups see such a jump as a process does that was stopped for so long.
    Any thread may move it; a thread that waits notices within 100 ms.

    Args:
        start: the time of day to begin with, with a time zone; 2024 begins by default.

    Example:
        >>> from eventlog import testing
        >>> clock = testing.ManualClock()
        >>> with testing.open(clock=clock) as log:
        ...     orders = log.topic("orders", value=str)
        ...     first = orders.append("tea")
        ...     clock.advance(60.0)
        ...     orders.append("milk").timestamp_ms - first.timestamp_ms
        60000
    """

    def __init__(self, start: datetime = _BEGINNING) -> None:
        self._monotonic = SystemClock.monotonic
        self._now_ms = to_ms(start)
        self._advanced_s = 0.0

    @property
    def now(self) -> datetime:
        """The time of day, in UTC."""
        return from_ms(self._now_ms)

    def now_ms(self) -> int:
        """The time of day, in milliseconds since 1970 UTC."""
        return self._now_ms

    def monotonic(self) -> float:
        """Elapsed time in seconds; goes on by itself, and with each `advance`."""
        return self._monotonic() + self._advanced_s

    def advance(self, seconds: float | timedelta) -> None:
        """
        Let time pass: move the time of day and elapsed time forward.

        Raises:
            ValueError: if `seconds` is negative, or above 1e9. Nothing was moved; `set()` puts the time of day back.
            TypeError: if it is no number. Nothing was moved.
        """
        passed_s = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
        if isinstance(passed_s, bool) or not isinstance(passed_s, (int, float)):
            raise TypeError(f"seconds must be a number of seconds or a timedelta, not {seconds!r}. Nothing was moved.")
        if not 0.0 <= passed_s <= _LONGEST_SECONDS:
            raise ValueError(
                f"time passes forward, by 1e9 s at most, not by {seconds!r}. Nothing was moved. Use set() to put the "
                "time of day back."
            )
        self._advanced_s += passed_s
        self._now_ms += round(passed_s * 1000)

    def set(self, moment: datetime) -> None:
        """
        Set the time of day alone, forward or back, as an operator may.

        No lease and no pause ends by it.
        """
        self._now_ms = to_ms(moment)

    def __repr__(self) -> str:
        return f"<ManualClock {self.now.isoformat()}>"
