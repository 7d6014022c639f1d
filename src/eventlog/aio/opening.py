"""Opening a log for the running loop."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

from eventlog.aio.home import Home
from eventlog.aio.log import EventLog
from eventlog.aio.opener import Opening, opened
from eventlog.api import event_log as api
from eventlog.clients.awaiting.worker import finish
from eventlog.log.event_log import EmbeddedLog
from eventlog.log.opening import open as open_log
from eventlog.options import Durability


def open(
    path: str | os.PathLike[str],
    *,
    durability: Durability = "commit",
    mode: int = 0o600,
    create: bool = True,
    map_size: int | None = None,
    max_bytes: int | None = None,
    cleaner: bool = True,
    schedules: bool = True,
    upgrade: bool = False,
    read_only: bool = False,
) -> Opening[EventLog]:
    """
    Open the log in a directory for the running loop, by `await` or `async with`: see `eventlog.open`.

    Example:
        >>> import asyncio
        >>> import eventlog.aio
        >>> async def main():
        ...     async with eventlog.aio.open(":memory:") as log:
        ...         orders = await log.topic("orders")
        ...         metadata = await orders.append(b"tea")
        ...         return metadata.offset
        >>> asyncio.run(main())
        0
    """
    find = partial(
        open_log,
        path,
        durability=durability,
        mode=mode,
        create=create,
        map_size=map_size,
        max_bytes=max_bytes,
        cleaner=cleaner,
        schedules=schedules,
        upgrade=upgrade,
        read_only=read_only,
    )
    return over(os.fspath(path), find)


def over(path: str, find: Callable[[], api.EventLog]) -> Opening[EventLog]:
    """
    The log that a function opens, for the running loop.

    Args:
        path: names it in errors.
        find: opens it, in another thread; it is closed with ours.
    """

    async def open_it() -> EventLog:
        home = Home(path)
        try:
            job = home.worker.call(find)
            inner = await opened(
                home.loop, job, lambda one: finish(home.loop, home.worker.call(one.close), "closing the log")
            )
        except BaseException:
            home.stop()
            home.join()
            raise
        if not isinstance(inner, EmbeddedLog):
            await finish(home.loop, home.worker.call(inner.close), "closing the log")
            home.stop()
            raise inner._lacks("eventlog.aio", "aio")
        home.serve(inner._store)
        return EventLog(home, inner)

    return Opening(open_it)
