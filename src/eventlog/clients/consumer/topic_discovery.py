"""
Topic discovery: a consumer that shares with nobody takes every partition of its topics, later ones too.

Members of groups have `clients/consumer/group/membership.py` instead.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from eventlog.backend import Backend
from eventlog.backend.topics import deleted_topic
from eventlog.clients.consumer.fetcher import LOOK_SECONDS
from eventlog.clients.consumer.positions import Positions
from eventlog.clients.consumer.starts import StartOffsets
from eventlog.clients.topic_handle import TopicHandle
from eventlog.errors import UnknownPartition, UnknownTopic
from eventlog.groups.state import Subscription
from eventlog.records import TopicPartition


class TopicDiscovery:
    """
    The partitions that a consumer without sharing reads: all of its topics, later ones too.

    Belongs to the consumer's thread.
    """

    def __init__(
        self,
        backend: Backend,
        open_topic: Callable[[str], TopicHandle],
        positions: Positions,
        starts: StartOffsets,
        subscription: Subscription,
    ) -> None:
        self._backend = backend
        self._open_topic = open_topic
        self._positions = positions
        self._starts = starts
        self._subscription = subscription
        self.subjects: frozenset[int] | None = None if subscription.patterns else frozenset()
        """What to be notified of beside the topics that are read; None is everything, as any new topic may match."""
        self._transaction = backend.last_transaction()
        self._version = -1
        self._look_at_s = 0.0
        self._missing = MissingTopics(subscription)
        self._follow()

    def attend(self, *, is_busy: bool) -> None:
        """
        Look for new partitions, which are read from their first record, whatever `start` says, and drop deleted ones.

        A busy consumer looks less often.

        Raises:
            UnknownTopic: if nothing is left of what it names.
        """
        if is_busy:
            now_s = self._backend.clock.monotonic()
            if now_s < self._look_at_s:
                return
            self._look_at_s = now_s + LOOK_SECONDS
        transaction = self._backend.last_transaction()
        if transaction != self._transaction:
            self._transaction = transaction
            if self._backend.topics_version() != self._version:
                self._follow()
        if self._missing.are_all:
            raise self._missing.error()

    def follow(self) -> None:
        """Learn of topics that were made or deleted since `attend`."""
        if self._backend.last_transaction() != self._transaction and self._backend.topics_version() != self._version:
            self._follow()

    def _follow(self) -> None:
        is_first = self._version < 0
        version = self._backend.topics_version()
        rows = {row.name: row for row in self._backend.topics() if self._subscription.covers(row.name)}
        self._missing.learn(rows)
        topics = [(self._open_topic(name), row) for name, row in rows.items()]
        ids = {row.id for row in rows.values()}
        gone = [position.tp for position in self._positions.order if position.cursor.route.row.id not in ids]
        self._positions.drop(gone)
        fresh = [
            (topic, tp)
            for topic, row in topics
            for number in range(topic.learn(row).partitions)
            if self._positions.get(tp := TopicPartition(row.name, number)) is None
        ]
        self._positions.add(self._starts.positions(fresh, start=None if is_first else "earliest"))
        self._version = version


class MissingTopics:
    """
    The topics that a consumer names and that were deleted.

    As in Kafka, the others are read on. Each deletion is logged once, as a warning, unless none is left to read.
    """

    def __init__(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self._missing: set[str] = set()
        self.are_all = False
        """Whether nothing is left to read: all topics that it names were deleted, and it has no pattern."""

    def learn(self, existing: Collection[str]) -> None:
        """Note which topics there are."""
        names = self._subscription.topics
        missing = {name for name in names if name not in existing}
        fresh, self._missing = missing - self._missing, missing
        self.are_all = bool(missing) and len(missing) == len(names) and not self._subscription.patterns
        if fresh and not self.are_all:
            from eventlog.notices import TOPIC_DELETED, tell

            is_one = len(fresh) == 1
            what = f"topic{'' if is_one else 's'} {', '.join(map(repr, sorted(fresh)))}"
            tell(TOPIC_DELETED, what=what, verb="was" if is_one else "were", topics=sorted(fresh))

    def error(self) -> UnknownTopic:
        """The error of a consumer that has nothing left."""
        return deleted_topic(min(self._missing), "read")


class ChosenTopics:
    """
    The topics of partitions that a consumer chose by `assign()`: a name means the topic that has it now.

    Belongs to the consumer's thread.
    """

    def __init__(
        self, backend: Backend, open_topic: Callable[[str], TopicHandle], positions: Positions, starts: StartOffsets
    ) -> None:
        self._backend = backend
        self._open_topic = open_topic
        self._positions = positions
        self._starts = starts
        self._transaction = backend.last_transaction()
        self._version = -1
        self._lacking: dict[TopicPartition, int] = {}
        """The chosen partitions that a topic made again does not have, each with the number that it has."""

    def follow(self, named: Collection[object]) -> bool:
        """
        Go on with topics that were made again since we looked; return whether there were any.

        Raises:
            UnknownPartition: one of the named partitions is not in the topic that has the name now.
        """
        is_any = False
        transaction = self._backend.last_transaction()
        if transaction != self._transaction:
            version = self._backend.topics_version()
            if version != self._version:
                is_any = self.begin_again()
            self._transaction, self._version = transaction, version
        if self._lacking:
            self.check(one for one in named if isinstance(one, tuple))
        return is_any

    def begin_again(self) -> bool:
        """Go to the first record of topics that were made again; return whether there were any."""
        rows = {row.name: row for row in self._backend.topics()}
        stale = [
            (position, row)
            for position in self._positions.order
            if (row := rows.get(position.tp.topic)) is not None and row.id != position.topic_id
        ]
        again = [one for one, row in stale if one.tp.partition < row.partitions]
        fresh = self._starts.positions([(self._open_topic(one.tp.topic), one.tp) for one in again], start="earliest")
        self._positions.drop(one.tp for one in again)
        self._positions.add(fresh)
        for one, position in zip(again, fresh, strict=True):
            position.is_paused = one.is_paused
        self._lacking = {one.tp: row.partitions for one, row in stale if one.tp.partition >= row.partitions}
        return bool(again)

    def forget(self) -> None:
        """Note that others were chosen, which are there."""
        self._lacking = {}

    def check(self, partitions: Iterable[object] | None = None) -> None:
        """Raise `UnknownPartition` for the first of some partitions, or of all, that its topic does not have."""
        for tp in self._lacking if partitions is None else partitions:
            count = self._lacking.get(tp)  # type: ignore[call-overload]
            if count is not None:
                raise self._error(*TopicPartition(*tp), count)  # type: ignore[misc]

    def _error(self, topic: str, partition: int, count: int) -> UnknownPartition:
        return UnknownPartition(
            f"cannot use {topic}[{partition}]: the topic was made again since it was assigned, with "
            f"{count} partition{'' if count == 1 else 's'}.",
            stored="The assignment is unchanged, and nothing was stored.",
            advice="assign() partitions that the topic has now.",
            topic=topic,
            partition=partition,
        )
