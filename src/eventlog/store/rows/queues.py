"""
The rows of queues, all in one table; the first byte of a key says what the row is.

A record has a row only while it is an exception: *leased* to a worker, *due* again at a time, or *waiting* for another
one of its key. A range of offsets with one fate is one row. What is due or waiting has a second row under its offset,
so that the first offset that is not done is found at once.

Layout: docs/reference/format.md.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from eventlog.backend.queues import MOST_ATTEMPTS, QueueOptions, StoredQueue
from eventlog.interruptions import unless_interrupted
from eventlog.named_tuples import NamedTuple
from eventlog.options import check_group_name, check_topic_name
from eventlog.store.rows.packing import (
    LARGEST,
    LARGEST_ID,
    NOT_A_ROW,
    checked,
    damaged,
    fields_of,
    moment,
    packed,
    whole,
)

QUEUE, NEXT_ID, TALLY, WORKER, CURSOR = b"q", b"n", b"t", b"m", b"c"
LEASE, DUE, HELD, BUSY, WAITING = b"l", b"d", b"h", b"b", b"w"
NEVER_DUE = 2**64 - 1
"""What stands for the time of a record that waits for another one of its key."""
NO_HASH = 0
"""The hash of a record without a key, and of all records of a queue that does not look at keys."""

_VERSION = 1
_KNOWN_QUEUES_COUNT = 64
_UNAFFECTED = "The records and the committed offsets"
_ID = struct.Struct(">I")
_PLACE = struct.Struct(">III")
_RANGE = struct.Struct(">IIIQ")
_DUE = struct.Struct(">IIQIQ")
_BUSY = struct.Struct(">IQ")
_WAITING = struct.Struct(">IQIIQ")
_CURSOR_ROW = struct.Struct(">Q")
_LEASE_ROW = struct.Struct(">Q16sQQHQQ")
_DUE_ROW = struct.Struct(">QHQQ")
_HELD_ROW = struct.Struct(">QQ")
_BUSY_ROW = struct.Struct(">I")
_TALLY_ROW = struct.Struct(">7Q")

next_id_key = NEXT_ID


def queue_key(name: str) -> bytes:
    """The key of a queue's own row."""
    return QUEUE + name.encode()


def tally_key(queue_id: int) -> bytes:
    """The key of the counts of a queue."""
    return TALLY + _ID.pack(queue_id)


def worker_key(queue_id: int, member_id: str = "") -> bytes:
    """The key of a worker's row; the prefix of all of them without a worker."""
    return WORKER + _ID.pack(queue_id) + bytes.fromhex(member_id)


def queue_prefix(kind: bytes, queue_id: int) -> bytes:
    """The prefix of the keys of one kind of rows of a queue."""
    return kind + _ID.pack(queue_id)


def topic_prefix(kind: bytes, queue_id: int, topic_id: int) -> bytes:
    """The prefix of those of one topic: cursors, leases, what is held or due."""
    return kind + _ID.pack(queue_id) + _ID.pack(topic_id)


def cursor_key(queue_id: int, topic_id: int, partition: int) -> bytes:
    """The key of the cursor of a partition, and the prefix of its ranges with another kind."""
    return CURSOR + _PLACE.pack(queue_id, topic_id, partition)


def range_key(kind: bytes, queue_id: int, topic_id: int, partition: int, first: int) -> bytes:
    """The key of a lease, or of what is held: by offset."""
    return kind + _RANGE.pack(queue_id, topic_id, partition, first)


def due_key(queue_id: int, topic_id: int, due_ms: int, partition: int, first: int) -> bytes:
    """The key of what is due at a time."""
    return DUE + _DUE.pack(queue_id, topic_id, due_ms, partition, first)


def busy_key(queue_id: int, key_hash: int) -> bytes:
    """The key of the count of a key's jobs."""
    return BUSY + _BUSY.pack(queue_id, key_hash)


def waiting_key(queue_id: int, key_hash: int, topic_id: int, partition: int, offset: int) -> bytes:
    """The key of a record that waits."""
    return WAITING + _WAITING.pack(queue_id, key_hash, topic_id, partition, offset)


def split_range(key: bytes) -> tuple[int, int, int, int]:
    """The queue, the topic, the partition and the first offset of a lease or of what is held."""
    parts: tuple[int, int, int, int] = _split(key, _RANGE)
    return parts


