"""
Where a consumer stands in its partitions, and what it may commit.

Three offsets for each partition, always in this order: `committed <= finished <= handed`. `handed` is the next
offset to hand out; `finished` is what the caller is done with; `committed` is what the log has for the group.
Knows nothing of storage, threads or time.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from eventlog.clients.fetcher import Cursor
from eventlog.clients.route import Route
from eventlog.records import RecordBatch, TopicPartition


class Position:
    """
    Is one assigned partition: its cursor into the log, what was fetched and not handed out, and the three offsets.

    `handed` is where the fetched batches begin, or where the cursor stands when there are none.
    """

    __slots__ = ("committed", "cursor", "fetched", "finished", "handed", "is_paused", "tp")

    def __init__(self, tp: TopicPartition, route: Route, offset: int, committed: int | None) -> None:
        self.tp = tp
        self.cursor: Cursor[Any, Any] = Cursor(route, tp.partition, offset)
        self.fetched: deque[RecordBatch[Any, Any]] = deque()
        self.handed = offset
        self.finished = offset
        self.committed = committed
        self.is_paused = False

    def seek(self, offset: int) -> None:
        """Goes to an offset, and forgets what was fetched."""
        self.fetched.clear()
        self.cursor.offset = offset
        self.handed = offset
        self.finished = offset

    def take(self, max_records: int) -> RecordBatch[Any, Any] | None:
        """Hands out up to so many fetched records of one batch; None when nothing is fetched."""
        if not self.fetched:
            return None
        batch = self.fetched.popleft()
        if len(batch) > max_records:
            self.fetched.appendleft(batch.slice(max_records, len(batch)))
            batch = batch.slice(0, max_records)
        self.handed = self._next_offset()
        return batch

    def give_back(self, batch: RecordBatch[Any, Any]) -> None:
        """Takes back the end of what was handed out last; it is the next to be handed out again."""
        if len(batch):
            self.fetched.appendleft(batch)
            self.handed = batch.offsets[0]

    def finish(self) -> None:
        """Says that the caller is done with everything handed out."""
        self.finished = self.handed

    @property
    def uncommitted(self) -> int | None:
        """The offset to commit, None when the log has it already."""
        return None if self.finished == self.committed else self.finished

    def _next_offset(self) -> int:
        return self.fetched[0].offsets[0] if self.fetched else self.cursor.offset
