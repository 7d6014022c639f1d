"""A topic as users see it: appending, reading, and reading by key."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Generic, Literal, TypedDict, TypeVar
from uuid import UUID

from eventlog import api
from eventlog.api.features import FrontDoor
from eventlog.batches.partitioners import Partitioner
from eventlog.codecs import Upcasters
from eventlog.options import UNCHANGED, Compression, HeadersInput, Index, Start
from eventlog.records import Event, K, PartitionRange, Record, RecordBatch, RecordMetadata, Snapshot, V

S = TypeVar("S")


class TopicOptions(TypedDict, total=False):
    """The options of a topic that have no part in its type."""

    partitions: int | None
    partitioner: str | Partitioner | None
    max_record_bytes: int | None
    index: Index | None
    duplicate_window: float | None
    snapshot: object
    upcasters: Upcasters | None
    retention: float | None
    retention_bytes: int | None
    until_read_by: Iterable[str] | None
    compression: Compression | None
    compaction: Literal["key"] | None
    compaction_lag: float | None
    max_compaction_lag: float | None
    tombstone_retention: float | None
    min_dirty_ratio: float | None
    repack_after: float | None


class Topic(FrontDoor, Generic[K, V]):
    """
    One topic of a log: its partitions, and the codecs of its keys and values.

    Get one from `EventLog.topic()`. Any thread may use it; it needs no closing.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     orders = log.topic("orders", partitions=4, key=str, value="json")
        ...     meta = orders.append({"item": "tea"}, key="alice")
        ...     [record.value for record in orders.read()]
        [{'item': 'tea'}]
    """

    __slots__ = ()

    @property
    @abstractmethod
    def name(self) -> str:
        """The topic's name."""

    @property
    @abstractmethod
    def partitions(self) -> int:
        """The number of partitions now; they are numbered from 0."""

    @property
    @abstractmethod
    def key(self) -> str:
        """The name of the codec of the keys."""

    @property
    @abstractmethod
    def value(self) -> str:
        """The name of the codec of the values."""

    @property
    @abstractmethod
    def partitioner(self) -> str:
        """The name of the partitioner, as stored."""

    @property
    @abstractmethod
    def max_record_bytes(self) -> int:
        """The most bytes of one record's key, value and headers."""

    @property
    @abstractmethod
    def index(self) -> str | None:
        """The index of the topic: "key", or None."""

    @property
    def duplicate_window(self) -> float:
        """The seconds for which the topic remembers message ids."""
        raise self._lacks("duplicate_window", "message_ids")

    @property
    def retention(self) -> float | None:
        """The seconds for which the topic keeps its records; None keeps them all."""
        raise self._lacks("retention", "retention")

    @property
    def retention_bytes(self) -> int | None:
        """The most bytes of stored batches that the topic keeps; None keeps them all."""
        raise self._lacks("retention_bytes", "retention")

    @property
    def until_read_by(self) -> tuple[str, ...]:
        """The groups that the topic waits for: what all of them have read is deleted."""
        raise self._lacks("until_read_by", "retention")

    @property
    def compression(self) -> str | None:
        """How batches of the topic are compressed: "zstd", "lz4", or None."""
        raise self._lacks("compression", "compression")

    @property
    def compaction(self) -> str | None:
        """How the topic is compacted: "key" keeps the newest record of each key; None keeps all records."""
        raise self._lacks("compaction", "compaction")

    @property
    def compaction_lag(self) -> float:
        """The seconds for which compaction leaves records alone."""
        raise self._lacks("compaction_lag", "compaction")

    @property
    def max_compaction_lag(self) -> float | None:
        """The seconds after which records are compacted at the latest; None waits for enough bytes."""
        raise self._lacks("max_compaction_lag", "compaction")

    @property
    def tombstone_retention(self) -> float:
        """The seconds for which compaction keeps tombstones."""
        raise self._lacks("tombstone_retention", "compaction")

    @property
    def min_dirty_ratio(self) -> float:
        """The share of bytes that were not compacted from which on a partition is."""
        raise self._lacks("min_dirty_ratio", "compaction")

    @property
    def repack_after(self) -> float | None:
        """The seconds after which small batches are merged; None leaves them as they are."""
        raise self._lacks("repack_after", "compaction")

    @property
    @abstractmethod
    def uuid(self) -> UUID:
        """The id of this topic, unique among all logs; a topic deleted and created again has another."""

    @abstractmethod
    def append(
        self,
        value: V | None,
        *,
        key: K | None = None,
        partition: int | None = None,
        headers: HeadersInput | None = None,
        timestamp_ms: int | None = None,
        expected_version: int | None = None,
        message_id: str | bytes | None = None,
    ) -> RecordMetadata:
        """
        Append one record, which is durable when the call returns (as the log's `durability` says).

        Blocks for one sync of the disk. Threads that append at the same time share a sync, which makes 64 threads
        many times as fast as one.

        Args:
            value: None is a tombstone.
            key: decides the partition, by the topic's partitioner. Without one, partitions take turns.
            partition: overrides the partitioner.
            headers: a mapping or pairs of str and bytes.
            timestamp_ms: ms since 1970 UTC (default: now).
            expected_version: the version that the key must have; 0 for a new key. For topics with an index.
            message_id: 1 to 255 bytes; the record is stored only once within the topic's `duplicate_window`, however
                often and by whomever it is appended.

        Returns:
            The place of the record; that of the first one, if one was stored under this `message_id`.

        Raises:
            TypeError: the value or key does not fit its codec. Nothing was stored.
            WrongVersion: the key is at another version. Nothing was stored.
            MessageIdReused: a record with other content has the `message_id`. Nothing was stored.
            RecordTooLarge, UnknownPartition, UnknownTopic: the record does not fit. Nothing was stored.
            StorageError: the disk failed. The record was not acknowledged; open the log again.
        """

    def schedule(
        self,
        value: V | None,
        *,
        at: datetime | float | None = None,
        delay: float | None = None,
        key: K | None = None,
        headers: HeadersInput | None = None,
        partition: int | None = None,
        message_id: str | bytes | None = None,
    ) -> api.Schedule[K, V]:
        """
        Store one record now, and append it later; durable when the call returns.

        At its time it is appended once, whoever dies meanwhile, and then it is a record like any other. It gets the
        time of the moment when it is appended as its timestamp. `EventLog.schedules` lists, moves and cancels what
        waits, and says who appends it. A topic that is deleted takes its schedules along.

        Args:
            value: None is a tombstone.
            at: when, as a `datetime` with a time zone or in seconds since 1970. What is past is appended at once.
            delay: the seconds from now on. One of the two has to be there.
            key: decides the partition, among those that the topic has by then. With a partitioner of your own, it is
                chosen now.
            headers: a mapping or pairs of str and bytes.
            partition: overrides the partitioner.
            message_id: 1 to 255 bytes; the record is scheduled once, and appended once within the topic's
                `duplicate_window` of that, however often this is called. One that was cancelled is made again.

        Returns:
            The schedule; that of the first call with this `message_id`, in the state "sent" if its record is there.

        Raises:
            TypeError: the value or key does not fit its codec, or a time is none. Nothing was stored.
            ValueError: both of `at` and `delay`, or none; a `datetime` without a time zone; a time beyond the year
                9999. Nothing was stored.
            MessageIdReused: a record with other content has the `message_id`. Nothing was stored.
            RecordTooLarge, KeyRequired, UnknownPartition, UnknownTopic: the record does not fit. Nothing was stored.
            FormatTooOld, NotSupported: a log of format 3 has no schedules, nor has every backend.
            StorageError: the disk failed. It was not acknowledged; open the log again.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     mails = log.topic("mails", value=str)
            ...     schedule = mails.schedule("hello", delay=3600.0)
            ...     [one.value for one in log.schedules.list()], list(mails.read())
            (['hello'], [])
        """
        raise self._lacks("schedule()", "schedules")

    @abstractmethod
    def append_many(
        self,
        values: Iterable[V | None],
        *,
        keys: Iterable[K | None] | None = None,
        key: K | None = None,
        partition: int | None = None,
        headers: Iterable[HeadersInput | None] | None = None,
        timestamps_ms: int | Iterable[int] | None = None,
        expected_version: int | None = None,
        message_ids: Iterable[str | bytes | None] | None = None,
    ) -> list[PartitionRange]:
        """
        Append records given in columns, all of them in one transaction.

        This is the fastest way to write: one sync, and no object per record. The records of one partition keep the
        order of the columns.

        Args:
            values: None in it is a tombstone.
            keys: one for each value, or None if no record has a key; they then go to one partition.
            partition: overrides the partitioner, for all records.
            headers: one for each value, or None.
            key: the key of all records, instead of `keys`.
            timestamps_ms: ms since 1970 UTC, one for all or one for each (default: now).
            expected_version: the version that `key` must have before these records. For topics with an index.
            message_ids: one for each value, which may be None; each as for `append`.

        Returns:
            The range of offsets in each partition that got records, by partition; several ranges if records of that
            partition were stored before under their ids.

        Raises:
            ValueError: the columns differ in length. Nothing was stored.
            WrongVersion, MessageIdReused: as for `append`; nothing was stored.
            TypeError, RecordTooLarge, UnknownPartition, UnknownTopic, StorageError: as `append`; nothing was stored.
        """

    def alter(
        self,
        *,
        retention: float | None = UNCHANGED,
        retention_bytes: int | None = UNCHANGED,
        until_read_by: Iterable[str] | None = UNCHANGED,
        compression: Compression | None = UNCHANGED,
        compaction: Literal["key"] | None = UNCHANGED,
        compaction_lag: float = UNCHANGED,
        max_compaction_lag: float | None = UNCHANGED,
        tombstone_retention: float = UNCHANGED,
        min_dirty_ratio: float = UNCHANGED,
        repack_after: float | None = UNCHANGED,
    ) -> None:
        """
        Change what the topic keeps, and how; an option left out stays as it is, and None removes it.

        Durable when it returns. Cleaners of all processes follow it within two seconds; `EventLog.clean` at once.
        Another compression is that of later batches, in all processes; those that are stored stay as they are.

        Args:
            retention: see `EventLog.topic`.
            retention_bytes: see there.
            until_read_by: see there.
            compression: see there.
            compaction: see there. Without it, `compaction_lag`, `max_compaction_lag`, `tombstone_retention` and
                `min_dirty_ratio` are as in a new topic.
            compaction_lag: see there.
            max_compaction_lag: see there.
            tombstone_retention: see there.
            min_dirty_ratio: see there.
            repack_after: see there.

        Raises:
            UnknownTopic: the topic was deleted. Nothing was changed.
            TopicMismatch: the topic has an index and was made without `compaction`. Nothing was changed.
            MissingLibrary: that of the compression is not installed. Nothing was changed.
            FormatTooOld: the log has format 3, without compression, compaction and repacking. Nothing was changed.
            ValueError, TypeError: an option is out of its bounds. Nothing was changed.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     views = log.topic("views")
            ...     views.alter(retention=3600)
            ...     views.retention
            3600.0
        """
        raise self._lacks("alter()", "retention")

    @abstractmethod
    def delete_records(self, before: Mapping[int, int]) -> None:
        """
        Delete the records before an offset, for some partitions, in one transaction (Kafka's `deleteRecords`).

        The offsets of the other records do not change. Readers whose position is below the new first offset get
        `OffsetOutOfRange`. Later appends reuse the space; the file does not shrink.

        It finds room on a full volume, too. There it takes many small transactions: the first raises the first offsets,
        and until the last of them `history()` may return events that are deleted.

        Args:
            before: for each partition, the offset that becomes its first.

        Raises:
            OffsetOutOfRange: an offset is above the end of its partition. Nothing was deleted.
            UnknownPartition: there is no such partition. Nothing was deleted.
        """

    def redact(self, key: K, *, dry_run: bool = False) -> api.RedactReport:
        """
        Make tombstones of the records of a key: their values and headers go, for good.

        Offsets, log positions, timestamps, versions and the key itself stay, and so do all other records. Whoever reads
        meanwhile sees a record as it was or without its value. The snapshot of the key is removed, and so is what is
        scheduled for it. It works in many small commits; a process that dies has done some of them, and calling it
        again does the rest.

        What was derived of the records elsewhere is not found: states, projections, exports, copies of the log. And the
        bytes are in free pages of the file until these are used again; `EventLog.compact()` writes a file without them
        (docs/explanation/personal-data.md).

        Args:
            dry_run: only count what would be redacted.

        Raises:
            CorruptBatch, FormatTooNew, MissingLibrary: a batch or schedule cannot be read. Those before are redacted.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     users = log.topic("users", key=str, value=str, index="key")
            ...     meta = users.append("ada@example.org", key="u-7")
            ...     users.redact("u-7").record_count
            ...     users.latest("u-7").value is None
            1
            True
        """
        raise self._lacks("redact()", "files")

    @abstractmethod
    def create_partitions(self, total: int) -> None:
        """
        Raise the number of partitions to `total`, durable when the call returns (Kafka's `createPartitions`).

        The new partitions are empty; no record is moved. As in Kafka, later records of a key may go to another
        partition than its earlier ones. If the order of a key matters, let readers finish the earlier records first, or
        give the topic enough partitions from the beginning.

        Every `Topic` and producer uses the new number, in every process, for records appended after the call. A
        producer uses it from its next commit on, or at once if it holds no records; records sent before stay where they
        were placed. From now on a program that opens the topic with `partitions=` the old number gets `TopicMismatch`.

        Args:
            total: the new number of partitions, up to 100,000. The current number changes nothing, so several programs
                may ask for the same.

        Raises:
            ValueError: the topic has more partitions, which are never removed. Nothing was changed.
            UnknownTopic: the topic was deleted. Nothing was changed.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     orders = log.topic("orders", partitions=2)
            ...     orders.create_partitions(4)
            ...     orders.partitions
            4
        """

    @abstractmethod
    def bounds(self) -> dict[int, tuple[int, int]]:
        """
        Return the first offset and the end offset (exclusive) of every partition, at one moment.

        Raises:
            UnknownTopic: the topic was deleted.
        """

    @abstractmethod
    def read(
        self,
        partition: int | None = None,
        *,
        start: Start = "earliest",
        end: Start | None = None,
        max_records: int | None = None,
    ) -> Iterator[Record[K, V]]:
        """
        Read the records stored now, without a group, up to the end.

        Records appended after the call are not read. Nothing is kept open between records, so you may stop at any point
        and take as long as you like.

        Args:
            partition: one partition, or None for all, one after the other.
            start: "earliest", "latest", an offset, or a `datetime`: the first record at or after that time.
            end: where to stop, exclusive, in the same terms; None is the end of the log at the call.
            max_records: the most records to read, None for all.

        Raises:
            OffsetOutOfRange: `start` or `end` is an offset outside the partition.
            UnknownPartition, UnknownTopic, ValueError, TypeError: an argument is wrong; raised at the call.
            CorruptBatch, DecodeError: a record cannot be read; raised at that record.
        """

    @abstractmethod
    def read_batches(
        self,
        partition: int | None = None,
        *,
        start: Start = "earliest",
        end: Start | None = None,
        max_records: int | None = None,
    ) -> Iterator[RecordBatch[K, V]]:
        """Read as `read` does, in columns: batches as they were stored, cut to the bounds."""

    def history(
        self,
        key: K,
        *,
        start: int = 1,
        end: int | datetime | None = None,
        end_log_position: int | None = None,
        is_reversed: bool = False,
        max_records: int | None = None,
    ) -> Iterator[Event[K, V]]:
        """
        Read the records of one key in the order of their versions, for topics with `index="key"`.

        The index holds them in one place, however far apart they were appended. Records appended meanwhile may or may
        not be read. Nothing is kept open between records.

        Args:
            start: the first version; the first record of a key has version 1.
            end: the version before which to stop, or a time: before the first record of the key that has this
                timestamp or a later one. None for all.
            end_log_position: stop before the first record of the key at or behind this position of the log, as
                `read_all()` numbers them: with that of another record, the history is what it was when that was
                stored. None for all; with `end` too, what comes first ends it.
            is_reversed: begin with the last record.
            max_records: the most records to read, None for all.

        Raises:
            ValueError: the topic has no index, or `key` is None. Nothing was read.
            OffsetOutOfRange: `start` is behind the version that the next record of the key gets. Nothing was read.
            CorruptBatch, DecodeError: a record cannot be read; raised at that record.
            UnknownTopic, TypeError: the topic was deleted, or the key does not fit its codec.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     accounts = log.topic("accounts", key=str, value="json", index="key")
            ...     ranges = accounts.append_many([5, -3, 9], key="alice", expected_version=0)
            ...     [(event.version, event.value) for event in accounts.history("alice", start=2)]
            [(2, -3), (3, 9)]
        """
        raise self._lacks("history()", "index")

    def latest(self, key: K) -> Event[K, V] | None:
        """
        Return the last record of one key, or None; for topics with `index="key"`.

        Raises as `history`.
        """
        raise self._lacks("latest()", "index")

    def version(self, key: K) -> int:
        """
        Return the number of records ever appended under one key; for topics with `index="key"`.

        It never goes back, even if records are deleted. Raises as `history`.
        """
        raise self._lacks("version()", "index")

    def keys(self, prefix: str | bytes | None = None) -> Iterator[K]:
        """
        Iterate over the keys that have or had records, in the order of their bytes; for topics with `index="key"`.

        Args:
            prefix: only keys whose bytes begin with this; a str as UTF-8.

        Raises:
            ValueError, UnknownTopic: as for `history`.
        """
        raise self._lacks("keys()", "index")

    def fold(
        self,
        key: K,
        function: Callable[[S, V], S],
        initial: S,
        *,
        end: int | datetime | None = None,
        end_log_position: int | None = None,
        snapshot: bool = True,
    ) -> tuple[S, int]:
        """
        Compute a state from the records of one key, and return it with the version of the last record.

        Begins with the key's snapshot, or with `initial` if there is none, and calls `function(state, value)` for each
        later record. `initial` is copied first: a function that changes its state leaves it as it was. Deleted records
        only count as versions: save a snapshot before you delete. A tombstone is a record like any other: the function
        is called with the value None and says what it means.

        With an end, the state is the one as of then. A snapshot that holds a later record is not used.

        Args:
            end: as for `history`.
            end_log_position: as for `history`.
            snapshot: False begins with `initial` and the first record, whatever is saved: for another function.

        Raises as `history`, and whatever `function` raises.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     accounts = log.topic("accounts", key=str, value="json", index="key")
            ...     ranges = accounts.append_many([5, -3, 9], key="alice")
            ...     accounts.fold("alice", lambda balance, amount: balance + amount, 0)
            (11, 3)
            >>> with eventlog.open(":memory:") as log:
            ...     accounts = log.topic("accounts", key=str, value="json", index="key")
            ...     ranges = accounts.append_many([5, -3, 9], key="alice")
            ...     accounts.fold("alice", lambda balance, amount: balance + amount, 0, end=3)
            (2, 2)
        """
        raise self._lacks("fold()", "index")

    def save_snapshot(self, key: K, state: Any, *, version: int) -> None:
        """
        Save a state of one key, durable when the call returns, so that `fold` need not begin with the first record.

        One snapshot is stored per key; saving an older one than the stored changes nothing.

        Args:
            state: a value for the topic's codec of snapshots (`snapshot=` of `log.topic`).
            version: the version of the last record in it.

        Raises:
            WrongVersion: the key has not reached that version. Nothing was stored.
            TypeError: the state does not fit the codec. Nothing was stored.
            ValueError, UnknownTopic, StorageError: as `append`; nothing was stored.
        """
        raise self._lacks("save_snapshot()", "index")

    def snapshot(self, key: K) -> Snapshot[Any] | None:
        """
        Return the saved state of one key, or None.

        Raises as `history`.
        """
        raise self._lacks("snapshot()", "index")

    def delete_snapshot(self, key: K) -> None:
        """
        Delete the saved state of one key, durable when the call returns; `fold` begins with the first record again.

        For a snapshot that a wrong function has made, or one that nobody needs. Without one it changes nothing.

        Raises:
            ValueError, UnknownTopic, StorageError: as `append`; nothing was deleted.
        """
        raise self._lacks("delete_snapshot()", "index")
