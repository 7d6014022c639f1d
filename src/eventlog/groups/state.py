"""
What is known of a consumer group: its members, what each owns, and what each is to own.

Always true: a partition has at most one owner; a member owns nothing that it was not granted at some epoch; `epoch`
never goes back; `target_epoch <= epoch`. Knows nothing of how a group changes (`groups/rules.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Generic, NamedTuple, Protocol, TypeAlias, TypeVar

import attrs

PartitionId: TypeAlias = tuple[int, int]
"""A topic's id and a partition's number. Ids, because a topic made anew under an old name is another topic."""


class Life(Enum):
    """Tells what can be seen of a member from outside."""

    ALIVE = "alive"
    """Its process lives, and its lease runs."""
    AWAY = "away"
    """Its process ended, and its lease still runs."""
    DEAD = "dead"
    """Its lease is over, or it left no trace."""


class Subscription(NamedTuple):
    """
    Says which topics a member wants: by name, or by pattern.

    A pattern is a text and its flags, as of `re.Pattern`; it must match a topic's whole name.
    """

    topics: tuple[str, ...] = ()
    patterns: tuple[tuple[str, int], ...] = ()

    def covers(self, topic: str) -> bool:
        """Whether it wants the topic of that name."""
        return topic in self.topics or any(re.compile(text, flags).fullmatch(topic) for text, flags in self.patterns)


@attrs.frozen
class Member:
    """
    One member of a group.

    `owned` maps each partition that it may use, or has yet to give up, to the epoch at which it was granted; a
    commit must name that epoch. `target` is what it is to own in the end.
    """

    id: str
    instance_id: str | None
    subscription: Subscription
    process_id: int
    joined_ms: int
    joined_epoch: int
    owned: Mapping[PartitionId, int] = attrs.field(factory=dict)
    target: frozenset[PartitionId] = frozenset()


@attrs.frozen
class Group:
    """
    A consumer group.

    `epoch` rises with every change of who is to own what. While `target_epoch` is behind it, the members' targets
    are those of an earlier membership, and somebody has to propose new ones. `topics_version` says which topics and
    partitions the targets were made for: topics with a later id than `newest_topic_id` were not there then, and those
    that the members wanted had so many partitions as `partition_counts` says.
    """

    name: str
    epoch: int = 0
    target_epoch: int = 0
    topics_version: int = -1
    newest_topic_id: int = 0
    partition_counts: Mapping[int, int] = attrs.field(factory=dict)
    assignor: str = ""
    created_ms: int = 0
    members: Mapping[str, Member] = attrs.field(factory=dict)

    def is_stale(self, topics_version: int) -> bool:
        """Whether the targets are those of another membership, or of other topics."""
        return self.target_epoch < self.epoch or self.topics_version != topics_version

    def needs_targets(self, topics_version: int) -> bool:
        """Whether somebody has to propose new targets."""
        return bool(self.members) and self.is_stale(topics_version)

    def by_instance(self, instance_id: str | None) -> Member | None:
        """The static member of that name."""
        if instance_id is None:
            return None
        return next((member for member in self.members.values() if member.instance_id == instance_id), None)

    def owner(self, partition: PartitionId) -> Member | None:
        """The member that owns a partition."""
        return next((member for member in self.members.values() if partition in member.owned), None)

    def in_join_order(self) -> list[Member]:
        """The members, those first that joined first."""
        return sorted(self.members.values(), key=lambda member: (member.joined_epoch, member.id))


class GroupTopic(Protocol):
    """A topic, as far as groups have to know it."""

    @property
    def id(self) -> int:
        """Its number; a topic made anew under an old name has another."""
        ...

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def partitions(self) -> int:
        """How many partitions it has."""
        ...


TopicT = TypeVar("TopicT", bound=GroupTopic)


class GroupSnapshot(NamedTuple, Generic[TopicT]):
    """A group and all topics, at one moment."""

    group: Group
    topics: list[TopicT]
    topics_version: int
