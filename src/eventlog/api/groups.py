"""The consumer groups of a log as users see them: to list, describe, reset and delete."""

from __future__ import annotations

import builtins
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

import attrs

from eventlog.api.consumer import Pair
from eventlog.api.features import FrontDoor
from eventlog.api.topic import Topic
from eventlog.options import Start
from eventlog.records import TopicPartition, publish

GroupState: TypeAlias = Literal["empty", "assigning", "stable"]
MemberState: TypeAlias = Literal["alive", "away", "dead"]


@attrs.frozen
class MemberDescription:
    """
    One member of a group, as others see it.

    It subscribes to `topics` and `patterns`, owns `partitions`, and is to own `waits_for`, which others must release
    first. `state` is "alive" if its process is alive and neither `session_timeout` nor `max_poll_interval` has passed;
    "away" for a static member whose process ended and whose place is kept; or "dead" if the others will remove it. Only
    an "alive" member counts as live.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     topic = log.topic("orders", partitions=2)
        ...     with log.consumer(topic, group="billing") as consumer:
        ...         member = log.groups.describe("billing").members[0]
        >>> member.state, member.topics, len(member.partitions), member.waits_for
        ('alive', ('orders',), 2, ())
    """

    member_id: str
    instance_id: str | None
    process_id: int
    state: MemberState
    joined_ms: int
    topics: tuple[str, ...]
    patterns: tuple[str, ...]
    partitions: tuple[TopicPartition, ...]
    waits_for: tuple[TopicPartition, ...]


@attrs.frozen
class PartitionOffsets:
    """
    The offsets of a group in one partition.

    `committed` is the next offset to read, and `committed_ms` the time when it was committed or reset, in ms since 1970
    UTC; both are None if there is none. `first` and `end` are the bounds of the partition, `end` exclusive. `lag` is
    the number of offsets from the committed one to the end; without a committed offset it counts the whole partition,
    because a group begins there by default. `member_id` is the owner. `metadata` and `leader_epoch` were stored beside
    the committed offset, "" and None for nothing.

    A member with nothing to read commits nothing, so an old `committed_ms` is a sign of trouble only if there is a lag.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     ranges = log.topic("orders").append_many([b"tea", b"milk", b"salt"])
        ...     with log.consumer("orders", group="billing") as consumer:
        ...         records = consumer.poll(max_records=2)
        ...         consumer.commit()
        ...     place = log.groups.describe("billing").offsets[0]
        >>> place.committed, place.end, place.lag, place.member_id
        (2, 3, 1, None)
    """

    topic: str
    partition: int
    committed: int | None
    committed_ms: int | None
    first: int
    end: int
    lag: int
    member_id: str | None
    metadata: str = ""
    leader_epoch: int | None = None


@attrs.frozen
class GroupDescription:
    """
    A group: its members, and its offsets in each partition.

    `state` is "empty" without a live member, "assigning" while partitions are being divided or move between members,
    and otherwise "stable". `epoch` rises with every change of membership or targets. `assignor` is the one that the
    members use or last used, or None; of a group of Kafka's clients by the classic protocol it is "kafka node" with
    number and address of their listener, which is its one member. `members` are in the order in which they joined.
    `offsets` covers the partitions with committed offsets and those that members own or wait for.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     topic = log.topic("orders")
        ...     with log.consumer(topic, group="billing") as consumer:
        ...         group = log.groups.describe("billing")
        >>> group.state, group.assignor, len(group.members), group.lag
        ('stable', 'sticky', 1, 0)
    """

    name: str
    state: GroupState
    epoch: int
    assignor: str | None
    members: tuple[MemberDescription, ...]
    offsets: tuple[PartitionOffsets, ...]

    @property
    def lag(self) -> int:
        """The lag of all partitions together."""
        return sum(place.lag for place in self.offsets)


