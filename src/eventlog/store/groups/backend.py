"""The group methods of `Store` (`eventlog.backend.groups`): offsets, members, administration."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

from eventlog.backend.topics import StoredTopic
from eventlog.groups.state import CommittedOffset, Life, PartitionId
from eventlog.store.groups.liveness import FailureDetector, LivenessFile, Members
from eventlog.store.lmdb.environment import OFFSETS, QUEUES
from eventlog.store.rows.tables import offset_key, unpack_commit

if TYPE_CHECKING:  # what groups need is imported by the first consumer of one: `import eventlog` is fast
    from eventlog.backend.groups import (
        Aim,
        Chosen,
        GroupDetails,
        GroupReply,
        InTurn,
        MemberLease,
        MemberView,
        OffsetCommit,
    )
    from eventlog.clock import Clock
    from eventlog.groups.lease import Terms
    from eventlog.groups.rules import Assign, Request
    from eventlog.groups.state import GroupSnapshot
    from eventlog.store.committer import Committer
    from eventlog.store.groups.admin import GroupChange
    from eventlog.store.groups.commands import CommitOffsets
    from eventlog.store.groups.heartbeat import HeartbeatThread
    from eventlog.store.lmdb.environment import Environment

_MOST_LOOKS = 3

T = TypeVar("T")


class StoreGroups:
    """Consumer groups; any thread may call."""

    environment: Environment
    committer: Committer
    members: Members
    heartbeat: HeartbeatThread
    clock: Clock

    # -- offsets ---------------------------------------------------------------------------------------------

    def committed(self, group: str, partitions: Sequence[PartitionId]) -> list[int | None]:
        """The committed offsets of a group."""
        commits = self.committed_with_notes(group, partitions)
        return [None if commit is None else commit.offset for commit in commits]

    def committed_with_notes(self, group: str, partitions: Sequence[PartitionId]) -> list[CommittedOffset | None]:
        """The same with the times of the commits, and the leader epochs and metadata stored beside them."""
        environment = self.environment
        with environment.reading() as transaction:
            rows = [environment.row(transaction, OFFSETS, offset_key(group, *pair)) for pair in partitions]
            return [None if row is None else unpack_commit(row) for row in rows]

    def commit_offsets(self, commit: OffsetCommit) -> None:
        """Store offsets."""
        self.committer.run(self.offsets_command(commit))

    def offsets_command(self, commit: OffsetCommit) -> CommitOffsets:
        """The command that stores offsets; a transaction may make it a part of its own."""
        from eventlog.store.groups.commands import CommitOffsets

        return CommitOffsets(commit, self.clock.now_ms(), self.members)

    # -- members ---------------------------------------------------------------------------------------------

    def begin_lease(self, member_id: str, terms: Terms) -> MemberLease:
        """The sign of life of a new member of this process."""
        self.environment.has_later(QUEUES)  # a queue may have the name of a group by now
        file = self.members.make(member_id, terms)
        try:
            file.begin_beating(self.heartbeat)
        except BaseException:
            file.leave()
            raise
        return file

    def discard_abandoned_leases(self) -> None:
        """Remove the signs of life that killed processes left."""
        self.members.discard_abandoned()

    def request_group(
        self,
        name: str,
        request: Request,
        *,
        then: Assign | None = None,
        suspects: Collection[str] | None = (),
        offsets: OffsetCommit | None = None,
        confirms: MemberLease | None = None,
    ) -> GroupReply:
        """Have a request decided by the rules, in one transaction."""
        from eventlog.backend.groups import GroupReply
        from eventlog.store.groups.commands import GroupCommand

        command = GroupCommand(
            name,
            request,
            self.clock.now_ms(),
            members=self.members,
            then=then,
            suspects=suspects,
            offsets=None if offsets is None else self.offsets_command(offsets),
            confirm=None if confirms is None else cast(LivenessFile, confirms).confirm,
        )
        self.committer.run(command)
        self.members.discard(command.removed)
        return GroupReply(command.verdict, command.group)

    def member_view(self, group: str, member_id: str, known: MemberView | None = None) -> MemberView:
        """What one member has to look at now."""
        from eventlog.store.groups.reader import member_view

        return member_view(self.environment, group, member_id, known)

    def member_ids(self, group: str) -> list[str]:
        """The ids of a group's members, in order."""
        from eventlog.store.groups.reader import member_ids

        return member_ids(self.environment, group)

    def group_snapshot(self, name: str) -> GroupSnapshot[StoredTopic]:
        """A group, and the topics that its members may want."""
        from eventlog.store.groups.reader import group_snapshot

        return group_snapshot(self.environment, name)

    def look_at_members(self, member_ids: Iterable[str]) -> dict[str, Life]:
        """What can be seen of some members of any process now."""
        return self.members.look(member_ids)

    def watch_members(self) -> FailureDetector:
        """A watch that has chosen nobody yet."""
        return FailureDetector(self.members)

    def in_group_turn(self, group: str, act: InTurn[T]) -> T:
        """Call a function in the turn to do something that needs to be done once for a group."""
        return self.members.in_turn(group, act)

    # -- administration --------------------------------------------------------------------------------------

    def group_names(self) -> list[str]:
        """All groups that have members or offsets, sorted."""
        from eventlog.store.groups.reader import group_names

        return group_names(self.environment)

    def group_details(self, name: str) -> GroupDetails:
        """All that is stored of a group, and the liveness of its members."""
        from eventlog.store.groups.reader import group_details

        looks = 0
        while True:
            details = group_details(self.environment, name)
            lives = self.members.look(details.group.members)
            looks += 1
            is_unchanged = self.environment.last_transaction() == details.transaction
            if is_unchanged or looks == _MOST_LOOKS or all(life is Life.ALIVE for life in lives.values()):
                return details._replace(lives=lives)  # else a member that seems dead may just have left

    def reset_offsets(
        self, name: str, aim: Aim, chosen: Chosen | None, *, is_forced: bool, is_dry: bool
    ) -> dict[tuple[str, int], int]:
        """Put a group elsewhere; the new offsets, by topic and partition."""
        from eventlog.store.groups.admin import ResetOffsets

        now_ms = self.clock.now_ms()
        command = ResetOffsets(name, aim, chosen, now_ms, members=self.members, is_forced=is_forced, is_dry=is_dry)
        self._change_group(command)
        return command.offsets

    def delete_group(self, name: str, *, is_forced: bool) -> None:
        """Delete a group with its members and its offsets."""
        from eventlog.store.groups.admin import DeleteGroup
        from eventlog.store.records.emptying import empty

        self._change_group(DeleteGroup(name, self.clock.now_ms(), members=self.members, is_forced=is_forced))
        empty(self.environment, self.committer.run)

    def delete_offsets(
        self,
        name: str,
        topic: StoredTopic,
        *,
        is_forced: bool,
        partitions: Collection[int] | None = None,
        claim: str | None = None,
    ) -> None:
        """Delete a group's offsets of one topic."""
        from eventlog.store.groups.admin import DeleteOffsets
        from eventlog.store.records.emptying import empty

        self._change_group(
            DeleteOffsets(
                name,
                topic,
                self.clock.now_ms(),
                members=self.members,
                is_forced=is_forced,
                partitions=partitions,
                claim=claim,
            )
        )
        empty(self.environment, self.committer.run)

    def _change_group(self, command: GroupChange) -> None:
        self.committer.run(command)
        self.members.discard(command.removed)
