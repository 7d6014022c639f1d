"""
The rules of a group.

The coordinator is two functions: `decide` checks a request and returns changes; `apply` makes one change unchecked.

    group = load()                                                         all of it inside
    decision = decide(group, request, liveness, now_ms)                    one write transaction
    store(functools.reduce(apply, decision.changes, group))

Three rules hold for every request. They are what rebalancing is:

    1  Dead members are removed first, and the epoch rises.
    2  A partition moves in two steps: its owner releases it, then it is granted. No other member waits.
    3  A free partition is granted at once to the member whose target it is.

And one table for the requests themselves:

    request   when                                     changes                              verdict
    -------   --------------------------------------   ----------------------------------   -------------------
    Join      another assignor is in use               -                                    DIFFERENT_ASSIGNOR
              a live member has its instance id        -                                    INSTANCE_IN_USE
              a member not alive has its instance id   takes its place and its partitions   ACCEPTED
              else                                     a new member, epoch + 1              ACCEPTED
    Assign    made for another epoch, other members    -                                    STALE
              else                                     the members' targets                 ACCEPTED
    Subscribe no longer a member                       -                                    FENCED
              wants the same                           -                                    ACCEPTED
              else                                     its subscription, epoch + 1          ACCEPTED
    Release   no longer a member                       -                                    FENCED
              else                                     no longer owned                      ACCEPTED
    Confirm   no longer a member                       -                                    FENCED
              else                                     -                                    ACCEPTED
    Leave                                              no longer a member, epoch + 1        ACCEPTED
    Sweep                                              -                                    ACCEPTED
    Dissolve  a member is alive, and not forced        -                                    NOT_EMPTY
              else                                     no members, epoch + 1                ACCEPTED

What a member owns and what its target is determine what it does next:

    owns more than the target     it must stop using the rest, and release it
    owns the target               it is settled
    owns less than the target     it waits for the owners of the rest

The model is KIP-848 (https://cwiki.apache.org/confluence/display/KAFKA/KIP-848); the epoch of each ownership, which
fences commits, is that of KIP-1251. Knows nothing of storage, of how liveness is detected, or of assignors.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import reduce
from types import MappingProxyType
from typing import Final, TypeAlias

from eventlog.groups.state import Group, Life, Member, PartitionId, Subscription
from eventlog.named_tuples import NamedTuple

_NO_COUNTS: Final[Mapping[int, int]] = MappingProxyType({})

# -- requests ------------------------------------------------------------------------------------------------


class Join(NamedTuple):
    """A request to become a member, under an id that was never used."""

    member_id: str
    instance_id: str | None
    subscription: Subscription
    assignor: str
    process_id: int


class Assign(NamedTuple):
    """A proposal of every member's target, computed for the group as of `epoch`."""

    epoch: int
    topics_version: int
    targets: Mapping[str, frozenset[PartitionId]]
    newest_topic_id: int = 0
    partition_counts: Mapping[int, int] = _NO_COUNTS


class Subscribe(NamedTuple):
    """A request by a member that wants other topics from now on."""

    member_id: str
    subscription: Subscription


class Release(NamedTuple):
    """A request by a member that has stopped using some of its partitions."""

    member_id: str
    partitions: frozenset[PartitionId]


class Confirm(NamedTuple):
    """A question whether the sender is still a member, asked after it was silent too long."""

    member_id: str


class Leave(NamedTuple):
    """A request by a member that has stopped using all of its partitions and leaves."""

    member_id: str


class Sweep(NamedTuple):
    """A request to remove dead members and nothing else."""


class Dissolve(NamedTuple):
    """A request to remove all members; `is_forced` fences those that are alive."""

    is_forced: bool


Request: TypeAlias = Join | Assign | Subscribe | Release | Confirm | Leave | Sweep | Dissolve


class Verdict(Enum):
    """The outcome of a request."""

    ACCEPTED = "accepted"
    FENCED = "fenced"
    STALE = "stale"
    INSTANCE_IN_USE = "instance in use"
    DIFFERENT_ASSIGNOR = "different assignor"
    NOT_EMPTY = "not empty"


# -- changes -------------------------------------------------------------------------------------------------


class Joined(NamedTuple):
    """A member joined; `replaced` is the id of the member whose place it takes."""

    member: Member
    epoch: int
    assignor: str
    now_ms: int
    replaced: str | None = None


class Subscribed(NamedTuple):
    """A member wants other topics."""

    member_id: str
    subscription: Subscription
    epoch: int


class Removed(NamedTuple):
    """A member was removed, and its partitions are free."""

    member_id: str
    epoch: int


