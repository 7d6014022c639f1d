"""
The administration of groups: reset and delete offsets, delete a group.

Each is one `CommitRequest`: the liveness of members is checked inside its transaction, so that nobody joins between
the look and the change; then everything is judged; then all of it is written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from functools import reduce

from eventlog.backend.groups import Aim, Chosen, Shifted, ToOffsets, ToStart, unknown_group
from eventlog.backend.topics import StoredTopic
from eventlog.backend.waiting import commits_subject, group_subject
from eventlog.clock import to_ms
from eventlog.errors import GroupNotEmpty, OffsetOutOfRange, UnknownPartition
from eventlog.groups.state import CommittedOffset, Group, Life, Member, PartitionId
from eventlog.interruptions import unless_interrupted
from eventlog.store.groups.commands import put_offset
from eventlog.store.groups.liveness import Members
from eventlog.store.groups.rows import load, load_offsets, member_prefix, save
from eventlog.store.lmdb.environment import GROUPS, MEMBERS, OFFSETS, TOPICS
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.tables import offset_key, unpack_topic

# -- commands ---------------------------------------------------------------------------------------------------


class GroupChange(CommitRequest):
    """
    A change of a group.

    Afterwards `removed` are the members that are none any more.
    """

    __slots__ = ("_dissolve", "_members", "_name", "_now_ms", "notifies", "removed")
    bound_share = 1.0

    def __init__(self, name: str, now_ms: int, *, members: Members, is_forced: bool) -> None:
        from eventlog.groups.rules import Dissolve  # now: nothing is read from files inside of a transaction

        super().__init__()
        self._name = name
        self._now_ms = now_ms
        self._members = members
        self._dissolve = Dissolve(is_forced)
        self.notifies = False
        self.removed: list[str] = []

    @property
    def subjects(self) -> Collection[int]:
        """The group, and what it has committed."""
        return (group_subject(self._name), commits_subject(self._name))

    def _check_known(self, what: str, group: Group, committed: Collection[PartitionId]) -> None:
        if not group.members and not committed:
            raise unknown_group(self._name, what)

    def _dissolved(self, what: str, before: Group) -> Group:
        """The group without members; an error if one lives and is not to be fenced."""
        from eventlog.groups.rules import Verdict, apply, decide

        liveness = self._members.look(before.members)
        decision = decide(before, self._dissolve, liveness, self._now_ms)
        if decision.verdict is Verdict.NOT_EMPTY:
            living = [member for member in before.members.values() if liveness[member.id] is Life.ALIVE]
            raise self._not_empty(what, living, "")
        return reduce(apply, decision.changes, before)

    def _not_empty(self, what: str, living: Sequence[Member], why: str) -> GroupNotEmpty:
        processes = sorted({member.process_id for member in living})
        count = "1 member lives" if len(living) == 1 else f"{len(living)} members live"
        where = f"in {'process' if len(processes) == 1 else 'processes'} {', '.join(map(str, processes))}"
        return GroupNotEmpty(
            f"cannot {what} group {self._name!r}: {count}{why}, {where}.",
            stored="Nothing was changed.",
            advice="Close them, or force it: they are fenced, commit nothing more, and begin again.",
            group=self._name,
        )

    def _done(self, before: Group, after: Group) -> None:
        self.removed = list(before.members.keys() - after.members.keys())
        self.notifies = before is not after


class ResetOffsets(GroupChange):
    """
    New offsets for a group, in some partitions or in all that it knows.

    Afterwards `offsets` says where, by topic and partition; a dry run finds the same and stores nothing.
    """

    __slots__ = ("_aim", "_chosen", "_is_dry", "offsets")

    def __init__(
        self,
        name: str,
        aim: Aim,
        chosen: Chosen | None,
        now_ms: int,
        *,
        members: Members,
        is_forced: bool,
        is_dry: bool,
    ) -> None:
        super().__init__(name, now_ms, members=members, is_forced=is_forced)
        self._aim = aim
        self._chosen = chosen
        self._is_dry = is_dry
        self.offsets: dict[tuple[str, int], int] = {}

    def apply(self, writing: WriteTransaction) -> None:
        """Find every offset, then fence the members and write one row for each."""
        before = load(writing, self._name)
        committed = load_offsets(writing, self._name)
        try:
            partitions = self._partitions(writing, before, committed)
            after = self._dissolved("reset the offsets of", before)
            found = [
                (topic, partition, self._found(writing, topic, partition, committed.get((topic.id, partition))))
                for topic, partition in partitions
            ]
        except unless_interrupted(ValueError) as error:
            self.error = error  # ours alone: raised here, it would be the whole round's
            return
        self.offsets = {(topic.name, partition): offset for topic, partition, offset in found}
        if self._is_dry:
            return
        save(writing, before, after)
        for topic, partition, offset in found:
            put_offset(writing, offset_key(self._name, topic.id, partition), CommittedOffset(offset, self._now_ms))
        self._done(before, after)

    def _partitions(
        self, writing: WriteTransaction, group: Group, committed: Mapping[PartitionId, int]
    ) -> list[tuple[StoredTopic, int]]:
        """What to reset, by topic and number, sorted."""
        found: set[tuple[str, int]] = set()
        topics: dict[str, StoredTopic] = {}
        if self._chosen is None:
            self._check_known("reset the offsets of", group, committed)
            known = set(committed)
            if isinstance(self._aim, Shifted):
                if not known:
                    raise ValueError(
                        f"cannot shift group {self._name!r} by {self._aim.by}: it has members and no offsets yet. "
                        "No offset was changed. Say where it is to stand instead."
                    )
            else:
                known.update(*(member.owned.keys() | member.target for member in group.members.values()))
            rows = [unpack_topic(key, data) for key, data in writing.items(TOPICS, b"")]
            topics = {row.name: row for row in rows}
            found = {
                (row.name, number) for row in rows for number in range(row.partitions) if (row.id, number) in known
            }
        for asked, number in self._chosen or ():
            row = topics[asked.name] = writing.check_topic(asked)
            if number is not None and number >= row.partitions:
                raise UnknownPartition(
                    f"topic {row.name!r} has no partition {number}: it has {row.partitions}, from 0 to "
                    f"{row.partitions - 1}.",
                    stored="No offset was changed.",
                    advice="Pass one of them.",
                    topic=row.name,
                    partition=number,
                    group=self._name,
                )
            found.update((row.name, each) for each in (range(row.partitions) if number is None else [number]))
        return [(topics[name], number) for name, number in sorted(found)]

    def _found(self, writing: WriteTransaction, topic: StoredTopic, partition: int, committed: int | None) -> int:
        first = writing.partition_first(topic.id, partition)
        end, _ = writing.partition_end(topic.id, partition)
        match self._aim:
            case Shifted(by):
                if committed is None:
                    raise ValueError(
                        f"cannot shift group {self._name!r} by {by} in {topic.name}[{partition}]: it has no offset "
                        "there. No offset was changed. Say where it is to stand instead."
                    )
                return min(max(committed + by, first), end)
            case ToStart("earliest"):
                return first
            case ToStart("latest"):
                return end
            case ToStart(datetime() as moment):
                return writing.offset_of_time(topic.id, partition, to_ms(moment))
            case ToStart(int() as offset):
                pass
            case ToOffsets(offsets):
                offset = offsets[topic.id, partition]
            case ToStart(other):
                raise AssertionError(other)
        if not first <= offset <= end:
            raise OffsetOutOfRange(
                f"cannot put group {self._name!r} at offset {offset} of {topic.name}[{partition}]: the partition "
                f"holds offsets {first} to {end} ({end} exclusive).",
                stored="No offset was changed in any partition.",
                advice=f'Pass one from {first} to {end}, "earliest" or "latest".',
                first=first,
                end=end,
                topic=topic.name,
                partition=partition,
                offset=offset,
                group=self._name,
            )
        return offset


class DeleteGroup(GroupChange):
    """The removal of a group with its members and its offsets."""

    __slots__ = ()
    reserve_share = 1.0

    def apply(self, writing: WriteTransaction) -> None:
        """Remove all rows that carry the group's name."""
        before = load(writing, self._name)
        self._check_known("delete", before, load_offsets(writing, self._name))
        after = self._dissolved("delete", before)
        writing.delete(GROUPS, self._name.encode())
        for table in (MEMBERS, OFFSETS):
            writing.delete_prefix(table, member_prefix(self._name))
        self._done(before, after)


