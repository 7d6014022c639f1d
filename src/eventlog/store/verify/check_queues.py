"""
The check of queues: each row can be read, belongs to a queue and a partition, and the rows agree with each other.

All of it is read in one snapshot. A job that is due has two rows; the sums of their hashes are compared, because there
may be millions.
"""

from __future__ import annotations

from collections import Counter

from eventlog.backend.queues import StoredQueue
from eventlog.interruptions import unless_interrupted
from eventlog.store.lmdb.environment import QUEUES, Environment
from eventlog.store.rows.queues import (
    BUSY,
    CURSOR,
    DUE,
    HELD,
    LEASE,
    NEVER_DUE,
    QUEUE,
    TALLY,
    WAITING,
    WORKER,
    DueRow,
    HeldRow,
    LeaseRow,
    Tally,
    check_queue_row,
    cursor_key,
    range_key,
    split_cursor,
    split_due,
    split_range,
    split_waiting,
    unpack_count,
    unpack_offset,
    unpack_queue,
    worker_key,
)
from eventlog.store.rows.tables import TOPIC_ROWS
from eventlog.store.verify.walk import UNREADABLE, BatchCache, Problems, SnapshotReader, said


def check_queues(environment: Environment, problems: Problems) -> None:
    """Check all rows of queues, in one snapshot; a log that has no queue has none."""
    if not environment.has_later(QUEUES):
        return
    with environment.reading() as transaction:
        check = _Check(SnapshotReader(environment, transaction, BatchCache()), problems)
        for kind in (QUEUE, WORKER, CURSOR, LEASE, DUE, HELD, WAITING, BUSY, TALLY):
            with transaction.cursor(db=environment.table(QUEUES)) as cursor:
                is_found = cursor.set_range(kind)
                while is_found and (key := bytes(cursor.key())).startswith(kind):
                    try:
                        data = bytes(environment.value(QUEUES, key, cursor.value()))
                        check_queue_row(key, data)
                        check.row(kind, key, data)
                    except unless_interrupted(*UNREADABLE) as error:
                        problems.add(f"table 'queues', row {key!r}: {said(error)}")
                    is_found = cursor.next()
        check.end()


