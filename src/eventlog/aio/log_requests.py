"""The part of a log for asyncio that asks and answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict, TypeVar, Unpack, overload

from eventlog.aio.log_part import LogPart
from eventlog.aio.opener import Opening
from eventlog.aio.processor import LoopCalls
from eventlog.aio.topic import Topic, inner_of
from eventlog.aio.transaction import Transaction
from eventlog.api.requests import Responding
from eventlog.codecs.base import ValueCodec
from eventlog.groups.assignors import Assignor
from eventlog.options import (
    DEFAULT_MAX_RECORDS,
    DEFAULT_MAX_RETRY_PAUSE,
    DEFAULT_RETRY_JITTER,
    DEFAULT_RETRY_PAUSE,
    MAX_TRANSACTION_BYTES,
    HeadersInput,
    Start,
)
from eventlog.records import Record, TopicPartition

if TYPE_CHECKING:  # few programs ask
    from eventlog.aio.replies import Requester
    from eventlog.aio.responder import Responder

K = TypeVar("K")
V = TypeVar("V")
R = TypeVar("R")
ReplyTo: TypeAlias = str | Topic[Any, Any] | TopicPartition | tuple[str, int] | None


class _Asking(TypedDict, total=False):
    """The options of a request that have no part in its types."""

    headers: HeadersInput | None
    partition: int | None
    timeout: float
    message_id: str | bytes | None
    reply_to: ReplyTo
    group: str | None
    needs_responder: bool


class _Gathering(_Asking, total=False):
    """The options of a request to several groups."""

    expect: int | None
    partial: bool


class LogRequests(LogPart):
    """The methods of a log for asyncio for requests and replies."""

    _requester: Requester | None = None

    @overload
    async def request(
        self,
        topic: str | Topic[K, V],
        value: V | None = None,
        *,
        key: K | None = None,
        reply: type[R] | ValueCodec[R],
        **options: Unpack[_Asking],
    ) -> Record[Any, R]: ...
    @overload
    async def request(
        self,
        topic: Topic[K, V],
        value: V | None = None,
        *,
        key: K | None = None,
        reply: None = None,
        **options: Unpack[_Asking],
    ) -> Record[Any, V]: ...
    @overload
    async def request(
        self,
        topic: str | Topic[Any, Any],
        value: Any = None,
        *,
        key: Any = None,
        reply: object = None,
        **options: Unpack[_Asking],
    ) -> Record[Any, Any]: ...
    async def request(
        self,
        topic: str | Topic[Any, Any],
        value: Any = None,
        *,
        key: Any = None,
        headers: HeadersInput | None = None,
        partition: int | None = None,
        timeout: float = 5.0,
        message_id: str | bytes | None = None,
        reply: Any = None,
        reply_to: ReplyTo = None,
        group: str | None = None,
        needs_responder: bool = True,
    ) -> Record[Any, Any]:
        """
        Append a request to a topic, and wait for its reply: see `eventlog.EventLog.request`.

        If the task is cancelled, the request may be stored, and answered.
        """
        replies = await self._asking().ask(
            inner_of(topic),
            value,
            key,
            headers=headers,
            partition=partition,
            timeout=timeout,
            message_id=message_id,
            reply=reply,
            reply_to=inner_of(reply_to),
            group=group,
            needs_responder=needs_responder,
            expect=1,
        )
        return replies[0]

    @overload
    async def gather(
        self,
        topic: str | Topic[K, V],
        value: V | None = None,
        *,
        key: K | None = None,
        reply: type[R] | ValueCodec[R],
        **options: Unpack[_Gathering],
    ) -> list[Record[Any, R]]: ...
    @overload
    async def gather(
        self,
        topic: Topic[K, V],
        value: V | None = None,
        *,
        key: K | None = None,
        reply: None = None,
        **options: Unpack[_Gathering],
    ) -> list[Record[Any, V]]: ...
    @overload
    async def gather(
        self,
        topic: str | Topic[Any, Any],
        value: Any = None,
        *,
        key: Any = None,
        reply: object = None,
        **options: Unpack[_Gathering],
    ) -> list[Record[Any, Any]]: ...
    async def gather(
        self,
        topic: str | Topic[Any, Any],
        value: Any = None,
        *,
        expect: int | None = None,
        partial: bool = False,
        key: Any = None,
        headers: HeadersInput | None = None,
        partition: int | None = None,
        timeout: float = 5.0,
        message_id: str | bytes | None = None,
        reply: Any = None,
        reply_to: ReplyTo = None,
        group: str | None = None,
        needs_responder: bool = True,
    ) -> list[Record[Any, Any]]:
        """
        Append a request, and wait for the replies of several groups: see `eventlog.EventLog.gather`.

        If the task is cancelled, the request may be stored, and answered.
        """
        return await self._asking().ask(
            inner_of(topic),
            value,
            key,
            headers=headers,
            partition=partition,
            timeout=timeout,
            message_id=message_id,
            reply=reply,
            reply_to=inner_of(reply_to),
            group=group,
            needs_responder=needs_responder,
            expect=expect,
            partial=partial,
        )

    def _asking(self) -> Requester:
        if self._requester is None:
            from eventlog.aio.replies import Requester

            self._requester = Requester(self._home, self._inner, self._waker, self._consumers.add)
        return self._requester

    @overload
    def responder(
        self,
        topic: Topic[K, V],
        *,
        function: Callable[[Transaction, Record[K, V]], Awaitable[object] | object],
        group: str,
        reply: object = None,
        **options: Unpack[Responding],
    ) -> Opening[Responder]: ...
    @overload
    def responder(
        self,
        topic: str,
        *,
        function: Callable[[Transaction, Record[Any, Any]], Awaitable[object] | object],
        group: str,
        reply: object = None,
        **options: Unpack[Responding],
    ) -> Opening[Responder]: ...
    def responder(
        self,
        topic: str | Topic[Any, Any],
        *,
        function: Callable[[Transaction, Record[Any, Any]], Awaitable[object] | object],
        group: str,
        reply: Any = None,
        start: Start = "earliest",
        max_records: int = DEFAULT_MAX_RECORDS,
        attempts: int = 1,
        retry_pause: float = DEFAULT_RETRY_PAUSE,
        max_retry_pause: float = DEFAULT_MAX_RETRY_PAUSE,
        retry_jitter: float = DEFAULT_RETRY_JITTER,
        duplicate_window: float = 86_400.0,
        max_bytes: int = MAX_TRANSACTION_BYTES,
        assignor: str | Assignor = "sticky",
        instance_id: str | None = None,
        session_timeout: float = 10.0,
        max_poll_interval: float = 300.0,
    ) -> Opening[Responder]:
        """
        Make a responder, by `await` or `async with`: see `eventlog.EventLog.responder`.

        `function` may be a coroutine function; it is called in the loop, for one request after the other.
        """
        calls = LoopCalls(self._home)
        make = partial(
            self._inner.responder,
            inner_of(topic),
            function=calls.wrap(function),
            group=group,
            reply=reply,
            start=start,
            max_records=max_records,
            attempts=attempts,
            retry_pause=retry_pause,
            max_retry_pause=max_retry_pause,
            retry_jitter=retry_jitter,
            duplicate_window=duplicate_window,
            max_bytes=max_bytes,
            assignor=assignor,
            instance_id=instance_id,
            session_timeout=session_timeout,
            max_poll_interval=max_poll_interval,
        )

        async def open_it() -> Responder:
            from eventlog.aio.responder import Responder

            responder = Responder(self._home, await self._made(make, "responder"), calls)
            self._runners.add(responder)
            return responder

        return Opening(open_it)
