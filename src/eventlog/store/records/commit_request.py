"""What a thread queues for the next commit, and sleeps on until it is done."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Collection
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

    __slots__ = ("error", "is_done", "wakeups")
    notifies = False
    """Whether its commit notifies waiting readers."""
    reserve_share = 0.0
    """The part of the room kept for deletions that it may take; 0 for all that is no deletion (`emptying.py`)."""
    bound_share = 0.0
    """The same of the room below the bound of the log, which is for deletions and for groups (`lmdb/room.py`)."""

    def __init__(self) -> None:
        self.is_done = False
        self.error: BaseException | None = None
        self.wakeups: list[threading.Lock] = []

    @property
    def subjects(self) -> Collection[int]:
        """The ids of the topics and the numbers of the groups that it changes; their subscribers are notified."""
        return ()

    def prepare_wakeup(self) -> threading.Lock:
        """
        Return the lock on which waiting threads sleep; `wake` releases it.

        If two threads add one, the first counts. Nothing is held meanwhile: a signal handler may come into the
        middle, and wait for a thread that prepares itself.
        """
        if not self.wakeups:
            wakeup = threading.Lock()
            wakeup.acquire()
            self.wakeups.append(wakeup)
        return self.wakeups[0]

    def wake(self) -> bool:
        """Wake the thread that waits for this; return whether there is one."""
        if not self.wakeups:
            return False
        with suppress(RuntimeError):  # it was released before, and the thread has not woken up yet
            self.wakeups[0].release()
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
