"""The turn to do something for all processes: the lock of a file, which the kernel takes back at a process's end."""

from __future__ import annotations

from functools import partial
from time import monotonic, sleep

from eventlog.interruptions import unless_interrupted
from eventlog.store.folder import Folder
from eventlog.store.lmdb.errors import kind_of
from eventlog.store.lmdb.file_lock import FileLock

_LOOK_AGAIN_SECONDS = 0.05


class Turn:
    """
    The turn of one open log; a log in memory needs none.

    Only one thread at a time may use it.

    Args:
        folder: where the file of the lock is.
        name: that of the file.
        work: what the turn is for, as a verb.
    """

    def __init__(self, folder: Folder | None, name: str = "cleaner", work: str = "clean") -> None:
        self._folder = folder
        self._name = name
        self._work = work
        self._lock: FileLock | None = None

    def acquire(self, deadline_s: float | None) -> bool:
        """Take the turn; False when another process has it until the deadline."""
        if self._folder is None:
            return True
        while not self._try(self._folder):
            left_s = _LOOK_AGAIN_SECONDS if deadline_s is None else deadline_s - monotonic()
            if left_s <= 0:
                return False
            sleep(min(left_s, _LOOK_AGAIN_SECONDS))
        return True

    def _try(self, folder: Folder) -> bool:
        try:
            if self._lock is None:
                folder.make()
                self._lock = FileLock(partial(folder.create, self._name))
            return self._lock.try_acquire()
        except unless_interrupted(OSError) as error:
            raise kind_of(error)(
                f"cannot take the turn to {self._work}: the file {self._name} in {folder.path} cannot be used: "
                f"{error}.",
                stored="Nothing was changed.",
                advice="Repair what the error names, and try again.",
            ) from error

    def release(self) -> None:
        """Let another process have it."""
        if self._lock is not None:
            self._lock.release()

    def close(self) -> None:
        """Close the file."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    forget = close
    """Close a forked child's copy of the file; the lock stays the parent's."""
