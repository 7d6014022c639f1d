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
        assert projection.position == 0
    assert projection.catch_up() == 1
    assert calls == [0, 0, 0]
