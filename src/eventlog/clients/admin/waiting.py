"""
Waiting until a group has committed what the log holds at the call.

The ends of the partitions are read once; then each commit of the group is compared with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from eventlog.backend import Backend
from eventlog.backend.topics import StoredTopic
from eventlog.backend.waiting import commits_subject, group_subject
from eventlog.errors import GroupBehind, UnknownGroup
from eventlog.groups.state import CommittedOffset, PartitionId
from eventlog.interruptions import unless_interrupted
from eventlog.records import TopicPartition

if TYPE_CHECKING:
    from eventlog.backend.groups import GroupDetails
    from eventlog.backend.waiting import Waiter

_LONGEST_SECONDS = 3600.0
_SHOWN_COUNT = 3


class Goal:
    """
    What a group is to have committed: everything up to the ends that some partitions had when this was made.

    Args:
        topics: waits for these; None is what the group has offsets of, or what its members subscribe to.
    """

    def __init__(self, backend: Backend, group: str, topics: Sequence[StoredTopic] | None) -> None:
        self.backend = backend
        self.group = group
        self.subjects = frozenset({group_subject(group), commits_subject(group)})
        """What a waiting caller has to be notified of."""
        self._chosen = None if topics is None else {topic.id for topic in topics}
        rows = backend.topics() if topics is None else [backend.check_topic(topic) for topic in topics]
        self._names = {row.id: row.name for row in rows}
        self._topics_version = backend.topics_version()
        pairs = [(row.id, number) for row in rows for number in range(row.partitions)]
        self._ends = dict(zip(pairs, backend.bounds_of(pairs), strict=True))

    def lags(self) -> dict[TopicPartition, int] | None:
        """How many records the group has yet to commit, where there are some; None if there is no such group."""
        self._forget_deleted()
        commits: Mapping[PartitionId, CommittedOffset] = {}
        wanted = self._chosen
        try:
            details = self.backend.group_details(self.group)
            commits = details.commits
            wanted = self._known_to(details) if wanted is None else wanted
        except unless_interrupted(UnknownGroup):
            if wanted is None:
                return None
        behind = [
            (pair, end)
            for pair, (first, end) in self._ends.items()
            if pair[0] in wanted and commits.get(pair, (first, 0))[0] < end
        ]
        lags: dict[TopicPartition, int] = {}
        firsts = self.backend.bounds_of([pair for pair, _ in behind])
        for (pair, end), (first, _) in zip(behind, firsts, strict=True):
            begin = max(commits.get(pair, (first, 0))[0], first)  # deleted records are not waited for
            if begin < end:
                lags[TopicPartition(self._names[pair[0]], pair[1])] = end - begin
        return lags

    def _forget_deleted(self) -> None:
        """Wait no longer for topics that were deleted."""
        version = self.backend.topics_version()
        if version != self._topics_version:
            self._topics_version = version
            there = {row.id for row in self.backend.topics()}
            self._ends = {pair: ends for pair, ends in self._ends.items() if pair[0] in there}

    def _known_to(self, details: GroupDetails) -> set[int]:
        """The topics that the group has offsets of, or that its members subscribe to."""
        members = details.group.members.values()
        return {topic_id for topic_id, _ in (*details.commits, *details.bounds)} | {
            number for number, name in self._names.items() if any(one.subscription.covers(name) for one in members)
        }


def wait_for_group(goal: Goal, deadline_s: float | None, *, check: Callable[[], None], timeout: float | None) -> None:
    """
    Wait until a goal is reached.

    Raises:
        GroupBehind: if it is not at `deadline_s`.
        Exception: what `check` raises, which is called before each look.
    """
    waiter = goal.backend.waiter()
    try:
        while True:
            check()
            seen = goal.backend.last_transaction()
            lags = goal.lags()
            if lags == {}:
                return
            _sleep(goal, waiter, deadline_s, seen, lags, timeout)
    finally:
        waiter.close()


def _sleep(
    goal: Goal,
    waiter: Waiter,
    deadline_s: float | None,
    seen: int,
    lags: dict[TopicPartition, int] | None,
    timeout: float | None,
) -> None:
    """Sleep until the group commits or changes, or raise after the deadline."""
    now_s = goal.backend.clock.monotonic()
    if deadline_s is not None and now_s >= deadline_s:
        raise behind(goal.group, lags, timeout)
    if not waiter.subscribe(goal.subjects):  # else what was committed before has notified nobody: look once more
        waiter.wait_until(now_s + _LONGEST_SECONDS if deadline_s is None else deadline_s, seen)


def behind(group: str, lags: dict[TopicPartition, int] | None, timeout: float | None) -> GroupBehind:
    """The error for a group that has not come so far in time."""
    advice = "See that its members run and commit (log.groups.describe() tells), or wait longer."
    if lags is None:
        return GroupBehind(
            f"group {group!r} has neither members nor offsets after {timeout} s.",
            stored="Nothing was changed.",
            advice=advice,
            group=group,
            lags={},
        )
    worst = sorted(lags.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{tp.topic}[{tp.partition}]: {lag}" for tp, lag in worst[:_SHOWN_COUNT])
    more = f", and {len(worst) - _SHOWN_COUNT} more" if len(worst) > _SHOWN_COUNT else ""
    return GroupBehind(
        f"group {group!r} has {sum(lags.values())} records to commit after {timeout} s ({shown}{more}).",
        stored="Nothing was changed, and the group works on.",
        advice=advice,
        group=group,
        lags=lags,
    )
