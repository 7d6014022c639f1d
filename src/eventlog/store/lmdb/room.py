"""
The room on the volume: what is left, and a reserve that deletions alone may use.

Deleting takes pages before it gives any back, so on a full volume it would fail as every other write does. The reserve
is a file beside the data; a deletion that finds no room turns a piece of it into room at the end of the data file.
Afterwards the other writers leave as many free pages inside the data file as the reserve lacks
(docs/decisions/0030-full-volume.md).
"""

from __future__ import annotations

import os

from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.folder import create_file

RESERVE_FILE = "reserve"
_MOST_BYTES = 512 << 10
_LEAST_BYTES = 64 << 10
_SHARE = 16
"""The reserve takes at most this part of the volume, and is made only while four times its size is free."""
_PAGE_BYTES = 4096
_PIECE_BYTES = 64 << 10


class Reserve:
    """
    The reserve of one log.

    An empty file is a reserve that could not be made, so nothing is missing. A spent one keeps a byte.
    """

    def __init__(self, directory: str, mode: int) -> None:
        self._descriptor = -1
        self._wanted_bytes = 0
        with suppress(OSError, AttributeError):  # then deletions have none
            self._open(directory, mode)

    def _open(self, directory: str, mode: int) -> None:
        volume = os.statvfs(directory)
        share = volume.f_blocks * volume.f_frsize // _SHARE // _PAGE_BYTES * _PAGE_BYTES
        descriptor = create_file(os.path.join(directory, RESERVE_FILE), mode)
        status = os.fstat(descriptor)
        if status.st_nlink > 1 or status.st_size > _MOST_BYTES:  # it is something else, maybe somebody's
            os.close(descriptor)
            return
        self._descriptor = descriptor
        self._wanted_bytes = min(_MOST_BYTES, share) if share >= _LEAST_BYTES else 0
        if not self._size() and volume.f_bavail * volume.f_frsize >= 4 * self._wanted_bytes:
            self.fill()

    def close(self) -> None:
        """Close the file; it keeps its bytes."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def missing_bytes(self) -> int:
        """Return how many bytes of the reserve were spent."""
        if self._descriptor < 0:
            return 0
        size = self._size()
        return max(0, self._wanted_bytes - size) if size else 0

    def fill(self) -> bool:
        """Make the reserve whole again; return whether it is."""
        if self._descriptor < 0 or (size := self._size()) >= self._wanted_bytes:
            return True
        try:
            _allocate(self._descriptor, size, self._wanted_bytes - size)
        except unless_interrupted(OSError):
            with suppress(OSError):
                os.ftruncate(self._descriptor, size)
            return False
        return True

    def spend(self, data: int, end_bytes: int, share: float) -> bool:
        """
        Turn a piece of the reserve into room behind `end_bytes` of a data file; return whether there was one.

        The rest that is above `share` of the whole stays.

        Only the owner of the write lock may call it.
        """
        kept = int(self._wanted_bytes * (1 - share))
        if self._descriptor < 0 or (size := self._size()) <= max(1, kept):
            return False
        left = max(1, kept, size - _PIECE_BYTES)
        try:
            os.ftruncate(self._descriptor, left)
        except unless_interrupted(OSError):
            return False
        behind = max(os.fstat(data).st_size - end_bytes, 0)  # an earlier commit that failed has written there
        with suppress(OSError):  # another program was faster: the next piece may do
            _allocate(data, end_bytes, behind + size - left)
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
