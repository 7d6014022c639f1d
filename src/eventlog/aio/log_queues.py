"""The part of the log for asyncio that has queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, overload

from eventlog.aio.log_part import LogPart
from eventlog.aio.opener import Opening
from eventlog.aio.topic import Topic, inner_of
from eventlog.api.log_queues import Queueing
from eventlog.options import Start

if TYPE_CHECKING:
    from eventlog.aio.queue import Queue
    from eventlog.clients.queue.queue import EmbeddedQueue

K1 = TypeVar("K1")
V1 = TypeVar("V1")
K2 = TypeVar("K2")
V2 = TypeVar("V2")


class LogQueues(LogPart):
    """Queues of a log for asyncio."""

    @overload
    def queue(self, topic: Topic[K1, V1], /, *, group: str, **options: Unpack[Queueing]) -> Opening[Queue[K1, V1]]: ...
    @overload
    def queue(
        self, topic: Topic[K1, V1], other: Topic[K2, V2], /, *, group: str, **options: Unpack[Queueing]
    ) -> Opening[Queue[K1 | K2, V1 | V2]]: ...
    @overload
    def queue(
        self, *topics: str | Topic[Any, Any], group: str, **options: Unpack[Queueing]
    ) -> Opening[Queue[Any, Any]]: ...
    def queue(
        self,
        *topics: str | Topic[Any, Any],
        group: str,
        start: Start = "earliest",
        attempts: int | None = None,
        dead_letters: str | Any | Literal[False] | None = None,
        backoff: tuple[float, float] | None = None,
        per_key: int | None = None,
        timeout: float | None = None,
        weights: tuple[int, ...] | None = None,
        max_poll_records: int = 1,
        session_timeout: float = 10.0,
    ) -> Opening[Queue[Any, Any]]:
        """Make a worker of a queue, by `await` or `async with`: see `eventlog.EventLog.queue`."""
        options: dict[str, Any] = {
            "group": group,
            "start": start,
            "attempts": attempts,
            "dead_letters": inner_of(dead_letters) if isinstance(dead_letters, Topic) else dead_letters,
            "backoff": backoff,
            "per_key": per_key,
            "timeout": timeout,
            "weights": weights,
            "max_poll_records": max_poll_records,
            "session_timeout": session_timeout,
        }

        async def open_it() -> Queue[Any, Any]:
            from eventlog.aio.queue import Queue
            from eventlog.clients.queue.opening import open_queue

            inner, ear = self._inner, self._waker.ear()
            given = tuple(inner_of(topic) for topic in topics)

            def make() -> EmbeddedQueue[Any, Any]:
                inner._check_open()
                made = open_queue(inner._store, inner._known_topic, given, ear, **options)
                inner._clients.queues.add(made)
                return made

            made = await self._made(make, "queue")
            queue: Queue[Any, Any] = Queue(self._home, made, ear, open_it)
            self._runners.add(queue)
            return queue

        return Opening(open_it)
