"""
Group commit: one transaction, one sync, for everything that waits to be stored.

Whoever needs something stored queues a `CommitRequest` and asks for its commit. The first to ask takes the turn and
commits all that is queued, its own and the others'. So one thread pays for itself, and sixty-four pay for one.

Knows nothing of what a work writes (`store/records/topics.py`), and has no thread of its own.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from threading import get_ident

from eventlog.errors import EventLogError
from eventlog.store.lmdb.environment import EngineError, EngineMapFull, Environment, MapFull
from eventlog.store.records.write_transaction import CommitRequest, WriteTransaction
from eventlog.store.wakeup.notifier import Notifier
from eventlog.uninterruptible import try_acquire

_LOOK_AGAIN_SECONDS = 1.0


class Committer:
    """
    Commits what is queued, one round at a time.

    Any thread may call anything. Waiting readers are notified after each commit that concerns them, when the
    turn is given up: there may be a thousand of them.
    """

    def __init__(self, environment: Environment, notifier: Notifier) -> None:
        self._environment = environment
        self._notifier = notifier
        self.reset()

    def reset(self) -> None:
        """Drops what is queued and makes new locks: the state of a child after a fork."""
        self._writing = WriteTransaction(
            self._environment
        )  # the old one holds a transaction, and so the parent's handle
        self._turn = threading.Lock()
        self._leader: int | None = None
        self._before_flush: Callable[[], None] | None = None
        self._hanging = threading.Lock()
        self._queue: deque[CommitRequest] = deque()
        self._landing: Sequence[CommitRequest] = ()
        self._reports: deque[Callable[[], None]] = deque()
        self._reporting = threading.Lock()
        self._unrung: deque[Collection[int]] = deque()
        self.round_count = 0

    def submit(self, work: CommitRequest) -> None:
        """Queues work for the next round, whoever leads it."""
        self._queue.append(work)

    def run(self, work: CommitRequest) -> None:
        """Stores one piece of work; raises its error."""
        self._queue.append(work)
        self._lead(work, 0.0)  # as a rule nobody else leads
        if not work.is_done or self._reports:
            self.wait(work)
        if work.error is not None:
            raise work.error

    def wait(
        self, work: CommitRequest, timeout: float | None = None, *, before_flush: Callable[[], None] | None = None
    ) -> bool:
        """
        Has queued work committed, by us or by others.

        False when it is not in `timeout` seconds. If we lead, `before_flush` is called once the transaction is
        filled: what follows is one long call that leaves the interpreter to others.
        """
        deadline_s = None if timeout is None else time.monotonic() + timeout
        while not work.is_done:
            if not self._lead(work, 0.0, before_flush) and not self._follow(work, deadline_s, before_flush):
                return work.is_done
        if self._reports:
            self._report()
        return True

    def commit_queued(self, timeout: float | None = None) -> bool:
        """
        Commits what is queued now.

        False when the turn did not come in `timeout` seconds; 0 does not wait.
        """
        if not self._queue:
            return True
        if timeout != 0.0:
            self._check_not_leading()
        if not self._lead(None, -1 if timeout is None else max(timeout, 0.0)):
            return False
        if self._reports:
            self._report()
        return True

    def _lead(self, work: CommitRequest | None, timeout: float, before_flush: Callable[[], None] | None = None) -> bool:
        """
        Takes the turn, commits a round, gives the turn up, and wakes who is to lead the next.

        False when the turn did not come in `timeout` seconds.
        """
        is_held = False
        try:
            for is_held in try_acquire(self._turn, timeout):  # noqa: B007
                pass  # taken and noted in one step
            if not is_held:
                return False
            self._leader = get_ident()
            self._before_flush = before_flush
            if self._queue and (work is None or not work.is_done):
                self._round()
        finally:
            if is_held:
                self._leader = None
                self._before_flush = None
                self._turn.release()
        if self._queue:
            self._pass_on()
        if self._unrung:
            self._ring()
        return True

    def _pass_on(self) -> None:
        """Wakes who is to lead the next round."""
        for waiting in self._queue.copy():
            if waiting.ring():
                break

    def _ring(self) -> None:
        """Wakes the readers that wait for what was committed; other threads may be at it, too."""
        with contextlib.suppress(IndexError):  # another thread took it
            while True:
                self._notifier.notify(self._unrung.popleft())

    def _check_not_leading(self) -> None:
        """Refuses to wait for ourselves."""
        if self._leader == get_ident():
            raise RuntimeError(
                "cannot wait for a commit inside a commit of the same thread: a signal handler or a finalizer called "
                "us. What it appended is queued and will be stored. Use a producer's send() there, and do not wait."
            )

    def _follow(self, work: CommitRequest, deadline_s: float | None, before_flush: Callable[[], None] | None) -> bool:
        """
        Sleeps until a leader has done our work, or wants us to lead.

        False when the time is over.

            we                                      the leader
            1  hang up our bell                     a  marks our work done, or gives the turn up
            2  look: not done, turn taken           b  rings our bell, if it hangs
            3  sleep

        If (a) comes after (2), our bell hangs at (b). A leader-to-be that was interrupted leads nobody, so we
        look again every second.
        """
        self._check_not_leading()
        bell = work.hang_bell(self._hanging)
        if work.is_done:
            return True
        if self._lead(work, 0.0, before_flush):
            return True
        left_s = _LOOK_AGAIN_SECONDS if deadline_s is None else deadline_s - time.monotonic()
        if left_s <= 0:
            return False
        bell.acquire(timeout=min(left_s, _LOOK_AGAIN_SECONDS))
        if work.is_done:
            work.ring()  # one ring wakes one thread: the next that waits for the same batch
        return True

    @property
    def is_ours(self) -> bool:
        """Whether this very thread leads a round now, and was interrupted by whoever asks."""
        return self._leader == threading.get_ident()

    @property
    def is_busy(self) -> bool:
        """Whether somebody leads a round now."""
        return self._turn.locked()

    def _round(self) -> None:
        """
        Commits all that is queued.

        An interruption (Ctrl-C) may come between any two steps (`uninterruptible.py`). Work stays in the
        queue until it is done, and may be queued twice. That a transaction is committed is noted in one step with the
        commit itself, and what an interrupted round has committed is finished by the next. So nothing is stored twice,
        and nobody's work is lost because another was interrupted.
        """
        queue = self._queue
        if self._environment.has_committed or queue[0].is_done:
            self._finish_landed()
        if len(queue) == 1:
            works: Sequence[CommitRequest] = (queue[0],)
        else:
            works = [work for work in dict.fromkeys(queue.copy()) if not work.is_done]
            if not works:
                return
        self._landing = works
        try:
            self._commit(works)
        except Exception as error:  # noqa: BLE001
            self._writing.forget()
            if not self._environment.has_committed:
                for work in works:
                    work.error = work.error or error
            self._finish_landed(has_failed=True)
        except BaseException:
            self._writing.forget()
            self._finish_landed()
            self._landing = ()
            raise
        self._finish_landed()

    def _finish_landed(self, *, has_failed: bool = False) -> None:
        """Marks the works of the last round if it was committed or has failed, and takes off the queue what is done."""
        if has_failed or self._environment.has_committed:
            if self._landing:
                self.round_count += 1
            for work in self._landing:
                self._finish(work)
            self._landing = ()
            self._environment.has_committed = False
        queue = self._queue
        while queue and queue[0].is_done:
            queue.popleft()

    def _finish(self, work: CommitRequest) -> None:
        if not work.is_done:
            report = work.report()
            work.is_done = True
            if report is not None:
                self._reports.append(report)  # in one step with the line above: no function begins or ends between
        if work.bell is not None:
            work.ring()

    def _commit(self, works: Sequence[CommitRequest]) -> None:
        while True:
            try:
                rings = self._write(works)
            except MapFull:
                self._environment.grow()
                continue
            break
        if rings and self._notifier.find_waiting():
            self._unrung.append({subject for work in works if work.rings for subject in work.subjects})

    def _write(self, works: Sequence[CommitRequest]) -> bool:
        writing, environment = self._writing, self._environment
        rings = False
        try:
            writing.begin()
            for work in works:
                work.error = None
                try:
                    work.apply(writing)
                    rings = rings or work.rings
                except EventLogError as error:
                    work.error = error
            writing.commit(self._before_flush)
        except BaseException as error:
            writing.abort()
            if isinstance(error, EngineMapFull):
                raise MapFull from error
            if isinstance(error, EngineError):
                raise environment.fail(error) from error
            raise
        return rings

    def _report(self) -> None:
        while self._reports and self._reporting.acquire(blocking=False):
            try:
                while self._reports:
                    report = self._reports.popleft()
                    try:
                        report()
                    except Exception:
                        import logging  # which the first producer has loaded: nobody else has callbacks

                        logging.getLogger("eventlog").exception(
                            "a delivery callback failed; the delivery itself stands"
                        )
            finally:
                self._reporting.release()
