"""A state in a transaction is a mapping that shows its own writes, in the order of the keys."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventlog
from eventlog.clients.state.state import view
from eventlog.errors import (
    TransactionEnded,
    TransactionTooLarge,
)
from tests.clients.states import Begin, Deal, fill, scanned, stored


@pytest.fixture
def begin(log: eventlog.EventLog) -> Begin:
    """What begins a transaction with the state "totals"."""
    return partial(Deal, log._store)


def test_a_transaction_sees_its_own_writes(begin: Begin) -> None:
    """Nobody else does before the commit."""
    fill(begin, {"alice": 1, "bob": 2})
    deal = begin()
    state = deal.state
    state["alice"] = 5
    state.put("carol", 3)
    assert state.delete("bob")
    assert not state.delete("bob")
    assert not state.delete("nobody")
    assert (state["alice"], state.get("bob"), state.get("bob", 0), state["carol"]) == (5, None, 0, 3)
    assert "alice" in state
    assert "bob" not in state
    assert list(state) == ["alice", "carol"]
    assert stored(deal.store) == {"alice": 1, "bob": 2}
    deal.commit()
    assert stored(deal.store) == {"alice": 5, "carol": 3}


def test_a_missing_key_is_a_key_error(begin: Begin) -> None:
    """As of any mapping; also when it was deleted a moment ago."""
    deal = begin()
    deal.state["a"] = 1
    del deal.state["a"]
    seen = view(deal.store, "totals", None, None, check=deal.check)
    for call in (lambda: deal.state["a"], lambda: deal.state.__delitem__("a"), lambda: seen["a"]):
        with pytest.raises(KeyError, match="a"):
            call()


KEYS = st.text("ab\0\xff", max_size=2)
VALUES = st.integers(-5, 5) | st.text("x\xe9", max_size=2) | st.lists(st.integers(0, 3), max_size=2) | st.booleans()
RANGES = st.fixed_dictionaries(
    {"first": st.none() | KEYS, "end": st.none() | KEYS, "is_reversed": st.booleans()},
    optional={"max_rows": st.integers(0, 4)},
)
PREFIXES = st.fixed_dictionaries({"prefix": KEYS, "is_reversed": st.booleans()})
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, VALUES),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("get"), KEYS),
        st.tuples(st.just("scan"), RANGES | PREFIXES),
        st.tuples(st.just("commit")),
        st.tuples(st.just("abort")),
    ),
    max_size=30,
)


@given(STEPS, st.booleans(), st.sampled_from(["msgpack", "json"]))
def test_a_state_is_as_a_dict(steps: list[Any], is_owned: bool, value: str) -> None:
    """Whatever is put, deleted, read and scanned, committed and taken back, in transactions one after the other."""
    with eventlog.open(":memory:") as log:
        begin = partial(Deal, log._store, key=str, value=value, is_owned=is_owned)
        deal = begin()
        deal.state._cache.knows_all = is_owned
        kept: dict[Any, Any] = {}
        model: dict[Any, Any] = {}
        for name, *arguments in [*steps, ("commit",)]:
            if name == "put":
                deal.state[arguments[0]] = arguments[1]
                model[arguments[0]] = arguments[1]
            elif name == "delete":
                assert deal.state.delete(*arguments) == (arguments[0] in model)
                model.pop(arguments[0], None)
            elif name == "get":
                found = deal.state.get(*arguments)
                assert (found, type(found)) == (model.get(*arguments), type(model.get(*arguments)))
                assert (arguments[0] in deal.state) == (arguments[0] in model)
            elif name == "scan":
                rows = scanned(model, arguments[0])
                assert list(deal.state.items(**arguments[0])) == rows
                assert list(deal.state.keys(**arguments[0])) == [key for key, _ in rows]
                assert list(deal.state.values(**arguments[0])) == [value for _, value in rows]
            elif name == "commit":
                deal.commit()
                kept = dict(model)
                assert stored(log._store) == kept
                deal = deal if is_owned else begin()
            else:
                deal.state._rolled_back()
                model = dict(kept)
                deal = deal if is_owned else begin()


def test_scans_merge_over_many_parts(begin: Begin) -> None:
    """Stored rows come in parts; those of the transaction are before, between and behind them."""
    model = {f"{number:05}": "v" * 20 for number in range(0, 20_000, 3)}
    fill(begin, model)
    deal = begin()
    for number in range(0, 20_100, 7):
        deal.state[f"{number:05}"] = number
        model[f"{number:05}"] = number  # type: ignore[assignment]
    for number in range(0, 20_000, 5):
        assert deal.state.delete(f"{number:05}") == (model.pop(f"{number:05}", None) is not None)
    assert list(deal.state.items()) == sorted(model.items())
    assert list(deal.state.items(is_reversed=True)) == sorted(model.items(), reverse=True)
    assert (
        list(deal.state.keys("00100", "19000", max_rows=5000))
        == sorted(key for key in model if "00100" <= key < "19000")[:5000]
    )
    deal.commit()
    assert stored(deal.store) == model


def test_tuples_have_prefixes(begin: Begin) -> None:
    """Their first items."""
    deal = begin(key=tuple)
    for customer in ("alice", "bob"):
        for number in range(3):
            deal.state[customer, number] = number
    deal.commit()
    assert list(begin().state.keys(prefix=("alice",))) == [("alice", 0), ("alice", 1), ("alice", 2)]
    assert list(begin().state.keys(("alice", 1), ("bob", 1))) == [("alice", 1), ("alice", 2), ("bob", 0)]


def test_keys_that_are_equal_but_of_other_types_are_no_keys(begin: Begin) -> None:
    """Also when the row they would mean is known."""
    for key, others in ((1, (True, 1.0)), (("a", 1), (("a", True), ("a", 1.0)))):
        deal = begin(f"of {key!r}")
        deal.state[key] = 5
        for other in others:
            for call in (
                partial(deal.state.get, other),
                partial(deal.state.put, other, 6),
                partial(deal.state.delete, other),
            ):
                with pytest.raises(TypeError, match="Nothing was changed"):
                    call()
        assert list(deal.state.items()) == [(key, 5)]


def test_rows_may_be_written_while_they_are_scanned(begin: Begin) -> None:
    """Values are those of the moment; what was deleted does not come; what is new does not go on for ever."""
    fill(begin, {"a": 1, "b": 1, "c": 1, "d": 1})
    deal = begin()
    seen = []
    for key, value in deal.state.items():
        seen.append((key, value))
        deal.state["c"] = 2
        deal.state.delete("d")
        deal.state[key + "x"] = 3
    assert seen == [("a", 1), ("b", 1), ("c", 2)]
    assert [*deal.state] == ["a", "ax", "b", "bx", "c", "cx"]
    for key in deal.state:
        del deal.state[key]
    deal.commit()
    assert stored(deal.store) == {}


# --- the bound and the end ------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_not_taken(begin: Begin) -> None:
    """Neither a new row, nor a larger value of a row, nor a read; what is there stays and can be committed."""
    fill(begin, {"large": "x" * 5000})
    deal = begin(room_bytes=1000)
    deal.state["k"] = "small"
    for call in (
        lambda: deal.state.put("k", "x" * 5000),
        lambda: deal.state.put("j", ["x" * 5000]),
        lambda: deal.state["large"],
        lambda: deal.state.delete("large"),
    ):
        with pytest.raises(TransactionTooLarge):
            call()
    deal.room_bytes = 0
    for call in (lambda: deal.state["new"], lambda: deal.state.put("new", 1), lambda: next(deal.state.keys())):
        with pytest.raises(TransactionTooLarge):
            call()
    deal.state["k"] = "other"
    deal.commit()
    assert stored(deal.store) == {"k": "other", "large": "x" * 5000}


def test_rows_written_again_are_charged_once(begin: Begin) -> None:
    """A counter that counts for ever fits."""
    deal = begin()
    deal.state["k"] = 0
    room_bytes = deal.room_bytes
    for number in range(100):
        deal.state["k"] = number
        assert deal.state["k"] == number
    assert deal.room_bytes == room_bytes
    deal.state["k"] = "x" * 100
    assert 0 < room_bytes - deal.room_bytes <= 100


def test_an_ended_transaction_takes_nothing(begin: Begin) -> None:
    """Nor does a scan that was begun before go on."""
    fill(begin, {"a": 1, "b": 2})
    deal = begin()
    rows = deal.state.items()
    next(rows)
    deal.commit()
    for call in (
        lambda: deal.state.get("a"),
        lambda: deal.state.put("a", 1),
        lambda: deal.state.delete("a"),
        lambda: "a" in deal.state,
        lambda: deal.state.items(),
        lambda: next(rows),
    ):
        with pytest.raises(TransactionEnded):
            call()
