"""
The translation of LMDB's errors into ours.

LMDB describes a failure by the class of its error and by the operating system's message in the text. Our errors add
what is stored now and what to do next.
"""

from __future__ import annotations

import errno
import os

from eventlog.errors import (
    CorruptBatch,
    DiskFull,
    EventLogError,
    FormatTooNew,
    LogFull,
    NotALog,
    ReadOnlyLog,
    StorageError,
    UnsupportedFileSystem,
    UnsupportedSharing,
)
from eventlog.named_tuples import NamedTuple
from eventlog.store.lmdb.sharing import ONE_NAMESPACE

_FULL_KINDS = {"DiskError", "MapFullError"}
_FULL_NUMBERS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL = tuple(map(os.strerror, _FULL_NUMBERS))
_HALF_WRITTEN = os.strerror(errno.EIO)
_REFUSED = tuple(map(os.strerror, (errno.EACCES, errno.EPERM, errno.EROFS)))
_TOO_MANY_FILES = tuple(map(os.strerror, (errno.EMFILE, errno.ENFILE)))
_PID_TAKEN = os.strerror(errno.EAGAIN)
_NO_MEMORY = os.strerror(errno.ENOMEM)
_UNABLE = tuple(map(os.strerror, (errno.ENODEV, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)))


_ADVICE_WHEN_FULL = (
    "Make room, and try again: delete_records(), delete_topic() and the other deletions work on a full volume too."
)


class EngineFailure(NamedTuple):
    """
    An error of LMDB: what we were doing, its class name and its text.

    `text` may begin with the path, which says nothing about the error; `words` is the rest. When the disk takes only
    half of a write, LMDB reports an input/output error; `is_disk_full` shows the real cause, and `cause` is the text
    that says it.
    """

    verb: str
    kind: str
    text: str
    path: str
    map_bytes: int
    max_readers: int
    is_disk_full: bool = False
    destination: str | None = None
    """The directory of the copy that could not be written; the disk is that one's."""

    @property
    def words(self) -> str:
        """The text without the path."""
        return self.text.replace(self.path, "")

    @property
    def is_want_of_room(self) -> bool:
        """Whether the disk, a limit or the map is full."""
        return (
            self.kind in _FULL_KINDS
            or self.says("MDB_MAP_FULL", *_FULL)
            or (self.is_disk_full and self.says(_HALF_WRITTEN))
        )

    @property
    def cause(self) -> str:
        """The text, which calls a full disk by its name."""
        return self.text.replace(_HALF_WRITTEN, _FULL[0]) if self.is_want_of_room else self.text

    def says(self, *words: str) -> bool:
        """Whether the text contains one of these."""
        return any(one in self.words for one in words)


def translate(failure: EngineFailure) -> EventLogError:
    """Return our error for one of LMDB's."""
    if failure.verb == "open" and (failure.kind == "VersionMismatchError" or failure.says("lib_version", "engine")):
        return FormatTooNew(
            f"cannot open {failure.path}: another version of LMDB wrote it ({failure.text}).",
            stored="Nothing is damaged.",
            advice="Upgrade eventlog to open it.",
        )
    if failure.verb == "open" and failure.kind in {"InvalidError", "CorruptedError"}:
        return NotALog(
            f"cannot open {failure.path}: data.mdb is not a log ({failure.text}).",
            stored="It was left as it was.",
            advice="Choose another directory.",
        )
    if failure.verb == "open" and failure.says("already open in this process"):
        return StorageError(
            f"cannot open {failure.path}: this process has its files open under another name, a hard link.",
            stored="Nothing was changed.",
            advice="Use the log that is open; a copy for use beside it is made by compact().",
        )
    kind, advice = _kind_and_advice(failure)
    if failure.destination is not None:
        return kind(
            f"cannot copy the log at {failure.path} into {failure.destination}: {failure.text}.",
            stored="The log is unchanged, and there is no copy.",
            advice="Make room there, and copy again." if kind is DiskFull else advice,
        )
    return kind(
        f"cannot {failure.verb} the log at {failure.path}: {failure.cause}.",
        stored="Nothing of this call was acknowledged." if failure.verb == "write" else "Nothing was changed.",
        advice=advice,
    )