class Targeted(NamedTuple):
    """The members have new targets, from an epoch on."""

    epoch: int
    topics_version: int
    targets: Mapping[str, frozenset[PartitionId]]
    newest_topic_id: int = 0
    partition_counts: Mapping[int, int] = _NO_COUNTS


class Released(NamedTuple):
    """A member no longer owns some partitions."""

    member_id: str
    partitions: frozenset[PartitionId]


class Granted(NamedTuple):
    """A member owns some partitions, from an epoch on."""

    member_id: str
    partitions: frozenset[PartitionId]
    epoch: int


Change: TypeAlias = Joined | Subscribed | Removed | Targeted | Released | Granted


class Decision(NamedTuple):
    """The changes that a request makes to a group, and its outcome."""

    changes: tuple[Change, ...]
    verdict: Verdict


# -- the coordinator -----------------------------------------------------------------------------------------


def decide(group: Group, request: Request, liveness: Mapping[str, Life], now_ms: int) -> Decision:
    """
    Decide what a request does to a group.

    Args:
        liveness: the liveness of members, detected inside the write transaction. Members missing here are not judged.
        now_ms: the time of day, stored for people to read; no rule depends on it.
    """
    changes: list[Change] = []
    for member_id in _dead(group, request, liveness):
        changes.append(Removed(member_id, group.epoch + 1))
        group = apply(group, changes[-1])
    verdict, own = _judge(group, request, liveness, now_ms)
    group = reduce(apply, own, group)
    return Decision((*changes, *own, *_grants(group)), verdict)


def _dead(group: Group, request: Request, liveness: Mapping[str, Life]) -> list[str]:
    """The members to remove: dead ones, and dynamic members that are away."""
    spared: set[str] = set()
    if isinstance(request, (Subscribe, Release, Confirm)):
        spared.add(request.member_id)  # it asks, so it is alive, however late
    if isinstance(request, Join) and (namesake := group.by_instance(request.instance_id)) is not None:
        spared.add(namesake.id)  # its place is taken, not lost
    return [
        member.id
        for member in group.members.values()
        if member.id not in spared and is_gone(member, liveness.get(member.id))
    ]


def is_gone(member: Member | None, life: Life | None) -> bool:
    """Whether to remove a member: it is dead, or it is away and not a static member, which may come back."""
    return member is not None and (life is Life.DEAD or (life is Life.AWAY and member.instance_id is None))


def _judge(
    group: Group, request: Request, liveness: Mapping[str, Life], now_ms: int
) -> tuple[Verdict, tuple[Change, ...]]:
    """The table above, row by row."""
    match request:
        case Join():
            return _judge_join(group, request, liveness, now_ms)
        case Assign():
            # A static member that takes its old place has a new id, and the epoch does not rise.
            is_ours = request.epoch == group.epoch and request.targets.keys() == group.members.keys()
            if not is_ours or request.topics_version < group.topics_version:
                return Verdict.STALE, ()
            is_settled = group.target_epoch == group.epoch  # then the topics changed, and new targets need a new epoch
            epoch = group.epoch + 1 if is_settled and request.targets != _targets(group) else group.epoch
            return Verdict.ACCEPTED, (
                Targeted(
                    epoch, request.topics_version, request.targets, request.newest_topic_id, request.partition_counts
                ),
            )
        case Subscribe() | Release() | Confirm():
            return _judge_member(group, request)
        case Leave():
            is_there = request.member_id in group.members
            return Verdict.ACCEPTED, (Removed(request.member_id, group.epoch + 1),) if is_there else ()
        case Dissolve():
            if any(liveness.get(member) is Life.ALIVE for member in group.members) and not request.is_forced:
                return Verdict.NOT_EMPTY, ()
            return Verdict.ACCEPTED, tuple(Removed(member, group.epoch + 1) for member in group.members)
        case Sweep():
            return Verdict.ACCEPTED, ()


def _judge_member(group: Group, request: Subscribe | Release | Confirm) -> tuple[Verdict, tuple[Change, ...]]:
    member = group.members.get(request.member_id)
    if member is None:
        return Verdict.FENCED, ()
    match request:
        case Subscribe():
            if member.subscription == request.subscription:
                return Verdict.ACCEPTED, ()
            return Verdict.ACCEPTED, (Subscribed(member.id, request.subscription, group.epoch + 1),)
        case Release():
            return Verdict.ACCEPTED, (Released(member.id, request.partitions),)
        case Confirm():
            return Verdict.ACCEPTED, ()


