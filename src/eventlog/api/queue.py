"""Queues and their jobs as users see them: records that are handed out one by one, and acknowledged each."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Generic, Literal, NoReturn, Protocol, Self, TypeAlias

import attrs

from eventlog.api.features import Closing, FrontDoor
from eventlog.records import Headers, K, Record, V, publish

JobState: TypeAlias = Literal["open", "accepted", "released", "rejected"]


class JobOwner(Protocol):
    """The worker that has a job."""

    def settle(self, job: Job[Any, Any], state: JobState, *, delay: float | None = None, reason: str = "") -> None:
        """Note what becomes of a job; it is stored with the next poll."""
        ...

    def fail(self, job: Job[Any, Any], error: BaseException) -> bool:
        """Note that the work on a job has failed; whether the error is dealt with."""
        ...

    def renew(self, job: Job[Any, Any], seconds: float | None) -> None:
        """Begin the time limit of a job again."""
        ...

    def monotonic_ms(self) -> int:
        """What the clock of limits says."""
        ...


_UNLIMITED_MS = 2**63 - 1


@attrs.define(slots=True, weakref_slot=False, eq=False)
class Job(Record[K, V]):
    """
    A record that a queue has handed out to one worker.

    It is the worker's until it is acknowledged by `accept`, `release` or `reject`, until the worker closes its queue or
    dies, or until the queue's `timeout` is over. A `with` block accepts it at its end. An error in the block releases
    it for later, or after the last attempt makes it a dead letter; the error is written to Python's log, and goes no
    further.

    `delivery_count` is how often it was handed out, this time included, and `first_delivered_ms` when that was first.
    What becomes of it is stored with the next `poll()`, by `Queue.commit()` or when the queue is closed. Any thread of
    the worker's process may do that.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     meta = log.topic("mails", value=str).append("hello")
        ...     with log.queue("mails", group="mailers") as queue:
        ...         job = queue.poll(timeout=1.0)[0]
        ...         with job:
        ...             sent = job.value.upper()
        >>> sent, job.delivery_count, job.state
        ('HELLO', 1, 'accepted')
    """

    delivery_count: int = 1
    first_delivered_ms: int = 0
    state: JobState = "open"
    _owner: JobOwner | None = attrs.field(default=None, repr=False)
    _number: int = attrs.field(default=0, repr=False)
    _limit_ms: int = attrs.field(default=_UNLIMITED_MS, repr=False)

    @property
    def id(self) -> str:
        """A name for the job that it keeps however often it is handed out: topic, partition and offset."""
        return f"{self.topic}-{self.partition}-{self.offset}"

    @property
    def remaining(self) -> float:
        """The seconds that are left of the queue's `timeout`; infinite without one."""
        if self._limit_ms == _UNLIMITED_MS or self._owner is None:
            return float("inf")
        return max(0.0, (self._limit_ms - self._owner.monotonic_ms()) / 1000)

    def accept(self) -> None:
        """
        Say that the job is done.

        Raises:
            ValueError: it was acknowledged before.
            LogClosed: its queue is closed, and the job was given back.
        """
        self._settler().settle(self, "accepted")

    def release(self, *, delay: float | None = None) -> None:
        """
        Give the job back, for another attempt; after the last one it becomes a dead letter.

        Args:
            delay: the seconds before it is handed out again; None is at once.

        Raises:
            ValueError: it was acknowledged before.
            LogClosed: its queue is closed, and the job was given back.
        """
        self._settler().settle(self, "released", delay=delay)

    def reject(self, reason: str = "") -> None:
        """
        Say that the job will never succeed: it becomes a dead letter at once.

        Args:
            reason: stands in the headers of the dead letter.

        Raises:
            ValueError: it was acknowledged before.
            LogClosed: its queue is closed, and the job was given back.
        """
        self._settler().settle(self, "rejected", reason=reason)

    def renew(self, seconds: float | None = None) -> None:
        """
        Begin the queue's `timeout` again; without one nothing is to be done.

        Args:
            seconds: how long the job may take from now on; None is the queue's `timeout`.

        Raises:
            LeaseLost: the time was over, and the job is another worker's. Nothing was stored.
            ValueError: it was acknowledged before.
        """
        self._settler().renew(self, seconds)

    def _settler(self) -> JobOwner:
        if self._owner is None or self.state != "open":
            raise ValueError(
                f"cannot acknowledge job {self.id}: it was {self.state} before. Nothing was changed. Acknowledge each "
                "job once."
            )
        return self._owner

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if self.state != "open" or self._owner is None:
            return False
        if error is None:
            self._owner.settle(self, "accepted")
            return False
        return self._owner.fail(self, error)

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError(
            "cannot copy or pickle this Job: it is of the worker that it was handed to. Nothing was changed. Pass its "
            "value, or its id, and acknowledge it where it was taken."
        )


