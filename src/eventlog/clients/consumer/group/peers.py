"""
A member's part in running its group: failure detection, and proposals of who owns which partition.

Nobody is in charge. Each member watches the next few of the others and removes the dead ones, and the first member that
sees that the targets are stale proposes new ones.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from collections.abc import Set as AbstractSet

from eventlog.backend import Backend
from eventlog.backend.groups import GroupReply, MemberLease, OffsetCommit
from eventlog.backend.topics import StoredTopic
from eventlog.clients.consumer.options import MembershipOptions
from eventlog.errors import MemberFenced
from eventlog.groups.assignment import foreseen, later, propose
from eventlog.groups.rules import Assign, Request, Sweep, is_gone
from eventlog.groups.state import Group, Life
from eventlog.interruptions import suppress
from eventlog.notices import REMOVED, named, tell

_WATCH_SECONDS = 0.4
"""Poll interval for watched members without FIFOs, and for targets that another member is proposing."""
_WATCHED_COUNT = 3
_ROUND_SECONDS = 2.0
"""Poll interval for one of the members that others watch."""
_TURN_SECONDS = 1.0
"""After this long we propose without the turn: the member that has it may be stopped."""


class Peers:
    """
    One member's part of the work for its group: failure detection and proposals.

    Belongs to the consumer's thread.
    """

    def __init__(self, backend: Backend, options: MembershipOptions) -> None:
        self._backend = backend
        self._options = options
        self._watch = backend.watch_members()
        self._member_id = ""
        self._others: list[str] = []
        self._rounds = 0
        self.look_at_s = 0.0
        """When to look at the others again, if none of those we watch dies before."""
        self._quiet_until_s = 0.0
        """Until when there is nothing to see of those we watch, if none dies."""
        self._stale_since_s: float | None = None

    # -- failures --------------------------------------------------------------------------------------------

    @property
    def watched(self) -> AbstractSet[int]:
        """The reading ends of pipes that end when a watched member dies."""
        return self._watch.descriptors

    @property
    def waits_for_targets(self) -> bool:
        """Whether another member was proposing targets when we wanted to."""
        return self._stale_since_s is not None

    def meet(self, member_id: str) -> None:
        """Note who the members are now, and which of them we are."""
        self._member_id = member_id
        ids = self._backend.member_ids(self._options.group)
        place = bisect_right(ids, member_id)
        self._others = [one for one in ids[place:] + ids[:place] if one != member_id]
        self._watch.choose(self._others[:_WATCHED_COUNT])
        self._quiet_until_s = 0.0
        # Soon, and not at once: while a hundred join, each of them meets the others a hundred times.
        self.look_at_s = min(self.look_at_s, self._backend.clock.monotonic() + _WATCH_SECONDS)

    def is_due(self, now_s: float, *, is_due: bool) -> bool:
        """Whether `look_if_due` would look."""
        if is_due and self._watch.died():  # which is told once
            self.look_at_s, self._quiet_until_s = now_s, 0.0
        return now_s >= self.look_at_s

    def look_if_due(self, now_s: float, *, is_due: bool) -> bool:
        """Check the other members if it is time, or if one has died; whether it did."""
        died = (is_due or now_s >= self.look_at_s) and self._watch.died()
        if not died and now_s < self.look_at_s:
            return False
        is_quiet = not died and now_s < self._quiet_until_s
        self.look_at_s = self._quiet_until_s = now_s + _WATCH_SECONDS  # if the look raises
        self._look(is_quiet=is_quiet)
        self._note_when(now_s)
        return True

    def _note_when(self, now_s: float) -> None:
        """
        Note when to check again.

        The kernel notifies us when the process of a watched member dies. A member that hangs is found when its lease
        is over, and its file says when that is.
        """
        if self.waits_for_targets or self._quiet_until_s == 0.0:  # the look found others to watch
            return
        self._quiet_until_s = self._watch.quiet_until_s()
        round_at_s = now_s + _ROUND_SECONDS if len(self._others) > _WATCHED_COUNT else float("inf")
        self.look_at_s = max(self.look_at_s, min(self._quiet_until_s, round_at_s))

    def _look(self, *, is_quiet: bool) -> None:
        """
        Check other members: the next few in a ring unless they are quiet, and each of the rest in turn.

        So however many there are, one look is cheap, and a member that is stopped hides nobody for long.
        """
        others = self._others
        if not others:
            return
        self._rounds += 1
        looked_at = {others[self._rounds % len(others)]}
        if not is_quiet:
            looked_at.update(others[:_WATCHED_COUNT])
        liveness = self._watch.look(looked_at)
        suspects = [member_id for member_id, life in liveness.items() if life is not Life.ALIVE]
        if not suspects:
            return
        group = self._backend.group_snapshot(self._options.group).group
        if any(is_gone(group.members.get(member_id), liveness[member_id]) for member_id in suspects):
            self._tell_of_removed(group, self.run_with_targets(Sweep(), suspects=None).group)
        elif any(member_id not in group.members for member_id in suspects):
            self.meet(self._member_id)  # a static member took its place again: it has another id, and no row tells

    def _tell_of_removed(self, before: Group, after: Group) -> None:
        if removed := before.members.keys() - after.members.keys():
            tell(REMOVED, group=self._options.group, **named(removed))

    def close(self) -> None:
        """Watch nobody any more."""
        self._watch.close()

    # -- targets ---------------------------------------------------------------------------------------------

    def propose(self) -> bool:
        """
        Propose targets, unless another member has the turn.

        False when somebody is.
        """
        backend, options = self._backend, self._options
        now_s = backend.clock.monotonic()
        stale_since_s = self._stale_since_s = now_s if self._stale_since_s is None else self._stale_since_s

        def propose_in_turn(*, is_ours: bool) -> bool:
            if not is_ours and now_s - stale_since_s < _TURN_SECONDS:
                self.look_at_s = min(self.look_at_s, now_s + _WATCH_SECONDS)
                return False
            snapshot = backend.group_snapshot(options.group)
            if snapshot.group.needs_targets(snapshot.topics_version):
                request = propose(snapshot, options.assignor_name, options.assignor)
                with suppress(MemberFenced):  # somebody else proposed, and the owner has begun already
                    self.run(request, offsets=self._beginnings(later(snapshot, request)))
            return True

        return backend.in_group_turn(options.group, propose_in_turn)

    def rest(self) -> None:
        """Note that the targets are up to date."""
        self._stale_since_s = None

    def _beginnings(self, partitions: list[tuple[StoredTopic, int]]) -> OffsetCommit | None:
        """The first offsets of partitions that appeared later, for a group that does not begin there anyway."""
        if self._options.start == "earliest" or not partitions:
            return None
        stored = self._backend.committed(self._options.group, [(row.id, number) for row, number in partitions])
        rows = [
            (row, number, self._backend.bounds(row, [number])[0][0])
            for (row, number), offset in zip(partitions, stored, strict=True)
            if offset is None
        ]
        return OffsetCommit(self._options.group, rows, is_automatic=True)

    # -- transactions ----------------------------------------------------------------------------------------

    def run_with_targets(
        self, request: Request, *, suspects: Collection[str] | None = (), offsets: OffsetCommit | None = None
    ) -> GroupReply:
        """Have a request decided, with the targets that follow from it: one transaction instead of two."""
        backend, options = self._backend, self._options

        def decide(*, is_ours: bool) -> GroupReply:
            targets: Assign | None = None
            if is_ours:
                snapshot = backend.group_snapshot(options.group)
                liveness = backend.look_at_members(snapshot.group.members if suspects is None else suspects)
                # What a user's assignor raises comes from `propose`, which must do without these targets then.
                with suppress(Exception):
                    targets = foreseen(snapshot, request, liveness, options.assignor_name, options.assignor)
            return self.run(request, then=targets, suspects=suspects, offsets=offsets)

        return backend.in_group_turn(options.group, decide)

    def run(
        self,
        request: Request,
        *,
        then: Assign | None = None,
        suspects: Collection[str] | None = (),
        offsets: OffsetCommit | None = None,
        confirms: MemberLease | None = None,
    ) -> GroupReply:
        """Have a request decided, in one transaction."""
        return self._backend.request_group(
            self._options.group, request, then=then, suspects=suspects, offsets=offsets, confirms=confirms
        )
