"""
Appending: the values that clients pass to a backend, and the replies.

Records go in encoded (`EncodedBatch`), one `PartitionRecords` for each partition. The same records go along in columns
(`Rows`) where the backend has to look into them: for the index of a topic, and for message ids. What became of them is
a `StoredRecords`.

A producer hands over one `PartitionRecords` at a time and does not wait: it prepares an append, submits it, and asks
for the commit when enough is queued.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import attrs

from eventlog.backend.topics import StoredTopic
from eventlog.batches.header import MOST_EPOCH, MOST_SEQUENCE, EncodedBatch
from eventlog.errors import EventLogError, WrongVersion
from eventlog.named_tuples import NamedTuple
from eventlog.records import Headers

# -- what is to be stored ------------------------------------------------------------------------------------


@attrs.define(slots=True, eq=False, repr=False)
class Rows:
    """Records in columns, as they were encoded."""

    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    timestamps_ms: int | Sequence[int]
    """One for each record, or one for all."""
    headers: Sequence[Headers] | None = None

    def timestamp(self, index: int) -> int:
        """The timestamp of one record."""
        return self.timestamps_ms if isinstance(self.timestamps_ms, int) else self.timestamps_ms[index]

    def headers_of(self, index: int) -> Headers:
        """The headers of one record."""
        return () if self.headers is None else self.headers[index]


class ProducerEpoch(NamedTuple):
    """A producer's name with its id, which no other name gets, and the epoch of one producer made under it."""

    name: str
    id: int
    epoch: int

    def stamp(self, first: int, record_count: int) -> ProducerStamp:
        """The stamp of records that this epoch numbers from `first` on."""
        return ProducerStamp(self, first, record_count)


class ProducerStamp(NamedTuple):
    """
    The name of a batch for good: the producer and epoch that took its records, and their sequence numbers.

    An epoch numbers the records of each partition from 0, without a gap.
    """

    producer: ProducerEpoch
    first: int
    record_count: int

    @property
    def end(self) -> int:
        """The sequence number after the last."""
        return self.first + self.record_count

    def mark(self, batches: Sequence[EncodedBatch], start: int = 0) -> None:
        """Put the numbers into the headers of batches, the first of which begins with the record at `start`."""
        sequence = self.first + start
        for batch in batches:
            batch.producer = (self.producer.id, self.producer.epoch & MOST_EPOCH, sequence & MOST_SEQUENCE)
            sequence += batch.count


