"""Looking after a log: forcing it to the disk, checking it, and copying it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

import attrs

from eventlog.named_tuples import NamedTuple


@attrs.frozen
class VerifyReport:
    """
    The result of checking the whole log.

    `problems` is empty if everything stored is what was written: batches, their order, indexes, message ids,
    snapshots, groups, members, committed offsets, states and projections. It holds the first thousand problems.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     meta = log.topic("orders").append(b"tea")
        ...     report = log.verify()
        >>> report.is_sound, report.record_count, report.problems
        (True, 1, ())
    """

    topic_count: int
    batch_count: int
    record_count: int
    stored_bytes: int
    problems: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        """Whether no problem was found."""
        return not self.problems


class CleanReport(NamedTuple):
    """
    The result of `EventLog.clean()`: what was deleted, and whether anything is left to delete.

    `freed_bytes` is the size of the batches; later appends use their room. `failed` names the topics of which a row is
    damaged, so that they could not be cleaned; `EventLog.verify()` says more.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     views = log.topic("views", retention_bytes=0)
        ...     meta = views.append(b"tea")
        ...     report = log.clean()
        >>> report.record_count, report.is_finished
        (1, True)
    """

    batch_count: int
    record_count: int
    freed_bytes: int
    failed: tuple[str, ...]
    is_finished: bool


class MaintenanceBackend(Protocol):
    """
    Care for the log as a whole.

    Any thread may call; each call blocks for as long as it takes, and others may go on meanwhile.
    """

    def sync(self) -> None:
        """
        Force everything committed to the disk; durable when it returns.

        Raises:
            StorageError: if the disk failed. The log refuses writes until it is opened again.
        """
        ...

    def verify(self, progress: Callable[[int], object] | None) -> VerifyReport:
        """
        Check everything that is stored; changes nothing.

        Args:
            progress: called now and then, in this thread, with the bytes checked so far.
        """
        ...

    def clean(self, budget: float | None) -> CleanReport:
        """
        Delete what the retention of no topic keeps, for about `budget` seconds, or until nothing is left to delete.

        Blocks while another thread or process cleans. What was deleted is durable when it returns.

        Raises:
            StorageError: if the disk failed, or has no room at all. What was deleted before stays deleted.
        """
        ...

    def keep_clean(self) -> None:
        """Have the log cleaned in the background from now on, until it is closed."""
        ...

    def compact(self, destination: str | os.PathLike[str]) -> int:
        """
        Write a copy without free space into a new directory; its size in bytes.

        The copy is of one snapshot, and on the disk when the call returns.

        Raises:
            ValueError: if the destination is there and not empty. It was left as it was.
            StorageError: if the copy cannot be written. The log is unchanged.
        """
        ...


VerifyReport.__module__ = "eventlog"
CleanReport.__module__ = "eventlog"
