"""The one thread of a listener, in which its loop runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from eventlog.interruptions import unless_interrupted
from eventlog.notices import REQUEST_FAILED, tell
from eventlog.uninterruptible import start_thread

T = TypeVar("T")


class LoopThread:
    """
    A thread with a loop of asyncio.

    A daemon: a program that ends without closing its listener does not wait for it.
    """

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(_tell)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        try:
            start_thread(self._thread)
        except BaseException:
            if self._thread.ident is None:
                self.loop.close()
            raise

    def begin(self, function: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Future[T]:
        """Have a coroutine function called in the loop; what is returned can be waited for by any thread."""
        return asyncio.run_coroutine_threadsafe(function(), self.loop)  # type: ignore[return-value]

    @property
    def is_ours(self) -> bool:
        """Whether this very thread runs the loop."""
        return threading.get_ident() == self._thread.ident

    def stop(self) -> None:
        """End the loop, and wait for the thread; called again, it does what is left."""
        if self._thread.is_alive() and not self.loop.is_closed():
            try:
                self.loop.call_soon_threadsafe(self.loop.stop)
            except unless_interrupted(RuntimeError):  # it has ended meanwhile
                pass
        if not self.is_ours:
            self._thread.join()

    def _run(self) -> None:
        loop = self.loop
        try:
            loop.run_forever()
        finally:
            tasks = asyncio.all_tasks(loop)
            for task in tasks:
                task.cancel()
            if tasks:
                loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.close()

    def forget(self) -> None:
        """Close a forked child's copies of the loop's files, without a word to the kernel's list that both share."""
        loop: Any = self.loop
        for name in ("_ssock", "_csock", "_selector"):
            one = getattr(loop, name, None)
            if one is not None:
                one.close()
        loop._closed = True  # it never ran here; else its end would be told as a resource that leaks


def _tell(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    tell(REQUEST_FAILED, exc_info=error or False, error=error or context.get("message"))
