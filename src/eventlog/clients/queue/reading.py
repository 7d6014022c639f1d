"""
From leases to jobs: the records of the offsets that a worker has got.

Some offsets hold no record: compaction has dropped it, it was deleted, or it belongs to an aborted transaction of a
client of Kafka's. They are done. A record that its codec cannot read is rejected: nobody else could read it either.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Any

from eventlog.api.queue import Job, JobOwner
from eventlog.backend.queues import Acknowledgement, Action, Leased
from eventlog.clients.reading.batch_reader import BatchReader, Cursor
from eventlog.clients.topic_handle import TopicHandle
from eventlog.errors import DecodeError, EventLogError, OffsetOutOfRange, UnknownTopic
from eventlog.interruptions import unless_interrupted
from eventlog.records import RecordBatch

_ONE_BATCH = 1
"""The bytes that are asked for: at least one batch comes back."""


class JobReader:
    """Reads the records of leases; belongs to one worker."""

    def __init__(self, reader: BatchReader, owner: JobOwner) -> None:
        self._reader = reader
        self._owner = owner
        self.settled: list[Acknowledgement] = []
        """What has to be acknowledged because it is no job."""
        self._batch: RecordBatch[Any, Any] | None = None
        self._batch_place = (0, 0)
        """The batch that was read last, from the offset that was wanted: who takes jobs one by one reads it once."""

    def read(
        self, leases: Iterable[Leased], routes: Mapping[int, TopicHandle], jobs: list[Job[Any, Any]]
    ) -> EventLogError | None:
        """Add the jobs of some leases; the error of what cannot be read, which is given back."""
        failure = None
        for lease in leases:
            before = len(jobs)
            cursor: Cursor[Any, Any] = Cursor(routes[lease.topic.id], lease.partition, lease.first)
            try:
                self._read(lease, cursor, jobs)
            except unless_interrupted(UnknownTopic):
                continue  # its jobs are gone with it
            except unless_interrupted(EventLogError) as error:
                failure = failure or error
                self._settle(lease, cursor.offset, lease.end, Action.GIVE_BACK)
            self._pass_by_gaps(lease, cursor.offset, jobs[before:])
        return failure

    def _read(self, lease: Leased, cursor: Cursor[Any, Any], jobs: list[Job[Any, Any]]) -> None:
        self._read_known(lease, cursor, jobs)
        while cursor.offset < lease.end:
            at = cursor.offset
            try:
                taken = self._reader.fetch([cursor], _ONE_BATCH)
            except unless_interrupted(OffsetOutOfRange) as error:
                cursor.offset = min(error.first, lease.end) if error.first > at else lease.end
                continue
            except unless_interrupted(DecodeError) as error:
                refused = at if error.offset is None else error.offset
                self._settle(lease, refused, refused + 1, Action.REJECT, error.what)
                cursor.offset = refused + 1
                continue
            if cursor.offset == at:
                cursor.offset = lease.end  # nothing is there
            for batch in taken.batches:
                if len(batch):
                    self._batch, self._batch_place = batch, (lease.topic.id, lease.partition)
                    self._add(lease, batch, jobs)
        cursor.offset = min(cursor.offset, lease.end)

    def _read_known(self, lease: Leased, cursor: Cursor[Any, Any], jobs: list[Job[Any, Any]]) -> None:
        """Take the records of the batch that was read last, if the first that is wanted is in it."""
        batch = self._batch
        if batch is None or self._batch_place != (lease.topic.id, lease.partition):
            return
        if batch.offsets[0] <= cursor.offset <= batch.offsets[-1]:
            self._add(lease, batch, jobs)
            cursor.offset = batch.offsets[-1] + 1

    def _add(self, lease: Leased, batch: RecordBatch[Any, Any], jobs: list[Job[Any, Any]]) -> None:
        """Make jobs of the records of a batch that a lease has."""
        offsets, first = batch.offsets, lease.first
        start = bisect_left(offsets, first)
        rest = (lease.deliveries, lease.first_ms, "open", self._owner, lease.number, lease.limit_ms)
        if lease.end - first == 1:
            if start < len(offsets) and offsets[start] == first:  # one by one is what most workers do
                when_ms, key, value = batch.timestamps_ms[start], batch.keys[start], batch.values[start]
                jobs.append(Job(batch.topic, batch.partition, first, when_ms, key, value, batch.headers[start], *rest))  # type: ignore[arg-type]
            return
        part = batch.slice(start, bisect_left(offsets, lease.end))
        jobs += [
            Job(part.topic, part.partition, *columns, *rest)  # type: ignore[arg-type]
            for columns in zip(part.offsets, part.timestamps_ms, part.keys, part.values, part.headers, strict=True)
        ]

    def _pass_by_gaps(self, lease: Leased, end: int, jobs: list[Job[Any, Any]]) -> None:
        """Acknowledge the offsets without a record before one offset."""
        at = lease.first
        if len(jobs) == max(0, end - at):
            return
        rejected = {one.first for one in self.settled if one.action is Action.REJECT and one.number == lease.number}
        for offset in (*(job.offset for job in jobs), end):
            for gap in range(at, offset) if rejected else ():
                if gap not in rejected:
                    self._settle(lease, gap, gap + 1, Action.ACCEPT)
            if not rejected and offset > at:
                self._settle(lease, at, offset, Action.ACCEPT)
            at = offset + 1

    def _settle(self, lease: Leased, first: int, end: int, action: Action, reason: str = "") -> None:
        if first < end:
            self.settled.append(
                Acknowledgement(lease.topic.id, lease.partition, first, end, lease.number, action, 0, reason)
            )
