"""A producer for asyncio: `send` takes a record at once, and what it returns can be awaited."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, Self, TypeVar, overload

from eventlog.aio.home import Home
from eventlog.aio.topic import Topic, inner_of
from eventlog.api.producer import Delivery
from eventlog.clients.awaiting.worker import finish
from eventlog.clients.producer.producer import EmbeddedProducer
from eventlog.options import HeadersInput

KT = TypeVar("KT")
VT = TypeVar("VT")


class Producer:
    """
    A producer for asyncio: see `eventlog.Producer` for what it does.

    `send` never waits. A program that sends faster than the disk stores gets `BufferFull`: `await drain()` now and
    then. Get one from `EventLog.producer()`.
    """

    def __init__(self, home: Home, inner: EmbeddedProducer, most_bytes: int) -> None:
        self._home = home
        self._inner = inner
        self._send = inner.send
        self._most_bytes = most_bytes // 2

    @property
    def name(self) -> str | None:
        """The name of the producer, or None."""
        return self._inner.name

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
        message_id: str | bytes | None = None,
    ) -> Delivery:
        """
        Take a record, and return the promise of its place: `await` it, or look at it later.

        Does not wait. See `eventlog.Producer.send`.

        Raises:
            BufferFull: `max_buffered_bytes` wait to be stored. The record was not taken; `await drain()`.
        """
        self._home.check()
        if headers is None and partition is None and timestamp_ms is None and message_id is None:
            return self._send(topic._inner if isinstance(topic, Topic) else topic, value, key=key)
        return self._send(
            inner_of(topic),
            value,
            key=key,
            headers=headers,
            partition=partition,
            timestamp_ms=timestamp_ms,
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
        """Take records, and return the promises of their places: see `eventlog.Producer.send_many`."""
        self._home.check()
        return self._inner.send_many(
            inner_of(topic), values, keys=keys, headers=headers, partition=partition, timestamps_ms=timestamps_ms
        )

    async def drain(self) -> None:
        """Wait until less than half of `max_buffered_bytes` waits to be stored; as a rule it does not wait at all."""
        self._home.check()
        accumulator = self._inner._accumulator
        while accumulator.buffered_bytes() > self._most_bytes:
            await self._home.call(partial(accumulator.commit_oldest, None), "storing what was sent")

    async def flush(self, timeout: float | None = None) -> None:
        """
        Have everything stored that was sent before the call: see `eventlog.Producer.flush`.

        A cancelled task is cancelled when the outcome is known.
        """
        await self._home.call(partial(self._inner.flush, timeout), "the flush")

    async def close(self, timeout: float | None = None) -> None:
        """Store what was sent, and end the producer; it is done to its end in a cancelled task, too."""
        self._home.check_here()
        await finish(
            self._home.loop, self._home.worker.call(partial(self._inner.close, timeout)), "closing the producer"
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._inner)
