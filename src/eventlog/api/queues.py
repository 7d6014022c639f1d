"""The queues of a log as users see them: to list, describe, pause, purge and delete, and to replay dead letters."""

from __future__ import annotations

import builtins
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import attrs

from eventlog.api.features import FrontDoor
from eventlog.api.groups import MemberState
from eventlog.api.topic import Topic
from eventlog.records import Record, publish


@attrs.frozen
class WorkerDescription:
    """
    One worker of a queue, as others see it.

    `leased` is the number of jobs that it has, and `oldest_ms` the time when the one of them was first handed out that
    has been under way for the longest, by whomever; None if it has none. `state` is "alive" or "dead".

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     ranges = log.topic("mails").append_many([b"one", b"two"])
        ...     with log.queue("mails", group="mailers") as queue:
        ...         jobs = queue.poll()
        ...         (worker,) = log.queues.describe("mailers").workers
        >>> worker.state, worker.leased
        ('alive', 1)
    """

    member_id: str
    process_id: int
    state: MemberState
    joined_ms: int
    leased: int
    oldest_ms: int | None


@attrs.frozen
class PartitionProgress:
    """
    How far a queue has come in one partition.

    All before `start` is done, `next` is handed out next, and `end` is where the partition ends.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     ranges = log.topic("mails").append_many([b"one", b"two", b"three"])
        ...     with log.queue("mails", group="mailers") as queue:
        ...         jobs = queue.poll(max_records=2)
        ...         (partition,) = log.queues.describe("mailers").partitions
        >>> partition.start, partition.next, partition.end
        (0, 2, 3)
    """

    topic: str
    partition: int
    start: int
    next: int
    end: int


@attrs.frozen
class QueueDescription:
    """
    A queue: what it has to do, its workers, its options, and how far it has come.

    `ready` jobs may be taken now, `leased` ones are with workers, `delayed` ones rest, and `waiting` ones wait for
    others of their keys. `dead` and `expired` count since the queue was made: dead letters, and jobs whose records were
    deleted before they were done. `partitions` are those of the topics that workers have come for. The options are
    those of `EventLog.queue`, with None for none.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     ranges = log.topic("mails").append_many([b"one", b"two"])
        ...     with log.queue("mails", group="mailers") as queue:
        ...         queue.poll()[0].release(delay=60.0)
        ...         queue.commit()
        ...         found = log.queues.describe("mailers")
        >>> found.ready, found.leased, found.delayed, found.attempts, found.dead_letters
        (1, 0, 1, 5, 'dlq.mailers')
    """

    name: str
    is_paused: bool
    ready: int
    leased: int
    delayed: int
    waiting: int
    dead: int
    expired: int
    attempts: int
    dead_letters: str | None
    backoff: tuple[float, float]
    per_key: int | None
    timeout: float | None
    workers: tuple[WorkerDescription, ...]
    partitions: tuple[PartitionProgress, ...]


class Queues(FrontDoor):
    """
    The queues of a log.

    Any thread may call any method, without a worker. Get it from `EventLog.queues`.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     meta = log.topic("mails", value=str).append("hello")
        ...     with log.queue("mails", group="mailers") as queue:
        ...         queue.poll()[0].reject("no such address")
        ...     log.queues.list(), log.queues.replay("dlq.mailers"), len(list(log.topic("mails").read()))
        (['mailers'], 1, 2)
    """

    __slots__ = ()

    @abstractmethod
    def list(self) -> builtins.list[str]:
        """Return the names of all queues, sorted."""

    @abstractmethod
    def describe(self, name: str) -> QueueDescription:
        """
        Describe a queue as it is now.

        Raises:
            UnknownGroup: there is no such queue.
        """

    @abstractmethod
    def pause(self, name: str) -> None:
        """
        Hand out nothing more until `resume`; jobs that are handed out may be acknowledged.

        Raises:
            UnknownGroup: there is no such queue.
        """

    @abstractmethod
    def resume(self, name: str) -> None:
        """
        Hand out jobs again.

        Raises:
            UnknownGroup: there is no such queue.
        """

    @abstractmethod
    def purge(self, name: str) -> int:
        """
        Take everything for done that is stored now, but for jobs that are handed out; the records stay.

        Returns:
            How many jobs that were.

        Raises:
            UnknownGroup: there is no such queue.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """
        Delete a queue: a later one of that name begins from the start.

        Its topics and dead letters stay.

        Workers that are at it get `UnknownGroup` at their next call.

        Raises:
            UnknownGroup: there is no such queue.
        """

    @abstractmethod
    def replay(
        self,
        dead_letters: str | Topic[Any, Any],
        *,
        where: Callable[[Record[Any, Any]], bool] | None = None,
        edit: Callable[[Record[Any, Any]], Any] | None = None,
        rate: float | None = None,
    ) -> int:
        """
        Append dead letters to the topics that they came from, each of them once.

        Each goes in one commit with a note that it was replayed: an interrupted call may be made again. The notes are
        the queue `replay.` and the topic's name. A letter that is rejected again is another letter.

        Args:
            dead_letters: the topic.
            where: says which letters to replay; the others stay for later calls. None replays all.
            edit: returns the value to append instead of the letter's.
            rate: how many a second at most; None is as fast as it goes.

        Returns:
            How many were appended.

        Raises:
            UnknownTopic: there is no such topic, or that of a letter was deleted. Letters before it were replayed.
            ValueError: a record is no dead letter.
        """


for _class in (WorkerDescription, PartitionProgress, QueueDescription, Queues):
    publish(_class)
