"""
Steps that Ctrl-C cannot come between.

Python runs a signal handler between two bytecodes: when a function of Python begins, at the end of a loop's turn,
and after a call of a C function has *returned*. So in `lock.acquire()` an interruption may come when the lock is
taken and nobody knows it yet. What runs inside one call of a C function is one step: it happens wholly, or not at
all. Knows nothing of what the steps are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from operator import call
from types import TracebackType
from typing import TYPE_CHECKING

_AT_ONCE = (False,)
"""The argument with which `lock.acquire` does not wait."""


def call_atomically(*calls: Callable[[], object]) -> None:
    """
    Make some calls in one step; an error of one ends it.

    Each must be a C function, or a `functools.partial` of one: a function of Python can be interrupted. Each returns
    nothing: what is true would end it.
    """
    any(map(call, calls))


def try_acquire(lock: threading.Lock, timeout: float) -> Iterator[bool]:
    """
    One attempt to take a lock, made when a loop asks: whether it came in `timeout` seconds; -1 waits for ever.

    `for is_held in try_acquire(lock, timeout): pass` takes it and notes it in one step. The header of a loop gets a
    value and stores it, and no function begins or ends between.
    """
    return map(lock.acquire, _AT_ONCE) if timeout == 0 else map(lock.acquire, (True,), (timeout,))


class HeldLock:
    """
    A lock held for a `with` block, and let go after it whatever happens.

    Args:
        timeout: seconds to wait for it.
        judge: is told whether the lock came, and raises when the block may not run.
    """

    # A slot of that name makes the lock's own `__exit__`, a C function, the one that `with` calls. One of Python
    # could be interrupted before its first line, and the lock would stay taken.
    if TYPE_CHECKING:

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None: ...

    else:
        __slots__ = ("__exit__", "_judge", "_lock", "_timeout")

    def __init__(self, lock: threading.Lock, timeout: float, judge: Callable[[bool], None]) -> None:
        self._lock = lock
        self._timeout = timeout
        self._judge = judge
        if not TYPE_CHECKING:
            self.__exit__ = lock.__exit__

    def __enter__(self) -> None:
        is_held = False
        try:
            for is_held in try_acquire(self._lock, self._timeout):  # noqa: B007
                pass
            self._judge(is_held)
        except BaseException:
            if is_held:
                self._lock.release()
            raise
