"""A transaction for asyncio: its records and states are collected at once, and its commit is awaited."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from functools import partial
from inspect import isawaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast, overload

from eventlog.aio.consumer import Consumer
from eventlog.aio.home import Home
from eventlog.aio.state import State
from eventlog.aio.topic import Topic, inner_of
from eventlog.api.consumer import Offsets
from eventlog.api.producer import Delivery
from eventlog.api.queue import Job
from eventlog.backend.deferred import Deferred, DeferringBackend
from eventlog.backend.records import AppendReply, TransactionRequest
from eventlog.clients.awaiting.worker import Worker, note_outcome
from eventlog.clients.transaction.attempts import pause_s
from eventlog.clients.transaction.transaction import EmbeddedTransaction
from eventlog.errors import ConflictError, EventLogError, WrongVersion
from eventlog.interruptions import unless_interrupted
from eventlog.options import HeadersInput, check_int

if TYPE_CHECKING:
    from typing_extensions import TypeForm

    from eventlog.api.schedules import Schedule
    from eventlog.codecs.base import ValueCodec

T = TypeVar("T")
KT = TypeVar("KT")
VT = TypeVar("VT")

_COMMIT = "the commit of the transaction"
_LONG_BYTES = 1 << 20
"""The loop does a step for so much at most; a hop to a thread is a tenth of that."""


class Transaction:
    """
    A transaction for asyncio: see `eventlog.Transaction` for what it does.

    Belongs to one task. Rows of states are read in the loop, as they are needed. Begin one by
    `async with log.transaction() as tx`.
    """

    def __init__(self, home: Home, inner: EmbeddedTransaction, consumer: Consumer[Any, Any] | None = None) -> None:
        self._home = home
        self._inner = inner
        inner._make_states_at_commit()
        self._cancelled: BaseException | None = None
        """Set when the task is cancelled while the transaction ends, for the end of that."""
        self._consumers: set[Consumer[Any, Any]] = set() if consumer is None else {consumer}

    @property
    def is_ended(self) -> bool:
        """Whether it was committed or aborted."""
        return self._inner.is_ended

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
        """Take a record, which is stored with the commit: see `eventlog.Transaction.send`."""
        self._home.check()
        return self._inner.send(
            inner_of(topic),
            value,
            key=key,
            headers=headers,
            partition=partition,
            timestamp_ms=timestamp_ms,
            expected_version=expected_version,
            message_id=message_id,
        )

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
        """Take records, which are stored with the commit: see `eventlog.Transaction.send_many`."""
        self._home.check()
        return self._inner.send_many(
            inner_of(topic), values, keys=keys, headers=headers, partition=partition, timestamps_ms=timestamps_ms
        )

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
    ) -> Schedule[KT, VT]: ...
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
    ) -> Schedule[Any, Any]: ...
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
    ) -> Schedule[Any, Any]:
        """Schedule a record with the commit: see `eventlog.Transaction.schedule`."""
        self._home.check()
        return self._inner.schedule(
            inner_of(topic),
            value,
            at=at,
            delay=delay,
            key=key,
            headers=headers,
            partition=partition,
            message_id=message_id,
        )

    def accept(self, job: Job[Any, Any]) -> None:
        """Accept a job of a queue with the transaction: see `eventlog.Transaction.accept`."""
        self._home.check()
        self._inner.accept(job)

    async def commit_offsets(self, consumer: Consumer[Any, Any], offsets: Offsets | None = None) -> None:
        """Commit offsets of a consumer with the transaction: see `eventlog.Transaction.commit_offsets`."""
        self._home.check()
        if not isinstance(consumer, Consumer):
            raise TypeError(f"commit_offsets() takes a Consumer, not {type(consumer).__name__}. Nothing was changed.")
        await consumer._others()
        self._consumers.add(consumer)
        self._inner.commit_offsets(consumer._inner, offsets)

    @overload
    def state(self, name: str, *, key: type[KT], value: type[VT] | ValueCodec[VT]) -> State[KT, VT]: ...
    @overload
    def state(self, name: str, *, key: type[KT], value: str | None = None) -> State[KT, Any]: ...
    @overload
    def state(self, name: str, *, key: type[KT], value: TypeForm[VT]) -> State[KT, VT]: ...
    @overload
    def state(self, name: str, *, key: type[KT], value: object) -> State[KT, Any]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: type[VT] | ValueCodec[VT]) -> State[Any, VT]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: str | None = None) -> State[Any, Any]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: TypeForm[VT]) -> State[Any, VT]: ...
    @overload
    def state(self, name: str, *, key: None = None, value: object) -> State[Any, Any]: ...
    def state(self, name: str, *, key: Any = None, value: Any = None) -> State[Any, Any]:
        """
        A state to read and to change: see `eventlog.Transaction.state`.

        A state that is new is made by the commit. If somebody else makes it meanwhile, with rows that were read here as
        missing or with other codecs, the commit raises `ConflictError`.
        """
        self._home.check()
        return State(self._home, self._inner.state(name, key=key, value=value))

    async def commit(self) -> None:
        """
        Store everything in one commit: see `eventlog.Transaction.commit`.

        A cancelled task is cancelled when the outcome is known, which a note of the error says.
        """
        self._home.check()
        for consumer in self._consumers:
            await consumer._others()
        inner, requests = self._inner, self._home.requests
        inner._begin_commit()
        try:
            if inner._unmade or inner._schedules:
                await self._apart(self._home.worker, inner._make_states)
            pieces, request = await self._step(inner._prepared)
            while request is not None:
                deferred, late = await self._home.store_to_the_end(partial(_deferred, requests, request))
                self._cancelled = self._cancelled or late
                if inner._note_reply(self._reply(deferred)):
                    break
                request = inner._request(pieces)
            inner._note_committed()
        except BaseException as error:
            inner._note_failure(error)
            if self._cancelled is not None:
                note_outcome(self._cancelled, error, _COMMIT)
                raise self._cancelled from error
            raise
        await self._step(inner._free_states)
        inner._settle()
        if self._cancelled is not None:
            note_outcome(self._cancelled, None, _COMMIT)
            raise self._cancelled

    async def _step(self, function: Callable[[], T]) -> T:
        """Do a step of the commit, which takes a millisecond for each MiB that the transaction holds."""
        return function() if self._inner._size_bytes <= _LONG_BYTES else await self._apart(self._home.reader, function)

    async def _apart(self, worker: Worker, function: Callable[[], T]) -> T:
        """Have a thread do a step to its end; meanwhile it uses the consumers of the transaction."""
        job = worker.call(function)
        for consumer in self._consumers:
            consumer._lend(job)
        late = await self._home.loop.wait_to_the_end(job)
        self._cancelled = self._cancelled or late
        for consumer in self._consumers:
            consumer._lend(None)
        return job.result()

    def _reply(self, deferred: Deferred[AppendReply]) -> AppendReply:
        try:
            return deferred.reply()
        except unless_interrupted(EventLogError) as error:
            raise self._inner._refused(error)  # noqa: B904 - it is the same error, or says that it comes from none

    async def abort(self) -> None:
        """Store nothing of it."""
        if not self._inner.is_ended:
            await self._step(self._inner._free_states)
            self._inner.abort()
            if self._cancelled is not None:
                raise self._cancelled

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            await self.abort()
        elif not self._inner.is_ended:
            await self.commit()

    def __repr__(self) -> str:
        return repr(self._inner)


def _deferred(
    requests: DeferringBackend, request: TransactionRequest, when_done: Callable[[], object]
) -> Deferred[AppendReply]:
    return requests.defer_transaction(request, when_done=when_done)


async def transact(
    home: Home,
    begin: Callable[[], Awaitable[Transaction]],
    function: Callable[[Transaction], Awaitable[T] | T],
    attempts: int,
) -> T:
    """Call a function with a transaction and commit it, at most `attempts` times while others are faster."""
    check_int("attempts", attempts, least=1)
    if not callable(function):
        raise TypeError(f"function must be a function or a coroutine function, not {function!r}. Nothing was stored.")
    for attempt in range(1, attempts + 1):
        try:
            async with await begin() as tx:
                result = function(tx)
                if isawaitable(result):
                    result = await result
            return cast(T, result)
        except unless_interrupted(ConflictError, WrongVersion):
            if attempt == attempts:
                raise
        await home.loop.sleep(random.uniform(0.0, pause_s(attempt)))
    raise AssertionError("there is at least one attempt")
