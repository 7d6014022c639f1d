"""
Steps that Ctrl-C can not come between.

Python runs a signal handler between two bytecodes: when a function of Python begins, at the end of a loop's turn,
and after a call of a C function has *returned*. So in `lock.acquire()` an interruption may come when the lock is
taken and nobody knows it yet. What runs inside one call of a C function is one step: it happens wholly, or not at
all. Knows nothing of what the steps are.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from operator import call
from types import TracebackType
from typing import TYPE_CHECKING


def together(*calls: Callable[[], object]) -> None:
    """
    Makes some calls in one step; an error of one ends it.

    Each must be a C function, or a `functools.partial` of one: a function of Python can be interrupted.
    """
    deque(map(call, calls), maxlen=0)


def acquire(lock: threading.Lock, held: list[bool], timeout: float) -> None:
    """Takes a lock and notes it in `held` in one step, if it comes in `timeout` seconds; -1 waits for ever."""
    arguments = ((False,), (-1,)) if timeout == 0 else ((True,), (timeout,))
    held.extend(filter(None, map(lock.acquire, *arguments)))


class Held:
    """
    Is a lock held for a `with` block, and let go after it whatever happens.

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
        held: list[bool] = []
        try:
            acquire(self._lock, held, self._timeout)
            self._judge(bool(held))
        except BaseException:
            if held:
                self._lock.release()
            raise
