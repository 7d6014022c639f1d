"""The open files of an open log: a process may have a thousand, and some programs open hundreds of logs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import eventlog

OPEN = 6
"""Three of LMDB's, two of ours with locks, and the directory."""
WRITING = OPEN if sys.version_info >= (3, 13) else OPEN + 1
"""The map of `changes` keeps a descriptor in older Pythons."""
IN_MEMORY = WRITING - 2

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="LMDB and the locks have others elsewhere")


def count() -> int:
    """How many files this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def test_an_open_log_takes_few_open_files(path: Path) -> None:
    """However it is used: a reader, a waiting consumer and a member have theirs for as long as they are open."""
    before = count()
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        assert count() - before == OPEN
        topic.append(b"tea")
        assert count() - before == WRITING
        assert [record.value for record in topic.read()] == [b"tea"]
        with log.consumer("orders", group="billing") as consumer:
            consumer.poll(timeout=0.0)
        topic.delete_records({0: 1})
        assert count() - before == WRITING
    assert count() == before


def test_a_log_in_memory_takes_fewer() -> None:
    """It needs no locks of ours, and no reserve."""
    before = count()
    with eventlog.open(":memory:") as log:
        log.topic("orders").append(b"tea")
        assert count() - before == IN_MEMORY
    assert count() == before
