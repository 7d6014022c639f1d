"""Working for a queue in some threads: each is a worker of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from eventlog.api.queue import Job
from eventlog.uninterruptible import start_thread

if TYPE_CHECKING:
    from eventlog.clients.queue.queue import EmbeddedQueue

_LOOK_SECONDS = 0.5
"""The pause between two looks of the thread that called `run()`: Ctrl-C ends its wait, too."""


def run(queue: EmbeddedQueue[Any, Any], function: Callable[[Job[Any, Any]], object], count: int) -> None:
    """Call a function for each job in some threads, until the queue is closed or woken, or one of them fails."""
    failures: list[BaseException] = []

    def work(worker: EmbeddedQueue[Any, Any]) -> None:
        try:
            for job in worker:
                with job:
                    _check_result(function, function(job))
        except BaseException as error:  # noqa: BLE001
            failures.append(error)  # `run` raises it, in the thread that called it
        finally:
            queue._waiter.wake()

    workers = queue._siblings
    threads: list[threading.Thread] = []
    try:
        for _ in range(count):
            workers.append(queue._sibling())
        for worker in workers:
            thread = threading.Thread(target=work, args=(worker,), name=f"eventlog-queue-{queue.group}", daemon=True)
            start_thread(thread)
            threads.append(thread)
        while not (queue._take_wakeup() or failures) and any(thread.is_alive() for thread in threads):
            queue._waiter.wait_until(queue._backend.clock.monotonic() + _LOOK_SECONDS, None)
    finally:
        for worker in workers:
            worker.wakeup()
        for thread in threads:
            thread.join()
        for worker in workers:
            worker.close()
        workers.clear()
        if queue._is_closing:
            queue._close_worker()
    if failures:
        raise failures[0]


def _check_result(function: Callable[[Job[Any, Any]], object], returned: object) -> None:
    """Raise an error for a coroutine: a job would be taken for done that was not begun."""
    if isinstance(returned, CoroutineType):
        returned.close()
        raise TypeError(
            f"{function!r} returned a coroutine, which nobody would await. The job was released. "
            "Pass a plain function, or use the queue of eventlog.aio."
        )
