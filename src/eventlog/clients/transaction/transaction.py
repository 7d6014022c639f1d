"""
The transaction: records, offsets and state, stored in one commit or not at all.

It keeps everything in memory until it commits, so an open or failed one was never visible to anybody, and leaves no
trace: no markers in the log and no holes in the offsets. What it reads of states is compared at the commit with what
is stored then (`backend/states.py`). How a commit is made is the backend's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from eventlog import api
from eventlog.api.consumer import Consumer, Offsets
from eventlog.api.overriding import override
from eventlog.api.producer import Delivery
from eventlog.api.topic import Topic
from eventlog.api.transaction import Transaction
from eventlog.backend import Backend, refusal
from eventlog.backend.records import AppendReply, TransactionRequest
from eventlog.clients.consumer.consumer import EmbeddedConsumer
from eventlog.clients.delivery import ROW_WIDTH, EmbeddedDelivery, deliveries
from eventlog.clients.topic.columns import check_expected
from eventlog.clients.topic.topic import EmbeddedTopic
from eventlog.clients.topic_handle import TopicHandle
from eventlog.clients.transaction.deliveries import SentRecords
from eventlog.clients.transaction.lent import LentTransaction, refused_commit
from eventlog.clients.transaction.records import TransactionRecords
from eventlog.errors import (
    EventLogError,
    NestedCall,
    TransactionEnded,
    TransactionTooLarge,
    UsedAfterFork,
    WrongVersion,
)
from eventlog.interruptions import is_interruption, unless_interrupted
from eventlog.options import (
    PROCESSOR_PREFIX,
    RESPONDER_PREFIX,
    HeadersInput,
    check_columns,
    check_headers,
    check_int,
    check_message_id,
    check_timestamp_ms,
    records_of,
)

if TYPE_CHECKING:  # only consumers of a group give offsets, and they import what groups need
    from eventlog.backend.schedules import NewSchedule
    from eventlog.backend.states import StateChanges, StateRows, StoredState
    from eventlog.clients.consumer.given_offsets import GivenOffsets
    from eventlog.clients.state.state import State
    from eventlog.clients.transaction.jobs import AcceptedJobs
    from eventlog.codecs import Codec
    from eventlog.codecs.ordered import OrderedCodec

KT = TypeVar("KT")
VT = TypeVar("VT")

_ROW_BYTES = 256
"""What a record takes in memory beside its bytes, roughly; counted against `max_bytes`."""
_new = tuple.__new__
"""A named tuple without its constructor, which takes three times as long."""


@cache
def _states() -> tuple[type[State[Any, Any]], Callable[..., tuple[StoredState, OrderedCodec[Any], Codec[Any]]]]:
    """What makes a state; imported with the first, and kept: an import that is done takes a microsecond each time."""
    from eventlog.clients.state.state import State
    from eventlog.clients.state.view import open_state

    return State, open_state


class EmbeddedTransaction(Transaction):
    """The embedded transaction: see `eventlog.Transaction`."""

    _is_parents = False

    def __init__(
        self,
        backend: Backend,
        open_topic: Callable[[str], EmbeddedTopic[Any, Any]],
        *,
        max_bytes: int,
        consumer: Consumer[Any, Any] | None = None,
    ) -> None:
        if type(max_bytes) is not int or max_bytes < 1:  # small transactions are counted: no call for what is right
            check_int("max_bytes", max_bytes, least=1)
        if backend.is_read_only:
            raise refusal("begin a transaction", backend)
        self._backend = backend
        self._open_topic = open_topic
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._now_ms = backend.clock.now_ms
        self._routes: dict[object, tuple[TopicHandle, TopicHandle]] = {}
        """For what callers gave as a topic: the route that encodes, and the one by which records are placed."""
        self._sends = TransactionRecords()
        self._states: dict[str, State[Any, Any]] = {}
        self._state_rows: StateRows = backend
        """What opens states; it may leave it to the commit to make those that are new."""
        self._unmade: list[State[Any, Any]] = []
        self._declared: dict[str, tuple[object, object]] = {}
        """The key and the value with which a state was asked for last, and was found to have them."""
        self._offsets: dict[EmbeddedConsumer[Any, Any], GivenOffsets] = {}
        self._schedules: list[NewSchedule] = []
        self._jobs: AcceptedJobs | None = None
        """The jobs that it accepts, if there are any."""
        self._batch = SentRecords(self._sends)
        self._end: str | None = None
        backend.on_fork(self)
        if consumer is not None:
            checked = _checked_consumer("transaction", consumer)
            self._offsets[checked] = checked._join_transaction(backend, self)

    @property
    @override
    def is_ended(self) -> bool:
        return self._end is not None

    # -- records ---------------------------------------------------------------------------------------------

    @override
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
        return EmbeddedDelivery((self._batch, number * ROW_WIDTH))

    @override
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
        self._check()
        values, keys, headers, timestamps_ms = check_columns(values, keys, headers, timestamps_ms)
        routes = self._routes.get(topic) or self._learn_route(topic)
        moment_ms = self._now_ms() if timestamps_ms is None else timestamps_ms
        if headers is None and partition is None:
            first = self._take_columns(*routes, keys, values, moment_ms)
            if first is not None:
                return deliveries(self._batch, first, len(values))
        return [
            self.send(topic, value, key=key, headers=pairs, partition=partition, timestamp_ms=moment)
            for value, key, pairs, moment in records_of(values, keys, headers, moment_ms)
        ]

    def _take_columns(
        self,
        route: TopicHandle,
        our_route: TopicHandle,
        keys: Sequence[Any] | None,
        values: Sequence[Any],
        times: int | Sequence[int],
    ) -> int | None:
        """Take all of some records, and return the number of the first; or none, for `send` to say what is wrong."""
        try:
            encoded_values = route.encode_values(values)
            encoded_keys = [None] * len(values) if keys is None else route.encode_keys(keys)
            moments = [check_timestamp_ms(one) for one in ([times] if isinstance(times, int) else times)]
            size_bytes = route.size_together(None if keys is None else encoded_keys, encoded_values)
            self._charge(size_bytes + _ROW_BYTES * len(values))
        except unless_interrupted(EventLogError, TypeError, ValueError):
            return None
        return self._sends.add_many(our_route, encoded_keys, encoded_values, moments)

    def _learn_route(self, topic: str | Topic[Any, Any]) -> tuple[TopicHandle, TopicHandle]:
        """Open a topic, once for each transaction."""
        handle = self._open_topic(topic) if isinstance(topic, str) else topic
        if not isinstance(handle, EmbeddedTopic):
            raise TypeError(f"a topic is its name or a Topic, not {type(topic).__name__}. The record was not taken.")
        handle._check_store(self._backend)
        found = self._routes[topic] = (handle._route, self._sends.route(handle._route))
        return found

    @override
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
        self._check()
        from eventlog.clients.topic.scheduling import as_stored, decoded, new_schedule  # few programs schedule

        route = (self._routes.get(topic) or self._learn_route(topic))[0]
        new = new_schedule(
            route,
            self._backend.clock,
            value,
            at=at,
            delay=delay,
            key=key,
            headers=headers,
            partition=partition,
            message_id=message_id,
        )
        self._charge(len(new.key or b"") + len(new.value or b"") + _ROW_BYTES)
        self._schedules.append(new)
        return decoded(route, as_stored(new))

    # -- offsets ---------------------------------------------------------------------------------------------

    @override
    def commit_offsets(self, consumer: Consumer[Any, Any], offsets: Offsets | None = None) -> None:
        self._check()
        checked = _checked_consumer("commit_offsets", consumer)
        self._offsets[checked] = checked._give_offsets(self._backend, offsets, self._offsets.get(checked))

    @override
    def accept(self, job: api.Job[Any, Any]) -> None:
        self._check()
        if self._jobs is None:
            from eventlog.clients.transaction.jobs import AcceptedJobs  # few programs have queues

            self._jobs = AcceptedJobs(self._backend)
        self._jobs.add(job)

    # -- state -----------------------------------------------------------------------------------------------

    @override
    def state(self, name: str, *, key: Any = None, value: Any = None) -> api.State[Any, Any]:
        self._check()
        known = self._states.get(name)
        if known is not None:
            declared = self._declared.get(name, (None, None))
            if (key is None and value is None) or (key is declared[0] and value is declared[1]):
                return known
        opened = _states()[1](self._state_rows, name, key, value)
        if known is None:
            known = self._states[name] = self._new_state(*opened)
        self._declared[name] = (key, value)
        return known

    def _new_state(self, row: StoredState, key: OrderedCodec[Any], value: Codec[Any]) -> api.State[Any, Any]:
        if row.id >= 0:
            return _states()[0](self._backend, row, key, value, charge=self._charge, check=self._check)
        unmade = _states()[0](self._state_rows, row, key, value, charge=self._charge, check=self._check)
        self._unmade.append(unmade)
        return unmade

    def _make_states_at_commit(self) -> None:
        """Have new states made by the commit, and not where they are opened, which may then be in an event loop."""
        if self._state_rows is self._backend:
            from eventlog.clients.state.unmade import UnmadeStates

            self._state_rows = UnmadeStates(self._backend)

    def _make_states(self) -> None:
        """Make the states that are new, and what schedules need; blocks for a commit if there is anything."""
        while self._unmade:
            self._unmade[-1]._make(self._backend)
            self._unmade.pop()
        if self._schedules:
            self._backend.schedules().prepare()

    # -- the end ---------------------------------------------------------------------------------------------

    @override
    def commit(self) -> None:
        self._begin_commit()
        try:
            if self._unmade or self._schedules:
                self._make_states()
            pieces = self._pieces()
            while pieces is not None and not self._note_reply(self._stored(self._request(pieces))):
                pass
            self._note_committed()
        except BaseException as error:
            self._note_failure(error)
            raise
        self._settle()

    def _begin_commit(self) -> None:
        """Take nothing more; another driver of a commit does the same steps as `commit`."""
        self._check()
        if self._backend.is_interrupted_commit:
            raise NestedCall(
                "cannot commit a transaction inside a commit of the same thread: a signal handler or a finalizer "
                "called us.",
                stored="Nothing was stored, and the transaction is as it was.",
                advice="Commit it outside.",
            )
        self._end = "committed, or was about to be"

    def _stored(self, request: TransactionRequest) -> AppendReply:
        try:
            return self._backend.commit_transaction(request)
        except unless_interrupted(EventLogError) as error:
            raise self._refused(error)  # noqa: B904 - it is the same error, or says that it comes from none

    def _note_committed(self) -> None:
        self._end, self._batch.is_done = "committed", True

    def _note_failure(self, error: BaseException) -> None:
        """Note that nothing was stored, or after an interruption, that nobody knows."""
        self._end, is_interrupted = "refused", is_interruption(error)
        if is_interrupted:
            self._end = "interrupted, and may have been stored"
            error = _ended(self._end)
        self._batch.fail(error)
        for state in self._states.values():
            state._rolled_back()
        for offsets in self._offsets.values():
            offsets.fail()
        if self._jobs is not None:
            self._jobs.fail()
        if not is_interrupted:  # else another thread may be storing it now: without its records it would be half
            self._let_go()

    def _free_states(self) -> None:
        """Free the rows of all states, which nobody will read or store any more."""
        for state in self._states.values():
            state._committed()

    def _settle(self) -> None:
        """Have everybody who is concerned know that it is stored."""
        for state in self._states.values():
            state._committed()
        for offsets in self._offsets.values():
            offsets.settle()
        self._batch.call_back()
        if self._schedules:
            self._backend.schedules().notice()
        self._let_go()

    def _let_go(self) -> None:
        """Free what only storing needs, and the circle of us and our states: deliveries may live for long."""
        self._sends.free()
        self._states, self._offsets, self._unmade, self._jobs = {}, {}, [], None
        self._schedules = []

    def _pieces(self) -> list[object] | None:
        """The offsets and the changes of states that are to be stored; None when there is nothing to store at all."""
        pieces: list[object] = []
        has_writes = self._sends.count > 0
        for consumer, offsets in self._offsets.items():
            if offsets.is_due:
                consumer._give_offsets(self._backend, None, offsets)
            if offsets.commit is not None:
                pieces.append(offsets.commit)
            has_writes = has_writes or not offsets.is_empty
        if self._jobs is not None:
            pieces += self._jobs.pieces()
            has_writes = True
        if self._schedules:
            from eventlog.backend.schedules import SchedulePiece

            pieces.append(SchedulePiece(self._schedules))
            has_writes = True
        changes: list[StateChanges] = []
        for state in self._states.values():
            one = state._changes()
            _, reads, scans, writes = one
            if reads or scans or writes:
                changes.append(one)
                has_writes = has_writes or bool(writes)
        if has_writes:
            self._check_repeated()
        else:
            if changes:
                self._backend.check_state_changes(changes)
            return None
        return pieces + changes

    def _prepared(self) -> tuple[list[object], TransactionRequest | None]:
        """The pieces and the request; no request when there is nothing to store."""
        pieces = self._pieces()
        return ([], None) if pieces is None else (pieces, self._request(pieces))

    def _request(self, pieces: list[object]) -> TransactionRequest:
        """All of it, with the records in the partitions that are known of their topics."""
        sends = self._sends
        sends.place()
        return _new(TransactionRequest, (sends.parts, sends.conditions(), pieces, sends.placed_topics()))

    def _note_reply(self, reply: AppendReply) -> bool:
        """Note where the records are; False when they have to be placed again."""
        self._sends.learn(reply.newer)
        if reply.stored is None:
            return False
        self._sends.note_stored(reply.stored)
        return True

    def _refused(self, error: EventLogError) -> EventLogError:
        """The error to raise for a refused commit, after which the offsets have to be asked for again."""
        for offsets in self._offsets.values():
            offsets.invalidate(error)
        return self._sends.with_key(error) if isinstance(error, WrongVersion) else error

    def _check_repeated(self) -> None:
        """Refuse the second of two transactions for the records of one poll: the first has committed all of them."""
        if self._offsets and all(offsets.is_repeated for offsets in self._offsets.values()):
            raise ValueError(
                "cannot commit the transaction: another one has committed everything that its consumer had received, "
                "and poll() was not called since. Nothing was stored. Do all records of a poll in one transaction, "
                "take one with poll(max_records=1), or name the offsets of each in commit_offsets()."
            )

    @override
    def abort(self) -> None:
        if self._end is None:
            self._end = "aborted"
            self._batch.fail(_ended("aborted"))
            for state in self._states.values():
                state._rolled_back()
            for offsets in self._offsets.values():
                offsets.fail()
            if self._jobs is not None:
                self._jobs.fail()
            self._let_go()

    def _check(self) -> None:
        if self._end is not None:
            if self._is_parents:
                raise UsedAfterFork(
                    "the transaction was begun before a fork and belongs to the parent.",
                    stored="This call has changed nothing.",
                    advice="Begin another with log.transaction() in the child.",
                )
            raise _ended(self._end)

    def _after_fork(self) -> None:
        """End the child's copy: what it holds is the parent's to store."""
        if self._end is None:
            self._end, self._is_parents = "left to the parent process", True
            self._batch.forget(_ended(self._end))

    def _charge(self, size_bytes: int) -> None:
        """Count what is about to be held in memory; raise when there is no room for it."""
        if self._size_bytes + size_bytes > self._max_bytes:
            raise TransactionTooLarge(
                f"the transaction holds {self._size_bytes} bytes, and has no room for {size_bytes} more: its bound is "
                f"max_bytes={self._max_bytes}.",
                stored="What did not fit was not taken, and nothing is stored yet.",
                advice="Commit what it has and go on in another, or begin it with a larger max_bytes=.",
            )
        self._size_bytes += size_bytes

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


def _checked_consumer(what: str, consumer: object) -> EmbeddedConsumer[Any, Any]:
    if not isinstance(consumer, EmbeddedConsumer):
        raise TypeError(f"{what}() takes a Consumer, not {type(consumer).__name__}. Nothing was changed.")
    return consumer


class EmbeddedLentTransaction(EmbeddedTransaction, LentTransaction):
    """The embedded transaction of a processor."""

    @override
    def commit(self) -> NoReturn:
        raise refused_commit()

    @override
    def commit_as_owner(self) -> None:
        super().commit()

    @override
    def tries(self, group: str) -> api.State[Any, Any]:
        return self._own_state(f"{PROCESSOR_PREFIX}{group}")

    @override
    def answers(self, group: str) -> api.State[Any, Any]:
        return self._own_state(f"{RESPONDER_PREFIX}{group}")

    def _own_state(self, name: str) -> api.State[Any, Any]:
        """A state of a name that users cannot choose."""
        from eventlog.clients.state.view import open_named_state

        self._check()
        known = self._states.get(name)
        if known is None:
            known = self._states[name] = self._new_state(*open_named_state(self._backend, name, tuple, "msgpack"))
        return known


def _ended(end: str) -> TransactionEnded:
    return TransactionEnded(
        f"the transaction was {end}.",
        stored="This call has changed nothing.",
        advice="Begin another with log.transaction().",
    )
