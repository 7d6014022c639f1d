"""A state that one projection owns stays known from one transaction to the next."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

import eventlog
from eventlog.clients.state import row_cache
from eventlog.store.store import Store
from tests.clients.states import Begin, Deal, fill, stored


@pytest.fixture
def begin(log: eventlog.EventLog) -> Begin:
    """What begins a transaction with the state "totals"."""
    return partial(Deal, log._store)


def counted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The keys of the rows that are read from now on."""
    reads: list[bytes] = []
    read_row = Store.read_state_row

    def read(store: Store, state: Any, key: bytes) -> bytes | None:
        reads.append(key)
        return read_row(store, state, key)

    monkeypatch.setattr(Store, "read_state_row", read)
    return reads


def test_an_owned_state_reads_each_row_once(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows stay known from one transaction to the next, and nothing of them is checked."""
    fill(begin, {"a": 1, "b": [1]})
    reads = counted(monkeypatch)
    deal = begin(is_owned=True)
    for number in range(3):
        deal.state["a"] = deal.state["a"] + 1
        deal.state["b"] = [*deal.state["b"], number]
        deal.state.get("none")
        list(deal.state.items())
        changes = deal.state._changes()
        assert (changes.reads, changes.scans, len(changes.writes)) == ({}, (), 2)
        deal.commit()
        assert deal.state._changes().writes == {}
    assert len(reads) == 3
    assert stored(deal.store) == {"a": 4, "b": [1, 0, 1, 2]}
    assert dict(deal.state.items()) == stored(deal.store)


def test_an_owned_state_that_was_empty_reads_nothing(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row it does not know is not there."""
    reads = counted(monkeypatch)
    deal = begin(is_owned=True)
    deal.state._cache.knows_all = True
    for number in range(100):
        deal.state[number % 10] = deal.state.get(number % 10, 0) + 1
        if number % 7 == 0:
            deal.commit()
    deal.commit()
    assert reads == []
    assert stored(deal.store) == dict.fromkeys(range(10), 10)


def test_an_owned_state_forgets_what_was_rolled_back(begin: Begin) -> None:
    """It then reads what is stored, for it knows nothing any more."""
    deal = begin(is_owned=True)
    deal.state._cache.knows_all = True
    deal.state["a"] = 1
    deal.commit()
    deal.state["a"] = 2
    deal.state["b"] = 2
    deal.state._rolled_back()
    assert (deal.state.get("a"), deal.state.get("b")) == (1, None)


def test_an_owned_state_knows_so_many_rows(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """By size; the oldest are forgotten, and read again when they are wanted."""
    monkeypatch.setattr(row_cache, "MOST_CACHED_BYTES", 80 * (row_cache.ROW_BYTES + 9 + row_cache.ITEM_BYTES))
    deal = begin(is_owned=True)
    deal.state._cache.knows_all = True
    for number in range(100):
        deal.state[number] = number
        deal.state.get(-number - 1)
    deal.commit()
    cache = deal.state._cache
    assert 70 <= len(cache.rows) == len(cache.tables[int]) <= 72
    assert [deal.state[number] for number in range(100)] == list(range(100))
    deal.commit()
    monkeypatch.setattr(row_cache, "MOST_CACHED_BYTES", 10_000)
    deal.state["large"] = "x" * 20_000
    deal.commit()
    assert deal.state._cache.size_bytes == 0
    assert not deal.state._cache.rows
    assert deal.state["large"] == "x" * 20_000


def test_an_owned_state_is_charged_in_every_transaction(begin: Begin) -> None:
    """For what it writes in it; what it merely knows takes nothing of the bound."""
    deal = begin(is_owned=True)
    deal.state["k"] = 1
    charged_bytes = (1 << 30) - deal.room_bytes
    deal.commit()
    deal.state["k"]
    assert (1 << 30) - deal.room_bytes == charged_bytes
    deal.state["k"] = 2
    assert (1 << 30) - deal.room_bytes == 2 * charged_bytes