class DeleteOffsets(GroupChange):
    """The removal of a group's offsets of one topic."""

    __slots__ = ("_claim", "_partitions", "_topic")
    reserve_share = 1.0

    def __init__(
        self,
        name: str,
        topic: StoredTopic,
        now_ms: int,
        *,
        members: Members,
        is_forced: bool,
        partitions: Collection[int] | None = None,
        claim: str | None = None,
    ) -> None:
        super().__init__(name, now_ms, members=members, is_forced=is_forced)
        self._topic = topic
        self._partitions = partitions
        self._claim = claim

    def apply(self, writing: WriteTransaction) -> None:
        """Refuse if a live member wants the topic, then remove."""
        what = f"delete the offsets of topic {self._topic.name!r} from"
        writing.check_topic(self._topic)
        before = after = load(writing, self._name)
        committed = load_offsets(writing, self._name)
        self._check_known(what, before, committed)
        wanting = [
            member
            for member in before.members.values()
            if member.id != self._claim and member.subscription.covers(self._topic.name)
        ]
        liveness = self._members.look(member.id for member in wanting)
        living = [member for member in wanting if liveness[member.id] is Life.ALIVE]
        if living and not self._dissolve.is_forced:
            raise self._not_empty(what, living, " and subscribe to it" if len(living) > 1 else " and subscribes to it")
        if living:
            after = self._dissolved(what, before)
            save(writing, before, after)
        for topic_id, partition in committed:
            if topic_id == self._topic.id and (self._partitions is None or partition in self._partitions):
                writing.delete(OFFSETS, offset_key(self._name, topic_id, partition))
        self._done(before, after)
