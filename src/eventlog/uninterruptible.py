"""
Calls that Ctrl-C cannot interrupt halfway.

Python runs signal handlers between two bytecodes: when a Python function begins, at the end of a loop iteration, and
after a C function has *returned*. So `lock.acquire()` may be interrupted when the lock is taken but the program has not
noted it yet. Everything inside one call of a C function is atomic in this sense: it happens completely or not at all.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import weakref
from _thread import RLock
from collections.abc import Callable, Iterator
from functools import partial
from operator import call
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from eventlog.errors import NestedCall
from eventlog.interruptions import is_interruption, suppress, unless_interrupted

K = TypeVar("K")
T = TypeVar("T")
AnyLock: TypeAlias = "threading.Lock | threading.RLock"

_OUR_FILES = (__file__.removesuffix("uninterruptible.py"), contextlib.__file__)
"""The files of functions that belong to a call of ours."""
AT_ONCE = (False,)
"""The argument with which `lock.acquire` does not wait."""
_WAITING = (True,)
"""The argument with which it waits."""


def call_atomically(*calls: Callable[[], object]) -> None:
    """
    Make some calls without an interruption between them; the first error ends the sequence.

    Each must be a C function or a `functools.partial` of one, because a Python function can be interrupted. Each must
    return None: a true value would end the sequence.
    """
    any(map(call, calls))


def try_acquire(lock: AnyLock, timeout: float) -> Iterator[bool]:
    """
    An iterator that tries once to take a lock, for up to `timeout` seconds (-1: forever), and yields whether it did.

    `for is_held in try_acquire(lock, timeout): pass` takes the lock and notes it without an interruption between the
    two: a `for` loop fetches a value and stores it, and no Python function begins or ends in between.
    """
    return map(lock.acquire, AT_ONCE) if timeout == 0 else map(lock.acquire, (True,), (timeout,))


def opening(path: str | os.PathLike[str], flags: int, mode: int = 0o777, place: int | None = None) -> Iterator[int]:
    """
    An iterator that opens a file once, and yields its descriptor.

    `[descriptor] = opening(path, flags)` opens the file and notes it without an interruption between the two: no
    function begins or ends in between. In `descriptor = os.open(path, flags)` a handler may raise when the file is open
    and nobody knows its number.

    Args:
        place: a descriptor of the directory that the path begins in.
    """
    return map(call, (partial(os.open, path, flags | os.O_CLOEXEC, mode, dir_fd=place),))


def close_file(descriptors: list[int] | dict[K, int], place: int | K) -> None:
    """Close a file and take it out of a list or a dictionary, in one step."""
    with suppress(OSError):
        known: Any = descriptors
        call_atomically(partial(known.__delitem__, place), partial(os.close, known[place]))


def close_files(descriptors: list[int]) -> None:
    """Close some files and take them off their list, each in one step."""
    while descriptors:
        close_file(descriptors, -1)


def start_thread(thread: threading.Thread) -> None:
    """
    Start a thread; whatever interrupts us comes out as it is.

    `Thread.start` waits on a condition until the thread runs. An interruption between two lines of that wait has it
    release a lock that it has not taken, and a `RuntimeError` takes the place of what a handler raised.
    """
    try:
        thread.start()
    except unless_interrupted(RuntimeError) as error:
        interruption = error.__context__
        if interruption is not None and is_interruption(interruption):
            raise interruption from None
        raise


def is_in_a_call() -> bool:
    """Whether our present call was made, by a signal handler or a finalizer say, in the middle of another of ours."""
    frame = _first(sys._getframe(), is_ours=False)
    return frame is not None and _first(frame, is_ours=True) is not None


def _first(frame: FrameType | None, *, is_ours: bool) -> FrameType | None:
    while frame is not None and frame.f_code.co_filename.startswith(_OUR_FILES) != is_ours:
        frame = frame.f_back
    return frame


class NestingLock(RLock):  # type: ignore[misc]
    """
    A reentrant lock that a thread does not wait for while others may wait for that thread.

    Such a thread was interrupted by a signal handler or a finalizer, which asks for the lock in the middle of a call.
    It gets the lock if it is free, and `NestedCall` otherwise.

    Args:
        is_interrupted: whether this thread holds something that others wait for.
    """

    # `__exit__` stays that of the base, a C function: one in Python could be interrupted before its first line.
    __slots__ = ("_is_interrupted",)

    def __init__(self, is_interrupted: Callable[[], bool]) -> None:
        self._is_interrupted = is_interrupted

    @property
    def is_ours(self) -> bool:
        """Whether this very thread holds it."""
        owned: bool = self._is_owned()  # type: ignore[attr-defined]
        return owned

    def __enter__(self) -> bool:  # type: ignore[override]
        for is_held in map(self.acquire, AT_ONCE):
            if is_held:
                return True  # no handler runs between: nothing is called
        return self._wait()

    def _wait(self) -> bool:
        if self._is_interrupted():
            raise NestedCall(
                "cannot wait for another thread inside a call of this thread: a signal handler or a finalizer called "
                "us, and the other may wait for the call.",
                stored="Nothing was changed.",
                advice="Call it outside.",
            )
        for is_held in map(self.acquire, _WAITING):
            if is_held:
                return True
        raise AssertionError("a lock is taken or waited for")


class WeakMembers(Generic[T]):
    """
    A set that holds its members weakly, and hears of their end in a C function.

    The callback of a `WeakSet` is written in Python. A signal handler may run in it, and Python ignores what is raised
    there.
    """

    __slots__ = ("_references",)

    def __init__(self) -> None:
        self._references: dict[weakref.ref[T], None] = {}

    def add(self, member: T) -> None:
        """Add a member, unless it is one."""
        reference = weakref.ref(member, self._references.pop)
        self._references.setdefault(reference)

    def discard(self, member: T) -> None:
        """Remove a member, if it is one."""
        self._references.pop(weakref.ref(member), None)

    def __iter__(self) -> Iterator[T]:
        for reference in list(self._references):  # a tuple is allocated midway, and the collector removes members then
            member = reference()
            if member is not None:
                yield member


class HeldLock:
    """
    A lock held for a `with` block, and released after it in every case.

    Args:
        timeout: seconds to wait for the lock.
        judge: called with whether the lock was taken; raises if the block must not run.
    """

    # With a slot of that name, `with` calls the lock's own `__exit__`, a C function. One in Python could be interrupted
    # before its first line, and the lock would stay taken.
    if TYPE_CHECKING:

        def __exit__(
            self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
        ) -> None: ...

    else:
        __slots__ = ("__exit__", "_judge", "_lock", "_timeout")

    def __init__(self, lock: AnyLock, timeout: float, judge: Callable[[bool], None]) -> None:
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
