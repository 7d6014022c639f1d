"""
Awaiting in asyncio what another thread does: futures of a loop, resolved together.

A thread that has committed for many tasks wakes their loop once. Knows nothing of logs.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from threading import get_ident
from typing import Any

from eventlog.api.producer import Delivery
from eventlog.interruptions import suppress


class Outbox:
    """
    What threads want done in a loop: all that was put since the loop came by costs one wakeup.

    `put` may be called by any thread, and in a signal handler.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._calls: deque[Callable[[], object]] = deque()
        self._is_called = False
        self._holders: set[int] = set()
        """The threads that call `flush` when they have put everything."""

    def hold(self) -> None:
        """Note that this thread calls `flush` after what it puts."""
        self._holders.add(get_ident())

    def let_go(self) -> None:
        """Note that this thread ends."""
        self._holders.discard(get_ident())

    def put(self, call: Callable[[], object]) -> None:
        """Have the loop call a function, which raises nothing."""
        self._calls.append(call)
        if get_ident() not in self._holders:
            self.flush()

    def flush(self) -> None:
        """Wake the loop if there is something for it, and nobody has."""
        if self._is_called or not self._calls:
            return
        loop = self._loop()
        if loop is None:
            return
        self._is_called = True
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            loop.call_soon_threadsafe(self._run)

    def _run(self) -> None:
        """Do it all; in the loop."""
        self._is_called = False  # first: what is put from here on wakes the loop again
        calls = self._calls
        while calls:
            calls.popleft()()


_OUTBOXES: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Outbox] = weakref.WeakKeyDictionary()


def outbox() -> Outbox:
    """The outbox of the running loop."""
    loop = asyncio.get_running_loop()
    found = _OUTBOXES.get(loop)
    if found is None:
        found = _OUTBOXES[loop] = Outbox(loop)
    return found


def wait_for(delivery: Delivery) -> Generator[Any, None, None]:
    """Suspend the task until a delivery is done."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    put = outbox().put
    delivery.add_done_callback(lambda _: put(partial(resolve, future, None)))
    yield from future


def resolve(future: asyncio.Future[Any], value: object) -> None:
    """Give a future its result, unless nobody waits any more."""
    if not future.done():
        future.set_result(value)
