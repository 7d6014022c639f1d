"""How long a directory stays open, and who may close it."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import eventlog
from eventlog.store.registry import REGISTRY


def test_a_forgotten_log_is_closed(tmp_path: Path) -> None:
    """By the garbage collector, so that the next one may open with another durability."""
    log = eventlog.open(tmp_path / "log")
    log.topic("orders").append(b"tea")
    del log
    gc.collect()
    with eventlog.open(tmp_path / "log", durability="ordered") as again:
        assert len(list(again.topic("orders").read())) == 1


def test_forgetting_a_log_waits_for_nobody(tmp_path: Path) -> None:
    """The collector may run inside a transaction that somebody who holds the lock waits for."""
    registry = REGISTRY
    log = eventlog.open(tmp_path / "log")
    store = log._store
    log._finalizer.detach()
    holds, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with registry._lock:
            holds.set()
            may_end.wait(10.0)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holds.wait(10.0)
    store.abandon(log._user)
    assert not store.is_closed
    may_end.set()
    holder.join()
    with eventlog.open(tmp_path / "other"):
        assert store.is_closed
