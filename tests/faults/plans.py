"""
Which call is to fail, and how: the Python side of `failing.c`.

A process that was started with the library arms one plan after the other. Knows nothing of eventlog.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("failing.c")

WRITES = ("pwrite", "writev", "write")
SYNCS = ("fdatasync", "fsync", "msync")
DISK = (*WRITES, *SYNCS, "ftruncate", "fallocate")
"""What a disk is asked for: a failing one fails any of them."""
OTHERS = ("open", "mmap", "mkdir", "mkfifo", "rename", "flock", "lock", "utime")
"""What the system is asked for, and what runs out in it."""
KINDS = (*DISK, *OTHERS)
UNSYNCED = {"FAILING_UNSYNCED": "1"}
"""Leaves out the syncs themselves: they are slow, and who fails a call needs no disk."""


class Plan(NamedTuple):
    """
    One plan: the N-th of the calls of some kinds fails, from 1; 0 only counts.

    `form` is "before" (nothing is done), "short" (half of a write is done, and told) or "late" (all is done, and the
    error comes all the same). `persists` has all that follow fail too.
    """

    calls: str
    nth: int = 0
    error: str = "EIO"
    form: str = "before"
    persists: bool = False
    suffix: str = ""

    def __str__(self) -> str:
        which = "from then on" if self.persists else "alone"
        place = self.suffix and f" on *{self.suffix}"
        return f"call {self.nth} of {self.calls}{place}: {self.error}, {self.form}, {which}"


@functools.cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    library.failing_first.restype = ctypes.c_char_p
    for function in (library.failing_count, library.failing_failed):
        function.restype = ctypes.c_long
    return library


@contextlib.contextmanager
def armed(plan: Plan, directory: Path) -> Iterator[None]:
    """Follows a plan for a block, in the files below a directory."""
    arm(plan, directory)
    try:
        yield
    finally:
        disarm()


def arm(plan: Plan, directory: Path) -> None:
    """Follows a plan from now on, and counts from zero."""
    words = (plan.calls.encode(), ctypes.c_long(plan.nth), getattr(errno, plan.error), plan.form.encode())
    place = (os.fspath(directory).encode(), plan.suffix.encode())
    assert _library().failing_arm(*words, int(plan.persists), *place), f"failing.c does not know all of {plan.calls}"


def disarm() -> None:
    """Lets all calls pass."""
    _library().failing_disarm()


def counts() -> dict[str, int]:
    """How many calls of each kind there were since the plan was armed."""
    return {kind: _library().failing_count(kind.encode()) for kind in KINDS}


def failed_count() -> int:
    """How many calls failed."""
    return int(_library().failing_failed())


def first_failure() -> tuple[str, str]:
    """The kind and the path of the first call that failed."""
    kind, _, path = _library().failing_first().decode().partition(" ")
    return kind, path
