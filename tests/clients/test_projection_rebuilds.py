"""A projection is rebuilt beside the state that readers see, which it then replaces in one commit."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import eventlog
from eventlog.store.lmdb.environment import STATE
from tests.clients.helpers import PATIENCE_SECONDS, in_threads
from tests.clients.projections import count, count_from_hundred, counted, filled, started


def test_a_rebuild_replaces_the_state_when_it_has_caught_up(log: eventlog.EventLog) -> None:
    """Readers see the old state until then; a view that is held sees the new one after."""
    filled(log, 30)
    old = log.projection("totals", count)
    old.catch_up()
    view = old.state
    seen: list[dict[str, int]] = []

    def function(state: Any, record: Any) -> None:
        count_from_hundred(state, record)
        seen.append(dict(view.items()))

    new = log.projection("totals", function, max_records=7)
    assert new.rebuild() == 30
    assert all(state == counted(30) for state in seen)
    expected = {key: total + 100 for key, total in counted(30).items()}
    assert dict(view.items()) == expected
    assert view["alice"] == 110
    assert "dave" not in view
    assert old.catch_up() == 0
    row = log._store.projection("totals")
    assert row is not None
    assert (row.rebuilding, row.doomed, row.active.log_position) == (None, (), 30)


def test_a_rebuild_beside_a_run_and_appends_loses_nothing(log: eventlog.EventLog) -> None:
    """Everything that is appended meanwhile is in the new state once, and the run goes on with it."""
    topic = filled(log, 500)
    projection = log.projection("totals", count)
    stop = threading.Event()
    appended = [0]

    def append() -> None:
        while not stop.is_set():
            topic.append(1, key="dave")
            appended[0] += 1

    def rebuild() -> None:
        try:
            for _ in range(5):
                log.projection("totals", count, max_records=50).rebuild(timeout=PATIENCE_SECONDS)
        finally:
            stop.set()

    with started(projection):
        in_threads(append, rebuild)
        projection.wait(timeout=PATIENCE_SECONDS)
    assert dict(projection.state.items()) == {**counted(500), "dave": appended[0]}


def test_a_rebuild_that_fails_leaves_the_state_and_the_next_begins_anew(log: eventlog.EventLog) -> None:
    """What is left of it is removed by the next."""
    filled(log, 30)
    projection = log.projection("totals", count)
    projection.catch_up()

    def failing(state: Any, record: Any) -> None:
        count_from_hundred(state, record)
        if record.value == 25:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        log.projection("totals", failing, max_records=10).rebuild()
    assert dict(projection.state.items()) == counted(30)
    left = log._store.projection("totals")
    assert left is not None
    assert left.rebuilding is not None
    assert left.rebuilding.log_position == 20
    assert projection.rebuild() == 30
    assert dict(projection.state.items()) == counted(30)
    row = log._store.projection("totals")
    assert row is not None
    assert (row.rebuilding, row.doomed) == (None, ())
    with log._store.environment.reading() as transaction:
        assert transaction.stat(log._store.environment.table(STATE))["entries"] == 3


def test_other_topics_or_codecs_need_a_rebuild(log: eventlog.EventLog) -> None:
    """Until then folding is refused and says what to do; the old state is unchanged."""
    filled(log, 6)
    log.projection("totals", count).catch_up()
    other_topics = log.projection("totals", count, topics=["orders"])
    with pytest.raises(eventlog.StateMismatch, match=r"rebuild\(\)"):
        other_topics.catch_up()
    other_codecs = log.projection("totals", count, key=str, value=int)
    with pytest.raises(eventlog.StateMismatch):
        other_codecs.catch_up()
    with pytest.raises(eventlog.StateMismatch):
        other_codecs.state.get("alice")
    assert other_codecs.rebuild() == 6
    assert dict(other_codecs.state.items()) == counted(6)
    assert other_topics.rebuild() == 6
    assert other_topics.catch_up() == 0
