"""
A log as users see it: the place of topics, and the maker of producers, consumers and transactions.

Knows nothing of how a backend keeps it.
"""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType, UnionType
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias, TypedDict, TypeVar, Unpack, overload
from uuid import UUID

from eventlog.api.consumer import Callback, Consumer
from eventlog.api.features import FEATURES, FrontDoor
from eventlog.api.groups import Groups
from eventlog.api.producer import Producer
from eventlog.api.topic import Topic
from eventlog.api.transaction import Function, OnFailure, Transaction
from eventlog.backend.maintenance import VerifyReport
from eventlog.batches.format import TARGET_BYTES
from eventlog.batches.partitioners import Partitioner
from eventlog.codecs import Upcasters
from eventlog.groups.assignors import Assignor
from eventlog.options import (
    DEFAULT_ATTEMPTS,
    DEFAULT_MAX_RECORDS,
    MAX_FOLDED_BYTES,
    MAX_FOLDED_RECORDS,
    MAX_TRANSACTION_BYTES,
    Index,
    Start,
)
from eventlog.records import Record, RecordBatch

if TYPE_CHECKING:  # types alone
    from pathlib import Path

    from eventlog.clients.projection.projection import Projection
    from eventlog.clients.state.view import StateView
    from eventlog.clients.transaction.processor import Processor

T = TypeVar("T")
KT = TypeVar("KT")
VT = TypeVar("VT")
_Class: TypeAlias = type[VT] | tuple[type[VT], ...] | list[type[VT]]
_Untyped: TypeAlias = str | UnionType | None


class _Options(TypedDict, total=False):
    """The options of a topic that have no part in its type."""

    partitions: int | None
    partitioner: str | Partitioner | None
    max_record_bytes: int | None
    index: Index | None
    duplicate_window: float | None
    snapshot: object
    upcasters: Upcasters | None