class PartitionRecords:
    """
    Records for the end of one partition.

    Args:
        topic: the topic as the caller knows it; it may have got more partitions since.
        batches: the records, encoded.
        rows: the same records, needed where the topic has an index or a record has a message id.
        message_ids: the ids of those records that have one, by their place in the columns.
        stamp: the sequence numbers of a named producer; needs `rows`.
        is_by_name: they were sent to the name, so they may go to another topic that has it by then and is alike.
    """

    __slots__ = ("batches", "is_by_name", "message_ids", "partition", "rows", "stamp", "topic")

    def __init__(
        self,
        topic: StoredTopic,
        partition: int,
        batches: list[EncodedBatch],
        rows: Rows | None = None,
        message_ids: dict[int, bytes] | None = None,
        stamp: ProducerStamp | None = None,
        *,
        is_by_name: bool = False,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.batches = batches
        self.is_by_name = is_by_name
        self.rows = rows
        self.message_ids = message_ids or {}
        self.stamp = stamp


class Condition(NamedTuple):
    """
    One record of an append whose version or message id is to be judged.

    Where one record of a topic with an index expects a version, every record of that topic has a condition: each one
    stored before counts.
    """

    part: int
    """The place of its `PartitionRecords` in the append."""
    place: int
    """Its place in the columns of these."""
    expected_version: int | None = None
    message_id: bytes | None = None


# -- what became of it ---------------------------------------------------------------------------------------


class Location(NamedTuple):
    """
    The place where one record is stored.

    `version` is 0 when the topic has no index or the record no key; offset and log position are -1 when a record was
    stored before and nobody can say where.
    """

    partition: int
    offset: int
    timestamp_ms: int
    log_position: int
    version: int


class StoredRecords:
    """
    What became of the records of one `PartitionRecords`.

    Those that were stored follow each other from `first_offset` and `first_position` on. The others were stored before
    (by their message id or their stamp), or come twice in one append, or were refused for their own sake.
    """

    __slots__ = ("first_offset", "first_position", "kept", "others", "partition", "timestamps_ms", "versions")

    def __init__(self, partition: int, timestamps_ms: int | Sequence[int]) -> None:
        self.partition = partition
        self.timestamps_ms = timestamps_ms
        self.first_offset = -1
        self.first_position = -1
        self.versions: Sequence[int] | None = None
        """The version of each stored record, 0 for one without a key; None when the topic has no index."""
        self.kept: Sequence[int] | None = None
        """The places of the records that were stored, when these are not all."""
        self.others: dict[int, Elsewhere] = {}

    @property
    def refusals(self) -> dict[int, EventLogError]:
        """The errors of records that were not stored, while the others were."""
        return {index: other for index, other in self.others.items() if isinstance(other, EventLogError)}

    def location(self, index: int) -> Location:
        """The place of one record; raises its error if it was refused."""
        other = self.others.get(index)
        if isinstance(other, Location):
            return other
        if isinstance(other, EventLogError):
            raise other
        if other is not None:
            return other[0].location(other[1])
        rank = index if self.kept is None else bisect_left(self.kept, index)
        times = self.timestamps_ms
        timestamp_ms = times if isinstance(times, int) else times[index]
        version = 0 if self.versions is None else self.versions[rank]
        return Location(self.partition, self.first_offset + rank, timestamp_ms, self.first_position + rank, version)


Elsewhere: TypeAlias = "Location | tuple[StoredRecords, int] | EventLogError"
"""Where a record is that was not stored: stored before, the same as an earlier one of the append, or refused."""


class AppendedRecord(NamedTuple):
    """
    The reply to an append of one record.

    `newer` is the topic as it is stored, if it has more partitions than the caller knew of. If their number decided
    where the record goes, nothing was stored then, and `offset` is -1.
    """

    offset: int
    log_position: int
    version: int
    newer: StoredTopic | None


class AppendReply(NamedTuple):
    """
    The reply to an append of columns, or to a transaction.

    `newer` has the topics that have more partitions than the caller knew of. If the number of partitions decided where
    a record of theirs goes, nothing was stored, and `stored` is None; else it has an item for each `PartitionRecords`.
    """

    stored: Sequence[StoredRecords] | None
    newer: Sequence[StoredTopic]


class Pending(Protocol):
    """
    A request on its way into the log.

    The attributes change once, when the commit is done or has failed; `is_done` is set last.
    """

    is_done: bool
    error: BaseException | None
    """Why nothing was stored."""


class PendingAppend(Pending, Protocol):
    """One `PartitionRecords` on its way into the log."""

    stored: StoredRecords | None
    """What became of the records, when there was no error."""
    newer: StoredTopic | None
    """The topic as it is stored, if it has more partitions than the producer knew of."""


def wrong_version(topic: str, key: object, expected: int, actual: int) -> WrongVersion:
    """
    The error for a key that is not at the version that the caller expects.

    The store knows only the bytes of a key; a client raises the error again with the key.
    """
    first = f"Read history() from version {expected + 1} on, decide" if actual > expected else "Read its history()"
    shown = repr(key)
    return WrongVersion(
        f"cannot append to key {shown if len(shown) <= 60 else shown[:57] + '...'} of topic {topic!r}: it is expected "
        f"at version {expected}, and is at version {actual}.",
        stored="Nothing was stored.",
        advice=f"{first} again, and append with expected_version={actual}.",
        key=key,
        expected=expected,
        actual=actual,
        topic=topic,
    )


# -- transactions --------------------------------------------------------------------------------------------


class TransactionRequest(NamedTuple):
    """
    Everything that a transaction stores.

    Args:
        parts: the records. A topic may have several parts for one partition; they are stored in their order.
        conditions: the records whose version or message id is to be judged.
        pieces: offsets of groups and changes of states: values of `backend/groups.py` and `backend/states.py`.
        placed_topics: the ids of the topics of which the number of partitions decided where a record goes.
    """

    parts: Sequence[PartitionRecords]
    conditions: Sequence[Condition]
    pieces: Sequence[object]
    placed_topics: frozenset[int]


class RecordBackend(Protocol):
    """
    The appends of a log.

    Any thread may call any of this. Stored records are durable, and visible to all readers, when a call returns or a
    `PendingAppend` is done. Calls that commit share one commit with all else that is queued: whoever comes first
    commits for all. They block for the disk, raise `StorageError` if it failed (the log refuses writes until it is
    opened again), and `NestedCall` in a signal handler or a finalizer that has interrupted a commit of its thread.
    """

    def append_record(
        self,
        topic: StoredTopic,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        *,
        is_placed: bool,
        expected_version: int | None,
    ) -> AppendedRecord:
        """
        Store one record, which may share a batch with others of its commit.

        Blocks for the commit.

        Args:
            is_placed: the number of partitions decided the partition: store nothing if the topic has more by now.

        Raises:
            WrongVersion: the key is at another version. Nothing was stored.
            UnknownTopic: the topic was deleted. Nothing was stored.
        """
        ...

    def append(
        self, parts: Sequence[PartitionRecords], conditions: Sequence[Condition], *, is_placed: bool
    ) -> AppendReply:
        """
        Store columns of records of one topic, all or none of them.

        Blocks for the commit.

        Raises:
            WrongVersion, MessageIdReused: a record may not be stored. Nothing was stored.
            UnknownTopic: the topic was deleted. Nothing was stored.
        """
        ...

    def prepare_append(self, records: PartitionRecords, when_done: Callable[[], object]) -> PendingAppend:
        """
        An append that is not queued yet.

        Does not block; has no effect.

        A record whose message id names another one is refused alone; the others are stored.

        Args:
            when_done: called when the append is done, by the thread that committed, outside of all locks, in the
                order of the commits. An error in it is logged.
        """
        ...

    def submit(self, pending: Pending) -> None:
        """
        Queue a request for the next commit, whoever makes it.

        Does not block. To submit it again, after an interruption say, has no effect: it is stored once.
        """
        ...

    def wait(self, pending: Pending, timeout: float | None, *, before_sync: Callable[[], None] | None = None) -> bool:
        """
        Wait until a request that was submitted is done; commit all that is queued if nobody else does.

        False when it is not done after `timeout` seconds; it still will be. Its error is not raised. If this thread
        commits, `before_sync` is called when everything is written: what follows is one long call that leaves the
        interpreter to other threads.
        """
        ...

    def commit_queued(self, timeout: float | None = None) -> bool:
        """Commit what is queued now; False when another thread was committing for `timeout` seconds (0: not wait)."""
        ...

    @property
    def is_committing(self) -> bool:
        """Whether any thread of this process commits now."""
        ...

    @property
    def is_interrupted_commit(self) -> bool:
        """Whether this very thread commits now: then a signal handler or a finalizer asks."""
        ...

    @property
    def is_interrupted(self) -> bool:
        """
        Whether this very thread is in the middle of something that others wait for: a commit, a read, an opening.

        Then a signal handler or a finalizer asks, and must wait for nobody.
        """
        ...

    def check_writable(self) -> None:
        """Raise why the log takes no writes, if it takes none: `StorageError` after a failure, `LogClosed`."""
        ...

    def begin_producer(self, name: str) -> ProducerEpoch:
        """
        A new epoch of a producer's name, which fences all producers that were made under it before.

        Durable when it returns. Blocks for the commit.
        """
        ...

    def commit_transaction(self, request: TransactionRequest) -> AppendReply:
        """
        Store all of a transaction, or nothing.

        Blocks for the commit. After an interruption (Ctrl-C) it may be stored or not; it is not stored later.

        Raises:
            ConflictError, WrongVersion, MessageIdReused, MemberFenced, UnknownTopic, UnknownState, UnknownProjection:
                a part of it may not be stored. Nothing was stored.
        """
        ...
