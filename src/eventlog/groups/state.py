"""
The state of a consumer group: its members, what each owns, and each one's target.

Always true: a partition has at most one owner; every partition that a member owns was granted to it at some epoch;
`epoch` never goes back; `target_epoch <= epoch`. How a group changes is in `groups/rules.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from eventlog.named_tuples import NamedTuple
from eventlog.records import publish

PartitionId: TypeAlias = tuple[int, int]
"""A topic's id and a partition's number. An id, because a topic deleted and created again is another topic."""

_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})
KAFKA_ASSIGNOR: Final = "kafka node "
"""How the assignor is called of a group that a Kafka listener has: its one member, which stands for clients of it."""


class CommittedOffset(NamedTuple):
    """
    An offset that a group has committed: the next one to read.

    `committed_ms` is the time of the commit, in ms since 1970 UTC. `leader_epoch` and `metadata` are what was stored
    beside it, -1 and "" for nothing.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     meta = log.topic("orders").append(b"tea")
        ...     with log.consumer("orders", group="billing") as consumer:
        ...         records = consumer.poll(1.0)
        ...         consumer.commit(metadata="invoice 17")
        ...         found = consumer.committed_metadata(("orders", 0))
        >>> found.offset, found.metadata, found.leader_epoch
        (1, 'invoice 17', -1)
    """

    offset: int
    committed_ms: int
    leader_epoch: int = -1
    metadata: str = ""


publish(CommittedOffset)


class Life(Enum):
    """The liveness of a member, as other processes see it."""

    ALIVE = "alive"
    """Its process is alive, and its lease runs."""
    AWAY = "away"
    """Its process ended, and its lease still runs."""
    DEAD = "dead"
    """Its lease has expired, or it left no trace."""


class Subscription(NamedTuple):
    """
    The topics that a member wants, by name or by pattern.

    A pattern is the text and flags of an `re.Pattern`; it must match the whole name of a topic.
    """

    topics: tuple[str, ...] = ()
    patterns: tuple[tuple[str, int], ...] = ()

    def covers(self, topic: str) -> bool:
        """Whether it covers the topic of that name."""
        return topic in self.topics or any(re.compile(text, flags).fullmatch(topic) for text, flags in self.patterns)


class Member(NamedTuple):
    """
    One member of a group.

    `owned` maps each partition that it may use, or must still release, to the epoch at which it was granted; a commit
    must name that epoch. `target` holds the partitions that it is to own in the end.
    """

    id: str
    instance_id: str | None
    subscription: Subscription
    process_id: int
    joined_ms: int
    joined_epoch: int
    owned: Mapping[PartitionId, int] = _NOTHING
    target: frozenset[PartitionId] = frozenset()


class Group(NamedTuple):
    """
    A consumer group.

    `epoch` rises with every change of membership or targets. While `target_epoch` is behind it, the targets are those
    of an earlier membership, and a member must propose new ones. `topics_version` says for which topics and partitions
    the targets were made: topics with a later id than `newest_topic_id` did not exist then, and `partition_counts`
    holds the number of partitions of those that the members wanted.
    """

    name: str
    epoch: int = 0
    target_epoch: int = 0
    topics_version: int = -1
    newest_topic_id: int = 0
    partition_counts: Mapping[int, int] = _NOTHING
    assignor: str = ""
    created_ms: int = 0
    members: Mapping[str, Member] = _NOTHING

    @property
    def is_of_kafka(self) -> bool:
        """Whether a Kafka listener has the group, or had it last."""
        return self.assignor.startswith(KAFKA_ASSIGNOR)

    def is_stale(self, topics_version: int) -> bool:
        """Whether the targets were made for another membership or other topics."""
        return self.target_epoch < self.epoch or self.topics_version != topics_version

    def needs_targets(self, topics_version: int) -> bool:
        """Whether a member must propose new targets."""
        return bool(self.members) and self.is_stale(topics_version)

    def by_instance(self, instance_id: str | None) -> Member | None:
        """Return the static member of that name, or None."""
        if instance_id is None:
            return None
        return next((member for member in self.members.values() if member.instance_id == instance_id), None)

    def owner(self, partition: PartitionId) -> Member | None:
        """Return the owner of a partition, or None."""
        return next((member for member in self.members.values() if partition in member.owned), None)

    def in_join_order(self) -> list[Member]:
        """Return the members in the order in which they joined."""
        return sorted(self.members.values(), key=lambda member: (member.joined_epoch, member.id))


class GroupTopic(Protocol):
    """A topic, as far as groups need to know it."""

    @property
    def id(self) -> int:
        """The topic's id; a topic deleted and created again has another."""
        ...

    @property
    def name(self) -> str:
        """The topic's name."""
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
