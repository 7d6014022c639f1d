"""
How a reader that has nothing to read learns that somebody appended.

Every waiting reader owns a FIFO in the log's `waiters/` directory; who commits writes one byte into each, in this
process or in another. A bell may be lost, never a record: a reader looks at the log once more before it sleeps,
and again every `FALLBACK_SECONDS`.

    reader                                   writer
    1  makes the FIFO, changes `changes`     a  commits
    2  looks at the log: nothing             b  looks at `changes`; if they are others, for FIFOs
    3  sleeps on the FIFO                    c  writes into each

If (a) comes before (2), the reader sees the record. If it comes after, (b) comes after (1), and the byte is in
the FIFO when the reader goes to sleep. Knows nothing of what was appended.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import select
import threading
import time
import weakref
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

FALLBACK_SECONDS = 0.1
_SUFFIX = ".fifo"
_CHANGES_NAME = "changes"
_CHANGES_BYTES = 8
"""Random ones, written anew by each reader that has made its FIFO: who rings sees them in memory, without a call."""
_MOST_TRUSTED_COUNT = 256
"""So many rings later the directory is looked at all the same: somebody may have removed what is in it."""
_numbers = itertools.count()


class Bells:
    """
    Wakes the waiting readers of all processes.

    `ring()` belongs to whoever holds the write lock.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = os.fspath(directory)
        self._changes: mmap.mmap | bytes = b""
        self._seen: bytes | None = None
        self._trusted_count = 0
        self._pipes: dict[str, int] = {}

    def ring(self) -> None:
        """
        Writes one byte to every waiting reader.

        Never blocks and never fails: a lost bell costs 100 ms.
        """
        try:
            changes = self._changes[:_CHANGES_BYTES]
        except ValueError:
            return  # the log is being closed
        self._trusted_count -= 1
        if changes != self._seen or self._trusted_count < 0:
            self._look_again()
        if self._pipes:
            self._ring_all()

    def _ring_all(self) -> None:
        for name, pipe in list(self._pipes.items()):
            try:
                os.write(pipe, b"\0")
            except BlockingIOError:
                continue  # full of bells already
            except OSError:
                self._drop(name)

    def close(self) -> None:
        """
        Closes the pipes.

        The next `ring()` would open them again.
        """
        pipes, self._pipes, self._seen = self._pipes, {}, None
        _close(*pipes.values())
        if not isinstance(self._changes, bytes):
            self._changes.close()
        self._changes = b""

    def _look_again(self) -> None:
        """Opens the FIFOs that are there now; what came after our look at the bytes shows at the next ring."""
        try:
            self._changes = _map_changes(self._directory)  # anew: somebody may have removed the file
            changes = self._changes[:_CHANGES_BYTES]
            names = {name for name in os.listdir(self._directory) if name.endswith(_SUFFIX)}
        except (OSError, ValueError):
            return
        for name in self._pipes.keys() - names:
            os.close(self._pipes.pop(name))
        for name in names - self._pipes.keys():
            path = os.path.join(self._directory, name)
            try:
                self._pipes[name] = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(path)  # its reader is dead: a living one opened it before it had this name
        self._seen = changes
        self._trusted_count = _MOST_TRUSTED_COUNT

    def _drop(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.close(self._pipes.pop(name))
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._directory, name))


def _open_changes(directory: str | os.PathLike[str]) -> int:
    """A descriptor of the file of changes, made when it is missing; who may write to the directory may write to it."""
    mode = os.stat(directory).st_mode & 0o666
    return os.open(os.path.join(directory, _CHANGES_NAME), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)


def _map_changes(directory: str) -> mmap.mmap:
    descriptor = _open_changes(directory)
    try:
        if os.fstat(descriptor).st_size < _CHANGES_BYTES:
            _reserve(descriptor)  # it never shrinks: a mapped byte that is gone kills the process
        return mmap.mmap(descriptor, _CHANGES_BYTES, access=mmap.ACCESS_READ)
    finally:
        os.close(descriptor)


