"""What follows the order of the log comes to its end, and misses no topic that is made meanwhile."""

from __future__ import annotations

import pytest

import eventlog


def put(state, record):
    """Folds a record into a state."""
    state[record.value] = record.topic


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_projection_comes_to_the_end_where_the_last_records_were_deleted(log: eventlog.EventLog, is_whole) -> None:
    """Their positions are passed by, though no row of the order is left that says so."""
    log.topic("kept").append(b"first")
    doomed = log.topic("doomed")
    doomed.append_many([b"second", b"third"])
    projection = log.projection("all", put, on_out_of_range="earliest")
    if is_whole:
        log.delete_topic("doomed")
    else:
        doomed.delete_records({0: 2})
    assert projection.catch_up(timeout=20.0) == 1
    assert (projection.log_position, projection.lag) == (3, 0)
    projection.wait(timeout=0.0)
    log.topic("kept").append(b"fourth")
    assert projection.catch_up(timeout=20.0) == 1
    assert list(projection.state) == [b"first", b"fourth"]


def test_a_rebuild_comes_to_the_end_where_all_was_deleted(log: eventlog.EventLog) -> None:
    """It replaces the present state all the same."""
    log.topic("doomed").append_many([b"first", b"second"])
    projection = log.projection("all", put)
    projection.catch_up()
    log.delete_topic("doomed")
    assert projection.rebuild(timeout=20.0) == 0
    assert list(projection.state) == []
    assert projection.log_position == 2


def test_a_topic_that_is_made_during_a_look_is_not_passed_by(log: eventlog.EventLog, monkeypatch) -> None:
    """A topic that was chosen by its name may come, with records, between the choice and the look."""
    log.topic("other").append(b"passed by")
    scan, made = log._store.scan_order, []

    def scan_late(*arguments, **options):
        if not made:
            made.append(log.topic("late").append(b"kept"))
        return scan(*arguments, **options)

    monkeypatch.setattr(log._store, "scan_order", scan_late)
    projection = log.projection("late ones", put, topics=["late"])
    projection.catch_up()
    projection.catch_up()
    assert list(projection.state) == [b"kept"]
    assert projection.log_position == 2
