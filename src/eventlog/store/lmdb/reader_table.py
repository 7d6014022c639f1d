"""
LMDB's table of readers, for whose mutex nobody waits.

A read enters itself into the table under a mutex of LMDB that holds the number of its owner's thread. Two pid
namespaces have equal numbers, and if a thread is killed while it waits for an owner of its own number, the kernel takes
that one for dead. So whoever may take the mutex takes a lock of `lock.mdb` first, which the kernel knows by the open
file and gives back with the process; then nobody waits for the mutex (docs/decisions/0029-ids-of-readers.md).

    container one                            container two, with equal numbers of threads
    1  takes the lock of `lock.mdb`          a  finds the lock taken, sleeps, and looks again
    2  takes the mutex, is stopped           b  is killed while it sleeps: it never touched the mutex
    3  goes on, gives both back

The lock costs more than the read. So py-lmdb keeps one transaction of each environment with its place in the table;
a read that finds it takes neither the mutex nor the lock. A child of a fork must forget the kept one, which is its
parent's.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from operator import call
from typing import Any, Final, TypeVar

import lmdb

from eventlog.accelerators import accelerated, is_compiled
from eventlog.interruptions import unless_interrupted
from eventlog.uninterruptible import try_acquire

try:
    import fcntl
except ImportError:  # no such system call
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")
COPIES: Final[dict[str, Any]] = {}
VIEWS: Final[dict[str, Any]] = {"buffers": True}
"""The options of a read transaction that copies, and of one that gives memoryviews."""
WRITERS_MUTEX_AT = 64
"""Where LMDB's mutex of writers begins in `lock.mdb`."""
_OWNER_DIED = 0x4000_0000
_LONGEST_PAUSE_SECONDS = 0.005
_SPARE_AT: list[int] = []
"""Where py-lmdb's environments have their spare transaction, once a process has looked; -1 if that is not clear."""


def spare_count() -> int:
    """How many transactions py-lmdb may keep: none where a child could not forget them."""
    return int(is_compiled() and _SPARE_AT != [-1])


class ReaderTable:
    """
    The table of one open environment.

    Any thread may call anything. A signal handler may do so in the midst of a call: a lock is taken, used and given
    back without a handler between.

    Args:
        lock_file: a descriptor of `lock.mdb`; -1 where no pid namespaces are, or nobody else can have the log open.
        writers_mutex: the address of LMDB's mutex of writers; 0 if it is not known.
    """

    __slots__ = ("_busy", "_exclusion", "_lock_file", "_writers_mutex", "slots")

    def __init__(self, lock_file: int = -1, writers_mutex: int = 0) -> None:
        self._lock_file = lock_file
        self._writers_mutex = writers_mutex
        self._exclusion = threading.RLock()
        """Against other threads of this process, which share the lock; a handler's call passes it."""
        self._busy: list[None] = []
        """Not empty while a thread is at it that lets others run: for the accelerator, which takes no `_exclusion`."""
        self.slots = (_SPARE_AT[0] if _SPARE_AT else -1, self._lock_file, self._busy)
        """What `begin_reading` needs."""

    def keeps_spares(self, handle: lmdb.Environment) -> bool:
        """Whether a child could forget the spare transaction of a new environment; if not, open one without."""
        if _SPARE_AT or not spare_count():
            return True
        place = self.alone(partial(_find_spare, handle))
        _SPARE_AT[:] = [place]
        self.slots = (place, *self.slots[1:])
        return place >= 0

    def begin(self, handle: lmdb.Environment, options: dict[str, Any] = COPIES) -> Any:
        """Begin a read transaction, after waiting for those who enter the table."""
        return begin_reading(handle, self.slots, options) or self.alone(partial(handle.begin, **options))

    def begin_writing(self, handle: lmdb.Environment) -> lmdb.Transaction[bytes]:
        """
        Begin a write transaction, with the lock of the data file.

        If the last writer died in its own, LMDB looks for readers that died too, and takes them out under the mutex.
        """
        if self._lock_file >= 0 and _writer_died(self._writers_mutex, self._lock_file):
            return self.alone(partial(handle.begin, write=True))
        return handle.begin(write=True)

    def alone(self, function: Callable[[], T]) -> T:
        """
        Call a function that may take the mutex, while nobody else calls one.

        It must be a C function or a `functools.partial` of one.
        """
        if self._lock_file < 0:
            return function()
        pause_s = 0.000_02
        while not (results := self._try(function)):
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_SECONDS)
        return results[0]

    def _try(self, function: Callable[[], T]) -> list[T]:
        """Call the function and return its result; nothing if another thread or process is at it."""
        assert fcntl is not None
        take = partial(fcntl.flock, self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        give_back = partial(fcntl.flock, self._lock_file, fcntl.LOCK_UN)
        steps: list[Callable[[], Any]] = [partial(self._busy.append, None), take, function]
        ends: list[Callable[[], Any]] = [self._busy.clear, give_back, self._exclusion.release]
        ending = map(call, ends)
        is_held = False
        try:
            for is_held in try_acquire(self._exclusion, 0):  # noqa: B007
                pass
            if not is_held:
                return []
            return [*map(call, steps)][2:]
        except unless_interrupted(BlockingIOError):
            return []
        except unless_interrupted(OSError) as error:
            raise lmdb.LockError(str(error)) from error
        finally:
            if is_held:
                any(ending)  # one call of a C function: no handler comes between


def forget_spare(handle: lmdb.Environment) -> None:
    """In the child of a fork: have its parent's environment end without its spare transaction."""
    _forget_spare(handle, _SPARE_AT[0] if _SPARE_AT else -1)


@accelerated("begin_reading")
def begin_reading(handle: Any, slots: tuple[int, int, list[None]], options: dict[str, Any]) -> Any:
    """Begin a read transaction if that needs no wait; None otherwise."""
    return handle.begin(**options) if slots[1] < 0 else None


@accelerated("find_spare")
def _find_spare(handle: Any) -> int:  # noqa: ARG001
    """Return where an environment keeps its spare transaction, seen from what a read changes; -1 if it is not clear."""
    return -1


@accelerated("forget_spare")
def _forget_spare(handle: Any, place: int) -> None:
    """Take the spare transaction out of an environment, without ending it; in Python there is none."""


@accelerated("writer_died")
def _writer_died(address: int, lock_file: int) -> bool:  # noqa: ARG001
    """Return whether the last owner of LMDB's write lock died with it, which begins at this address, or in the file."""
    words = os.pread(lock_file, 8, WRITERS_MUTEX_AT)  # glibc's word is the first, musl's the second
    return any(int.from_bytes(words[at : at + 4], sys.byteorder) & _OWNER_DIED for at in (0, 4))
