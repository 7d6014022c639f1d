"""The groups of a log, for asyncio."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from eventlog.aio.home import Home
from eventlog.aio.topic import Topic, inner_of
from eventlog.aio.waking import Waker
from eventlog.api import groups as api
from eventlog.api.consumer import Pair
from eventlog.clients.admin.groups import EmbeddedGroups
from eventlog.clients.admin.waiting import Goal, behind
from eventlog.options import Start, check_group_name, check_seconds
from eventlog.records import TopicPartition


class Groups:
    """
    The consumer groups of a log, for asyncio: see `eventlog.Groups`.

    A change is made to its end in a cancelled task, too. Get it from `EventLog.groups`.
    """

    def __init__(self, home: Home, inner: EmbeddedGroups, waker: Waker) -> None:
        self._home = home
        self._inner = inner
        self._waker = waker

    async def list(self) -> builtins.list[str]:
        """Return the names of all groups that have members or offsets, sorted."""
        return await self._home.read(self._inner.list, "the list of groups")

    async def describe(self, name: str) -> api.GroupDescription:
        """Describe a group as it is now."""
        return await self._home.read(partial(self._inner.describe, name), "the description")

    async def wait(
        self, name: str, *, topics: Iterable[str | Topic[Any, Any]] | None = None, timeout: float | None = None
    ) -> None:
        """
        Wait until a group has committed everything that is stored at the call: see `eventlog.Groups.wait`.

        If the task is cancelled, nothing was changed.
        """
        backend = self._home.backend
        check_group_name(name)
        deadline_s = None if timeout is None else backend.clock.monotonic() + check_seconds("timeout", timeout)
        chosen = None if topics is None else [inner_of(topic) for topic in topics]
        goal: Goal = await self._home.read(partial(self._inner._goal, name, chosen), "the look at the group")
        ear = self._waker.ear()
        ear.subscribe(goal.subjects)
        ear.is_at_rest = lambda: False  # the order of the log does not tell of commits: look at each notification
        try:
            while True:
                ear.is_rung = False
                lags = await self._home.read(goal.lags, "the look at the group")
                if lags == {}:
                    return
                left_s = float("inf") if deadline_s is None else deadline_s - backend.clock.monotonic()
                if left_s <= 0:
                    raise behind(name, lags, timeout)
                await ear.wait(left_s)
        finally:
            ear.close()

    async def reset_offsets(
        self,
        name: str,
        *,
        to: Start | None = None,
        shift: int | None = None,
        offsets: Mapping[TopicPartition, int] | Mapping[tuple[str, int], int] | None = None,
        topics: Iterable[str | Topic[Any, Any]] | None = None,
        partitions: Iterable[Pair] | None = None,
        force: bool = False,
        dry_run: bool = False,
    ) -> dict[TopicPartition, int]:
        """Change the committed offsets of a group: see `eventlog.Groups.reset_offsets`."""
        change = partial(
            self._inner.reset_offsets,
            name,
            to=to,
            shift=shift,
            offsets=offsets,
            topics=None if topics is None else [inner_of(topic) for topic in topics],
            partitions=partitions,
            force=force,
            dry_run=dry_run,
        )
        return await self._home.call(change, "the change of offsets")

    async def delete(self, name: str, *, force: bool = False) -> None:
        """Delete a group: see `eventlog.Groups.delete`."""
        await self._home.call(partial(self._inner.delete, name, force=force), "the deletion")

    async def delete_offsets(self, name: str, topic: str | Topic[Any, Any], *, force: bool = False) -> None:
        """Delete a group's offsets of one topic: see `eventlog.Groups.delete_offsets`."""
        await self._home.call(partial(self._inner.delete_offsets, name, inner_of(topic), force=force), "the deletion")
