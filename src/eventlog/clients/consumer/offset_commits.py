"""The commits of a consumer's finished offsets, with the fence of its group."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from eventlog.backend import Backend
from eventlog.backend.groups import OffsetCommit
from eventlog.backend.topics import StoredTopic
from eventlog.clients.consumer.group.membership import Membership
from eventlog.clients.consumer.positions import Positions
from eventlog.clients.topic_handle import TopicHandle
from eventlog.errors import ConflictError, MemberFenced
from eventlog.interruptions import unless_interrupted
from eventlog.records import TopicPartition


class OffsetCommits:
    """
    The commits of one consumer's offsets.

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
        """When the next automatic commit is due; infinity when there is nothing to commit."""
        if self.interval_s is None or not self._positions.uncommitted():
            return float("inf")
        return self._committed_at_s + self.interval_s

    def is_due(self) -> bool:
        """Whether `commit_if_due` would commit, if there is something to commit."""
        return self.interval_s is not None and self._backend.clock.monotonic() - self._committed_at_s >= self.interval_s

    def commit_if_due(self) -> None:
        """Commit finished offsets, if the interval is over."""
        if self.interval_s is None:
            return
        now_s = self._backend.clock.monotonic()
        if now_s - self._committed_at_s >= self.interval_s:
            self._committed_at_s = now_s
            self.commit_finished()

    def commit_finished(self) -> None:
        """Commit finished offsets, unless automatic commits are off."""
        if self.interval_s is None:
            return
        try:
            self.store(self._positions.uncommitted(), is_automatic=True)
        except unless_interrupted(MemberFenced) as error:
            if self._membership is None:
                raise  # else the next look tells what we lost, and `on_lost` says so
            from eventlog.notices import FENCED, tell

            tell(FENCED, error=f"{error.what} {error.stored}", group=error.group)

    def store(
        self, offsets: Mapping[TopicPartition, int], *, is_automatic: bool, note: tuple[int, str] | None = None
    ) -> None:
        """Store some offsets in one transaction, with a leader epoch and metadata; an error has stored none."""
        try:
            self._store_checked(offsets, is_automatic=is_automatic, note=note)
        except unless_interrupted(MemberFenced) as error:
            if self._membership is not None:
                self._membership.explain(error)
                self._membership.invalidate()
            raise

    def give(self, offsets: Mapping[TopicPartition, int]) -> OffsetCommit | None:
        """The commit of some offsets by a transaction; automatic commits are off from now on."""
        passed = self._positions.passed_by(offsets)
        if passed is not None:
            raise self._passing_by(*passed, offsets[passed[0]])
        commit = self._commit(offsets, is_automatic=False)
        if commit is None and self._membership is not None:  # a member that was removed may store nothing else either
            commit = self._membership.offset_commit([], is_automatic=False)
        self.stop()
        return commit

    def stop(self) -> None:
        """Commit nothing without a call from now on: transactions do."""
        if self.interval_s is not None:
            self._positions.settle_finished()
            self.interval_s = None
        if self._membership is not None:
            self._membership.stop_committing()

    def _passing_by(self, tp: TopicPartition, unstored: int, offset: int) -> ConflictError:
        return ConflictError(
            f"cannot commit offset {offset} of {tp.topic}[{tp.partition}] for group {self._group!r} in a transaction: "
            f"an earlier transaction, with records before offset {unstored}, was not stored, and this one would pass "
            "them by.",
            stored="Nothing was stored.",
            advice="Call poll(): it goes back, and the records come again.",
            topic=tp.topic,
            partition=tp.partition,
            offset=offset,
            group=self._group,
        )

    def go_back(self) -> None:
        """Go back to where the group stands, in the partitions whose records a transaction did not store."""
        self._backend.commit_queued()  # a commit that was interrupted may be under way in another thread
        positions = [position for position in self._positions.order if position in self._positions.unstored]
        ids = [(position.cursor.route.row.id, position.tp.partition) for position in positions]
        self._positions.go_back(dict(zip(positions, self._backend.committed(self._group, ids), strict=True)))

    def _store_checked(
        self, offsets: Mapping[TopicPartition, int], *, is_automatic: bool, note: tuple[int, str] | None
    ) -> None:
        if not offsets:
            if self._membership is not None and not is_automatic:
                self._membership.check()
            return
        commit = self._commit(offsets, is_automatic=is_automatic)
        assert commit is not None
        if note is not None:
            commit = commit._replace(notes={(topic.id, partition): note for topic, partition, _ in commit.offsets})
        self._backend.commit_offsets(commit)
        for tp, offset in offsets.items():
            self._positions.settle(tp, offset)

    def _commit(self, offsets: Mapping[TopicPartition, int], *, is_automatic: bool) -> OffsetCommit | None:
        """A commit of some offsets, None when there are none."""
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
        """The offsets that an automatic commit would store now."""
        return {} if self.interval_s is None else self._positions.uncommitted()
