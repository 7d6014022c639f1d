"""The administration of queues: pause and resume, alter, purge, delete."""

from __future__ import annotations

from eventlog.backend.queues import QueueOptions, StoredQueue
from eventlog.store.lmdb.environment import QUEUES, TOPICS
from eventlog.store.queues.commands import QueueChange, workers_of
from eventlog.store.records.jobs import Jobs
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.queues import (
    BUSY,
    CURSOR,
    DUE,
    HELD,
    LEASE,
    WAITING,
    WORKER,
    DueRow,
    pack_queue,
    queue_key,
    queue_prefix,
    split_cursor,
    split_due,
    tally_key,
)
from eventlog.store.rows.tables import unpack_topic


class PauseQueue(QueueChange):
    """Has a queue hand out nothing, or go on."""

    __slots__ = ("is_paused",)
    is_paused: bool

    def apply(self, writing: WriteTransaction) -> None:
        """Write the queue's row again."""
        queue = self.jobs(writing, "pause" if self.is_paused else "resume").queue
        if queue.is_paused is not self.is_paused:
            writing.put(QUEUES, queue_key(queue.name), pack_queue(queue._replace(is_paused=self.is_paused)))
            self.notifies = True


class AlterQueue(QueueChange):
    """Gives a queue other options; `queue` is what is stored then."""

    __slots__ = ("options", "queue")
    options: QueueOptions
    queue: StoredQueue

    def apply(self, writing: WriteTransaction) -> None:
        """Write the queue's row again."""
        stored = self.jobs(writing, "alter").queue
        self.queue = stored._replace(options=self.options)
        if self.queue != stored:
            writing.put(QUEUES, queue_key(stored.name), pack_queue(self.queue))
            self.notifies = True


class PurgeQueue(QueueChange):
    """Takes everything for done that is not leased; `count` is how many jobs that were."""

    __slots__ = ("count",)
    count: int

    def apply(self, writing: WriteTransaction) -> None:
        """Move the cursors to the ends, and remove what is due or waits."""
        jobs = self.jobs(writing, "purge")
        self.count = jobs.counts["delayed"] + jobs.counts["waiting"]
        freed: list[int] = []
        for key, data in list(writing.items(QUEUES, queue_prefix(DUE, jobs.queue.id))):
            _, topic_id, due_ms, partition, first = split_due(key)
            row = DueRow.unpack(data)
            jobs.drop_due((topic_id, partition), first, row, due_ms)
            freed.append(row.key_hash)
        writing.delete_prefix(QUEUES, queue_prefix(WAITING, jobs.queue.id))
        writing.delete_prefix(QUEUES, queue_prefix(HELD, jobs.queue.id))
        jobs.counts["waiting"] = 0
        for key_hash in freed:
            jobs.free_key(key_hash)
        self.count += _skip(writing, jobs)
        jobs.write_tally()


def _skip(writing: WriteTransaction, jobs: Jobs) -> int:
    """Move all cursors of a queue to the ends of their partitions; how many offsets that were."""
    count, seen = 0, dict[int, None]()
    for key in list(writing.keys(QUEUES, queue_prefix(CURSOR, jobs.queue.id))):
        seen[split_cursor(key)[1]] = None
    for topic in [unpack_topic(name, data) for name, data in writing.items(TOPICS, b"")]:
        for partition in range(topic.partitions if topic.id in seen else 0):
            end = writing.partition_end(topic.id, partition)[0]
            first = max(writing.partition_first(topic.id, partition), jobs.cursor((topic.id, partition)))
            if end > first:
                jobs.move_cursor((topic.id, partition), end)
                count += end - first
    return count


class DeleteQueue(QueueChange):
    """Removes a queue with its rows; its workers find it gone."""

    __slots__ = ()
    reserve_share = 1.0

    def apply(self, writing: WriteTransaction) -> None:
        """Remove all rows that have the queue's id."""
        jobs = self.jobs(writing, "delete")
        self.removed = workers_of(jobs)
        for kind in (WORKER, CURSOR, LEASE, DUE, HELD, BUSY, WAITING):
            writing.delete_prefix(QUEUES, queue_prefix(kind, jobs.queue.id))
        writing.delete(QUEUES, tally_key(jobs.queue.id))
        writing.delete(QUEUES, queue_key(jobs.queue.name))
        self.notifies = True
