"""
Reading queues: what a worker that waits has to know, where the first job is that is not done, descriptions for people.

Each call is one short read transaction that ends before it returns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from eventlog.backend.queues import (
    MOST_WAITING,
    NO_LIMIT,
    PartitionDetails,
    QueueDetails,
    QueueView,
    ShareRules,
    StoredQueue,
    WorkerDetails,
    unknown_queue,
)
from eventlog.backend.topics import StoredTopic
from eventlog.groups.state import Life
from eventlog.store.groups.reader import SnapshotRows
from eventlog.store.lmdb.environment import QUEUES, TOPICS, Environment, Snapshot
from eventlog.store.records.reader import bounds_within, visible_bounds_within
from eventlog.store.rows.queues import (
    CURSOR,
    DUE,
    HELD,
    LEASE,
    QUEUE,
    WORKER,
    DueRow,
    LeaseRow,
    Tally,
    WorkerRow,
    cursor_key,
    queue_key,
    queue_prefix,
    split_cursor,
    split_due,
    split_range,
    tally_key,
    topic_prefix,
    unpack_offset,
    unpack_queue_again,
)
from eventlog.store.rows.tables import unpack_topic, unpack_topic_again


def read_queue(environment: Environment, name: str) -> StoredQueue | None:
    """A queue; None if there is none of that name."""
    if not environment.has_later(QUEUES):
        return None
    with environment.reading() as transaction:
        return _queue(SnapshotRows(environment, transaction), name)


def _queue(rows: SnapshotRows, name: str) -> StoredQueue | None:
    data = rows.get(QUEUES, queue_key(name))
    return None if data is None else unpack_queue_again(name, data)


def queue_names(environment: Environment) -> list[str]:
    """The names of all queues, sorted."""
    if not environment.has_later(QUEUES):
        return []
    with environment.reading() as transaction:
        return [key[1:].decode() for key, _ in SnapshotRows(environment, transaction).items(QUEUES, QUEUE)]


def worker_ids(environment: Environment, queue: StoredQueue) -> list[str]:
    """The ids of a queue's workers, in order."""
    prefix = queue_prefix(WORKER, queue.id)
    with environment.reading() as transaction:
        rows = SnapshotRows(environment, transaction).items(QUEUES, prefix)
        return [key[len(prefix) :].hex() for key, _ in rows]


def queue_topics(environment: Environment, queue: StoredQueue) -> set[int]:
    """The ids of the topics that a queue has cursors of."""
    with environment.reading() as transaction:
        rows = SnapshotRows(environment, transaction)
        return {split_cursor(key)[1] for key, _ in rows.items(QUEUES, queue_prefix(CURSOR, queue.id))}


def queue_view(
    environment: Environment, queue: StoredQueue, topics: Sequence[StoredTopic], rules: ShareRules | None
) -> QueueView:
    """What a worker that waits for jobs of some topics has to know."""
    with environment.reading() as transaction:
        rows = SnapshotRows(environment, transaction)
        tally = Tally.unpack(rows.get(QUEUES, tally_key(queue.id)))
        stored = _queue(rows, queue.name)
        if stored is None or stored.id != queue.id:
            raise unknown_queue(queue.name, "take jobs of")
        if stored.is_paused:
            return QueueView(False, None, NO_LIMIT, tally.epoch, transaction.id())  # noqa: FBT003
        dues = [one for topic in topics if (one := _next_due_ms(rows, queue.id, topic.id, rules)) is not None]
        is_full = queue.options.per_key is not None and tally.waiting >= MOST_WAITING
        has_more = not is_full and _has_fresh(environment, transaction, rows, queue.id, topics, rules)
        return QueueView(has_more, min(dues, default=None), tally.limit_ms, tally.epoch, transaction.id())


def _next_due_ms(rows: SnapshotRows, queue_id: int, topic_id: int, rules: ShareRules | None) -> int | None:
    for key, _ in rows.items(QUEUES, topic_prefix(DUE, queue_id, topic_id)):
        _, _, due_ms, partition, _ = split_due(key)
        if rules is None or (topic_id, partition) in rules.partitions:
            return due_ms
    return None


def _has_fresh(
    environment: Environment,
    transaction: Snapshot,
    rows: SnapshotRows,
    queue_id: int,
    topics: Sequence[StoredTopic],
    rules: ShareRules | None,
) -> bool:
    """Whether a partition has a record that was not handed out yet."""
    for topic in topics:
        name = topic.name.encode()
        data = rows.get(TOPICS, name)
        stored = None if data is None else unpack_topic_again(name, data)
        for partition in range(0 if stored is None or stored.id != topic.id else stored.partitions):
            place = (topic.id, partition)
            if rules is not None and place not in rules.partitions:
                continue
            read = visible_bounds_within if rules is None or not rules.sees_uncommitted else bounds_within
            first, end = read(environment, transaction, [place])[0]
            if end > max(first, _cursor(rows, queue_id, topic.id, partition)):
                return True
    return False


