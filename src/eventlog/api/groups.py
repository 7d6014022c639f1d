"""
The consumer groups of a log as users see them: which there are, where they stand, and putting them elsewhere.

Knows nothing of how a backend keeps members and offsets.
"""

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
from eventlog.records import TopicPartition

GroupState: TypeAlias = Literal["empty", "assigning", "stable"]
MemberState: TypeAlias = Literal["alive", "away", "dead"]


@attrs.frozen
class MemberDescription:
    """
    One member of a group, as somebody else sees it.

    `topics` and `patterns` are what it subscribes to; `partitions` is what it owns, `waits_for` what it is to own and
    others have yet to give up. `state` is "alive": its process lives, and neither `session_timeout` nor
    `max_poll_interval` is over; "away" for a static member whose process ended and whose place is kept; or "dead":
    the others will remove it as soon as one of them looks. Only "alive" counts as live.

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
    The place of a group in one partition.

    `committed` is the next offset to read, and `committed_ms` when it was stored (by a commit or a reset, in ms since
    1970 UTC); both are None when the group has none there. `first` and `end` are the bounds of the partition, `end`
    exclusive. `lag` counts the offsets from the committed one to the end; without a committed offset all that the
    partition holds, since that is where a group begins by default. `member_id` is the owner.

    A member that has nothing to read commits nothing: an old `committed_ms` says that it is stuck only where there
    is a lag.

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


@attrs.frozen
class GroupDescription:
    """
    A group as it stands: its members, and where it is in each partition.

    `state` is "empty" without a live member: there is none, or all are "away" or "dead". It is "assigning" while the
    members find out who is to own what or partitions move from one to another, and else "stable". `epoch` rises with
    every change of who is to own what; `assignor` is the one that the members use or last used, None when there never
    was one. `members` are in the order in which they joined; `offsets` has the partitions for which the group has
    offsets, or which its members own or wait for.

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
    The consumer groups of a log: listing, describing and changing them.

    Any thread may call anything, and no consumer is needed. Every change is one transaction: all of it or nothing.
    What would pull the position away from under a live member is refused, unless it is forced; then all members are
    fenced in the same transaction. They commit nothing more, learn it by `on_lost` at their next poll, join again
    by themselves and go on where the group stands by then. A static member that is away does not count as live: it
    loses its place. A consumer that chose its partitions with `assign()` is no member: nobody knows of it, and its
    next commit stores where *it* stands.

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
        """The names of all groups that have members or offsets, sorted."""

    @abstractmethod
    def describe(self, name: str) -> GroupDescription:
        """
        A group as it stands now.

        Rows and offsets are of one moment, and who lives is looked at right after it.

        Raises:
            UnknownGroup: if it has neither members nor offsets.
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
        Change the offsets of a group, in some partitions or in all that it knows.

        Say where by one of `to`, `shift` and `offsets`. Without `topics`, `partitions` and `offsets` it is about
        the partitions for which the group has offsets, and those that its members own or wait for, if there are
        any. A group that is not there yet is made by naming topics.

        Args:
            to: "earliest", "latest", an offset that all of the partitions have, or a `datetime`: the first record
                of that time or later, the end where there is none.
            shift: how many offsets forward, or back when negative, from where the group stands. It stops at the
                first offset and at the end of a partition.
            offsets: the next offset to read, for each partition that is to change.
            topics: all partitions of these.
            partitions: these, beside those of `topics`.
            force: fences live members, instead of being refused.
            dry_run: stores nothing and fences nobody; returns and raises what the same call would without it.

        Returns:
            The offsets, as they are stored now.

        Raises:
            GroupNotEmpty: if a member lives, and `force` is not given. Nothing was stored.
            UnknownGroup: if no partition is named, and the group is not there.
            UnknownTopic, UnknownPartition: if there is none of that name. Nothing was stored.
            OffsetOutOfRange: if a partition does not have the offset that it is to get. Nothing was stored.
            ValueError, TypeError: for arguments that do not go together, or a `shift` where the group has no offset.
        """

    @abstractmethod
    def delete(self, name: str, *, force: bool = False) -> None:
        """
        Delete a group: its offsets, and what is left of its members.

        Args:
            force: fences live members, instead of being refused. They join again, and so create the group again,
                without offsets.

        Raises:
            GroupNotEmpty: if a member lives, and `force` is not given. Nothing was deleted.
            UnknownGroup: if it has neither members nor offsets.
        """

    @abstractmethod
    def delete_offsets(self, name: str, topic: str | Topic[Any, Any], *, force: bool = False) -> None:
        """
        Delete a group's offsets of one topic; where there are none, nothing happens.

        Members that want other topics may live meanwhile.

        Args:
            force: fences live members, instead of being refused, when one of them subscribes to the topic.

        Raises:
            GroupNotEmpty: if a live member subscribes to the topic, and `force` is not given. Nothing was deleted.
            UnknownGroup: if the group has neither members nor offsets.
            UnknownTopic: if there is none of that name; a topic's offsets are deleted with it.
        """
