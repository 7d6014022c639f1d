"""The part of `EventLog` that has queues."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

from eventlog import api
from eventlog.api.features import FrontDoor
from eventlog.api.topic import Topic
from eventlog.options import Start

K1 = TypeVar("K1")
V1 = TypeVar("V1")
K2 = TypeVar("K2")
V2 = TypeVar("V2")


class Queueing(TypedDict, total=False):
    """The options of `EventLog.queue` that may be left out."""

    start: Start
    attempts: int | None
    dead_letters: str | Topic[Any, Any] | Literal[False] | None
    backoff: tuple[float, float] | None
    per_key: int | None
    timeout: float | None
    weights: tuple[int, ...] | None
    max_poll_records: int
    session_timeout: float


class LogQueues(FrontDoor):
    """Queues; `EventLog` has these methods."""

    __slots__ = ()

    @overload
    def queue(self, topic: Topic[K1, V1], /, *, group: str, **options: Unpack[Queueing]) -> api.Queue[K1, V1]: ...
    @overload
    def queue(
        self, topic: Topic[K1, V1], other: Topic[K2, V2], /, *, group: str, **options: Unpack[Queueing]
    ) -> api.Queue[K1 | K2, V1 | V2]: ...
    @overload
    def queue(self, *topics: str | Topic[Any, Any], group: str, **options: Unpack[Queueing]) -> api.Queue[Any, Any]: ...
    def queue(
        self,
        *topics: str | Topic[Any, Any],
        group: str,
        start: Start = "earliest",
        attempts: int | None = None,
        dead_letters: str | Topic[Any, Any] | Literal[False] | None = None,
        backoff: tuple[float, float] | None = None,
        per_key: int | None = None,
        timeout: float | None = None,
        weights: tuple[int, ...] | None = None,
        max_poll_records: int = 1,
        session_timeout: float = 10.0,
    ) -> api.Queue[Any, Any]:
        """
        Work for a queue: take records of some topics as jobs, and acknowledge each by itself.

        All workers of one `group` share the jobs, whatever process they are in. A consumer group and a queue may read
        the same topic, under different names. The first worker makes the queue; `attempts`, `dead_letters`, `backoff`,
        `per_key` and `timeout` are stored with it; one that is left out means what is stored, or the default if the
        queue is new.

        Args:
            topics: the topics, by name or as a `Topic`.
            group: the name of the queue: 1 to 249 printable characters.
            start: where a new queue begins: "earliest" (default), "latest", an offset or a `datetime`.
            attempts: how often a job is handed out at most (default 5). A job whose worker dies counts too, so one that
                kills its workers ends as a dead letter.
            dead_letters: the topic of what was rejected, or failed too often (default `dlq.` and the group); it is made
                if it is missing. False keeps none.
            backoff: the seconds before a job that failed is handed out again, and the most of them: each attempt
                doubles the pause (default (1.0, 300.0)).
            per_key: how many jobs with the same key are handed out at a time. 1 keeps the order of each key, with any
                number of workers. A job without a key is never held up. None (default) is any number.
            timeout: the seconds that a job may take while its process lives; then another worker gets it. None
                (default) is any time.
            weights: for several topics, how many jobs of each are taken in turn, as (8, 1); none waits forever. None
                (default) takes as many of each.
            max_poll_records: how many jobs a loop takes at a time (default 1: each worker takes the next when it is
                free). More cost less for each job.
            session_timeout: the seconds after which the jobs of a process that hangs are handed to others (default 10).
                Those of a process that has died are at once.

        Raises:
            QueueMismatch: an option differs from the stored one. The queue is unchanged.
            GroupMismatch: the name is that of a consumer group. Nothing was made.
            UnknownTopic: there is no such topic. Nothing was made.
            FormatTooOld: a log of format 3 has no queues. Nothing was made.
            NotSupported: the backend has no queues.
            ValueError, TypeError: an option is out of its bounds.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     meta = log.topic("mails", value=str).append("hello")
            ...     with log.queue("mails", group="mailers") as queue:
            ...         job = queue.poll(timeout=1.0)[0]
            ...         job.reject("no such address")
            ...     next(log.topic("dlq.mailers").read()).value
            'hello'
        """
        raise self._lacks("queue()", "queues")

    @property
    def queues(self) -> api.Queues:
        """The queues of the log: to list, describe, pause, purge and delete them, and to replay dead letters."""
        raise self._lacks("queues", "queues")
