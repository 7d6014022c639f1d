"""
A topic as users see it: appending, reading, and reading by key.

Knows nothing of how a backend stores records.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar
from uuid import UUID

from eventlog.api.features import FrontDoor
from eventlog.options import HeadersInput, Start
from eventlog.records import Event, K, PartitionRange, Record, RecordBatch, RecordMetadata, Snapshot, V

S = TypeVar("S")


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
        """How many partitions the topic has now; they are numbered from 0."""

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
        """The bound of one record's key, value and headers, in bytes."""

    @property
    @abstractmethod
    def index(self) -> str | None:
        """What the topic is indexed by: "key", or None."""

    @property
    def duplicate_window(self) -> float:
        """How long the topic remembers message ids, in seconds."""
        raise self._lacks("duplicate_window", "message_ids")

    @property
    @abstractmethod
    def uuid(self) -> UUID:
        """The id of this topic, which no other topic of any log has; created again, a topic has another."""

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
        Store one record, durable when the call returns (as the log's `durability` says).

        Blocks for one sync of the disk. Threads that append at the same time share one, so several threads
        together are several times faster than one.

        Args:
            value: None is a tombstone.
            key: decides the partition, by the topic's partitioner. Without one, partitions take turns.
            partition: overrides the partitioner.
            headers: a mapping or pairs of str and bytes.
            timestamp_ms: ms since 1970 UTC; now when not given.
            expected_version: how many records of this key there must be; 0 for a new one. For topics with an index.
            message_id: 1 to 255 bytes; has the record stored only once within the topic's `duplicate_window`,
                however often it is appended, and by any process.

        Returns:
            The place of the record; that of the first one, if a record was stored under this `message_id` before.

        Raises:
            TypeError: if a value or key does not fit its codec. Nothing was stored.
            WrongVersion: if the key is at another version. Nothing was stored.
            MessageIdReused: if a record with other content has the `message_id`. Nothing was stored.
            RecordTooLarge, UnknownPartition, UnknownTopic: for what their names say. Nothing was stored.
            StorageError: if the disk failed. The record was not acknowledged; open the log again.
        """

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
        Store records given in columns: all of them in one transaction, or none.

        The fastest way to write: one sync, no object for each record. The records of one partition keep the order
        of the columns.

        Args:
            values: None in it is a tombstone.
            keys: one for each value, or None when no record has a key; keyless records then go to one partition.
            partition: overrides the partitioner, for all.
            headers: one for each value, or None.
            key: the key of all records, instead of `keys`.
            timestamps_ms: ms since 1970 UTC, one for all or one for each; now when not given.
            expected_version: how many records of `key` there must be before these. For topics with an index.
            message_ids: one for each value, or None in it; each is as that of `append`.

        Returns:
            The ranges in which they are stored, by partition. A partition has several ranges where records were stored
            before under their ids.

        Raises:
            ValueError: if the columns differ in length. Nothing was stored.
            WrongVersion, MessageIdReused: as `append`; nothing was stored.
            TypeError, RecordTooLarge, UnknownPartition, UnknownTopic, StorageError: as `append`; nothing was stored.
        """

    @abstractmethod
    def delete_records(self, before: Mapping[int, int]) -> None:
        """
        Delete the records before an offset, for some partitions, in one transaction (Kafka's `deleteRecords`).

        The offsets of the others do not change. Readers that stand before the new first offset get
        `OffsetOutOfRange`. The space is used again by later appends; the file does not shrink.

        Args:
            before: for each partition the offset that becomes its first.

        Raises:
            OffsetOutOfRange: if an offset lies beyond the end of its partition. Nothing was deleted.
            UnknownPartition: if there is no such partition. Nothing was deleted.
        """

    @abstractmethod
    def create_partitions(self, total: int) -> None:
        """
        Raise the number of partitions to `total`, durable when the call returns (Kafka's `createPartitions`).

        The new partitions are empty; no record is moved. So with keys, later records of a key may go to another
        partition than its earlier ones, as in Kafka: where the order of a key counts, let readers finish the earlier
        ones first, or give the topic enough partitions from the beginning.

        Every `Topic` and producer learns of it, in every process: what is appended after the call goes by the new
        number. A producer goes by it from its next commit on, and at once when nothing of it waits; what it was sent
        before stays where it was placed. A program that opens the topic with `partitions=` the old number gets
        `TopicMismatch` from now on.

        Args:
            total: how many there are to be in all, up to 100,000. As many as there are: nothing is changed, so
                several programs may ask for the same.

        Raises:
            ValueError: if the topic has more than that: partitions are never removed. Nothing was changed.
            UnknownTopic: if the topic was deleted. Nothing was changed.

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
        The first offset and the end offset (exclusive) of every partition, of one moment.

        Raises:
            UnknownTopic: if the topic was deleted.
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
        Read what is stored now, without a group, and end where it ends.

        Records appended after the call are not read. Nothing is kept open between records, so one may stop at any
        point and take as long as one likes.

        Args:
            partition: one partition, or None for all, one after the other.
            start: "earliest", "latest", an offset, or a `datetime`: the first record of that time or later.
            end: where to stop, exclusive, in the same terms; None is where the log ended at the call.
            max_records: the most records to read, None for all.

        Raises:
            OffsetOutOfRange: if `start` or `end` is an offset outside the partition.
            UnknownPartition, UnknownTopic, ValueError, TypeError: at the call, for what their names say.
            CorruptBatch, DecodeError: at the record that cannot be read.
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
        """The same as `read`, in columns: batches as they were stored, cut to the bounds."""

    def history(
        self,
        key: K,
        *,
        start: int = 1,
        end: int | None = None,
        is_reversed: bool = False,
        max_records: int | None = None,
    ) -> Iterator[Event[K, V]]:
        """
        The records of one key in the order of their versions, for topics with `index="key"`.

        Reads what is stored now from one place of the log, however far apart the records were appended. What is
        appended meanwhile may or may not come too. Nothing is kept open between records.

        Args:
            start: the first version; the first record of a key has version 1.
            end: the version to stop before, None for all.
            is_reversed: begins with the last of them.
            max_records: the most records to read, None for all.

        Raises:
            ValueError: if the topic has no index, or `key` is None. Nothing was read.
            CorruptBatch, DecodeError: at the record that cannot be read.
            UnknownTopic, TypeError: for what their names say.

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
        The last record of one key, None when it has none; for topics with `index="key"`.

        Raises as `history`.
        """
        raise self._lacks("latest()", "index")

    def version(self, key: K) -> int:
        """
        How many records of one key were ever appended, 0 for none; for topics with `index="key"`.

        It never goes back, even when records are deleted. Raises as `history`.
        """
        raise self._lacks("version()", "index")

    def keys(self, prefix: str | bytes | None = None) -> Iterator[K]:
        """
        The keys that have, or had, records, in the order of their bytes; for topics with `index="key"`.

        Args:
            prefix: only keys whose bytes begin with this; a str as UTF-8.

        Raises:
            ValueError, UnknownTopic: as `history`.
        """
        raise self._lacks("keys()", "index")

    def fold(self, key: K, function: Callable[[S, V], S], initial: S) -> tuple[S, int]:
        """
        The state that the records of one key make, and the version of the last of them.

        Begins with the key's snapshot when there is one, else with `initial`, and calls `function(state, value)` for
        each record after it. Of deleted records only the version is known: save a snapshot before you delete.

        Raises as `history`, and whatever `function` raises.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     accounts = log.topic("accounts", key=str, value="json", index="key")
            ...     ranges = accounts.append_many([5, -3, 9], key="alice")
            ...     accounts.fold("alice", lambda balance, amount: balance + amount, 0)
            (11, 3)
        """
        raise self._lacks("fold()", "index")

    def save_snapshot(self, key: K, state: Any, *, version: int) -> None:
        """
        Keep a state of one key, durable when the call returns, so that `fold` need not begin with the first record.

        One snapshot is kept for each key; one that is older than what is stored changes nothing.

        Args:
            state: a value that the topic's codec of snapshots takes (`snapshot=` of `log.topic`).
            version: that of the last record in it.

        Raises:
            WrongVersion: if the key has fewer records than that. Nothing was stored.
            TypeError: if the state does not fit the codec. Nothing was stored.
            ValueError, UnknownTopic, StorageError: as `append`; nothing was stored.
        """
        raise self._lacks("save_snapshot()", "index")

    def snapshot(self, key: K) -> Snapshot[Any] | None:
        """
        The snapshot of one key, None when there is none.

        Raises as `history`.
        """
        raise self._lacks("snapshot()", "index")
