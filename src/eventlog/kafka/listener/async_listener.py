"""The listener of a program that has an event loop of its own, of asyncio or trio."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from eventlog.aio.opener import Opening, opened
from eventlog.clients.awaiting.loop import running_loop
from eventlog.clients.awaiting.outbox import outbox
from eventlog.clients.awaiting.worker import Worker, finish
from eventlog.kafka.faults.face import FaultsOnDemand
from eventlog.kafka.listener.listener import Core, Listener


class AsyncListener(FaultsOnDemand):
    """
    A Kafka listener, as `eventlog.kafka.listen_async` opens it.

    Example:
        >>> import asyncio
        >>> import eventlog.kafka
        >>> async def main():
        ...     async with eventlog.kafka.listen_async(":memory:") as kafka:
        ...         return kafka.bootstrap_servers == f"127.0.0.1:{kafka.port}"
        >>> asyncio.run(main())
        True
    """

    def __init__(self, listener: Listener, worker: Worker) -> None:
        self._listener = listener
        self._worker = worker
        self._loop = running_loop()

    @property
    def bootstrap_servers(self) -> str:
        """The address that clients are given."""
        return self._listener.bootstrap_servers

    @property
    def host(self) -> str:
        """The address of this machine that it listens on."""
        return self._listener.host

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._listener.port

    @property
    def is_closed(self) -> bool:
        """Whether it listens no more."""
        return self._listener.is_closed

    @property
    def _faulty(self) -> Core:
        return self._listener._faulty

    async def close(self) -> None:
        """Stop listening: requests in hand are answered, and all connections are closed; cancelled or not."""
        if self._listener.is_closed:
            return
        try:
            await finish(self._loop, self._worker.call(self._listener.close), "closing the listener")
        finally:
            self._worker.stop()
            self._worker.join()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return repr(self._listener)


def opening(listen: Callable[[], Listener]) -> Opening[AsyncListener]:
    """The listener that a function opens, for the running loop."""

    async def open_it() -> AsyncListener:
        loop = running_loop()
        worker = Worker("eventlog-kafka-opener", loop, outbox())
        try:
            listener = await opened(
                loop, worker.call(listen), lambda one: finish(loop, worker.call(one.close), "closing the listener")
            )
        except BaseException:
            worker.stop()
            worker.join()
            raise
        return AsyncListener(listener, worker)

    return Opening(open_it)
