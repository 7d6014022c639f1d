"""States are opened as they were made, and anybody reads the newest commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import eventlog
from eventlog.clients.state.state import StateView, open_state, view
from eventlog.errors import (
    DecodeError,
    StateMismatch,
    TransactionEnded,
    UnknownState,
)
from eventlog.store.lmdb.environment import STATE
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.states.rows import state_prefix
from tests.clients.states import Begin, Deal, fill, stored


@pytest.fixture
def begin(log: eventlog.EventLog) -> Begin:
    """What begins a transaction with the state "totals"."""
    return partial(Deal, log._store)


def test_a_view_reads_the_newest_commit(begin: Begin) -> None:
    """At each call."""
    fill(begin, {"a": 1})
    deal = begin()
    seen: StateView[Any, Any] = view(deal.store, "totals", None, None, check=deal.check)
    assert (seen.name, repr(seen), seen["a"], seen.get("b"), seen.get("b", 0)) == (
        "totals",
        "<StateView 'totals'>",
        1,
        None,
        0,
    )
    fill(begin, {"b": 2})
    assert seen["b"] == 2
    assert "b" in seen
    assert "c" not in seen
    assert list(seen) == list(seen.keys()) == ["a", "b"]
    assert list(seen.values(is_reversed=True)) == [2, 1]
    assert list(seen.items(max_rows=1)) == [("a", 1)]
    deal.is_ended = True
    for call in (lambda: seen.get("a"), lambda: "a" in seen, lambda: seen.items()):
        with pytest.raises(TransactionEnded):
            call()


def test_a_view_makes_no_state(log: eventlog.EventLog) -> None:
    """A name that was mistyped would be there for ever."""
    with pytest.raises(UnknownState, match=r"no state 'totals'.*log.states\(\)"):
        view(log._store, "totals", None, None, check=lambda: None)


@pytest.mark.parametrize("name", ["", "x" * 250, "a\nb", "\ud800"])
def test_a_state_has_a_printable_name(log: eventlog.EventLog, name: str) -> None:
    """Of 249 bytes at most, as a group has."""
    for call in (open_state, partial(view, check=lambda: None)):
        with pytest.raises(ValueError, match="not a valid state name"):
            call(log._store, name, None, None)
        with pytest.raises(TypeError, match="the state name must be a str"):
            call(log._store, 5, None, None)


def test_a_state_is_opened_as_it_was_made(begin: Begin) -> None:
    """Other codecs are refused, and none means those that are stored."""
    made = begin(key=str, value=int)
    assert begin().state._row == begin(key=str, value="int").state._row == made.state._row
    for key, value in ((int, None), (None, str), (tuple, "json")):
        with pytest.raises(StateMismatch, match=r"state 'totals'.*unchanged"):
            begin(key=key, value=value)
        with pytest.raises(StateMismatch, match="state 'totals'"):
            view(made.store, "totals", key, value, check=made.check)
    with pytest.raises(TypeError, match=r"state 'other'.*Nothing was stored"):
        begin("other", key=complex)
    with pytest.raises(TypeError, match=r"state 'other'.*Nothing was stored"):
        begin("other", value=complex)
    with pytest.raises(UnknownState):
        view(made.store, "other", None, None, check=made.check)


def test_who_uses_a_deleted_state_is_told(begin: Begin) -> None:
    """A view where it finds nothing, a transaction where it scans or commits."""
    fill(begin, {"a": 1})
    deal = begin()
    seen = view(deal.store, "totals", None, None, check=deal.check)
    deal.store.delete_state("totals")
    begin()
    deal.state["a"] = 2
    for call in (
        lambda: seen["a"],
        lambda: seen.get("a"),
        lambda: "a" in seen,
        lambda: list(seen.items()),
        lambda: list(deal.state.items()),
        deal.commit,
    ):
        with pytest.raises(UnknownState, match=r"state 'totals'.*was deleted"):
            call()
    assert stored(deal.store) == {}


class Damage(CommitRequest):
    """Writes what a failing disk might give back into a row."""

    def __init__(self, key: bytes, data: bytes) -> None:
        super().__init__()
        self.row = (key, data)

    def apply(self, writing: WriteTransaction) -> None:
        """Puts it."""
        writing.put(STATE, *self.row)


def calls_on(state: StateView[Any, Any], key: Any) -> Iterator[Callable[[], object]]:
    """What reads the value of a key."""
    yield lambda: state[key]
    yield lambda: state.get(key)
    yield lambda: list(state.items())
    yield lambda: list(state.values())


def test_a_damaged_value_is_a_decode_error(begin: Begin) -> None:
    """The row can be replaced all the same."""
    fill(begin, {"a": 1, "k": 1})
    deal = begin()
    prefix = state_prefix(deal.state._row.id)
    deal.store.run(Damage(prefix + deal.state._key_codec.encode("k"), b"\xc1"))
    for state in (deal.state, view(deal.store, "totals", None, None, check=deal.check)):
        for call in calls_on(state, "k"):
            with pytest.raises(DecodeError, match=r"state 'totals'.*The row is as it was"):
                call()
        assert "k" in state
        assert list(state.keys()) == ["a", "k"]
    deal.state["k"] = 2
    deal.commit()
    assert stored(deal.store) == {"a": 1, "k": 2}


def test_a_damaged_key_is_a_decode_error(begin: Begin) -> None:
    """Where it is met by a scan."""
    deal = begin()
    deal.store.run(Damage(state_prefix(deal.state._row.id) + b"\xee", b"\x01"))
    for call in (lambda: list(deal.state.items()), lambda: list(deal.state.keys())):
        with pytest.raises(DecodeError, match=r"state 'totals'.*xee"):
            call()


def test_several_rows_are_read_at_once(log: eventlog.EventLog) -> None:
    """What is missing is left out; a view and a transaction agree, and a transaction sees its own writes."""
    with log.transaction() as tx:
        totals = tx.state("totals", key=str, value=int)
        totals["a"], totals["b"] = 1, 2
        assert totals.get_many(["a", "b", "c", "a"]) == {"a": 1, "b": 2}
    assert log.state("totals").get_many(["b", "c"]) == {"b": 2}
    with log.transaction() as tx:
        totals = tx.state("totals")
        totals["b"] = 7
        del totals["a"]
        assert totals.get_many(["a", "b", "c"]) == {"b": 7}


def test_rows_read_at_once_are_checked_at_the_commit(log: eventlog.EventLog) -> None:
    """A row that was missing then, and is there now, is a conflict."""
    slow = log.transaction()
    assert slow.state("totals").get_many(["a", "b"]) == {}
    with log.transaction() as fast:
        fast.state("totals")["b"] = 1
    slow.state("totals")["z"] = 1
    with pytest.raises(eventlog.ConflictError):
        slow.commit()
