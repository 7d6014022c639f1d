"""The lock to fold a projection: a file lock for each projection, and another one for its rebuild."""

from __future__ import annotations

import struct
from functools import partial
from threading import get_ident

from eventlog.backend.projections import StoredProjection
from eventlog.errors import NestedCall
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.folder import Folder
from eventlog.store.lmdb.errors import kind_of
from eventlog.store.lmdb.file_lock import FileLock

_REBUILD = ".rebuild"
_NOTE = struct.Struct("<QQ")
"""The log position from which records are folded, and how many at most; zeros when nobody folds."""


class ProjectionFileLock:
    """A `FoldLock` on a file in the log's directory; the kernel releases it when the process dies."""

    def __init__(
        self, folder: Folder, projection: StoredProjection, *, is_rebuild: bool, holders: dict[str, int]
    ) -> None:
        self._folder = folder
        self._holders = holders
        self._name = _lock_name(projection, is_rebuild=is_rebuild)
        self._lock: FileLock | None = None
        self._is_noted = False
        self._left_note: tuple[int, int] | None = None
        self.is_held = False

    def try_acquire(self) -> bool:
        """Take the lock unless somebody has it; whether we have it now."""
        try:
            if self._lock is None:
                self._folder.make()
                self._lock = FileLock(partial(self._folder.create, self._name))
            self.is_held = self._lock.try_acquire()
            if self.is_held:
                self._holders[self._name] = get_ident()
                self._left_note = _unpacked(self._lock.read(_NOTE.size))
        except unless_interrupted(OSError) as error:
            raise kind_of(error)(
                f"cannot take the lock to fold a projection: its file {self._name} in {self._folder.path} cannot be "
                f"used: {error}.",
                stored="Nothing was stored.",
                advice="Repair what the error names, and try again.",
            ) from error
        if not self.is_held and self.is_ours:
            raise NestedCall(
                "cannot wait for the fold of a projection that this thread is in the middle of: its function, a signal "
                "handler or a finalizer called us.",
                stored="Nothing was changed.",
                advice="Call it outside.",
            )
        return self.is_held

    @property
    def is_ours(self) -> bool:
        """Whether this very thread has it, by whatever object."""
        return self._holders.get(self._name) == get_ident()

    def note(self, log_position: int, most: int) -> None:
        """Leave word for the next holder of what is folded now."""
        if self._lock is not None:
            with suppress(OSError):  # it helps, and nothing depends on it
                self._is_noted = True
                self._lock.write(_NOTE.pack(log_position, most))

    def left_note(self) -> tuple[int, int] | None:
        """What the holder before us has noted, if it died while it held the lock; said once."""
        note, self._left_note = self._left_note, None
        return note

    def release(self) -> None:
        """Let another have the lock; called again after an interruption, do what is left."""
        lock = self._lock
        if lock is not None:
            if self._is_noted:
                self.note(0, 0)
                self._is_noted = False
            if lock.descriptor >= 0:
                lock.release()
                lock.close()
            self._lock = None
        if self.is_held:
            self._holders.pop(self._name, None)
            self.is_held = False

    def forget(self) -> None:
        """Close a forked child's copy of the file; the lock stays the parent's."""
        lock, self._lock = self._lock, None
        self.is_held = False
        if lock is not None:
            lock.close()


def _unpacked(data: bytes) -> tuple[int, int] | None:
    if len(data) < _NOTE.size:
        return None
    log_position, most = _NOTE.unpack(data)
    return (log_position, most) if most else None


def remove_lock_files(folder: Folder, projection: StoredProjection) -> None:
    """Remove the files of a projection that was deleted."""
    for is_rebuild in (False, True):
        with suppress(FileNotFoundError):
            folder.remove(_lock_name(projection, is_rebuild=is_rebuild))


def _lock_name(projection: StoredProjection, *, is_rebuild: bool) -> str:
    return projection.uuid.hex + (_REBUILD if is_rebuild else "")
