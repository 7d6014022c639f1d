"""
Looking after consumer groups: which there are, where they stand, and putting them elsewhere.

Nobody is a member here. What is changed is changed in one transaction (`store/groups/admin.py`); what is shown is one
snapshot, and who lives a moment later. Knows nothing of how partitions are shared.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from eventlog.backend import Backend
from eventlog.backend.topics import StoredTopic
from eventlog.clients.consumer.positions import Pair, pair_of
from eventlog.clients.reading.batch_reader import check_start
from eventlog.clients.topic.topic import Topic
from eventlog.groups.state import Group, Life, Member, PartitionId
from eventlog.options import Start, check_group_name, check_int, check_offset, check_topic_name
from eventlog.records import TopicPartition

if TYPE_CHECKING:  # what groups need is imported by the first program that uses one
    from eventlog.backend.groups import Aim, GroupDetails

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
    Is where a group stands in one partition.

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


class Groups:
    """
    Looks after the consumer groups of a log.

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

    def __init__(self, backend: Backend, check_open: Callable[[], None]) -> None:
        self._backend = backend
        self._check_open = check_open

    # -- looking ---------------------------------------------------------------------------------------------

    def list(self) -> builtins.list[str]:
        """The names of all groups that have members or offsets, sorted."""
        self._check_open()
        return self._backend.group_names()

    def describe(self, name: str) -> GroupDescription:
        """
        A group as it stands now.

        Rows and offsets are of one moment, and who lives is looked at right after it.

        Raises:
            UnknownGroup: if it has neither members nor offsets.
        """
        self._check_open()
        check_group_name(name)
        return _described(self._backend.group_details(name))

    # -- changing --------------------------------------------------------------------------------------------

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
        Puts a group elsewhere, in some partitions or in all of which it knows.

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
        self._check_open()
        check_group_name(name)
        aim, chosen = self._aim(to, shift, offsets, topics, partitions)
        stored = self._backend.reset_offsets(name, aim, chosen, is_forced=force, is_dry=dry_run)
        return {TopicPartition(*pair): offset for pair, offset in stored.items()}

    def delete(self, name: str, *, force: bool = False) -> None:
        """
        Deletes a group: its offsets, and what is left of its members.

        Args:
            force: fences live members, instead of being refused. They join again, and make the group anew, without
                offsets.

        Raises:
            GroupNotEmpty: if a member lives, and `force` is not given. Nothing was deleted.
            UnknownGroup: if it has neither members nor offsets.
        """
        self._check_open()
        self._backend.delete_group(check_group_name(name), is_forced=force)

    def delete_offsets(self, name: str, topic: str | Topic[Any, Any], *, force: bool = False) -> None:
        """
        Deletes a group's offsets of one topic; where there are none, nothing happens.

        Members that want other topics may live meanwhile.

        Args:
            force: fences live members, instead of being refused, when one of them subscribes to the topic.

        Raises:
            GroupNotEmpty: if a live member subscribes to the topic, and `force` is not given. Nothing was deleted.
            UnknownGroup: if the group has neither members nor offsets.
            UnknownTopic: if there is none of that name; a topic's offsets are deleted with it.
        """
        self._check_open()
        check_group_name(name)
        self._backend.delete_offsets(name, self._row(topic), is_forced=force)

    def _aim(
        self,
        to: Start | None,
        shift: int | None,
        offsets: Mapping[TopicPartition, int] | Mapping[tuple[str, int], int] | None,
        topics: Iterable[str | Topic[Any, Any]] | None,
        partitions: Iterable[Pair] | None,
    ) -> tuple[Aim, builtins.list[tuple[StoredTopic, int | None]] | None]:
        """Where the group is to stand, and in which partitions; None for all that it knows."""
        from eventlog.backend.groups import Shifted, ToOffsets, ToStart

        if (to is None) + (shift is None) + (offsets is None) != 2:
            raise ValueError(
                "say where the group is to stand by exactly one of to=, shift= and offsets=. No offset was changed."
            )
        if offsets is not None:
            if topics is not None or partitions is not None:
                raise ValueError(
                    "offsets= names its partitions: topics= and partitions= do not go with it. No offset was changed."
                )
            if not isinstance(offsets, Mapping):
                raise TypeError("offsets is a mapping from partitions to offsets. No offset was changed.")
            pairs = {pair_of(tp): check_offset(offset) for tp, offset in offsets.items()}
            rows = {topic: self._row(topic) for topic in {pair.topic for pair in pairs}}
            placed = {(rows[topic].id, number): offset for (topic, number), offset in pairs.items()}
            return ToOffsets(placed), _some([(rows[topic], number) for topic, number in pairs])
        chosen: builtins.list[tuple[StoredTopic, int | None]] | None = None
        if topics is not None or partitions is not None:
            if isinstance(topics, (str, Topic)):
                raise TypeError("topics is a list of topics, and not one of them. No offset was changed.")
            named = [pair_of(tp) for tp in partitions or ()]
            chosen = _some(
                [
                    *((self._row(topic), None) for topic in topics or ()),
                    *((self._row(topic), number) for topic, number in named),
                ]
            )
        if shift is not None:
            return Shifted(check_int("shift", shift, least=-(2**63), most=2**63)), chosen
        assert to is not None
        return ToStart(check_start(to)), chosen

    def _row(self, topic: str | Topic[Any, Any]) -> StoredTopic:
        if isinstance(topic, Topic):
            topic._check_store(self._backend)
            return topic._route.row
        return self._backend.require_topic(check_topic_name(topic))

    def __repr__(self) -> str:
        return f"<Groups of {str(self._backend.path)!r}>"


