"""The methods of a store that append (`backend/records.py`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eventlog.backend.records import (
    AppendedRecord,
    AppendReply,
    Condition,
    PartitionRecords,
    Pending,
    PendingAppend,
    ProducerEpoch,
)
from eventlog.backend.topics import StoredTopic
from eventlog.clock import Clock
from eventlog.records import Headers
from eventlog.store.committer import Committer
from eventlog.store.lmdb.environment import Environment
from eventlog.store.records.append import AppendBatch, AppendColumns, AppendOne

_new = tuple.__new__
"""A named tuple without its constructor: a third of the time, and an append is short."""


class StoreAppends:
    """The appends of a store; their contracts are in `RecordBackend`."""

    clock: Clock
    environment: Environment
    committer: Committer

    def append_record(
        self,
        topic: StoredTopic,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Headers,
        timestamp_ms: int,
        *,
        is_placed: bool,
        expected_version: int | None,
    ) -> AppendedRecord:
        """Store one record."""
        request = AppendOne(topic, partition, key, value, headers, timestamp_ms, is_placed, expected_version)
        self.committer.run(request)
        return _new(AppendedRecord, (request.offset, request.log_position, request.version, request.newer))

    def append(
        self, parts: Sequence[PartitionRecords], conditions: Sequence[Condition], *, is_placed: bool
    ) -> AppendReply:
        """Store columns of records, all or none of them."""
        now_ms = self.clock.now_ms() if conditions else 0
        request = AppendColumns(parts, is_placed=is_placed, conditions=conditions, now_ms=now_ms)
        self.committer.run(request)
        return request.reply

    def prepare_append(self, records: PartitionRecords, when_done: Callable[[], object]) -> PendingAppend:
        """An append that is not queued yet."""
        now_ms = 0 if records.rows is None else self.clock.now_ms()
        return AppendBatch(records, now_ms, when_done)

    def submit(self, pending: Pending) -> None:
        """Queue a request for the next commit."""
        self.committer.submit(pending)  # type: ignore[arg-type]  # only we make them

    def wait(self, pending: Pending, timeout: float | None, *, before_sync: Callable[[], None] | None = None) -> bool:
        """Wait until a request is done; False when it is not after `timeout` seconds."""
        return self.committer.wait(pending, timeout, before_sync=before_sync)  # type: ignore[arg-type]

    def commit_queued(self, timeout: float | None = None) -> bool:
        """Commit what is queued now."""
        return self.committer.commit_queued(timeout)

    @property
    def is_committing(self) -> bool:
        """Whether any thread of this process commits now."""
        return self.committer.is_busy

    @property
    def is_interrupted_commit(self) -> bool:
        """Whether this very thread commits now."""
        return self.committer.is_ours

    @property
    def is_interrupted(self) -> bool:
        """Whether this very thread is in the middle of something that others wait for."""
        return self.committer.is_interrupted

    def check_writable(self) -> None:
        """Raise why the log takes no writes, if it takes none."""
        self.environment.check_writable()

    def begin_producer(self, name: str) -> ProducerEpoch:
        """A new epoch of a producer's name, which fences those before it."""
        from eventlog.store.records.producer_epochs import BeginEpoch  # few producers have names

        request = BeginEpoch(name, self.clock.now_ms())
        self.committer.run(request)
        return ProducerEpoch(name, request.row.id, request.row.epoch)
