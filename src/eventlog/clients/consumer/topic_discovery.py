"""
Topic discovery: a consumer that shares with nobody takes every partition of its topics, later ones too.

Members of groups have `clients/consumer/group/membership.py` instead.
"""

from __future__ import annotations

from collections.abc import Callable

from eventlog.backend import Backend
from eventlog.clients.consumer.positions import Positions
from eventlog.clients.consumer.starts import StartOffsets
from eventlog.clients.topic_handle import TopicHandle
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
        self._follow()

    def attend(self) -> None:
        """
        Look for new partitions; they are read from their first record, whatever `start` says.

        If a named topic was deleted, the next fetch raises that; those of a pattern just end.
        """
        transaction = self._backend.last_transaction()
        if transaction == self._transaction:
            return
        self._transaction = transaction
        if self._backend.topics_version() != self._version:
            self._follow()

    def _follow(self) -> None:
        is_first = self._version < 0
        version = self._backend.topics_version()
        rows = [row for row in self._backend.topics() if self._subscription.covers(row.name)]
        topics = [(self._open_topic(row.name), row) for row in rows]
        names = {row.name for row in rows} | set(self._subscription.topics)
        self._positions.drop([tp for tp in self._positions.partitions() if tp.topic not in names])
        fresh = [
            (topic, tp)
            for topic, row in topics
            for number in range(topic.learn(row).partitions)
            if self._positions.get(tp := TopicPartition(row.name, number)) is None
        ]
        self._positions.add(self._starts.positions(fresh, start=None if is_first else "earliest"))
        self._version = version
