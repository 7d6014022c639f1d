"""
The jobs of one queue in a write transaction: leases, what is due again, what waits for another one of its key.

The rules that hold after each call: a range of offsets has one row, or none; what is due or waits has a second row
under its offset; a key has as many jobs as its row counts, and records of it wait only if that is all it may have.
"""

from __future__ import annotations

from collections.abc import Iterator

from eventlog.backend.queues import MOST_WAITING, NO_LIMIT, StoredQueue
from eventlog.digests import blake2b
from eventlog.store.lmdb.environment import QUEUES
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.packing import LARGEST
from eventlog.store.rows.queues import (
    DUE,
    HELD,
    LEASE,
    NEVER_DUE,
    NO_HASH,
    DueRow,
    HeldRow,
    LeaseRow,
    Tally,
    busy_key,
    cursor_key,
    due_key,
    pack_count,
    pack_offset,
    queue_prefix,
    range_key,
    split_range,
    split_waiting,
    tally_key,
    topic_prefix,
    unpack_count,
    unpack_offset,
    waiting_key,
)

_OFFSET_BYTES = 8

Place = tuple[int, int]
"""A partition: topic id and number."""


class Jobs:
    """
    The jobs of one queue.

    Args:
        now_ms: wall time, for what is due.
        monotonic_ms: for the limits of leases.
    """

    def __init__(self, writing: WriteTransaction, queue: StoredQueue, now_ms: int, monotonic_ms: int) -> None:
        self.writing = writing
        self.queue = queue
        self.now_ms = now_ms
        self.monotonic_ms = monotonic_ms
        self._stored = Tally.unpack(writing.get(QUEUES, tally_key(queue.id)))
        self.counts = dict(zip(Tally._fields, self._stored, strict=True))
        """The fields of `Tally`."""

    def write_tally(self) -> None:
        """Write the counts, if they have changed; the last thing that is done."""
        if tuple(self.counts.values()) != self._stored:
            self.writing.put(QUEUES, tally_key(self.queue.id), Tally(**self.counts).pack())

    # -- cursors ---------------------------------------------------------------------------------------------

    def cursor(self, place: Place) -> int:
        """The offset of a partition that is handed out next, if it is still there."""
        data = self.writing.get(QUEUES, cursor_key(self.queue.id, *place))
        return 0 if data is None else unpack_offset(data)

    def move_cursor(self, place: Place, offset: int) -> None:
        """Hand out from here on."""
        self.writing.put(QUEUES, cursor_key(self.queue.id, *place), pack_offset(offset))

    def done_below(self, place: Place) -> int:
        """The first offset of a partition that is not done: Kafka's start offset of a share-partition."""
        start, prefix = self.cursor(place), cursor_key(self.queue.id, *place)[1:]
        for kind in (LEASE, HELD):
            first = next(self.writing.keys(QUEUES, kind + prefix), None)
            if first is not None:
                start = min(start, split_range(first)[3])
        return start

    def leased_in(self, place: Place) -> int:
        """How many offsets of a partition are leased; reads all leases of it."""
        rows = self.writing.items(QUEUES, LEASE + cursor_key(self.queue.id, *place)[1:])
        return sum(LeaseRow.unpack(data).end - split_range(key)[3] for key, data in rows)

    # -- leases ----------------------------------------------------------------------------------------------

    def lease(self, place: Place, first: int, row: LeaseRow) -> None:
        """Write a lease."""
        self.writing.put(QUEUES, range_key(LEASE, self.queue.id, *place, first), row.pack())
        self.counts["leased"] += row.end - first
        if row.limit_ms < self.counts["limit_ms"]:
            self.counts["limit_ms"] = row.limit_ms

    def lease_at(self, place: Place, offset: int) -> tuple[int, LeaseRow] | None:
        """The lease that holds an offset, and its first."""
        wanted = range_key(LEASE, self.queue.id, *place, offset)
        data = self.writing.get(QUEUES, wanted)
        if data is not None:
            return offset, LeaseRow.unpack(data)
        prefix = wanted[:-_OFFSET_BYTES]
        with self.writing.transaction.cursor(db=self.writing.table(QUEUES)) as cursor:
            is_found = cursor.prev() if cursor.set_range(wanted) else cursor.last()
            if not is_found or not cursor.key().startswith(prefix):
                return None
            key, data = cursor.item()
            row = LeaseRow.unpack(self.writing.environment.value(QUEUES, key, data))
        return (split_range(key)[3], row) if offset < row.end else None

    def cut(self, place: Place, first: int, row: LeaseRow, start: int, end: int) -> None:
        """Take the offsets from `start` to `end` out of a lease; what is left of it on both sides stays one."""
        if start == first:
            self.writing.delete(QUEUES, range_key(LEASE, self.queue.id, *place, first))
        else:
            self.writing.put(QUEUES, range_key(LEASE, self.queue.id, *place, first), row._replace(end=start).pack())
        if end < row.end:
            self.writing.put(QUEUES, range_key(LEASE, self.queue.id, *place, end), row.pack())
        self.counts["leased"] -= end - start

    def leases(self) -> Iterator[tuple[Place, int, LeaseRow]]:
        """All leases, in a list: what is found may be changed meanwhile."""
        rows = list(self.writing.items(QUEUES, queue_prefix(LEASE, self.queue.id)))
        for key, data in rows:
            _, topic_id, partition, first = split_range(key)
            yield (topic_id, partition), first, LeaseRow.unpack(data)

    def end_over_limit(self) -> bool:
        """End the leases whose time is over; whether there were any."""
        if self.monotonic_ms < self.counts["limit_ms"]:
            return False
        limit_ms, has_ended = LARGEST, False
        for place, first, row in self.leases():
            if row.limit_ms <= self.monotonic_ms:
                self.cut(place, first, row, first, row.end)
                self.put_due(place, first, row.due, 0)
                has_ended = True
            elif row.limit_ms != NO_LIMIT:
                limit_ms = min(limit_ms, row.limit_ms)
        self.counts["limit_ms"] = limit_ms
        return has_ended

    def end_of(self, members: set[bytes]) -> None:
        """End the leases of some workers, which are dead."""
        for place, first, row in self.leases():
            if row.member in members:
                self.cut(place, first, row, first, row.end)
                self.put_due(place, first, row.due, 0)

    # -- what is due -------------------------------------------------------------------------------------------

    def put_due(self, place: Place, first: int, row: DueRow, due_ms: int) -> None:
        """Have offsets handed out again at a time; 0 is at once."""
        topic_id, partition = place
        self.writing.put(QUEUES, due_key(self.queue.id, topic_id, due_ms, partition, first), row.pack())
        held = HeldRow(due_ms, row.key_hash)
        self.writing.put(QUEUES, range_key(HELD, self.queue.id, *place, first), held.pack())
        self.counts["delayed"] += row.end - first

    def drop_due(self, place: Place, first: int, row: DueRow, due_ms: int) -> None:
        """Take offsets out of what is due."""
        topic_id, partition = place
        self.writing.delete(QUEUES, due_key(self.queue.id, topic_id, due_ms, partition, first))
        self.writing.delete(QUEUES, range_key(HELD, self.queue.id, *place, first))
        self.counts["delayed"] -= row.end - first

    def first_due(self, topic_id: int, after: bytes | None = None) -> tuple[bytes, bytes] | None:
        """The key and the value of what is due first of a topic, behind a key if one is given."""
        prefix = topic_prefix(DUE, self.queue.id, topic_id)
        with self.writing.transaction.cursor(db=self.writing.table(QUEUES)) as cursor:
            if not cursor.set_range(prefix if after is None else after + b"\0"):
                return None
            key, data = cursor.item()
        if not key.startswith(prefix):
            return None
        return key, self.writing.environment.value(QUEUES, key, data)

    # -- keys ----------------------------------------------------------------------------------------------------

    def take_key(self, key_hash: int) -> bool:
        """Count a job of a key, if it may have one more."""
        most = self.queue.options.per_key
        if key_hash == NO_HASH or most is None:
            return True
        row_key = busy_key(self.queue.id, key_hash)
        count = unpack_count(self.writing.get(QUEUES, row_key))
        if count >= most:
            return False
        self.writing.put(QUEUES, row_key, pack_count(count + 1))
        return True

    def free_key(self, key_hash: int) -> None:
        """Count a job of a key no more: the next that waits of it may be taken now, and counts for it."""
        if key_hash == NO_HASH:
            return
        prefix = waiting_key(self.queue.id, key_hash, 0, 0, 0)[: -4 - 4 - 8]
        waiting = next(self.writing.keys(QUEUES, prefix), None)
        if waiting is not None:
            _, _, topic_id, partition, offset = split_waiting(waiting)
            self.writing.delete(QUEUES, waiting)
            self.counts["waiting"] -= 1
            self.put_due((topic_id, partition), offset, DueRow(offset + 1, 0, 0, key_hash), 0)
            return
        row_key = busy_key(self.queue.id, key_hash)
        count = unpack_count(self.writing.get(QUEUES, row_key))
        if count > 1:
            self.writing.put(QUEUES, row_key, pack_count(count - 1))
        else:
            self.writing.delete(QUEUES, row_key)

    @property
    def may_wait(self) -> bool:
        """Whether one more record may wait for another one of its key."""
        return self.counts["waiting"] < MOST_WAITING

    def put_waiting(self, place: Place, offset: int, key_hash: int) -> None:
        """Have a record wait for another one of its key."""
        self.writing.put(QUEUES, waiting_key(self.queue.id, key_hash, *place, offset), b"")
        held = HeldRow(NEVER_DUE, key_hash)
        self.writing.put(QUEUES, range_key(HELD, self.queue.id, *place, offset), held.pack())
        self.counts["waiting"] += 1


def hash_of(key: bytes | None) -> int:
    """The hash of a record's key; of no key, the one that is never busy."""
    if key is None:
        return NO_HASH
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big") or 1
