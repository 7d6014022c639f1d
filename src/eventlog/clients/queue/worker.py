"""
One worker of a queue, without waiting: what it has acknowledged, what it asks for, whom it watches.

What becomes of jobs is noted by any thread, and stored with the next request; all else belongs to the worker's thread.
A request may be interrupted (Ctrl-C) and stored all the same: then the jobs of it, of which nobody knows, are given
back by the next request, and acknowledgements that were stored already are not told as too late.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any
from uuid import uuid4

from eventlog.api.queue import Job, JobOwner
from eventlog.backend import Backend
from eventlog.backend.queues import NO_LIMIT, Acknowledgement, Action, QueueReply, QueueRequest, StoredQueue
from eventlog.backend.waiting import group_subject
from eventlog.clients.queue.options import WorkerOptions
from eventlog.clients.queue.reading import JobReader
from eventlog.clients.queue.turns import WeightedTurns
from eventlog.clients.reading.batch_reader import BatchReader
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.clients.topic_handle import TopicHandle
from eventlog.errors import EventLogError, LeaseLost, UnknownTopic
from eventlog.interruptions import is_interruption, suppress, unless_interrupted
from eventlog.named_tuples import NamedTuple

_WATCHED_COUNT = 16
"""How many of the other workers are watched, the next in the order of their ids: the kernel tells of a death."""
_LOOK_SECONDS = 2.0
"""The pause between two looks at all others: a worker does not watch each of them, and hung ones do not die."""
_REST_SECONDS = 0.1
_NEVER_S = float("inf")


class _Noted(NamedTuple):
    """What becomes of a job that is not just accepted, or of one that nobody is told of if it comes too late."""

    job: Job[Any, Any]
    action: Action
    delay_ms: int = 0
    reason: str = ""
    details: str = ""
    is_told: bool = True


_Pending = Job[Any, Any] | _Noted


class Worker:
    """
    One worker of a queue.

    Args:
        owner: what its jobs call when they are acknowledged.
    """

    def __init__(
        self,
        backend: Backend,
        open_topic: Callable[[str], EmbeddedTopic[Any, Any]],
        queue: StoredQueue,
        options: WorkerOptions,
        topics: Sequence[EmbeddedTopic[Any, Any]],
        owner: JobOwner,
    ) -> None:
        self.queue = queue
        self.id = uuid4().hex
        self._backend = backend
        self._queues = backend.queues()
        self._open_topic = open_topic
        self._names = [topic.name for topic in topics]
        self._routes: dict[int, TopicHandle] = {topic._route.row.id: topic._route for topic in topics}
        self._topics_version = -1
        self._turns = WeightedTurns(options.weights)
        self._reader = JobReader(BatchReader(backend), owner)
        self._topic_ids = {topic.name: topic._route.row.id for topic in topics}
        self._pending: deque[_Pending] = deque()
        """What becomes of jobs and is to be stored; a job by itself is accepted."""
        self.accept: Callable[[Job[Any, Any]], None] = self._pending.append
        """Note that a job is done."""
        self._withdrawn: list[int] = []
        self._number = 0
        self._epoch = -1
        self._watch = backend.watch_members()
        self._look_at_s = 0.0
        self._quiet_until_s = _NEVER_S
        """When the lease of a worker that we watch is over, unless it is renewed: then it hangs."""
        self.found: deque[Job[Any, Any]] = deque()
        """Jobs that were taken and not handed out."""
        self.lost: list[Job[Any, Any]] = []
        """Jobs whose acknowledgement came too late, and of which nobody was told."""
        self.wake_at_s = _NEVER_S
        self.seen: int | None = None
        """Until when to wait if nothing is committed, and the commit that was seen last."""
        self._lease = backend.begin_lease(self.id, options.terms)
        try:
            rows = [topic._route.row for topic in topics]
            self._note(self._queues.begin_work(queue, self.id, self._lease, rows))
        except BaseException:
            self._lease.leave()
            raise

    # -- acknowledging ---------------------------------------------------------------------------------------

    def add(
        self, job: Job[Any, Any], action: Action, *, delay_ms: int = 0, reason: str = "", details: str = ""
    ) -> None:
        """Note what becomes of a job."""
        self._pending.append(_Noted(job, action, delay_ms, reason, details))

    def acknowledgement(
        self, job: Job[Any, Any], action: Action, delay_ms: int = 0, reason: str = "", details: str = ""
    ) -> Acknowledgement:
        """What becomes of a job, as a value."""
        offset = job.offset
        return Acknowledgement(
            self._topic_ids[job.topic],
            job.partition,
            offset,
            offset + 1,
            job._number,
            action,
            delay_ms,
            reason,
            details,
        )

    def _acknowledgements(self, noted: Iterable[_Pending]) -> list[Acknowledgement]:
        """What becomes of jobs, as values: those of one lease that follow each other and are accepted are one."""
        found: list[Acknowledgement] = []
        topic, partition, number, first, end = "", -1, -1, 0, -1
        for one in noted:
            if isinstance(one, _Noted):
                if end >= 0:
                    found.append(Acknowledgement(self._topic_ids[topic], partition, first, end, number, Action.ACCEPT))
                    end = -1
                found.append(self.acknowledgement(one.job, one.action, one.delay_ms, one.reason, one.details))
                continue
            offset = one.offset
            if offset == end and one._number == number and one.partition == partition and one.topic == topic:
                end += 1
                continue
            if end >= 0:
                found.append(Acknowledgement(self._topic_ids[topic], partition, first, end, number, Action.ACCEPT))
            topic, partition, number, first, end = one.topic, one.partition, one._number, offset, offset + 1
        if end >= 0:
            found.append(Acknowledgement(self._topic_ids[topic], partition, first, end, number, Action.ACCEPT))
        return found

    @property
    def has_pending(self) -> bool:
        """Whether anything is to be stored."""
        return bool(self._pending or self._reader.settled or self._withdrawn)

    def _drained(self) -> list[_Pending]:
        """What is to be stored; what other threads note meanwhile comes next."""
        taken = self._pending.popleft
        return [taken() for _ in range(len(self._pending))]

    # -- asking ----------------------------------------------------------------------------------------------

    def try_take(self, most: int) -> list[Job[Any, Any]]:
        """
        Store what is to be stored, and take jobs if there may be some; nothing where there are none.

        Raises:
            LeaseLost, CorruptBatch, ...: the jobs that were taken are in `found`.
        """
        now_s = self._backend.clock.monotonic()
        sweeps = self._is_sweep_due(now_s)
        must = sweeps or self.has_pending or not self._lease.is_usable(now_s)
        if not must and not self._may_take(now_s):
            return []
        self._request(most, now_s, sweeps=sweeps)
        self.seen = None
        return self._handed(most)

    def _is_sweep_due(self, now_s: float) -> bool:
        """Whether a worker that we watch has died or hangs, or it is time to look at all of them."""
        if self._watch.died() or now_s >= self._look_at_s:
            return True
        if now_s < self._quiet_until_s:
            return False
        self._learn_leases(now_s)  # they may have been renewed since
        return now_s >= self._quiet_until_s

    def _learn_leases(self, now_s: float) -> None:
        quiet_until_s = self._watch.quiet_until_s()
        self._quiet_until_s = quiet_until_s if quiet_until_s >= 0 else now_s + _LOOK_SECONDS

    def commit(self) -> None:
        """Store what is to be stored."""
        if self.has_pending:
            self._request(0, self._backend.clock.monotonic(), sweeps=False)

    def _handed(self, most: int) -> list[Job[Any, Any]]:
        found = self.found
        if len(found) <= most:
            jobs = list(found)
            found.clear()
            return jobs
        return [found.popleft() for _ in range(most)]

    def _may_take(self, now_s: float) -> bool:
        """Whether there may be jobs to take; notes until when there are none if nothing is committed."""
        self._learn_topics()
        view = self._queues.queue_view(self.queue, [route.row for route in self._routes.values()])
        self.seen = view.transaction
        if view.epoch != self._epoch:
            self._meet(view.epoch)
        now_ms = self._backend.clock.now_ms()
        wakes = [self._look_at_s, self._quiet_until_s]
        if view.next_due_ms is not None:
            wakes.append(now_s + max(0, view.next_due_ms - now_ms) / 1000)
        if view.limit_ms != NO_LIMIT:
            wakes.append(view.limit_ms / 1000)
        self.wake_at_s = min(wakes)
        is_due = view.next_due_ms is not None and view.next_due_ms <= now_ms
        return view.has_more or is_due or view.limit_ms <= now_s * 1000

    def _request(self, most: int, now_s: float, *, sweeps: bool) -> None:
        drained, settled = self._drained(), self._reader.settled
        self._reader.settled = []
        self._number += 1
        request = QueueRequest(
            self.queue,
            self.id,
            self._number,
            self._acknowledgements(drained) + settled,
            self._wants(most),
            max(0, most - len(self.found)),
            self._number,
            sweeps,
            None if self._lease.is_usable(now_s) else self._lease,
            tuple(self._withdrawn),
        )
        try:
            reply = self._queues.request_jobs(request)
        except BaseException as error:
            is_unsure = is_interruption(error)
            self._pending.extendleft(_untold(one) if is_unsure else one for one in reversed(drained))
            self._reader.settled[:0] = settled
            if is_unsure:
                self._withdrawn.append(self._number)
            raise
        self._withdrawn.clear()
        self._note(reply)
        if sweeps:
            self._look_at_s = now_s + _LOOK_SECONDS
            self._learn_leases(now_s)
            self._quiet_until_s = max(self._quiet_until_s, now_s + _REST_SECONDS)
        self._note_lost(drained, reply.refused)
        jobs: list[Job[Any, Any]] = []
        try:
            failure = self._reader.read(reply.leased, self._routes, jobs)
        except BaseException:
            self._withdrawn.append(self._number)
            raise
        self.found += jobs
        if failure is not None:
            raise failure

    def _wants(self, most: int) -> list[tuple[Any, int]]:
        if most <= 0:
            return []
        if len(self._names) == 1:
            return [(route.row, most) for route in self._routes.values()]
        rows = {route.row.name: route.row for route in self._routes.values()}
        shares = [(rows.get(self._names[place]), count) for place, count in self._turns.shares(most)]
        return [(row, count) for row, count in shares if row is not None]

    def _note_lost(self, drained: Iterable[_Pending], refused: Sequence[Acknowledgement]) -> None:
        """Note the jobs of acknowledgements that came too late; several of them may have gone as one."""
        if not refused:
            return
        jobs = [one.job if isinstance(one, _Noted) else one for one in drained if not _is_untold(one)]
        for one in refused:
            self.lost += [
                job
                for job in jobs
                if (self._topic_ids[job.topic], job.partition, job._number) == (one.topic_id, one.partition, one.number)
                and one.first <= job.offset < one.end
            ]

    def lease_lost(self) -> LeaseLost | None:
        """The error for jobs whose acknowledgement came too late; it is told once."""
        if not self.lost:
            return None
        lost, self.lost = tuple(self.lost), []
        more = "" if len(lost) == 1 else f" and {len(lost) - 1} more"
        return LeaseLost(
            f"cannot acknowledge job {lost[0].id}{more} of queue {self.queue.name!r}: the lease is over, and others "
            "may have the job.",
            stored="Nothing of it was stored; all other acknowledgements were.",
            advice="Undo what the job has done elsewhere, or let it be done twice; renew() in time, or raise timeout=.",
            lost=lost,
            topic=lost[0].topic,
            partition=lost[0].partition,
            offset=lost[0].offset,
            group=self.queue.name,
        )

    def renew(self, job: Job[Any, Any], limit_ms: int) -> None:
        """Begin the limit of a job again; it is stored at once."""
        one = self.acknowledgement(job, Action.RENEW, limit_ms)
        reply = self._queues.request_jobs(QueueRequest(self.queue, self.id, acknowledgements=[one]))
        if reply.refused:
            self.lost.append(job)
            error = self.lease_lost()
            assert error is not None
            raise error

    # -- others --------------------------------------------------------------------------------------------------

    @property
    def subjects(self) -> AbstractSet[int]:
        """What a wait is notified of: records of the topics, and changes of the queue."""
        return {*self._routes, group_subject(self.queue.name)}

    @property
    def watched(self) -> AbstractSet[int]:
        """The pipes that end when a worker dies that we watch."""
        return self._watch.descriptors

    def _note(self, reply: QueueReply) -> None:
        if reply.epoch != self._epoch:
            self._meet(reply.epoch)

    def _meet(self, epoch: int) -> None:
        """Note who works for the queue now, and whom of them we watch."""
        ids = self._queues.worker_ids(self.queue)
        place = bisect_right(ids, self.id)
        others = [one for one in ids[place:] + ids[:place] if one != self.id]
        self._watch.choose(others[:_WATCHED_COUNT])
        now_s = self._backend.clock.monotonic()
        self._look_at_s = now_s + _LOOK_SECONDS if others else _NEVER_S
        if others:
            self._learn_leases(now_s)
        else:
            self._quiet_until_s = _NEVER_S
        self._epoch = epoch

    def _learn_topics(self) -> None:
        """Look for topics that were made again under their names, or were deleted."""
        version = self._backend.topics_version()
        if version == self._topics_version:
            return
        routes: dict[int, TopicHandle] = {}
        for name in self._names:
            with suppress(UnknownTopic):
                route = self._open_topic(name)._route
                route.learn(self._backend.topic(name))
                routes[route.row.id] = self._routes.get(route.row.id, route)
        self._routes, self._topics_version = routes, version
        self._topic_ids |= {route.row.name: route.row.id for route in routes.values()}

    # -- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Store what is to be stored, and give back all else."""
        drained = self._drained()
        try:
            last = self._acknowledgements(drained) + self._reader.settled
            refused = self._queues.end_work(self.queue, self.id, last)
            self._note_lost(drained, refused)
        except unless_interrupted(EventLogError):
            self.drop()
            raise
        self._lease.leave()
        self._watch.close()

    def drop(self) -> None:
        """End as if the process had died."""
        self._lease.abandon()
        self._watch.close()


def _untold(one: _Pending) -> _Noted:
    """The same, which may have been stored: nobody is told if it comes too late."""
    return one._replace(is_told=False) if isinstance(one, _Noted) else _Noted(one, Action.ACCEPT, is_told=False)


def _is_untold(one: _Pending) -> bool:
    return isinstance(one, _Noted) and not one.is_told