def _some(
    chosen: builtins.list[tuple[StoredTopic, int | None]],
) -> builtins.list[tuple[StoredTopic, int | None]]:
    if not chosen:
        raise ValueError("no partition is named. No offset was changed. Name one, or none of topics= and partitions=.")
    return chosen


def _described(details: GroupDetails) -> GroupDescription:
    group = details.group
    states: dict[str, MemberState] = {
        member.id: _member_state(member, details.lives[member.id]) for member in group.members.values()
    }

    def named(partitions: Iterable[PartitionId]) -> tuple[TopicPartition, ...]:
        pairs = (pair for pair in partitions if pair in details.bounds)
        return tuple(sorted(TopicPartition(details.topics[topic_id].name, number) for topic_id, number in pairs))

    members = tuple(
        MemberDescription(
            member.id,
            member.instance_id,
            member.process_id,
            states[member.id],
            member.joined_ms,
            member.subscription.topics,
            tuple(text for text, _ in member.subscription.patterns),
            named(member.owned),
            named(member.target - member.owned.keys()),
        )
        for member in group.in_join_order()
    )
    owners = {pair: member.id for member in group.members.values() for pair in member.owned}
    places: builtins.list[PartitionOffsets] = []
    for pair, (first, end) in details.bounds.items():
        committed, committed_ms = details.commits.get(pair, (None, None))
        lag = max(end - (first if committed is None else committed), 0)
        name = details.topics[pair[0]].name
        places.append(PartitionOffsets(name, pair[1], committed, committed_ms, first, end, lag, owners.get(pair)))
    places.sort(key=lambda place: (place.topic, place.partition))
    return GroupDescription(
        group.name,
        _group_state(group, states, details.topics_version),
        group.epoch,
        group.assignor or None,
        members,
        tuple(places),
    )


def _member_state(member: Member, life: Life) -> MemberState:
    """What becomes of a member by the rules of groups."""
    from eventlog.groups.rules import is_gone  # now: `import eventlog` is fast

    if is_gone(member, life):
        return "dead"
    return "alive" if life is Life.ALIVE else "away"


def _group_state(group: Group, states: Mapping[str, MemberState], topics_version: int) -> GroupState:
    if "alive" not in states.values():
        return "empty"
    is_moving = any(member.owned.keys() != member.target for member in group.members.values())
    is_changing = is_moving or group.needs_targets(topics_version) or "dead" in states.values()
    return "assigning" if is_changing else "stable"
