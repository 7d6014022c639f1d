"""
The members of the new protocol that a listener has, their epochs and their sessions.

Belongs to the loop; what may wait for a commit is done by the thread that commits (`place.py`), one thing at a time for
a member.

    a client                                        its epoch
    ---------------------------------------------   ------------------------------------------------------
    joins                                           that of the targets
    is told to stop using partitions                stays, until it says that it has stopped
    has nothing to give up                          that of the targets
    asks with the epoch before, its answer lost     the same answer again
    asks with any other epoch                       FENCED_MEMBER_EPOCH: it gives all up, and joins again
    is not known here, or was removed               UNKNOWN_MEMBER_ID: it joins again
    asks nothing for a session, or for 5 s after    removed
    its connection has ended, or does not give
    up in its rebalance timeout what it must
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from eventlog.backend.topics import StoredTopic
from eventlog.groups.state import PartitionId, Subscription
from eventlog.kafka.groups.consumer.place import Place, Share

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker

SESSION_S: Final = 45.0
"""Kafka's `group.consumer.session.timeout.ms`."""
ORPHAN_S: Final = 5.0
"""What is left of a session when the connection of the last heartbeat has ended: a living client soon has another."""
HEARTBEAT_S: Final = 0.5
"""Kafka's default is 5 s, and a rebalance takes as long as three of them."""


class ConsumerMember:
    """One client that is a member of a native group."""

    def __init__(self, group: str, member_id: str, place: Place, *, client_id: str, client_host: str) -> None:
        self.group = group
        self.id = member_id
        self.place = place
        self.client_id = client_id
        self.client_host = client_host
        self.instance_id: str | None = None
        self.rack: str | None = None
        self.topics: tuple[str, ...] = ()
        self.pattern = ""
        self.rebalance_timeout_s = SESSION_S
        self.epoch = 0
        self.epoch_before = 0
        self.told: frozenset[PartitionId] = frozenset()
        self.owned: Mapping[PartitionId, int] = {}
        """What it may commit for, with the epochs of the grants."""
        self.connection: object = None
        """That of its last heartbeat."""
        self.turn = asyncio.Lock()
        self.session: asyncio.TimerHandle | None = None
        self.deadline: asyncio.TimerHandle | None = None
        """When it must have given up what it was told to."""

    @property
    def subscription(self) -> Subscription:
        """What it wants."""
        return Subscription(self.topics, ((self.pattern, 0),) if self.pattern else ())

    def take(self, share: Share) -> bool:
        """Note what it has now; whether that is something else than it was told before."""
        is_changed = share.usable != self.told
        must_give_up = bool(share.owned.keys() - share.usable)
        self.owned, self.told = share.owned, share.usable
        if not must_give_up:
            epoch = max(share.epoch, self.epoch, 1)
            if epoch != self.epoch:
                self.epoch_before, self.epoch = self.epoch, epoch
        return is_changed

    @property
    def must_give_up(self) -> bool:
        """Whether it owns what it is not to use."""
        return bool(self.owned.keys() - self.told)

    def stop_timers(self) -> None:
        """Wait for it no longer."""
        for timer in (self.session, self.deadline):
            if timer is not None:
                timer.cancel()
        self.session = self.deadline = None


class ConsumerMembers:
    """All members of the new protocol of one listener."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._members: dict[tuple[str, str], ConsumerMember] = {}
        self._topics: dict[int, StoredTopic] = {}
        self._topics_version = -1
        broker.when_stopping.append(self.stop)
        broker.when_disconnected.append(self._disconnected)

    def get(self, group: str, member_id: str) -> ConsumerMember | None:
        """A member, by the id that its client has."""
        return self._members.get((group, member_id))

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._members)

    def by_place(self) -> dict[str, ConsumerMember]:
        """All members, by the ids that native members see."""
        return {member.place.id: member for member in self._members.values()}

    def by_instance(self, group: str, instance_id: str) -> ConsumerMember | None:
        """A static member."""
        return next(
            (one for one in self._members.values() if one.group == group and one.instance_id == instance_id), None
        )

    async def call(self, function: Callable[[], Any]) -> Any:
        """Have something done that may wait for a commit."""
        return await self._broker.call(function)

    def add(self, member: ConsumerMember) -> None:
        """Know one more."""
        self._members[member.group, member.id] = member

    def forget(self, member: ConsumerMember) -> None:
        """Know it no longer."""
        member.stop_timers()
        if self._members.get((member.group, member.id)) is member:
            del self._members[member.group, member.id]

    def renew(self, member: ConsumerMember) -> None:
        """Begin its session again, and the time in which it has to give up what it must."""
        loop = self._broker.loop
        if self._members.get((member.group, member.id)) is not member:
            return
        if member.session is not None:
            member.session.cancel()
        member.session = loop.call_later(SESSION_S, self._remove, member)
        if not member.must_give_up and member.deadline is not None:
            member.deadline.cancel()
            member.deadline = None
        elif member.must_give_up and member.deadline is None:
            member.deadline = loop.call_later(member.rebalance_timeout_s, self._remove, member)

    def _disconnected(self, connection: object) -> None:
        """Wait less long for the members that were heard by a connection, which has ended."""
        loop = self._broker.loop
        for member in self._members.values():
            if member.connection is connection and member.session is not None:
                member.connection = None
                at_s = min(member.session.when(), loop.time() + ORPHAN_S)
                member.session.cancel()
                member.session = loop.call_at(at_s, self._remove, member)

    def _remove(self, member: ConsumerMember) -> None:
        """Remove a member that was silent for too long, or kept too long what it had to give up."""
        self.forget(member)
        left = self._broker.call(member.place.leave)
        left.add_done_callback(_forget_outcome)

    def stop(self) -> None:
        """Have all members leave: the listener stops."""
        for member in list(self._members.values()):
            self._remove(member)

    # -- topics ----------------------------------------------------------------------------------------------

    def named(self, partitions: Iterable[PartitionId]) -> list[dict[str, Any]]:
        """Partitions as messages of the protocol have them, as far as their topics are there."""
        version = self._broker.backend.topics_version()
        if version != self._topics_version:
            self._topics = {topic.id: topic for topic in self._broker.backend.topics()}
            self._topics_version = version
        found: dict[int, list[int]] = {}
        for topic_id, number in sorted(partitions):
            if topic_id in self._topics:
                found.setdefault(topic_id, []).append(number)
        return [
            {
                "topic_id": self._topics[topic_id].uuid,
                "topic_name": self._topics[topic_id].name,
                "partitions": numbers,
            }
            for topic_id, numbers in found.items()
        ]

    def reported(self, topics: list[dict[str, Any]] | None) -> frozenset[PartitionId] | None:
        """What a client says that it uses."""
        if topics is None:
            return None
        pairs = ((self._broker.topic_of_id(one["topic_id"]), one["partitions"]) for one in topics)
        return frozenset((topic.id, number) for topic, numbers in pairs if topic is not None for number in numbers)


def consumer_members(broker: Broker) -> ConsumerMembers:
    """The members of a listener, made with the first request for them."""
    if broker.consumers is None:
        broker.consumers = ConsumerMembers(broker)
    found: ConsumerMembers = broker.consumers
    return found


def _forget_outcome(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()