class _Check:
    def __init__(self, snapshot: SnapshotReader, problems: Problems) -> None:
        self._snapshot = snapshot
        self._problems = problems
        self._queues: dict[int, StoredQueue] = {}
        self._counts: Counter[tuple[int, str]] = Counter()
        """By queue, how many offsets are leased, delayed and waiting."""
        self._sums: Counter[int] = Counter()
        """By queue, the hashes of what is due and waits, less those of the rows under their offsets."""
        self._keys: Counter[tuple[int, int]] = Counter()
        """By queue and hash, how many jobs of a key there are, less how many its row counts."""
        self._waits: set[tuple[int, int]] = set()
        self._lease_end = (0, 0, 0, 0)
        self._tallies: dict[int, Tally] = {}

    def row(self, kind: bytes, key: bytes, data: bytes) -> None:
        """Check one row; those of queues come first, those of counts last."""
        if kind == QUEUE:
            self._check_queue(unpack_queue(key[1:].decode(), data))
            return
        queue_id = int.from_bytes(key[1:5], "big")
        if queue_id not in self._queues:
            self._problems.add(f"table 'queues': it has a row of queue id {queue_id}, which does not exist.")
        elif kind == CURSOR:
            unpack_offset(data)
            self._check_place(*split_cursor(key))
        elif kind == LEASE:
            self._check_lease(key, LeaseRow.unpack(data))
        elif kind == DUE:
            _, topic_id, due_ms, partition, first = split_due(key)
            row = DueRow.unpack(data)
            self._check_range(queue_id, topic_id, partition, first, row.end)
            self._counts[queue_id, "delayed"] += row.end - first
            self._sums[queue_id] += hash((topic_id, partition, first, due_ms, row.key_hash))
            self._keys[queue_id, row.key_hash] += 1
        elif kind == HELD:
            _, topic_id, partition, first = split_range(key)
            held = HeldRow.unpack(data)
            self._sums[queue_id] -= hash((topic_id, partition, first, *held))
        elif kind == WAITING:
            _, key_hash, topic_id, partition, offset = split_waiting(key)
            self._counts[queue_id, "waiting"] += 1
            self._sums[queue_id] += hash((topic_id, partition, offset, NEVER_DUE, key_hash))
            self._waits.add((queue_id, key_hash))
        elif kind == BUSY:
            self._check_busy(queue_id, int.from_bytes(key[5:], "big"), unpack_count(data))
        elif kind == TALLY:
            self._tallies[queue_id] = Tally.unpack(data)

    def _check_queue(self, queue: StoredQueue) -> None:
        if queue.id in self._queues:
            self._problems.add(f"queue id {queue.id}: two queues have it.")
        self._queues[queue.id] = queue

    def _check_place(self, queue_id: int, topic_id: int, partition: int) -> bool:
        topic = self._snapshot.topic(topic_id)
        if self._snapshot.has_left(TOPIC_ROWS, topic_id):
            return False
        if topic is None or partition >= topic.partitions:
            self._problems.add(
                f"queue {self._queues[queue_id].name!r}: it has a row of topic id {topic_id}[{partition}], which does "
                "not exist."
            )
            return False
        return True

    def _check_range(self, queue_id: int, topic_id: int, partition: int, first: int, end: int) -> None:
        """Check that offsets are below the cursor, and some."""
        if not self._check_place(queue_id, topic_id, partition):
            return
        data = self._snapshot.get(QUEUES, cursor_key(queue_id, topic_id, partition))
        if not first < end <= (0 if data is None else unpack_offset(data)):
            self._problems.add(
                f"queue {self._queues[queue_id].name!r}: it has a job at offset {first} of topic id "
                f"{topic_id}[{partition}] that was not handed out yet."
            )

    def _check_lease(self, key: bytes, row: LeaseRow) -> None:
        queue_id, topic_id, partition, first = split_range(key)
        name = self._queues[queue_id].name
        self._check_range(queue_id, topic_id, partition, first, row.end)
        self._counts[queue_id, "leased"] += row.end - first
        self._keys[queue_id, row.key_hash] += 1
        *place, end = self._lease_end
        if place == [queue_id, topic_id, partition] and first < end:
            self._problems.add(f"queue {name!r}: offset {first} of topic id {topic_id}[{partition}] is leased twice.")
        self._lease_end = queue_id, topic_id, partition, row.end
        if self._snapshot.get(QUEUES, worker_key(queue_id, row.member.hex())) is None:
            self._problems.add(f"queue {name!r}: worker {row.member.hex()} has jobs, and is none of its workers.")
        if self._snapshot.get(QUEUES, range_key(HELD, queue_id, topic_id, partition, first)) is not None:
            self._problems.add(f"queue {name!r}: offset {first} of topic id {topic_id}[{partition}] is held too.")

    def _check_busy(self, queue_id: int, key_hash: int, count: int) -> None:
        self._keys[queue_id, key_hash] -= count
        most = self._queues[queue_id].options.per_key
        if most is None or count > most or ((queue_id, key_hash) in self._waits and count != most):
            self._problems.add(
                f"queue {self._queues[queue_id].name!r}: a key has {count} jobs, and others wait for it."
            )

    def end(self) -> None:
        """Check that the rows agree."""
        for queue_id, queue in self._queues.items():
            tally = self._tallies.get(queue_id, Tally())
            for what in ("leased", "delayed", "waiting"):
                if (found := self._counts[queue_id, what]) != getattr(tally, what):
                    self._problems.add(
                        f"queue {queue.name!r}: {found} jobs are {what}, and it counts {getattr(tally, what)}."
                    )
            if self._sums[queue_id]:
                self._problems.add(f"queue {queue.name!r}: a job that is due or waits has one row of two.")
            if any(count for (one, key_hash), count in self._keys.items() if one == queue_id and key_hash):
                self._problems.add(f"queue {queue.name!r}: a key has other jobs than its row counts.")