def split_due(key: bytes) -> tuple[int, int, int, int, int]:
    """The queue, the topic, the time, the partition and the first offset of what is due."""
    parts: tuple[int, int, int, int, int] = _split(key, _DUE)
    return parts


def split_waiting(key: bytes) -> tuple[int, int, int, int, int]:
    """The queue, the hash, the topic, the partition and the offset of what waits."""
    parts: tuple[int, int, int, int, int] = _split(key, _WAITING)
    return parts


def split_cursor(key: bytes) -> tuple[int, int, int]:
    """The queue, the topic and the partition of a cursor."""
    parts: tuple[int, int, int] = _split(key, _PLACE)
    return parts


def _split(key: bytes, shape: struct.Struct) -> Any:
    try:
        parts = shape.unpack(key[1:])
    except unless_interrupted(struct.error) as error:
        raise damaged(f"the key {key.hex()} of a queue", error, unaffected=_UNAFFECTED) from error
    if parts[-1] >= LARGEST:
        raise damaged(f"the key {key.hex()} of a queue", f"no offset is {parts[-1]}", unaffected=_UNAFFECTED)
    return parts


class LeaseRow(NamedTuple):
    """A range of offsets that one worker has; `first` stands in the key."""

    end: int
    member: bytes
    number: int
    limit_ms: int
    deliveries: int
    first_ms: int
    key_hash: int = NO_HASH

    def pack(self) -> bytes:
        """The bytes of the row."""
        return _LEASE_ROW.pack(*self)

    @classmethod
    def unpack(cls, data: bytes) -> LeaseRow:
        """The row of these bytes."""
        return cls._make(_unpacked(_LEASE_ROW, data, "a lease"))

    @property
    def due(self) -> DueRow:
        """What it is when nobody has it any more."""
        return DueRow(self.end, self.deliveries, self.first_ms, self.key_hash)


class DueRow(NamedTuple):
    """A range of offsets that is to be handed out again at a time, which stands in the key; 0: at once."""

    end: int
    deliveries: int
    first_ms: int
    key_hash: int = NO_HASH

    def pack(self) -> bytes:
        """The bytes of the row."""
        return _DUE_ROW.pack(*self)

    @classmethod
    def unpack(cls, data: bytes) -> DueRow:
        """The row of these bytes."""
        return cls._make(_unpacked(_DUE_ROW, data, "a job that is due"))


class HeldRow(NamedTuple):
    """Where the other row of an offset is that is due or waits: its time or `NEVER_DUE`, and the hash of its key."""

    due_ms: int
    key_hash: int

    def pack(self) -> bytes:
        """The bytes of the row."""
        return _HELD_ROW.pack(*self)

    @classmethod
    def unpack(cls, data: bytes) -> HeldRow:
        """The row of these bytes."""
        return cls._make(_unpacked(_HELD_ROW, data, "a job that is held"))


class Tally(NamedTuple):
    """
    The counts of a queue.

    `epoch` rises when workers come or go. `leased`, `delayed`, `waiting` count
    offsets that have rows; `dead` and `expired` count since the queue was made. No lease ends for its limit before
    `limit_ms`, on the monotonic clock.
    """

    epoch: int = 0
    leased: int = 0
    delayed: int = 0
    waiting: int = 0
    dead: int = 0
    expired: int = 0
    limit_ms: int = LARGEST

    def pack(self) -> bytes:
        """The bytes of the row."""
        return _TALLY_ROW.pack(*self)

    @classmethod
    def unpack(cls, data: bytes | None) -> Tally:
        """The row of these bytes; nothing is counted yet if there is none."""
        return cls() if data is None else cls._make(_unpacked(_TALLY_ROW, data, "the counts of a queue"))


def _unpacked(shape: struct.Struct, data: bytes, what: str) -> tuple[int, ...]:
    try:
        return shape.unpack(data)
    except unless_interrupted(struct.error) as error:
        raise damaged(what, error, unaffected=_UNAFFECTED) from error


def pack_offset(offset: int) -> bytes:
    """The bytes of a cursor."""
    return _CURSOR_ROW.pack(offset)


def unpack_offset(data: bytes) -> int:
    """The next offset of a cursor."""
    return whole(_unpacked(_CURSOR_ROW, data, "a cursor of a queue")[0])


def pack_count(count: int) -> bytes:
    """The bytes of the count of a key's jobs."""
    return _BUSY_ROW.pack(count)


