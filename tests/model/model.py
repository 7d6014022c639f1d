"""
What a log is, in dicts and lists: the truth that the store is compared with.

A partition keeps every record it ever had, so that a consumer which fetched a record before it was deleted is not
wrong to hand it out. Knows nothing of eventlog.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import attrs

Pair: TypeAlias = tuple[str, int]
Place: TypeAlias = str | int
"""Where reading begins or ends: "earliest", "latest", or an offset."""


@attrs.frozen
class Row:
    """One record, without its place."""

    timestamp_ms: int
    key: Any
    value: Any
    headers: tuple[tuple[str, bytes | None], ...] = ()


@attrs.define
class ModelPartition:
    """A list of records and where it begins. The offset of a record is its index, for ever."""

    history: list[Row] = attrs.Factory(list)
    first: int = 0

    @property
    def end(self) -> int:
        """The offset of the next record."""
        return len(self.history)

    def holds(self, offset: int) -> bool:
        """Whether a reader may stand there."""
        return self.first <= offset <= self.end

    def place(self, place: Place) -> int:
        """The offset that a place means."""
        if isinstance(place, int):
            return place
        return self.first if place == "earliest" else self.end

    def offset_of_time(self, timestamp_ms: int) -> int:
        """The first offset of this time or later."""
        for offset in range(self.first, self.end):
            if self.history[offset].timestamp_ms >= timestamp_ms:
                return offset
        return self.end

    def rows(self, first: int, end: int) -> list[tuple[int, Row]]:
        """The records from one offset to another, with their offsets."""
        return [(offset, self.history[offset]) for offset in range(first, min(end, self.end))]


@attrs.define
class ModelLog:
    """The topics of a log, and what its groups have committed."""

    topics: dict[str, list[ModelPartition]] = attrs.Factory(dict)
    committed: dict[tuple[str, Pair], int] = attrs.Factory(dict)
    groups: set[str] = attrs.Factory(set)
    """The groups that had a member."""

    def partition(self, tp: Pair) -> ModelPartition:
        """One partition."""
        return self.topics[tp[0]][tp[1]]

    def pairs(self, topics: Iterable[str]) -> list[Pair]:
        """All partitions of some topics."""
        return [(topic, number) for topic in topics for number in range(len(self.topics[topic]))]

    def delete_topic(self, topic: str) -> None:
        """Takes a topic and all offsets of it away."""
        del self.topics[topic]
        self.committed = {place: offset for place, offset in self.committed.items() if place[1][0] != topic}


@attrs.define
class ModelConsumer:
    """The positions of a consumer: handed out, finished and committed, in each partition."""

    group: str | None
    auto_commits: bool
    handed: dict[Pair, int]
    finished: dict[Pair, int]
    committed: dict[Pair, int | None]
    start: Place = "earliest"
    paused: set[Pair] = attrs.Factory(set)

    def adopt(self, log: ModelLog, tp: Pair) -> None:
        """Takes a partition that appeared; it is read from its first record, whatever `start` says."""
        first = log.partition(tp).first
        self.handed[tp] = self.finished[tp] = first
        self.committed[tp] = None
        if self.group is not None and self.start != "earliest":
            log.committed[self.group, tp] = self.committed[tp] = first

    def active(self) -> list[Pair]:
        """The partitions that are not paused."""
        return [tp for tp in self.handed if tp not in self.paused]

    def seek(self, tp: Pair, offset: int) -> None:
        """Goes to an offset; nothing before it counts as unfinished."""
        self.handed[tp] = self.finished[tp] = offset

    def finish(self) -> None:
        """Asking for more says that everything handed out is finished."""
        self.finished = dict(self.handed)

    def commit(self, log: ModelLog, offsets: dict[Pair, int] | None = None) -> None:
        """Stores offsets, or what is finished."""
        if self.group is None:
            return
        for tp, offset in (self.finished if offsets is None else offsets).items():
            if offsets is not None or self.committed.get(tp) != offset:
                log.committed[self.group, tp] = offset
            if tp in self.handed:
                self.committed[tp] = self.finished[tp] = offset

    def close(self, log: ModelLog) -> None:
        """Commits what is finished, when nobody has to ask for it."""
        if self.auto_commits:
            self.commit(log)
