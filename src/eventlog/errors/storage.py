"""Errors of the files of a log: other formats, damage, full disks, other programs, backups."""

from __future__ import annotations

from typing import Unpack

from eventlog.errors.base import ErrorParts, EventLogError


class NotALog(EventLogError):
    """
    Raised when a path holds something that eventlog did not write.

    The path was left as it was.
    """


class FormatTooNew(EventLogError):
    """
    Raised when stored data was written by a newer eventlog.

    Nothing is damaged; upgrade to read it.
    """


class FormatTooOld(EventLogError):
    """
    Raised when a log is of a format that this eventlog neither reads nor writes as it is, or that lacks what was asked.

    Nothing was changed. `eventlog upgrade`, `eventlog.upgrade()` and `open(upgrade=True)` make it one of today's
    format.
    """


class LogInUse(EventLogError):
    """
    Raised when a program has open what the call needs alone: a log to be upgraded, a directory of backups.

    Nothing was changed; the call succeeds once the other one is done.
    """

    retriable = True


class StorageError(EventLogError):
    """
    Raised when the disk or the storage engine fails to read or write.

    After a failed write the log refuses further writes until it is closed and opened again, except after `DiskFull`.
    """


class DiskFull(StorageError):
    """
    Raised when the disk, the quota or the memory map has no room left.

    Nothing of the failed commit is stored, and later ones may succeed. Deletions find room on a full volume, too.
    """


class LogFull(DiskFull):
    """
    Raised when a commit would make the file of a log larger than the `max_bytes` that it was opened with.

    Nothing of it is stored. Deletions, commits of offsets and whatever else groups need go on. Records go in again
    once others are deleted: by somebody, or by the retention of their topics. `file_bytes` is the size of the file.
    """

    retriable = True

    def __init__(self, what: str, *, max_bytes: int, file_bytes: int, **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.max_bytes = max_bytes
        self.file_bytes = file_bytes


class FilesChanged(StorageError):
    """
    Raised when the files of an open log were removed, renamed, replaced or cut short by somebody.

    Nothing of the call is stored, and nothing was written over. What was acknowledged before is in the files that were
    there. Put them back, or close the log in every process and open what is there now.
    """


class ReadOnlyLog(StorageError):
    """
    Raised when a log that was opened with `read_only=True` would be written to, or when this user cannot write to it.

    Nothing was changed. The message names the call.
    """


class UnsupportedFileSystem(StorageError):
    """Raised when the file system cannot map the file into memory or lock it."""


class UnsupportedSharing(StorageError):
    """
    Raised when a process has the log open that we cannot share it with: one of another kernel, or a container.

    Nothing was changed. The message names what differs and how to make it the same.
    """


class CorruptBatch(EventLogError):
    """
    Raised when stored bytes are not what was written: a checksum or a length is wrong.

    The reader's position is unchanged; the message names the damaged offsets.
    """


class CorruptBackup(EventLogError):
    """
    Raised when a file of a backup is missing, or is not what was written.

    Nothing was made. `file` names it, and `sound_end` is the log position up to which the backup is sound: a restore to
    that position works.
    """

    def __init__(self, what: str, *, file: str, sound_end: int, **parts: Unpack[ErrorParts]) -> None:
        super().__init__(what, **parts)
        self.file = file
        self.sound_end = sound_end


class BackupMismatch(EventLogError):
    """
    Raised when a backup is to be added to those of another log, or of the same log before it was restored or repaired.

    They were left as they were.
    """
