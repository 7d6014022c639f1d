"""
LMDB's lock file seen from outside: whether it has room on the disk.

LMDB would make it of a hole, and writes to it through its map. A write to a hole on a full disk kills the process by
SIGBUS: who opens a new log, and who needs a reader's slot in a page of the file that nobody has used yet. So a new
file gets all of its bytes before LMDB sees it, and who opens the log on a full disk gets an `OSError`.

Knows nothing of locks.
"""

from __future__ import annotations

import errno
import os

LOCK_FILE = "lock.mdb"
_HEADER_BYTES = 192
_READER_BYTES = 64


def reserve_locks(directory: str, *, max_readers: int, mode: int) -> None:
    """Make a new lock file with all of its bytes on the disk; one that is there is left alone."""
    path = os.path.join(directory, LOCK_FILE)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode)
    try:
        if os.fstat(descriptor).st_size > 0:
            return
        missing = bytes(_HEADER_BYTES + (max_readers - 1) * _READER_BYTES)
        if os.pwrite(descriptor, missing, 0) < len(missing):
            os.ftruncate(descriptor, 0)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
    finally:
        os.close(descriptor)
