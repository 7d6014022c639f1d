"""
What tests of programs with an event loop need: `eventlog.testing` for logs of `eventlog.aio`.

Whatever waits is awaited, so that the loop goes on: members of a group give up partitions for another one only when
they poll. The rest is the same, and is here under the same names.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, Self

from eventlog.aio.home import Home
from eventlog.aio.log import EventLog
from eventlog.aio.opener import Opening
from eventlog.aio.opening import over
from eventlog.aio.topic import Topic, inner_of
from eventlog.aio.waking import Waker, wait_until
from eventlog.clients.awaiting.loop import Future
from eventlog.clients.awaiting.outbox import resolve
from eventlog.clients.awaiting.worker import finish
from eventlog.clock import Clock
from eventlog.options import Durability, check_int, check_seconds
from eventlog.records import Record, TopicPartition
from eventlog.store.registry import MEMORY
from eventlog.testing import logs
from eventlog.testing.clock import ManualClock
from eventlog.testing.logs import fail_next_commit, full_disk, slow_disk
from eventlog.testing.loops import for_asyncio
from eventlog.testing.members import Member as InnerMember
from eventlog.testing.produced import StoredRecords, too_few

__all__ = [
    "ManualClock",
    "Member",
    "Produced",
    "crash",
    "fail_next_commit",
    "for_asyncio",
    "full_disk",
    "open",
    "produced",
    "slow_disk",
]


def open(
    path: str | os.PathLike[str] = MEMORY, *, clock: Clock | None = None, durability: Durability = "commit"
) -> Opening[EventLog]:
    """
    Open a log for a test, by `async with` or `await`: see `eventlog.testing.open`.

    Example:
        >>> import asyncio
        >>> from eventlog.testing import aio as testing
        >>> async def main():
        ...     async with testing.open() as log:
        ...         orders = await log.topic("orders", value=str)
        ...         await orders.append("tea")
        ...         return testing.produced(orders).values
        >>> asyncio.run(main())
        ['tea']
    """
    return over(os.fspath(path), partial(logs.open, path, clock=clock, durability=durability))


def crash(log: EventLog) -> Opening[EventLog]:
    """
    End a log as `kill -9` ends its process, and open it again, by `async with` or `await`.

    See `eventlog.testing.crash`. Tasks that wait for the old log get `LogClosed`.
    """

    async def open_it() -> EventLog:
        home, inner = log._home, log._inner
        home.check()
        again = await finish(home.loop, home.reader.call(partial(logs.crash, inner)), "the crash")
        log._abandon()
        return await for_asyncio(again)

    return Opening(open_it)


class Member:
    """
    A member of a group in a thread of its own, which takes part until it leaves or dies: see `eventlog.testing.Member`.

    It joins at the beginning of an `async with` block, and leaves at its end. The loop goes on meanwhile.

    Example:
        >>> import asyncio
        >>> from eventlog.testing import aio as testing
        >>> async def main():
        ...     async with testing.open() as log:
        ...         orders = await log.topic("orders", value=str)
        ...         async with testing.Member(log, orders, group="billing") as other:
        ...             partitions = await other.wait_for_partitions(1)
        ...             await orders.append("tea")
        ...             await log.groups.wait("billing", timeout=10.0)
        ...         return [record.value for record in other.records]
        >>> asyncio.run(main())
        ['tea']
    """

    def __init__(self, log: EventLog, *topics: str | Topic[Any, Any], group: str, **options: Any) -> None:
        self.group = group
        self._home: Home = log._home
        given = [inner_of(topic) for topic in topics]
        self._make: Callable[[], InnerMember] = partial(InnerMember, log._inner, *given, group=group, **options)
        self._inner: InnerMember | None = None
        self._changed: Future[None] | None = None

    @property
    def records(self) -> list[Record[Any, Any]]:
        """What it was handed, in order."""
        return [] if self._inner is None else self._inner.records

    @property
    def error(self) -> BaseException | None:
        """What ended it, if that was an error."""
        return None if self._inner is None else self._inner.error

    @property
    def partitions(self) -> list[TopicPartition]:
        """The partitions that it has now."""
        return [] if self._inner is None else self._inner.partitions

    async def join(self) -> None:
        """Join the group, if it has not: for a member without an `async with` block."""
        if self._inner is None:
            self._inner = await self._home.call(self._make, "joining")
            self._inner.when_changed = partial(self._home.outbox.put, self._note)

    async def wait_for_partitions(self, count: int, *, timeout: float = 10.0) -> list[TopicPartition]:
        """
        Wait until it has exactly this number of partitions, and return them.

        The others give theirs up when they poll: let their tasks do that.

        Raises:
            TimeoutError: if it has another number in time.
        """
        check_int("count", count, least=0)
        loop = self._home.loop
        deadline_s = monotonic() + check_seconds("timeout", timeout)
        await self.join()
        assert self._inner is not None
        while True:
            changed = self._changed = loop.future()
            partitions = self.partitions
            if len(partitions) == count:
                return partitions
            left_s = deadline_s - monotonic()
            if left_s <= 0:
                raise self._inner.has_others(count, timeout)
            timer = loop.call_later(left_s, self._note)
            try:
                await changed
            finally:
                timer.cancel()

    def _note(self) -> None:
        """Have whoever waits look again."""
        if self._changed is not None:
            resolve(self._changed, None)

    async def close(self) -> None:
        """Leave the group in order: commit, and give the partitions back."""
        if self._inner is not None:
            await finish(self._home.loop, self._home.reader.call(self._inner.close), "leaving")

    leave = close

    async def die(self) -> None:
        """End as the death of the process would: nothing more is committed, and the group finds out by itself."""
        if self._inner is not None:
            await finish(self._home.loop, self._home.reader.call(self._inner.die), "the death")

    async def __aenter__(self) -> Self:
        await self.join()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def produced(topic: Topic[Any, Any]) -> Produced:
    """The records stored in a topic, as a sequence ordered by partition and offset: see `eventlog.testing.produced`."""
    return Produced(topic)


class Produced(StoredRecords):
    """
    The records of a topic, read again with each look; made by `produced()`: see `eventlog.testing.Produced`.

    Looks are reads in the loop; `wait` is awaited.
    """

    def __init__(self, topic: Topic[Any, Any]) -> None:
        super().__init__(topic)
        self._home = topic._home

    async def wait(self, count: int = 1, *, timeout: float = 10.0) -> list[Record[Any, Any]]:
        """
        Wait until there are enough records, and return all that there are: see `eventlog.testing.Produced.wait`.

        Raises:
            TimeoutError: if there are fewer in time. The message has what was found.
        """
        check_int("count", count, least=0)
        home = self._home
        home.check()
        waker = Waker(home.backend, home.loop, home.outbox.put)
        if not await wait_until(waker, lambda: len(self) >= count, check_seconds("timeout", timeout)):
            raise too_few(self._topic.name, self.records(), count, timeout)
        return self.records()
