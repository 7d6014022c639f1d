"""`log.stats()`: the figures are those of what is stored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import eventlog
from eventlog.store.verify import figures
from tests.processes.child import Child, hear, say


def test_each_topic_has_its_records_and_bytes(disk_log: eventlog.EventLog) -> None:
    """By name, the one without records as well; a deleted record is none."""
    orders = disk_log.topic("orders", partitions=3)
    for number in range(7):
        orders.append_many([b"x" * 100] * 10, partition=number % 3)
    disk_log.topic("empty")
    orders.delete_records({0: 15})
    stats = disk_log.stats()
    assert [topic.topic for topic in stats.topics] == ["empty", "orders"]
    empty, found = stats.topics
    assert (empty.record_count, empty.batch_count, empty.stored_bytes) == (0, 0, 0)
    assert (found.partition_count, found.record_count, found.batch_count) == (3, 55, 6)
    assert found.stored_bytes == disk_log.verify().stored_bytes == stats.stored_bytes
    assert stats.record_count == 55


@pytest.mark.parametrize("rows", [1, 3, 6, 7, 100])
def test_a_walk_in_parts_finds_each_batch_once(
    log: eventlog.EventLog, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Wherever a part ends."""
    monkeypatch.setattr(figures, "_PART_ROWS", rows)
    for name in ("a", "b"):
        for _ in range(3):
            log.topic(name).append(b"tea")
    assert [topic.batch_count for topic in log.stats().topics] == [3, 3]


def test_deleted_records_become_free_space(disk_log: eventlog.EventLog) -> None:
    """The file does not shrink, and its pages are of use again."""
    topic = disk_log.topic("orders")
    topic.append_many([b"x" * 1000] * 2000)
    before = disk_log.stats()
    topic.delete_records({0: 2000})
    after = disk_log.stats()
    assert after.file_bytes >= before.file_bytes > 2_000_000
    assert after.free_bytes - before.free_bytes > 1_900_000
    assert after.file_bytes == after.used_bytes + after.free_bytes
    assert after.file_bytes % after.page_bytes == 0


def test_commits_are_counted_and_timed(disk_log: eventlog.EventLog) -> None:
    """Those of this process; nothing else takes as long as they say."""
    topic = disk_log.topic("orders")
    before = disk_log.stats()
    for _ in range(5):
        topic.append(b"tea")
    after = disk_log.stats()
    assert after.commit_number - before.commit_number == after.commit_count - before.commit_count == 5
    assert 0 < after.commit_s - before.commit_s < 60
    assert 0 < after.longest_commit_s <= after.commit_s


def test_a_long_read_is_told_with_its_age(disk_log: eventlog.EventLog) -> None:
    """The oldest first, and none when none goes on."""
    topic = disk_log.topic("orders")
    environment = disk_log._store.environment
    assert disk_log.stats().oldest_reader is None
    with environment.reading():
        topic.append(b"tea")
        with environment.reading():
            topic.append(b"tea")
            readers = disk_log.stats().readers
    assert [reader.commits_behind for reader in readers] == [2, 1]
    assert disk_log.stats().readers == ()


def reads_for_long(path: Path) -> None:
    """In another process: a read that goes on until the process ends."""
    with eventlog.open(path) as log, log._store.environment.reading():
        say("reading")
        hear()


def test_the_read_of_another_process_is_told(disk_log: eventlog.EventLog) -> None:
    """Until that process ends, and somebody writes."""
    topic = disk_log.topic("orders")
    with Child(reads_for_long, str(disk_log.path)) as child:
        child.hear("reading")
        topic.append(b"tea")
        reader = disk_log.stats().oldest_reader
        assert reader is not None
        assert reader.commits_behind == 1
        child.kill()


def test_a_forked_child_counts_its_own_commits(tmp_path: Path) -> None:
    """Those of its parent are not of this process."""
    script = (
        "import os, sys, eventlog\n"
        "log = eventlog.open(sys.argv[1]); topic = log.topic('t')\n"
        "for _ in range(5): topic.append(b'tea')\n"
        "if os.fork() == 0:\n"
        "    topic.append(b'milk'); print(log.stats().commit_count, flush=True); os._exit(0)\n"
        "os.wait(); print(log.stats().commit_count, log.stats().record_count)\n"
    )
    command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "log")]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert found[0] == "1"
    assert int(found[1]) >= 5
    assert found[2] == "6"
