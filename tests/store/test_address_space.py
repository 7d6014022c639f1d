"""Logs in little address space: many of them, or a limit (`ulimit -v`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import eventlog
from eventlog.store.lmdb import opening

_LIMIT_BYTES = 320 << 20


def _run(code: str, *arguments: object, limit_bytes: int | None = None) -> list[str]:
    """What a program of its own prints."""
    limited = f"import resource, sys, eventlog; bytes_now = {limit_bytes}\n"
    if limit_bytes is not None:
        limited += "resource.setrlimit(resource.RLIMIT_AS, (bytes_now, resource.RLIM_INFINITY))\n"
    done = subprocess.run(
        [sys.executable, "-c", limited + code, *map(str, arguments)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_two_hundred_logs_leave_room_for_the_program(tmp_path: Path) -> None:
    """Their maps are smaller, the more there are."""
    said = _run(
        """
import threading
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
if 0 <= hard < 1700:
    print("too few open files")
    sys.exit()
logs = [eventlog.open(f"{sys.argv[1]}/{number}", durability="ordered") for number in range(200)]
room = bytearray(1 << 28)
thread = threading.Thread(target=logs[-1].topic("orders").append, args=(b"tea",))
thread.start()
thread.join()
print(logs[-1].topic("orders").bounds())
print(logs[0]._store.environment.map_bytes() > logs[-1]._store.environment.map_bytes() >= 1 << 30)
""",
        tmp_path,
    )
    if said == ["too few open files"]:
        pytest.skip(said[0])
    assert said == ["{0: (0, 1)}", "True"]


def test_a_log_works_within_a_limit_and_says_when_it_is_over(path: Path) -> None:
    """The map begins small, grows while there is room, and what is stored stays readable."""
    said = _run(
        """
log = eventlog.open(sys.argv[1], durability="ordered")
topic = log.topic("orders")
first = log._store.environment.map_bytes()
try:
    while True:
        topic.append_many([bytes(60_000)] * 100)
except eventlog.DiskFull as error:
    print("address space" in str(error), "ulimit -v" in str(error), "disk" in error.advice)
room = bytearray(1 << 24)
[(first_offset, end)] = topic.bounds().values()
print(first < 1 << 25 < log._store.environment.map_bytes(), end * 60_000 > 1 << 26)
print(sum(1 for _ in topic.read()) == end)
topic.delete_records({0: end // 2})
print(topic.append(b"tea").offset == end)
""",
        path,
        limit_bytes=_LIMIT_BYTES,
    )
    assert said == ["True True False", "True True", "True", "True"]


def test_what_another_process_grows_is_read_with_a_smaller_map(path: Path) -> None:
    """Its map has no room here, but the file has."""
    said = _run(
        """
import subprocess
log = eventlog.open(sys.argv[1], durability="ordered")
topic = log.topic("orders")
before = log._store.environment.map_bytes()
other = '''
import resource, sys, eventlog
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with eventlog.open(sys.argv[1], durability="ordered") as log:
    log.topic("orders").append_many([bytes(60_000)] * 1000)
'''
subprocess.run([sys.executable, "-c", other, sys.argv[1]], check=True)
print(topic.bounds(), before < 60_000_000 < log._store.environment.map_bytes() < 1 << 28)
print(topic.append(b"tea").offset)
""",
        path,
        limit_bytes=_LIMIT_BYTES,
    )
    assert said == ["{0: (0, 1000)} True", "1000"]


def test_a_file_that_does_not_fit_is_refused_in_words_of_its_own(path: Path) -> None:
    """It is neither the disk nor the file system."""
    with eventlog.open(path, durability="ordered") as log:
        log.topic("orders").append_many([bytes(60_000)] * 1500)
    said = _run(
        """
try:
    eventlog.open(sys.argv[1])
except eventlog.StorageError as error:
    print(type(error).__name__, "ulimit -v" in error.advice)
room = bytearray(1 << 24)
""",
        path,
        limit_bytes=100 << 20,
    )
    assert said == ["StorageError True"]


def test_no_room_at_all_is_the_same_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is left open."""
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0  # noqa: PTH112, PTH208
    monkeypatch.setattr(opening, "has_room", lambda _: False)
    with pytest.raises(eventlog.StorageError, match="no room for a map"):
        eventlog.open(path)
    if before:
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_chosen_size_is_kept_if_it_fits(path: Path) -> None:
    """It needs no room for 64 of its kind."""
    with eventlog.open(path, map_size=1 << 45) as log:
        assert log._store.environment.map_bytes() == 1 << 45