def _judge_join(
    group: Group, request: Join, liveness: Mapping[str, Life], now_ms: int
) -> tuple[Verdict, tuple[Change, ...]]:
    before = group.by_instance(request.instance_id)
    if before is not None and liveness.get(before.id, Life.ALIVE) is Life.ALIVE:
        return Verdict.INSTANCE_IN_USE, ()
    others = group.members.keys() - {None if before is None else before.id}
    if others and group.assignor != request.assignor:
        return Verdict.DIFFERENT_ASSIGNOR, ()
    if before is None:
        epoch = group.epoch + 1
        member = Member(request.member_id, request.instance_id, request.subscription, request.process_id, now_ms, epoch)
        return Verdict.ACCEPTED, (Joined(member, epoch, request.assignor, now_ms),)
    is_same = before.subscription == request.subscription and group.assignor == request.assignor
    member = before._replace(
        id=request.member_id, subscription=request.subscription, process_id=request.process_id, joined_ms=now_ms
    )
    epoch = group.epoch if is_same else group.epoch + 1
    return Verdict.ACCEPTED, (Joined(member, epoch, request.assignor, now_ms, replaced=before.id),)


def _targets(group: Group) -> dict[str, frozenset[PartitionId]]:
    return {member.id: member.target for member in group.members.values()}


def _grants(group: Group) -> tuple[Change, ...]:
    """Grant every free partition to the member whose target it is."""
    owned = {partition for member in group.members.values() for partition in member.owned}
    grants: list[Change] = []
    for member in group.members.values():
        free = member.target - owned
        if free:
            owned |= free
            grants.append(Granted(member.id, free, group.epoch))
    return tuple(grants)


def apply(group: Group, change: Change) -> Group:
    """Return the group after a change, which is not checked."""
    members = dict(group.members)
    match change:
        case Joined():
            members.pop(change.replaced or "", None)
            members[change.member.id] = change.member
            return group._replace(
                epoch=change.epoch,
                assignor=change.assignor,
                created_ms=group.created_ms or change.now_ms,
                members=members,
            )
        case Subscribed():
            members[change.member_id] = members[change.member_id]._replace(subscription=change.subscription)
            return group._replace(epoch=change.epoch, members=members)
        case Removed():
            members.pop(change.member_id, None)
            return group._replace(epoch=change.epoch, members=members)
        case Targeted():
            for member_id, target in change.targets.items():
                if members[member_id].target != target:
                    members[member_id] = members[member_id]._replace(target=target)
            return group._replace(
                epoch=change.epoch,
                target_epoch=change.epoch,
                topics_version=change.topics_version,
                newest_topic_id=change.newest_topic_id,
                partition_counts=change.partition_counts,
                members=members,
            )
        case Released():
            member = members[change.member_id]
            owned = {
                partition: epoch for partition, epoch in member.owned.items() if partition not in change.partitions
            }
            members[member.id] = member._replace(owned=owned)
        case Granted():
            member = members[change.member_id]
            owned = {**member.owned, **dict.fromkeys(sorted(change.partitions), change.epoch)}
            members[member.id] = member._replace(owned=owned)
    return group._replace(members=members)


# -- the member's side ---------------------------------------------------------------------------------------


class Steps(NamedTuple):
    """What a member must do: stop using the `gone`, release the `surplus`, start using the `fresh` partitions."""

    gone: frozenset[PartitionId]
    surplus: frozenset[PartitionId]
    fresh: frozenset[PartitionId]


def next_steps(member: Member, held: Mapping[PartitionId, int]) -> Steps:
    """
    Compare what a member owns with what it uses.

    Args:
        member: the member as stored.
        held: the partitions that it uses now, and the epoch at which each was granted.
    """
    owned = member.owned
    return Steps(
        gone=frozenset(partition for partition, epoch in held.items() if owned.get(partition) != epoch),
        surplus=frozenset(owned.keys() - member.target),
        fresh=frozenset(
            partition for partition in owned.keys() & member.target if held.get(partition) != owned[partition]
        ),
    )


# -- the fence -----------------------------------------------------------------------------------------------


def fenced(member: Member | None, epochs: Mapping[PartitionId, int]) -> list[PartitionId]:
    """
    The partitions whose offsets a member may not commit: those that it does not own since the epoch it names.

    Args:
        member: the member as stored; None if it is no longer a member.
        epochs: the partitions that it wants to commit, and the epoch at which each was granted.
    """
    owned: Mapping[PartitionId, int] = {} if member is None else member.owned
    return [partition for partition, epoch in epochs.items() if owned.get(partition) != epoch]
