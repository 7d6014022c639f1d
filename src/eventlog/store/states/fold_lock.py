"""The lock to fold a projection: a file lock for each projection, and another one for its rebuild."""

from __future__ import annotations

import contextlib
import os

from eventlog.backend.projections import StoredProjection
from eventlog.store.lmdb.data_file import make_directory
from eventlog.store.lmdb.errors import kind_of
from eventlog.store.lmdb.file_lock import FileLock

_REBUILD = ".rebuild"


class ProjectionFileLock:
    """A `FoldLock` on a file in the log's directory; the kernel releases it when the process dies."""

    def __init__(self, directory: str, projection: StoredProjection, *, is_rebuild: bool, mode: int) -> None:
        self._directory = directory
        self._path = _lock_path(directory, projection, is_rebuild=is_rebuild)
        self._mode = mode
        self._lock: FileLock | None = None
        self.is_held = False

    def try_acquire(self) -> bool:
        """Take the lock unless somebody has it; whether we have it now."""
        try:
            if self._lock is None:
                make_directory(self._directory, self._mode)
                os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, self._mode))
                self._lock = FileLock(self._path)
            self.is_held = self._lock.try_acquire()
        except OSError as error:
            raise kind_of(error)(
                f"cannot take the lock to fold a projection: its file {self._path} cannot be used: {error}.",
                stored="Nothing was stored.",
                advice="Repair what the error names, and try again.",
            ) from error
        return self.is_held

    def release(self) -> None:
        """Let another have the lock."""
        lock, self._lock = self._lock, None
        self.is_held = False
        if lock is not None:
            lock.release()
            lock.close()

    def forget(self) -> None:
        """Close a forked child's copy of the file; the lock stays the parent's."""
        lock, self._lock = self._lock, None
        self.is_held = False
        if lock is not None:
            lock.close()


def remove_lock_files(directory: str, projection: StoredProjection) -> None:
    """Remove the files of a projection that was deleted."""
    for is_rebuild in (False, True):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_lock_path(directory, projection, is_rebuild=is_rebuild))


def _lock_path(directory: str, projection: StoredProjection, *, is_rebuild: bool) -> str:
    return os.path.join(directory, projection.uuid.hex + (_REBUILD if is_rebuild else ""))
