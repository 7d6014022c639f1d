"""
A program whose processor dies of some records, without an exception.

Each function is the whole program of a child (`tests/processes/child.py`). Knows nothing of pytest.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from typing import Any

import eventlog
from tests.processes.child import say

DEATHS: dict[str, Callable[[], object]] = {
    "exit": lambda: os._exit(139),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
}


def work(path: str, poison: list[int], death: str, attempts: int) -> None:
    """Processes everything; a record of these ends the process, in one way or another."""

    def send_on(tx: eventlog.Transaction, record: eventlog.Record[Any, Any]) -> None:
        if record.value in poison:
            say("at", record.value)
            DEATHS[death]()
        tx.send("out", record.value)

    def give_up(tx: eventlog.Transaction, record: eventlog.Record[Any, Any], error: Exception) -> None:
        tx.send("dead", record.value, headers={"error": type(error).__name__})

    with (
        eventlog.open(path) as log,
        log.processor("orders", function=send_on, group="g", attempts=attempts, on_failure=give_up) as processor,
    ):
        processor.run_to_end()
    say("done")


def fold(path: str, poison: int) -> None:
    """Folds everything into a projection; one value ends the process."""
    logging.basicConfig(format="%(message)s")

    def count(state: Any, record: eventlog.Record[Any, Any]) -> None:
        if record.value == poison:
            os._exit(139)
        state["count"] = state.get("count", 0) + 1

    with eventlog.open(path) as log:
        log.projection("count", count, topics=["orders"]).catch_up()
    say("done")
