"""
The transaction: records, offsets and state, stored in one commit or not at all.

It keeps everything in memory until it commits, so an open or failed one was never visible to anybody, and leaves no
trace: no markers in the log and no holes in the offsets. What it reads of states is compared at the commit with what
is stored then (`backend/states.py`). Knows nothing of how a commit is made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from eventlog.clients.consumer.consumer import Consumer
from eventlog.clients.consumer.positions import Offsets
from eventlog.clients.delivery import ROW_WIDTH, Delivery, deliveries
from eventlog.clients.state.state import State
from eventlog.clients.state.view import open_state
from eventlog.clients.topic.append import check_expected
from eventlog.clients.topic.topic import Topic
from eventlog.clients.topic_handle import TopicHandle
from eventlog.clients.transaction.deliveries import SentRecords
from eventlog.clients.transaction.records import TransactionRecords
from eventlog.errors import (
    ConflictError,
    EventLogError,
    TransactionEnded,
    TransactionTooLarge,
    UsedAfterFork,
    WrongVersion,
)
from eventlog.options import HeadersInput, check_columns, check_headers, check_message_id, check_timestamp_ms
from eventlog.store.records.transaction import CommitTransaction, Piece
from eventlog.store.states.commands import ApplyStateChanges
from eventlog.store.store import Store

if TYPE_CHECKING:  # only consumers of a group give offsets, and they import what groups need
    from eventlog.clients.consumer.offset_commits import GivenOffsets

T = TypeVar("T")
KT = TypeVar("KT")
VT = TypeVar("VT")

MAX_TRANSACTION_BYTES = 64 << 20
_FIRST_PAUSE_SECONDS = 0.0005
_LONGEST_PAUSE_SECONDS = 0.1
_ROW_BYTES = 256
"""What a record takes in memory beside its bytes, roughly; counted against `max_bytes`."""


class Transaction:
    """
    Collects records, offsets and changes of state, and stores them in one commit: all or nothing.

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

    def __init__(self, store: Store, open_topic: Callable[[str], Topic[Any, Any]], *, max_bytes: int) -> None:
        self._store = store
        self._open_topic = open_topic
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._now_ms = store.clock.now_ms
        self._routes: dict[object, tuple[TopicHandle, TopicHandle]] = {}
        """For what callers gave as a topic: the route that encodes, and the one by which records are placed."""
        self._sends = TransactionRecords()
        self._states: dict[str, State[Any, Any]] = {}
        self._declared: dict[str, tuple[object, object]] = {}
        """The key and the value with which a state was asked for last, and was found to have them."""
        self._offsets: dict[Consumer[Any, Any], GivenOffsets] = {}
        self._pieces: list[Piece] = []
        self._batch = SentRecords(self._sends)
        self._work: CommitTransaction | None = None
        self._end: str | None = None
        self._is_parents = False
        store.on_fork(self)

    @property
    def is_ended(self) -> bool:
        """Whether it was committed or aborted."""
        return self._end is not None

    # -- records ---------------------------------------------------------------------------------------------

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
        Takes a record, which is stored when the transaction commits.

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
        if self._end is not None:
            self._check()
        route, our_route = self._routes.get(topic) or self._learn_route(topic)
        value_bytes = route.value_codec.encode(value)
        key_bytes = route.key_codec.encode(key)
        pairs = check_headers(headers) if headers else ()
        size_bytes = route.check_size(key_bytes, value_bytes, pairs)
        moment_ms = self._now_ms() if timestamp_ms is None else check_timestamp_ms(timestamp_ms)
        if expected_version is not None:
            check_expected(route.row, expected_version, key_bytes)
        identity = None if message_id is None else check_message_id(message_id)
        if partition is not None:
            route.check_partition(partition)
        self._charge(size_bytes + _ROW_BYTES)
        number = self._sends.add(
            our_route, key_bytes, value_bytes, pairs, moment_ms, partition, expected_version, identity
        )
        return Delivery((self._batch, number * ROW_WIDTH))

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
        Takes records in columns, in order: the same as one `send` for each.

        Raises:
            ValueError: if the columns differ in length. No record was taken.
            TypeError, RecordTooLarge, TransactionTooLarge: as `send`; the records before the refused one were taken.
        """
        self._check()
        values, keys, headers, timestamps_ms = check_columns(values, keys, headers, timestamps_ms)
        routes = self._routes.get(topic) or self._learn_route(topic)
        moment_ms = self._now_ms() if timestamps_ms is None else timestamps_ms
        if headers is None and partition is None:
            first = self._take_columns(*routes, keys, values, moment_ms)
            if first is not None:
                return deliveries(self._batch, first, len(values))
        nothing = [None] * len(values)
        times = [moment_ms] * len(values) if isinstance(moment_ms, int) else moment_ms
        return [
            self.send(topic, value, key=key, headers=pairs, partition=partition, timestamp_ms=moment)
            for value, key, pairs, moment in zip(values, keys or nothing, headers or nothing, times, strict=True)
        ]

    def _take_columns(
        self,
        route: TopicHandle,
        our_route: TopicHandle,
        keys: Sequence[Any] | None,
        values: Sequence[Any],
        times: int | Sequence[int],
    ) -> int | None:
        """Takes all of some records, and gives the number of the first; or none, for `send` to say what is wrong."""
        try:
            encoded_values = route.encode_values(values)
            encoded_keys = [None] * len(values) if keys is None else route.encode_keys(keys)
            moments = [check_timestamp_ms(one) for one in ([times] if isinstance(times, int) else times)]
            size_bytes = route.size_together(None if keys is None else encoded_keys, encoded_values)
            self._charge(size_bytes + _ROW_BYTES * len(values))
        except (EventLogError, TypeError, ValueError):
            return None
        return self._sends.add_many(our_route, encoded_keys, encoded_values, moments)

    def _learn_route(self, topic: str | Topic[Any, Any]) -> tuple[TopicHandle, TopicHandle]:
        """Opens a topic, once for each transaction."""
        handle = self._open_topic(topic) if isinstance(topic, str) else topic
        if not isinstance(handle, Topic):
            raise TypeError(f"a topic is its name or a Topic, not {type(topic).__name__}. The record was not taken.")
        handle._check_store(self._store)
        found = self._routes[topic] = (handle._route, self._sends.route(handle._route))
        return found

    # -- offsets ---------------------------------------------------------------------------------------------

    def commit_offsets(self, consumer: Consumer[Any, Any], offsets: Offsets | None = None) -> None:
        """
        Stores a consumer's position with the transaction: everything handed out to now is finished.

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
        self._check()
        if not isinstance(consumer, Consumer):
            raise TypeError(f"commit_offsets takes a Consumer, not {type(consumer).__name__}. Nothing was changed.")
        self._offsets[consumer] = consumer._give_offsets(self._store, offsets)

    # -- state -----------------------------------------------------------------------------------------------

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
        self._check()
        known = self._states.get(name)
        if known is not None:
            declared = self._declared.get(name, (None, None))
            if (key is None and value is None) or (key is declared[0] and value is declared[1]):
                return known
        row, key_codec, value_codec = open_state(self._store, name, key, value)
        if known is None:
            known = self._states[name] = State(
                self._store, row, key_codec, value_codec, charge=self._charge, check=self._check
            )
        self._declared[name] = (key, value)
        return known

    # -- the end ---------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """
        Stores everything in one commit; the transaction has ended afterwards, whatever is raised.

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
        self._check()
        if self._store.committer.is_ours:
            raise RuntimeError(
                "cannot commit a transaction inside a commit of the same thread: a signal handler or a finalizer "
                "called us. Nothing was stored, and the transaction is as it was. Commit it outside."
            )
        self._end = "committed, or was about to be"
        try:
            self._store_all()
            self._end, self._batch.is_done = "committed", True
        except BaseException as error:
            self._end, is_interrupted = "refused", not isinstance(error, Exception)
            if is_interrupted:
                self._end = "interrupted, and may have been stored"
                if self._work is not None:
                    self._work.withdraw()
                error = TransactionEnded(self._message(self._end))
            self._batch.fail(error)
            for state in self._states.values():
                state._rolled_back()
            if not is_interrupted:  # else another thread may be storing it now: without its records it would be half
                self._let_go()
            raise
        for state in self._states.values():
            state._committed()
        for offsets in self._offsets.values():
            offsets.settle()
        self._batch.call_back()
        self._let_go()

    def _let_go(self) -> None:
        """Frees what only storing needs, and the circle of us and our states: deliveries may live for long."""
        self._sends.free()
        self._states, self._offsets, self._pieces = {}, {}, []

    def _store_all(self) -> None:
        pieces = [*self._pieces]
        commits = [offsets.commit for offsets in self._offsets.values() if offsets.commit is not None]
        pieces += [self._store.offsets_command(commit) for commit in commits]
        changes = [one for state in self._states.values() if (one := state._changes()).is_used]
        has_offsets = any(not offsets.is_empty for offsets in self._offsets.values())
        has_writes = bool(self._sends.count or self._pieces) or has_offsets or any(one.writes for one in changes)
        if not has_writes:
            if changes:
                self._store.check_state_changes(changes)
            return
        pieces += map(ApplyStateChanges, changes)
        while True:
            self._sends.place()
            self._work = work = CommitTransaction(
                self._sends.parts,
                self._sends.conditions(),
                pieces,
                self._store.clock.now_ms(),
                placed_topics=self._sends.placed_topics(),
            )
            try:
                self._store.run(work)
            except EventLogError:
                for offsets in self._offsets.values():
                    offsets.invalidate()
                raise
            self._sends.learn(work.newer)
            if not work.is_refused:
                return

    def abort(self) -> None:
        """
        Ends the transaction and stores nothing.

        Calling it again, or after a commit, does nothing.
        """
        if self._end is None:
            self._end = "aborted"
            self._batch.fail(TransactionEnded(self._message("aborted")))
            for state in self._states.values():
                state._rolled_back()
            self._let_go()

    def _check(self) -> None:
        if self._end is not None:
            if self._is_parents:
                raise UsedAfterFork(
                    "the transaction was begun before a fork and belongs to the parent. This call has changed nothing. "
                    "Begin another with log.transaction() in the child."
                )
            raise TransactionEnded(self._message(self._end))

    def _after_fork(self) -> None:
        """Ends the child's copy: what it holds is the parent's to store."""
        if self._end is None:
            self._end, self._is_parents = "left to the parent process", True
            self._batch.forget(TransactionEnded(self._message(self._end)))

    @staticmethod
    def _message(end: str) -> str:
        return f"the transaction was {end}. This call has changed nothing. Begin another with log.transaction()."

    def _charge(self, size_bytes: int) -> None:
        """Counts what is about to be held in memory; raises when there is no room for it."""
        if self._size_bytes + size_bytes > self._max_bytes:
            raise TransactionTooLarge(
                f"the transaction holds {self._size_bytes} bytes, and has no room for {size_bytes} more: its bound is "
                f"max_bytes={self._max_bytes}. What did not fit was not taken, and nothing is stored yet. Commit what "
                "it has and go on in another, or begin it with a larger max_bytes=."
            )
        self._size_bytes += size_bytes

    def _add(self, piece: Piece) -> None:
        """Has a piece of our own checked and stored with the transaction."""
        self._pieces.append(piece)

    def _adopt(self, name: str, state: State[Any, Any]) -> None:
        """Has the changes of a state stored that somebody else keeps from one transaction to the next."""
        self._states[name] = state

    def __enter__(self) -> Self:
        self._check()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.abort()
        elif self._end is None:
            self.commit()

    def __repr__(self) -> str:
        return f"<Transaction: {self._end or 'open'}, {self._sends.count} records, {self._size_bytes} bytes>"


def transact(begin: Callable[[], Transaction], function: Callable[[Transaction], T], attempts: int) -> T:
    """Calls a function with a transaction and commits it, up to so many times while others are faster."""
    for attempt in range(1, attempts + 1):
        try:
            with begin() as tx:
                result = function(tx)
            return result  # noqa: RET504 - inside the block it would come before the commit
        except (ConflictError, WrongVersion):
            if attempt == attempts:
                raise
            wait_a_little(attempt)
    raise AssertionError("there is at least one attempt")


def wait_a_little(attempt: int) -> None:
    """Sleeps before another attempt: longer each time, up to a tenth of a second, and nobody just as long as others."""
    import random  # here, since it loads OpenSSL, and few have conflicts

    longest_s = min(_FIRST_PAUSE_SECONDS * 2 ** min(attempt, 30), _LONGEST_PAUSE_SECONDS)
    time.sleep(random.uniform(0.0, longest_s))
