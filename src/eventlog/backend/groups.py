"""
Consumer groups: requests to the coordinator, committed offsets, the liveness of members, administration.

The coordinator is a backend's write transaction that runs the rules of `eventlog.groups.rules`; a member asks it by
`request_group`. A member is alive as long as its lease runs; the backend renews the lease while the program works.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, TypeVar

from eventlog.backend.topics import StoredTopic
from eventlog.errors import UnknownGroup
from eventlog.groups.lease import Terms
from eventlog.groups.state import CommittedOffset, Group, GroupSnapshot, Life, Member, PartitionId
from eventlog.named_tuples import NamedTuple
from eventlog.options import Start

if TYPE_CHECKING:
    from eventlog.groups.rules import Assign, Request, Verdict

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_NO_NOTES: Final[Mapping[PartitionId, tuple[int, str]]] = MappingProxyType({})
_NO_EPOCHS: Final[Mapping[PartitionId, int]] = MappingProxyType({})


class InTurn(Protocol[T_co]):
    """A function that is called in the turn of a group, and learns whether that is its caller's."""

    def __call__(self, *, is_ours: bool) -> T_co:
        """Do what needs to be done once."""
        ...


# -- committed offsets ---------------------------------------------------------------------------------------


class OffsetCommit(NamedTuple):
    """
    Offsets to be stored for a group, and the fence that they have to pass.

    `member_id` is the member that commits, and `epochs` says when each partition was granted to it; None is a
    consumer that is no member, which may commit for partitions that no live member owns. When the commit is automatic,
    topics that were deleted meanwhile and offsets beyond the end of their partition are skipped; else both are errors.
    `notes` has what is to be stored beside the offsets of some partitions: a leader epoch and metadata.

    By the rules of Kafka offsets beyond the end are stored, and deleted topics are skipped. `member_id` then is that of
    the listener that coordinates the group, which owns no partition by itself, unless `epochs` says so, and has checked
    whose commit it is; without it, the group must have no live member.
    """

    group: str
    offsets: Sequence[tuple[StoredTopic, int, int]]
    is_automatic: bool
    member_id: str | None = None
    epochs: Mapping[PartitionId, int] = _NO_EPOCHS
    notes: Mapping[PartitionId, tuple[int, str]] = _NO_NOTES
    has_kafka_rules: bool = False


# -- a member's view -----------------------------------------------------------------------------------------


class MemberView(NamedTuple):
    """
    What one member has to look at: its group without the members, its own row, and the version of the topics.

    `member` is None when the group has removed it. `transaction` is the commit number of the snapshot. `seen` is for
    the backend alone: given the view before, it reads nothing twice.
    """

    group: Group
    member: Member | None
    topics_version: int
    transaction: int
    seen: object = None

    def is_same(self, other: MemberView) -> bool:
        """Whether nothing has changed for the member between two views, of which one was given to the other."""
        return self.member is other.member and self.group is other.group and self.topics_version == other.topics_version


class GroupReply(NamedTuple):
    """What became of a request, and the group as it is now."""

    verdict: Verdict
    group: Group


class MemberLease(Protocol):
    """
    The sign of life of one member of this process.

    The backend prolongs it by a thread of its own until the member leaves, as `eventlog.groups.lease` has it. Dropped
    without `leave`, it looks like a member whose process died. The methods belong to the member's thread; none blocks.
    """

    id: str
    permit: list[float]
    """Holds the time until which the member may hand out records; it moves on as the lease is renewed."""

    def is_usable(self, now_s: float) -> bool:
        """Whether the lease runs: the member may use its partitions without asking."""
        ...

    def note_poll(self, now_s: float) -> None:
        """Note that the program polls."""
        ...

    def withdraw(self) -> None:
        """Let a loop hand out nothing more before `allow`."""
        ...

    def allow(self) -> None:
        """Let a loop hand out records for as long as the lease runs."""
        ...

    def stop_beating(self) -> None:
        """Prolong the lease no longer."""
        ...

    def leave(self) -> None:
        """Give the sign of life up; the member is gone."""
        ...

    def step_aside(self) -> None:
        """End, and keep the member's place until a fresh lease ends: a static member comes back."""
        ...

    def abandon(self) -> None:
        """End without a word, which looks like a death."""
        ...


class MemberWatch(Protocol):
    """
    Watches some members: their lives when asked, their deaths as they happen.

    Belongs to one thread; none of the methods blocks.
    """

    @property
    def descriptors(self) -> AbstractSet[int]:
        """The pipes that end when a watched member dies."""
        ...

    def choose(self, member_ids: Iterable[str]) -> None:
        """Watch these, and no others."""
        ...

    def look(self, member_ids: Iterable[str]) -> dict[str, Life]:
        """What can be seen of some members now, watched or not."""
        ...

    def died(self) -> bool:
        """Whether one of the watched died since it was chosen; each death is told once."""
        ...

    def quiet_until_s(self) -> float:
        """The time until which `died` reports every death; in the past, if it cannot report them all."""
        ...

    def close(self) -> None:
        """Watch nobody any more."""
        ...


# -- administration ------------------------------------------------------------------------------------------


class ToStart(NamedTuple):
    """Reset to one of the places at which reading may begin."""

    start: Start


class Shifted(NamedTuple):
    """A reset by a number of offsets from the committed one; it stops at the bounds of the partition."""

    by: int


class ToOffsets(NamedTuple):
    """Reset to these offsets."""

    offsets: Mapping[PartitionId, int]