class Groups(FrontDoor):
    """
    The consumer groups of a log.

    Any thread may call any method, without a consumer. Every change is one transaction, all or nothing. A change of
    the offsets of live members is refused unless it is forced; then all members are fenced in the same transaction.
    They can commit nothing more, are told by `on_lost` at their next poll, join again by themselves, and go on from the
    new offsets. A static member that is away does not count as live and loses its place. A consumer that chose its
    partitions with `assign()` is not a member: it is not seen here, and its next commit stores its own position.

    Get it from `EventLog.groups`.

    Example:
        >>> with eventlog.open(":memory:") as log:
        ...     ranges = log.topic("orders").append_many([b"tea", b"milk"])
        ...     with log.consumer("orders", group="billing") as consumer:
        ...         records = consumer.poll()
        ...         consumer.commit()
        ...     before = log.groups.describe("billing").lag
        ...     offsets = log.groups.reset_offsets("billing", to="earliest")
        ...     log.groups.list(), before, log.groups.describe("billing").lag
        (['billing'], 0, 2)
    """

    __slots__ = ()

    @abstractmethod
    def list(self) -> builtins.list[str]:
        """Return the names of all groups that have members or offsets, sorted."""

    @abstractmethod
    def describe(self, name: str) -> GroupDescription:
        """
        Describe a group as it is now.

        Members and offsets are of one moment; liveness is checked right after it.

        Raises:
            UnknownGroup: the group has neither members nor offsets.
        """

    @abstractmethod
    def wait(
        self, name: str, *, topics: Iterable[str | Topic[Any, Any]] | None = None, timeout: float | None = None
    ) -> None:
        """
        Wait until a group has committed everything that is stored at the call, whichever processes its members are in.

        In a test: until the service has done what it was sent. In production: until a group may be stopped, or has
        caught up with another. It sleeps until the group commits, and needs no member here. A group that does not exist
        yet is waited for. Records that are deleted meanwhile are not waited for.

        A consumer that commits by itself does so every `auto_commit_interval`, so this may take as long as that after
        the last record was worked on.

        Args:
            topics: wait for these alone. None is every topic that the group has offsets of or that its members
                subscribe to, and each topic of the log is looked at once.
            timeout: seconds to wait; None waits forever, even if the group has no member.

        Raises:
            GroupBehind: the group has not come so far in time; a `TimeoutError`. Nothing was changed.
            UnknownTopic: there is no such topic.
            LogClosed: the log was closed meanwhile.

        Example:
            >>> with eventlog.open(":memory:") as log:
            ...     ranges = log.topic("orders").append_many([b"tea", b"milk"])
            ...     with log.consumer("orders", group="billing") as consumer:
            ...         records = consumer.poll()
            ...         consumer.commit()
            ...     log.groups.wait("billing", timeout=1.0)
        """

    @abstractmethod
    def reset_offsets(
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
        """
        Change the committed offsets of a group, in some partitions or in all that it knows.

        Pass exactly one of `to`, `shift` and `offsets`. Without `topics`, `partitions` and `offsets` it changes the
        partitions with committed offsets, and those that members own or wait for. To create a group, name its topics.

        Args:
            to: "earliest", "latest", an offset that all of the partitions have, or a `datetime`: the first record at
                or after that time, or the end if there is none.
            shift: the number of offsets to go forward, or back if negative, from the committed offset. It stops at the
                bounds of the partition.
            offsets: the next offset to read, for each partition to change.
            topics: change all partitions of these topics.
            partitions: change these partitions, in addition to those of `topics`.
            force: fence live members instead of refusing.
            dry_run: store nothing and fence nobody; return and raise what the same call would without it.

        Returns:
            The new committed offsets.

        Raises:
            GroupNotEmpty: a member is live, and `force` is not given. Nothing was stored.
            UnknownGroup: no partition is named, and there is no such group.
            UnknownTopic, UnknownPartition: there is no such topic or partition. Nothing was stored.
            OffsetOutOfRange: a partition does not have the new offset. Nothing was stored.
            ValueError, TypeError: arguments contradict each other, or there is no committed offset to `shift`.
        """

    @abstractmethod
    def delete(self, name: str, *, force: bool = False) -> None:
        """
        Delete a group: its offsets, and the remains of its members.

        Args:
            force: fence live members instead of refusing. They join again and create the group without offsets.

        Raises:
            GroupNotEmpty: a member is live, and `force` is not given. Nothing was deleted.
            UnknownGroup: the group has neither members nor offsets.
        """

    @abstractmethod
    def delete_offsets(self, name: str, topic: str | Topic[Any, Any], *, force: bool = False) -> None:
        """
        Delete a group's offsets of one topic, if there are any.

        Live members may subscribe to other topics meanwhile.

        Args:
            force: if a live member subscribes to the topic, fence all members instead of refusing.

        Raises:
            GroupNotEmpty: a live member subscribes to the topic, and `force` is not given. Nothing was deleted.
            UnknownGroup: the group has neither members nor offsets.
            UnknownTopic: there is no such topic; a topic's offsets are deleted with it.
        """


for _class in (PartitionOffsets, GroupDescription, MemberDescription, Groups):
    publish(_class)
