"""
What every part of a log for asyncio has.

The class `EventLog` is in several files, since the overloads of its methods fill them: each part is a subclass of
`LogPart`, which alone makes what they share. Decision record: docs/decisions/0072-one-facade.md.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from eventlog.aio.apart import Apart
from eventlog.aio.opener import opened
from eventlog.aio.waking import Waker
from eventlog.clients.awaiting.worker import finish

if TYPE_CHECKING:
    from eventlog.aio.consumer import Consumer
    from eventlog.aio.home import Home
    from eventlog.aio.processor import Processor
    from eventlog.aio.projection import Projection
    from eventlog.aio.queue import Queue
    from eventlog.log.event_log import EmbeddedLog


class _Closes(Protocol):
    """A client of the log inside."""

    def close(self) -> None: ...


T = TypeVar("T")
C = TypeVar("C", bound=_Closes)


class LogPart:
    """
    A log for asyncio, without its methods.

    Args:
        home: the loop, and the threads that work for it.
        inner: the log inside, which blocks.
    """

    def __init__(self, home: Home, inner: EmbeddedLog) -> None:
        self._home = home
        self._inner = inner
        self._waker = Waker(home.backend, home.loop, home.outbox.put)
        self._consumers: weakref.WeakSet[Consumer[Any, Any]] = weakref.WeakSet()
        self._runners: weakref.WeakSet[Processor | Projection[Any, Any] | Queue[Any, Any] | Apart[Any]]
        self._runners = weakref.WeakSet()

    async def _made(self, make: Callable[[], C], name: str) -> C:
        """What a function makes in the thread of the log; a task that is cancelled meanwhile leaves nothing open."""
        home = self._home
        home.check()
        job = home.worker.call(make)
        return await opened(
            home.loop, job, lambda one: finish(home.loop, home.worker.call(one.close), f"closing the {name}")
        )

    def _apart(self, name: str, left: str) -> Apart[Any]:
        """Long work of this log, which ends it when it is closed."""
        self._home.check()
        apart: Apart[Any] = Apart(self._home, name, left)
        self._runners.add(apart)
        return apart
