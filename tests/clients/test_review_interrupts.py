"""A transaction whose commit is interrupted while another thread stores it."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import eventlog
from tests.clients.helpers import PATIENCE_SECONDS


class Gate:
    """A piece of a transaction that stops whoever stores it, after the check of the records."""

    def __init__(self) -> None:
        self.is_reached = threading.Event()
        self.is_open = threading.Event()

    def check(self, writing: Any) -> None:
        """Waits."""
        self.is_reached.set()
        assert self.is_open.wait(PATIENCE_SECONDS)

    def write(self, writing: Any) -> None:
        """Writes nothing."""


def test_it_is_stored_whole_or_not_at_all(log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever leads the round has begun with it, and goes on after the interruption."""
    orders = log.topic("orders", key=str, index="key")
    store, gate = log._store, Gate()
    run, commit = store.committer.run, store.commit_transaction
    leaders: list[threading.Thread] = []

    def interrupted(work: Any) -> None:
        leaders.append(threading.Thread(target=run, args=(work,)))
        leaders[0].start()
        assert gate.is_reached.wait(PATIENCE_SECONDS)
        raise KeyboardInterrupt

    tx = log.transaction()
    tx.state("totals")["tea"] = 1
    delivery = tx.send(orders, b"tea", key="alice", message_id="1")
    monkeypatch.setattr(store.committer, "run", interrupted)
    monkeypatch.setattr(
        store, "commit_transaction", lambda request: commit(request._replace(pieces=[*request.pieces, gate]))
    )
    with pytest.raises(KeyboardInterrupt):
        tx.commit()
    monkeypatch.undo()
    gate.is_open.set()
    leaders[0].join(PATIENCE_SECONDS)
    assert [record.value for record in orders.read()] == [b"tea"]
    assert [event.value for event in orders.history("alice")] == [b"tea"]
    assert log.state("totals")["tea"] == 1
    assert orders.append(b"tea", key="alice", message_id="1").version == 1
    with pytest.raises(eventlog.TransactionEnded, match="may have been stored"):
        delivery.result()
    assert log.verify().problems == ()
