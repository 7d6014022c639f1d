"""
A gate that many transactions pass at once, and that growth, forks and closing shut.

A thread that enters leaves a token first and then checks whether the gate is shut. A thread that shuts the gate sets
the flag first and then waits until all tokens are gone. So at least one of the two sees the other. One call of a C
function in a `finally` takes a token back, which Ctrl-C cannot prevent (`uninterruptible.py`); a counter behind a lock
could get lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from threading import get_ident

from eventlog.uninterruptible import is_in_a_call

_LONGEST_PAUSE_SECONDS = 0.005


class Gate:
    """
    A gate for any number of threads, or for one thread alone.

    `leave(token, None)` is a C function: it works in a `finally` whether or not `enter` completed.
    """

    def __init__(self) -> None:
        self._running: dict[object, int] = {}
        self._exclusion = threading.Lock()
        self._is_shut = False
        self._shut_by: int | None = None
        self._nested_count = 0
        self.leave = self._running.pop
        self.turns_file: str | None = None
        """The file whose lock each transaction shares (`turns.py`)."""

    def enter(self, token: object) -> None:
        """
        Enter, after waiting while the gate is shut.

        A thread that is inside already, or has shut the gate itself, may come again from a signal handler. It is let
        in: the code that it interrupted goes on only when the handler is done, so waiting would deadlock.
        """
        thread = get_ident()
        self._running[token] = thread
        if self._is_shut:
            self._enter_shut(token, thread)

    def _enter_shut(self, token: object, thread: int) -> None:
        while self._is_shut and not self._is_nested(thread):
            self._running.pop(token)
            _wait(lambda: not self._is_shut)
            self._running[token] = thread

    @property
    def is_interrupted(self) -> bool:
        """
        Whether this thread is inside, or has shut the gate: then a signal handler or a finalizer asks.

        A token may also be left over, for as long as somebody keeps the traceback of an interruption.
        """
        thread = get_ident()
        return self._shut_by == thread or (thread in tuple(self._running.values()) and is_in_a_call())

    def alone(self, action: Callable[[], None]) -> None:
        """Run an action while no thread is inside."""
        with self._exclusion:
            self._shut_by = get_ident()
            self._is_shut = True
            try:
                self._wait_until_empty()
                action()
            finally:
                self._is_shut = False
                self._shut_by = None

    def shut(self) -> None:
        """
        Wait until no thread is inside, and let none in until `open()`.

        A signal handler that forks may have interrupted this very thread in the middle of it.
        """
        if self._shut_by == get_ident():
            self._nested_count += 1
            return
        self._exclusion.acquire()
        self._shut_by = get_ident()
        self._is_shut = True
        self._wait_until_empty()

    def open(self) -> None:
        """Let threads in again."""
        if self._nested_count:
            self._nested_count -= 1
            return
        self._is_shut = False
        self._shut_by = None
        self._exclusion.release()

    def _is_nested(self, thread: int) -> bool:
        return self._shut_by == thread or tuple(self._running.values()).count(thread) > 1

    def _wait_until_empty(self) -> None:
        """Wait for other threads; tokens of this thread are left over from an interruption."""
        thread = get_ident()
        _wait(lambda: all(owner == thread for owner in tuple(self._running.values())))


def _wait(is_over: Callable[[], bool]) -> None:
    """Poll until other threads are done, which usually takes microseconds."""
    pause_s = 0.00002
    while not is_over():
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_SECONDS)
