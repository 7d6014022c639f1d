"""What is put into a state comes back as it was put, and is a copy; what does not fit is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs
import pytest

import eventlog
from eventlog.backend.states import StateChanges
from eventlog.clients.state.state import view
from tests.clients.states import Begin, Deal


@pytest.fixture
def begin(log: eventlog.EventLog) -> Begin:
    """What begins a transaction with the state "totals"."""
    return partial(Deal, log._store)


@pytest.mark.parametrize("value", ["msgpack", "json"])
def test_values_are_copies(begin: Begin, value: str) -> None:
    """Changing what was put, or what was handed out, changes nothing that is stored."""
    put: dict[str, list[int]] = {"items": [1]}
    deal = begin(value=value)
    deal.state["k"] = put
    put["items"].append(2)
    deal.state["k"]["items"].append(3)
    next(deal.state.values())["items"].append(4)
    assert deal.state["k"] == {"items": [1]}
    deal.commit()
    deal = begin()
    deal.state["k"]["items"].append(5)
    assert deal.state["k"] == {"items": [1]}
    assert deal.state._changes().writes == {}


@attrs.define
class Account:
    """A value of a state."""

    balance: int
    owner: str = ""


def test_instances_of_a_class_are_copies(begin: Begin) -> None:
    """Also those that were put in this transaction."""
    deal = begin(value=Account)
    account = Account(5)
    deal.state["a"] = account
    account.balance = 7
    assert deal.state["a"] == Account(5)
    assert deal.state["a"] is not deal.state["a"]
    deal.commit()
    assert begin(value=Account).state["a"] == Account(5)


@pytest.mark.parametrize(
    ("value", "given"),
    [
        ("msgpack", [0, -(2**63), 2**64 - 1, True, 1.5, -0.0, "", "tea", "t\xe9a", b"", b"tea", [1], {"a": 1}]),
        ("json", [0, 2**70, False, 1.5, "", "tea", "t\xe9a", [1], {"a": 1}]),
        (int, [0, -(2**63), 2**63 - 1]),
        (str, ["", "tea", "t\xe9a"]),
        (bytes, [b"", b"tea"]),
    ],
)
def test_values_come_back(begin: Begin, value: Any, given: list[Any]) -> None:
    """Before the commit as after it, of the same type."""
    deal = begin(value=value)
    for number, one in enumerate(given):
        deal.state[number] = one
    for state in (deal.state, begin().state):
        for number, one in enumerate(given):
            found = state[number]
            assert (found, type(found)) == (one, type(one))
        assert list(state.values()) == given
        if not deal.is_ended:
            deal.commit()
            deal.is_ended = False


def test_bytes_take_text_and_give_bytes(begin: Begin) -> None:
    """As the same codec does for records, before the commit too."""
    deal = begin(value=bytes)
    deal.state["k"] = "tea"
    assert deal.state["k"] == b"tea"
    deal.state["k"] = bytearray(b"pot")
    assert deal.state["k"] == b"pot"


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("msgpack", [None, object(), 2**64, "\ud800", {"a": object()}]),
        ("json", [None, b"", float("nan"), {1: 2}]),
        (int, [None, True, 1.0, 2**63, "1"]),
        (str, [None, 1, b"", "\ud800"]),
        (bytes, [None, 1]),
        (Account, [None, {"balance": 5}, Account("five")]),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_value_is_refused_at_the_call(begin: Begin, value: Any, wrong: list[Any]) -> None:
    """The row is as it was; None would look like a row that is not there."""
    deal = begin(value=value)
    for one in wrong:
        with pytest.raises(TypeError, match="Nothing was"):
            deal.state["k"] = one
    assert "k" not in deal.state
    assert deal.state._changes().writes == {}


@pytest.mark.parametrize("key", [None, 1.5, True, [1], object(), ("a", None), "\ud800", 2**64])
def test_what_is_no_key_is_refused_at_the_call(begin: Begin, key: Any) -> None:
    """By every method."""
    deal = begin()
    calls: list[Callable[..., Any]] = [deal.state.get, deal.state.delete, deal.state.__contains__]
    calls += [view(deal.store, "totals", None, None, check=deal.check).get]
    for call in (*calls, lambda key: deal.state.put(key, 1)):
        with pytest.raises(TypeError):
            call(key)
    with pytest.raises(ValueError, match="500"):
        deal.state["k" * 501] = 1
    assert deal.state._changes() == StateChanges(deal.state._row)


def test_a_scan_is_refused_at_the_call(begin: Begin) -> None:
    """Not at its first row."""
    state = begin().state
    with pytest.raises(TypeError):
        state.items(1.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        state.keys(prefix=5)
    with pytest.raises(ValueError, match="prefix= and a range"):
        state.values("a", prefix="a")
    with pytest.raises(ValueError, match="max_rows"):
        state.items(max_rows=-1)
    assert list(state.items("b", "a")) == []
