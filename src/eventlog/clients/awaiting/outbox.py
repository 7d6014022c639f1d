"""
What threads want done in a loop.

A thread that has committed for many tasks wakes their loop once.
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from threading import get_ident
from typing import Any

from eventlog.api.producer import Delivery
from eventlog.clients.awaiting.loop import Future, is_trio, running_loop
from eventlog.interruptions import suppress


class Outbox:
    """
    What threads want done in a loop: all that was put since the loop came by costs one wakeup.

    `put` may be called by any thread, and in a signal handler.

    Args:
        wake: has a function called in the loop; raises `RuntimeError` when the loop is closed.
    """

    def __init__(self, wake: Callable[[Callable[[], object]], object]) -> None:
        self._wake = wake
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
        self._is_called = True
        with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
            self._wake(self.run)

    def run(self) -> None:
        """Do it all, in the loop; only the loop's own thread may call it."""
        self._is_called = False  # first: what is put from here on wakes the loop again
        calls = self._calls
        while calls:
            calls.popleft()()


_OUTBOXES: weakref.WeakKeyDictionary[Any, Outbox] = weakref.WeakKeyDictionary()
"""By the loop of asyncio, or the token of trio's run."""


def outbox() -> Outbox:
    """The outbox of the running loop."""
    if is_trio():
        key: Any = sys.modules["trio"].lowlevel.current_trio_token()
        method = "run_sync_soon"
    else:
        key, method = asyncio.get_running_loop(), "call_soon_threadsafe"
    found = _OUTBOXES.get(key)
    if found is None:
        found = _OUTBOXES[key] = Outbox(partial(_wake, weakref.ref(key), method))
    return found


def _wake(reference: weakref.ref[Any], method: str, call: Callable[[], object]) -> None:
    loop = reference()
    if loop is not None:
        getattr(loop, method)(call)


def wait_for(delivery: Delivery) -> Generator[Any, None, None]:
    """Suspend the task until a delivery is done."""
    future: Future[None] = running_loop().future()
    put = outbox().put
    delivery.add_done_callback(lambda _: put(partial(resolve, future, None)))
    yield from future.__await__()


def resolve(future: Future[Any], value: object) -> None:
    """Give a future its result, unless nobody waits any more."""
    if not future.done():
        future.set_result(value)
