"""
The room on the volume: the bound of a file, what is left, and a reserve that deletions alone may use.

Deleting takes pages before it gives any back, so on a full volume it would fail as every other write does. The reserve
is a file beside the data; a deletion that finds no room turns a piece of it into room at the end of the data file.
Afterwards the other writers leave as many free pages inside the data file as the reserve lacks
(docs/decisions/0030-full-volume.md).
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from collections.abc import Callable
from functools import cached_property

from eventlog.interruptions import suppress, unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.store.folder import create_file

RESERVE_FILE = "reserve"
_MOST_BYTES = 512 << 10
_LEAST_BYTES = 64 << 10
_SHARE = 16
"""The reserve takes at most this part of the volume, and is made only while four times its size is free."""
_PAGE_BYTES = 4096
_PIECE_BYTES = 64 << 10
_SHARE_OF_BOUND = 8
_MOST_OF_BOUND_BYTES = 16 << 20


class Bound(NamedTuple):
    """The bound of a data file, of which appends leave a part to deletions (docs/decisions/0053-max-bytes.md)."""

    max_bytes: int

    @property
    def reserve_bytes(self) -> int:
        """The part that appends leave free: an eighth, 16 MiB at most."""
        return min(self.max_bytes // _SHARE_OF_BOUND, _MOST_OF_BOUND_BYTES)

    def limit(self, share: float) -> int:
        """Return the size up to which a request may make the file grow that may use this share of the reserve."""
        kept = int(self.reserve_bytes * (1 - share))
        return (self.max_bytes - kept) // mmap.PAGESIZE * mmap.PAGESIZE


class Reserve:
    """
    The reserve of one log.

    An empty file is a reserve that could not be made, so nothing is missing. A spent one keeps a byte. The file is open
    only while it changes: an open log takes many descriptors already.
    """

    def __init__(self, directory: str, mode: int) -> None:
        self._directory = directory
        self._path = f"{directory}/{RESERVE_FILE}"
        self._mode = mode
        with suppress(OSError, AttributeError):  # then deletions have none
            if not self._size():
                self._make()

    def _make(self) -> None:
        volume, wanted_bytes = os.statvfs(self._directory), self._wanted_bytes
        if volume.f_bavail * volume.f_frsize >= 4 * wanted_bytes:
            self._change(lambda descriptor, size: not size and _extend(descriptor, 0, wanted_bytes))

    @cached_property
    def _wanted_bytes(self) -> int:
        """The size of a whole reserve; 0 on a volume that is too small for one."""
        try:
            volume = os.statvfs(self._directory)
        except unless_interrupted(OSError, AttributeError):
            return 0
        share = volume.f_blocks * volume.f_frsize // _SHARE // _PAGE_BYTES * _PAGE_BYTES
        return min(_MOST_BYTES, share) if share >= _LEAST_BYTES else 0

    def _size(self) -> int | None:
        """The size of the file; None if it is missing, or none of ours."""
        try:
            return _size_of(os.lstat(self._path))
        except unless_interrupted(OSError):
            return None

    def _change(self, change: Callable[[int, int], bool]) -> bool:
        """
        Call a function with the file and its size, and return its result; an `OSError` if the file is none of ours.

        No block of a `with`: an interruption between its two functions would leave the file open.
        """
        descriptor = create_file(self._path, self._mode)
        try:
            size = _size_of(os.fstat(descriptor))
            if size is None:
                raise OSError(errno.EPERM, "it is no reserve", self._path)
            return change(descriptor, size)
        finally:
            os.close(descriptor)

    def missing_bytes(self) -> int:
        """Return how many bytes of the reserve were spent."""
        size = self._size()
        return max(0, self._wanted_bytes - size) if size else 0

    def fill(self) -> bool:
        """Make the reserve whole again; return whether it is."""
        wanted_bytes = self._wanted_bytes
        with suppress(OSError):
            return self._change(lambda found, size: size >= wanted_bytes or _extend(found, size, wanted_bytes))
        return not self.missing_bytes()

    def spend(self, data: int, end_bytes: int, share: float) -> bool:
        """
        Turn a piece of the reserve into room behind `end_bytes` of a data file; return whether there was one.

        The rest that is above `share` of the whole stays.

        Only the owner of the write lock may call it.
        """
        kept = int(self._wanted_bytes * (1 - share))

        def spend(descriptor: int, size: int) -> bool:
            if size <= max(1, kept):
                return False
            left = max(1, kept, size - _PIECE_BYTES)
            os.ftruncate(descriptor, left)
            behind = max(os.fstat(data).st_size - end_bytes, 0)  # an earlier commit that failed has written there
            try:
                _allocate(data, end_bytes, behind + size - left)
            except unless_interrupted(OSError) as error:  # another program was faster: the next piece may do
                if error.errno == errno.EFBIG:  # no room of the volume makes the file larger than it may be
                    _extend(descriptor, left, size)
                    return False
            return True

        with suppress(OSError):
            return self._change(spend)
        return False


def _size_of(status: os.stat_result) -> int | None:
    """The size of a reserve; None of what is something else, maybe somebody's."""
    is_ours = stat.S_ISREG(status.st_mode) and status.st_nlink <= 1 and status.st_size <= _MOST_BYTES
    return status.st_size if is_ours else None


def _extend(descriptor: int, size: int, wanted_bytes: int) -> bool:
    """Let a file take its bytes on the volume; whether there was room for all."""
    try:
        _allocate(descriptor, size, wanted_bytes - size)
    except unless_interrupted(OSError):
        with suppress(OSError):
            os.ftruncate(descriptor, size)
        return False
    return True


def _allocate(descriptor: int, start: int, count: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, start, count)
    elif (missing := start + count - os.fstat(descriptor).st_size) > 0:  # macOS
        os.pwrite(descriptor, bytes(missing), start + count - missing)


def allocated_bytes(descriptor: int) -> int:
    """Return how many bytes of a file are on the volume: holes are not."""
    status = os.fstat(descriptor)
    return min(status.st_size, status.st_blocks * 512)
