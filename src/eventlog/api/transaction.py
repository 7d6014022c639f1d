"""A transaction as users see it: records, offsets and states, stored together or not at all."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar, overload

from eventlog import api
from eventlog.api.consumer import Consumer, Offsets, ReadingOptions
from eventlog.api.features import FrontDoor
from eventlog.api.producer import Delivery
from eventlog.api.topic import Topic
from eventlog.codecs.base import ValueCodec
from eventlog.options import HeadersInput
from eventlog.records import Record

KT = TypeVar("KT")
VT = TypeVar("VT")


class Processing(ReadingOptions, total=False):
    """The options of a processor alone."""

    max_records: int
    attempts: int
    on_failure: OnFailure | None
    retry_pause: float
    max_retry_pause: float
    retry_jitter: float
    max_bytes: int


class Transaction(FrontDoor):
    """
    Records, offsets and changes of state that are stored in one commit: all or nothing.

    Get one from `EventLog.transaction()`. A `with` block commits at its end; an exception aborts the transaction and
    goes on. Until the commit nobody else sees anything of it, and nothing is locked: any number of transactions may be
    open, in threads and processes. The commit is durable when it returns (as the log's `durability` says), and
    everything in it becomes visible at once.

    A transaction is serializable in what it reads of its states: if somebody else changed that meanwhile, the commit
    raises `ConflictError` and stores nothing. `EventLog.transact()` then runs it again.

    One transaction belongs to one thread at a time, and to the process that began it. After an interruption (Ctrl-C)
    inside `commit()` it may be stored or not; read the log to find out. Nothing of it is stored later.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     orders = log.topic("orders", key=str)
        ...     with log.transaction() as tx:
        ...         delivery = tx.send("orders", b"tea", key="alice")
        ...         totals = tx.state("totals")
        ...         totals["alice"] = totals.get("alice", 0) + 1
        ...     delivery.result().offset, log.state("totals")["alice"]
        (0, 1)
    """

    __slots__ = ()

    @property
    @abstractmethod
    def is_ended(self) -> bool:
        """Whether it was committed or aborted."""

    @overload
    def send(
        self,
        topic: Topic[KT, VT],
        value: VT | None = None,
        *,
        key: KT | None = None,
        headers: HeadersInput | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        expected_version: int | None = None,
        message_id: str | bytes | None = None,
    ) -> Delivery: ...
    @overload
    def send(
        self,
        topic: str,
        value: Any = None,
        *,
        key: Any = None,
        headers: HeadersInput | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        expected_version: int | None = None,
        message_id: str | bytes | None = None,
    ) -> Delivery: ...
    @abstractmethod
    def send(
        self,
        topic: str | Topic[Any, Any],
        value: Any = None,
        *,
        key: Any = None,
        headers: HeadersInput | None = None,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        expected_version: int | None = None,
        message_id: str | bytes | None = None,
    ) -> Delivery:
        """
        Add a record, which is stored when the transaction commits.

        Records of one partition are stored in the order of the calls. Does not block.

        Args:
            topic: a topic's name, or the `Topic` itself.
            value: None is a tombstone.
            key: decides the partition. Keyless records of one topic go to one partition.
            headers: a mapping or pairs of str and bytes.
            partition: overrides the partitioner.
            timestamp_ms: ms since 1970 UTC (default: now).
            expected_version: the version that the key must have, including records sent before in this transaction.
                For topics with an index.
            message_id: as for `Topic.append`.

        Returns:
            The promise of the record's place, which is known once the transaction has committed.

        Raises:
            TypeError, ValueError, RecordTooLarge, UnknownTopic, UnknownPartition: as for `Topic.append`. The record was
                not taken; the transaction is unchanged.
            TransactionTooLarge: there is no room for the record. It was not taken.
            TransactionEnded: the transaction has ended.
        """

    @overload
    def send_many(
        self,
        topic: Topic[KT, VT],
        values: Iterable[VT | None],
        *,
        keys: Iterable[KT | None] | None = None,
        headers: Iterable[HeadersInput | None] | None = None,
        partition: int | None = None,
        timestamps_ms: int | Iterable[int] | None = None,
    ) -> list[Delivery]: ...
    @overload
    def send_many(
        self,
        topic: str,
        values: Iterable[Any],
        *,
        keys: Iterable[Any] | None = None,
        headers: Iterable[HeadersInput | None] | None = None,
        partition: int | None = None,
        timestamps_ms: int | Iterable[int] | None = None,
    ) -> list[Delivery]: ...
    @abstractmethod
    def send_many(
        self,
        topic: str | Topic[Any, Any],
        values: Iterable[Any],
        *,
        keys: Iterable[Any] | None = None,
        headers: Iterable[HeadersInput | None] | None = None,
        partition: int | None = None,
        timestamps_ms: int | Iterable[int] | None = None,
    ) -> list[Delivery]:
        """
        Add records given in columns, in order, as if by one `send` each.

        Raises:
            ValueError: the columns differ in length. No record was taken.
            TypeError, RecordTooLarge, TransactionTooLarge: as `send`; the records before the refused one were taken.
        """

    @abstractmethod
    def commit_offsets(self, consumer: Consumer[Any, Any], offsets: Offsets | None = None) -> None:
        """
        Commit a consumer's offsets with the transaction: every record received so far is finished.

        `EventLog.transaction(consumer)` does this at the end of its block; call it to name offsets, or for a second
        consumer. From this call on the consumer commits nothing by itself, so that only transactions move its group;
        this makes consume, transform, produce exactly-once. A later call for the same consumer in the same transaction
        replaces the earlier one.

        If the transaction is aborted or fails, the group's offsets do not change. At its next `poll()` the consumer
        goes back to them, and all records since come again; until then another transaction may store
        them. An exception before this call takes nothing back: only `EventLog.transaction(consumer)` knows then that
        the consumer has a part in the transaction.

        Args:
            offsets: the next offset to read, for some partitions; all positions if left out.

        Raises:
            ValueError: the consumer has no group, or belongs to another log.
            ConflictError: the offsets would pass by records of a transaction that was not stored. Call `poll()`.
            TransactionEnded: the transaction has ended.

        The commit raises `MemberFenced` if the group has given one of the partitions to another member,
        `OffsetOutOfRange` if an offset is beyond the end of its partition, and `ValueError` if another transaction has
        committed all that the consumer received, and it was not asked for more since. Nothing is then stored.
        """

    @overload
    def state(self, name: str, *, key: type[KT], value: type[VT] | ValueCodec[VT]) -> api.State[KT, VT]: ...
    @overload
    def state(self, name: str, *, key: type[KT], value: object = None) -> api.State[KT, Any]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: type[VT] | ValueCodec[VT]) -> api.State[Any, VT]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: object = None) -> api.State[Any, Any]: ...

    def state(self, name: str, *, key: Any = None, value: Any = None) -> api.State[Any, Any]:
        """
        Open a mapping stored in the log; writes to it are stored with the transaction.

        The transaction sees its own writes. Everything it reads, including missing rows and scanned ranges, must be
        unchanged at the commit. If the log has no state of that name, it is created at once, even if the transaction
        fails; its rows are not.

        Args:
            name: 1 to 249 bytes of printable characters.
            key: the type of the keys: `str`, `bytes`, `int`, `tuple`, or None (default) for any of these. Rows are
                sorted by key.
            value: the codec of the values, as for a topic (default "msgpack").

        Raises:
            StateMismatch: the stored state has other codecs. It is unchanged.
            ValueError, TypeError: an argument is wrong. Nothing was stored.
            TransactionEnded: the transaction has ended.
        """
        raise self._lacks("state()", "states")

    @abstractmethod
    def commit(self) -> None:
        """
        Store everything in one commit; the transaction has then ended, even after an error.

        Blocks for one sync of the disk, which it shares with others that commit at the same time. An empty transaction
        stores nothing and takes no time; one that only read is checked without waiting for others.

        Raises:
            ConflictError: something that it read was changed meanwhile, or the records of its consumer come again
                because those before them were not stored. Nothing was stored.
            ValueError: another transaction has committed all that its consumer received. Nothing was stored.
            WrongVersion, MessageIdReused: a record must not be appended. Nothing was stored.
            MemberFenced: a partition has another owner by now. Nothing was stored.
            UnknownTopic, UnknownState: one was deleted. Nothing was stored.
            StorageError: the disk failed. Nothing was acknowledged; the log must be opened again.
            TransactionEnded: the transaction had ended before.
            UsedAfterFork: called in a child for a transaction of the parent. Nothing was stored; the parent can go on.
        """

    @abstractmethod
    def abort(self) -> None:
        """
        End the transaction without storing anything.

        Calling it again, or after a commit, does nothing.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.abort()
        elif not self.is_ended:
            self.commit()


Function: TypeAlias = Callable[[Transaction, Record[Any, Any]], object]
"""The function of a processor."""
OnFailure: TypeAlias = Callable[[Transaction, Record[Any, Any], Exception], object]
"""The function that a processor calls for a record that it gives up."""
