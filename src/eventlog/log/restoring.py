"""Making a log of a backup, checking a backup, and letting go of old ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime

from eventlog.backend.backup import BackupContents, PruneReport, RestoreReport
from eventlog.clock import to_ms
from eventlog.options import check_bool, check_int, check_path, check_seconds
from eventlog.records import publish


def restore(
    backup: str | os.PathLike[str],
    new: str | os.PathLike[str],
    *,
    position: int | None = None,
    time: datetime | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> RestoreReport:
    """
    Make a new log of a backup: as it was at the last backup, or at a log position, or before a time.

    Records keep their offsets, positions, versions and times, and the log, its topics and states their ids. What has no
    log position (committed offsets, states, projections) is that of the last backup that ended at the wanted position
    or before it; the report says which. The new log is verified before it gets its name.

    Args:
        backup: a directory that `EventLog.backup()` has written. It is only read.
        new: the directory of the new log, which does not exist or is empty.
        position: the log position at which it ends, exclusive. None takes all.
        time: it ends before the first record of this time, which has a time zone, or a later one.
        progress: called from time to time with the bytes of the backup that were read, and all there are to read.

    Raises:
        NotALog: if there is no backup. Nothing was made.
        CorruptBackup: if a file is damaged or missing; `error.sound_end` is a position to which it can be restored.
            Nothing was made.
        FormatTooNew: if a newer eventlog wrote it. Nothing was made.
        DiskFull, StorageError: if the new log cannot be written. Nothing was made.
        ValueError: if something stands at `new`, or it is inside of the backup; for both `position` and `time`, or for
            a position behind the backup.
            Nothing was made.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with eventlog.open(folder / "shop") as log:
        ...     orders = log.topic("orders")
        ...     for value in (b"tea", b"milk", b"cake"):
        ...         meta = orders.append(value)
        ...     report = log.backup(folder / "backup")
        >>> eventlog.restore(folder / "backup", folder / "restored", position=2).record_count
        2
        >>> with eventlog.open(folder / "restored") as log:
        ...     [record.value for record in log.topic("orders").read()]
        [b'tea', b'milk']
    """
    source, destination = check_path("restore", backup), check_path("restore into", new)
    if position is not None:
        check_int("position", position, least=0)
    if time is not None and position is not None:
        raise ValueError("restore() takes a position or a time, not both. Nothing was made. Leave one out.")
    if time is not None and not isinstance(time, datetime):
        raise TypeError(f"time is a datetime, not {type(time).__name__}. Nothing was made.")
    from eventlog.store.restore.restore import restore as restore_log  # few programs restore

    time_ms = None if time is None else to_ms(time)
    return restore_log(source, destination, position=position, time_ms=time_ms, progress=progress)


def check_backup(
    backup: str | os.PathLike[str], *, progress: Callable[[int, int], object] | None = None
) -> BackupContents:
    """
    Read every file of a backup, and check every entry.

    Args:
        backup: a directory that `EventLog.backup()` has written. It is only read.
        progress: called from time to time with the bytes that were read, and all there are to read.

    Raises:
        NotALog: if there is no backup.
        CorruptBackup: if a file is damaged or missing.
        FormatTooNew: if a newer eventlog wrote it.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with eventlog.open(folder / "shop") as log:
        ...     meta = log.topic("orders").append(b"tea")
        ...     report = log.backup(folder / "backup")
        >>> eventlog.check_backup(folder / "backup").end
        1
    """
    from eventlog.store.restore.restore import check  # few programs do

    return check(check_path("check", backup), progress)


def prune_backup(
    backup: str | os.PathLike[str],
    *,
    keep_last: int | None = None,
    keep_within: float | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> PruneReport:
    """
    Forget the old backups of a directory, and free what no other needs.

    A backup is kept if one of the two options keeps it, and so are all that follow it and the last one in any case. A
    restore to a log position or time from the first kept one on brings back what it did before. What the forgotten ones
    added goes where it was deleted from the log by then; records that are in the log stay in the backup, so a topic
    without a retention does not get smaller by this.

    Durable when it returns; if it is killed it has pruned nothing, or all, and the next backup removes what is left
    over.

    Args:
        backup: a directory that `EventLog.backup()` has written. Nobody may restore it or copy it meanwhile.
        keep_last: how many of the newest backups are kept, at least 1.
        keep_within: seconds; a backup that was taken no longer than that before the newest is kept.
        dry_run: only say what would go.
        progress: called from time to time with the bytes that were looked at, and all there are to look at.

    Raises:
        NotALog: if there is no backup. Nothing was changed.
        LogInUse: if a backup is being written there. Nothing was changed.
        CorruptBackup: if a file that has to be read is damaged or missing. Nothing was changed.
        FormatTooNew: if a newer eventlog wrote it. Nothing was changed.
        DiskFull, StorageError: if the directory cannot be written. No backup that is to be kept was changed.
        ValueError: without `keep_last` and `keep_within`, or if they are out of their bounds. Nothing was changed.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with eventlog.open(folder / "shop") as log:
        ...     for value in (b"tea", b"milk", b"cake"):
        ...         meta = log.topic("orders").append(value)
        ...         report = log.backup(folder / "backup", incremental=True)
        >>> report = eventlog.prune_backup(folder / "backup", keep_last=1)
        >>> len(report.forgotten), len(eventlog.check_backup(folder / "backup").moments)
        (2, 1)
    """
    path = check_path("prune", backup)
    if keep_last is None and keep_within is None:
        raise ValueError(
            "prune_backup() needs keep_last or keep_within: they say what stays. Nothing was changed. Pass one of them."
        )
    if keep_last is not None:
        check_int("keep_last", keep_last, least=1)
    within_ms = None if keep_within is None else round(check_seconds("keep_within", keep_within) * 1000)
    check_bool("dry_run", dry_run)
    from eventlog.store.backup.pruning import prune  # few programs do

    return prune(path, keep_last=keep_last, keep_within_ms=within_ms, is_dry=dry_run, progress=progress)


publish(restore)
publish(check_backup)
publish(prune_backup)
