"""
The thread that sends schedules at their time.

It lives while anything is scheduled: it begins with the opening of a log that has schedules, with the first that this
process adds, or when somebody here who waits for commits notices that another process has added some. It ends when none
is left. One process at a time sends: it holds the lock of a file, which the kernel gives back at its end. That only
saves the others their tries. Each of them is awake as well, looks a moment after a time has come, and sends if nobody
has; after a second it does not ask for the lock any more, because its holder may be stopped. What is sent is settled by
the commit (`sending.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eventlog.backend.waiting import SCHEDULES_SUBJECT, Waiter
from eventlog.clock import Clock
from eventlog.errors import EventLogError, LogClosed
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.cleaning.turn import Turn
from eventlog.store.committer import Committer
from eventlog.store.lmdb.environment import SCHEDULE, Environment
from eventlog.store.schedules.reader import first_due_ms
from eventlog.store.schedules.sending import SendDue
from eventlog.uninterruptible import start_thread

_LONGEST_SECONDS = 1.0
"""A wait ends after this time: the clock may have been set, and another process may have died."""
_LATE_SECONDS = 0.05
"""So long others wait for the one whose turn it is."""
_PATIENCE_MS = 1000
_AGAIN_SECONDS = 0.25
_MOST_AGAIN_SECONDS = 5.0
_STOP_SECONDS = 1.0
_SUBJECTS = frozenset({SCHEDULES_SUBJECT})


class ScheduleServer:
    """
    The sending of one open log's schedules.

    Any thread may call anything.
    """

    def __init__(
        self,
        environment: Environment,
        committer: Committer,
        turn: Turn,
        new_waiter: Callable[[], Waiter],
        clock: Clock,
    ) -> None:
        self._environment = environment
        self._committer = committer
        self._turn = turn
        self._new_waiter = new_waiter
        self._clock = clock
        self._is_stopped = False
        self._reset()

    def _reset(self) -> None:
        self._starting = threading.RLock()  # a signal handler may come into the middle, and schedule a record
        self._thread: threading.Thread | None = None
        self._waiter: Waiter | None = None
        self._is_wanted = False
        """Whether somebody has asked for the thread since it last looked."""
        self._holders: list[object] = []
        self._has_turn = False
        self._again_s = _AGAIN_SECONDS
        self._passed_by: set[bytes] = set()
        """The keys of the rows that nobody can read."""
        self.error: EventLogError | None = None
        """What keeps this process from sending what is due."""

    # -- the thread ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Have schedules sent in the background from now on."""
        if self._is_stopped:
            return
        with self._starting:
            self._is_wanted = True
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._run, name="eventlog-schedules", daemon=True)
            with suppress(RuntimeError):  # no room for a thread: who schedules next asks again
                start_thread(thread)
                self._thread = thread

    def stop(self) -> None:
        """End the thread, and wait for the end of its commit."""
        self._is_stopped = True
        waiter, thread = self._waiter, self._thread
        if waiter is not None:
            waiter.wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join(_STOP_SECONDS)
        self._turn.close()

    def after_fork(self) -> None:
        """Begin again in the child, without a thread; the turn stays the parent's."""
        self._turn.forget()
        if self._waiter is not None:
            self._waiter.forget()
        self._reset()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Keep the thread for the time of a `with` block."""
        holder = object()
        self._holders.append(holder)
        try:
            self.start()
            yield
        finally:
            self._holders.remove(holder)

    def _run(self) -> None:
        waiter, is_idle = self._new_waiter(), False
        self._waiter = waiter
        try:
            while not self._is_stopped:
                self._is_wanted = False
                waiter.subscribe(_SUBJECTS)
                try:
                    wait_s = self._serve()
                except unless_interrupted(LogClosed):
                    return
                except unless_interrupted(EventLogError) as error:
                    wait_s = self._note_failure(error)
                if wait_s is None and is_idle and self._has_ended():
                    return
                is_idle = wait_s is None
                if wait_s != 0.0 and not self._is_stopped:  # it may have been stopped before it could be woken
                    wait_s = _LONGEST_SECONDS if wait_s is None else wait_s
                    waiter.wait_until(self._clock.monotonic() + wait_s, None)
        finally:
            self._waiter = None
            waiter.close()

    def _has_ended(self) -> bool:
        """Let the thread end when there is nothing to do, unless somebody asks for it at this very moment."""
        with self._starting:
            if self._is_wanted or self._holders or self._is_stopped:
                return False
            self._thread = None
            if self._has_turn:
                self._has_turn = False
                self._turn.release()
            return True

    # -- sending ---------------------------------------------------------------------------------------------

    def _serve(self) -> float | None:
        """Send what is due, and return the seconds until more may be; None when nothing is scheduled."""
        due_ms = first_due_ms(self._environment, self._passed_by) if self._environment.has_later(SCHEDULE) else None
        if due_ms is None:
            self._note_success()
            return None
        left_ms = due_ms - self._clock.now_ms()
        is_ours = self._take_turn()
        if left_ms > 0:
            return min(left_ms / 1000, _LONGEST_SECONDS)
        if not is_ours and -left_ms < _PATIENCE_MS:
            return _LATE_SECONDS
        command = self._send()
        if command.sent_count or command.failed_count or command.has_more:
            return 0.0
        for error in command.blocked.values():
            return self._note_failure(error)
        return 0.0  # others have sent it, or its row is damaged and is passed by from now on

    def _take_turn(self) -> bool:
        if not self._has_turn:
            try:
                self._has_turn = self._turn.acquire(0.0)
            except unless_interrupted(EventLogError):
                return True  # nobody can take it: the commit settles who sends
        return self._has_turn

    def _send(self) -> SendDue:
        command = SendDue(self._clock.now_ms())
        self._committer.run(command)
        self._passed_by |= command.unreadable
        if not command.blocked:
            self._note_success()
        return command

    def send_due(self) -> int:
        """Send what is due now, in the thread that calls; return how many records were sent."""
        count, is_over = 0, not self._environment.has_later(SCHEDULE)
        while not is_over:
            due_ms = first_due_ms(self._environment, self._passed_by)
            if due_ms is None or due_ms > self._clock.now_ms():
                break
            command = self._send()
            count += command.sent_count
            for error in command.blocked.values():
                if not command.sent_count:
                    raise error
        return count

    def _note_success(self) -> None:
        self.error, self._again_s = None, _AGAIN_SECONDS

    def _note_failure(self, error: EventLogError) -> float:
        """Note what keeps us from sending, tell it once, and return the seconds until the next try."""
        is_new = self.error is None or str(self.error) != str(error)
        self.error = error
        wait_s, self._again_s = self._again_s, min(2 * self._again_s, _MOST_AGAIN_SECONDS)
        if is_new:
            from eventlog.notices import SENDING_FAILED, tell

            tell(SENDING_FAILED, path=self._environment.path, error=str(error))
        return wait_s
