"""Memory of the store that is not a log's: `keep_freed_memory`."""

import errno
import tempfile
import tracemalloc
from pathlib import Path

import pytest

import eventlog
from eventlog.store import store

MEGABYTE = 1 << 20


def test_the_second_log_of_a_process_does_not_teach_malloc_again(tmp_path: Path) -> None:
    """Once its thresholds are raised, a block of 16 MB would come from the heap, zeroed: milliseconds for nothing."""
    eventlog.open(tmp_path / "first").close()
    tracemalloc.start()
    try:
        eventlog.open(tmp_path / "second").close()
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < MEGABYTE


def test_a_log_in_memory_that_cannot_be_opened_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its directory would stay until the process ends."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as failing:
        failing.setattr(store.Store, "_read_or_write_format", fail)
        with pytest.raises(eventlog.StorageError, match="Too many"):
            eventlog.open(":memory:")
    assert list(tmp_path.iterdir()) == []
    with eventlog.open(":memory:") as log:
        log.topic("orders")
        assert len(list(tmp_path.iterdir())) == 1
