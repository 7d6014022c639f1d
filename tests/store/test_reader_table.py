"""LMDB's table of readers: a read keeps its place, takes the lock of `lock.mdb` only without one, and never hangs."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

import eventlog
from eventlog.accelerators import python_function
from eventlog.store.lmdb import reader_table
from eventlog.store.lmdb.environment import Environment
from eventlog.store.lmdb.reader_table import ReaderTable, begin_reading
from eventlog.store.store import Store
from tests.compiled import skip_unless_compiled

needs_ids = pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="there is no /proc/self/mem")
AT_ONCE_SECONDS = 5.0
"""Far more than it takes."""


@pytest.fixture
def log(path: Path) -> Iterator[eventlog.EventLog]:
    """A log with a record."""
    with eventlog.open(path) as log:
        log.topic("orders").append(b"x")
        yield log


@pytest.fixture
def other(log: eventlog.EventLog, path: Path) -> Iterator[int]:
    """`lock.mdb` as another process has it open, which enters the table just now."""
    descriptor = os.open(path / "lock.mdb", os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield descriptor
    os.close(descriptor)


def environment_of(log: eventlog.EventLog) -> Environment:
    """LMDB's environment behind a log."""
    store = log._store  # type: ignore[attr-defined]
    assert isinstance(store, Store)
    return store.environment


def slots(log: eventlog.EventLog) -> list[str]:
    """The numbers in LMDB's table."""
    return [line.split()[0] for line in environment_of(log)._usable_handle().readers().splitlines()[1:]]


def read_twice(environment: Environment) -> None:
    """Read in the midst of a read, for which nothing is kept."""
    with environment.reading(), environment.reading():
        pass


def test_py_lmdb_keeps_its_spare_transaction_where_it_is_seen(log: eventlog.EventLog) -> None:
    """The installed py-lmdb is one that we know; a failure here means that every read takes the lock, and is slow."""
    skip_unless_compiled()
    assert reader_table._SPARE_AT[0] > 0
    assert environment_of(log)._slots[0] == reader_table._SPARE_AT[0]
    assert len(slots(log)) == 1


@needs_ids
def test_a_read_with_a_kept_place_waits_for_nobody(log: eventlog.EventLog, other: int) -> None:
    """It takes neither the mutex nor the lock."""
    skip_unless_compiled()
    environment = environment_of(log)
    for _ in range(3):
        with environment.reading():
            pass
        assert environment.read(lambda transaction: transaction.id()) > 0
    assert other >= 0


@needs_ids
def test_a_read_without_a_place_waits_until_nobody_enters_the_table(log: eventlog.EventLog, other: int) -> None:
    """And goes on as soon as the other is done."""
    environment = environment_of(log)
    assert begin_reading(environment._usable_handle(), (-1, *environment._slots[1:]), {}) is None
    thread = threading.Thread(target=read_twice, args=(environment,))
    thread.start()
    thread.join(0.02)
    assert thread.is_alive()
    fcntl.flock(other, fcntl.LOCK_UN)
    thread.join(AT_ONCE_SECONDS)
    assert not thread.is_alive()


@needs_ids
@pytest.mark.parametrize("what", ["read", "clean up"])
def test_a_handler_ends_the_wait(log: eventlog.EventLog, other: int, what: str) -> None:
    """A signal gets through, and what its handler raises; nothing is left behind."""

    def give_up(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signum, frame)

    environment = environment_of(log)
    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        with pytest.raises(KeyboardInterrupt):
            read_twice(environment) if what == "read" else environment._free_slots()
    finally:
        signal.signal(signal.SIGALRM, before)
    fcntl.flock(other, fcntl.LOCK_UN)
    read_twice(environment)
    assert environment._free_slots() == 0
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@needs_ids
def test_a_handler_may_read_while_its_thread_enters_the_table(log: eventlog.EventLog, other: int) -> None:
    """Also while that one waits; neither waits for the other."""
    environment = environment_of(log)
    read = []

    def go_on(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        fcntl.flock(other, fcntl.LOCK_UN)
        read_twice(environment)
        read.append("in the handler")

    before = signal.signal(signal.SIGALRM, go_on)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    try:
        read_twice(environment)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert read == ["in the handler"]


@needs_ids
def test_threads_of_one_process_enter_the_table_one_by_one(log: eventlog.EventLog) -> None:
    """They share the lock of the file, so they need one of their own."""
    table = environment_of(log)._readers
    inside: list[int] = []
    most: list[int] = []

    def enter() -> None:
        for _ in range(200):
            table.alone(lambda: (inside.append(1), most.append(len(inside)), inside.pop()))

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert len(most) == 800


def test_a_child_leaves_the_place_of_its_parent_alone(log: eventlog.EventLog) -> None:
    """Its parent goes on with it after the child has let go of all that it inherited."""
    environment = environment_of(log)
    with environment.reading():
        pass
    before = slots(log)
    if (child := os.fork()) == 0:
        list(log.topic("orders").read())
        log.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert slots(log) == before
    with environment.reading():
        assert len(slots(log)) == 1
        assert slots(log) == before or not before


_DIE_WRITING = """
import os, sys, eventlog
log = eventlog.open(sys.argv[1])
log._store.environment.begin_writing()
os.kill(os.getpid(), 9)
"""


@needs_ids
def test_the_writer_after_one_that_died_cleans_the_table_alone(log: eventlog.EventLog, path: Path, other: int) -> None:
    """LMDB takes the mutex of readers for that, inside of its beginning."""
    fcntl.flock(other, fcntl.LOCK_UN)
    subprocess.run([sys.executable, "-c", _DIE_WRITING, str(path)], check=False)
    environment = environment_of(log)
    table = environment._readers
    file = os.open(path / "lock.mdb", os.O_RDONLY)
    in_python = python_function("writer_died")
    try:
        for died in (True, False):
            assert reader_table._writer_died(table._writers_mutex, file) is died
            assert reader_table._writer_died(0, file) is died
            assert in_python(0, file) is died
            if died:
                fcntl.flock(other, fcntl.LOCK_EX)
                thread = threading.Thread(target=lambda: log.topic("orders").append(b"y"))
                thread.start()
                thread.join(0.02)
                assert thread.is_alive()
                fcntl.flock(other, fcntl.LOCK_UN)
                thread.join(AT_ONCE_SECONDS)
                assert not thread.is_alive()
    finally:
        os.close(file)


def test_without_other_namespaces_nothing_is_taken() -> None:
    """A table without a lock calls the function."""
    assert ReaderTable().alone(lambda: 1) == 1
