"""
A consumer's place in its group: joining, keeping step with the others, leaving.

Everything happens when the consumer polls, in its own thread; between two polls nothing changes for it. What is stored
of the member says what it has to do (`groups/rules.py`, `next_steps`):

    gone      it was removed, or its topic was: forget the partitions, `on_lost`
    surplus   `on_revoked`; then commit what is finished and release, in one transaction
    fresh     take them at the committed offset, `on_assigned`

What a member does for the others is in `clients/consumer/group/peers.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any
from uuid import uuid4

from eventlog.api.consumer import Callback
from eventlog.backend import Backend
from eventlog.backend.groups import MemberLease, MemberView, OffsetCommit
from eventlog.backend.topics import StoredTopic
from eventlog.backend.waiting import group_subject
from eventlog.clients.consumer.fetcher import LOOK_SECONDS
from eventlog.clients.consumer.gate import gated
from eventlog.clients.consumer.group.peers import Peers
from eventlog.clients.consumer.group.silence import Silence
from eventlog.clients.consumer.options import MembershipOptions
from eventlog.clients.consumer.positions import Positions
from eventlog.clients.consumer.starts import StartOffsets
from eventlog.clients.consumer.topic_discovery import MissingTopics
from eventlog.clients.topic_handle import TopicHandle
from eventlog.errors import GroupMismatch, InstanceInUse, LogClosed, MemberFenced, UnknownTopic
from eventlog.groups.rules import (
    Confirm,
    Join,
    Leave,
    Release,
    Steps,
    Verdict,
    next_steps,
)
from eventlog.groups.state import Group, PartitionId
from eventlog.interruptions import unless_interrupted
from eventlog.notices import ASSIGNED, JOINED, LEFT, LOST, REVOKED, placed, tell
from eventlog.records import Record, TopicPartition

_UNFINISHED_SECONDS = 0.5
"""A member that has not come to rest with its group goes on after this long."""
_MOST_STEPS = 16
_MOST_TURNS = 3


class Membership:
    """
    One consumer's membership.

    Belongs to the consumer's thread. `call` runs a callback of the user's.
    """

    def __init__(
        self,
        backend: Backend,
        open_topic: Callable[[str], TopicHandle],
        positions: Positions,
        starts: StartOffsets,
        options: MembershipOptions,
        call: Callable[[Callback, list[TopicPartition]], None],
    ) -> None:
        self._backend = backend
        self._open_topic = open_topic
        self._positions = positions
        self._starts = starts
        self._options = options
        self._call = call
        self._topics: dict[int, StoredTopic] = {}
        self._topics_version = -1
        self._missing = MissingTopics(options.subscription)
        self._held: dict[PartitionId, int] = {}
        self._names: dict[PartitionId, TopicPartition] = {}
        self._pending_on_assigned: list[TopicPartition] = []
        self._pending_on_lost: list[TopicPartition] = []
        self._view: MemberView | None = None
        self._look_at_s = 0.0
        self._silence = Silence(options.group, options.terms.max_poll_interval, backend.clock.monotonic())
        patterns = options.subscription.patterns
        self.subjects: frozenset[int] | None = None if patterns else frozenset({group_subject(options.group)})
        """What to be notified of beside the topics that are read; None is everything, as any new topic may match."""
        self._is_committing = options.auto_commit
        self._peers = Peers(backend, options)
        self._lease: MemberLease | None = None

    # -- what the consumer asks ------------------------------------------------------------------------------

    @property
    def member_id(self) -> str:
        """The id of this member; another after each time that it was removed."""
        return self._current().id

    def offset_commit(self, offsets: Sequence[tuple[StoredTopic, int, int]], *, is_automatic: bool) -> OffsetCommit:
        """A commit of offsets by this member, with its fence."""
        return OffsetCommit(
            self._options.group, offsets, is_automatic, member_id=self._current().id, epochs=dict(self._held)
        )

    @property
    def watched(self) -> AbstractSet[int]:
        """The reading ends of pipes that end when a watched member dies."""
        return self._peers.watched

    def next_at_s(self, now_s: float) -> float:
        """When the member has to poll again for its lease or its group; until then it may sleep."""
        pause_s = self._options.terms.heartbeat_s
        if self._view is None:
            return now_s + min(pause_s, _UNFINISHED_SECONDS)
        return min(now_s + pause_s, self._peers.look_at_s)

    def check(self) -> None:
        """Raise `MemberFenced` if the group has removed this member."""
        member_id = self._current().id
        if self._backend.member_view(self._options.group, member_id).member is None:
            raise MemberFenced(
                f"cannot commit for group {self._options.group!r}: member {member_id} was removed from it.",
                stored="Nothing was stored, and there was nothing new to store.",
                advice="Call poll() to go on as a member; the records come again to whoever owns the partitions.",
                group=self._options.group,
            )

    def forget(self) -> None:
        """Close a child's copies of the watched pipes, after a fork."""
        self._peers.close()

    def stop_committing(self) -> None:
        """Release partitions without a commit from now on: transactions commit the offsets."""
        self._is_committing = False

    def gate(self, records: Iterator[Record[Any, Any]]) -> Iterator[Record[Any, Any]]:
        """The records of a loop, for as long as they may be handed out; a look at the clock goes before each."""
        return gated(records, self._current().permit, self._backend.clock.monotonic)

    def is_usable(self) -> bool:
        """Whether the lease still runs, so that what was taken may be handed out; not once the consumer is closed."""
        lease = self._lease
        return lease is not None and self._backend.clock.monotonic() < lease.permit[0]

    @property
    def permit(self) -> list[float]:
        """Holds the time until which we may hand out records; it is in the past once the consumer is closed."""
        return [float("-inf")] if self._lease is None else self._lease.permit

    def invalidate(self) -> None:
        """
        Have the next `attend` read what we own; a loop ends its batch.

        Does nothing once the consumer is closed, which another thread may do at any time.
        """
        file = self._lease
        self._view = None
        if file is not None:
            file.withdraw()

    def explain(self, error: MemberFenced) -> None:
        """Say in an error that the program did not poll in time, if that is why the partitions are gone."""
        self._silence.explain(error, self._backend.clock.monotonic())

    def is_at_rest(self, *, is_busy: bool) -> bool:
        """Whether `attend` would store nothing, look at no other member, and call nobody now."""
        now_s, view, lease = self._backend.clock.monotonic(), self._view, self._lease
        if view is None or lease is None or self._pending_on_assigned or self._pending_on_lost:
            return False
        if not lease.is_usable(now_s):
            return False
        is_due = not is_busy or now_s >= self._look_at_s
        if self._peers.is_due(now_s, is_due=is_due):
            return False
        if is_due and self._backend.last_transaction() != view.transaction:
            seen = self._backend.member_view(self._options.group, lease.id, view)
            if seen.member is None or not seen.is_same(view):
                return False
            self._view = seen
        return True

    def to_revoke(self) -> list[TopicPartition]:
        """The partitions that `give_up` would call `on_revoked` for now."""
        lease, fresh = self._lease, set(self._pending_on_assigned)
        if (
            lease is None
            or self._options.on_revoked is None
            or self._backend.member_view(self._options.group, lease.id).member is None
        ):
            return []
        return sorted(tp for tp in self._names.values() if tp not in fresh)

    def attend(self, *, is_busy: bool = False, is_resting: bool = False) -> bool:
        """
        Keep step with the group; called at each poll before anything is handed out.

        Afterwards the positions are those of the partitions that this member may use; False when it may use none,
        because callbacks take longer than its lease runs. A busy consumer checks its group less often; one that is
        known to be at rest does nothing that waits for the disk.

        Raises:
            InstanceInUse, GroupMismatch: if it was removed and cannot come back. It has no partitions.
            UnknownTopic: if all topics that it names were deleted.
            Exception: whatever a callback or an assignor raises. It is called again the next time.
        """
        now_s, silence = self._backend.clock.monotonic(), self._silence
        silence.before_s, silence.polled_at_s = now_s - silence.polled_at_s, now_s
        self._current().note_poll(now_s)
        is_usable, turns = False, 0
        while not is_usable and turns < _MOST_TURNS:
            if not is_resting:
                self._keep_step(is_busy=is_busy)
            is_usable = self._current().is_usable(self._backend.clock.monotonic())
            turns += 1  # a callback or a transaction may take longer than the lease runs
        if is_usable:
            self._current().allow()
        if self._missing.are_all:
            raise self._missing.error()
        return is_usable

    def _keep_step(self, *, is_busy: bool) -> None:
        now_s = self._backend.clock.monotonic()
        if not self._current().is_usable(now_s):
            self._confirm()
        is_due = not is_busy or now_s >= self._look_at_s
        if is_busy and is_due:
            self._look_at_s = now_s + LOOK_SECONDS
        if self._peers.look_if_due(now_s, is_due=is_due) and self._peers.waits_for_targets:
            self._view = None
        if self._view is None or (is_due and self._backend.last_transaction() != self._view.transaction):
            self._follow()
        if self._pending_on_assigned or self._pending_on_lost:
            self._announce()

    def leave(self, offsets: Mapping[TopicPartition, int]) -> None:
        """
        Commit finished offsets and leave the group, in one transaction; a static member keeps its place.

        The member is gone afterwards, whatever this raises.
        """
        file = self._lease
        if file is None:
            return
        try:
            file.stop_beating()
            if self._options.instance_id is None:
                self._peers.run_with_targets(Leave(file.id), offsets=self._commit(offsets, file.id))
            elif (commit := self._commit(offsets, file.id)) is not None:
                self._backend.commit_offsets(commit)
        except unless_interrupted(MemberFenced):
            self._peers.run(Leave(file.id))  # others have a part of it already, and the rest comes again
        else:
            tell(LEFT, group=self._options.group, member=file.id)
        finally:
            if self._options.instance_id is None:
                file.leave()
            else:
                file.step_aside()
            self.drop()

    def drop(self) -> None:
        """End the membership without leaving, which looks like a death; nothing happens after `leave`."""
        if self._lease is not None:
            self._lease.abandon()
        self._peers.close()
        self._lease, self._names = None, {}

    def give_up(self) -> None:
        """Call `on_revoked` for everything, before the consumer closes, or `on_lost` if it was lost before."""
        if self._lease is None:
            return  # an interrupted close came further than this
        if self._backend.member_view(self._options.group, self._lease.id).member is None:
            self._forget(self._names.keys())
            self._pending_on_assigned = []
            self._announce()
            return
        self._pending_on_assigned, fresh = [], set(self._pending_on_assigned)
        given_up = [tp for tp in self._names.values() if tp not in fresh]
        if given_up and self._options.on_revoked is not None:
            self._call(self._options.on_revoked, sorted(given_up))

    # -- joining ---------------------------------------------------------------------------------------------

    def _current(self) -> MemberLease:
        lease = self._lease
        if lease is None:  # a signal handler closed the log in the middle of a call
            raise LogClosed("the consumer is closed.", stored="Nothing was handed out.", advice="Make another.")
        return lease

    def begin(self) -> None:
        """Join the group, and take the partitions that are free."""
        try:
            self._join()
            try:
                self._follow()
            except BaseException:
                self.leave({})
                raise
        except BaseException:
            self.drop()
            raise

    def _join(self) -> None:
        """Become a member, under a new id."""
        options, backend = self._options, self._backend
        if self._lease is None:
            backend.discard_abandoned_leases()
        else:
            self._lease.leave()
        lease = self._lease = backend.begin_lease(uuid4().hex, options.terms)
        request = Join(lease.id, options.instance_id, options.subscription, options.assignor_name, os.getpid())
        try:
            reply = self._peers.run_with_targets(request, suspects=None)
            if reply.verdict is Verdict.INSTANCE_IN_USE:
                raise self._instance_in_use(reply.group)
            if reply.verdict is Verdict.DIFFERENT_ASSIGNOR:
                raise self._other_assignor(reply.group)
        except BaseException:
            lease.leave()
            raise
        self._view = None
        tell(JOINED, group=options.group, member=lease.id)

    def _instance_in_use(self, group: Group) -> InstanceInUse:
        options = self._options
        other = group.by_instance(options.instance_id)
        whose = "another process" if other is None else f"process {other.process_id}"
        return InstanceInUse(
            f"cannot join group {options.group!r} as instance {options.instance_id!r}: a live member in {whose} is "
            "that instance.",
            stored="The group is unchanged.",
            advice="Close the other consumer, wait until its session has ended, or give this one another instance_id.",
            group=options.group,
        )

    def _other_assignor(self, group: Group) -> GroupMismatch:
        options = self._options
        if group.is_of_kafka:
            return GroupMismatch(
                f"cannot join group {options.group!r}: clients of Kafka's protocol are its members, coordinated by the "
                f"listener {group.assignor!r}.",
                stored="The group is unchanged.",
                advice="Close them all first, or choose another group.",
                group=options.group,
            )
        return GroupMismatch(
            f"cannot join group {options.group!r} with assignor {options.assignor_name!r}: its {len(group.members)} "
            f"members use {group.assignor!r}.",
            stored="The group is unchanged.",
            advice="Name theirs, or close them all first.",
            group=options.group,
        )

    def _confirm(self) -> None:
        """Ask whether we are still a member, after a silence in which the lease ended."""
        lease = self._current()
        reply = self._peers.run(Confirm(lease.id), confirms=lease)
        if reply.verdict is Verdict.FENCED:
            self._come_back()

    def _come_back(self) -> None:
        """Drop everything without a commit, because others own it now, and join again."""
        self._silence.warn()
        self._forget(self._names.keys())
        self._join()

    # -- keeping step ----------------------------------------------------------------------------------------

    def _follow(self) -> None:
        """Take step after step, until nothing is left to do."""
        for _ in range(_MOST_STEPS):
            if not self._step():
                return
        self._view = None  # the group changes faster than we follow: go on at the next poll

    def _step(self) -> bool:
        """Look once, and do one thing; whether there may be more to do."""
        known, self._view = self._view, None  # until all is done: whatever raises, we look again
        member_id = self._current().id
        seen = self._backend.member_view(self._options.group, member_id, known)
        if seen.member is None:
            self._come_back()
            return True
        if known is not None and seen.is_same(known):
            self._view = seen
            return False
        if known is None:
            self._tidy()
        if known is None or seen.group is not known.group:
            self._peers.meet(self._current().id)
        if seen.topics_version != self._topics_version:
            self._topics = {row.id: row for row in self._backend.topics()}
            self._topics_version = seen.topics_version
            self._missing.learn({row.name for row in self._topics.values()})
            self._forget([partition for partition in self._held if partition[0] not in self._topics])
        member = seen.member
        steps = next_steps(member, self._held)
        self._forget(steps.gone)
        if steps.surplus:
            self._release(steps)
            return True
        if not self._take({partition: member.owned[partition] for partition in steps.fresh}):
            return True
        if seen.group.is_stale(seen.topics_version):
            if self._peers.propose():
                return True
        else:
            self._peers.rest()
        self._view = seen
        return False

    def _tidy(self) -> None:
        """Drop positions that an interruption left: we read what we hold, and nothing else."""
        held = set(self._names.values())
        if left := [tp for tp in self._positions.partitions() if tp not in held]:
            self._positions.drop(left)

    def _forget(self, partitions: Collection[PartitionId]) -> None:
        """Stop using partitions that others may own by now."""
        lost = [self._names[partition] for partition in partitions if partition in self._names]
        pending = set(self._pending_on_assigned)
        if lost:
            self._let_go(partitions, [tp for tp in lost if tp not in pending])

    def _let_go(self, partitions: Collection[PartitionId], lost: Iterable[TopicPartition] = ()) -> None:
        """
        Hold some partitions no longer.

        Ctrl-C may come between any two lines: nothing is changed in place, and the next look does it all again.
        """
        gone = set(partitions)
        names = {partition: tp for partition, tp in self._names.items() if partition not in gone}
        held = {partition: epoch for partition, epoch in self._held.items() if partition in names}
        kept = set(names.values())
        self._positions.drop([tp for tp in self._names.values() if tp not in kept])
        pending_on_assigned = [tp for tp in self._pending_on_assigned if tp in kept]
        pending_on_lost = [*self._pending_on_lost, *lost]
        self._held, self._names, self._pending_on_assigned, self._pending_on_lost = (
            held,
            names,
            pending_on_assigned,
            pending_on_lost,
        )

    def _release(self, steps: Steps) -> None:
        """Release partitions, and commit their finished offsets in the same transaction."""
        held = [partition for partition in steps.surplus if partition in self._held]
        deleted = {partition for partition in held if partition[0] not in self._topics}
        self._forget(deleted)
        kept = [partition for partition in held if partition not in deleted]
        names = [self._names[partition] for partition in kept]
        fresh = set(self._pending_on_assigned)
        known = sorted(tp for tp in names if tp not in fresh)
        if known and self._options.on_revoked is not None:
            self._call(self._options.on_revoked, known)
        offsets = self._positions.uncommitted(set(names)) if self._is_committing else {}
        member_id = self._current().id
        try:
            reply = self._peers.run(Release(member_id, steps.surplus), offsets=self._commit(offsets, member_id))
        except unless_interrupted(MemberFenced):
            return  # an interrupted release was stored after all: the next look tells
        if reply.verdict is Verdict.FENCED:
            self._come_back()
        elif kept:
            self._let_go(kept)
            tell(REVOKED, group=self._options.group, member=member_id, **placed(names))

    def _take(self, fresh: Mapping[PartitionId, int]) -> bool:
        """
        Begin to use partitions, at the group's offsets.

        False when the group has taken them back meanwhile.
        """
        topics = {topic_id: topic for topic_id in {one for one, _ in fresh} if (topic := self._opened(topic_id))}
        taken = {partition: epoch for partition, epoch in sorted(fresh.items()) if partition[0] in topics}
        if not taken:
            return True
        names = {partition: TopicPartition(topics[partition[0]].row.name, partition[1]) for partition in taken}
        fresh_names = [(topics[one[0]], tp) for one, tp in names.items() if self._positions.get(tp) is None]
        self._positions.add(self._starts.positions(fresh_names))
        try:
            if self._options.start != "earliest":
                self._note_start(names.values(), taken)
        except BaseException as error:
            self._positions.drop(names.values())  # else we would read on from where nobody knows that we began
            if isinstance(error, MemberFenced):
                return False
            raise
        held, known, pending_on_assigned = (
            {**self._held, **taken},
            {**self._names, **names},
            [*self._pending_on_assigned, *names.values()],
        )
        self._held, self._names, self._pending_on_assigned = held, known, pending_on_assigned
        return True

    def _opened(self, topic_id: int) -> TopicHandle | None:
        """The topic of that id; None when it was deleted, even if another has its name."""
        if topic_id not in self._topics:
            return None
        try:
            topic = self._open_topic(self._topics[topic_id].name)
        except unless_interrupted(UnknownTopic):
            return None
        return topic if topic.row.id == topic_id else None

    def _note_start(self, names: Iterable[TopicPartition], epochs: Mapping[PartitionId, int]) -> None:
        """
        Store where the group begins.

        Else the next owner of a partition of which nothing was committed would begin at a later end, and what was
        appended in between would be lost.
        """
        commit = self._commit(self._positions.unknown(names), self._current().id, epochs)
        if commit is not None:
            self._backend.commit_offsets(commit)

    def _announce(self) -> None:
        options = self._options
        if self._pending_on_lost:
            if options.on_lost is not None:
                self._call(options.on_lost, sorted(self._pending_on_lost))
            lost, self._pending_on_lost = self._pending_on_lost, []
            there = {row.name for row in self._topics.values()}
            if taken := [tp for tp in lost if tp.topic in there]:  # of the others we tell that they were deleted
                tell(LOST, group=options.group, **placed(taken))
        if self._pending_on_assigned:
            if options.on_assigned is not None:
                self._call(options.on_assigned, sorted(self._pending_on_assigned))
            assigned, self._pending_on_assigned = self._pending_on_assigned, []
            tell(ASSIGNED, group=options.group, member=self._current().id, **placed(assigned))

    # -- transactions ----------------------------------------------------------------------------------------

    def _commit(
        self, offsets: Mapping[TopicPartition, int], member_id: str, epochs: Mapping[PartitionId, int] | None = None
    ) -> OffsetCommit | None:
        """A commit of some offsets by this member, None when there are none."""
        rows = [
            (position.cursor.route.row, tp.partition, offset)
            for tp, offset in offsets.items()
            if (position := self._positions.get(tp)) is not None
        ]
        if not rows:
            return None
        held = self._held if epochs is None else epochs
        return OffsetCommit(self._options.group, rows, is_automatic=True, member_id=member_id, epochs=dict(held))
