"""
What a consumer commits, and when: the offsets it has finished, behind the fence of its group.

Knows nothing of polling or of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from eventlog.backend import Backend
from eventlog.backend.groups import OffsetCommit
from eventlog.backend.topics import StoredTopic
from eventlog.clients.consumer.group.membership import Membership
from eventlog.clients.consumer.positions import Positions
from eventlog.clients.topic_handle import TopicHandle
from eventlog.errors import MemberFenced
from eventlog.records import TopicPartition


class GivenOffsets:
    """
    Is what a consumer has given to a transaction: offsets, and what stores them.

    Belongs to the consumer's thread.
    """

    __slots__ = ("_membership", "_offsets", "_positions", "commit")

    def __init__(
        self,
        positions: Positions,
        membership: Membership | None,
        offsets: Mapping[TopicPartition, int],
        commit: OffsetCommit | None,
    ) -> None:
        self._positions = positions
        self._membership = membership
        self._offsets = offsets
        self.commit = commit

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to store: the commit then checks alone that the member is one."""
        return not self._offsets

    def settle(self) -> None:
        """Notes that they are stored."""
        for tp, offset in self._offsets.items():
            self._positions.settle(tp, offset)

    def invalidate(self) -> None:
        """Notes that they were refused, maybe because others own the partitions by now."""
        if self._membership is not None:
            self._membership.invalidate()


class OffsetCommits:
    """
    Stores the offsets of one consumer's group.

    Belongs to the consumer's thread. `interval_s` is None when nothing is committed without a call.
    """

    def __init__(
        self,
        backend: Backend,
        open_topic: Callable[[str], TopicHandle],
        positions: Positions,
        membership: Membership | None,
        group: str,
        interval_s: float | None,
    ) -> None:
        self._backend = backend
        self._open_topic = open_topic
        self._positions = positions
        self._membership = membership
        self._group = group
        self.interval_s = interval_s
        self._committed_at_s = backend.clock.monotonic()

    @property
    def next_at_s(self) -> float:
        """When there is something to commit without a call; until then a consumer that waits may sleep."""
        if self.interval_s is None or not self._positions.uncommitted():
            return float("inf")
        return self._committed_at_s + self.interval_s

    def commit_if_due(self) -> None:
        """Commits what is finished, when the interval is over."""
        if self.interval_s is None:
            return
        now_s = self._backend.clock.monotonic()
        if now_s - self._committed_at_s >= self.interval_s:
            self._committed_at_s = now_s
            self.commit_finished()

    def commit_finished(self) -> None:
        """Commits what is finished, unless nothing is committed without a call."""
        if self.interval_s is None:
            return
        try:
            self.store(self._positions.uncommitted(), is_automatic=True)
        except MemberFenced:
            if self._membership is None:
                raise  # else the next look tells what we lost, and `on_lost` says so

    def store(self, offsets: Mapping[TopicPartition, int], *, is_automatic: bool) -> None:
        """Stores some offsets in one transaction, or raises and stores none."""
        try:
            self._store_checked(offsets, is_automatic=is_automatic)
        except MemberFenced:
            if self._membership is not None:
                self._membership.invalidate()
            raise

    def give(self, offsets: Mapping[TopicPartition, int]) -> GivenOffsets:
        """Hands offsets to a transaction; from now on nothing is committed without a call."""
        commit = self._commit(offsets, is_automatic=False)
        if commit is None and self._membership is not None:  # a member that was removed may store nothing else either
            commit = self._membership.offset_commit([], is_automatic=False)
        self.interval_s = None
        if self._membership is not None:
            self._membership.stop_committing()
        return GivenOffsets(self._positions, self._membership, offsets, commit)

    def _store_checked(self, offsets: Mapping[TopicPartition, int], *, is_automatic: bool) -> None:
        if not offsets:
            if self._membership is not None and not is_automatic:
                self._membership.check()
            return
        commit = self._commit(offsets, is_automatic=is_automatic)
        assert commit is not None
        self._backend.commit_offsets(commit)
        for tp, offset in offsets.items():
            self._positions.settle(tp, offset)

    def _commit(self, offsets: Mapping[TopicPartition, int], *, is_automatic: bool) -> OffsetCommit | None:
        """What stores some offsets, None when there are none."""
        if not offsets:
            return None
        rows: list[tuple[StoredTopic, int, int]] = []
        for tp, offset in offsets.items():
            position = self._positions.get(tp)
            route = self._open_topic(tp.topic) if position is None else position.cursor.route
            rows.append((route.row, route.check_partition(tp.partition), offset))
        if self._membership is not None:
            return self._membership.offset_commit(rows, is_automatic=is_automatic)
        return OffsetCommit(self._group, rows, is_automatic)

    def left_to_commit(self) -> dict[TopicPartition, int]:
        """What a commit without a call would store now."""
        return {} if self.interval_s is None else self._positions.uncommitted()