def unpack_count(data: bytes | None) -> int:
    """The count of a key's jobs; 0 if there is no such row."""
    return 0 if data is None else _unpacked(_BUSY_ROW, data, "the jobs of a key")[0]


def pack_queue(queue: StoredQueue) -> bytes:
    """The bytes of a queue's own row; the name is in the key."""
    options = queue.options
    return packed(
        {
            "version": _VERSION,
            "id": queue.id,
            "attempts": options.attempts,
            "dead_letters": options.dead_letters,
            "backoff_ms": list(options.backoff_ms),
            "per_key": options.per_key,
            "timeout_ms": options.timeout_ms,
            "paused": queue.is_paused,
            "created_ms": queue.created_ms,
        }
    )


def unpack_queue(name: str, data: bytes) -> StoredQueue:
    """A queue, of its name and the bytes of its row."""
    what = f"queue {name!r}"
    try:
        fields = fields_of(data, what, _VERSION)
        first_ms, most_ms = (whole(one) for one in checked(fields["backoff_ms"], list))
        letters, per_key, timeout_ms = fields["dead_letters"], fields["per_key"], fields["timeout_ms"]
        options = QueueOptions(
            whole(fields["attempts"], 1, MOST_ATTEMPTS),
            None if letters is None else check_topic_name(letters),
            (first_ms, most_ms),
            None if per_key is None else whole(per_key, 1),
            None if timeout_ms is None else whole(timeout_ms, 1),
        )
        return StoredQueue(
            check_group_name(name),
            whole(fields["id"], 1, LARGEST_ID),
            options,
            checked(fields["paused"], bool),
            moment(fields["created_ms"]),
        )
    except unless_interrupted(*NOT_A_ROW) as error:
        raise damaged(what, error, unaffected=_UNAFFECTED) from error


unpack_queue_again = lru_cache(maxsize=_KNOWN_QUEUES_COUNT)(unpack_queue)
"""The same for bytes: a queue is looked up at every request, and its row is mostly what it was."""


class WorkerRow(NamedTuple):
    """A worker of a queue: notes for people."""

    process_id: int
    joined_ms: int

    def pack(self) -> bytes:
        """The bytes of the row; the id is in the key."""
        return packed({"version": _VERSION, "process_id": self.process_id, "joined_ms": self.joined_ms})

    @classmethod
    def unpack(cls, data: bytes) -> WorkerRow:
        """The row of these bytes."""
        try:
            fields = fields_of(data, "a worker of a queue", _VERSION)
            return cls(moment(fields["process_id"]), moment(fields["joined_ms"]))
        except unless_interrupted(*NOT_A_ROW) as error:
            raise damaged("a worker of a queue", error, unaffected=_UNAFFECTED) from error


def _check_queue(key: bytes, data: bytes) -> None:
    unpack_queue(key[1:].decode(), data)


def _check_id(key: bytes, data: bytes) -> None:
    if key != NEXT_ID or len(data) != _ID.size:
        raise ValueError("it is no id of a queue")


def _sized(rest_bytes: int, read: Callable[[bytes], object]) -> Callable[[bytes, bytes], None]:
    def check(key: bytes, data: bytes) -> None:
        if len(key) != 1 + rest_bytes:
            raise ValueError("its key has another length")
        read(data)

    return check


def _nothing(data: bytes) -> None:
    if data:
        raise ValueError("it is not empty")


_CHECKS: dict[bytes, Callable[[bytes, bytes], object]] = {
    QUEUE: _check_queue,
    NEXT_ID: _check_id,
    TALLY: _sized(_ID.size, Tally.unpack),
    WORKER: _sized(_ID.size + 16, WorkerRow.unpack),
    CURSOR: _sized(_PLACE.size, unpack_offset),
    LEASE: _sized(_RANGE.size, LeaseRow.unpack),
    DUE: _sized(_DUE.size, DueRow.unpack),
    HELD: _sized(_RANGE.size, HeldRow.unpack),
    BUSY: _sized(_BUSY.size, unpack_count),
    WAITING: _sized(_WAITING.size, _nothing),
}


def check_queue_row(key: bytes, data: bytes) -> None:
    """Raise an error if this is none of the rows of this module."""
    check = _CHECKS.get(key[:1])
    if check is None:
        raise ValueError("it is no row of a queue")
    check(key, data)
