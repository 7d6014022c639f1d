"""
Disk space for LMDB's lock file.

LMDB would make a sparse file and write to it through a memory map. On a full disk such a write kills the process with
SIGBUS: when a log is new, and when a reader needs a slot in a page that was never used. So a new file gets all of its
bytes before LMDB sees it, and opening a log on a full disk raises an `OSError` instead.
"""

from __future__ import annotations

import errno
import os

from eventlog.store.folder import create_file

LOCK_FILE = "lock.mdb"
_HEADER_BYTES = 192
_READER_BYTES = 64


def open_locks(place: int, *, max_readers: int, mode: int) -> int:
    """
    Open the lock file, and make a new one with all of its bytes on the disk; an existing one is left alone.

    Args:
        place: a descriptor of the directory.
    """
    descriptor = create_file(LOCK_FILE, mode, place)
    try:
        if os.fstat(descriptor).st_size == 0:
            missing = bytes(_HEADER_BYTES + (max_readers - 1) * _READER_BYTES)
            if os.pwrite(descriptor, missing, 0) < len(missing):
                os.ftruncate(descriptor, 0)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), LOCK_FILE)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
