"""The lock to fold a projection: a file lock for each projection, and another one for its rebuild."""

from __future__ import annotations

from eventlog.backend.projections import StoredProjection
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.folder import Folder
from eventlog.store.lmdb.errors import kind_of
from eventlog.store.lmdb.file_lock import FileLock

_REBUILD = ".rebuild"


class ProjectionFileLock:
    """A `FoldLock` on a file in the log's directory; the kernel releases it when the process dies."""

    def __init__(self, folder: Folder, projection: StoredProjection, *, is_rebuild: bool) -> None:
        self._folder = folder
        self._name = _lock_name(projection, is_rebuild=is_rebuild)
        self._lock: FileLock | None = None
        self.is_held = False

    def try_acquire(self) -> bool:
        """Take the lock unless somebody has it; whether we have it now."""
        try:
            if self._lock is None:
                self._folder.make()
                self._lock = FileLock(self._folder.create(self._name))
            self.is_held = self._lock.try_acquire()
        except unless_interrupted(OSError) as error:
            raise kind_of(error)(
                f"cannot take the lock to fold a projection: its file {self._name} in {self._folder.path} cannot be "
                f"used: {error}.",
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


def remove_lock_files(folder: Folder, projection: StoredProjection) -> None:
    """Remove the files of a projection that was deleted."""
    for is_rebuild in (False, True):
        with suppress(FileNotFoundError):
            folder.remove(_lock_name(projection, is_rebuild=is_rebuild))


def _lock_name(projection: StoredProjection, *, is_rebuild: bool) -> str:
    return projection.uuid.hex + (_REBUILD if is_rebuild else "")
