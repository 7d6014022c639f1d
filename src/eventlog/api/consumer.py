"""A consumer as users see it: it reads in order, waits for more, and shares partitions with a group."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Generic, TypeAlias, TypedDict

from eventlog import api
from eventlog.api.features import Closing, FrontDoor
from eventlog.groups.state import CommittedOffset
from eventlog.options import OnOutOfRange, Start
from eventlog.records import K, Record, RecordBatch, TopicPartition, V

Pair: TypeAlias = TopicPartition | tuple[str, int]
"""A partition as users may pass it."""
Offsets: TypeAlias = Mapping[TopicPartition, int] | Mapping[tuple[str, int], int] | Mapping[Pair, int]
"""Offsets of some partitions as users may pass them; a union, because mappings are invariant in their keys."""
Callback: TypeAlias = Callable[[list[TopicPartition]], object]
"""A function called with the partitions that a member got, gave up, or lost."""


class ReadingOptions(TypedDict, total=False):
    """The options of a consumer and of a processor that have no part in their types."""

    start: Start
    on_out_of_range: OnOutOfRange
    assignor: str | api.Assignor
    instance_id: str | None
    session_timeout: float
    max_poll_interval: float


class Consuming(ReadingOptions, total=False):
    """The options of a consumer alone."""

    group: str | None
    auto_commit: bool
    auto_commit_interval: float
    max_poll_records: int
    fetch_max_bytes: int
    on_assigned: Callback | None
    on_revoked: Callback | None
    on_lost: Callback | None


class Consumer(Closing, FrontDoor, Generic[K, V]):
    """
    A reader of some topics that shares their partitions with the other members of its group.

    It reads in order, and waits for more. Delivery is at least once: a record comes again if the program stops between
    receiving it and committing it. A record is *finished* when the caller asks for more; with a group, finished offsets
    are committed every `auto_commit_interval` and on `close()`. So no record is committed while the caller still works
    on it: leave the loop by `break` or an exception, and the record in hand comes again. `commit()` says "done with all
    of it".

    With a group and topics it is a member: it joins at once, and each partition is read by one member at a time.
    Members come and go, in any thread or process. Partitions move one by one, each in its owner's next `poll()`, with
    the finished records committed. A member whose process dies loses its partitions within a tenth of a second.

    One consumer belongs to one thread at a time; only `wakeup()` and `close()` may come from another.

    Args:
        group: the name under which offsets are committed, and whose members share the topics. Without a group, the
            consumer reads everything from `start` each time.
        start: where to begin if the group has no committed offset: "earliest" (default), "latest", an offset, or a
            `datetime`. Partitions that appear later are read from their first record.
        auto_commit: whether finished offsets are committed without a call (default, with a group).
        auto_commit_interval: seconds between automatic commits (default 1.0). Each costs a sync.
        max_poll_records: the most records that `poll()` returns (default 500).
        fetch_max_bytes: the most encoded bytes read from disk at once (default 1 MiB). A larger batch is read all the
            same, so reading never gets stuck.
        on_out_of_range: what becomes of the next offset of a partition when it is not there, because its record was
            deleted or the log was restored from an older copy: "raise" `OffsetOutOfRange` (default), or go on at the
            "earliest" or the "latest" record, with a warning in Python's log.
        assignor: how partitions are divided: "sticky" (default: evenly, moving as few as possible), "range",
            "roundrobin", or a function at the top of a module (`eventlog.Assignor`). The same for all members.
        instance_id: a name that makes it a static member (KIP-345): if it ends and comes back under that name within
            the session timeout, it has its partitions again, and no other member is disturbed.
        session_timeout: seconds of silence of the process (stopped, swapped out) after which others take the partitions
            (default 10.0, at least 0.1). A killed process is noticed at once.
        max_poll_interval: seconds that the program may take between two `poll()` (default 300.0, at least 0.1).
        on_assigned: called inside `poll()` with new partitions. It may `seek()`.
        on_revoked: called inside `poll()` or `close()` with partitions that are given up. It may `commit()`; inside
            `close()`, which may follow an error, that stores only finished offsets.
        on_lost: called inside `poll()` with partitions that others took after a silence. Nothing can be committed.

    If a callback raises, `poll()` raises and returns no records; the next `poll()` calls it again.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     meta = log.topic("orders", key=str).append(b"tea", key="alice")
        ...     with log.consumer("orders", group="billing") as consumer:
        ...         [record.value for record in consumer.poll(timeout=1.0)]
        [b'tea']
    """

    __slots__ = ()

    @property
    @abstractmethod
    def group(self) -> str | None:
        """The name of the group, or None."""

    @property
    @abstractmethod
    def is_closed(self) -> bool:
        """
        Whether the consumer was closed, or is of no use because the process was forked.

        Any thread may ask.
        """

    @abstractmethod
    def poll(self, timeout: float = 0.0, *, max_records: int | None = None) -> list[Record[K, V]]:
        """
        Return the next records, in order within each partition; those of the previous call are finished.

        Args:
            timeout: seconds to wait if there are none (default 0.0: do not wait). Waiting takes no CPU, and Ctrl-C
                and `wakeup()` end it.
            max_records: the most to return (default `max_poll_records`).

        Returns:
            At least one record, or an empty list after the timeout.

        Raises:
            OffsetOutOfRange: the next offset of a partition was deleted, or `seek()` went beyond its end, and
                `on_out_of_range` is "raise". The position is unchanged; `seek()` moves it, in the partition that the
                error names.
            CorruptBatch, DecodeError: the next record cannot be read. The position is unchanged.
            UnknownTopic: all topics that it names were deleted, or one that it was given by `assign()`. If others are
                left, they are read on, with a warning in Python's log; a new topic of the name is read from its first
                record, by the next call.
            InstanceInUse, GroupMismatch: the group removed this member after a silence, and cannot take it back.
            Exception: a callback or an assignor of yours raised. The group keeps its assignment.
            ConcurrentUse, LogClosed, UsedAfterFork: the consumer cannot be used. No records were returned.
        """

    @abstractmethod
    def poll_batches(self, timeout: float = 0.0) -> list[RecordBatch[K, V]]:
        """
        Return the next records in columns: whole batches as they were stored, up to `fetch_max_bytes`.

        This is the fastest way to read: it makes no object per record. Waits, finishes and raises as `poll` does.
        """

    @abstractmethod
    def __iter__(self) -> Iterator[Record[K, V]]:
        """
        Iterate over records one by one, blocking for more; `wakeup()` ends the loop.

        Asking for the next record finishes the one before.
        """

    @abstractmethod
    def wakeup(self) -> None:
        """
        End the current wait of another thread, or else the next wait: `poll` returns what it has.

        A `for` loop ends when it next has to fetch, whether it would wait or not. An event loop that watches
        `fileno()` wakes up too. Any thread may call this, and a signal handler too.
        """

    def fileno(self) -> int:
        """
        A descriptor for an event loop of the program: readable while `poll(0)` may find something.

        It becomes readable when something is committed to a topic of the consumer, by any thread or process, when
        something changes in its group, and by `wakeup()`; and it stays readable until a `poll(0)` has found nothing.
        So a loop that calls `poll(0)` whenever it is readable misses nothing and does not spin. It is one descriptor
        until `close()`: take it out of the loop before. Never read from it.

        Some things come with time and not with a commit (offsets to commit, the lease of a member, a notification that
        was lost): call `poll(0)` also when `max_wait()` seconds have passed since the last call.

        Raises:
            NotSupported: where the platform or the file system has no FIFOs. Call `poll(0)` every few milliseconds
                then, or `poll(timeout)` in a thread.

        Example:
            >>> import selectors
            >>> with eventlog.open(":memory:") as log, selectors.DefaultSelector() as selector:
            ...     topic = log.topic("orders")
            ...     with log.consumer(topic) as consumer:
            ...         key = selector.register(consumer, selectors.EVENT_READ)
            ...         meta = topic.append(b"tea")
            ...         while not (records := consumer.poll(0)):
            ...             ready = selector.select(consumer.max_wait())
            ...         key = selector.unregister(consumer)
            >>> [record.value for record in records]
            [b'tea']
        """
        raise self._lacks("fileno()", "fileno")

    def max_wait(self) -> float:
        """
        The seconds that an event loop may wait before it calls `poll(0)`, though `fileno()` is not readable.

        At most 0.1: a notification may be lost, when a writer is killed between its commit and the notification, and
        a consumer looks by itself as often. Less when offsets are to be committed or the group has to be attended to,
        0.0 when that is due.
        """
        raise self._lacks("max_wait()", "fileno")

    @abstractmethod
    def commit(
        self, offsets: Offsets | None = None, *, metadata: str | None = None, leader_epoch: int | None = None
    ) -> None:
        """
        Commit the group's offsets: every record received is finished.

        Durable when the call returns. Delivery is at most once if you call it before working on the records that `poll`
        returned, and at least once if you call it after.

        Args:
            offsets: the next offset to read, for some partitions; all positions if left out.
            metadata: text to be kept beside each offset that this call stores, as Kafka's clients have it; 4,096 bytes
                in UTF-8 at most. A later commit without it, an automatic one too, keeps none.
            leader_epoch: Kafka's, for who moves groups between logs and clusters.

        Raises:
            ValueError: the consumer has no group, or an offset is negative. Nothing was stored.
            MetadataTooLarge: the metadata have too many bytes. Nothing was stored.
            FormatTooOld: the log has format 3, and metadata or a leader epoch are given. Nothing was stored.
            UnknownTopic, UnknownPartition: `offsets` names a topic or partition that is not there. Nothing was stored.
            OffsetOutOfRange: an offset is beyond the end of its partition. Nothing was stored.
            MemberFenced: another member owns one of the partitions, because this one was silent for too long. Nothing
                was stored; the next `poll()` joins again.
        """

    @abstractmethod
    def committed(self, tp: Pair) -> int | None:
        """
        Return the committed offset of the group in one partition, or None.

        Raises:
            ValueError: the consumer has no group.
            UnknownTopic, UnknownPartition: there is no such topic or partition.
        """

    @abstractmethod
    def committed_metadata(self, tp: Pair) -> CommittedOffset | None:
        """
        Return the committed offset of the group in one partition, with its time and what was stored beside it, or None.

        Raises:
            ValueError: the consumer has no group.
            UnknownTopic, UnknownPartition: there is no such topic or partition.
        """

    @abstractmethod
    def assign(self, partitions: Iterable[Pair]) -> None:
        """
        Read exactly these partitions from now on, from the committed offset or `start`.

        Finished offsets are committed first; partitions that stay keep their positions.

        Raises:
            UnknownTopic, UnknownPartition: there is no such topic or partition. The assignment is unchanged.
        """

    @abstractmethod
    def assignment(self) -> list[TopicPartition]:
        """Return the partitions that this consumer reads."""

    @abstractmethod
    def position(self, tp: Pair) -> int:
        """Return the offset of the next record that will be read in one partition."""

    @abstractmethod
    def seek(self, tp: Pair, offset: int) -> None:
        """
        Go to an offset of one assigned partition; the next record has that offset or a later one.

        If the offset is outside the partition, the next `poll` raises `OffsetOutOfRange`.

        Raises:
            ValueError: the offset is negative, or the partition is not assigned. The position is unchanged.
        """

    @abstractmethod
    def seek_to_beginning(self, *partitions: Pair) -> None:
        """Go to the first record of some assigned partitions, or of all."""

    @abstractmethod
    def seek_to_end(self, *partitions: Pair) -> None:
        """Go after the last record of some assigned partitions, or of all."""

    @abstractmethod
    def seek_to_committed(self, *partitions: Pair) -> None:
        """
        Go back to the group's committed offsets in some assigned partitions, or in all.

        Without a committed offset it goes to `start`, as resolved now. Records that were received and not committed
        come again. After a transaction that was not stored, `poll()` does it by itself.

        Raises:
            ValueError: the consumer has no group, or a partition is not assigned. The positions are unchanged.
        """

    @abstractmethod
    def seek_to_time(self, moment: datetime | int, *partitions: Pair) -> None:
        """
        Go to the first record at or after a time, in some assigned partitions, or in all.

        Args:
            moment: a `datetime` with a time zone, or ms since 1970 UTC. If no record is that late, the position is the
                end.
        """

    @abstractmethod
    def pause(self, *partitions: Pair) -> None:
        """
        Return no records of some assigned partitions, or of all, until `resume`.

        Positions do not change.
        """

    @abstractmethod
    def resume(self, *partitions: Pair) -> None:
        """Go on with some paused partitions, or with all."""

    @abstractmethod
    def paused(self) -> list[TopicPartition]:
        """Return the paused partitions."""

    @abstractmethod
    def lag(self) -> dict[TopicPartition, int]:
        """Return the number of offsets between the position and the end, for each assigned partition."""

    @abstractmethod
    def close(self) -> None:
        """
        Commit finished offsets, and close the consumer.

        The records received last are finished only if `commit()` was called; otherwise they come again, to the next
        consumer. Calling it again does nothing. Another thread may call it; it ends a running wait first. In a signal
        handler that interrupts this consumer, and in a callback, it waits for nothing: the interrupted call closes when
        it ends, and a `for` loop ends.

        Raises:
            StorageError: the commit failed. The consumer is closed all the same.
            ConcurrentUse: the other thread did not leave the consumer within 10 s. It is not closed.
        """
