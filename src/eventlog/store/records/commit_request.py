"""What a thread queues for the next commit, and sleeps on until it is done."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from eventlog.interruptions import suppress

if TYPE_CHECKING:
    from eventlog.backend.topics import StoredTopic
    from eventlog.batches.compression import Compressor
    from eventlog.records import Headers
    from eventlog.store.records.write_transaction import WriteTransaction


class CommitRequest:
    """
    A request to store something completely or not at all, in one transaction with everything else that is queued.

    `apply` checks first and then writes, so that its own error leaves the transaction to the others.
    """

    __slots__ = ("error", "is_done", "wakeup")
    notifies = False
    """Whether its commit notifies waiting readers."""
    reserve_share = 0.0
    """The part of the room kept for deletions that it may take; 0 for all that is no deletion (`emptying.py`)."""
    bound_share = 0.0
    """The same of the room below the bound of the log, which is for deletions and for groups (`lmdb/room.py`)."""

    def __init__(self) -> None:
        self.is_done = False
        self.error: BaseException | None = None
        self.wakeup: threading.Lock | None = None

    @property
    def subjects(self) -> Collection[int]:
        """The ids of the topics and the numbers of the groups that it changes; their subscribers are notified."""
        return ()

    def prepare_wakeup(self, guard: AbstractContextManager[object]) -> threading.Lock:
        """Return the lock on which a waiting thread sleeps; `wake` releases it."""
        with guard:  # of two locks for one request, one would never be released
            if self.wakeup is None:
                wakeup = threading.Lock()
                wakeup.acquire()
                self.wakeup = wakeup
            return self.wakeup

    def wake(self) -> bool:
        """Wake the thread that waits for this; return whether there is one."""
        if self.wakeup is None:
            return False
        with suppress(RuntimeError):  # it was released before, and the thread has not woken up yet
            self.wakeup.release()
        return True

    @abstractmethod
    def apply(self, writing: WriteTransaction) -> None:
        """
        Write it.

        May be called again after the transaction was aborted.
        """

    def report(self) -> Callable[[], object] | None:
        """Return the function to call when it is done, in the order of the commits and outside of all locks."""
        return None


class SingleRecord(Protocol):
    """One record that may share a batch with others of its round; the last three are set when it is written."""

    topic: StoredTopic
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    prefix: bytes | None
    """What its row in the index begins with; None when it does not go there."""
    compressor: Compressor | None
    """That of its topic; None where batches are not compressed."""
    offset: int
    log_position: int
    version: int
