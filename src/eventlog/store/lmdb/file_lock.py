"""
A lock between processes that dies with its holder and forgets nobody who waits.

LMDB has a lock for writers of its own, a robust mutex in shared memory, and we ask for it too. But when a process
that waits for it is stopped or killed just as it is woken up, that wake-up is lost, and another process may wait
for ever (docs/decisions/0007-file-lock-before-mutex.md). The kernel wakes all who wait for a file lock; and
Ctrl-C ends the wait.

Knows nothing of what is locked.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator

try:
    import fcntl
except ImportError:  # no such system call: LMDB's own locks have to do
    fcntl = None  # type: ignore[assignment]


class FileLock:
    """
    The exclusive lock of one file, or of one directory, which must exist.

    `acquire()` waits for the lock, and does nothing when this process has it. `release()` lets others have it, and
    does nothing when this process has it not. Each is one step (`uninterruptible.py`). Threads of a process
    do not exclude each other. A descriptor that a child inherited keeps the lock alive, so the child has to call
    `close`.
    """

    def __init__(self, path: str) -> None:
        self._descriptor = os.open(path, (os.O_RDONLY if os.path.isdir(path) else os.O_RDWR) | os.O_CLOEXEC)
        self.acquire: Callable[[], object] = bool
        self.release: Callable[[], object] = bool
        if fcntl is not None:
            self.acquire = functools.partial(fcntl.flock, self._descriptor, fcntl.LOCK_EX)
            self.release = functools.partial(fcntl.flock, self._descriptor, fcntl.LOCK_UN)

    def try_acquire(self) -> bool:
        """
        Take the lock, unless another has it.

        True without file locks, too.
        """
        if fcntl is None:
            return True
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Close our descriptor; a lock that another process took with its own stays."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the lock of a file or directory for a block."""
    lock = FileLock(path)
    try:
        lock.acquire()
        yield
    finally:
        lock.close()
