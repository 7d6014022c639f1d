"""
Reading records: stored batches from an offset on, bounds, times, and the order of the whole log.

Batches come as they are stored; `eventlog.batches.format` decodes them. A commit number tells later whether anything
was committed since, which costs less than a read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from eventlog.backend.topics import StoredTopic
from eventlog.named_tuples import NamedTuple

PASSED_BY = bytes(64)
"""
The bytes of a batch that no native reader sees: of an aborted transaction of a client of Kafka's, or the end of one.

They are no batch, and stand for one in what `fetch` returns, so that readers go on behind it.
"""


class StoredBatch(NamedTuple):
    """One batch: its last offset, and its bytes as they are stored, or `PASSED_BY`."""

    last: int
    data: bytes


class Fetch(NamedTuple):
    """A request for the batches of one partition that hold `offset` and later ones."""

    topic_id: int
    partition: int
    offset: int


class Fetched(NamedTuple):
    """The batches of a partition from an offset on, and the partition's bounds, all of one snapshot."""

    batches: list[StoredBatch]
    first: int
    end: int


class OrderedBatch(NamedTuple):
    """
    One batch at its place in the order of the log.

    `log_position` is the log position of its first offset, `first` the first offset of its partition that may be read.
    `span` is the count of offsets from its first to its last. Only the offsets before `end` are at this place; of those
    of other places in the same batch, `first` and `end` leave them out, and `log_position` is what its first offset
    would have here.
    """

    log_position: int
    topic_id: int
    partition: int
    last: int
    first: int
    span: int
    data: bytes
    end: int


class Deletion(NamedTuple):
    """
    A deletion of the oldest records of a partition: all that are stored there before `log_position`.

    `number` rises with each deletion of the log.
    """

    topic_id: int
    partition: int
    log_position: int
    number: int


class ScannedOrder(NamedTuple):
    """
    Some batches in the order of the log.

    `end` is the log position behind all that was looked at; `transaction` is the commit number of the snapshot.
    `deletions` are those of records at the position that was asked for or later, in partitions of any topic.
    """

    batches: list[OrderedBatch]
    end: int
    transaction: int
    deletions: tuple[Deletion, ...] = ()


class ReadMark(Protocol):
    """How far a read saw the log, to ask later what has come since; only the backend that made it can read it."""

    @property
    def transaction(self) -> int:
        """The commit number of the snapshot."""
        ...


class ReadingBackend(Protocol):
    """
    Reads of records.

    Each call reads one snapshot, copies what it returns, and waits for nobody. Any thread may call. An error says
    what cannot be read; nothing has changed.
    """

    def last_transaction(self) -> int:
        """
        The commit number of the newest commit of any process.

        It may be ahead of what a read sees, for a moment. Costs less than a microsecond.
        """
        ...

    def changed_since(self, transaction: int) -> bool:
        """Whether anything was committed after the commit of that number, by any process."""
        ...

    def fetch(self, requests: Iterable[Fetch], max_bytes: int) -> tuple[list[Fetched], int]:
        """
        The batches of several partitions, in the order of the requests, and the commit number of the snapshot.

        Stops after `max_bytes` of batches: the last request that is answered gets as much as there was room for,
        those behind it get no answer, and at least one batch comes back if there is any.
        """
        ...

    def fetch_and_mark(self, requests: Iterable[Fetch], max_bytes: int) -> tuple[list[Fetched], ReadMark]:
        """The same, with a mark of the snapshot for `arrivals`."""
        ...

    def arrivals(self, since: ReadMark, most: int) -> tuple[list[tuple[int, int]] | None, ReadMark]:
        """
        The partitions to which something was appended since a mark, by topic id and number, and a mark of now.

        None when every partition has to be asked: batches were removed, topics came or went, or more than `most`
        batches were stored.
        """
        ...

    def bounds(self, topic: StoredTopic, partitions: Sequence[int] | None = None) -> list[tuple[int, int]]:
        """The first and the end offset (exclusive) of some or all partitions of a topic."""
        ...

    def bounds_of(self, partitions: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        """The same of partitions of several topics, by topic id and number."""
        ...

    def offset_of_time(self, topic: StoredTopic, partition: int, timestamp_ms: int) -> int:
        """The first offset whose record has this timestamp or a later one; the end offset when there is none."""
        ...

    def end_log_position(self) -> int:
        """
        The log position behind all that native readers see.

        It is that of the next record, or where the first open transaction of a client of Kafka's begins.
        """
        ...

    def next_log_position(self) -> int:
        """The log position that the next record gets."""
        ...

    def scan_order(self, start: int, max_bytes: int, *, topic_ids: Collection[int] | None = None) -> ScannedOrder:
        """
        The batches that hold the log position `start` and later ones, in order.

        Passes by what was deleted; at the end of the log the position behind is that end.

        Args:
            max_bytes: bound of all batches together; one comes back even if it is larger.
            topic_ids: passes by the batches of other topics; None takes all.

        Raises:
            CorruptBatch, FormatTooNew: if the first batch has no header that can be read; else it ends before that
                one.
        """
        ...
