"""A log as users see it: its topics, and the methods that make producers and consumers."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, Unpack, overload
from uuid import UUID

from eventlog import api
from eventlog.api.consumer import Callback, Consumer, Consuming
from eventlog.api.features import FEATURES, Closing
from eventlog.api.log_queues import LogQueues
from eventlog.api.log_reading import LogReading
from eventlog.api.producer import Producer
from eventlog.api.requests import Requesting
from eventlog.api.topic import Topic, TopicOptions
from eventlog.api.transaction import LogTransactions
from eventlog.batches.format import TARGET_BYTES
from eventlog.batches.partitioners import Partitioner
from eventlog.codecs import Upcasters
from eventlog.codecs.base import ValueCodec
from eventlog.options import (
    Compression,
    Index,
    OnOutOfRange,
    Start,
)

if TYPE_CHECKING:
    from typing_extensions import TypeForm  # type checkers have it, whatever is installed

T = TypeVar("T")
KT = TypeVar("KT")
VT = TypeVar("VT")
K1 = TypeVar("K1")
V1 = TypeVar("V1")
K2 = TypeVar("K2")
V2 = TypeVar("V2")
K3 = TypeVar("K3")
V3 = TypeVar("V3")
K4 = TypeVar("K4")
V4 = TypeVar("V4")
K5 = TypeVar("K5")
V5 = TypeVar("V5")
K6 = TypeVar("K6")
V6 = TypeVar("V6")
KeyCodec: TypeAlias = type[KT] | ValueCodec[KT]
ValueClass: TypeAlias = type[VT] | ValueCodec[VT] | tuple[type[VT], ...] | list[type[VT]]
TopicName: TypeAlias = str | re.Pattern[str]
_AnyTopic: TypeAlias = str | Topic[Any, Any] | re.Pattern[str]


class EventLog(Closing, LogReading, LogTransactions, LogQueues, Requesting):
    """
    An open log: it holds topics, and makes producers, consumers and transactions.

    Any number of threads, `EventLog` objects and processes may use one log at once. Any thread may call any method.
    After a fork the child opens the log again when it first uses it; producers and consumers made before the fork
    belong to the parent.

    Get one from `eventlog.open()`.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     orders = log.topic("orders", partitions=4)
        ...     log.topics()
        ['orders']
    """

    __slots__ = ()
    _features = frozenset[str]()

    # -- what it is ------------------------------------------------------------------------------------------

    @property
    def backend(self) -> str:
        """The name of the backend that implements this log: "embedded" for a directory or a log in memory."""
        return self._backend_name

    def supports(self, feature: str) -> bool:
        """
        Whether the backend offers a feature; the embedded log offers all of them.

        What a backend lacks raises `NotSupported` when it is used, before anything is stored. The features are:

        * "index": topics with `index="key"`: `history`, `latest`, `version`, `keys`, `fold` and snapshots.
          Without it, records are found by partition and offset alone.
        * "expected_version": `expected_version=`: an append that depends on what its key has. Without it,
          two writers of one key do not notice each other.
        * "message_ids": `message_id=`: a record is stored once, however often it is sent. Without it,
          sending again after an error may store it twice, and readers must expect that.
        * "named_producers": `producer(name=)`: the newest producer of a name fences the older ones. Without
          it, an old process that wakes up may still store.
        * "states": `Transaction.state`, `EventLog.state`: tables that are stored in the commit of the
          records. Without them, keep such tables in a database of your own, with the offsets beside them.
        * "projections": `EventLog.projection`: folding the log into a table. Without them, fold what a
          consumer reads.
        * "log_order": `read_all`, `end_log_position` and `log_position`: one order over all topics. Without
          it, `log_position` is None, and only the records of one partition have an order.
        * "forced_resets": `force=` of the methods of `Groups`: fencing live members. Without it, stop the
          members first.
        * "assignor_functions": an `assignor=` of your own. Without it, the named assignors are there.
        * "fileno": `fileno` and `max_wait` of consumers and queues: a descriptor for the event loop of a
          program. Without it, call `poll(0)` every few milliseconds, or `poll(timeout)` in a thread. Some
          file systems lack it too: `fileno()` says so.
        * "retention": `retention=`, `retention_bytes=` and `until_read_by=` of a topic, `Topic.alter` and
          `clean`. Without it, call `delete_records()`, or set what the servers keep.
        * "compression": `compression=` of a topic. Without it, producers or servers compress as they are set up.
        * "compaction": `compaction=` and `repack_after=` of a topic, with their options. Without it, every
          record is kept, or the servers compact by options of their own.
        * "requests": `request`, `gather` and `responder`. Without them, send the headers by a producer, and read the
          replies by a consumer.
        * "queues": `queue` and `queues`: jobs that are acknowledged one by one, and `Transaction.accept`. Without
          them, use a consumer group, in which a slow record holds up those behind it, or the share groups of the
          servers.
        * "schedules": `Topic.schedule`, `Transaction.schedule` and `schedules`: records that are sent later. Without
          them, keep what is to be sent in a table of your own, and look at it every second.
        * "files": `sync`, `verify`, `stats`, `backup`, `compact` and `Topic.redact`: the log is files of this machine.
          Without it, they are up to whoever runs the servers.

        Raises:
            ValueError: for a name that is not in this list.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     log.backend, log.supports("states")
            ('embedded', True)
        """
        if feature not in FEATURES:
            raise ValueError(
                f"there is no feature {feature!r}. Nothing was changed. Ask for one of these: {', '.join(FEATURES)}."
            )
        return feature in self._features

    @property
    @abstractmethod
    def path(self) -> api.Path:
        """The directory."""

    @property
    @abstractmethod
    def durability(self) -> str:
        """The durability of acknowledged records: "commit", "ordered", or "memory"."""

    @property
    @abstractmethod
    def uuid(self) -> UUID:
        """The id of this log; a copy made by `compact()` has the same."""

    @property
    @abstractmethod
    def is_closed(self) -> bool:
        """Whether `close()` was called."""

    # -- topics ----------------------------------------------------------------------------------------------

    @overload
    def topic(
        self, name: str, *, key: KeyCodec[KT], value: tuple[type[V1], type[V2]], **options: Unpack[TopicOptions]
    ) -> Topic[KT, V1 | V2]: ...
    @overload
    def topic(
        self,
        name: str,
        *,
        key: KeyCodec[KT],
        value: tuple[type[V1], type[V2], type[V3]],
        **options: Unpack[TopicOptions],
    ) -> Topic[KT, V1 | V2 | V3]: ...
    @overload
    def topic(
        self,
        name: str,
        *,
        key: KeyCodec[KT],
        value: tuple[type[V1], type[V2], type[V3], type[V4]],
        **options: Unpack[TopicOptions],
    ) -> Topic[KT, V1 | V2 | V3 | V4]: ...
    @overload
    def topic(
        self,
        name: str,
        *,
        key: KeyCodec[KT],
        value: tuple[type[V1], type[V2], type[V3], type[V4], type[V5]],
        **options: Unpack[TopicOptions],
    ) -> Topic[KT, V1 | V2 | V3 | V4 | V5]: ...
    @overload
    def topic(
        self,
        name: str,
        *,
        key: KeyCodec[KT],
        value: tuple[type[V1], type[V2], type[V3], type[V4], type[V5], type[V6]],
        **options: Unpack[TopicOptions],
    ) -> Topic[KT, V1 | V2 | V3 | V4 | V5 | V6]: ...
    @overload
    def topic(
        self, name: str, *, key: KeyCodec[KT], value: ValueClass[VT], **options: Unpack[TopicOptions]
    ) -> Topic[KT, VT]: ...
    @overload
    def topic(
        self, name: str, *, key: KeyCodec[KT], value: str | None = None, **options: Unpack[TopicOptions]
    ) -> Topic[KT, Any]: ...
    @overload
    def topic(
        self, name: str, *, key: KeyCodec[KT], value: TypeForm[VT], **options: Unpack[TopicOptions]
    ) -> Topic[KT, VT]: ...
    @overload
    def topic(
        self, name: str, *, key: KeyCodec[KT], value: UnionType, **options: Unpack[TopicOptions]
    ) -> Topic[KT, Any]: ...
    @overload
    def topic(
        self, name: str, *, key: str | None = None, value: ValueClass[VT], **options: Unpack[TopicOptions]
    ) -> Topic[Any, VT]: ...
    @overload
    def topic(
        self, name: str, *, key: str | None = None, value: str | None = None, **options: Unpack[TopicOptions]
    ) -> Topic[Any, Any]: ...
    @overload
    def topic(
        self, name: str, *, key: str | None = None, value: TypeForm[VT], **options: Unpack[TopicOptions]
    ) -> Topic[Any, VT]: ...
    @overload
    def topic(
        self, name: str, *, key: str | None = None, value: UnionType, **options: Unpack[TopicOptions]
    ) -> Topic[Any, Any]: ...
    @abstractmethod
    def topic(
        self,
        name: str,
        *,
        key: Any = None,
        value: Any = None,
        partitions: int | None = None,
        partitioner: str | Partitioner | None = None,
        max_record_bytes: int | None = None,
        index: Index | None = None,
        duplicate_window: float | None = None,
        snapshot: object = None,
        upcasters: Upcasters | None = None,
        retention: float | None = None,
        retention_bytes: int | None = None,
        until_read_by: Iterable[str] | None = None,
        compression: Compression | None = None,
        compaction: Literal["key"] | None = None,
        compaction_lag: float | None = None,
        max_compaction_lag: float | None = None,
        tombstone_retention: float | None = None,
        min_dirty_ratio: float | None = None,
        repack_after: float | None = None,
    ) -> Topic[Any, Any]:
        """
        Open a topic, and create it if the log has none of that name.

        All options are stored with the topic. An option left out means the stored one, or the default if the topic is
        new; an option that differs from the stored one is an error.

        Args:
            name: 1 to 249 characters of `[A-Za-z0-9._-]` (Kafka's rule), not `.` or `..`.
            key: the codec of the keys: `bytes` (default), `str`, `int`, `float`, `bool`, `datetime`, `date`, `Decimal`,
                `UUID`, an `Enum`, "json", "msgpack", a class (attrs, dataclass, pydantic, msgspec, TypedDict,
                NamedTuple), or a `ValueCodec` of your own.
            value: the codec of the values, likewise, or several classes: a tuple, a list or a union.
            partitions: the number of partitions, 1 (default) to 100,000. Records of one key go to one partition.
            partitioner: "crc32" (default, as librdkafka), "murmur2" (as Kafka's Java client), or a function at the top
                of a module, which takes the key's bytes and the number of partitions.
            max_record_bytes: the most bytes of one record's key, value and headers (default 1 MiB, at most 1 GiB).
            index: "key" also keeps an index of the records of each key, numbered from 1, for `history`, `latest`,
                `version` and `expected_version`. Keys then have at most 480 bytes. None (default) keeps none.
            duplicate_window: the seconds for which a `message_id` is remembered at least (default 86,400: a day). Those
                of the newest 10,000 records of the log are remembered longer.
            snapshot: the codec of the states that `save_snapshot` stores, as `value` (default "msgpack").
            upcasters: for values of classes: for the stored name of a class, the functions that turn the fields of
                version 1 into those of version 2, and so on. They are not stored.
            retention: the seconds for which records are kept (None, the default: without end), by their timestamps.
            retention_bytes: the most bytes of batches that the topic keeps, over all partitions (None, the default: any
                number). The oldest go first.
            until_read_by: names of groups: records go when all of these groups have read them, and not before, unless
                `retention` or `retention_bytes` takes them.
                What these three delete goes batch by batch, in the background or by `clean()`, and is gone as after
                `Topic.delete_records`.
            compression: "zstd" or "lz4": batches are stored compressed, where that makes them an eighth smaller. It
                needs `pip install "eventlog[zstd]"` or `"eventlog[lz4]"`, wherever the topic is written or read. None
                (default) does not compress.
            compaction: "key" keeps the newest record of each key, by partition, and drops those before it in the
                background or by `clean()`. Every record needs a key. With `index="key"`, a history is what is left, and
                versions go on. None (default) keeps all.
            compaction_lag: the seconds for which a record is left alone, by its timestamp (default 0).
            max_compaction_lag: the seconds after which a record is compacted at the latest, by its timestamp, whatever
                `min_dirty_ratio` says. None (default) waits for that.
            tombstone_retention: the seconds for which a tombstone is kept after compaction has dropped the records
                before it (default 86,400: a day). A reader that is further behind may miss it.
            min_dirty_ratio: the share of the bytes of a partition that were stored since the last compaction from which
                on it is compacted again, 0 to 1 (default 0.5).
            repack_after: the seconds after which neighbouring small batches are merged, which drops nothing (None, the
                default: never).

        Raises:
            TopicMismatch: an option differs from the stored one. The topic is unchanged; the message names both.
            InvalidTopicName, ValueError, TypeError: an argument is wrong. Nothing was stored.
            MissingLibrary: the topic is new, and the library of its compression is missing. Nothing was stored.
            FormatTooOld: a log of format 3 has no compression, no compaction and no repacking. Nothing was stored.
            ImportError: a class was declared whose library is missing, as cattrs: `pip install "eventlog[cattrs]"`.
        """

    @abstractmethod
    def topics(self) -> list[str]:
        """The names of all topics, sorted."""

    @abstractmethod
    def delete_topic(self, name: str) -> None:
        """
        Delete a topic with its records and all its committed offsets.

        A later topic of that name begins empty. It finds room on a full volume, too.

        Raises:
            UnknownTopic: there is no such topic. Nothing was deleted.
        """

    # -- clients ---------------------------------------------------------------------------------------------

    @abstractmethod
    def producer(
        self,
        *,
        name: str | None = None,
        linger: float = 0.005,
        batch_bytes: int = TARGET_BYTES,
        max_buffered_bytes: int = 32 << 20,
        max_block: float = 60.0,
    ) -> Producer:
        """
        Make a producer, which sends without waiting for the disk.

        The options are described at `Producer`. With a name, the older producers of that name are fenced.

        Raises:
            StorageError: the producer has a name, which could not be stored.
            ValueError, TypeError: an option is out of its bounds.
        """

    @overload
    def consumer(self, topic: Topic[KT, VT], /, **options: Unpack[Consuming]) -> Consumer[KT, VT]: ...
    @overload
    def consumer(
        self, topic: Topic[K1, V1], other: Topic[K2, V2], /, **options: Unpack[Consuming]
    ) -> Consumer[K1 | K2, V1 | V2]: ...
    @overload
    def consumer(
        self, topic: Topic[K1, V1], other: Topic[K2, V2], third: Topic[K3, V3], /, **options: Unpack[Consuming]
    ) -> Consumer[K1 | K2 | K3, V1 | V2 | V3]: ...
    @overload
    def consumer(
        self,
        topic: Topic[K1, V1],
        other: Topic[K2, V2],
        third: Topic[K3, V3],
        fourth: Topic[K4, V4],
        /,
        **options: Unpack[Consuming],
    ) -> Consumer[K1 | K2 | K3 | K4, V1 | V2 | V3 | V4]: ...
    @overload
    def consumer(
        self,
        topic: Topic[K1, V1],
        other: Topic[K2, V2],
        third: Topic[K3, V3],
        fourth: Topic[K4, V4],
        fifth: Topic[K5, V5],
        /,
        **options: Unpack[Consuming],
    ) -> Consumer[K1 | K2 | K3 | K4 | K5, V1 | V2 | V3 | V4 | V5]: ...
    @overload
    def consumer(
        self,
        topic: Topic[K1, V1],
        other: Topic[K2, V2],
        third: Topic[K3, V3],
        fourth: Topic[K4, V4],
        fifth: Topic[K5, V5],
        sixth: Topic[K6, V6],
        /,
        **options: Unpack[Consuming],
    ) -> Consumer[K1 | K2 | K3 | K4 | K5 | K6, V1 | V2 | V3 | V4 | V5 | V6]: ...
    @overload
    def consumer(
        self, topic: Topic[KT, VT], other: Topic[KT, VT], /, *topics: Topic[KT, VT], **options: Unpack[Consuming]
    ) -> Consumer[KT, VT]: ...
    @overload
    def consumer(self, topic: TopicName, /, **options: Unpack[Consuming]) -> Consumer[Any, Any]: ...
    @overload
    def consumer(
        self, topic: _AnyTopic, other: _AnyTopic, /, *topics: _AnyTopic, **options: Unpack[Consuming]
    ) -> Consumer[Any, Any]: ...
    @overload
    def consumer(self, **options: Unpack[Consuming]) -> Consumer[Any, Any]: ...
    @abstractmethod
    def consumer(
        self,
        *topics: str | Topic[Any, Any] | re.Pattern[str],
        group: str | None = None,
        start: Start = "earliest",
        auto_commit: bool = True,
        auto_commit_interval: float = 1.0,
        max_poll_records: int = 500,
        fetch_max_bytes: int = 1 << 20,
        on_out_of_range: OnOutOfRange = "raise",
        assignor: str | api.Assignor = "sticky",
        instance_id: str | None = None,
        session_timeout: float = 10.0,
        max_poll_interval: float = 300.0,
        on_assigned: Callback | None = None,
        on_revoked: Callback | None = None,
        on_lost: Callback | None = None,
    ) -> Consumer[Any, Any]:
        """
        Make a consumer of some topics; with a group, it shares their partitions with the group's other members.

        The options are described at `Consumer`. A pattern stands for all topics whose whole name it matches, including
        later ones. Without topics, `assign()` chooses the partitions.

        Raises:
            UnknownTopic: the log has no such topic. Nothing was made.
            InstanceInUse, GroupMismatch: the group does not accept the member. Nothing was made.
            OffsetOutOfRange: `start` is an offset that a partition does not have.
            ValueError, TypeError: an option is out of its bounds.
        """

    @property
    @abstractmethod
    def groups(self) -> api.Groups:
        """The consumer groups of the log: to list, describe, reset and delete them."""

    @property
    def schedules(self) -> api.Schedules:
        """The records that are to be sent later: to list, move, cancel and send them."""
        raise self._lacks("schedules", "schedules")

    # -- care ------------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """
        Sync all commits to the disk; useful with durability "ordered".

        Blocks for a sync.

        Raises:
            StorageError: the disk failed. The log refuses writes until it is opened again.
        """
        raise self._lacks("sync()", "files")

    def verify(self, *, progress: Callable[[int], object] | None = None) -> api.VerifyReport:
        """
        Read and check everything stored: pages, batches, indexes, groups, offsets, states and projections.

        Blocks for as long as that takes; others may go on. Where pages are damaged it reads no row.

        Args:
            progress: called from time to time with the bytes checked so far.
        """
        raise self._lacks("verify()", "files")

    def clean(self, budget: float | None = None) -> api.CleanReport:
        """
        Delete now what the retention of no topic keeps; what was deleted is durable when it returns.

        Processes that have a topic with a retention open do this in the background; call it to do it at once, or in a
        program that opens the log with `cleaner=False`. It holds up writers for some milliseconds at a time, and waits
        while another thread or process cleans.

        Args:
            budget: about how many seconds it may take; None, the default, deletes all that is to go.

        Raises:
            StorageError: the disk failed, or has no room even for that. What was deleted before stays deleted.

        Example:
            >>> with eventlog.open(":memory:", cleaner=False) as log:
            ...     views = log.topic("views", retention=0)
            ...     meta = views.append(b"tea", timestamp_ms=0)
            ...     report = log.clean()
            ...     report.record_count, views.bounds()
            (1, {0: (1, 1)})
        """
        raise self._lacks("clean()", "retention")

    def compact(self, destination: str | os.PathLike[str]) -> int:
        """
        Write a copy without free space into a new directory, and return its size in bytes.

        The file of a log never shrinks by itself: deleted space is reused. To shrink it, compact, close the log in
        every process, and put the copy in its place. Others may go on meanwhile. For backups there is `backup()`.

        Raises:
            ValueError: the destination exists and is not empty, or is inside of the log. It was left as it was.
            StorageError: the copy cannot be written. The log is unchanged, and there is no copy; call it again.
        """
        raise self._lacks("compact()", "files")

    # -- life ------------------------------------------------------------------------------------------------

    @abstractmethod
    def close(self) -> None:
        """
        Flush and close the log's producers, close its consumers, and close the directory.

        Calling it again does nothing. Threads in callbacks of consumers have 10 s, all together. In a signal handler
        that interrupts a call of the same thread it waits for nothing: it refuses new calls, and closes when the
        interrupted consumer's or processor's call ends, or else with the next call or `close()`.

        Raises:
            DeliveryError: as for `Producer.close`; everything is closed all the same.
            Exception: an `on_revoked` raised; everything is closed all the same.
        """
