"""
A consumer as users see it: reading in order, waiting for more, and sharing partitions with a group.

Knows nothing of how a backend fetches records and keeps groups.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Generic, Self, TypeAlias

from eventlog.api.features import FrontDoor
from eventlog.records import K, Record, RecordBatch, TopicPartition, V

Pair: TypeAlias = TopicPartition | tuple[str, int]
"""A partition as users may pass it."""
Offsets: TypeAlias = Mapping[TopicPartition, int] | Mapping[tuple[str, int], int] | Mapping[Pair, int]
"""Offsets of some partitions as users may pass them: a type checker takes the keys of a mapping as they are."""
Callback: TypeAlias = Callable[[list[TopicPartition]], object]
"""A function that is told which partitions a member got, gave up, or lost."""


class Consumer(FrontDoor, Generic[K, V]):
    """
    A reader of some topics: it reads their records in order, waits for more, and shares them with its group.

    Delivery is at least once: a record comes again if the program stops between receiving it and committing it.
    What was handed out is *finished* when the caller asks for more; with a group, finished offsets are committed
    every `auto_commit_interval` and on `close()`. So nothing is committed that the caller has not done with: leave
    the loop by `break` or an exception, and the record in hand comes again. `commit()` says "done with all of it".

    With a group and topics it is a member: it joins at once, and each partition is read by one member at a time.
    Members come and go, in any thread or process; partitions move one by one, each in its owner's next `poll()`,
    committed up to what is finished. A member whose process dies loses its partitions within milliseconds.

    One consumer belongs to one thread at a time; only `wakeup()` and `close()` may come from another.

    Args:
        group: keeps positions in the log under this name, and shares the topics. Without one, it reads everything
            from `start` each time.
        start: where to begin when the group has no committed offset: "earliest" (default), "latest", an offset,
            or a `datetime`. Partitions that appear later are read from their first record.
        auto_commit: whether finished offsets are committed without a call (default, with a group).
        auto_commit_interval: seconds between automatic commits (default 1.0). Each costs a sync.
        max_poll_records: the most records `poll()` hands out (default 500).
        fetch_max_bytes: the most encoded bytes read from disk at once (default 1 MiB). One batch is read even if
            larger: reading never gets stuck.
        assignor: who gets which partition: "sticky" (default: even, and moves as few as possible), "range",
            "roundrobin", or a function of a module (`eventlog.Assignor`). The same for all members.
        instance_id: a name that makes it a static member (KIP-345): when it ends and comes back under that name
            within the session timeout, it has its partitions again, and no other member is disturbed.
        session_timeout: seconds of silence of the process (stopped, swapped out), after which the others take the
            partitions (default 10.0, at least 0.1). A killed process is noticed at once.
        max_poll_interval: seconds that the program may take between two `poll()` (default 300.0, at least 0.1).
        on_assigned: called inside `poll()` with the partitions that are read from now on. It may `seek()`.
        on_revoked: called inside `poll()`, or by `close()`, with those that are given up. It may `commit()`; inside
            `close()`, which may follow an error, that stores only what is finished.
        on_lost: called inside `poll()` with those that others took after a silence. Nothing can be committed.

    An exception of a callback comes out of `poll()`; nothing was handed out, and the next `poll()` calls it again.

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
        """The group whose offsets this consumer keeps, None without one."""

    @abstractmethod
    def poll(self, timeout: float = 0.0, *, max_records: int | None = None) -> list[Record[K, V]]:
        """
        Return the next records, in order within each partition; those of the call before are finished.

        Args:
            timeout: seconds to wait when there is none (default 0.0: look once). Waiting takes no CPU, and Ctrl-C
                and `wakeup()` end it.
            max_records: the most to hand out, `max_poll_records` when not given.

        Returns:
            At least one record, or an empty list when the time is over.

        Raises:
            OffsetOutOfRange: if the next offset of a partition was deleted, or `seek()` went beyond its end. The
                position is unchanged; `seek()` moves it.
            CorruptBatch, DecodeError: if the next record cannot be read. The position is unchanged.
            UnknownTopic: if a topic was deleted. Make another consumer for one that has its name.
            InstanceInUse, GroupMismatch: if the group removed this member after a silence, and cannot have it back.
            Exception: whatever a callback or an assignor of yours raises. The group keeps its assignment.
            ConcurrentUse, LogClosed, UsedAfterFork: for what their names say. Nothing was handed out.
        """

    @abstractmethod
    def poll_batches(self, timeout: float = 0.0) -> list[RecordBatch[K, V]]:
        """
        The next records in columns: whole batches as they were stored, up to `fetch_max_bytes`.

        The fastest way to read: no object for each record. Waits, finishes and raises as `poll` does.
        """

    @abstractmethod
    def __iter__(self) -> Iterator[Record[K, V]]:
        """
        Hand out records one by one, and block for more; `wakeup()` ends it.

        Asking for the next record says that the one before is finished.
        """

    @abstractmethod
    def wakeup(self) -> None:
        """
        End a wait that runs now in another thread, or else the next one: `poll` returns what it has.

        A loop ends as soon as it asks for more than it was given at once, whether it waits or not. A loop of the
        program that watches `fileno()` wakes up.

        The one method that any thread may call, and a signal handler too.
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
    def commit(self, offsets: Offsets | None = None) -> None:
        """
        Store the group's position: everything handed out is finished.

        Durable when the call returns.

        Called before the work on what `poll` returned, delivery is at most once; after it, at least once.

        Args:
            offsets: the next offset to read, for some partitions; when not given, all positions.

        Raises:
            ValueError: if the consumer has no group, or an offset is negative. Nothing was stored.
            UnknownTopic, UnknownPartition: if there is none of that name. Nothing was stored.
            MemberFenced: if a member has one of the partitions that is not this one: it was silent for too long, and
                the group gave them away. Nothing was stored; the next `poll()` joins again.
        """

    @abstractmethod
    def committed(self, tp: Pair) -> int | None:
        """
        The offset that the log has for the group in one partition, None when it has none.

        Raises:
            ValueError: if the consumer has no group.
            UnknownTopic, UnknownPartition: if there is none of that name.
        """

    @abstractmethod
    def assign(self, partitions: Iterable[Pair]) -> None:
        """
        Read exactly these partitions from now on, from the committed offset or `start`.

        What was finished is committed first; partitions that stay keep their positions.

        Raises:
            UnknownTopic, UnknownPartition: if there is none of that name. The assignment is unchanged.
        """

    @abstractmethod
    def assignment(self) -> list[TopicPartition]:
        """The partitions that this consumer reads."""

    @abstractmethod
    def position(self, tp: Pair) -> int:
        """The offset of the next record that will be handed out of one partition."""

    @abstractmethod
    def seek(self, tp: Pair, offset: int) -> None:
        """
        Go to an offset of one assigned partition; the next record handed out has that offset or a later one.

        An offset outside the partition is found at the next `poll`, which raises `OffsetOutOfRange`.

        Raises:
            ValueError: if the offset is negative, or the partition is not assigned. The position is unchanged.
        """

    @abstractmethod
    def seek_to_beginning(self, *partitions: Pair) -> None:
        """Go to the first record of some assigned partitions, or of all."""

    @abstractmethod
    def seek_to_end(self, *partitions: Pair) -> None:
        """Go behind the last record of some assigned partitions, or of all."""

    @abstractmethod
    def seek_to_committed(self, *partitions: Pair) -> None:
        """
        Go back to the committed offsets of some assigned partitions, or of all.

        Without a committed offset, go to what `start` means now. So what was handed out and not committed comes again:
        after a transaction that was aborted, say.

        Raises:
            ValueError: if the consumer has no group, or a partition is not assigned. The positions are unchanged.
        """

    @abstractmethod
    def seek_to_time(self, moment: datetime | int, *partitions: Pair) -> None:
        """
        Go to the first record of a time or later, in some assigned partitions, or in all.

        Args:
            moment: a `datetime` with a time zone, or ms since 1970 UTC. Where no record is as late, the position
                is the end.
        """

    @abstractmethod
    def pause(self, *partitions: Pair) -> None:
        """
        Hand out nothing of some assigned partitions, or of all, until `resume`.

        Positions stay.
        """

    @abstractmethod
    def resume(self, *partitions: Pair) -> None:
        """Go on with some paused partitions, or with all."""

    @abstractmethod
    def paused(self) -> list[TopicPartition]:
        """The partitions that are paused."""

    @abstractmethod
    def lag(self) -> dict[TopicPartition, int]:
        """How many offsets lie between the position and the end, for each assigned partition."""

    @abstractmethod
    def close(self) -> None:
        """
        Commit what is finished, and end the consumer.

        What was handed out last counts as finished only if `commit()` said so: it comes again to the next one.
        Calling it again does nothing. Another thread may call it: a wait that runs is ended first.

        Raises:
            StorageError: if the commit failed. The consumer is closed all the same.
            ConcurrentUse: if the other thread did not leave the consumer within 10 s. It is not closed.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
