"""
Programs that may not write, or run out of room.

Each function is the whole program of a child (`tests/processes/child.py`). Knows nothing of pytest.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import eventlog
from tests.processes.child import say

_NOBODY = 65_534
_RECORD = b"x" * 20_000


def open_as_nobody(path: str) -> None:
    """Becomes a user without rights, opens the log, and says the error and its message."""
    os.setgid(_NOBODY)
    os.setuid(_NOBODY)
    try:
        eventlog.open(path)
    except eventlog.EventLogError as error:
        say(type(error).__name__)
        say(error)


def fill_the_disk(path: str, ballast: str) -> None:
    """Appends until the disk is full, makes room, and opens the log again."""
    Path(ballast).write_bytes(bytes(500_000))
    failure = _fail_and_go_on(path, Path(ballast).unlink)
    assert isinstance(failure, eventlog.DiskFull), repr(failure)
    say("done")


def write_beyond_the_limit(path: str) -> None:
    """Appends until the file has the size that the system allows, then raises the limit."""
    eventlog.open(path).close()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, most))
    _fail_and_go_on(path, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
    say("done")


def _fail_and_go_on(path: str, make_room: Callable[[], object]) -> eventlog.StorageError:
    log = eventlog.open(path)
    topic = log.topic("orders")
    count = 0
    failure: eventlog.StorageError | None = None
    while failure is None:
        try:
            assert topic.append(_RECORD).offset == count
            count += 1
            assert count < 10_000
        except eventlog.StorageError as error:
            failure = error
    assert count > 10
    make_room()
    refusal = _error_of(lambda: topic.append(_RECORD))
    assert "refuses writes" in refusal, refusal
    assert "open it again" in refusal, refusal
    assert [len(record.value) for record in topic.read()] == [len(_RECORD)] * count
    producer = log.producer()
    assert "open" in _error_of(lambda: producer.send("orders", _RECORD).result())
    log.close()
    with eventlog.open(path) as log:
        topic = log.topic("orders")
        end = topic.bounds()[0][1]
        assert end == count, f"{count} were acknowledged, {end} are stored"
        assert topic.append(b"after").offset == end
        assert log.verify().is_sound
    return failure


def _error_of(call: Callable[[], object]) -> str:
    try:
        call()
    except eventlog.StorageError as error:
        return str(error)
    raise AssertionError("a log that failed to write writes again")
