"""
A transaction as users see it: records, offsets and states, stored together or not at all.

And the methods of a log that make transactions, and the processors that work in them.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, Unpack, overload

from eventlog import api
from eventlog.api.consumer import Consumer, Offsets, ReadingOptions
from eventlog.api.features import FrontDoor
from eventlog.api.producer import Delivery
from eventlog.api.topic import Topic
from eventlog.codecs.base import ValueCodec
from eventlog.options import (
    DEFAULT_ATTEMPTS,
    DEFAULT_MAX_RECORDS,
    DEFAULT_MAX_RETRY_PAUSE,
    DEFAULT_RETRY_JITTER,
    DEFAULT_RETRY_PAUSE,
    MAX_TRANSACTION_BYTES,
    HeadersInput,
    OnOutOfRange,
    Start,
)
from eventlog.records import Record

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

    @overload
    def schedule(
        self,
        topic: Topic[KT, VT],
        value: VT | None = None,
        *,
        at: datetime | float | None = None,
        delay: float | None = None,
        key: KT | None = None,
        headers: HeadersInput | None = None,
        partition: int | None = None,
        message_id: str | bytes | None = None,
    ) -> api.Schedule[KT, VT]: ...
    @overload
    def schedule(
        self,
        topic: str,
        value: Any = None,
        *,
        at: datetime | float | None = None,
        delay: float | None = None,
        key: Any = None,
        headers: HeadersInput | None = None,
        partition: int | None = None,
        message_id: str | bytes | None = None,
    ) -> api.Schedule[Any, Any]: ...
    def schedule(
        self,
        topic: str | Topic[Any, Any],
        value: Any = None,
        *,
        at: datetime | float | None = None,
        delay: float | None = None,
        key: Any = None,
        headers: HeadersInput | None = None,
        partition: int | None = None,
        message_id: str | bytes | None = None,
    ) -> api.Schedule[Any, Any]:
        """
        Schedule a record with the transaction: it will be sent if all else is stored.

        The arguments and errors are those of `Topic.schedule`.

        Returns:
            The schedule, which is there from the commit on. Where its `message_id` was known before, it is the one of
            the first call, with the time of that.

        Raises:
            TransactionTooLarge: the transaction would exceed its `max_bytes`. It is as it was.
            TransactionEnded: the transaction has ended.

        The commit raises `MessageIdReused` if another record has the `message_id`. Nothing is then stored.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     orders, mails = log.topic("orders", value=str), log.topic("mails", value=str)
            ...     with log.transaction() as tx:
            ...         delivery = tx.send(orders, "tea")
            ...         schedule = tx.schedule(mails, "how was the tea?", delay=86_400.0)
            ...     log.schedules.get(schedule.id).value
            'how was the tea?'
        """
        raise self._lacks("schedule()", "schedules")

    def accept(self, job: api.Job[Any, Any]) -> None:
        """
        Accept a job of a queue with the transaction: it is done exactly when all else is stored.

        If the transaction is aborted or fails, the job is as it was: accept it again, release it, or let its `with`
        block do that.

        Raises:
            ValueError: the job was acknowledged before, or is of another log.
            TransactionEnded: the transaction has ended.
            NotSupported: the backend has no queues.

        The commit raises `LeaseLost` if the job is another worker's by then. Nothing is then stored.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     mails, sent = log.topic("mails", value=str), log.topic("sent", value=str)
            ...     meta = mails.append("hello")
            ...     with log.queue(mails, group="mailers") as queue:
            ...         for job in queue.poll(timeout=1.0):
            ...             with job, log.transaction() as tx:
            ...                 delivery = tx.send("sent", job.value)
            ...                 tx.accept(job)
            ...     job.state, len(list(sent.read()))
            ('accepted', 1)
        """
        raise self._lacks("accept()", "queues")

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
    def state(self, name: str, *, key: type[KT], value: str | None = None) -> api.State[KT, Any]: ...
    @overload
    def state(self, name: str, *, key: type[KT], value: TypeForm[VT]) -> api.State[KT, VT]: ...
    @overload
    def state(self, name: str, *, key: type[KT], value: object) -> api.State[KT, Any]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: type[VT] | ValueCodec[VT]) -> api.State[Any, VT]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: str | None = None) -> api.State[Any, Any]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: TypeForm[VT]) -> api.State[Any, VT]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: object) -> api.State[Any, Any]: ...

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


class LogTransactions(FrontDoor):
    """The methods of `EventLog` that make transactions and processors."""

    __slots__ = ()

    @abstractmethod
    def transaction(
        self, consumer: Consumer[Any, Any] | None = None, *, max_bytes: int = MAX_TRANSACTION_BYTES
    ) -> Transaction:
        """
        Begin a transaction: records, offsets and state, stored in one commit or not at all.

        Its promises are described at `Transaction`.

        Args:
            consumer: commits this consumer's offsets at its end: everything that it has handed out is finished. If the
                transaction is not stored, for whatever reason, the consumer goes back at its next `poll()`, and the
                records come again; a `for` loop does so too. A consumer is in one such transaction at a time.
            max_bytes: the most bytes that it holds in memory until the commit (default 64 MiB): records, rows of state,
                and the rows it has read. Beyond it, `TransactionTooLarge`.

        Raises:
            ValueError, TypeError: an option is wrong; or the consumer has no group, or is in another transaction.
        """

    @abstractmethod
    def transact(
        self,
        function: Callable[[Transaction], T],
        *,
        consumer: Consumer[Any, Any] | None = None,
        attempts: int = 10,
        max_bytes: int = MAX_TRANSACTION_BYTES,
    ) -> T:
        """
        Call a function with a transaction and commit it; call it again with a new transaction after a conflict.

        A conflict is a `ConflictError`, if something that it read was changed, or a `WrongVersion`, if a key has
        records that it did not know of. Waits between two attempts for a random time, longer each time.

        Args:
            function: called with the transaction, possibly several times. It should change nothing but the transaction,
                and read again everything on which it decides.
            consumer: as for `transaction()`. It goes back if no attempt was stored.
            attempts: the most calls (default 10).
            max_bytes: as for `transaction()`.

        Returns:
            The result of the function in the attempt that was stored.

        Raises:
            ConflictError, WrongVersion: the last attempt failed too. Nothing was stored.
            Exception: the function raised, or the commit failed for another reason. Nothing was stored.

        Example:
            >>> def deposit(tx: eventlog.Transaction) -> int:
            ...     balances = tx.state("balances")
            ...     balances["alice"] = balance = balances.get("alice", 0) + 5
            ...     return balance
            >>> with eventlog.open(":memory:") as log:
            ...     log.transact(deposit), log.transact(deposit)
            (5, 10)
        """

    @overload
    def processor(
        self,
        *topics: str | Topic[KT, VT] | re.Pattern[str],
        function: Callable[[Transaction, Record[KT, VT]], object],
        group: str,
        **options: Unpack[Processing],
    ) -> api.Processor: ...
    @overload
    def processor(
        self,
        topic: Topic[K1, V1],
        other: Topic[K2, V2],
        /,
        *,
        function: Callable[[Transaction, Record[K1 | K2, V1 | V2]], object],
        group: str,
        **options: Unpack[Processing],
    ) -> api.Processor: ...
    @overload
    def processor(
        self,
        topic: Topic[K1, V1],
        other: Topic[K2, V2],
        third: Topic[K3, V3],
        /,
        *,
        function: Callable[[Transaction, Record[K1 | K2 | K3, V1 | V2 | V3]], object],
        group: str,
        **options: Unpack[Processing],
    ) -> api.Processor: ...
    @overload
    def processor(
        self,
        topic: Topic[K1, V1],
        other: Topic[K2, V2],
        third: Topic[K3, V3],
        fourth: Topic[K4, V4],
        /,
        *,
        function: Callable[[Transaction, Record[K1 | K2 | K3 | K4, V1 | V2 | V3 | V4]], object],
        group: str,
        **options: Unpack[Processing],
    ) -> api.Processor: ...
    @overload
    def processor(
        self,
        topic: Topic[K1, V1],
        other: Topic[K2, V2],
        third: Topic[K3, V3],
        fourth: Topic[K4, V4],
        fifth: Topic[K5, V5],
        /,
        *,
        function: Callable[[Transaction, Record[K1 | K2 | K3 | K4 | K5, V1 | V2 | V3 | V4 | V5]], object],
        group: str,
        **options: Unpack[Processing],
    ) -> api.Processor: ...
    @overload
    def processor(
        self,
        topic: Topic[K1, V1],
        other: Topic[K2, V2],
        third: Topic[K3, V3],
        fourth: Topic[K4, V4],
        fifth: Topic[K5, V5],
        sixth: Topic[K6, V6],
        /,
        *,
        function: Callable[[Transaction, Record[K1 | K2 | K3 | K4 | K5 | K6, V1 | V2 | V3 | V4 | V5 | V6]], object],
        group: str,
        **options: Unpack[Processing],
    ) -> api.Processor: ...
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
        retry_pause: float = DEFAULT_RETRY_PAUSE,
        max_retry_pause: float = DEFAULT_MAX_RETRY_PAUSE,
        retry_jitter: float = DEFAULT_RETRY_JITTER,
        on_out_of_range: OnOutOfRange = "raise",
        max_bytes: int = MAX_TRANSACTION_BYTES,
        assignor: str | api.Assignor = "sticky",
        instance_id: str | None = None,
        session_timeout: float = 10.0,
        max_poll_interval: float = 300.0,
    ) -> api.Processor:
        """
        Make a processor, which calls a function for each record of some topics, with exactly-once effect.

        Its promises are described at `Processor`. Make several, in threads or processes, to share the work.

        Args:
            topics: names, `Topic`s, or patterns, as for `consumer()`; at least one.
            function: called with a transaction and a record. It sends and writes with the transaction, but must not end
                it. It may be called again for the same record, so it should change nothing else.
            group: the name under which offsets are committed; the partitions are shared with its other members.
            start: where to begin if the group has no committed offset, as for `consumer()` (default "earliest").
            max_records: the most records in one transaction (default 100). More records cost fewer syncs, but a failure
                repeats more.
            attempts: the number of attempts before a record is given up (default 5). Those that end the process count.
            on_failure: called for a record that is given up, with another transaction, the record and its last
                exception, for example to send it to a topic of dead letters; the processor then goes on after the
                record. Without it (default) the exception is raised. With a `DecodeError` key and value are bytes.
            retry_pause: seconds before the second attempt of a record (default 0.5); doubled before each further one.
            max_retry_pause: the longest pause, in seconds (default 30.0).
            retry_jitter: the share of each pause that is left to chance, from 0 to 1 (default 0.5), so that programs
                that failed together do not come back together.
            on_out_of_range: as for `consumer()`.
            max_bytes: as for `transaction()`.
            assignor, instance_id, session_timeout, max_poll_interval: as for `consumer()`.

        Raises:
            UnknownTopic, InstanceInUse, GroupMismatch, OffsetOutOfRange: as for `consumer()`. Nothing was made.
            ValueError, TypeError: an option is out of its bounds. Nothing was made.
        """
