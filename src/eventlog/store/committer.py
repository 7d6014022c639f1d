"""
Group commit: one transaction and one sync for all requests that wait.

A thread queues a `CommitRequest` and asks for its commit. The first thread that asks takes the turn and commits all
queued requests, its own and the others'. So one thread pays for one sync, and sixty-four threads pay for one too.

A request knows what it writes (`store/records/append.py`, for example). There is no thread of its own for commits.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from threading import get_ident

from eventlog.errors import CorruptBatch, DiskFull, EventLogError, FormatTooNew, NestedCall
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.lmdb.environment import EngineMapFull, Environment, MapFull, engine_failure
from eventlog.store.records.commit_request import CommitRequest
from eventlog.store.records.write_transaction import WriteTransaction
from eventlog.store.wakeup.notifier import Notifier
from eventlog.uninterruptible import AT_ONCE, try_acquire

_LOOK_AGAIN_SECONDS = 1.0


class _Damaged(Exception):
    """
    Raised when a request cannot read a row.

    It may have written before, so the transaction is aborted, and the round begins again without it.
    """

    def __init__(self, request: CommitRequest) -> None:
        super().__init__(request)
        self.request = request


class _Stretched(Exception):
    """Raised when the map is larger than the bound of the log lets appends use."""


class Committer:
    """
    Group commit: one round at a time commits all that is queued.

    Any thread may call anything. Waiting readers are notified after each commit that concerns them, when the
    turn is given up: there may be a thousand of them.
    """

    def __init__(self, environment: Environment, notifier: Notifier) -> None:
        self._environment = environment
        self._notifier = notifier
        self.clean_for_room: Callable[[Callable[[CommitRequest], object]], bool] | None = None
        """Deletes what no topic keeps, for a log that has reached its bound, and says whether there was anything."""
        self.reset()

    def reset(self) -> None:
        """Drop what is queued and make new locks: the state of a child after a fork."""
        self._writing = WriteTransaction(
            self._environment
        )  # the old one holds a transaction, and so the parent's handle
        self._turn = threading.Lock()
        self._leader: int | None = None
        self._before_sync: Callable[[], None] | None = None
        self._queue: deque[CommitRequest] = deque()
        self._committing: Sequence[CommitRequest] = ()
        self._reports: deque[Callable[[], object]] = deque()
        self._reporting = threading.Lock()
        self._unnotified: deque[Collection[int]] = deque()
        self.round_count = 0

    def submit(self, request: CommitRequest) -> None:
        """Queue a request for the next round, whoever leads it."""
        self._queue.append(request)

    def run(self, request: CommitRequest) -> None:
        """Store what one request says; raise its error."""
        self._queue.append(request)
        self._lead(request, 0.0)  # as a rule nobody else leads
        if not request.is_done or self._reports:
            if not request.is_done and self.is_interrupted:
                self._refuse(request)
            self.wait(request)
        if request.error is not None:
            raise request.error

    def _refuse(self, request: CommitRequest) -> None:
        """Take a request back that a signal handler or a finalizer would wait for, and say so."""
        with suppress(ValueError):
            while True:
                self._queue.remove(request)
        if not request.is_done:
            raise NestedCall(
                "cannot wait for a commit inside a commit or a read of the same thread: a signal handler or a "
                "finalizer called us.",
                stored="Nothing was stored." if self.is_ours else "It may be stored: another thread commits.",
                advice="Use a producer's send() there, and do not wait.",
            )

    def wait(
        self, request: CommitRequest, timeout: float | None = None, *, before_sync: Callable[[], None] | None = None
    ) -> bool:
        """
        Have a queued request committed, by us or by others.

        False when it is not in `timeout` seconds. If we lead, `before_sync` is called once the transaction is
        filled: what follows is one long call that leaves the interpreter to others.
        """
        deadline_s = None if timeout is None else time.monotonic() + timeout
        while not request.is_done:
            if not self._lead(request, 0.0, before_sync) and not self._follow(request, deadline_s, before_sync):
                return request.is_done
        if self._reports:
            self._report()
        return True

    def commit_queued(self, timeout: float | None = None) -> bool:
        """
        Commit what is queued now.

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

    def _lead(
        self, request: CommitRequest | None, timeout: float, before_sync: Callable[[], None] | None = None
    ) -> bool:
        """
        Take the turn, commit a round, give the turn up, and wake the thread that is to lead the next.

        False when the turn did not come in `timeout` seconds.
        """
        is_held, us = False, get_ident()
        try:
            for is_held in map(self._turn.acquire, AT_ONCE) if timeout == 0.0 else try_acquire(self._turn, timeout):
                if is_held:
                    self._leader = us  # in one step with the turn: a signal handler must not wait for it
            if not is_held:
                return False
            self._before_sync = before_sync
            if self._queue and (request is None or not request.is_done):
                self._round()
        finally:
            if is_held:
                self._leader = None
                self._before_sync = None
                self._turn.release()
                if self._queue:  # also when we were interrupted: else they look again after a second
                    self._pass_on()
        if self._unnotified:
            self._notify()
        if self._environment.untold:
            self._environment.tell()
        return True

    def _pass_on(self) -> None:
        """Wake the thread that is to lead the next round."""
        for waiting in self._queue.copy():
            if waiting.wake():
                break

    def _notify(self) -> None:
        """Wake the readers that wait for what was committed; other threads may be at it, too."""
        with suppress(IndexError):  # another thread took it
            while True:
                self._notifier.notify(self._unnotified.popleft())

    def _check_not_leading(self) -> None:
        """Refuse to wait for ourselves, or for another thread that may wait for us."""
        if self.is_interrupted:
            raise NestedCall(
                "cannot wait for a commit inside a commit or a read of the same thread: a signal handler or a "
                "finalizer called us.",
                stored="What it sent is queued and will be stored.",
                advice="Use a producer's send() there, and do not wait.",
            )

    def _follow(self, request: CommitRequest, deadline_s: float | None, before_sync: Callable[[], None] | None) -> bool:
        """
        Sleep until a leader has committed our request, or wants us to lead.

        False when the time is over.

            we                                      the leader
            1  prepare our wakeup                   a  marks our request done, or gives the turn up
            2  look: not done, turn taken           b  wakes us, if we prepared
            3  sleep

        If (a) comes after (2), we are prepared at (b). A leader-to-be that was interrupted leads nobody, so we
        look again every second.
        """
        self._check_not_leading()
        wakeup = request.prepare_wakeup()
        if request.is_done:
            return True
        if self._lead(request, 0.0, before_sync):
            return True
        left_s = _LOOK_AGAIN_SECONDS if deadline_s is None else deadline_s - time.monotonic()
        if left_s <= 0:
            return False
        wakeup.acquire(timeout=min(left_s, _LOOK_AGAIN_SECONDS))
        if request.is_done:
            request.wake()  # one release wakes one thread: the next that waits for the same batch
        return True

    @property
    def is_ours(self) -> bool:
        """Whether this very thread leads a round now, and was interrupted by whoever asks."""
        return self._leader == threading.get_ident()

    @property
    def is_interrupted(self) -> bool:
        """Whether this very thread leads a round or is inside the gate, and was interrupted by whoever asks."""
        return self._leader == get_ident() or self._environment.is_interrupted

    @property
    def is_busy(self) -> bool:
        """Whether somebody leads a round now."""
        return self._turn.locked()

    def _round(self) -> None:
        """
        Commit all that is queued.

        An interruption (Ctrl-C) may come between any two steps (`uninterruptible.py`). A request stays in the queue
        until it is done, and may be queued twice. That a transaction is committed is noted in one step with the commit
        itself, and what an interrupted round has committed is finished by the next. So nothing is stored twice, and
        nobody's request is lost because another thread was interrupted.
        """
        queue = self._queue
        is_mixed = False
        if self._environment.has_committed or queue[0].is_done:
            self._finish_landed()
        if len(queue) == 1:
            requests: Sequence[CommitRequest] = (queue[0],)
        else:
            requests = [request for request in dict.fromkeys(queue.copy()) if not request.is_done]
            if not requests:
                return
            others = [request for request in requests if not request.reserve_share]
            if others and len(others) < len(requests):  # these must not take the room that deletions make
                requests, is_mixed = others, True
        self._committing = requests
        try:
            try:
                self._commit(requests)
            except unless_interrupted(DiskFull) as error:
                if len(requests) == 1 or error is not self._environment.bound_error:
                    raise
                self._commit_what_fits(requests, error)
        except unless_interrupted(Exception) as error:
            self._writing.forget()
            if not self._environment.has_committed:
                for request in requests:
                    request.error = request.error or error
            self._finish_landed(has_failed=True)
        except BaseException:
            self._writing.forget()
            self._finish_landed()
            self._committing = ()
            raise
        self._finish_landed()
        if is_mixed and queue:
            self._round()

    def _commit_what_fits(self, requests: Sequence[CommitRequest], error: DiskFull) -> None:
        """
        Commit the requests of a round one part after the other, where the bound of the log leaves no room for all.

        Those that may use what the bound keeps go first. Of the others as many are stored as fit, in their order, and
        all that follow get the error.
        """
        kept = [request for request in requests if request.bound_share]
        if kept:
            self._commit_part(kept)
        left = [request for request in requests if not request.bound_share]
        size = len(left)
        while left:
            size = min(size, len(left))
            if self._commit_part(left[:size]):
                left = left[size:]
            elif size > 1:
                size //= 2
            else:
                for request in left:
                    request.error = error
                self._committing, left = left, []
                self._finish_landed(has_failed=True)

    def _commit_part(self, requests: Sequence[CommitRequest]) -> bool:
        """Commit some requests of a round; whether the bound left room for them."""
        self._committing = requests
        try:
            self._commit(requests)
        except unless_interrupted(DiskFull) as error:
            if error is not self._environment.bound_error:
                raise
            self._writing.forget()
            if requests[0].bound_share:
                for request in requests:
                    request.error = error
                self._finish_landed(has_failed=True)
            return False
        self._finish_landed()
        return True

    def _finish_landed(self, *, has_failed: bool = False) -> None:
        """Mark the requests of the last round if it was committed or has failed; take off the queue what is done."""
        environment = self._environment
        if has_failed or environment.has_committed:
            committing = self._committing
            if committing:
                self.round_count += 1
            for request in committing:
                if not request.is_done:
                    report = request.report()
                    request.is_done = True
                    if report is not None:
                        self._reports.append(report)  # in one step with the line above: no call begins between
                if request.wakeups:
                    request.wake()
            self._committing = ()
            environment.has_committed = False
        queue = self._queue
        while queue and queue[0].is_done:
            queue.popleft()

    def _commit(self, requests: Sequence[CommitRequest]) -> None:
        is_first, environment = True, self._environment
        while True:
            share = 0.0 if environment.bound is None else self._bound_share(requests)
            if environment.is_stretched:
                environment.fit_map(share)
            try:
                try:
                    notifies = self._write(requests, share)
                except unless_interrupted(MapFull, _Stretched) as error:
                    self._fit(error, share)
                    continue
            except unless_interrupted(DiskFull) as error:
                is_log_full = error is environment.bound_error
                if not requests or not self._make_room(requests[0], is_first=is_first, is_log_full=is_log_full):
                    raise
                is_first = False
                continue
            except unless_interrupted(_Damaged) as damaged:
                requests = [request for request in requests if request is not damaged.request]
                continue
            break
        if notifies and self._notifier.find_waiting():
            self._unnotified.append(
                {subject for request in requests if request.notifies for subject in request.subjects}
            )

    def _make_room(self, request: CommitRequest, *, is_first: bool, is_log_full: bool) -> bool:
        """
        Make room for a request that found none; return whether to try again.

        First comes what deletions have left and the last commits have freed, then the reserve. Where the log has
        reached its bound, what no topic keeps is deleted before; its reserve is a part of the map.
        """
        from eventlog.store.records.emptying import EmptyStep, empty, free_pages, left_rows

        environment = self._environment
        if is_first and isinstance(request, EmptyStep):
            if request.reserve_share and free_pages(self._run_within):
                return True
        elif is_first:
            is_worth_it = request.reserve_share or environment.read(partial(left_rows, environment))
            if is_worth_it and empty(environment, self._run_within):
                return True
            if is_log_full and self.clean_for_room is not None and self.clean_for_room(self._run_within):
                return free_pages(self._run_within)
        return not is_log_full and request.reserve_share > 0 and environment.spend_reserve(request.reserve_share)

    def _write_alone(self, request: CommitRequest) -> None:
        environment, share = self._environment, self._bound_share((request,))
        while True:
            if environment.is_stretched:
                environment.fit_map(share)
            try:
                self._write((request,), share)
            except unless_interrupted(MapFull, _Stretched) as error:
                self._fit(error, share)
            else:
                return

    def _run_within(self, request: CommitRequest) -> None:
        """Commit a request in the middle of a round, which must not take that commit for its own."""
        committing, self._committing = self._committing, ()
        try:
            self._write_alone(request)
        finally:
            self._environment.has_committed = False
            self._committing = committing
        if request.error is not None:
            raise request.error

    @staticmethod
    def _bound_share(requests: Sequence[CommitRequest]) -> float:
        """The part of what the bound keeps that all of these requests may use."""
        return min((max(request.bound_share, request.reserve_share) for request in requests), default=0.0)

    def _fit(self, error: BaseException, share: float) -> None:
        """Let the map grow, as far as these requests may make it; one that was stretched is fitted by the next try."""
        if isinstance(error, MapFull):
            self._environment.grow(share)

    def _write(self, requests: Sequence[CommitRequest], share: float) -> bool:
        writing, environment = self._writing, self._environment
        notifies = False
        try:
            writing.begin(is_alone=len(requests) == 1)
            if environment.is_stretched and not share:
                raise _Stretched  # by a reader, which has met the file of a process without our bound
            for request in requests:
                request.error = None
                try:
                    request.apply(writing)
                    notifies = notifies or request.notifies
                except unless_interrupted(CorruptBatch, FormatTooNew) as error:
                    request.error = error
                    raise _Damaged(request) from error
                except unless_interrupted(EventLogError) as error:
                    request.error = error
            if (environment.is_reserve_short or environment.kept_bytes) and requests:
                if not (share or requests[0].reserve_share):
                    writing.check_room()
            writing.commit(self._before_sync)
        except BaseException as error:
            writing.abort()
            failure = engine_failure(error)
            if isinstance(failure, EngineMapFull):
                raise MapFull from error
            if failure is not None:
                raise environment.fail(failure) from error
            raise
        return notifies

    def _report(self) -> None:
        while self._reports and self._reporting.acquire(blocking=False):
            try:
                while self._reports:
                    report = self._reports.popleft()
                    try:
                        report()
                    except unless_interrupted(Exception):
                        from eventlog.notices import CALLBACK_FAILED, tell

                        tell(CALLBACK_FAILED, exc_info=True, callback=report, delivery=None)
            finally:
                self._reporting.release()
