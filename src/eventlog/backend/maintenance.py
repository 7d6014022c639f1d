"""Looking after a log: forcing it to the disk, checking it, copying it, and its figures."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import attrs

from eventlog.named_tuples import NamedTuple
from eventlog.records import publish

if TYPE_CHECKING:  # few programs back up
    from eventlog.backend.backup import BackupReport


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

    `freed_bytes` is the size of the batches; later appends use their room. `failed` names the topics that could not
    be cleaned: a row is damaged (`EventLog.verify()` says more), or a full log has no room to rewrite their batches.

    Example:
        >>> with eventlog.open(":memory:", cleaner=False) as log:
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


class RedactReport(NamedTuple):
    """
    The result of `Topic.redact()`: how many records of the key lost their content, in how many batches.

    `had_snapshot` says whether the key had a snapshot, which is removed: it was made of them. `schedule_count` is how
    many records were scheduled for the key, which will not be sent.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     users = log.topic("users", key=str, value=str)
        ...     meta = users.append("ada@example.org", key="u-7")
        ...     report = users.redact("u-7")
        ...     [(record.key, record.value) for record in users.read()]
        [('u-7', None)]
        >>> report
        RedactReport(record_count=1, batch_count=1, had_snapshot=False, schedule_count=0)
    """

    record_count: int
    batch_count: int
    had_snapshot: bool
    schedule_count: int = 0


@attrs.frozen
class TopicStats:
    """
    The size of a topic.

    `record_count` is the number of records that can be read, and `stored_bytes` that of the bytes of its batches. A
    batch of which some records are deleted counts as a whole.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     ranges = log.topic("orders").append_many([b"tea", b"milk"])
        ...     (topic,) = log.stats().topics
        >>> topic.topic, topic.partition_count, topic.record_count, topic.batch_count
        ('orders', 1, 2, 1)
    """

    topic: str
    partition_count: int
    record_count: int
    batch_count: int
    stored_bytes: int


@attrs.frozen
class ReaderStats:
    """
    A read that is going on in some process: what was freed since it began cannot be used again.

    `commits_behind` is the number of commits since then. `process_id` is None where a reader has a number of its own,
    as in Linux: that of a process means nothing in another container.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     meta = log.topic("orders").append(b"tea")
        ...     log.stats().readers
        ()
    """

    process_id: int | None
    commits_behind: int


@attrs.frozen
class LogStats:
    """
    The figures of a log: its topics, its file, the reads that go on, and the commits of this process.

    `file_bytes` is the size of the pages of the data file, of which `used_bytes` hold something. `commit_number` counts
    the commits of all processes since the log was made. `commit_count`, `commit_s` and `longest_commit_s` are of this
    process since it opened the log: how many commits it made, the seconds that they took in all, and the longest one;
    the sync of the disk is a part of a commit. `readers` begins with the oldest. `uncleaned` names the topics that the
    last pass of this process could not clean: something is damaged, or there was no room to rewrite batches.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     meta = log.topic("orders").append(b"tea")
        ...     stats = log.stats()
        >>> stats.record_count, stats.used_bytes <= stats.file_bytes, stats.oldest_reader
        (1, True, None)
    """

    topics: tuple[TopicStats, ...]
    page_bytes: int
    file_bytes: int
    used_bytes: int
    commit_number: int
    commit_count: int
    commit_s: float
    longest_commit_s: float
    readers: tuple[ReaderStats, ...]
    uncleaned: tuple[str, ...] = ()

    @property
    def record_count(self) -> int:
        """The number of records of all topics."""
        return sum(topic.record_count for topic in self.topics)

    @property
    def stored_bytes(self) -> int:
        """The bytes of the batches of all topics."""
        return sum(topic.stored_bytes for topic in self.topics)

    @property
    def free_bytes(self) -> int:
        """The bytes of pages that later commits use; the file does not grow before they are used up."""
        return self.file_bytes - self.used_bytes

    @property
    def oldest_reader(self) -> ReaderStats | None:
        """The read that keeps most from being used again; None if none goes on."""
        return self.readers[0] if self.readers else None


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

    def stats(self) -> LogStats:
        """Count what is stored; changes nothing, and reads no record."""
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

    def backup(
        self, target: str, *, is_incremental: bool, progress: Callable[[int, int], object] | None
    ) -> BackupReport:
        """
        Write a backup into a directory, or add to those that are there; on the disk when the call returns.

        Raises:
            ValueError, BackupMismatch, CorruptBackup, CorruptBatch, LogInUse: as `EventLog.backup`. Nothing was added.
            StorageError: if it cannot be written. Nothing was added.
        """
        ...


for _class in (VerifyReport, CleanReport, RedactReport, TopicStats, ReaderStats, LogStats):
    publish(_class)
