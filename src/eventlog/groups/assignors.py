"""
Assignors: functions that divide the partitions of a group among its members.

Three are known by name; a group may use a function of the caller instead, and every result is checked before it is
used. All members must use the same assignor, so its name is stored with the group.

Members come in the order in which they joined. The named assignors go by that order only: `member_id` and `instance_id`
play no part, so a static member is treated like any other.

Knows nothing of epochs and leases, nor of how a partition moves from one member to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import attrs

from eventlog.options import custom_name
from eventlog.records import TopicPartition, publish


@attrs.frozen
class GroupMember:
    """
    One member of a group, as an assignor sees it.

    Args:
        member_id: the key of its partitions in the result.
        instance_id: the name of a static member, else None.
        topics: the existing topics to which it subscribes, sorted.
        assigned: the partitions that it had before and that still exist. May hold partitions of topics to which it no
            longer subscribes.

    Example:
        >>> orders = eventlog.TopicPartition("orders", 0)
        >>> member = eventlog.GroupMember("a-1", None, topics=("orders",), assigned=(orders,))
        >>> [tp.partition for tp in member.assigned]
        [0]
    """

    member_id: str
    instance_id: str | None
    topics: tuple[str, ...]
    assigned: tuple[TopicPartition, ...]


class Assignor(Protocol):
    """
    A function that divides the partitions of a group; `"sticky"`, `"range"` and `"roundrobin"` are built in.

    It takes the members, in the order in which they joined, and all partitions of their topics, sorted. It returns the
    partitions of each `member_id`: every partition goes to exactly one member, which must subscribe to its topic. It
    runs inside `poll()` of some member, in any process, outside of all transactions, and must not depend on where it
    runs. If it raises, that `poll()` raises, and the group keeps its assignment.

    Example:
        >>> def all_to_the_first(members, partitions):
        ...     return {members[0].member_id: partitions}
        >>> member = eventlog.GroupMember("a-1", None, topics=("orders",), assigned=())
        >>> all_to_the_first([member], [eventlog.TopicPartition("orders", 0)])
        {'a-1': [TopicPartition(topic='orders', partition=0)]}
    """

    def __call__(
        self, members: Sequence[GroupMember], partitions: Sequence[TopicPartition], /
    ) -> Mapping[str, Iterable[TopicPartition]]:
        """Return the partitions of each member."""
        ...


_SHOWN_COUNT = 3


def sticky(members: Sequence[GroupMember], partitions: Sequence[TopicPartition]) -> dict[str, list[TopicPartition]]:
    """
    Divide the partitions evenly, and move as few as that allows.

    This is the default. No member has two partitions more than another one that could take one of them; with equal
    subscriptions all counts differ by at most one. A member that leaves moves only its own partitions; a member that
    joins moves only its fair share, taken from those that have most. Each topic is spread over the members as far as
    that moves nothing more. If two members claim a partition, the first to join keeps it.

    Example:
        >>> orders = [TopicPartition("orders", number) for number in range(4)]
        >>> old = GroupMember("old", None, topics=("orders",), assigned=tuple(orders))
        >>> new = GroupMember("new", None, topics=("orders",), assigned=())
        >>> {member: [tp.partition for tp in share] for member, share in sticky([old, new], orders).items()}
        {'old': [0, 1], 'new': [2, 3]}
    """
    from eventlog.groups.sticky import settle  # imported only by programs with a group

    shares = settle([member.topics for member in members], [member.assigned for member in members], partitions)
    return {member.member_id: share for member, share in zip(members, shares, strict=True)}


def range_(members: Sequence[GroupMember], partitions: Sequence[TopicPartition]) -> dict[str, list[TopicPartition]]:
    """
    Give each member a range of adjacent partitions of every topic, as Kafka's RangeAssignor does.

    If the partitions of a topic do not divide evenly, the first members get one more. Topics with the same number of
    partitions and the same subscribers are divided alike, so the records of one key in both topics go to one member.
    The price is that the first members get one more partition of every such topic.

    Example:
        >>> both = [GroupMember(name, None, topics=("orders",), assigned=()) for name in ("a", "b")]
        >>> shares = range_(both, [TopicPartition("orders", number) for number in range(3)])
        >>> {member: [tp.partition for tp in share] for member, share in shares.items()}
        {'a': [0, 1], 'b': [2]}
    """
    wanted = _wanted(members)
    shares: dict[str, list[TopicPartition]] = {member_id: [] for member_id in wanted}
    by_topic: dict[str, list[TopicPartition]] = {}
    for tp in partitions:
        by_topic.setdefault(tp.topic, []).append(tp)
    for topic, tps in by_topic.items():
        subscribers = [member_id for member_id, topics in wanted.items() if topic in topics]
        first = 0
        for place, member_id in enumerate(subscribers):
            end = first + len(tps) // len(subscribers) + (place < len(tps) % len(subscribers))
            shares[member_id] += tps[first:end]
            first = end
    return shares


def roundrobin(members: Sequence[GroupMember], partitions: Sequence[TopicPartition]) -> dict[str, list[TopicPartition]]:
    """
    Deal out all partitions of all topics in turn, as Kafka's RoundRobinAssignor does.

    A member that does not subscribe to the topic is skipped and loses its turn.

    Example:
        >>> both = [GroupMember(name, None, topics=("orders",), assigned=()) for name in ("a", "b")]
        >>> shares = roundrobin(both, [TopicPartition("orders", number) for number in range(3)])
        >>> {member: [tp.partition for tp in share] for member, share in shares.items()}
        {'a': [0, 2], 'b': [1]}
    """
    circle = list(_wanted(members).items())
    shares: dict[str, list[TopicPartition]] = {member_id: [] for member_id, _ in circle}
    turn = 0
    for tp in partitions:
        for place in range(turn, turn + len(circle)):
            member_id, topics = circle[place % len(circle)]
            if tp.topic in topics:
                shares[member_id].append(tp)
                turn = place + 1
                break
    return shares


ASSIGNORS: Mapping[str, Assignor] = MappingProxyType({"sticky": sticky, "range": range_, "roundrobin": roundrobin})
"""The assignors that can be declared by name."""


def assignor_for(declared: str | Assignor) -> tuple[str, Assignor]:
    """
    Return the name to store and the function to call for a declared assignor.

    A function of the caller is stored as "custom:" with its module and qualified name. Lambdas and functions inside
    functions are refused: the next process could not find them, and two of them can share a name, so that members would
    use different rules. `checked_assignment` checks the results.

    Raises:
        ValueError: no assignor has that name, or the function is not at the top level of a module.
        TypeError: `declared` is neither a name nor a function.

    Example:
        >>> name, function = assignor_for("range")
        >>> name, function is range_
        ('range', True)
    """
    if isinstance(declared, str):
        if declared not in ASSIGNORS:
            raise ValueError(
                f"there is no assignor {declared[:60]!r}. Nothing was stored. "
                f'Declare "sticky", "range", "roundrobin" or a function of (members, partitions).'
            )
        return declared, ASSIGNORS[declared]
    for name, function in ASSIGNORS.items():
        if declared is function:
            return name, function
    if not callable(declared):
        raise TypeError(
            f"an assignor cannot be {type(declared).__name__}. Nothing was stored. "
            f'Declare "sticky", "range", "roundrobin" or a function of (members, partitions).'
        )
    return custom_name("assignor", declared, "group"), declared


def checked_assignment(
    name: str, answer: object, members: Sequence[GroupMember], partitions: Sequence[TopicPartition]
) -> dict[str, frozenset[TopicPartition]]:
    """
    Return an assignor's result if it gives every partition to one member that subscribes to its topic.

    A member that is missing in the result gets nothing. Any `(topic, partition)` pair counts as a TopicPartition.

    Args:
        name: the name of the assignor from `assignor_for`, used in messages.
        answer: the result of the assignor.
        members: the members with which it was called.
        partitions: the partitions with which it was called. Those of topics without subscribers may be left out.

    Raises:
        ValueError: a member or a partition is unknown, or a partition is given twice, to nobody, or to a member that
            does not subscribe to its topic. The group keeps its assignment.
        TypeError: the result is not a mapping to partitions. The group keeps its assignment.

    Example:
        >>> one = TopicPartition("orders", 0)
        >>> member = GroupMember("a", None, topics=("orders",), assigned=())
        >>> checked_assignment("sticky", {"a": [one]}, [member], [one]) == {"a": frozenset({one})}
        True
    """
    if not isinstance(answer, Mapping):
        raise TypeError(
            f"the assignor {name} returned {type(answer).__name__}, not a mapping. The group keeps its assignment. "
            f"Return the partitions of each member_id."
        )
    wanted = _wanted(members)
    known = frozenset(partitions)
    owners: dict[TopicPartition, str] = {}
    for member_id, share in answer.items():
        if member_id not in wanted:
            raise ValueError(
                f"the assignor {name} gave partitions to member {_shown(member_id)}, which is none of the "
                f"{len(members)} members of the group. The group keeps its assignment. Use the `member_id` of the "
                f"members passed in."
            )
        for tp in _pairs(name, member_id, share):
            if tp not in known:
                raise ValueError(
                    f"the assignor {name} gave {_shown_partition(tp)} to member {member_id!r}, which is none of the "
                    f"{len(partitions)} partitions to divide. The group keeps its assignment. Give only the "
                    f"partitions passed in."
                )
            if tp.topic not in wanted[member_id]:
                raise ValueError(
                    f"the assignor {name} gave {_shown_partition(tp)} to member {member_id!r}, which does not "
                    f"subscribe to {tp.topic!r}. The group keeps its assignment. Check the `topics` of the member."
                )
            if tp in owners:
                raise ValueError(
                    f"the assignor {name} gave {_shown_partition(tp)} twice, to member {owners[tp]!r} and to member "
                    f"{member_id!r}. The group keeps its assignment. Give each partition once."
                )
            owners[tp] = member_id
    _check_complete(name, owners, wanted, partitions)
    shares: dict[str, list[TopicPartition]] = {member_id: [] for member_id in wanted}
    for tp, member_id in owners.items():
        shares[member_id].append(tp)
    return {member_id: frozenset(share) for member_id, share in shares.items()}


def _wanted(members: Sequence[GroupMember]) -> dict[str, frozenset[str]]:
    """Return the topics of each `member_id`, in the order of the members."""
    return {member.member_id: frozenset(member.topics) for member in members}


def _pairs(name: str, member_id: str, share: object) -> Iterable[TopicPartition]:
    """Iterate over the partitions of one member."""
    if not isinstance(share, Iterable):
        raise TypeError(
            f"the assignor {name} returned {type(share).__name__} for member {member_id!r}. The group keeps its "
            f"assignment. Return an iterable of partitions for each member_id."
        )
    for tp in share:
        is_pair = isinstance(tp, tuple) and len(tp) == 2 and isinstance(tp[0], str) and type(tp[1]) is int
        if not is_pair:
            raise TypeError(
                f"the assignor {name} returned {_shown(tp)} among the partitions of member {member_id!r}. The group "
                f"keeps its assignment. Return TopicPartitions, or (topic, partition) pairs."
            )
        yield TopicPartition(*tp)


def _check_complete(
    name: str,
    owners: Mapping[TopicPartition, str],
    wanted: Mapping[str, frozenset[str]],
    partitions: Sequence[TopicPartition],
) -> None:
    """Raise if a partition of a subscribed topic has no owner."""
    topics = frozenset[str]().union(*wanted.values())
    missing = [tp for tp in partitions if tp.topic in topics and tp not in owners]
    if missing:
        more = f" and {len(missing) - _SHOWN_COUNT} more" if len(missing) > _SHOWN_COUNT else ""
        raise ValueError(
            f"the assignor {name} left out {len(missing)} of {len(partitions)} partitions: "
            f"{', '.join(map(_shown_partition, missing[:_SHOWN_COUNT]))}{more}. The group keeps its assignment. "
            f"Give every partition to a member that subscribes to its topic."
        )


def _shown_partition(tp: TopicPartition) -> str:
    """Return a partition as text for a message."""
    return f"{tp.topic[:60]}[{tp.partition}]"


def _shown(value: object) -> str:
    """Return any value as text for a message."""
    return ascii(value)[:60]


publish(GroupMember)
publish(Assignor)
