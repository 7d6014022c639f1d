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
    _fail_and_go_on(path, Path(ballast).unlink)
    say("done")


def write_beyond_the_limit(path: str) -> None:
    """Appends until the file has the size that the system allows, then raises the limit."""
    eventlog.open(path).close()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, most))
    _fail_and_go_on(path, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
    say("done")


def _fail_and_go_on(path: str, make_room: Callable[[], object]) -> None:
    log = eventlog.open(path)
    topic = log.topic("orders")
    producer = log.producer()
    count = 0
    while (failure := _error_of(lambda: topic.append(_RECORD))) is None:
        count += 1
        assert count < 10_000
    assert count > 10
    for error in (failure, _error_of(lambda: producer.send("orders", _RECORD).result())):
        assert isinstance(error, eventlog.DiskFull), repr(error)
        assert "Input/output" not in str(error), error
    assert [len(record.value) for record in topic.read()] == [len(_RECORD)] * count
    make_room()
    assert topic.append(b"after").offset == count
    assert producer.send("orders", b"sent").result().offset == count + 1
    producer.close()
    log.close()
    with eventlog.open(path) as log:
        assert log.topic("orders").bounds()[0][1] == count + 2
        assert log.verify().is_sound


def _error_of(call: Callable[[], object]) -> eventlog.StorageError | None:
    try:
        call()
    except eventlog.StorageError as error:
        return error
    return None
