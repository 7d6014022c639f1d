"""
The file of a copy: it is written under another name, and gets its own when it is whole and on the disk.

So there is no `data.mdb` that a full disk or a crash has cut short, and a copy that failed can be made again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.folder import has_name
from eventlog.store.lmdb.data_file import DATA_FILE, sync_entries
from eventlog.store.lmdb.file_lock import FileLock, locked
from eventlog.uninterruptible import opening

PARTIAL_FILE = "data.mdb.partial"


class DestinationInUse(Exception):
    """
    Raised when another copy or a log came into the directory.

    It never leaves `store`.
    """


@contextlib.contextmanager
def new_data_file(directory: str, mode: int) -> Iterator[int]:
    """
    Open the data file of a copy for a `with` block, at whose end it is durable and complete.

    An error removes it. One that a killed process left is written again.
    """
    partial = os.path.join(directory, PARTIAL_FILE)
    lock = FileLock(lambda: _opened(partial))
    try:
        if not lock.try_acquire() or not _is_at(partial, lock.descriptor):
            raise DestinationInUse
        try:
            os.ftruncate(lock.descriptor, 0)
            yield lock.descriptor
            os.fchmod(lock.descriptor, mode)
            os.fsync(lock.descriptor)
            with locked(directory):  # nobody opens a log there meanwhile
                if has_name(os.path.join(directory, DATA_FILE)):
                    raise DestinationInUse
                os.rename(partial, os.path.join(directory, DATA_FILE))
            sync_entries(directory)
        except BaseException:
            with suppress(OSError):
                os.unlink(partial)
            raise
    finally:
        lock.close()


def _opened(path: str) -> int:
    [descriptor] = opening(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    return descriptor


def _is_at(path: str, descriptor: int) -> bool:
    """Whether a name still leads to an open file: another copy may have renamed it before we had its lock."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except unless_interrupted(FileNotFoundError):
        return False
