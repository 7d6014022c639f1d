"""Where a queue goes on: set by an administrator, and where it begins with topics that are new to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from eventlog.store.lmdb.environment import QUEUES, TOPICS
from eventlog.store.queues.commands import QueueChange
from eventlog.store.records.jobs import Jobs
from eventlog.store.records.queue_rows import forget_rows
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.rows.queues import CURSOR, topic_prefix
from eventlog.store.rows.tables import unpack_topic

_ALL = 2**31


class MoveQueue(QueueChange):
    """Has a queue go on at some offsets; all else that it knows of their partitions is forgotten."""

    __slots__ = ("only_new", "starts")
    starts: Mapping[tuple[int, int], int]
    only_new: bool

    def apply(self, writing: WriteTransaction) -> None:
        """Remove the rows of the partitions, and write their cursors."""
        jobs = self.jobs(writing, "move")
        topics = {topic.id: topic for topic in (unpack_topic(*row) for row in writing.items(TOPICS, b""))}
        known = {topic_id for topic_id, _ in self.starts if self.only_new and _is_known(jobs, topic_id)}
        for (topic_id, partition), offset in self.starts.items():
            topic = topics.get(topic_id)
            if topic is None or not 0 <= partition < topic.partitions or topic_id in known:
                continue
            if not self.only_new:
                forget_rows(jobs, topic_id, _ALL, partition)
            jobs.move_cursor((topic_id, partition), max(0, offset))
            self.notifies = True
        jobs.write_tally()


def _is_known(jobs: Jobs, topic_id: int) -> bool:
    return next(jobs.writing.keys(QUEUES, topic_prefix(CURSOR, jobs.queue.id, topic_id)), None) is not None


class ForgetTopics(QueueChange):
    """Has a queue know nothing of some topics any more."""

    __slots__ = ("topic_ids",)
    topic_ids: Collection[int]

    def apply(self, writing: WriteTransaction) -> None:
        """Remove all rows of their records."""
        jobs = self.jobs(writing, "move")
        for topic_id in self.topic_ids:
            forget_rows(jobs, topic_id, _ALL)
        jobs.write_tally()
        self.notifies = True
