"""Moments become milliseconds and come back, in every time zone and before 1970."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventlog.clock import SystemClock, from_ms, to_ms

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
LEAST_MS = to_ms(dt.datetime.min.replace(tzinfo=dt.UTC))
MOST_MS = to_ms(dt.datetime.max.replace(tzinfo=dt.UTC))
ZONES = st.integers(-1439, 1439).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
MOMENTS = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1), timezones=ZONES)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("moment", "timestamp_ms"),
    [
        (EPOCH, 0),
        (EPOCH + dt.timedelta(milliseconds=1), 1),
        (EPOCH - dt.timedelta(milliseconds=1), -1),
        (EPOCH - dt.timedelta(microseconds=1), -1),
        (EPOCH + dt.timedelta(microseconds=999), 0),
        (dt.datetime(2026, 7, 2, 13, 46, 40, 123_999, dt.UTC), 1_783_000_000_123),
        (dt.datetime(1970, 1, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=1))), 0),
        (dt.datetime(1969, 12, 31, 18, 30, tzinfo=dt.timezone(dt.timedelta(hours=-5, minutes=-30))), 0),
    ],
)
def test_moment_is_its_milliseconds_since_1970(moment: dt.datetime, timestamp_ms: int) -> None:
    """A fraction of a millisecond is dropped towards the past, whatever the zone."""
    assert to_ms(moment) == timestamp_ms


def test_the_hour_that_comes_twice_is_two_hours() -> None:
    """At the end of summer time one clock face is two moments."""
    first = dt.datetime(2026, 10, 25, 2, 30, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    second = first.replace(tzinfo=dt.timezone(dt.timedelta(hours=1)))
    assert to_ms(second) - to_ms(first) == 3_600_000


@given(st.integers(LEAST_MS, MOST_MS))
def test_milliseconds_come_back_from_a_moment(timestamp_ms: int) -> None:
    """Every millisecond of the years 1 to 9999 is a moment in UTC and back."""
    moment = from_ms(timestamp_ms)
    assert moment.utcoffset() == dt.timedelta(0)
    assert moment - EPOCH == dt.timedelta(milliseconds=timestamp_ms)
    assert to_ms(moment) == timestamp_ms


@given(MOMENTS, MOMENTS)
def test_order_of_moments_is_order_of_milliseconds(one: dt.datetime, other: dt.datetime) -> None:
    """A later moment never has an earlier timestamp."""
    if one <= other:
        assert to_ms(one) <= to_ms(other)


@pytest.mark.parametrize("timestamp_ms", [0, -5, 2**62])
def test_milliseconds_are_taken_as_they_are(timestamp_ms: int) -> None:
    """An int is a timestamp already."""
    assert to_ms(timestamp_ms) == timestamp_ms


def test_moment_without_a_zone_is_refused() -> None:
    """The same clock face is another moment on another machine; we do not guess."""
    with pytest.raises(ValueError, match=r"no time zone.*astimezone"):
        to_ms(dt.datetime(2026, 7, 2))  # noqa: DTZ001


@pytest.mark.parametrize("moment", [None, True, 1.5, "2026-07-02", dt.date(2026, 7, 2)])
def test_what_is_no_moment_is_a_type_error(moment: Any) -> None:
    """Floats, text and plain dates are not guessed at."""
    with pytest.raises(TypeError, match="datetime with a time zone or an int"):
        to_ms(moment)


def test_clock_of_the_system_tells_both_times() -> None:
    """The time of day is in milliseconds, the elapsed time never goes back."""
    clock = SystemClock()
    before_ms = to_ms(dt.datetime.now(dt.UTC))
    now_ms = clock.now_ms()
    assert before_ms - 60_000 < now_ms < before_ms + 60_000
    assert clock.monotonic() <= clock.monotonic()
