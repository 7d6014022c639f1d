"""
A lock between processes that ends with its holder and never loses a waiter.

LMDB has its own lock for writers, a robust mutex in shared memory, which we take too. But if a waiting process is
stopped or killed just as it is woken up, the wake-up is lost, and another process may wait forever
(docs/decisions/0007-file-lock-before-mutex.md). The kernel wakes every process that waits for a file lock, and Ctrl-C
ends the wait.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from operator import call

from eventlog.interruptions import unless_interrupted
from eventlog.uninterruptible import opening

try:
    import fcntl
except ImportError:  # no such system call: rely on LMDB's own locks
    fcntl = None  # type: ignore[assignment]


class FileLock:
    """
    The exclusive lock of an existing file or directory.

    `acquire()` waits for the lock, and does nothing if this process has it. `release()` gives it up, and does nothing
    if this process does not have it. Neither can be interrupted halfway (`uninterruptible.py`). Threads of one process
    do not exclude each other. A descriptor inherited by a child keeps the lock alive, so the child must call `close`.
    """

    descriptor = -1

    def __init__(self, open_file: Callable[[], int]) -> None:
        """Take over the descriptor of what a function opens."""
        [self.descriptor] = map(call, (open_file,))  # in one step, as with `opening`
        self.acquire: Callable[[], object] = bool
        self.release: Callable[[], object] = bool
        if fcntl is not None:
            self.acquire = partial(fcntl.flock, self.descriptor, fcntl.LOCK_EX)
            self.release = partial(fcntl.flock, self.descriptor, fcntl.LOCK_UN)

    def try_acquire(self) -> bool:
        """
        Take the lock unless another process has it; return whether it was taken.

        Returns True on systems without file locks.
        """
        if fcntl is None:
            return True
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except unless_interrupted(BlockingIOError):
            return False
        return True

    def read(self, size: int) -> bytes:
        """The first bytes of the file."""
        return os.pread(self.descriptor, size, 0)

    def write(self, data: bytes) -> None:
        """Write over the beginning of the file, for other processes to see."""
        os.pwrite(self.descriptor, data, 0)

    def close(self) -> None:
        """Close our descriptor; a lock that another process holds stays."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        if self.descriptor >= 0:  # an interruption may have come before anybody had us
            os.close(self.descriptor)


def directory_lock(path: str) -> FileLock:
    """Return the lock of a directory."""
    return FileLock(partial(_opened, path))


def _opened(path: str) -> int:
    [descriptor] = opening(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    return descriptor


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the lock of a directory for a `with` block."""
    lock = directory_lock(path)
    try:
        lock.acquire()
        yield
    finally:
        lock.release()  # a C function: no signal handler comes between
        lock.close()
