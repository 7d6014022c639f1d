"""What a backup holds, and what a restore brings back."""

from __future__ import annotations

import attrs

from eventlog.records import publish


@attrs.frozen
class BackupReport:
    """
    The result of `EventLog.backup()`.

    `number` counts the backups in the directory, from 1. It holds the log up to the log position `end`, and this one
    added what came from `since` on. `batch_count` and `stored_bytes` are of what was added.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with eventlog.open(folder / "log") as log:
        ...     meta = log.topic("orders").append(b"tea")
        ...     report = log.backup(folder / "backup")
        >>> report.number, report.since, report.end
        (1, 0, 1)
    """

    number: int
    since: int
    end: int
    taken_ms: int
    batch_count: int
    stored_bytes: int


@attrs.frozen
class BackupContents:
    """
    What a backup directory holds, as `eventlog.check_backup()` has read and checked it.

    `moments` has the end of each backup as a log position, and when it was taken, in milliseconds since 1970.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with eventlog.open(folder / "log") as log:
        ...     meta = log.topic("orders").append(b"tea")
        ...     report = log.backup(folder / "backup")
        >>> contents = eventlog.check_backup(folder / "backup")
        >>> contents.end, len(contents.moments), contents.batch_count
        (1, 1, 1)
    """

    uuid: str
    end: int
    moments: tuple[tuple[int, int], ...]
    file_count: int
    batch_count: int
    stored_bytes: int


@attrs.frozen
class PruneReport:
    """
    The result of `eventlog.prune_backup()`: which backups are kept, and which were forgotten.

    Each is its number, its end as a log position, and when it was taken, in milliseconds since 1970. `file_count` and
    `freed_bytes` are what the directory has lost, or about what it would lose if nothing was to be changed.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with eventlog.open(folder / "log") as log:
        ...     for _ in range(3):
        ...         meta = log.topic("orders").append(b"tea")
        ...         report = log.backup(folder / "backup", incremental=True)
        >>> report = eventlog.prune_backup(folder / "backup", keep_last=2)
        >>> [number for number, end, taken_ms in report.kept]
        [2, 3]
    """

    kept: tuple[tuple[int, int, int], ...]
    forgotten: tuple[tuple[int, int, int], ...]
    file_count: int
    freed_bytes: int


@attrs.frozen
class RestoreReport:
    """
    The result of `eventlog.restore()`.

    The new log ends at the log position `end`. Committed offsets, states and the like are those of the backup that
    ended at `tables_end`, which was taken at `tables_ms`. `left_out` names states and projections that are not there
    because they are of a later moment, `notes` says where a rule has decided, and `problems` is what `verify()` says of
    the new log.

    Example:
        >>> import tempfile, pathlib
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> with eventlog.open(folder / "log") as log:
        ...     meta = log.topic("orders").append(b"tea")
        ...     report = log.backup(folder / "backup")
        >>> eventlog.restore(folder / "backup", folder / "new").is_exact
        True
    """

    end: int
    tables_end: int
    tables_ms: int
    record_count: int
    cut_offsets: int
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def is_exact(self) -> bool:
        """Whether the new log is the old one as it was at a moment of a backup."""
        return self.end == self.tables_end and not (self.cut_offsets or self.left_out or self.notes or self.problems)


publish(BackupReport)
publish(BackupContents)
publish(PruneReport)
publish(RestoreReport)
