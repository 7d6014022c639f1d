"""What the deletion of a topic takes out of queues: all rows of its records, and what they count for."""

from __future__ import annotations

from eventlog.store.lmdb.environment import QUEUES
from eventlog.store.records.jobs import Jobs
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.queues import (
    CURSOR,
    DUE,
    HELD,
    LEASE,
    QUEUE,
    WAITING,
    DueRow,
    LeaseRow,
    cursor_key,
    queue_prefix,
    split_due,
    split_range,
    split_waiting,
    topic_prefix,
    unpack_queue,
)


def forget_jobs_of(writing: WriteTransaction, topic_id: int, *, most: int) -> int:
    """Remove the rows of a topic's records from all queues, `most` at most; return their number."""
    count = 0
    for key, data in list(writing.items(QUEUES, QUEUE)):
        jobs = Jobs(writing, unpack_queue(key[1:].decode(), data), 0, 0)
        count += forget_rows(jobs, topic_id, most - count)
        jobs.write_tally()
    return count


def forget_rows(jobs: Jobs, topic_id: int, most: int, partition: int | None = None) -> int:
    """Remove the rows of a topic's records from a queue, or of one partition of it; return their number."""
    writing, queue_id, count = jobs.writing, jobs.queue.id, 0
    for key in list(writing.keys(QUEUES, queue_prefix(WAITING, queue_id))):
        place = split_waiting(key)[2:4]
        if place[0] == topic_id and partition in (None, place[1]) and count < most:
            writing.delete(QUEUES, key)
            jobs.counts["waiting"] -= 1
            count += 1
    for kind in (LEASE, DUE):
        for key, data in _first_rows(writing, topic_prefix(kind, queue_id, topic_id), most - count):
            if kind == LEASE:
                lease, (_, _, number, first) = LeaseRow.unpack(data), split_range(key)
                key_hash, span, counter = lease.key_hash, lease.end - first, "leased"
            else:
                due, (_, _, _, number, first) = DueRow.unpack(data), split_due(key)
                key_hash, span, counter = due.key_hash, due.end - first, "delayed"
            if partition not in (None, number):
                continue
            writing.delete(QUEUES, key)
            jobs.counts[counter] -= span
            jobs.free_key(key_hash)
            count += 1
    for kind in (HELD, CURSOR):
        prefix = topic_prefix(kind, queue_id, topic_id)
        if partition is not None:
            prefix = kind + cursor_key(queue_id, topic_id, partition)[1:]
        count += writing.delete_prefix(QUEUES, prefix, most=max(0, most - count))
    return count


def _first_rows(writing: WriteTransaction, prefix: bytes, most: int) -> list[tuple[bytes, bytes]]:
    rows: list[tuple[bytes, bytes]] = []
    for row in writing.items(QUEUES, prefix):
        if len(rows) >= most:
            break
        rows.append(row)
    return rows
