"""
Counts that are the same on every machine: calls of Python functions and of LMDB, commits and syncs.

The profiler of the interpreter shows the calls, in this thread and in all that start after the counter was made. Calls
of our functions count, and those of the functions that attrs and named tuples make for our classes. Two kinds do not:
the bodies of comprehensions and generator expressions, in which versions of Python differ, and the heartbeat thread,
which runs by time. The profiler does not see calls that C makes, such as LMDB's commit: commits are counted by LMDB's
transaction numbers.
"""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

import lmdb

import eventlog

_COUNTED = (str(Path(eventlog.__file__).parent), "<attrs generated ", "<string>")
_EXPRESSIONS = {"<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>"}
_LMDB = (lmdb.Environment, lmdb.Transaction, lmdb.Cursor)
_UNCOUNTED_THREADS = {"eventlog-heartbeat"}
_PATIENCE_SECONDS = 20.0


class Cost(NamedTuple):
    """The cost of some work; `syncs` is None if they cannot be counted."""

    python: int
    lmdb: int
    commits: int
    syncs: int | None

    def per_thousand(self, count: int) -> Cost:
        """The cost per thousand, if this is the cost of `count`."""
        syncs = None if self.syncs is None else self.syncs * 1000 // count
        return Cost(self.python * 1000 // count, self.lmdb * 1000 // count, self.commits * 1000 // count, syncs)


class CallCounter:
    """
    A counter of the calls between `start` and `stop`.

    One for a process; `close` it.
    """

    def __init__(self) -> None:
        self._is_counting = False
        self._codes: dict[int, CodeType] = {}
        self._calls: Counter[int] = Counter()
        self._lmdb: Counter[str] = Counter()
        self._sleepers: set[int] = set()
        threading.setprofile(self._enter_thread)

    def close(self) -> None:
        """Stop looking at new threads."""
        threading.setprofile(None)

    def reset(self) -> None:
        """Start at zero, once all other threads sleep."""
        moment = threading.Event()
        for _ in range(int(_PATIENCE_SECONDS / 0.001)):
            if all(thread.ident in self._sleepers for thread in _others()):
                break
            moment.wait(0.001)
        else:
            raise AssertionError(f"a thread does not go to sleep: {_others()}")
        self._calls.clear()
        self._lmdb.clear()

    def start(self) -> None:
        """Count from now on."""
        self._is_counting = True
        sys.setprofile(self._see)

    def stop(self) -> None:
        """Count no longer."""
        sys.setprofile(None)
        self._is_counting = False

    def functions(self) -> Counter[str]:
        """The functions of Python and of LMDB that were called since `reset`, with the number of calls."""
        found = self._lmdb.copy()
        for key, count in self._calls.items():
            code = self._codes[key]
            if code.co_name not in _EXPRESSIONS and code.co_filename.startswith(_COUNTED):
                found[f"{Path(code.co_filename).name}:{code.co_firstlineno} {code.co_qualname}"] += count
        return found

    def calls(self) -> tuple[int, int]:
        """The number of calls of Python and of LMDB since `reset`."""
        of_lmdb = self._lmdb.total()
        return self.functions().total() - of_lmdb, of_lmdb

    def _see(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            code = frame.f_code
            key = id(code)
            if key not in self._codes:
                self._codes[key] = code
            self._calls[key] += 1
        elif event == "c_call" and isinstance(getattr(argument, "__self__", None), _LMDB):
            if argument.__name__ == "__enter__":
                return  # seen from Python 3.14 on
            self._lmdb[f"lmdb {argument.__qualname__}"] += 1

    def _enter_thread(self, frame: FrameType, event: str, argument: Any) -> None:
        """The profiler of a new thread, called with its first event."""
        is_counted = threading.current_thread().name not in _UNCOUNTED_THREADS
        sys.setprofile(self._see_in_thread if is_counted else None)

    def _see_in_thread(self, frame: FrameType, event: str, argument: Any) -> None:
        if self._is_counting:
            self._see(frame, event, argument)
        if event == "c_call" and getattr(argument, "__name__", "") in {"acquire", "poll"}:
            self._sleepers.add(threading.get_ident())
        else:
            self._sleepers.discard(threading.get_ident())


def _others() -> list[threading.Thread]:
    current = threading.current_thread()
    return [one for one in threading.enumerate() if one is not current and one.name not in _UNCOUNTED_THREADS]


class Meter:
    """A meter of work on one log."""

    def __init__(self, counter: CallCounter, log: eventlog.EventLog) -> None:
        self._counter = counter
        self._log = log

    def measure(
        self, work: Callable[[], object], *, prepare: Callable[[], object] | None = None, times: int = 1
    ) -> Cost:
        """The cost of doing `work` some times; `prepare`, which runs before each, is not counted."""
        counter, commits, syncs = self._counter, 0, 0
        counter.reset()
        gc.disable()
        try:
            for _ in range(times):
                if prepare is not None:
                    prepare()
                commits -= self._log._store.last_transaction()
                syncs -= _sync_count()
                counter.start()
                work()
                counter.stop()
                commits += self._log._store.last_transaction()
                syncs += _sync_count()
        finally:
            counter.stop()
            gc.enable()
        return Cost(*counter.calls(), commits, syncs if _counts_syncs() else None)


def _sync_count() -> int:
    """How often this process waited for its disk; 0 without the library of `syncs.c`."""
    if not _counts_syncs():
        return 0
    count: int = ctypes.CDLL(None).eventlog_sync_count()  # a C int will do
    return count


def _counts_syncs() -> bool:
    return hasattr(ctypes.CDLL(None), "eventlog_sync_count")
