"""
Programs that fold a projection, wait for it, or fork while one runs.

Each function is the whole program of a child of the tests (`tests/processes/child.py`). Knows nothing of pytest.
"""

from __future__ import annotations

import os
import threading
from typing import Any

import eventlog
from tests.processes.child import hear, say
from tests.processes.fork_scenes import in_a_fork

_LONGEST_SECONDS = 20.0


def count(state: Any, record: Any) -> None:
    """Counts the records of each key, and of all."""
    state[record.key] = state.get(record.key, 0) + 1
    state["all", "together"] = state.get(("all", "together"), 0) + 1


def run(path: str, max_records: int) -> None:
    """Runs the projection until it is told to stop, or killed."""
    with eventlog.open(path) as log:
        projection = log.projection("totals", count, max_records=max_records)
        thread = threading.Thread(target=projection.run)
        thread.start()
        say("runs")
        hear()
        projection.stop()
        thread.join(_LONGEST_SECONDS)
        say("stopped", projection.log_position)


def rebuild_for_ever(path: str) -> None:
    """Rebuilds the projection again and again, until it is killed."""
    with eventlog.open(path) as log:
        projection = log.projection("totals", count, max_records=20)
        say("rebuilds")
        while True:
            projection.rebuild()


def append_and_wait(path: str, records: int) -> None:
    """Appends, and reads its own writes, whoever folds them."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", key=str)
        projection = log.projection("totals")
        key = f"of {os.getpid()}"
        for number in range(1, records + 1):
            meta = topic.append(b"tea", key=key)
            projection.wait(meta.log_position, timeout=_LONGEST_SECONDS)
            assert projection.state[key] == number
    say("done")


def fork_while_it_runs(path: str) -> None:
    """A child of a folding process has no part in the turn; its copy of the projection is its own to use."""
    with eventlog.open(path) as log:
        topic = log.topic("orders", key=str)
        projection = log.projection("totals", count)
        thread = threading.Thread(target=projection.run)
        thread.start()
        topic.append(b"tea", key="alice")
        projection.wait(timeout=_LONGEST_SECONDS)

        def child() -> None:
            assert projection.state["alice"] == 1
            try:
                log.projection("totals", count).rebuild()
                meta = topic.append(b"tea", key="alice")
                projection.wait(meta.log_position, timeout=_LONGEST_SECONDS)  # the parent folds it
                assert projection.state["alice"] == 2
            finally:
                log.close()

        in_a_fork(child)
        assert projection.state["alice"] == 2
        projection.stop()
        thread.join(_LONGEST_SECONDS)
        assert not thread.is_alive()
    say("done")


def fork_in_the_function(path: str) -> None:
    """A child that a function forks cannot go on folding for its parent."""
    forked: list[int] = []

    def function(state: Any, record: Any) -> None:
        if not forked:
            forked.append(os.fork())
        count(state, record)

    with eventlog.open(path) as log:
        log.topic("orders", key=str).append(b"tea", key="alice")
        projection = log.projection("totals", function)
        try:
            assert projection.catch_up() == 1
        except eventlog.UsedAfterFork:
            os._exit(0 if forked == [0] else 1)
        _, status = os.waitpid(forked[0], 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert projection.state["alice"] == 1
    say("done")


def die_with_a_child(path: str) -> None:
    """Folds beside a living child that inherited everything, and is killed."""
    with eventlog.open(path) as log:
        log.topic("orders", key=str).append(b"tea", key="alice")
        began = threading.Event()

        def function(_state: Any, _record: Any) -> None:
            began.set()
            threading.Event().wait(_LONGEST_SECONDS)

        projection = log.projection("totals", function)
        threading.Thread(target=projection.catch_up, daemon=True).start()
        assert began.wait(_LONGEST_SECONDS)
        if os.fork() == 0:
            os.close(1)
            os.close(2)
            hear()
            os._exit(0)
        say("ready")
        hear()
