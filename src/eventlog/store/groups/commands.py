"""
The commands of groups: a request that the rules decide, and committed offsets behind their fence.

Each is one `CommitRequest`, so the write lock is the coordinator, for any number of threads and processes. The rules
are in `groups/rules.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import reduce

from eventlog.backend.groups import OffsetCommit
from eventlog.backend.topics import StoredTopic
from eventlog.backend.waiting import commits_subject, group_subject
from eventlog.errors import FormatTooOld, GroupMismatch, MemberFenced, OffsetOutOfRange, UnknownTopic
from eventlog.groups.rules import Assign, Join, Request, Verdict, apply, decide, fenced
from eventlog.groups.state import CommittedOffset, Group, Life, PartitionId
from eventlog.interruptions import unless_interrupted
from eventlog.options import check_offset_notes
from eventlog.store.groups.liveness import Members
from eventlog.store.groups.rows import load, load_member, save
from eventlog.store.lmdb.environment import OFFSETS, QUEUES
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.queues import queue_key
from eventlog.store.rows.tables import offset_key, pack_offset, split_offset_key


def put_offset(
    writing: WriteTransaction, key: bytes, commit: CommittedOffset, *, has_kafka_rules: bool = False
) -> None:
    """
    Write the row of a committed offset, as the format of the log has it.

    Args:
        has_kafka_rules: notes that the offset is beyond the end, where it is; else that has been refused before.
    """
    is_ahead = has_kafka_rules and writing.is_beyond_end(*split_offset_key(key)[1:], commit.offset)
    has_metadata = writing.environment.seal is not None
    writing.put(OFFSETS, key, pack_offset(commit, has_metadata=has_metadata, is_ahead=is_ahead))


def refuse_queue(writing: WriteTransaction, name: str) -> None:
    """Raise an error if a group has the name of a queue."""
    if writing.get(QUEUES, queue_key(name)) is not None:
        raise GroupMismatch(
            f"cannot use {name!r} as a consumer group: it is a queue.",
            stored="Nothing was changed.",
            advice="Choose another name, or work for the queue: log.queue(..., group=...).",
            group=name,
        )


class CommitOffsets(CommitRequest):
    """The command that stores the offsets of a group (`eventlog.backend.groups.OffsetCommit`)."""

    __slots__ = ("_commit", "_members", "_now_ms")
    notifies = True
    bound_share = 0.5

    def __init__(self, commit: OffsetCommit, now_ms: int, members: Members) -> None:
        super().__init__()
        for leader_epoch, metadata in commit.notes.values():
            check_offset_notes(None if leader_epoch == -1 else leader_epoch, metadata)
        self._commit = commit
        self._now_ms = now_ms
        self._members = members

    @property
    def subjects(self) -> Collection[int]:
        """What the group has committed."""
        return (commits_subject(self._commit.group),)

    def apply(self, writing: WriteTransaction) -> None:
        """Check every partition, then write one row for each."""
        self.check(writing)
        self.write(writing)

    def check(self, writing: WriteTransaction) -> None:
        """Raise what speaks against it."""
        if QUEUES in writing._environment.tables:
            refuse_queue(writing, self._commit.group)
        if self._commit.notes and writing.environment.seal is None:
            raise FormatTooOld(
                f"cannot store metadata or a leader epoch beside an offset of group {self._commit.group!r}: the log at "
                f"{writing.environment.path} has format 3, which has no place for them.",
                stored="Nothing was stored.",
                advice="Commit without them, or upgrade the log: eventlog upgrade, or open(upgrade=True).",
                group=self._commit.group,
            )
        if self._commit.has_kafka_rules:
            if self._commit.member_id is not None and self._commit.epochs:
                self._check_owned(writing, self._commit.member_id)
            else:
                self._check_claim(writing)
            return
        if self._commit.member_id is None:
            self._check_unowned(writing)
        else:
            self._check_owned(writing, self._commit.member_id)
        if not self._commit.is_automatic:
            for topic, partition, offset in self._commit.offsets:
                writing.check_topic(topic)
                if writing.is_beyond_end(topic.id, partition, offset):
                    raise self._beyond_end(topic, partition, offset, *writing.bounds(topic.id, partition))

    def write(self, writing: WriteTransaction) -> None:
        """
        Write the rows of the topics that are there.

        An automatic commit leaves out what is beyond the end, to which only `seek()` goes: the next fetch says so.
        """
        is_automatic = self._commit.is_automatic
        for topic, partition, offset in self._commit.offsets:
            try:
                writing.check_topic(topic)
            except unless_interrupted(UnknownTopic):
                continue
            if is_automatic and writing.is_beyond_end(topic.id, partition, offset):
                continue
            leader_epoch, metadata = self._commit.notes.get((topic.id, partition), (-1, ""))
            put_offset(
                writing,
                offset_key(self._commit.group, topic.id, partition),
                CommittedOffset(offset, self._now_ms, leader_epoch, metadata),
                has_kafka_rules=self._commit.has_kafka_rules,
            )

    def _beyond_end(self, topic: StoredTopic, partition: int, offset: int, first: int, end: int) -> OffsetOutOfRange:
        return OffsetOutOfRange(
            f"cannot commit offset {offset} of {topic.name}[{partition}] for group {self._commit.group!r}: the "
            f"partition holds offsets {first} to {end} ({end} exclusive), and records to come would never be read.",
            stored="Nothing was stored.",
            advice=f"Commit {end} at most: the offset after the last record that was worked on.",
            first=first,
            end=end,
            topic=topic.name,
            partition=partition,
            offset=offset,
            group=self._commit.group,
        )

    def _check_owned(self, writing: WriteTransaction, member_id: str) -> None:
        epochs = {
            (topic.id, partition): self._commit.epochs.get((topic.id, partition), -1)
            for topic, partition, _ in self._commit.offsets
        }
        member = load_member(writing, self._commit.group, member_id)
        if member is None and not self._commit.offsets:
            raise MemberFenced(
                f"cannot commit for group {self._commit.group!r}: member {member_id} was removed from it.",
                stored="Nothing was stored.",
                advice="Call poll() to go on as a member; the records come again to whoever owns the partitions.",
                group=self._commit.group,
            )
        refused = fenced(member, epochs)
        if refused:
            raise self._refusal(
                load(writing, self._commit.group), f"member {member_id}", refused[0], epochs[refused[0]]
            )

    def _check_claim(self, writing: WriteTransaction) -> None:
        """Refuse what a listener commits for a group that it does not coordinate, or that has members."""
        group, claim = load(writing, self._commit.group), self._commit.member_id
        if claim is None:
            liveness = self._members.look(group.members)
            is_refused = Life.ALIVE in liveness.values()
        else:
            is_refused = claim not in group.members
        if is_refused:
            raise MemberFenced(
                f"cannot commit for group {group.name!r}: "
                + ("it has live members, and this is none." if claim is None else "its listener no longer has it."),
                stored="Nothing was stored.",
                advice="Join the group again." if claim is not None else "Close its members, or commit as one of them.",
                group=group.name,
            )

    def _check_unowned(self, writing: WriteTransaction) -> None:
        group = load(writing, self._commit.group)
        if not group.members:
            return
        liveness = self._members.look(group.members)
        for topic, partition, _ in self._commit.offsets:
            owner = group.owner((topic.id, partition))
            if owner is not None and liveness[owner.id] is Life.ALIVE:
                raise self._refusal(group, "a consumer that is no member", (topic.id, partition), -1)

    def _refusal(self, group: Group, who: str, refused: PartitionId, epoch: int) -> MemberFenced:
        topic, partition, offset = next(row for row in self._commit.offsets if (row[0].id, row[1]) == refused)
        owner = group.owner(refused)
        since = " does not own it, and" if epoch < 0 else f" had it since epoch {epoch}, and"
        now = "nobody owns it" if owner is None else f"member {owner.id} owns it since epoch {owner.owned[refused]}"
        return MemberFenced(
            f"cannot commit offset {offset} of {topic.name}[{partition}] for group {group.name!r}: {who}{since} {now} "
            f"(the group is at epoch {group.epoch}).",
            stored="Nothing was stored.",
            advice="Call poll() to go on as a member; the records come again to whoever owns the partition.",
            topic=topic.name,
            partition=partition,
            offset=offset,
            group=group.name,
        )


class GroupCommand(CommitRequest):
    """
    A request to the coordinator, decided and stored with the offsets of partitions that are given up.

    Afterwards `verdict` says what became of it, `group` is the group now, and `removed` are the former members.
    What `verdict` does not accept stores no offsets.

    Args:
        then: targets for the group as the request leaves it, if nothing else happened to it; else they are stale, and
            nothing comes of them.
        suspects: whose life to look at, of all members when None.
        confirm: is called in the transaction once the request is accepted.
    """

    __slots__ = (
        "_confirm",
        "_members",
        "_name",
        "_now_ms",
        "_offsets",
        "_request",
        "_suspects",
        "_then",
        "group",
        "notifies",
        "removed",
        "verdict",
    )
    bound_share = 0.5

    def __init__(
        self,
        name: str,
        request: Request,
        now_ms: int,
        *,
        members: Members,
        then: Assign | None = None,
        suspects: Iterable[str] | None = (),
        offsets: CommitOffsets | None = None,
        confirm: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self._name = name
        self._request = request
        self._now_ms = now_ms
        self._members = members
        self._suspects = None if suspects is None else tuple(suspects)
        self._then = then
        self._offsets = offsets
        self._confirm = confirm
        self.notifies = False
        self.verdict = Verdict.STALE
        self.group = Group(name)
        self.removed: list[str] = []

    @property
    def subjects(self) -> Collection[int]:
        """The group, and what it has committed."""
        group = group_subject(self._name)
        return (group,) if self._offsets is None else (group, *self._offsets.subjects)

    def apply(self, writing: WriteTransaction) -> None:
        """Load the group, have the rules decide, and write what they changed."""
        if isinstance(self._request, Join) and QUEUES in writing._environment.tables:
            refuse_queue(writing, self._name)
        before = load(writing, self._name)
        liveness = self._members.look(before.members if self._suspects is None else self._suspects)
        decision = decide(before, self._request, liveness, self._now_ms)
        self.verdict = decision.verdict
        self.group = reduce(apply, decision.changes, before)
        if decision.verdict is Verdict.ACCEPTED:
            if self._then is not None:
                self.group = reduce(apply, decide(self.group, self._then, {}, self._now_ms).changes, self.group)
            if self._offsets is not None:
                self._offsets.check(writing)
                self._offsets.write(writing)
            if self._confirm is not None:
                self._confirm()
        save(writing, before, self.group)
        self.removed = list(before.members.keys() - self.group.members.keys())
        self.notifies = bool(decision.changes)
