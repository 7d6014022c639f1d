"""
The requests of a store that nobody waits for (`backend/deferred.py`).

The request that a blocking call would run goes into the queue inside another one, which knows whom to tell.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from eventlog.backend.deferred import Deferred
from eventlog.backend.records import AppendedRecord, AppendReply, Condition, PartitionRecords, TransactionRequest
from eventlog.backend.topics import StoredTopic
from eventlog.clock import Clock
from eventlog.records import Headers
from eventlog.store.committer import Committer
from eventlog.store.records.append import AppendColumns, AppendOne
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.transaction import CommitTransaction, Piece
from eventlog.store.records.write_transaction import WriteTransaction

if TYPE_CHECKING:
    from eventlog.backend.groups import OffsetCommit

T = TypeVar("T")


class DeferredRequest(CommitRequest, Generic[T]):
    """
    A request with a reply for later.

    Args:
        inner: the request that says what is stored.
        take_reply: the reply, once it is stored.
        when_done: called when that is known.
    """

    __slots__ = ("_inner", "_take_reply", "_when_done", "bound_share", "notifies", "reserve_share")

    def __init__(self, inner: CommitRequest, take_reply: Callable[[], T], when_done: Callable[[], object]) -> None:
        super().__init__()
        self._inner = inner
        self._take_reply = take_reply
        self._when_done = when_done
        self.notifies = inner.notifies
        self.reserve_share = inner.reserve_share
        self.bound_share = inner.bound_share

    @property
    def subjects(self) -> Collection[int]:
        """The topics and groups that it changes."""
        return self._inner.subjects

    def apply(self, writing: WriteTransaction) -> None:
        """Write it."""
        self._inner.apply(writing)

    def report(self) -> Callable[[], object] | None:
        """Have the caller told."""
        return self._when_done

    def reply(self) -> T:
        """Return the reply, or raise why nothing was stored."""
        if self.error is not None:
            raise self.error
        return self._take_reply()


class DeferredRecord(AppendOne):
    """One record with a reply for later: the hottest of these requests is one object alone."""

    __slots__ = ("when_done",)

    when_done: Callable[[], object]
    """Called when it is known what became of it; set before it is queued."""

    def report(self) -> Callable[[], object] | None:
        """Have the caller told."""
        return self.when_done

    def reply(self) -> AppendedRecord:
        """Return where it is, or raise why nothing was stored."""
        if self.error is not None:
            raise self.error
        return AppendedRecord(self.offset, self.log_position, self.version, self.newer)


class StoreDeferring:
    """
    The requests of a store that can be queued; their contracts are in `DeferringBackend`.

    Args:
        piece_of: the piece of a transaction that a value of its request stands for.
        offsets_command: the request that stores offsets.
    """

    def __init__(
        self,
        clock: Clock,
        committer: Committer,
        piece_of: Callable[[object], Piece],
        offsets_command: Callable[[OffsetCommit], CommitRequest],
    ) -> None:
        self._clock = clock
        self._committer = committer
        self._piece_of = piece_of
        self._offsets_command = offsets_command

    def defer_record(
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
        when_done: Callable[[], object],
    ) -> Deferred[AppendedRecord]:
        """Queue one record."""
        request = DeferredRecord(topic, partition, key, value, headers, timestamp_ms, is_placed, expected_version)
        request.when_done = when_done
        self._committer.submit(request)
        return request

    def defer_append(
        self,
        parts: Sequence[PartitionRecords],
        conditions: Sequence[Condition],
        *,
        is_placed: bool,
        when_done: Callable[[], object],
    ) -> Deferred[AppendReply]:
        """Queue columns of records."""
        now_ms = self._clock.now_ms() if conditions else 0
        request = AppendColumns(parts, is_placed=is_placed, conditions=conditions, now_ms=now_ms)
        return self._defer(request, lambda: request.reply, when_done)

    def defer_transaction(
        self, request: TransactionRequest, *, when_done: Callable[[], object]
    ) -> Deferred[AppendReply]:
        """Queue a transaction."""
        pieces = [self._piece_of(value) for value in request.pieces] if request.pieces else ()
        command = CommitTransaction(request, pieces, self._clock.now_ms())
        return self._defer(command, lambda: command.reply, when_done)

    def defer_offsets(self, commit: OffsetCommit, *, when_done: Callable[[], object]) -> Deferred[None]:
        """Queue offsets."""
        return self._defer(self._offsets_command(commit), lambda: None, when_done)

    def _defer(
        self, request: CommitRequest, take_reply: Callable[[], T], when_done: Callable[[], object]
    ) -> Deferred[T]:
        deferred = DeferredRequest(request, take_reply, when_done)
        self._committer.submit(deferred)
        return deferred
