"""One directory is opened more than once in one process."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

import eventlog
from tests.processes.writers import store_of


def test_two_openings_of_one_directory_share_it_and_close_apart(path: Path) -> None:
    """What one writes the other reads, and closing one leaves the other open."""
    first = eventlog.open(path)
    second = eventlog.open(path)
    assert store_of(first) is store_of(second)
    assert first.topic("orders").append(b"tea").offset == 0
    assert [record.value for record in second.topic("orders").read()] == [b"tea"]
    first.close()
    first.close()
    assert first.is_closed
    with pytest.raises(eventlog.LogClosed):
        first.topics()
    assert second.topic("orders").append(b"milk").offset == 1
    second.close()
    assert store_of(second).is_closed
    with eventlog.open(path) as third:
        assert third.topic("orders").bounds() == {0: (0, 2)}


def test_a_link_and_a_relative_path_lead_to_the_same_log(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory counts, not its spelling."""
    link = path.parent / "link"
    with eventlog.open(path) as first:
        link.symlink_to(path)
        monkeypatch.chdir(path.parent)
        with eventlog.open(link) as second, eventlog.open("log") as third:
            assert store_of(first) is store_of(second) is store_of(third)


def test_another_durability_is_refused_while_the_log_is_open(path: Path) -> None:
    """The message names both durabilities; once closed, the log opens with the other."""
    with eventlog.open(path) as log:
        with pytest.raises(ValueError, match=r"'ordered'.*'commit'"):
            eventlog.open(path, durability="ordered")
        assert log.topic("orders").append(b"tea").offset == 0
    with eventlog.open(path, durability="ordered") as log:
        assert log.durability == "ordered"


def test_two_logs_in_memory_are_two(log: eventlog.EventLog) -> None:
    """`:memory:` names no directory, so nothing is shared."""
    with eventlog.open(":memory:") as other:
        other.topic("orders")
        assert log.topics() == []


def test_a_forgotten_log_is_closed(path: Path) -> None:
    """A log that nobody refers to any more leaves the directory to other durabilities."""
    log = eventlog.open(path)
    store = store_of(log)
    log.topic("orders").append(b"tea")
    del log
    gc.collect()
    assert store.is_closed