class Queue(Closing, FrontDoor, Generic[K, V]):
    """
    A worker of a queue: it takes jobs, and acknowledges each.

    All workers that name one `group` share its jobs, in any number of threads and processes, and there may be more of
    them than partitions. A job is one worker's at a time. It stays the worker's for as long as the worker lives, which
    the kernel tells: a job may take hours, and those of a killed process are another worker's within milliseconds.
    Close a queue to give back what is not done; that does not count as an attempt.

    A worker belongs to one thread at a time; its jobs may be acknowledged by any.

    Get one from `EventLog.queue`.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     ranges = log.topic("mails", value=str).append_many(["one", "two"])
        ...     with log.queue("mails", group="mailers") as queue:
        ...         for job in queue:
        ...             with job:
        ...                 print(job.value)
        ...             if job.value == "two":
        ...                 break
        one
        two
    """

    __slots__ = ()

    @property
    @abstractmethod
    def group(self) -> str:
        """The name of the queue, which its workers share."""

    @property
    @abstractmethod
    def is_closed(self) -> bool:
        """Whether `close()` was called."""

    @abstractmethod
    def poll(self, timeout: float = 0.0, *, max_records: int | None = None) -> list[Job[K, V]]:
        """
        Take jobs, and store what has become of those before, in one commit.

        Args:
            timeout: seconds to wait for the first job.
            max_records: the most jobs that are taken; None is the option `max_poll_records`. Where there are not enough
                jobs for all workers, each gets a share.

        Raises:
            LeaseLost: a job was acknowledged that is another worker's by now. Nothing of that acknowledgement was
                stored; what was taken comes with the next call.
            LogClosed: the queue is closed.
            UnknownGroup: the queue was deleted.
            ConcurrentUse: another thread is in the middle of a call.
            CorruptBatch: a job cannot be read. It is given back.
        """

    @abstractmethod
    def __iter__(self) -> Iterator[Job[K, V]]:
        """
        Take jobs without end, and wait for more.

        A job of another worker by now is not raised here, but written to Python's log. The loop ends when the queue is
        closed, or by `wakeup()`.
        """

    @abstractmethod
    def commit(self) -> None:
        """
        Store what has become of jobs now; the next `poll()` does that too.

        Raises:
            LeaseLost: a job was acknowledged that is another worker's by now. Nothing of that acknowledgement was
                stored, all others were.
            LogClosed: the queue is closed.
        """

    @abstractmethod
    def run(self, function: Callable[[Job[K, V]], object], *, threads: int = 1) -> None:
        """
        Work in some threads until the queue is closed: call a function for each job, and accept it when that returns.

        An error of the function releases the job for later, or after the last attempt makes it a dead letter. It ends
        after `close()` or `wakeup()`, by a signal handler or another thread, when the jobs in hand are done.

        Args:
            function: takes the job.
            threads: how many threads work; each is a worker of its own.

        Raises:
            LogClosed: the queue is closed.
            StorageError: the disk failed.
        """

    @abstractmethod
    def wakeup(self) -> None:
        """End a `poll()` or a loop that waits now, or the next one; any thread and a signal handler may call it."""

    def fileno(self) -> int:
        """
        A descriptor for an event loop of the program: readable while `poll(0)` may find something.

        It becomes readable when something is committed to a topic of the queue, by any thread or process, when jobs are
        given back, and by `wakeup()`; and it stays readable until a `poll(0)` has found nothing. It is one descriptor
        until `close()`: take it out of the loop before. Never read from it.

        Some things come with time and not with a commit (a delayed job, the death of a worker, a notification that was
        lost): call `poll(0)` also when `max_wait()` seconds have passed since the last call.

        Raises:
            NotSupported: where the platform or the file system has no FIFOs. Call `poll(0)` every few milliseconds
                then, or `poll(timeout)` in a thread.

        Example:
            >>> import selectors
            >>> with eventlog.open(":memory:") as log, selectors.DefaultSelector() as selector:
            ...     mails = log.topic("mails", value=str)
            ...     with log.queue(mails, group="mailers") as queue:
            ...         key = selector.register(queue, selectors.EVENT_READ)
            ...         meta = mails.append("hello")
            ...         while not (jobs := queue.poll(0)):
            ...             ready = selector.select(queue.max_wait())
            ...         key = selector.unregister(queue)
            >>> [job.value for job in jobs]
            ['hello']
        """
        raise self._lacks("fileno()", "fileno")

    def max_wait(self) -> float:
        """
        The seconds that an event loop may wait before it calls `poll(0)`, though `fileno()` is not readable.

        At most 0.1, and less when a delayed job is due before.
        """
        raise self._lacks("max_wait()", "fileno")

    @abstractmethod
    def close(self) -> None:
        """
        Store what has become of jobs, and give back all that are not done; they count as not handed out.

        Acknowledgements that come too late are written to Python's log.
        """


for _class in (Job, Queue):
    publish(_class)

__all__ = ["Headers", "Job", "JobOwner", "JobState", "Queue"]
