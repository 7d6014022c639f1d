"""
A transaction as users see it: records, offsets and states, all of them stored or none.

Knows nothing of how a backend makes a commit.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, overload

from eventlog.api.consumer import Consumer, Offsets
from eventlog.api.features import FrontDoor
from eventlog.api.producer import Delivery
from eventlog.api.topic import Topic
from eventlog.options import HeadersInput
from eventlog.records import Record

if TYPE_CHECKING:  # a type alone: a backend may have another implementation
    from eventlog.clients.state.state import State

KT = TypeVar("KT")
VT = TypeVar("VT")


class Transaction(FrontDoor):
    """
    Records, offsets and changes of state that are stored in one commit: all or nothing.

    Get one from `EventLog.transaction()`. As a `with` block it commits at the end, and is aborted by an exception,
    which goes on. Until then nothing of it is visible to anybody but itself, and nothing is locked: any number of
    transactions may be open, in threads and processes. The commit is durable when it returns (as the log's
    `durability` says), and everything in it becomes visible at once.

    A transaction is serializable in what it reads of its states: where somebody else has changed that meanwhile, the
    commit raises `ConflictError` and stores nothing. `EventLog.transact()` then does it again.

    One transaction belongs to one thread at a time, and to the process that began it. After an interruption (Ctrl-C)
    inside `commit()` it may have been stored or not; the log tells, and nothing of it is stored later.

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
        Take a record, which is stored when the transaction commits.

        Records of one partition are stored in the order of the calls. Does not block.

        Args:
            topic: a topic's name, or the `Topic` itself.
            value: None is a tombstone.
            key: decides the partition. Keyless records of one topic go to one partition.
            headers: a mapping or pairs of str and bytes.
            partition: overrides the partitioner.
            timestamp_ms: ms since 1970 UTC; now when not given.
            expected_version: how many records of this key there must be, those sent before in this transaction
                included. For topics with an index.
            message_id: as that of `Topic.append`.

        Returns:
            The promise of the record's place, kept once the transaction has committed.

        Raises:
            TypeError, ValueError, RecordTooLarge, UnknownTopic, UnknownPartition: as `Topic.append`. The record was
                not taken; the transaction is as it was.
            TransactionTooLarge: if there is no room for it. The record was not taken.
            TransactionEnded: if the transaction has ended.
        """

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
        Take records in columns, in order: the same as one `send` for each.

        Raises:
            ValueError: if the columns differ in length. No record was taken.
            TypeError, RecordTooLarge, TransactionTooLarge: as `send`; the records before the refused one were taken.
        """

    @abstractmethod
    def commit_offsets(self, consumer: Consumer[Any, Any], offsets: Offsets | None = None) -> None:
        """
        Store a consumer's position with the transaction: everything handed out to now is finished.

        From this call on the consumer commits nothing by itself, so that its group never stands where no transaction
        has put it: that makes consume, transform, produce exactly-once. A later call for the same consumer in the same
        transaction replaces the earlier one.

        If the transaction is aborted or refused, the group stays where it was, and the consumer goes on from where it
        is: do the work again in another transaction, or go back with `consumer.seek_to_committed()`.

        Args:
            offsets: the next offset to read, for some partitions; when not given, all positions.

        Raises:
            ValueError: if the consumer has no group, or is of another log.
            TransactionEnded: if the transaction has ended.

        At the commit `MemberFenced` is raised if the group has given one of the partitions away. Nothing was stored.
        """

    @overload
    def state(self, name: str, *, key: type[KT], value: type[VT]) -> State[KT, VT]: ...
    @overload
    def state(self, name: str, *, key: type[KT], value: object = None) -> State[KT, Any]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: type[VT]) -> State[Any, VT]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: object = None) -> State[Any, Any]: ...

    def state(self, name: str, *, key: Any = None, value: Any = None) -> State[Any, Any]:
        """
        A mapping that is kept in the log: what is written to it is stored with the transaction.

        The transaction sees its own writes. What it reads, missing rows and scanned ranges included, must be unchanged
        at the commit. The state is made when the log has none of that name, at once and whatever becomes of the
        transaction; its rows are not.

        Args:
            name: 1 to 249 bytes of printable characters.
            key: the type of the keys: `str`, `bytes`, `int`, `tuple`, or None (default) for any of these. Rows stand
                in the order of the keys.
            value: the codec of the values, as of a topic's (default "msgpack").

        Raises:
            StateMismatch: if the stored state has other codecs. It is unchanged.
            ValueError, TypeError: for what cannot be. Nothing was stored.
            TransactionEnded: if the transaction has ended.
        """
        raise self._lacks("state()", "states")

    @abstractmethod
    def commit(self) -> None:
        """
        Store everything in one commit; the transaction has ended afterwards, whatever is raised.

        Blocks for one sync of the disk, which it shares with others that commit at the same time. An empty
        transaction stores nothing and takes no time; one that only read is checked, and waits for nobody.

        Raises:
            ConflictError: if something that it read was changed meanwhile. Nothing was stored.
            WrongVersion, MessageIdReused: if a record may not be appended. Nothing was stored.
            MemberFenced: if a partition has another owner by now. Nothing was stored.
            UnknownTopic, UnknownState: if one was deleted. Nothing was stored.
            StorageError: if the disk failed. Nothing was acknowledged; the log must be opened again.
            TransactionEnded: if the transaction has ended before.
            UsedAfterFork: in a child, if the parent began it. Nothing was stored; the parent can go on.
        """

    @abstractmethod
    def abort(self) -> None:
        """
        End the transaction and store nothing.

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
"""The function of a processor for a record that is given up."""
