"""A process forks with a log open: the child has a log of its own, and the parent's records stay the parent's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import eventlog
from tests.processes import fork_scenes
from tests.processes.child import Child


def test_a_child_reads_and_appends_and_the_parents_records_are_stored_once(path: Path) -> None:
    """A fork amid sending, waiting and reading leaves each to the process whose it was."""
    with Child(fork_scenes.everything_is_open, str(path)) as child:
        child.hear("done", seconds=60.0)
        assert child.end() == 0


def test_a_child_that_closes_the_log_leaves_the_parents_open(path: Path) -> None:
    """Closing in the child ends the child's use alone, and for good."""
    with Child(fork_scenes.child_ends_with_the_parents_log, str(path)) as child:
        child.hear("done")
        assert child.end() == 0


def test_a_log_in_memory_stays_the_parents() -> None:
    """The child of a log in memory gets UsedAfterFork, and its end removes nothing."""
    with Child(fork_scenes.memory_log) as child:
        child.hear("done")
        assert child.end() == 0


def test_forks_among_busy_threads_neither_hang_nor_tear(path: Path) -> None:
    """Fifty forks beside four threads that append and read leave every record readable on both sides."""
    with Child(fork_scenes.forks_among_threads, str(path), 50) as child:
        assert child.hear(seconds=90.0).startswith("done ")
        assert child.end() == 0


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_multiprocessing_append(path: Path, method: str) -> None:
    """Both ways to start a process work; a fork uses the log that it inherited."""
    with Child(fork_scenes.multiprocessing_pool, str(path), method) as child:
        child.hear("done", seconds=60.0)
        assert child.end() == 0


def test_a_living_fork_holds_no_lock_of_its_dead_parent(path: Path) -> None:
    """A parent killed inside a write transaction frees the lock, though its child has inherited all descriptors."""
    with Child(fork_scenes.killed_with_a_child_alive, str(path)) as parent:
        parent.hear("ready")
        parent.kill()
        with eventlog.open(path) as log:
            assert log.topic("orders").append(b"tea").offset == 0


def test_a_child_that_frees_an_error_of_its_parent_goes_on_reading(path: Path) -> None:
    """The environment of the parent is not closed behind the child's back, with the child's locks and reader slots."""
    with Child(fork_scenes.frees_in_the_child_what_refers_to_the_parents_engine, str(path)) as child:
        child.hear("done")
        assert child.end() == 0


@pytest.mark.parametrize("name", ["hashlib", "logging"])
def test_a_child_of_a_fork_amid_an_import_does_not_wait_for_ever(path: Path, name: str) -> None:
    """What commits and producers import is imported before the fork: else the child would hang, maybe with a lock."""
    with Child(fork_scenes.forks_while_another_thread_imports, str(path), name) as child:
        child.hear("done", seconds=60.0)
        assert child.end() == 0


def test_a_fork_that_is_the_first_to_import_logging_says_nothing(path: Path) -> None:
    """Its hook after a fork would release a lock that its hook before has not taken, and Python would complain."""
    script = """if True:
        import os, sys, threading
        import eventlog
        with eventlog.open(sys.argv[1]) as log:
            log.topic("orders").schedule(b"tea", delay=1000.0)
            assert threading.active_count() > 1 and "logging" not in sys.modules
            for _ in range(2):
                if child := os.fork():
                    assert os.waitpid(child, 0)[1] == 0
                else:
                    sys.modules["logging"].getLogger("tea").warning("in the child")
                    os._exit(0)
            threading.Thread(target=sys.modules["logging"].getLogger("tea").warning, args=("in a thread",)).start()
    """
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(path)], capture_output=True, text=True, timeout=60.0
    )
    assert (ended.returncode, ended.stderr) == (0, "in the child\nin the child\nin a thread\n")
