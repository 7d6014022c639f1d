"""
Requests that are queued and not waited for: the stores of a program that may not block, such as an event loop.

Each method queues what the method of the same name in `RecordBackend` or `GroupBackend` stores, and returns at once.
Somebody has to commit it: `RecordBackend.commit_queued`, or any call that commits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from eventlog.backend.records import AppendedRecord, AppendReply, Condition, PartitionRecords, TransactionRequest
from eventlog.backend.topics import StoredTopic
from eventlog.records import Headers

if TYPE_CHECKING:  # few programs have groups
    from eventlog.backend.groups import OffsetCommit

T_co = TypeVar("T_co", covariant=True)


class Deferred(Protocol[T_co]):
    """
    A request that is queued.

    `is_done` changes once; `reply` may be called then, and any number of times.
    """

    is_done: bool
    error: BaseException | None
    """Why nothing was stored."""

    def reply(self) -> T_co:
        """Return what the method that blocks returns, or raise what it raises."""
        ...


class DeferredRequests(Protocol):
    """The way to the requests that can be queued."""

    def deferring(self) -> DeferringBackend:
        """The requests that can be queued, for as long as the log is open in this process."""
        ...


class DeferringBackend(Protocol):
    """
    The requests that can be queued.

    Any thread may call. Nothing blocks. `when_done` is called once the request is stored or refused, by the thread
    that committed, outside of all locks; an error in it is logged.
    """

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
        """Queue what `append_record` stores."""
        ...

    def defer_append(
        self,
        parts: Sequence[PartitionRecords],
        conditions: Sequence[Condition],
        *,
        is_placed: bool,
        when_done: Callable[[], object],
    ) -> Deferred[AppendReply]:
        """Queue what `append` stores."""
        ...

    def defer_transaction(
        self, request: TransactionRequest, *, when_done: Callable[[], object]
    ) -> Deferred[AppendReply]:
        """Queue what `commit_transaction` stores."""
        ...

    def defer_offsets(self, commit: OffsetCommit, *, when_done: Callable[[], object]) -> Deferred[None]:
        """Queue what `commit_offsets` stores."""
        ...
