"""
What the engine's errors mean to us.

LMDB says what failed by the kind of its error, and by the system's own words in its text. Here these become our
errors, each with what is stored now and what to do. Knows the names of LMDB's kinds, and nothing else of it.
"""

from __future__ import annotations

import errno
import os
from typing import NamedTuple

from eventlog.errors import (
    DiskFull,
    EventLogError,
    FormatTooNew,
    NotALog,
    ReadOnlyLog,
    StorageError,
    UnsupportedFileSystem,
)

_FULL_KINDS = {"DiskError", "MapFullError"}
_FULL_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL = tuple(map(os.strerror, _FULL_NUMBERS))
_HALF_WRITTEN = os.strerror(errno.EIO)
_REFUSED = tuple(map(os.strerror, (errno.EACCES, errno.EPERM, errno.EROFS)))
_TOO_MANY_FILES = tuple(map(os.strerror, (errno.EMFILE, errno.ENFILE)))
_UNABLE = tuple(
    map(os.strerror, (errno.ENOMEM, errno.ENODEV, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP))
)


class EngineFailure(NamedTuple):
    """
    An error of the engine: what we did, its kind and its text.

    `text` may begin with the path, which says nothing of the error; `words` is what remains. LMDB calls it an
    input/output error when the disk took only half of a write, so we look whether the disk is full.
    """

    verb: str
    kind: str
    text: str
    path: str
    map_bytes: int
    max_readers: int
    is_disk_full: bool = False

    @property
    def words(self) -> str:
        """The text without the path."""
        return self.text.replace(self.path, "")

    def says(self, *words: str) -> bool:
        """Whether the text has one of these."""
        return any(one in self.words for one in words)


def translated(failure: EngineFailure) -> EventLogError:
    """Our error for one of the engine's."""
    if failure.verb == "open" and (failure.kind == "VersionMismatchError" or failure.says("lib_version", "engine")):
        return FormatTooNew(
            f"cannot open {failure.path}: another engine wrote it ({failure.text}). Nothing is damaged. "
            "Upgrade eventlog to open it."
        )
    if failure.verb == "open" and failure.kind in {"InvalidError", "CorruptedError"}:
        return NotALog(
            f"cannot open {failure.path}: data.mdb is not a log ({failure.text}). It was left as it was. "
            "Choose another directory."
        )
    now = "Nothing of this call was acknowledged." if failure.verb == "write" else "Nothing was changed."
    place = f"cannot {failure.verb} the log at {failure.path}: {failure.text}. {now}"
    if (
        failure.kind in _FULL_KINDS
        or failure.says("MDB_MAP_FULL", *_FULL)
        or (failure.is_disk_full and failure.says(_HALF_WRITTEN))
    ):
        return DiskFull(f"{place} Make room, then close the log and open it again.")
    if failure.kind == "ReadonlyError" or failure.says(*_REFUSED):
        return ReadOnlyLog(f"{place} Let this user write to the directory and its files.")
    if failure.kind == "ReadersFullError":
        return StorageError(f"{place} More than {failure.max_readers} readers are open; close some.")
    if failure.says(*_TOO_MANY_FILES):
        return StorageError(f"{place} Raise the limit of open files (`ulimit -n`), or close some, and try again.")
    if failure.says(*_UNABLE):
        return UnsupportedFileSystem(
            f"{place} The file system must support mmap and locks: use a local disk, and a map (map_size=, now "
            f"{failure.map_bytes} bytes) that this machine's address space has room for."
        )
    return StorageError(f"{place} Close the log and open it again; run `eventlog verify` on it.")


def kind_of(error: OSError) -> type[StorageError]:
    """What a failed call for a file or a directory is to us."""
    return DiskFull if error.errno in _FULL_NUMBERS else StorageError
