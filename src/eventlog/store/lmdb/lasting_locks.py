"""
Locks of an open file description: Linux's F_OFD_SETLK.

Another lock of a process ends when it closes any descriptor of the file; one of these ends with its own descriptor and
the copies of it. They need no bytes of the file, so a place far behind its end can have a meaning.
"""

from __future__ import annotations

import struct
import sys

from eventlog.interruptions import unless_interrupted

try:
    import fcntl
except ImportError:  # no such system call
    fcntl = None  # type: ignore[assignment]

HAS_LASTING_LOCKS = sys.platform == "linux" and hasattr(fcntl, "F_OFD_SETLK")
_LOCK = struct.Struct("hhqqi0q")
"""Linux's `struct flock`: kind, 0 (from the beginning), place, length, 0."""


def lock_shared(descriptor: int, place: int) -> bool:
    """Take a shared lock; False on a system that has no such locks, or not for this file."""
    if fcntl is None:
        return False
    return HAS_LASTING_LOCKS and _take(descriptor, fcntl.F_RDLCK, place)


def lock_alone(descriptor: int, place: int) -> bool:
    """Take an exclusive lock; False also where another descriptor has one."""
    if fcntl is None:
        return False
    return HAS_LASTING_LOCKS and _take(descriptor, fcntl.F_WRLCK, place)


def first_locked(descriptor: int, first: int, count: int = 0) -> int | None:
    """
    A place of a range that another descriptor has locked; None if there is none.

    A count of 0 stands for all places that follow.
    """
    if not HAS_LASTING_LOCKS:
        return None
    assert fcntl is not None
    try:
        found = _LOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_OFD_GETLK, _LOCK.pack(fcntl.F_WRLCK, 0, first, count, 0)))
    except unless_interrupted(OSError):
        return None
    return None if found[0] == fcntl.F_UNLCK else int(found[2])


def _take(descriptor: int, kind: int, place: int) -> bool:
    assert fcntl is not None
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _LOCK.pack(kind, 0, place, 1, 0))
    except unless_interrupted(OSError):
        return False
    return True
