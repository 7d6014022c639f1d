"""
New targets for the members of a group: an assignor's result as a request to the group's coordinator.

An assignor may be a function of the user, so it runs outside of all transactions, on a snapshot. If the group has
changed meanwhile, the request is stale, and the next member that notices proposes again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce

from eventlog.groups.assignors import Assignor, GroupMember, checked_assignment
from eventlog.groups.rules import Assign, Request, Verdict, apply, decide
from eventlog.groups.state import GroupSnapshot, GroupTopic, Life, PartitionId, TopicT
from eventlog.records import TopicPartition


def propose(snapshot: GroupSnapshot[TopicT], name: str, assignor: Assignor) -> Assign:
    """
    Call an assignor and return its result as new targets for a group.

    Raises:
        ValueError, TypeError: the result is not an assignment. Errors of the assignor itself pass through.
    """
    group = snapshot.group
    rows = {row.id: row for row in snapshot.topics}
    wanted = {
        member.id: tuple(sorted(row.name for row in snapshot.topics if member.subscription.covers(row.name)))
        for member in group.members.values()
    }
    subscribed = {topic for topics in wanted.values() for topic in topics}
    numbers = {
        TopicPartition(row.name, number): (row.id, number)
        for row in sorted(snapshot.topics, key=lambda row: row.name)
        if row.name in subscribed
        for number in range(row.partitions)
    }
    members = [
        GroupMember(member.id, member.instance_id, wanted[member.id], _named(rows, member.target))
        for member in group.in_join_order()
    ]
    partitions = list(numbers)
    answer = checked_assignment(name, assignor(members, partitions), members, partitions)
    targets = {member_id: frozenset(numbers[tp] for tp in owned) for member_id, owned in answer.items()}
    return Assign(
        group.epoch,
        snapshot.topics_version,
        {member_id: targets.get(member_id, frozenset()) for member_id in wanted},
        max(rows, default=0),
        {row.id: row.partitions for row in snapshot.topics if row.name in subscribed},
    )


def foreseen(
    snapshot: GroupSnapshot[TopicT], request: Request, liveness: Mapping[str, Life], name: str, assignor: Assignor
) -> Assign | None:
    """
    Return targets for the group as a request will leave it, so that both go into one transaction.

    Returns None if the request is refused, or new targets are not needed or need offsets first.
    """
    decision = decide(snapshot.group, request, liveness, 0)
    group = reduce(apply, decision.changes, snapshot.group)
    if decision.verdict is not Verdict.ACCEPTED or not group.needs_targets(snapshot.topics_version):
        return None
    after = snapshot._replace(group=group)
    targets = propose(after, name, assignor)
    return None if later(after, targets) else targets


def _named(rows: Mapping[int, GroupTopic], partitions: Iterable[PartitionId]) -> tuple[TopicPartition, ...]:
    return tuple(
        sorted(
            TopicPartition(rows[topic_id].name, number)
            for topic_id, number in partitions
            if topic_id in rows and number < rows[topic_id].partitions
        )
    )


def later(snapshot: GroupSnapshot[TopicT], request: Assign) -> list[tuple[TopicT, int]]:
    """
    Return the partitions of a request that appeared after the group had begun.

    A group that begins at the end of its topics would miss the records appended to them before they were assigned.
    """
    group = snapshot.group
    rows = {row.id: row for row in snapshot.topics}
    return [
        (rows[topic_id], number)
        for target in request.targets.values()
        for topic_id, number in target
        if group.target_epoch
        and (topic_id > group.newest_topic_id or number >= group.partition_counts.get(topic_id, number + 1))
    ]
