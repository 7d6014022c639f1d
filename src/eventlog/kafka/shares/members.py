"""
The members of share groups that a listener has: what they subscribe to, their epochs and how long they live.

Each member may take records of all partitions of its topics, so nobody waits when another one has gone; Kafka gives
each some of them. What is taken is the matter of sessions. Belongs to the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol
from uuid import UUID

from eventlog.backend.topics import StoredTopic
from eventlog.kafka.shares.configs import settings_of
from eventlog.kafka.shares.stored import GroupConfigs

if TYPE_CHECKING:
    from eventlog.kafka.listener.broker import Broker

MOST_MEMBERS: Final = 200
"""Kafka's `group.share.max.size`."""
_MOST_EPOCHS: Final = 1000
"""How many groups are remembered that have no members."""
ORPHAN_S: Final = 5.0
"""What is left of a membership when the connection of the last heartbeat has ended."""

Assignment = tuple[tuple[UUID, int], ...]
"""Topics by their ids, and the number of their partitions."""


class MemberLeft(Protocol):
    """What is called for a member that has gone."""

    def __call__(self, group: str, member_id: str, *, is_dead: bool) -> None:
        """Note it."""
        ...


class ShareMember:
    """One member of a share group."""

    def __init__(self, group: str, member_id: str, *, client_id: str, client_host: str, rack: str | None) -> None:
        self.group = group
        self.id = member_id
        self.client_id = client_id
        self.client_host = client_host
        self.rack = rack
        self.topics: tuple[str, ...] = ()
        self.epoch = 0
        self.epoch_before = 0
        self.told: Assignment = ()
        self.begun: frozenset[int] = frozenset()
        """The topics, by id, that its queue has begun with."""
        self.connection: object = None
        self.session: asyncio.TimerHandle | None = None


class ShareMembers:
    """The members of share groups of one listener."""

    def __init__(self, broker: Broker, configs: GroupConfigs, left: MemberLeft) -> None:
        self._broker = broker
        self._configs = configs
        self._left = left
        self._members: dict[str, dict[str, ShareMember]] = {}
        self._epochs: dict[str, int] = {}

    def get(self, group: str, member_id: str) -> ShareMember | None:
        """A member."""
        return self._members.get(group, {}).get(member_id)

    def of_group(self, group: str) -> list[ShareMember]:
        """The members of a group, in the order in which they came."""
        return list(self._members.get(group, {}).values())

    def groups(self) -> Iterable[str]:
        """The groups that have members here."""
        return self._members.keys()

    @property
    def count(self) -> int:
        """How many there are, of all groups."""
        return sum(map(len, self._members.values()))

    def epoch(self, group: str) -> int:
        """The epoch of a group, one more with each change of its members or of what they have."""
        return self._epochs.get(group, 0)

    def add(self, member: ShareMember) -> None:
        """Have one member more."""
        self._members.setdefault(member.group, {})[member.id] = member
        self.note_change(member.group)

    def note_change(self, group: str) -> None:
        """Begin another epoch of a group."""
        self._epochs[group] = self._epochs.pop(group, 0) + 1
        while len(self._epochs) > max(_MOST_EPOCHS, len(self._members)):
            oldest = next(iter(self._epochs))
            del self._epochs[oldest]

    def keep(self, member: ShareMember) -> int:
        """Wait for its next heartbeat for a session from now on; how often it is to send one, in ms."""
        if member.session is not None:
            member.session.cancel()
        settings = settings_of(self._configs.of(member.group))
        member.session = self._broker.loop.call_later(settings.session_s, self.remove, member)
        return settings.heartbeat_ms

    def remove(self, member: ShareMember, *, is_dead: bool = True) -> None:
        """Have one member less: it has left, or was silent for too long."""
        if member.session is not None:
            member.session.cancel()
            member.session = None
        members = self._members.get(member.group, {})
        if members.get(member.id) is member:
            del members[member.id]
            self.note_change(member.group)
            if not members:
                del self._members[member.group]
            self._left(member.group, member.id, is_dead=is_dead)

    def disconnected(self, connection: object) -> None:
        """Wait less long for the members that were heard by a connection, which has ended."""
        loop = self._broker.loop
        for members in self._members.values():
            for member in members.values():
                if member.connection is connection and member.session is not None:
                    member.connection = None
                    at_s = min(member.session.when(), loop.time() + ORPHAN_S)
                    member.session.cancel()
                    member.session = loop.call_at(at_s, self.remove, member)

    def stop(self) -> None:
        """Have all members leave: the listener stops."""
        for members in list(self._members.values()):
            for member in list(members.values()):
                self.remove(member, is_dead=False)

    # -- assignments -------------------------------------------------------------------------------------------

    def topics_of(self, member: ShareMember) -> list[StoredTopic]:
        """The topics that a member subscribes to, as far as they are there."""
        found = (self._broker.backend.topic(name) for name in member.topics)
        return [topic for topic in found if topic is not None]

    def named(self, assignment: Assignment, *, has_names: bool = False) -> list[dict[str, Any]]:
        """An assignment as messages of the protocol have it."""
        parts: list[dict[str, Any]] = []
        for topic_id, count in assignment:
            part: dict[str, Any] = {"topic_id": topic_id, "partitions": list(range(count))}
            if has_names:
                topic = self._broker.topic_of_id(topic_id)
                part["topic_name"] = "" if topic is None else topic.name
            parts.append(part)
        return parts
