"""The groups of a log, for asyncio."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from eventlog.aio.home import Home
from eventlog.aio.topic import Topic, inner_of
from eventlog.api import groups as api
from eventlog.api.consumer import Pair
from eventlog.options import Start
from eventlog.records import TopicPartition


class Groups:
    """
    The consumer groups of a log, for asyncio: see `eventlog.Groups`.

    A change is made to its end in a cancelled task, too. Get it from `EventLog.groups`.
    """

    def __init__(self, home: Home, inner: api.Groups) -> None:
        self._home = home
        self._inner = inner

    async def list(self) -> builtins.list[str]:
        """Return the names of all groups that have members or offsets, sorted."""
        return await self._home.read(self._inner.list, "the list of groups")

    async def describe(self, name: str) -> api.GroupDescription:
        """Describe a group as it is now."""
        return await self._home.read(partial(self._inner.describe, name), "the description")

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
