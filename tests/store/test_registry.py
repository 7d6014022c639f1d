"""How long a directory stays open, and who may close it."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import pytest

import eventlog
from eventlog.store import registry
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
    log = eventlog.open(tmp_path / "log")
    store = log._store
    log._finalizer.detach()
    holds, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        with REGISTRY._lock:
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


def test_a_directory_that_another_process_makes_meanwhile_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not there when we look first, and is when we look whether it is a link."""
    found, path = registry.has_name, tmp_path / "log"

    def made_meanwhile(one: str) -> bool:
        if one == str(path):
            path.mkdir(exist_ok=True)
        return found(one)

    monkeypatch.setattr(registry, "has_name", made_meanwhile)
    with eventlog.open(path) as log:
        assert log.topic("orders").append(b"tea").offset == 0
