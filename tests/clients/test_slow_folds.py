"""A function that folds slowly holds nothing up: transactions end in time, even in the middle of a batch."""

from __future__ import annotations

from typing import Any

import pytest

from tests.clients.projections import count


def _slow(clock: Any, seconds: float) -> Any:
    def fold(state: Any, record: Any) -> None:
        clock.advance(seconds)
        count(state, record)

    return fold


def _one_batch(log: Any) -> None:
    log.topic("orders", key=str, value=int).append_many(range(100), keys=["alice"] * 100)


def test_a_timeout_ends_a_slow_fold_and_keeps_what_it_has_done(event_log, event_log_clock):
    """The next call goes on there: a program that is killed again and again gets on."""
    _one_batch(event_log)
    projection = event_log.projection("totals", _slow(event_log_clock, 0.4), key=str, value=int)
    with pytest.raises(TimeoutError, match="What was folded is stored"):
        projection.catch_up(timeout=2.0)
    assert projection.log_position == projection.state["alice"] == 5
    assert projection.catch_up() == 95
    assert projection.state["alice"] == 100


def test_what_a_slow_function_has_done_becomes_visible(event_log, event_log_clock):
    """After a second of it, and not after the batch."""
    _one_batch(event_log)
    seen = []

    def fold(state: Any, record: Any) -> None:
        seen.append(projection.log_position)
        event_log_clock.advance(0.4)

    projection = event_log.projection("totals", fold, key=str, value=int)
    assert projection.catch_up() == 100
    assert set(seen) == set(range(0, 100, 3))


def test_a_stop_ends_a_slow_run_in_the_middle_of_a_batch(event_log, event_log_clock):
    """Within a second of its records, as a program needs that has some seconds until it is killed."""
    _one_batch(event_log)

    def fold(state: Any, record: Any) -> None:
        if record.offset == 7:
            projection.stop()
        event_log_clock.advance(0.4)

    projection = event_log.projection("totals", fold, key=str, value=int)
    assert 7 < projection.run() < 12


def test_a_function_that_becomes_slow_is_noticed(event_log, event_log_clock):
    """The clock is looked at now and then, although the function was fast before."""
    event_log.topic("orders", key=str, value=int).append_many(range(2000), keys=["alice"] * 2000)

    def fold(state: Any, record: Any) -> None:
        if record.offset >= 1000:
            event_log_clock.advance(0.4)

    projection = event_log.projection("totals", fold, key=str, value=int)
    with pytest.raises(TimeoutError):
        projection.catch_up(timeout=1.0)
    assert 1000 < projection.log_position < 1100


def test_a_slow_rebuild_ends_in_time(event_log, event_log_clock):
    """And leaves the present state as it was."""
    _one_batch(event_log)
    projection = event_log.projection("totals", count, key=str, value=int)
    assert projection.catch_up() == 100
    slow = event_log.projection("totals", _slow(event_log_clock, 0.4), key=str, value=int)
    before = event_log_clock.now
    with pytest.raises(TimeoutError):
        slow.rebuild(timeout=2.0)
    assert (event_log_clock.now - before).total_seconds() < 4.0
    assert projection.state["alice"] == 100
