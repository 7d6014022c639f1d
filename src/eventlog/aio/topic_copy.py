"""Copies of topics, for asyncio: they are made by `EventLog.copy_topic`."""

from __future__ import annotations

from functools import partial
from typing import Any, Generic

from eventlog.aio.home import Home
from eventlog.aio.topic import Topic
from eventlog.clients.copying.topic_copy import TopicCopy as InnerCopy
from eventlog.records import K, TopicPartition, V


class TopicCopy(Generic[K, V]):
    """
    The copy of a topic, for asyncio: see `eventlog.TopicCopy`.

    Get one from `EventLog.copy_topic()`, again at any time.
    """

    def __init__(self, home: Home, inner: InnerCopy[K, V]) -> None:
        self._home = home
        self._inner = inner

    @property
    def topic(self) -> Topic[K, V]:
        """The new topic."""
        new: Any = self._inner.topic
        return Topic(self._home, new)

    @property
    def records(self) -> int:
        """The number of records that were copied, in all calls together; read in the loop."""
        return self._inner.records

    def offset(self, partition: int, offset: int) -> int:
        """
        Return the offset that stands in the new topic for one of the old topic: see `eventlog.TopicCopy.offset`.

        It is a look at some rows, in the loop.
        """
        self._home.check()
        return self._inner.offset(partition, offset)

    async def carry_groups(self, *groups: str, force: bool = False) -> dict[str, dict[TopicPartition, int]]:
        """
        Commit for groups of the old topic the offsets in the new one: see `eventlog.TopicCopy.carry_groups`.

        A cancelled task is cancelled when it is done.
        """
        return await self._home.call(partial(self._inner.carry_groups, *groups, force=force), "the change of offsets")

    def __repr__(self) -> str:
        return repr(self._inner)