class EventLog(FrontDoor):
    """
    An open log: the place of topics, and the maker of producers, consumers and transactions.

    Any number of threads, `EventLog` objects and processes may use one log at once. Any thread may call anything.
    After a fork the child's first use opens the log again; producers and consumers made before the fork stay the
    parent's.

    Get one from `eventlog.open()`.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     orders = log.topic("orders", partitions=4)
        ...     log.topics()
        ['orders']
    """

    __slots__ = ()
    _features: ClassVar[frozenset[str]] = frozenset()

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
        * "fileno": `Consumer.fileno` and `max_wait`: a descriptor for the event loop of a program. Without
          it, call `poll(0)` every few milliseconds, or `poll(timeout)` in a thread. Some file systems lack
          it too: `fileno()` says so.
        * "files": `sync`, `verify` and `compact`: the log is files of this machine. Without it, they are
          the affair of those who run the servers.

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
    def path(self) -> Path:
        """The directory."""

    @property
    @abstractmethod
    def durability(self) -> str:
        """What an acknowledged record survives: "commit", "ordered", or "memory"."""

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
    def topic(self, name: str, *, key: type[KT], value: _Class[VT], **options: Unpack[_Options]) -> Topic[KT, VT]: ...
    @overload
    def topic(
        self, name: str, *, key: type[KT], value: _Untyped = None, **options: Unpack[_Options]
    ) -> Topic[KT, Any]: ...
    @overload
    def topic(
        self, name: str, *, key: _Untyped = None, value: _Class[VT], **options: Unpack[_Options]
    ) -> Topic[Any, VT]: ...
    @overload
    def topic(
        self, name: str, *, key: _Untyped = None, value: _Untyped = None, **options: Unpack[_Options]
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
    ) -> Topic[Any, Any]:
        """
        Open a topic, and create it when the log has none of that name.

        All options are stored with the topic. An option that is not given means what is stored, or the default
        when the topic is new; one that differs from what is stored is an error.

        Args:
            name: 1 to 249 characters of `[A-Za-z0-9._-]` (Kafka's rule), not `.` or `..`.
            key: the codec of the keys: `bytes` (default), `str`, `int`, "json", "msgpack" or an attrs class.
            value: the codec of the values, likewise.
            partitions: how many, 1 (default) to 100,000. Records of one key go to one partition.
            partitioner: "crc32" (default, as librdkafka), "murmur2" (as Kafka's Java client), or a function of a
                module, of the key's bytes and the number of partitions.
            max_record_bytes: bound of one record's key, value and headers (default 1 MiB, most 1 GiB).
            index: "key" keeps the records of each key together as well, numbered from 1: for `history`, `latest`,
                `version` and `expected_version`. Keys have at most 480 bytes then. None (default) does not.
            duplicate_window: for how many seconds a `message_id` is remembered (default 86,400: a day).
            snapshot: the codec of the states that `save_snapshot` keeps, as `value` (default "msgpack").
            upcasters: for the stored name of an event class, the functions that turn the fields of version 1 into
                those of version 2, and so on; not stored. For values of several classes.

        Raises:
            TopicMismatch: if the stored topic differs. It is unchanged; the message names both.
            InvalidTopicName, ValueError, TypeError: for what cannot be. Nothing was stored.
            ImportError: for an attrs class without cattrs: `pip install "eventlog[cattrs]"`.
        """

    @abstractmethod
    def topics(self) -> list[str]:
        """The names of all topics, sorted."""

    @abstractmethod
    def delete_topic(self, name: str) -> None:
        """
        Delete a topic with its records and all committed offsets of it.

        A later topic of that name begins empty.

        Raises:
            UnknownTopic: if there is none. Nothing was deleted.
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
        A producer: sends without waiting for the disk.

        The options are described at `Producer`. With a name, the older producers of that name are fenced.

        Raises:
            StorageError: if the producer has a name and that could not be stored.
            ValueError, TypeError: for an option out of its bounds.
        """

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
        assignor: str | Assignor = "sticky",
        instance_id: str | None = None,
        session_timeout: float = 10.0,
        max_poll_interval: float = 300.0,
        on_assigned: Callback | None = None,
        on_revoked: Callback | None = None,
        on_lost: Callback | None = None,
    ) -> Consumer[Any, Any]:
        """
        A consumer of some topics: with a group, it shares their partitions with the group's other members.

        The options are described at `Consumer`. A pattern stands for all topics whose whole name it matches, later
        ones too. Without topics, `assign()` says what to read.

        Raises:
            UnknownTopic: if the log has no such topic. Nothing was made.
            InstanceInUse, GroupMismatch: if the group does not take it as a member. Nothing was made.
            OffsetOutOfRange: if `start` is an offset that a partition does not have.
            ValueError, TypeError: for an option out of its bounds.
        """

    @property
    @abstractmethod
    def groups(self) -> Groups:
        """The consumer groups: which there are, where they stand, and how to put them elsewhere."""

    @abstractmethod
    def transaction(self, *, max_bytes: int = MAX_TRANSACTION_BYTES) -> Transaction:
        """
        A transaction: records, offsets and state, stored in one commit or not at all.

        What it promises is described at `Transaction`.

        Args:
            max_bytes: bound of what it holds in memory until the commit (default 64 MiB): records, rows of state,
                and what it read of them. Beyond it, `TransactionTooLarge`.

        Raises:
            ValueError, TypeError: for an option out of its bounds.
        """

    @abstractmethod
    def transact(
        self, function: Callable[[Transaction], T], *, attempts: int = 10, max_bytes: int = MAX_TRANSACTION_BYTES
    ) -> T:
        """
        Call a function with a transaction and commit it; if others were faster, do it again with another one.

        That is so after a `ConflictError`, when something that it read was changed, and after a `WrongVersion`, when
        a key has records that it did not know of. It waits between two attempts, longer each time, and for a random
        time.

        Args:
            function: is given the transaction. It may be called several times, so it should change nothing but the
                transaction, and read again what it decides by.
            attempts: the most calls (default 10).
            max_bytes: as for `transaction()`.

        Returns:
            What the function returned in the attempt that was stored.

        Raises:
            ConflictError, WrongVersion: if the last attempt was refused too. Nothing was stored.
            Exception: what the function raises, or a commit for another reason. Nothing was stored.

        Example:
            >>> def deposit(tx: eventlog.Transaction) -> int:
            ...     balances = tx.state("balances")
            ...     balances["alice"] = balance = balances.get("alice", 0) + 5
            ...     return balance
            >>> with eventlog.open(":memory:") as log:
            ...     log.transact(deposit), log.transact(deposit)
            (5, 10)
        """

    @abstractmethod
    def processor(
        self,
        *topics: str | Topic[Any, Any] | re.Pattern[str],
        function: Function,
        group: str,
        start: Start = "earliest",
        max_records: int = DEFAULT_MAX_RECORDS,
        attempts: int = DEFAULT_ATTEMPTS,
        on_failure: OnFailure | None = None,
        max_bytes: int = MAX_TRANSACTION_BYTES,
        assignor: str | Assignor = "sticky",
        instance_id: str | None = None,
        session_timeout: float = 10.0,
        max_poll_interval: float = 300.0,
    ) -> Processor:
        """
        A processor: calls a function for each record of some topics, exactly once in effect.

        What it promises is described at `Processor`. Make several, in threads or processes, to share the work.

        Args:
            topics: names, `Topic`s, or patterns, as for `consumer()`; at least one.
            function: is given a transaction and a record. It sends and writes with the transaction, and does not end
                it. It may be called again for the same record, so it should change nothing else.
            group: keeps the positions under this name, and shares the partitions with its other members.
            start: where to begin when the group has no committed offset, as for `consumer()` (default "earliest").
            max_records: the most records in one transaction (default 100). More of them cost fewer syncs; a failure
                repeats more, and `max_poll_interval` has to be enough for all.
            attempts: how often a record is tried before it is given up (default 5).
            on_failure: is given another transaction, the record and its last exception when it is given up, and the
                processor goes on behind it: to send it to a topic of dead letters, say. Without it (default) the
                exception is raised.
            max_bytes: as for `transaction()`.
            assignor, instance_id, session_timeout, max_poll_interval: as for `consumer()`.

        Raises:
            UnknownTopic, InstanceInUse, GroupMismatch, OffsetOutOfRange: as `consumer()`. Nothing was made.
            ValueError, TypeError: for an option out of its bounds. Nothing was made.
        """

    # -- states and projections ------------------------------------------------------------------------------

    @overload
    def state(self, name: str, *, key: type[KT], value: type[VT]) -> StateView[KT, VT]: ...
    @overload
    def state(self, name: str, *, key: type[KT], value: object = None) -> StateView[KT, Any]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: type[VT]) -> StateView[Any, VT]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: object = None) -> StateView[Any, Any]: ...
    def state(self, name: str, *, key: Any = None, value: Any = None) -> StateView[Any, Any]:
        """
        Read a state that transactions have written: the newest commit at each call.

        Args:
            name: the state's name.
            key: the type of its keys, as for `Transaction.state`; None takes what is stored.
            value: the codec of its values, likewise.

        Raises:
            UnknownState: if the log has none of that name.
            StateMismatch: if it is stored with other codecs.
        """
        raise self._lacks("state()", "states")

    def states(self) -> list[str]:
        """The names of all states, sorted."""
        raise self._lacks("states()", "states")

    def delete_state(self, name: str) -> None:
        """
        Delete a state with all its rows.

        Transactions that use it and are not committed yet get `UnknownState`.

        Raises:
            UnknownState: if there is none. Nothing was deleted.
        """
        raise self._lacks("delete_state()", "states")

    def projection(
        self,
        name: str,
        function: object = None,
        *,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        key: Any = None,
        value: Any = None,
        max_records: int = MAX_FOLDED_RECORDS,
        max_bytes: int = MAX_FOLDED_BYTES,
    ) -> Projection:
        """
        A projection: a function that folds the records of the log into a state.

        It is made when the log has none of that name, at once. What it promises is described at `Projection`.

        Args:
            name: 1 to 249 bytes of printable characters. No name of a state: both may have the same.
            function: is called as `function(state, record)` for each record in the order of the log; or an object
                with `apply(state, record)`, or a class of such, which is instantiated now. None (default) opens a
                projection that is there, to read it and to wait for it.
            topics: folds the records of these alone; they need not be there yet. None (default) folds all.
            key: the type of the state's keys, as for `Transaction.state`.
            value: the codec of its values, likewise.
            max_records: the most records of one transaction (default 1,000,000). One ends also after a second, and
                at the end of the log.
            max_bytes: a transaction ends when the rows that it changes take so much memory (default 32 MiB).

        Raises:
            UnknownProjection: if there is none of that name, and no function. Nothing was stored.
            ValueError, TypeError, InvalidTopicName: for what cannot be. Nothing was stored.
        """
        raise self._lacks("projection()", "projections")

    def projections(self) -> list[str]:
        """The names of all projections, sorted."""
        raise self._lacks("projections()", "projections")

    def delete_projection(self, name: str) -> None:
        """
        Delete a projection with its state.

        Whoever runs, reads or waits for it gets `UnknownProjection`.

        Raises:
            UnknownProjection: if there is none. Nothing was deleted.
        """
        raise self._lacks("delete_projection()", "projections")

    # -- the order of the whole log --------------------------------------------------------------------------

    def end_log_position(self) -> int:
        """
        The log position that the next record will get: how many records were ever stored, over all topics.

        Only durable records count: to wait for it is to wait for everything that was acknowledged before the call.
        """
        raise self._lacks("end_log_position()", "log_order")

    def read_all(
        self,
        start: int = 0,
        *,
        end: int | None = None,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        max_records: int | None = None,
    ) -> Iterator[tuple[int, Record[Any, Any]]]:
        """
        Read the log in the order in which it was stored, over all topics and partitions, and end where it ends.

        Positions are dense and never change, so a reader that goes on behind the last one it saw misses nothing and
        sees nothing twice. What was deleted is passed by. Nothing is kept open between records.

        Args:
            start: the first log position.
            end: the log position to stop before; None is where the log ends at the call.
            topics: reads the records of these alone.
            max_records: the most records to read, None for all.

        Returns:
            Pairs of a log position and its record.

        Raises:
            ValueError, TypeError, InvalidTopicName: at the call, for what their names say.
            CorruptBatch, DecodeError: at the record that cannot be read.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     for name in ("orders", "payments", "orders"):
            ...         meta = log.topic(name).append(b"new")
            ...     [(log_position, record.topic) for log_position, record in log.read_all(start=1)]
            [(1, 'payments'), (2, 'orders')]
        """
        raise self._lacks("read_all()", "log_order")

    def read_all_batches(
        self,
        start: int = 0,
        *,
        end: int | None = None,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        max_records: int | None = None,
    ) -> Iterator[tuple[int, RecordBatch[Any, Any]]]:
        """The same as `read_all`, in columns: batches, each with the log position of its first record."""
        raise self._lacks("read_all_batches()", "log_order")

    # -- care ------------------------------------------------------------------------------------------------

    def sync(self) -> None:
        """
        Force everything committed to the disk: of use with durability "ordered".

        Blocks for a sync.

        Raises:
            StorageError: if the disk failed. The log refuses writes until it is opened again.
        """
        raise self._lacks("sync()", "files")

    def verify(self, *, progress: Callable[[int], object] | None = None) -> VerifyReport:
        """
        Read and check every batch of every topic, every group, its members and its committed offsets.

        Blocks for as long as that takes; others may go on.

        Args:
            progress: called now and then with the bytes checked so far.
        """
        raise self._lacks("verify()", "files")

    def compact(self, destination: str | os.PathLike[str]) -> int:
        """
        Write a copy without free space into a new directory, and return its size in bytes.

        A log's file never shrinks by itself: deleted space is used again. To shrink it, compact, close the log in
        every process, and put the copy in its place. Also a consistent backup. Others may go on meanwhile.

        Raises:
            ValueError: if the destination is there and not empty. It was left as it was.
            StorageError: if the copy cannot be written. The log is unchanged.
        """
        raise self._lacks("compact()", "files")

    # -- life ------------------------------------------------------------------------------------------------

    @abstractmethod
    def close(self) -> None:
        """
        Flush and close the producers, and close the consumers and the log.

        Calling it again does nothing.

        Raises:
            DeliveryError: as `Producer.close`; everything is closed all the same.
            Exception: what an `on_revoked` raised; likewise.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