def _cursor(rows: SnapshotRows, queue_id: int, topic_id: int, partition: int) -> int:
    data = rows.get(QUEUES, cursor_key(queue_id, topic_id, partition))
    return 0 if data is None else unpack_offset(data)


def start_offset(rows: SnapshotRows, queue_id: int, topic_id: int, partition: int) -> int:
    """The first offset of a partition that is not done: Kafka's start offset of a share-partition."""
    start, place = _cursor(rows, queue_id, topic_id, partition), cursor_key(queue_id, topic_id, partition)[1:]
    for kind in (LEASE, HELD):
        first = next(rows.items(QUEUES, kind + place), None)
        if first is not None:
            start = min(start, split_range(first[0])[3])
    return start


def start_of_group(
    environment: Environment, transaction: Snapshot, group: str, topic_id: int, partition: int
) -> int | None:
    """The same for the queue of a name; None if there is no such queue."""
    rows = SnapshotRows(environment, transaction)
    queue = _queue(rows, group) if QUEUES in environment.tables else None
    return None if queue is None else start_offset(rows, queue.id, topic_id, partition)


# -- for people ----------------------------------------------------------------------------------------------


def queue_details(environment: Environment, name: str, now_ms: int) -> QueueDetails:
    """All that is stored of a queue; the lives of its workers are still to be asked for."""
    if not environment.has_later(QUEUES):
        raise unknown_queue(name, "describe")
    with environment.reading() as transaction:
        rows = SnapshotRows(environment, transaction)
        queue = _queue(rows, name)
        if queue is None:
            raise unknown_queue(name, "describe")
        tally = Tally.unpack(rows.get(QUEUES, tally_key(queue.id)))
        topics = {row.id: row for row in (unpack_topic(key, data) for key, data in rows.items(TOPICS, b""))}
        partitions = list(_partitions(environment, transaction, rows, queue, topics))
        due = sum(_ready(rows, queue.id, topic_id, now_ms) for topic_id in topics)
        fresh = sum(max(0, one.end - one.next) for one in partitions)
        return QueueDetails(
            queue,
            fresh + due,
            tally.leased,
            tally.delayed - due,
            tally.waiting,
            tally.dead,
            tally.expired,
            _workers(rows, queue.id),
            partitions,
        )


def _ready(rows: SnapshotRows, queue_id: int, topic_id: int, now_ms: int) -> int:
    """How many jobs of a topic are due by now."""
    count = 0
    for key, data in rows.items(QUEUES, topic_prefix(DUE, queue_id, topic_id)):
        _, _, due_ms, _, first = split_due(key)
        if due_ms > now_ms:
            break
        count += DueRow.unpack(data).end - first
    return count


def _partitions(
    environment: Environment,
    transaction: Snapshot,
    rows: SnapshotRows,
    queue: StoredQueue,
    topics: Mapping[int, StoredTopic],
) -> Iterator[PartitionDetails]:
    """The partitions of the topics that workers have come for."""
    known: dict[int, None] = {}
    for key, _ in rows.items(QUEUES, queue_prefix(CURSOR, queue.id)):
        known[split_cursor(key)[1]] = None
    for topic_id in known:
        topic = topics.get(topic_id)
        for partition in range(0 if topic is None else topic.partitions):
            assert topic is not None
            first, end = visible_bounds_within(environment, transaction, [(topic_id, partition)])[0]
            following = max(first, _cursor(rows, queue.id, topic_id, partition))
            start = max(first, start_offset(rows, queue.id, topic_id, partition))
            yield PartitionDetails(topic.name, partition, start, following, max(end, following))


def _workers(rows: SnapshotRows, queue_id: int) -> list[WorkerDetails]:
    counts: dict[bytes, int] = {}
    oldest: dict[bytes, int] = {}
    for key, data in rows.items(QUEUES, queue_prefix(LEASE, queue_id)):
        row = LeaseRow.unpack(data)
        counts[row.member] = counts.get(row.member, 0) + row.end - split_range(key)[3]
        oldest[row.member] = min(oldest.get(row.member, row.first_ms), row.first_ms)
    prefix, workers = queue_prefix(WORKER, queue_id), []
    for key, data in rows.items(QUEUES, prefix):
        member, row_of = key[len(prefix) :], WorkerRow.unpack(data)
        workers.append(
            WorkerDetails(
                member.hex(), row_of.process_id, row_of.joined_ms, Life.DEAD, counts.get(member, 0), oldest.get(member)
            )
        )
    return workers
