"""
The store of the simulation: a group, its committed offsets and its topics, and what must be true of them.

A method is one write transaction: nobody else does anything while it runs, and it sees who is alive at that very
moment. Between two of them anything may happen.

Always true, and checked at every change:

    one owner       a partition has at most one owner, and is at most one member's target
    at once         what is free and somebody's target is owned
    epochs          `epoch` and every partition's epoch of grant never go back; `target_epoch <= epoch`; a member is
                    never granted a partition twice at one epoch
    commits         only the owner, naming the epoch of its ownership, moves a committed offset, and never back
    at least once   an offset is committed after all records before it were handed out

And at every use. A member *uses* a partition when it hands out a record of it; it goes by its lease and by what it
holds, without asking. At that moment

    use             it is a member, it owns the partition, and since the epoch that it holds. With `one owner`: no two
                    members use a partition, and nobody uses what is another's
    lease           others see an end of its lease that is not before the one it goes by
    begin           the committed offset is the one that it took over or committed itself: nobody moves it meanwhile
    no gap          the record comes again or is the next one
    no repetition   it comes again only if an owner since was lost (died, or its lease ended), not for a move

That a member looks at its lease and hands out is one step here; in life the margin of the lease is the time for it.
What a member does with a record after it was handed out is not bound by the lease: a member whose process sleeps
wakes up with records in its hands that another has handed out since. That is why delivery is at least once, and why
it cannot commit them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any

import attrs

from eventlog.groups import rules
from eventlog.groups.lease import Lease
from eventlog.groups.rules import Change, Decision, Granted, Join, Joined, Leave, Release, Removed, Sweep, Verdict
from eventlog.groups.state import Group, Life, Member, PartitionId

if TYPE_CHECKING:
    from tests.simulation.client import Client


class Violation(AssertionError):
    """Something that must be true is not."""


def want(is_true: object, what: str, *values: object) -> None:
    """Raises unless it is true."""
    if not is_true:
        raise Violation(f"{what}: " + ", ".join(map(str, values)))


@attrs.frozen
class Product:
    """Names the parts of the product that are simulated; a planted bug is another part."""

    decide: Callable[[Group, rules.Request, Mapping[str, Life], int], Decision] = rules.decide
    apply: Callable[[Group, Change], Group] = rules.apply
    fenced: Callable[[Member | None, Mapping[PartitionId, int]], list[PartitionId]] = rules.fenced
    lease: type[Lease] = Lease
    client: type[Client] | None = None


class Seat:
    """One membership as others see it, and the lease that its member goes by."""

    __slots__ = ("end_s", "id", "is_held", "is_locked", "lease", "process")

    def __init__(self, member_id: str, process: Any, lease: Lease) -> None:
        self.id = member_id
        self.process = process
        self.lease = lease
        self.end_s = lease.end_s
        """The published end: the mtime of its file."""
        self.is_held = True
        """Whether the member keeps the lock of its file, as long as its process lives."""
        self.is_locked = False
        """Whether the heart or the member is busy with the lease; the other one waits."""


class Store:
    """Holds all that members share, and the clock."""

    def __init__(self, product: Product, rng: random.Random) -> None:
        self.product = product
        self.rng = rng
        self.now_s = 1000.0
        self.day_ms: Callable[[], int] = lambda: 0
        self.group = Group("g")
        self.keep: Callable[[Group, Group], Group] = lambda _, after: after
        """Stores a group, of which the first is stored; what is stored then."""
        self.seats: dict[str, Seat] = {}
        self.topics: dict[int, int] = {}
        """How many partitions each topic has."""
        self.topics_version = 0
        self.committed: dict[PartitionId, int] = {}
        self.handed: dict[PartitionId, int] = {}
        """How far each partition was handed out, to anybody."""
        self.appends: dict[PartitionId, tuple[float, float]] = {}
        """Since when and how often records are appended."""
        self.appends_end_s = float("inf")
        self.lost: set[PartitionId] = set()
        """Partitions of which records may come again."""
        self.grants: set[tuple[PartitionId, str, int]] = set()
        self.granted: dict[PartitionId, int] = {}
        self.trace: list[tuple[Any, ...]] | None = None

    # -- topics ------------------------------------------------------------------------------------------------

    def grow(self, topic: int, partitions: int, rate: float) -> None:
        """Makes a topic, or more partitions of one."""
        for number in range(self.topics.get(topic, 0), partitions):
            partition = (topic, number)
            self.appends[partition] = (self.now_s, rate)
            self.committed[partition] = self.handed[partition] = self.granted[partition] = 0
        self.topics[topic] = partitions
        self.topics_version += 1

    def end(self, partition: PartitionId) -> int:
        """The offset behind the last record."""
        born_s, rate = self.appends[partition]
        return max(int((min(self.now_s, self.appends_end_s) - born_s) * rate), 0)

    # -- members -----------------------------------------------------------------------------------------------

    def life(self, member_id: str) -> Life:
        """What can be seen of a member right now."""
        seat = self.seats.get(member_id)
        if seat is None or seat.end_s <= self.now_s:
            return Life.DEAD
        return Life.ALIVE if seat.is_held and seat.process.is_alive else Life.AWAY

    def looks_dead(self, group: Group) -> bool:
        """Whether somebody is to be removed, as far as can be seen outside a transaction."""
        for member in group.members.values():
            life = self.life(member.id)
            if life is Life.DEAD or (life is Life.AWAY and member.instance_id is None):
                return True
        return False

    # -- transactions ------------------------------------------------------------------------------------------

    def liveness(self, request: rules.Request) -> dict[str, Life]:
        """What can be seen of members right now; only those who join or sweep must look, the others may."""
        if not isinstance(request, (Join, Sweep)) and self.rng.random() < 0.7:
            return {}
        return {member_id: self.life(member_id) for member_id in self.group.members}

    def transact(self, request: rules.Request, liveness: Mapping[str, Life] | None = None) -> Verdict:
        """Judges a request and stores what it changes."""
        before = self.group
        decision = self.product.decide(
            before, request, self.liveness(request) if liveness is None else liveness, self.day_ms()
        )
        if self.trace is not None:
            self.trace.append((self.now_s, "  store", request, decision.verdict.name, *decision.changes))
        if decision.changes:
            after = reduce(self.product.apply, decision.changes, before)
            self.group = self.keep(before, after)
            want(self.group == after, "what is stored is not what was decided", self.group, after)
            self._check_changes(request, before, decision.changes)
            self._check_group(before)
        return decision.verdict

    def commit(self, client: Client, offsets: Mapping[PartitionId, int]) -> bool:
        """Commits offsets, all or nothing."""
        held = client.held
        member = self.group.members.get(client.seat.id)
        if self.product.fenced(member, {partition: held[partition] for partition in offsets}):
            return False
        for partition, offset in offsets.items():
            if self.trace is not None:
                self.trace.append((self.now_s, "  store", client.seat.id, "commits", partition, offset))
            before = self.committed[partition]
            want(offset >= before, "a committed offset goes back", partition, before, offset)
            want(offset <= self.handed[partition], "committed, and never handed out", partition, offset)
            want(
                member is not None and member.owned.get(partition) == held[partition],
                "a commit of somebody who does not own the partition",
                client.seat.id,
                partition,
            )
            self.committed[partition] = client.committed[partition] = offset
        return True

    def release(self, client: Client, partitions: frozenset[PartitionId], offsets: Mapping[PartitionId, int]) -> bool:
        """Commits offsets and gives partitions up, in one transaction."""
        is_stored = self.commit(client, offsets)
        return is_stored and self.transact(Release(client.seat.id, partitions)) is Verdict.ACCEPTED

    def leave(self, client: Client, offsets: Mapping[PartitionId, int]) -> None:
        """Commits offsets and leaves the group, in one transaction."""
        if self.commit(client, offsets):
            self.transact(Leave(client.seat.id))

    # -- what must be true -------------------------------------------------------------------------------------

    def _check_changes(self, request: rules.Request, before: Group, changes: tuple[Change, ...]) -> None:
        group = before
        for change in changes:
            match change:
                case Granted():
                    for partition in change.partitions:
                        self._check_grant(partition, change.member_id, change.epoch)
                case Removed():
                    if not (isinstance(request, Leave) and request.member_id == change.member_id):
                        self.lost.update(group.members[change.member_id].owned)
                case Joined():
                    want(change.member.id not in before.members, "an id is used twice", change.member.id)
                    self.lost.update(change.member.owned)
                    for partition, epoch in change.member.owned.items():
                        self._check_grant(partition, change.member.id, epoch)
                case _:
                    pass

    def _check_grant(self, partition: PartitionId, member_id: str, epoch: int) -> None:
        want(epoch >= self.granted[partition], "an epoch of a grant goes back", partition, member_id, epoch)
        want((partition, member_id, epoch) not in self.grants, "granted twice at one epoch", partition, member_id)
        self.granted[partition] = epoch
        self.grants.add((partition, member_id, epoch))

    def _check_group(self, before: Group) -> None:
        group = self.group
        want(group.epoch >= before.epoch, "the epoch goes back", before.epoch, group.epoch)
        want(group.target_epoch >= before.target_epoch, "the targets' epoch goes back", before.target_epoch)
        want(group.target_epoch <= group.epoch, "targets of an epoch to come", group.target_epoch, group.epoch)
        is_same = group.members.keys() == before.members.keys()
        want(is_same or group.epoch > before.epoch or len(group.members) == len(before.members), "no new epoch")
        owned: set[PartitionId] = set()
        targets: set[PartitionId] = set()
        count = target_count = 0
        for member in group.members.values():
            owned.update(member.owned)
            targets |= member.target
            count += len(member.owned)
            target_count += len(member.target)
        want(count == len(owned), "a partition has two owners", group)
        want(target_count == len(targets), "a partition is the target of two members", group)
        want(targets <= owned, "what is free is not granted at once", targets - owned)

    def check_use(self, client: Client, partition: PartitionId, first: int, end: int) -> None:
        """Notes that a member hands out records."""
        seat = client.seat
        if self.trace is not None:
            self.trace.append((self.now_s, "  store", seat.id, "hands out", partition, f"{first}..{end}"))
        member = self.group.members.get(seat.id)
        want(member is not None, "used by no member", seat.id, partition)
        want(
            member is not None and member.owned.get(partition) == client.held[partition],
            "used without owning it",
            seat.id,
            partition,
            f"owner {self.group.owner(partition)}",
        )
        want(seat.end_s >= seat.lease.end_s, "the lease ends earlier for others", seat.id, seat.end_s)
        want(
            self.committed[partition] == client.committed[partition],
            "somebody else committed",
            partition,
            f"stored {self.committed[partition]}, known to {seat.id} {client.committed[partition]}",
        )
        handed = self.handed[partition]
        want(first <= handed, "a gap", partition, handed, first)
        if first < handed:
            want(partition in self.lost, "handed out again after a move", partition, first, handed)
        else:
            self.lost.discard(partition)
        self.handed[partition] = max(handed, end)