def _kind_and_advice(failure: EngineFailure) -> tuple[type[StorageError], str]:
    if failure.is_want_of_room:
        return DiskFull, _ADVICE_WHEN_FULL if failure.verb == "write" else "Make room, and try again."
    if failure.kind == "ReadonlyError" or failure.says(*_REFUSED):
        return ReadOnlyLog, "Let this user write to the directory and its files."
    if failure.kind == "ReadersFullError":
        return StorageError, f"More than {failure.max_readers} readers are open; close some."
    if failure.says(*_TOO_MANY_FILES):
        return StorageError, "Raise the limit of open files (`ulimit -n`), or close some, and try again."
    if failure.verb == "open" and failure.says(_PID_TAKEN):
        return UnsupportedSharing, f"A process with our pid, of another pid namespace, has it open. {ONE_NAMESPACE}"
    if failure.says(_NO_MEMORY):
        return StorageError, (
            f"This process has no room for a map of {failure.map_bytes} bytes, and the file needs one as large as "
            "itself: raise the limit of its address space (`ulimit -v`), or close other logs."
        )
    if failure.says(*_UNABLE):
        return UnsupportedFileSystem, ("The file system must support mmap and locks: use a local disk.")
    return StorageError, "Close the log and open it again; run `eventlog verify` on it."


def no_room(path: str) -> DiskFull:
    """Return the error for a write that would take the room that is kept for deletions."""
    return DiskFull(
        f"cannot write the log at {path}: the volume is full, and the log keeps the rest of its room for deletions.",
        stored="Nothing of this call was stored.",
        advice=_ADVICE_WHEN_FULL,
    )


def log_full(path: str, max_bytes: int, file_bytes: int) -> LogFull:
    """Return the error for a write that would make the file larger than the user allows."""
    return LogFull(
        f"cannot write the log at {path}: its file has {file_bytes} bytes, and this commit would make it larger than "
        f"max_bytes={max_bytes} allows.",
        stored="Nothing of this call was stored.",
        advice="Delete what is not needed, by delete_records(), a shorter retention, or clean() where a topic is "
        "compacted, and try again; or open the log with a larger max_bytes.",
        max_bytes=max_bytes,
        file_bytes=file_bytes,
    )


def beyond_limit(path: str, limit_bytes: int, file_bytes: int) -> DiskFull:
    """Return the error for a write that would make the file larger than the system lets this process make it."""
    return DiskFull(
        f"cannot write the log at {path}: File too large. It has {file_bytes} bytes, and the limit of this process for "
        f"its files (`ulimit -f`) is {limit_bytes}.",
        stored="Nothing of this call was stored.",
        advice="Delete what is not needed, by delete_records() or a shorter retention, and try again; or raise the "
        "limit.",
    )


def kind_of(error: OSError) -> type[StorageError]:
    """Return our error class for a failed system call on a file or directory."""
    return DiskFull if error.errno in _FULL_NUMBERS else StorageError


def damaged_row(table: bytes, key: bytes | memoryview) -> CorruptBatch:
    """Return the error for a row whose checksum is wrong."""
    return CorruptBatch(
        f"cannot read the row {bytes(key)!r:.200} of table {table.decode()!r}: its checksum is wrong.",
        stored="The bytes on disk are not what was written; other rows are unaffected.",
        advice="Run `eventlog verify` on the log, and restore a backup.",
    )


def read_only(path: str) -> ReadOnlyLog:
    """Return the error for a write to a log that was opened for reading."""
    from eventlog.backend.read_only import read_only_error  # few logs are

    return read_only_error("write to it", path)
