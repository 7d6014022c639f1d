"""The part of a log for asyncio that works in transactions: those of a task, and processors."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar, Unpack, overload

from eventlog.aio.consumer import Consumer
from eventlog.aio.log_part import LogPart
from eventlog.aio.opener import Opening
from eventlog.aio.processor import Function, LoopCalls, OnFailure, Processor
from eventlog.aio.topic import Topic, inner_of
from eventlog.aio.transaction import Transaction, transact
from eventlog.api.consumer import ReadingOptions
from eventlog.groups.assignors import Assignor
from eventlog.options import (
    DEFAULT_ATTEMPTS,
    DEFAULT_MAX_RECORDS,
    DEFAULT_MAX_RETRY_PAUSE,
    DEFAULT_RETRY_JITTER,
    DEFAULT_RETRY_PAUSE,
    MAX_TRANSACTION_BYTES,
    OnOutOfRange,
    Start,
)
from eventlog.records import Record

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


class _Processing(ReadingOptions, total=False):
    """The options of a processor alone."""

    max_records: int
    attempts: int
    on_failure: OnFailure | None
    retry_pause: float
    max_retry_pause: float
    retry_jitter: float
    max_bytes: int


class LogTransactions(LogPart):
    """The methods of a log for asyncio that make transactions and processors."""

    # -- transactions ----------------------------------------------------------------------------------------

    def transaction(
        self, consumer: Consumer[Any, Any] | None = None, *, max_bytes: int = MAX_TRANSACTION_BYTES
    ) -> Opening[Transaction]:
        """Begin a transaction, by `async with`: see `eventlog.EventLog.transaction`."""
        return Opening(partial(self._begin, consumer, max_bytes))

    async def _begin(self, consumer: Consumer[Any, Any] | None, max_bytes: int) -> Transaction:
        self._home.check()
        if consumer is not None:
            if not isinstance(consumer, Consumer):
                raise TypeError(f"transaction() takes a Consumer, not {type(consumer).__name__}. Nothing was changed.")
            await consumer._others()
        given = None if consumer is None else consumer._inner
        return Transaction(self._home, self._inner.transaction(given, max_bytes=max_bytes), consumer)

    @overload
    async def transact(
        self,
        function: Callable[[Transaction], Awaitable[T]],
        *,
        consumer: Consumer[Any, Any] | None = None,
        attempts: int = 10,
        max_bytes: int = MAX_TRANSACTION_BYTES,
    ) -> T: ...
    @overload
    async def transact(
        self,
        function: Callable[[Transaction], T],
        *,
        consumer: Consumer[Any, Any] | None = None,
        attempts: int = 10,
        max_bytes: int = MAX_TRANSACTION_BYTES,
    ) -> T: ...
    async def transact(
        self,
        function: Callable[[Transaction], Awaitable[T] | T],
        *,
        consumer: Consumer[Any, Any] | None = None,
        attempts: int = 10,
        max_bytes: int = MAX_TRANSACTION_BYTES,
    ) -> T:
        """
        Call a function, or a coroutine function, with a transaction and commit it; again after a conflict.

        See `eventlog.EventLog.transact`. A cancelled task is cancelled as in `Transaction.commit`.
        """
        return await transact(self._home, lambda: self._begin(consumer, max_bytes), function, attempts)

    @overload
    def processor(
        self,
        *topics: str | Topic[KT, VT] | re.Pattern[str],
        function: Callable[[Transaction, Record[KT, VT]], Awaitable[object] | object],
        group: str,
        **options: Unpack[_Processing],
    ) -> Opening[Processor]: ...
    @overload
    def processor(
        self,
        topic: Topic[K1, V1],
        other: Topic[K2, V2],
        /,
        *,
        function: Callable[[Transaction, Record[K1 | K2, V1 | V2]], Awaitable[object] | object],
        group: str,
        **options: Unpack[_Processing],
    ) -> Opening[Processor]: ...
    @overload
    def processor(
        self,
        topic: Topic[K1, V1],
        other: Topic[K2, V2],
        third: Topic[K3, V3],
        /,
        *,
        function: Callable[[Transaction, Record[K1 | K2 | K3, V1 | V2 | V3]], Awaitable[object] | object],
        group: str,
        **options: Unpack[_Processing],
    ) -> Opening[Processor]: ...
    @overload
    def processor(
        self,
        topic: Topic[K1, V1],
        other: Topic[K2, V2],
        third: Topic[K3, V3],
        fourth: Topic[K4, V4],
        /,
        *,
        function: Callable[[Transaction, Record[K1 | K2 | K3 | K4, V1 | V2 | V3 | V4]], Awaitable[object] | object],
        group: str,
        **options: Unpack[_Processing],
    ) -> Opening[Processor]: ...
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
        function: Callable[
            [Transaction, Record[K1 | K2 | K3 | K4 | K5, V1 | V2 | V3 | V4 | V5]], Awaitable[object] | object
        ],
        group: str,
        **options: Unpack[_Processing],
    ) -> Opening[Processor]: ...
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
        function: Callable[
            [Transaction, Record[K1 | K2 | K3 | K4 | K5 | K6, V1 | V2 | V3 | V4 | V5 | V6]], Awaitable[object] | object
        ],
        group: str,
        **options: Unpack[_Processing],
    ) -> Opening[Processor]: ...
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
        assignor: str | Assignor = "sticky",
        instance_id: str | None = None,
        session_timeout: float = 10.0,
        max_poll_interval: float = 300.0,
    ) -> Opening[Processor]:
        """
        Make a processor, by `await` or `async with`: see `eventlog.EventLog.processor`.

        `function` and `on_failure` may be coroutine functions; both are called in the loop.
        """
        calls = LoopCalls(self._home)
        make = partial(
            self._inner.processor,
            *(inner_of(topic) for topic in topics),
            function=calls.wrap(function),
            group=group,
            start=start,
            max_records=max_records,
            attempts=attempts,
            on_failure=calls.wrap(on_failure) if callable(on_failure) else on_failure,
            retry_pause=retry_pause,
            max_retry_pause=max_retry_pause,
            retry_jitter=retry_jitter,
            on_out_of_range=on_out_of_range,
            max_bytes=max_bytes,
            assignor=assignor,
            instance_id=instance_id,
            session_timeout=session_timeout,
            max_poll_interval=max_poll_interval,
        )

        async def open_it() -> Processor:
            processor = Processor(self._home, await self._made(make, "processor"), calls)
            self._runners.add(processor)
            return processor

        return Opening(open_it)
