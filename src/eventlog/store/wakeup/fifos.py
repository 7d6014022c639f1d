"""
What the two sides of a notification share: the names of the FIFOs, and the file that says that they have changed.

`changes` holds eight random bytes, written by each reader that has made or renamed its FIFO. A writer maps them,
so it sees without a system call that it knows all FIFOs.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Set as AbstractSet

from eventlog.interruptions import unless_interrupted
from eventlog.store.folder import Folder

FIFO_SUFFIX = ".fifo"
CHANGES_BYTES = 8
_CHANGES_NAME = "changes"
_MOST_SUBJECTS_LENGTH = 180
"""A name has room for no more; a longer subscription is one to everything."""


def fifo_name(base: str, subjects: AbstractSet[int] | None) -> str:
    """The name of a FIFO subscribed to some subjects; to everything when they are None, or too many for a name."""
    if subjects is not None:
        text = "".join(f".{subject:x}" for subject in sorted(subjects)) or "."
        if len(text) <= _MOST_SUBJECTS_LENGTH:
            return f"{base}{text}{FIFO_SUFFIX}"
    return f"{base}{FIFO_SUFFIX}"


def subjects_of(name: str) -> frozenset[int] | None:
    """The subjects that a FIFO is subscribed to; None, which is everything, for a name that we cannot read."""
    _, dot, text = name.removesuffix(FIFO_SUFFIX).partition(".")
    try:
        return frozenset(int(subject, 16) for subject in text.split(".") if subject) if dot else None
    except unless_interrupted(ValueError):
        return None


def map_changes(folder: Folder) -> mmap.mmap:
    """The bytes of `changes`, mapped."""
    descriptor = folder.create(_CHANGES_NAME)
    try:
        if os.fstat(descriptor).st_size < CHANGES_BYTES:
            _reserve(descriptor)  # it never shrinks: a mapped byte that is gone kills the process
        # Its copy of the descriptor is good for nothing; Python 3.13 can do without one.
        options = {"trackfd": False} if sys.version_info >= (3, 13) and sys.platform != "win32" else {}
        return mmap.mmap(descriptor, CHANGES_BYTES, access=mmap.ACCESS_READ, **options)
    finally:
        os.close(descriptor)


def note_change(folder: Folder) -> None:
    """Change the bytes; random ones, because counting could lose one of two changes of the same moment."""
    descriptor = folder.create(_CHANGES_NAME)
    try:
        os.pwrite(descriptor, os.urandom(CHANGES_BYTES), 0)
    finally:
        os.close(descriptor)


def _reserve(descriptor: int) -> None:
    """Give the file its size; not by a hole, where reading it could kill the process on a full memory disk."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, CHANGES_BYTES)
    else:
        os.ftruncate(descriptor, CHANGES_BYTES)
