"""
The queue that users hold: checks who may call, blocks where waiting is asked for, and tells what went wrong with jobs.

All else is `Worker` (`clients/queue/worker.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Never, cast

from eventlog.api.overriding import override
from eventlog.api.queue import Job, JobState, Queue
from eventlog.backend import Backend
from eventlog.backend.queues import Acknowledgement, Action, StoredQueue
from eventlog.backend.waiting import RECHECK_SECONDS
from eventlog.clients.queue.options import WorkerOptions
from eventlog.clients.queue.worker import Worker
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.errors import ConcurrentUse, EventLogError, LogClosed, NotSupported, UsedAfterFork
from eventlog.interruptions import is_interruption, suppress, unless_interrupted
from eventlog.options import check_function, check_int, check_seconds, refuse_options
from eventlog.records import K, V
from eventlog.uninterruptible import HeldLock

if TYPE_CHECKING:
    from eventlog.backend.waiting import Listener, Waiter

_CLOSE_SECONDS = 10.0
_BLINK_SECONDS = 0.02
_FRUITLESS_COUNT = 3
_REST_SECONDS = 0.05
_NEVER_S = float("inf")
_ACTIONS = {"released": Action.RELEASE, "rejected": Action.REJECT}


class EmbeddedQueue(Queue[K, V]):
    """The embedded queue: see `eventlog.Queue`."""

    def __init__(
        self,
        backend: Backend,
        open_topic: Callable[[str], EmbeddedTopic[Any, Any]],
        stored: StoredQueue,
        options: WorkerOptions,
        topics: Sequence[EmbeddedTopic[Any, Any]],
        listener: Listener | None = None,
    ) -> None:
        self._backend = backend
        self._open_topic = open_topic
        self._options = options
        self._topics = tuple(topics)
        self._in_use = threading.RLock()
        self._refusal: Callable[[], Exception] | None = None
        self._is_woken = False
        self._is_closing = False
        self._siblings: list[EmbeddedQueue[K, V]] = []
        """The workers of `run()`."""
        self._is_of_loop = listener is not None
        self._is_watched = False
        """Whether a loop of the program watches our descriptor, which then stays readable until nothing is found."""
        self._waiter: Waiter = backend.waiter() if listener is None else cast("Waiter", listener)
        """Where a poll waits; in a loop only a place to be notified: somebody else waits."""
        self._worker = Worker(backend, open_topic, stored, options, topics, self)
        backend.on_fork(self)

    @property
    @override
    def group(self) -> str:
        return self._options.group

    @property
    @override
    def is_closed(self) -> bool:
        return self._refusal is not None

    # -- taking ----------------------------------------------------------------------------------------------

    @override
    def poll(self, timeout: float = 0.0, *, max_records: int | None = None, **others: Never) -> list[Job[K, V]]:
        if others:
            refuse_options("Queue.poll", others)
        most = self._options.max_poll_records
        if max_records is not None:
            most = check_int("max_records", max_records, least=1)
        return self._poll(check_seconds("timeout", timeout), most)

    @override
    def __iter__(self) -> Iterator[Job[K, V]]:
        while self._refusal is None:
            try:
                jobs = self._poll(None, self._options.max_poll_records, is_loop=True)
            except unless_interrupted(LogClosed):
                if self._is_closing or self.is_closed:
                    return
                raise
            if not jobs:
                return
            yield from jobs

    def _poll(self, timeout: float | None, most: int, *, is_loop: bool = False) -> list[Job[K, V]]:
        with self._used():
            worker, now, fruitless = self._worker, self._backend.clock.monotonic, 0
            until_s = _NEVER_S if timeout is None else now() + timeout
            try:
                while True:
                    if timeout != 0.0:
                        self._prepare_to_wait()
                    if is_loop and self._take_wakeup():
                        return []
                    jobs = self._try_watched(most) if self._is_watched else self._try(most, is_loop=is_loop)
                    if self._is_closing:
                        return []
                    if jobs or self._take_wakeup() or now() >= until_s:
                        return jobs
                    if worker.seen is not None:
                        fruitless = 0
                        self._waiter.wait_until(min(until_s, worker.wake_at_s), worker.seen)
                    elif (fruitless := fruitless + 1) >= _FRUITLESS_COUNT:
                        self._waiter.wait_until(min(until_s, now() + _REST_SECONDS), None)
            finally:
                if self._is_closing:
                    self._close_worker()

    def _attempt(self, most: int, *, is_loop: bool) -> bool:
        """Take jobs without waiting, for a loop, which finds them with the worker; whether it was woken."""
        with self._used():
            worker = self._worker
            self._prepare_to_wait()
            if is_loop and self._take_wakeup():
                return True
            jobs = self._try(most, is_loop=is_loop)
            worker.found.extendleft(reversed(jobs))
            return not jobs and self._take_wakeup()

    def _prepare_to_wait(self) -> bool:
        """Be notified of what concerns us; whether that is new."""
        is_new = self._waiter.subscribe(self._worker.subjects)
        self._waiter.watch(self._worker.watched)
        return is_new

    def _try_watched(self, most: int) -> list[Job[K, V]]:
        """Take jobs for a loop of the program: its descriptor stays readable until there are none."""
        is_quiet = False
        try:
            self._prepare_to_wait()
            self._waiter.drain()
            jobs = self._try(most, is_loop=False)
            is_quiet = not jobs
        finally:
            if not is_quiet:  # there may be more, or an error was raised: the loop has to come again
                self._waiter.wake()
        return jobs

    def _try(self, most: int, *, is_loop: bool) -> list[Job[K, V]]:
        worker = self._worker
        if worker.found and not worker.has_pending:
            return worker._handed(most)
        jobs = worker.try_take(most)
        lost = worker.lease_lost()
        if lost is not None:
            if not is_loop:
                worker.found.extendleft(reversed(jobs))
                raise lost
            self._tell_lost(lost)
        return jobs

    def _take_wakeup(self) -> bool:
        is_woken, self._is_woken = self._is_woken or self._is_closing, False
        return is_woken

    @override
    def wakeup(self) -> None:
        self._is_woken = True
        self._waiter.wake()
        for sibling in self._siblings:
            sibling.wakeup()

    @override
    def fileno(self) -> int:
        with self._used():
            is_new = self._prepare_to_wait()
            descriptor = self._waiter.fileno()
            if descriptor is None:
                raise NotSupported(
                    f"cannot give a descriptor for a queue of {self._backend.path}: its file system or this platform "
                    "has no FIFOs.",
                    stored="The queue is unchanged.",
                    advice="Call poll(0) every few milliseconds from the loop, or poll(timeout) in a thread.",
                    feature="fileno",
                    backend="embedded",
                )
            self._is_watched = True
            if is_new:
                self._waiter.wake()
            return descriptor

    @override
    def max_wait(self) -> float:
        with self._used():
            worker = self._worker
            if worker.found:
                return 0.0
            if worker.has_pending or worker.seen is None:
                return _REST_SECONDS
            return min(max(worker.wake_at_s - self._backend.clock.monotonic(), 0.0), RECHECK_SECONDS)

    @override
    def run(self, function: Callable[[Job[K, V]], object], *, threads: int = 1) -> None:
        check_int("threads", threads, least=1)
        check_function("function", function, "Nothing was done.")
        from eventlog.clients.queue.running import run

        with self._used():
            run(self, function, threads)

    def _sibling(self) -> EmbeddedQueue[K, V]:
        """Another worker like this one."""
        return EmbeddedQueue(self._backend, self._open_topic, self._worker.queue, self._options, self._topics)

    # -- what becomes of jobs --------------------------------------------------------------------------------

    def settle(self, job: Job[K, V], state: JobState, *, delay: float | None = None, reason: str = "") -> None:
        """Note what becomes of a job."""
        if state == "accepted":
            if self._refusal is not None:
                raise self._refusal()
            self._worker.accept(job)
            job.state = state
            return
        if not isinstance(reason, str):
            raise TypeError(f"a reason is a str, not {reason!r}. The job is as it was.")
        delay_ms = 0 if delay is None else round(check_seconds("delay", delay) * 1000)
        self._check_open()
        self._worker.add(job, _ACTIONS[state], delay_ms=delay_ms, reason=reason)
        job.state = state

    def fail(self, job: Job[K, V], error: BaseException) -> bool:
        """Release a job that has failed, or after the last attempt make it a dead letter; whether that is all."""
        if not isinstance(error, Exception) or is_interruption(error):
            with suppress(LogClosed):
                self._check_open()
                self._worker.add(job, Action.GIVE_BACK)
                job.state = "released"
            return False
        from eventlog.notices import JOB_FAILED, JOB_REJECTED, tell

        self._check_open()
        options = self._worker.queue.options
        if job.delivery_count >= options.attempts:
            import traceback

            details = "".join(traceback.format_exception(error))
            self._worker.add(job, Action.REJECT, reason=_said(error), details=details)
            job.state = "rejected"
            tell(JOB_REJECTED, exc_info=error, group=self.group, job=job.id, attempts=options.attempts)
            return True
        first_ms, most_ms = options.backoff_ms
        pause_ms = min(most_ms, first_ms << min(job.delivery_count - 1, 40))
        self._worker.add(job, Action.RELEASE, delay_ms=pause_ms)
        job.state = "released"
        tell(
            JOB_FAILED,
            exc_info=error,
            group=self.group,
            job=job.id,
            attempt=job.delivery_count,
            attempts=options.attempts,
            pause=pause_ms / 1000,
        )
        return True

    def renew(self, job: Job[K, V], seconds: float | None) -> None:
        """Begin the limit of a job again."""
        if self._is_of_loop:
            raise NotSupported(
                "job.renew() would hold up the event loop while it is stored.",
                stored="Nothing was changed.",
                advice="Write `await queue.renew(job)`.",
                feature="queues",
                backend="embedded",
            )
        self._renew(job, seconds)

    def _renew(self, job: Job[K, V], seconds: float | None) -> None:
        self._check_open()
        timeout_ms = self._worker.queue.options.timeout_ms
        limit_ms = timeout_ms if seconds is None else max(1, round(check_seconds("seconds", seconds) * 1000))
        if timeout_ms is None or limit_ms is None:
            return
        self._worker.renew(job, limit_ms)
        job._limit_ms = self.monotonic_ms() + limit_ms

    def monotonic_ms(self) -> int:
        """What the clock of limits says."""
        return int(self._backend.clock.monotonic() * 1000)

    def _acknowledgement(self, job: Job[K, V]) -> tuple[StoredQueue, str, Acknowledgement]:
        """The acceptance of a job as a part of a transaction."""
        self._check_open()
        return self._worker.queue, self._worker.id, self._worker.acknowledgement(job, Action.ACCEPT)

    @override
    def commit(self) -> None:
        with self._used():
            self._worker.commit()
            lost = self._worker.lease_lost()
            if lost is not None:
                raise lost

    def _tell_lost(self, error: EventLogError) -> None:
        from eventlog.notices import LEASE_LOST, tell

        tell(LEASE_LOST, error=error, group=self.group)

    # -- life ------------------------------------------------------------------------------------------------

    def _used(self) -> AbstractContextManager[None] | HeldLock:
        if self._in_use._is_owned():  # type: ignore[attr-defined]
            raise ConcurrentUse(
                "this queue is in the middle of a call of the same thread: a signal handler or a finalizer called it "
                "again.",
                stored="Nothing was changed.",
                advice="Call only wakeup() and close() there.",
            )
        return HeldLock(self._in_use, _CLOSE_SECONDS if self._is_closing else _BLINK_SECONDS, self._check_use)

    def _check_use(self, is_ours: bool) -> None:  # noqa: FBT001
        if not is_ours:
            raise ConcurrentUse(
                "another thread is using this queue.",
                stored="Nothing was handed out.",
                advice="Give each thread a queue of its own, or use run(); only wakeup() and close() may be called "
                "from others.",
            )
        self._check_open()

    def _check_open(self) -> None:
        if self._refusal is not None:
            raise self._refusal()

    @property
    def _is_interrupted(self) -> bool:
        """Whether this very thread is in the middle of one of our calls."""
        owned: bool = self._in_use._is_owned()  # type: ignore[attr-defined]
        return owned and self._refusal is None

    @override
    def close(self) -> None:
        if self._refusal is not None:
            return
        self._is_closing = True
        self.wakeup()
        if self._in_use._is_owned() or self._backend.is_interrupted:  # type: ignore[attr-defined]
            return  # inside of a call of this thread, which ends, and closes it
        with HeldLock(self._in_use, _CLOSE_SECONDS, self._check_closing):
            self._close_worker()

    def _check_closing(self, is_ours: bool) -> None:  # noqa: FBT001
        if not is_ours:
            raise ConcurrentUse(
                "another thread is using this queue.",
                stored="It is not closed: its jobs are as they were.",
                advice="Call wakeup(), let that thread come to its end, and close again.",
            )

    def _close_worker(self) -> None:
        if self._refusal is not None:
            return
        try:
            self._worker.close()
        finally:
            self._refusal = closed_queue
            self._waiter.close()
        lost = self._worker.lease_lost()
        if lost is not None:
            self._tell_lost(lost)

    def _after_fork(self) -> None:
        """Leave the parent's place to wait alone; this queue is of no use in the child."""
        self._waiter.forget()
        self._in_use = threading.RLock()
        self._refusal = lambda: UsedAfterFork(
            "the queue was made before a fork and belongs to the parent.",
            stored="Nothing was handed out.",
            advice="Make another with log.queue() in the child.",
        )

    def __repr__(self) -> str:
        state = "closed" if self._refusal is not None else ", ".join(topic.name for topic in self._topics)
        return f"<Queue {self.group!r}: {state}>"


def closed_queue() -> LogClosed:
    """The error for a queue that was closed."""
    return LogClosed(
        "the queue is closed, and the jobs that were not done were given back.",
        stored="Nothing was handed out or stored.",
        advice="Make another with log.queue().",
    )


def _said(error: BaseException) -> str:
    text = f"{type(error).__name__}: {error}"
    return text if len(text) <= 1000 else text[:997] + "..."
