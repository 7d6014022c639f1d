"""Looking after a log: forcing it to the disk, checking it, and copying it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol

import attrs


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
