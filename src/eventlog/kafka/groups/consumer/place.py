"""
A client's place in a native group, which its listener keeps for it.

All of it may wait for a commit, so it belongs to the thread that commits. What a client may use is a matter of the
rules alone (`eventlog.groups.rules`); when a client has stopped using something, it says so itself.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final
from uuid import uuid4

from eventlog.backend import Backend
from eventlog.backend.groups import MemberLease, MemberView
from eventlog.clients.consumer.group.peers import Peers
from eventlog.clients.consumer.options import MembershipOptions
from eventlog.groups.assignors import ASSIGNORS
from eventlog.groups.lease import Terms
from eventlog.groups.rules import Confirm, Join, Leave, Release, Subscribe, Verdict
from eventlog.groups.state import PartitionId, Subscription
from eventlog.kafka.groups.claims import Node, node_of
from eventlog.named_tuples import NamedTuple

_LISTENER_SILENCE_S: Final = 30.0
"""A listener whose process is stopped for that long loses its members; one that dies loses them at once."""
_ENDLESS_S: Final = 10.0**9
_MOST_STEPS: Final = 16


class Share(NamedTuple):
    """
    What a member has: `usable` partitions, and those of `owned` that it must stop using, with the epochs of the grants.

    `epoch` is that of the targets that this is a part of.
    """

    epoch: int
    owned: Mapping[PartitionId, int]
    usable: frozenset[PartitionId]


class PlaceRefused(Exception):
    """
    Raised when a client cannot become a member, by the verdict of the rules.

    `node` is the listener that has the group for members of the classic protocol, None if it is a native group.
    """

    def __init__(self, verdict: Verdict, node: Node | None) -> None:
        super().__init__(verdict.value)
        self.verdict = verdict
        self.node = node


class Place:
    """The place of one client in its group; it is taken by `join`."""

    def __init__(
        self,
        backend: Backend,
        group: str,
        subscription: Subscription,
        assignor: str,
        instance_id: str | None,
        session_s: float,
    ) -> None:
        self._backend = backend
        self._group = group
        self._subscription = subscription
        self._assignor = assignor
        self._instance_id = instance_id
        self._terms = Terms(max(session_s, _LISTENER_SILENCE_S), _ENDLESS_S)
        self._peers: Peers
        self._lease: MemberLease
        self._view: MemberView | None = None
        self.id = uuid4().hex
        """The id that native members see; the client has another."""

    def join(self) -> Share:
        """
        Become a member.

        Raises:
            PlaceRefused: the group is that of a classic listener, or a live member has the instance id.
        """
        backend = self._backend
        group = backend.group_snapshot(self._group).group
        if group.members and group.assignor in ASSIGNORS:
            self._assignor = group.assignor  # the members use it, and a client's is a wish
        options = MembershipOptions(
            self._group,
            self._subscription,
            self._assignor,
            ASSIGNORS[self._assignor],
            self._instance_id,
            self._terms,
            "earliest",  # the client decides where it begins
            auto_commit=False,
            on_assigned=None,
            on_revoked=None,
            on_lost=None,
        )
        self._peers = Peers(backend, options)
        backend.discard_abandoned_leases()
        self._lease = backend.begin_lease(self.id, self._terms)
        try:
            request = Join(self.id, self._instance_id, self._subscription, self._assignor, os.getpid())
            reply = self._peers.run_with_targets(request, suspects=None)
            if reply.verdict is not Verdict.ACCEPTED:
                raise PlaceRefused(reply.verdict, node_of(reply.group))
            share = self.keep_step(None, frozenset())
            assert share is not None
        except BaseException:
            self._lease.leave()
            self._peers.close()
            raise
        return share

    def is_at_rest(self) -> bool:
        """Whether nothing has happened since the last step, so that another would change nothing; never blocks."""
        now_s, known = self._backend.clock.monotonic(), self._view
        if known is None or not self._lease.is_usable(now_s) or self._peers.is_due(now_s, is_due=True):
            return False
        seen = self._backend.member_view(self._group, self.id, known)
        return seen.member is not None and seen.is_same(known) and not seen.group.is_stale(seen.topics_version)

    def keep_step(self, reported: frozenset[PartitionId] | None, told: frozenset[PartitionId]) -> Share | None:
        """
        Do what is to be done for the group now; None when it has removed the member.

        Args:
            reported: what the client says that it uses; None if it says nothing of it.
            told: what it was told that it may use. All else it has never used.
        """
        now_s, backend = self._backend.clock.monotonic(), self._backend
        if not self._lease.is_usable(now_s):
            if self._peers.run(Confirm(self.id), confirms=self._lease).verdict is Verdict.FENCED:
                return None
        if self._peers.look_if_due(now_s, is_due=True) and self._peers.waits_for_targets:
            self._view = None
        seen = None
        for _ in range(_MOST_STEPS):
            known, self._view = self._view, None
            seen = backend.member_view(self._group, self.id, known)
            if seen.member is None:
                return None
            if known is None or seen.group is not known.group:
                self._peers.meet(self.id)
            surplus = seen.member.owned.keys() - seen.member.target
            unused = {one for one in surplus if one not in told or (reported is not None and one not in reported)}
            if unused:
                backend.request_group(self._group, Release(self.id, frozenset(unused)))
                continue
            if seen.group.is_stale(seen.topics_version):
                if self._peers.propose():
                    continue
                break  # another member is about to
            self._peers.rest()
            self._view = seen
            break
        assert seen is not None
        member = seen.member
        if member is None:
            return None
        return Share(seen.group.target_epoch, member.owned, frozenset(member.owned.keys() & member.target))

    def subscribe(self, subscription: Subscription) -> bool:
        """Want other topics from now on; whether it is a member still."""
        self._subscription = subscription
        reply = self._peers.run_with_targets(Subscribe(self.id, subscription))
        return reply.verdict is Verdict.ACCEPTED

    def leave(self) -> None:
        """Leave the group, and free what the member owned."""
        try:
            self._lease.stop_beating()
            self._peers.run_with_targets(Leave(self.id))
        finally:
            self._lease.leave()
            self._peers.close()

    def step_aside(self) -> None:
        """End without leaving: a static member's place is kept until its session ends."""
        self._lease.step_aside()
        self._peers.close()

    def drop(self) -> None:
        """Forget a place that the group has taken away."""
        self._lease.leave()
        self._peers.close()