def _reserve(descriptor: int) -> None:
    """Gives the file its size; not by a hole, where looking at it could kill the process on a full memory disk."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, _CHANGES_BYTES)
    else:
        os.ftruncate(descriptor, _CHANGES_BYTES)


def _tell_of_change(directory: Path) -> None:
    """Changes the bytes; to count would be to lose one of two changes of the same moment."""
    descriptor = _open_changes(directory)
    try:
        os.pwrite(descriptor, os.urandom(_CHANGES_BYTES), 0)
    finally:
        os.close(descriptor)


class Waiter:
    """
    Is one reader's place to sleep.

    `wait` belongs to one thread; `wake` may come from any. Where the system has no FIFOs it polls.
    """

    def __init__(self, directory: Path, *, mode: int = 0o600) -> None:
        self._directory = directory
        self._mode = mode
        self._path: Path | None = None
        self._read_end = -1
        self._write_end = -1
        self._poll: select.poll | None = None
        self._finalizer: weakref.finalize[..., Waiter] | None = None
        self._others: frozenset[int] = frozenset()
        self._fallback = threading.Lock()  # no event: Ctrl-C could leave its lock taken, and `wake` would hang
        self._fallback.acquire()
        self._ends = threading.RLock()

    def arm(self) -> None:
        """Makes the FIFO; look at the log once more before the first `wait()`."""
        if self._poll is not None or not hasattr(os, "mkfifo"):
            return
        name = f"{os.getpid()}-{next(_numbers)}-{time.monotonic_ns()}"
        hidden, path = self._directory / f".{name}", self._directory / f"{name}{_SUFFIX}"
        try:
            self._directory.mkdir(mode=self._mode | (self._mode & 0o444) >> 2, exist_ok=True)
            os.mkfifo(hidden, self._mode)
            self._read_end = os.open(hidden, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._write_end = os.open(hidden, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            os.rename(hidden, path)
            _tell_of_change(self._directory)
        except OSError:
            self.close()  # no FIFOs here; wait() polls
            return
        self._path = path
        # A dropped reader leaves its file; who rings next finds nobody at the other end, and removes it.
        self._finalizer = weakref.finalize(self, _close, self._read_end, self._write_end)
        self._finalizer.atexit = False
        self._poll = self._polling(self._others)

    def watch(self, descriptors: AbstractSet[int]) -> None:
        """Has `wait` end also when the other side of one of these pipes is gone."""
        if descriptors == self._others:
            return
        others = frozenset(descriptors)
        poll = None if self._poll is None else self._polling(others)
        self._poll, self._others = poll, others  # both or none: what stays in is ready for ever once it is closed

    def _polling(self, others: frozenset[int]) -> select.poll:
        poll = select.poll()
        poll.register(self._read_end, select.POLLIN)
        for descriptor in others:
            poll.register(descriptor, 0)
        return poll

    def wait(self, seconds: float) -> bool:
        """
        Sleeps until a bell, `wake()`, or the time is over; at most `FALLBACK_SECONDS`.

        False when nothing but time passed. Ctrl-C works.
        """
        seconds = min(seconds, FALLBACK_SECONDS)
        if self._poll is None:
            return self._fallback.acquire(timeout=max(min(seconds, FALLBACK_SECONDS / 20), 0.0))
        if not self._poll.poll(seconds * 1000):
            return False
        with contextlib.suppress(BlockingIOError):
            os.read(self._read_end, 65536)
        return True

    def wake(self) -> None:
        """Ends a `wait()` that runs now, or else the next one."""
        with contextlib.suppress(RuntimeError):  # it was woken before, and has not noticed yet
            self._fallback.release()
        with self._ends:  # else close() may give the number of our end to another file
            if self._write_end >= 0:
                with contextlib.suppress(OSError):
                    os.write(self._write_end, b"\0")

    def close(self) -> None:
        """Removes the FIFO."""
        self._poll = None
        if self._path is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            self._path = None
        self._close_ends()

    def forget(self) -> None:
        """Closes a child's copies of our ends after a fork, and leaves the file, which is the parent's."""
        self._ends = threading.RLock()  # a thread that did not come along may have held the other
        self._close_ends()

    def _close_ends(self) -> None:
        with self._ends:
            ends, self._read_end, self._write_end = (self._read_end, self._write_end), -1, -1
            self._poll = None
            if self._finalizer is not None:
                self._finalizer.detach()
                self._finalizer = None
            _close(*ends)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)
