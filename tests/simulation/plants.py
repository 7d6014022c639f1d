"""
Bugs of the kind that the product, or a client of it, could have. The simulation has to find each of them.

Nothing of the product is patched: a bug is another part, given to the simulator in the place of the real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce

from eventlog.groups import rules
from eventlog.groups.lease import Lease
from eventlog.groups.rules import Assign, Confirm, Decision, Granted, Join, Request, Sweep, Targeted, Verdict, apply
from eventlog.groups.state import Group, Life, Member, PartitionId
from tests.simulation.client import Client, Steps
from tests.simulation.store import Product


class _IgnoresItsLease(Client):
    """Uses what it holds until it is told that it is no member."""

    def is_usable(self) -> bool:
        return True


class _LooksAtItsLeaseEarly(Client):
    """Looks at its lease when a poll begins, and hands out after all that a poll may have to do before."""

    _was_usable = False

    def is_usable(self) -> bool:
        return self._was_usable

    def _poll(self) -> Steps:
        if not super().is_usable():
            yield from self._confirm()
        if self.is_member:
            self._was_usable = super().is_usable()
            yield from super()._poll()


class _ProlongsALapsedLease(Lease):
    """Goes by what it published, although others may have seen the old end pass."""

    def note_published(self, end_s: float, now_s: float) -> None:
        self.end_s = end_s


class _ConfirmsWithoutAsking(Client):
    """Publishes a new end and goes on."""

    def _ask(self) -> bool:
        return True


class _ConfirmsOutsideTheTransaction(Client):
    """Asks, and publishes a new end a moment later."""

    def _confirm(self) -> Steps:
        if self._ask():
            yield
            end_s = self.seat.lease.confirmed_end_s(self.store.now_s)
            self.seat.end_s = end_s
            self.seat.lease.note_confirmed(end_s, self.store.now_s)
        else:
            self._lose()


class _ConfirmsBesideTheHeart(Client):
    """Does not wait for the heart, which is about to publish an end that is earlier."""

    def _confirm(self) -> Steps:
        self.seat.is_locked = False
        yield from super()._confirm()


class _ReleasesWhatItUses(Client):
    """Gives partitions up, hands out once more, and then stops."""

    def _release(self, gone: frozenset[PartitionId]) -> Steps:
        yield
        offsets = {partition: self.finished[partition] for partition in gone if partition in self.held}
        is_stored = self.store.release(self, gone, offsets)
        yield
        self._hand_out()
        if not is_stored:
            self._lose()
        self._drop(gone)


class _ReleasesWithoutCommit(Client):
    """Forgets to commit what it gives up."""

    def _release(self, gone: frozenset[PartitionId]) -> Steps:
        yield
        if not self.store.release(self, gone, {}):
            self._lose()
        self._drop(gone)


class _ReadsOffsetsTooEarly(Client):
    """Takes partitions at offsets that it read before it saw that it owns them."""

    _earlier: Mapping[PartitionId, int] | None = None

    def _adapt(self, group: Group, version: int, topics: dict[int, int], committed: Mapping[PartitionId, int]) -> Steps:
        earlier = {**committed, **(self._earlier or {})}
        self._earlier = committed
        return super()._adapt(group, version, topics, earlier)


class _SweepsByAnOldLook(Client):
    """Removes who looked dead outside the transaction, and may have confirmed meanwhile."""

    _look: Mapping[str, Life] | None = None

    def _sweep(self) -> None:
        self.store.transact(Sweep(), self._look)

    def _poll(self) -> Steps:
        self._look = {member_id: self.store.life(member_id) for member_id in self.store.group.members}
        return super()._poll()


def _grants_what_is_owned(group: Group, request: Request, liveness: Mapping[str, Life], now_ms: int) -> Decision:
    """Gives members what is their target, whoever owns it."""
    decision = rules.decide(group, request, liveness, now_ms)
    after = reduce(apply, decision.changes, group)
    grants = [
        Granted(member.id, frozenset(member.target - member.owned.keys()), after.epoch)
        for member in after.members.values()
        if member.target - member.owned.keys()
    ]
    return decision._replace(changes=(*decision.changes, *grants))


def _takes_old_targets(group: Group, request: Request, liveness: Mapping[str, Life], now_ms: int) -> Decision:
    """Accepts targets that were made for another epoch, as far as the members are known."""
    if isinstance(request, Assign):
        targets = {member.id: request.targets.get(member.id, member.target) for member in group.members.values()}
        request = request._replace(epoch=group.epoch, targets=targets)
    return rules.decide(group, request, liveness, now_ms)


def _takes_targets_of_those_gone(group: Group, request: Request, liveness: Mapping[str, Life], now_ms: int) -> Decision:
    """Looks at the epoch of proposed targets, and not at whom they are for."""
    decision = rules.decide(group, request, liveness, now_ms)
    if isinstance(request, Assign) and request.epoch == group.epoch and decision.verdict is Verdict.STALE:
        return Decision((Targeted(group.epoch, request.topics_version, request.targets),), Verdict.ACCEPTED)
    return decision


def _takes_places_of_the_living(group: Group, request: Request, liveness: Mapping[str, Life], now_ms: int) -> Decision:
    """Lets a static member take the place of one that is there."""
    return rules.decide(group, request, {} if isinstance(request, Join) else liveness, now_ms)


def _removes_who_asks_late(group: Group, request: Request, liveness: Mapping[str, Life], now_ms: int) -> Decision:
    """Says "accepted" to a member that it removes for being late."""
    if isinstance(request, Confirm) and liveness.get(request.member_id) is Life.DEAD:
        return rules.decide(group, Sweep(), liveness, now_ms)._replace(verdict=Verdict.ACCEPTED)
    return rules.decide(group, request, liveness, now_ms)


def _never_removes(group: Group, request: Request, liveness: Mapping[str, Life], now_ms: int) -> Decision:
    """Leaves the dead where they are, unless somebody takes their place."""
    return rules.decide(group, request, liveness if isinstance(request, Join) else {}, now_ms)


def _frees_nothing(group: Group, request: Request, liveness: Mapping[str, Life], now_ms: int) -> Decision:
    """Grants what is free only when targets are proposed."""
    decision = rules.decide(group, request, liveness, now_ms)
    if isinstance(request, Assign):
        return decision
    return decision._replace(changes=tuple(each for each in decision.changes if not isinstance(each, Granted)))


def _no_fence(member: Member | None, epochs: Mapping[PartitionId, int]) -> list[PartitionId]:
    """Lets everybody commit."""
    return []


PLANTS: dict[str, Product] = {
    "a client that ignores its lease": Product(client=_IgnoresItsLease),
    "a lease looked at when the poll begins": Product(client=_LooksAtItsLeaseEarly),
    "a heartbeat that prolongs a lapsed lease": Product(lease=_ProlongsALapsedLease),
    "a confirm that does not ask": Product(client=_ConfirmsWithoutAsking),
    "a confirm outside the transaction": Product(client=_ConfirmsOutsideTheTransaction),
    "a confirm beside the heart": Product(client=_ConfirmsBesideTheHeart),
    "a release before the use stopped": Product(client=_ReleasesWhatItUses),
    "a release without a commit": Product(client=_ReleasesWithoutCommit),
    "an offset read before the grant": Product(client=_ReadsOffsetsTooEarly),
    "a sweep by an old look": Product(client=_SweepsByAnOldLook),
    "a grant that ignores the owner": Product(decide=_grants_what_is_owned),
    "a grant that comes late": Product(decide=_frees_nothing),
    "targets of another epoch": Product(decide=_takes_old_targets),
    "targets of members that are gone": Product(decide=_takes_targets_of_those_gone),
    "a place taken from the living": Product(decide=_takes_places_of_the_living),
    "a late member that is told a lie": Product(decide=_removes_who_asks_late),
    "the dead that stay": Product(decide=_never_removes),
    "a commit without the fence": Product(fenced=_no_fence),
}
