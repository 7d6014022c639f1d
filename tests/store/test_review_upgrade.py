"""The upgrade of an old log, where the engine has no room or fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import lmdb
import pytest

import eventlog
from eventlog.store import store

GOLDEN = Path(__file__).parent.parent / "golden" / "log-v2"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of format 2."""
    shutil.copytree(GOLDEN, tmp_path / "log")
    return tmp_path / "log"


def test_an_old_log_that_fills_its_map_gets_a_larger_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As often as it takes; it is put into order once."""
    put_into_order, sizes = store.put_into_order, []

    def put(environment, transaction):
        put_into_order(environment, transaction)
        sizes.append(environment.map_bytes())
        if len(sizes) < 3:
            raise lmdb.MapFullError("no room")

    monkeypatch.setattr(store, "put_into_order", put)
    with eventlog.open(path, map_size=1 << 20) as log:
        assert sizes == [sizes[0], 2 * sizes[0], 4 * sizes[0]]
        assert log.verify().problems == ()
        assert [log_position for log_position, _ in log.read_all()][-1] == log.end_log_position() - 1


def test_an_upgrade_that_fails_leaves_the_old_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is ours, and the next one to open it upgrades it."""

    def fail(environment, transaction):
        raise lmdb.DiskError("no disk")

    with monkeypatch.context() as patched:
        patched.setattr(store, "put_into_order", fail)
        with pytest.raises(eventlog.StorageError, match="cannot write the log"):
            eventlog.open(path)
    with eventlog.open(path) as log:
        assert log.verify().problems == ()