Aim: TypeAlias = ToStart | Shifted | ToOffsets
Chosen: TypeAlias = Sequence[tuple[StoredTopic, int | None]]
"""Partitions, by topic and number; all of the topic where the number is None."""


class GroupDetails(NamedTuple):
    """
    All that is stored of a group, of one snapshot, and the liveness of its members right after it.

    `commits` has what the group has committed in a partition.
    `bounds` has the first and the end offset of every partition that is there and that the group has offsets for, or
    that its members own or want.
    """

    group: Group
    topics: dict[int, StoredTopic]
    topics_version: int
    commits: dict[PartitionId, CommittedOffset]
    bounds: dict[PartitionId, tuple[int, int]]
    transaction: int
    lives: Mapping[str, Life]


def unknown_group(name: str, what: str) -> UnknownGroup:
    """The error for a group that is not there."""
    return UnknownGroup(
        f"cannot {what} group {name!r}: it has neither members nor offsets.",
        stored="Nothing was changed.",
        advice="log.groups.list() names those that are there, and so does `eventlog groups list`.",
        group=name,
    )


class GroupBackend(Protocol):
    """
    Consumer groups.

    What stores something blocks for the turn to commit and its flush, and is durable when it returns. Any thread may
    call. An error has stored nothing.
    """

    # -- offsets

    def committed(self, group: str, partitions: Sequence[PartitionId]) -> list[int | None]:
        """The committed offsets of a group, of one snapshot."""
        ...

    def committed_with_notes(self, group: str, partitions: Sequence[PartitionId]) -> list[CommittedOffset | None]:
        """The same with the times of the commits, and the leader epochs and metadata stored beside them."""
        ...

    def commit_offsets(self, commit: OffsetCommit) -> None:
        """
        Store offsets.

        Raises:
            MemberFenced: if the member does not own one of the partitions since the epoch that it names.
            UnknownTopic, OffsetOutOfRange: if a topic was deleted, or an offset is beyond the end of its partition,
                and the commit is not automatic.
        """
        ...

    # -- members

    def begin_lease(self, member_id: str, terms: Terms) -> MemberLease:
        """
        The sign of life of a new member of this process, under an id that nobody had before.

        Raises:
            StorageError: if it cannot be made.
        """
        ...

    def discard_abandoned_leases(self) -> None:
        """Remove the signs of life that killed processes left before or after they were members."""
        ...

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
        """
        Have a request decided by the rules, in one transaction; members removed by it lose their sign of life.

        Args:
            then: targets for the group as the request leaves it, if nothing else happened to it; else they are stale,
                and nothing comes of them.
            suspects: members to look at, all of them when None.
            offsets: stored with it, if the request is accepted.
            confirms: renews this lease inside the transaction, if the request is accepted.

        Raises:
            MemberFenced: if the offsets do not pass the fence.
        """
        ...

    def member_view(self, group: str, member_id: str, known: MemberView | None = None) -> MemberView:
        """
        What one member has to look at now.

        Parts that have not changed since the view that is `known` are the same objects.
        """
        ...

    def member_ids(self, group: str) -> list[str]:
        """The ids of a group's members, in order."""
        ...

    def group_snapshot(self, name: str) -> GroupSnapshot[StoredTopic]:
        """A group, and the topics that its members may want."""
        ...

    def look_at_members(self, member_ids: Iterable[str]) -> dict[str, Life]:
        """What can be seen of some members of any process now."""
        ...

    def watch_members(self) -> MemberWatch:
        """A watch that has chosen nobody yet."""
        ...

    def in_group_turn(self, group: str, act: InTurn[T]) -> T:
        """
        Call a function in the turn to do something that needs to be done once for a group.

        It saves work, and protects nothing: whoever has it may be stopped, and others go on without it. Never blocks.
        """
        ...

    # -- administration

    def group_names(self) -> list[str]:
        """All groups that have members or offsets, sorted."""
        ...

    def group_details(self, name: str) -> GroupDetails:
        """
        All that is stored of a group.

        Raises:
            UnknownGroup: if it has neither members nor offsets.
        """
        ...

    def reset_offsets(
        self, name: str, aim: Aim, chosen: Chosen | None, *, is_forced: bool, is_dry: bool
    ) -> dict[tuple[str, int], int]:
        """
        Put a group elsewhere, in some partitions or in all that it knows; the new offsets, by topic and partition.

        Args:
            is_forced: fences live members, instead of being refused.
            is_dry: stores nothing, and returns and raises the same.

        Raises:
            GroupNotEmpty, UnknownGroup, UnknownTopic, UnknownPartition, OffsetOutOfRange, ValueError: as
                `Groups.reset_offsets` says. Nothing was stored.
        """
        ...

    def delete_group(self, name: str, *, is_forced: bool) -> None:
        """
        Delete a group with its members and its offsets.

        Raises:
            GroupNotEmpty, UnknownGroup: nothing was deleted.
        """
        ...

    def delete_offsets(
        self,
        name: str,
        topic: StoredTopic,
        *,
        is_forced: bool,
        partitions: Collection[int] | None = None,
        claim: str | None = None,
    ) -> None:
        """
        Delete a group's offsets of one topic.

        Args:
            partitions: delete those of these alone; None is all of them.
            claim: the id of the listener that coordinates the group: it does not count as a member of it.

        Raises:
            GroupNotEmpty, UnknownGroup, UnknownTopic: nothing was deleted.
        """
        ...
