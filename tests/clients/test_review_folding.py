"""What the function of a projection raises comes out, whatever it is."""

from __future__ import annotations

import pytest

import eventlog


def test_a_conflict_of_the_function_is_raised_once(log: eventlog.EventLog) -> None:
    """A function may use transactions of its own; their errors say nothing of the projection."""
    log.topic("orders").append(b"tea")
    calls: list[int] = []

    def fold(state, record):
        calls.append(record.offset)
        assert len(calls) < 10, "it is called again and again"
        if len(calls) < 3:
            raise eventlog.ConflictError("others were faster")
        state[record.value] = 1

    projection = log.projection("orders", fold)
    for _ in range(2):
        with pytest.raises(eventlog.ConflictError, match="others were faster"):
            projection.catch_up()
        assert projection.log_position == 0
    assert projection.catch_up() == 1
    assert calls == [0, 0, 0]


def test_what_get_many_has_read_is_not_stale_after_a_scan(log: eventlog.EventLog) -> None:
    """A row that is changed after it, by another transaction of the projection, is as it was changed."""
    numbers = log.topic("numbers", value=int)

    def fold(state, record):
        if record.value == 1:
            state.get_many(["sum", "other"])
        if record.value == 3:
            assert list(state.items()) == [("sum", 3)]
            assert state.get_many(["sum", "other"]) == {"sum": 3}
        state["sum"] = state.get("sum", 0) + record.value

    numbers.append(0)
    log.projection("sum", fold).catch_up()
    numbers.append_many([1, 2, 3, 4])
    projection = log.projection("sum", fold, max_records=1)
    assert projection.catch_up() == 4
    assert dict(projection.state.items()) == {"sum": 10}
