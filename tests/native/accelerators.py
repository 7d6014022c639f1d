"""The module of the accelerators, runs of the garbage collector, and memory that runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from eventlog import accelerators

compiled: Any = accelerators.compiled
"""The module; None where there is none, and then no test asks it."""


@contextmanager
def at_collection(number: int, act: Callable[[], object]) -> Iterator[list[int]]:
    """
    Has the garbage collector run after every few new objects, and `act` called at one of its runs.

    Any finalizer or weak reference of a user runs at such a moment. Yields a list with the number of runs in it.
    """
    runs = [0]

    def callback(phase: str, info: object) -> None:
        if phase == "start":
            runs[0] += 1
            if runs[0] == number:
                act()

    thresholds = gc.get_threshold()
    gc.callbacks.append(callback)
    gc.set_threshold(50, 10_000, 10_000)
    try:
        yield runs
    finally:
        gc.set_threshold(*thresholds)
        gc.callbacks.remove(callback)


def memory_runs_out(begin: Callable[[], object], act: Callable[[Any], object], judge: Callable[[Any], object]) -> int:
    """
    Calls `act` again and again, each time with one more allocation that succeeds before all others fail.

    Until it comes through, it raises `MemoryError`. `judge` is given what `begin` made, after each call.

    Returns:
        How many allocations it took.
    """
    testcapi = pytest.importorskip("_testcapi", reason="this Python has no way of letting memory run out")
    for count in range(1000):
        subject = begin()
        failure: type[BaseException] | None = None
        gc.disable()
        testcapi.set_nomemory(count, 0)
        try:
            act(subject)
        except MemoryError:
            testcapi.remove_mem_hooks()
            failure = MemoryError
        finally:
            testcapi.remove_mem_hooks()
            gc.enable()
        judge(subject)
        if failure is None:
            return count
    pytest.fail("it needs more than a thousand allocations")
