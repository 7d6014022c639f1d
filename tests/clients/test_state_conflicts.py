"""A commit is refused if anything that the transaction read of a state has changed."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventlog
from eventlog.clients.state.state import State
from eventlog.errors import (
    ConflictError,
)
from eventlog.store.states.commands import ApplyStateChanges
from tests.clients.states import Begin, Deal, fill, scanned, stored


@pytest.fixture
def begin(log: eventlog.EventLog) -> Begin:
    """What begins a transaction with the state "totals"."""
    return partial(Deal, log._store)


def test_an_update_is_not_lost(begin: Begin) -> None:
    """Of two that read the same row and write it, the second must do it again."""
    fill(begin, {"k": 1})
    one, two = begin(), begin()
    one.state["k"] += 1
    two.state["k"] += 1
    one.commit()
    with pytest.raises(ConflictError, match="state 'totals'"):
        two.commit()
    assert stored(one.store) == {"k": 2}


def test_who_only_writes_has_no_conflict(begin: Begin) -> None:
    """The last one wins, as nobody decided anything by what was there."""
    one, two = begin(), begin()
    one.state["k"] = 1
    two.state["k"] = 2
    two.commit()
    one.commit()
    assert stored(one.store) == {"k": 1}


def test_write_skew_is_prevented(begin: Begin) -> None:
    """Two doctors on call, each goes home because the other one is there."""
    fill(begin, {"alice": True, "bob": True})
    one, two = begin(), begin()
    assert one.state["bob"]
    assert two.state["alice"]
    one.state["alice"] = False
    two.state["bob"] = False
    one.commit()
    with pytest.raises(ConflictError):
        two.commit()


def test_a_phantom_is_a_conflict(begin: Begin) -> None:
    """A row that came into a range after it was counted."""
    fill(begin, {("r1", 1): "alice"})
    one, two = begin(), begin()
    for deal in (one, two):
        count = len(list(deal.state.keys(prefix=("r1",))))
        deal.state["r1", count + deal.state._row.id] = "bob"
    one.commit()
    with pytest.raises(ConflictError, match="range that it scanned"):
        two.commit()


def test_a_scan_that_was_stopped_is_checked_as_far_as_it_went(begin: Begin) -> None:
    """Also while it still runs, and where the last row it gave was the transaction's own."""
    fill(begin, {"a": 1, "f": 1, "k": 1})
    for key, is_conflict in (("ff", False), ("g", False), ("e", True)):
        deal = begin()
        deal.state["ef"] = 5
        rows = deal.state.items()
        assert [next(rows), next(rows)] == [("a", 1), ("ef", 5)]
        fill(begin, {key: key})
        if is_conflict:
            with pytest.raises(ConflictError):
                deal.commit()
        else:
            deal.commit()


def test_a_read_of_nothing_is_checked(begin: Begin) -> None:
    """A scan of no rows by its bound reads nothing; a scan of an empty range reads that it is empty."""
    deal = begin()
    assert list(deal.state.items(max_rows=0)) == []
    fill(begin, {"a": 1})
    deal.commit()
    deal = begin()
    assert list(deal.state.items("x")) == []
    fill(begin, {"y": 1})
    with pytest.raises(ConflictError):
        deal.commit()


def test_a_row_put_as_it_was_read_is_checked_and_not_written(begin: Begin) -> None:
    """It costs no write; blind writes are always written."""
    fill(begin, {"a": 1, "b": 1})
    deal = begin()
    deal.state["a"] = deal.state["a"]
    deal.state["b"] = 1
    changes = deal.state._changes()
    assert len(changes.reads) == len(changes.writes) == 1
    assert changes.reads.keys().isdisjoint(changes.writes)


OPERATIONS = st.one_of(
    st.tuples(st.just("get"), st.sampled_from("abc")),
    st.tuples(st.just("add"), st.sampled_from("abc")),
    st.tuples(st.just("put"), st.sampled_from("abc"), st.integers(0, 2)),
    st.tuples(st.just("delete"), st.sampled_from("abc")),
    st.tuples(st.just("scan"), st.sampled_from("abc"), st.none() | st.integers(1, 2), st.booleans()),
    st.tuples(st.just("commit")),
)
HISTORIES = st.lists(st.tuples(st.integers(0, 2), OPERATIONS), max_size=30)


def perform(state: Any, operation: tuple[Any, ...]) -> object:
    """Does one thing to a state or to a dict; what it told of what is there."""
    name, *arguments = operation
    if name == "get":
        return state.get(*arguments)
    if name == "add":
        before = state.get(*arguments, 0)
        state[arguments[0]] = (before or 0) + 1
        return before
    if name == "put":
        state[arguments[0]] = arguments[1]
        return None
    if name == "delete":
        return state.delete(*arguments) if isinstance(state, State) else state.pop(*arguments, None) is not None
    first, count, is_reversed = arguments
    if isinstance(state, State):
        rows = state.items(first, is_reversed=is_reversed)
        found = [row for _, row in zip(range(count or 9), rows, strict=False)]
        rows.close()  # type: ignore[attr-defined]
        return found
    return scanned(state, {"first": first, "is_reversed": is_reversed})[:count]


def first_difference(history: list[tuple[int, tuple[Any, ...]]]) -> object:
    """What a serial run of the committed ones of three transactions at once shows otherwise; None if nothing."""
    with eventlog.open(":memory:") as log:
        begin = partial(Deal, log._store, key=str)
        deals = [begin() for _ in range(3)]
        done: list[list[tuple[Any, object]]] = [[], [], []]
        model: dict[str, int] = {}
        for place, operation in [*history, *((place, ("commit",)) for place in range(3))]:
            if operation[0] != "commit":
                done[place].append((operation, perform(deals[place].state, operation)))
                continue
            try:
                deals[place].commit()
            except ConflictError:
                pass
            else:
                for one, told in done[place]:
                    if (expected := perform(model, one)) != told:
                        return place, one, told, expected
                if stored(log._store) != model:
                    return stored(log._store), model
            deals[place], done[place] = begin(), []
    return None


@given(HISTORIES)
def test_transactions_have_the_effect_of_one_after_the_other(history: list[Any]) -> None:
    """What each of them was told is what it would have been told had it run alone at the moment of its commit."""
    assert first_difference(history) is None


@pytest.mark.parametrize(
    "history",
    [
        [(0, ("get", "a")), (1, ("put", "a", 1)), (1, ("commit",))],
        [(0, ("add", "a")), (1, ("add", "a"))],
        [(0, ("scan", "a", None, False)), (1, ("put", "b", 1)), (1, ("commit",))],
    ],
)
def test_without_the_check_the_difference_is_found(history: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that finds nothing in a store that checks nothing would be no test."""
    assert first_difference(history) is None
    monkeypatch.setattr(ApplyStateChanges, "check", lambda *_: None)
    assert first_difference(history) is not None
