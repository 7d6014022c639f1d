"""
The gate: transactions on one side; growth, forks and closing on the other.

Whoever enters leaves a token, then looks whether the gate is shut; whoever shuts it does so first, and then waits
until the tokens are gone. So one of the two sees the other. A token is taken back by one call of a C function in
a `finally`, which Ctrl-C cannot prevent (`uninterruptible.py`); a count behind a lock could be lost.

Knows nothing of transactions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from threading import get_ident

_LONGEST_PAUSE_SECONDS = 0.005


class Gate:
    """
    Lets any number of threads in, or one thread alone.

    `leave(token, None)` is a C function: it works in a `finally`, whether `enter` came to an end or not.
    """

    def __init__(self) -> None:
        self._running: dict[object, int] = {}
        self._exclusion = threading.Lock()
        self._is_shut = False
        self._shut_by: int | None = None
        self.leave = self._running.pop

    def enter(self, token: object) -> None:
        """
        Wait while the gate is shut.

        A thread that is inside, or has shut the gate itself, comes a second time in a signal handler. It is let in:
        whoever waits for it would wait for ever, and what it interrupted goes on only when it is out again.
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

    def alone(self, action: Callable[[], None]) -> None:
        """Run something while nobody is inside."""
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
        """Wait until nobody is inside, and lets nobody in until `open()`."""
        self._exclusion.acquire()
        self._shut_by = get_ident()
        self._is_shut = True
        self._wait_until_empty()

    def open(self) -> None:
        """Let others in again."""
        self._is_shut = False
        self._shut_by = None
        self._exclusion.release()

    def _is_nested(self, thread: int) -> bool:
        return self._shut_by == thread or tuple(self._running.values()).count(thread) > 1

    def _wait_until_empty(self) -> None:
        """Wait for the others; what this very thread has left inside is left over from an interruption."""
        thread = get_ident()
        _wait(lambda: all(owner == thread for owner in tuple(self._running.values())))


def _wait(is_over: Callable[[], bool]) -> None:
    """Wait for what other threads are about to end; that takes microseconds as a rule, so nobody is woken."""
    pause_s = 0.00002
    while not is_over():
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_SECONDS)
