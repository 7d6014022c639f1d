"""
The commands of queues: to make one, to work for it, to acknowledge in a transaction, to administer it.

Each is one `CommitRequest`, which checks first and then writes, inside the transaction of its round.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence

from eventlog.backend.queues import (
    Acknowledgement,
    Action,
    Leased,
    QueueOptions,
    QueuePiece,
    QueueRequest,
    StoredQueue,
    unknown_queue,
)
from eventlog.backend.waiting import commits_subject, group_subject
from eventlog.errors import FormatTooOld, GroupMismatch, LeaseLost
from eventlog.groups.state import Life
from eventlog.store.groups.liveness import Members
from eventlog.store.groups.rows import member_prefix
from eventlog.store.lmdb.environment import GROUPS, MEMBERS, OFFSETS, QUEUES, TOPICS
from eventlog.store.lmdb.lifecycle import Table
from eventlog.store.queues.dead_letters import DeadLetter, bury
from eventlog.store.queues.settling import Settlement
from eventlog.store.queues.taking import Taking
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.jobs import Jobs
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.queues import (
    CURSOR,
    NEXT_ID,
    WORKER,
    WorkerRow,
    pack_queue,
    queue_key,
    queue_prefix,
    topic_prefix,
    unpack_queue_again,
    worker_key,
)
from eventlog.store.rows.tables import next_id, unpack_topic


class MakeTable(CommitRequest):
    """Makes the table of queues; `table` is its handle, good once this is committed."""

    __slots__ = ("table",)

    def __init__(self) -> None:
        super().__init__()
        self.table: Table | None = None

    def apply(self, writing: WriteTransaction) -> None:
        """Make it."""
        if writing.environment.seal is None:
            raise FormatTooOld(
                f"cannot make a queue: the log at {writing.environment.path} has format 3, which has none.",
                stored="Nothing was changed.",
                advice="Close it in all programs and run `eventlog upgrade` on it, or open it with upgrade=True.",
            )
        self.table = writing.environment.make_table(QUEUES, writing.transaction)
        writing.touch()


def stored_queue(writing: WriteTransaction, name: str) -> StoredQueue | None:
    """The queue of a name."""
    data = writing.get(QUEUES, queue_key(name))
    return None if data is None else unpack_queue_again(name, data)


class EnsureQueue(CommitRequest):
    """Makes a queue unless it is there; `queue` is the stored one in both cases."""

    __slots__ = ("_name", "_now_ms", "_options", "_starts", "queue")

    def __init__(self, name: str, options: QueueOptions, starts: Mapping[tuple[int, int], int], now_ms: int) -> None:
        super().__init__()
        self._name = name
        self._options = options
        self._starts = starts
        self._now_ms = now_ms
        self.queue: StoredQueue | None = None

    def apply(self, writing: WriteTransaction) -> None:
        """Store it under the next id, which no other queue ever had."""
        self.queue = stored_queue(writing, self._name)
        if self.queue is not None:
            return
        is_group = writing.get(GROUPS, self._name.encode()) is not None or any(
            next(writing.keys(table, member_prefix(self._name)), None) is not None for table in (MEMBERS, OFFSETS)
        )
        if is_group:
            raise GroupMismatch(
                f"cannot make a queue of {self._name!r}: it is a consumer group.",
                stored="Nothing was changed.",
                advice="Choose another name, or delete the group: log.groups.delete().",
                group=self._name,
            )
        number = next_id(writing.get(QUEUES, NEXT_ID), "queue", size_bytes=4)
        self.queue = StoredQueue(self._name, number, self._options, is_paused=False, created_ms=self._now_ms)
        writing.put(QUEUES, queue_key(self._name), pack_queue(self.queue))
        writing.put(QUEUES, NEXT_ID, (number + 1).to_bytes(4, "big"))
        jobs = Jobs(writing, self.queue, self._now_ms, 0)
        for place, offset in self._starts.items():
            jobs.move_cursor(place, offset)


class QueueChange(CommitRequest):
    """
    A change of a queue that is there.

    Afterwards `removed` are the workers that are none any more.
    """

    __slots__ = ("_monotonic_ms", "_now_ms", "_queue", "_touched", "notifies", "removed")
    bound_share = 0.5

    def __init__(self, queue: StoredQueue, now_ms: int, monotonic_ms: int) -> None:
        super().__init__()
        self._queue = queue
        self._now_ms = now_ms
        self._monotonic_ms = monotonic_ms
        self._touched: set[int] = set()
        self.notifies = False
        self.removed: list[str] = []

    @property
    def subjects(self) -> Collection[int]:
        """The queue, and the topic of its dead letters."""
        return (group_subject(self._queue.name), commits_subject(self._queue.name), *self._touched)

    def jobs(self, writing: WriteTransaction, what: str) -> Jobs:
        """The jobs of the queue as it is stored."""
        self._touched.clear()
        self.removed, self.notifies = [], False
        queue = stored_queue(writing, self._queue.name)
        if queue is None or queue.id != self._queue.id:
            raise unknown_queue(self._queue.name, what)
        return Jobs(writing, queue, self._now_ms, self._monotonic_ms)

    def _bury(self, jobs: Jobs, letters: list[DeadLetter]) -> None:
        topic_id = bury(jobs.writing, jobs.queue, letters, self._now_ms)
        if topic_id is not None:
            self._touched.add(topic_id)
            self.notifies = True

    def _join(self, jobs: Jobs, member_id: str) -> None:
        row = WorkerRow(os.getpid(), self._now_ms)
        jobs.writing.put(QUEUES, worker_key(jobs.queue.id, member_id), row.pack())
        jobs.counts["epoch"] += 1
        self.notifies = True

    def _sweep(self, jobs: Jobs, members: Members, own: str) -> None:
        """Take the leases of the workers that are dead, and remove these."""
        ids = workers_of(jobs)
        dead = [one for one, life in members.look(ids).items() if life is not Life.ALIVE and one != own]
        if dead:
            jobs.end_of({bytes.fromhex(one) for one in dead})
            self._remove(jobs, dead)

    def _remove(self, jobs: Jobs, member_ids: Sequence[str]) -> None:
        for one in member_ids:
            jobs.writing.delete(QUEUES, worker_key(jobs.queue.id, one))
        jobs.counts["epoch"] += 1
        self.removed += member_ids
        self.notifies = True


def workers_of(jobs: Jobs) -> list[str]:
    """The ids of the workers of a queue, in order."""
    prefix = queue_prefix(WORKER, jobs.queue.id)
    return [key[len(prefix) :].hex() for key in jobs.writing.keys(QUEUES, prefix)]


class QueueCommand(QueueChange):
    """
    What a worker asks for: acknowledgements, and jobs.

    Afterwards `leased` and `refused` are as in `QueueReply`.

    Args:
        joins: it becomes a worker.
        confirm: begins its lease again; called when it is seen to be a worker.
    """

    __slots__ = ("_confirm", "_joins", "_members", "_request", "epoch", "leased", "refused")

    def __init__(
        self,
        request: QueueRequest,
        members: Members,
        now_ms: int,
        monotonic_ms: int,
        *,
        joins: bool = False,
        confirm: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(request.queue, now_ms, monotonic_ms)
        self._request = request
        self._members = members
        self._joins = joins
        self._confirm = confirm
        self.leased: Sequence[Leased] = ()
        self.refused: Sequence[Acknowledgement] = ()
        self.epoch = 0

    def apply(self, writing: WriteTransaction) -> None:
        """Judge, then write."""
        request = self._request
        jobs, member_id = self.jobs(writing, "take jobs of"), request.member_id
        member = bytes.fromhex(member_id)
        names = topic_names(writing, request.acknowledgements)
        settlement = Settlement(jobs, member, request.acknowledgements, names, is_share=request.rules is not None)
        if self._confirm is not None:
            self._confirm()
        if (self._joins or self._confirm is not None) and writing.get(
            QUEUES, worker_key(jobs.queue.id, member_id)
        ) is None:
            self._join(jobs, member_id)
        if self._joins:
            self._note_topics(jobs)
        letters = settlement.write(jobs)
        self.notifies = self.notifies or settlement.frees
        if request.withdrawn:
            give_back(jobs, member, frozenset(request.withdrawn))
            self.notifies = True
        if request.sweeps:
            self._sweep(jobs, self._members, member_id)
        if jobs.end_over_limit():
            self.notifies = True
        if request.most and not jobs.queue.is_paused:
            workers = 1
            if request.most > 1:
                workers = len(workers_of(jobs))
            taking = Taking(jobs, member, request.number, request.turn, workers, request.rules)
            taking.take(request.wants, request.most)
            letters += taking.letters
            self.leased = taking.leased
        else:
            self.leased = ()
        self._bury(jobs, letters)
        jobs.write_tally()
        self.refused = settlement.refused
        self.epoch = jobs.counts["epoch"]

    def _note_topics(self, jobs: Jobs) -> None:
        """Give a topic that the queue has no cursor of its first one, so that its records are known to be jobs."""
        for topic, _ in self._request.wants:
            stored = jobs.writing.topic_named(topic.name)
            is_there = stored is not None and stored.id == topic.id
            if (
                is_there
                and next(jobs.writing.keys(QUEUES, topic_prefix(CURSOR, jobs.queue.id, topic.id)), None) is None
            ):
                jobs.move_cursor((topic.id, 0), 0)


def topic_names(writing: WriteTransaction, acknowledgements: Sequence[Acknowledgement]) -> dict[int, str]:
    """The names of topics by their ids; nothing if none of these acknowledgements can need one."""
    for one in acknowledgements:
        if one.action is Action.RELEASE or one.action is Action.REJECT:
            break
    else:
        return {}
    topics = (unpack_topic(name, data) for name, data in writing.items(TOPICS, b""))
    return {topic.id: topic.name for topic in topics}


def give_back(jobs: Jobs, member: bytes, numbers: frozenset[int] | None) -> None:
    """End the leases of a worker, those of some numbers or all of them, as if they had not been handed out."""
    for place, first, row in jobs.leases():
        if row.member == member and (numbers is None or row.number in numbers):
            jobs.cut(place, first, row, first, row.end)
            jobs.put_due(place, first, row.due._replace(deliveries=row.deliveries - 1), 0)


class LeaveQueue(QueueChange):
    """The end of a worker: its last acknowledgements; what else it has is given back, and it is removed."""

    __slots__ = ("_acknowledgements", "_member_id", "refused")

    def __init__(
        self,
        queue: StoredQueue,
        member_id: str,
        acknowledgements: Sequence[Acknowledgement],
        now_ms: int,
        monotonic_ms: int,
    ) -> None:
        super().__init__(queue, now_ms, monotonic_ms)
        self._member_id = member_id
        self._acknowledgements = acknowledgements
        self.refused: Sequence[Acknowledgement] = ()

    def apply(self, writing: WriteTransaction) -> None:
        """Judge, then write."""
        jobs, member = self.jobs(writing, "leave"), bytes.fromhex(self._member_id)
        names = topic_names(writing, self._acknowledgements)
        settlement = Settlement(jobs, member, self._acknowledgements, names)
        letters = settlement.write(jobs)
        give_back(jobs, member, None)
        self._remove(jobs, [self._member_id])
        self._bury(jobs, letters)
        jobs.write_tally()
        self.refused = settlement.refused


class AcknowledgeInTransaction(QueueChange):
    """Acknowledgements as a part of a transaction; a piece of `CommitTransaction`."""

    __slots__ = ("_piece", "_settlement")

    def __init__(self, piece: QueuePiece, now_ms: int, monotonic_ms: int) -> None:
        super().__init__(piece.queue, now_ms, monotonic_ms)
        self._piece = piece

    def apply(self, writing: WriteTransaction) -> None:
        """Check them and carry them out, where no records are stored with them."""
        self.check(writing)
        self.write(writing)

    def check(self, writing: WriteTransaction) -> None:
        """Raise if one of them comes too late; write nothing."""
        piece = self._piece
        jobs, names = self.jobs(writing, "acknowledge jobs of"), topic_names(writing, piece.acknowledgements)
        self._settlement = Settlement(jobs, bytes.fromhex(piece.member_id), piece.acknowledgements, names)
        if self._settlement.refused:
            raise lease_lost(piece.queue.name, self._settlement.refused)

    def write(self, writing: WriteTransaction) -> None:
        """Carry them out."""
        jobs = self.jobs(writing, "acknowledge jobs of")  # another piece may have changed the counts
        self._bury(jobs, self._settlement.write(jobs))
        jobs.write_tally()
        self.notifies = True


def lease_lost(queue: str, refused: Sequence[Acknowledgement]) -> LeaseLost:
    """The error for acknowledgements that come too late."""
    first = refused[0]
    more = "" if len(refused) == 1 else f" and {len(refused) - 1} more"
    return LeaseLost(
        f"cannot acknowledge offset {first.first} of partition {first.partition}{more} of queue {queue!r}: the lease "
        "is over, and others may have the job.",
        stored="Nothing of it was stored.",
        advice="Undo what the job has done elsewhere, or let it be done twice; renew() in time, or raise timeout=.",
        partition=first.partition,
        offset=first.first,
        group=queue,
    )
