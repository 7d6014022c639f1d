"""
One reader's place to wait until somebody commits.

The reader's side of a notification: its FIFO, the sleep on it, and the descriptor that a program's own loop may watch.
`store/wakeup/notifier.py` says why nothing is lost between "found nothing" and "sleep".
"""

from __future__ import annotations

import itertools
import os
import select
import threading
import time
import weakref
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import partial
from operator import call

from eventlog.backend.waiting import GLANCE_SECONDS, RECHECK_SECONDS
from eventlog.interruptions import suppress, unless_interrupted
from eventlog.store.folder import Folder
from eventlog.store.wakeup.fifos import fifo_name, note_change
from eventlog.uninterruptible import close_files

_NO_FIFO_SECONDS = RECHECK_SECONDS / 20
_numbers = itertools.count()


def _nothing_committed() -> int:
    return -1


def _never(_transaction: int) -> Callable[[], bool]:
    return lambda: False


class Waiter:
    """
    One reader's place to wait.

    `wake` may come from any thread; all else belongs to the reader's. Where the system has no FIFOs it polls.

    Args:
        folder: where the FIFOs are; None makes no FIFO, and polls.
        last_transaction: the number of the newest commit of any process.
        glance: returns a cheap function that tells whether a commit is still the newest one. We ask `last_transaction`
            when it says no, and once a second.
    """

    def __init__(
        self,
        folder: Folder | None,
        *,
        last_transaction: Callable[[], int] = _nothing_committed,
        glance: Callable[[int], Callable[[], bool]] = _never,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._last_transaction = last_transaction
        self._glance = glance
        self._monotonic = monotonic
        self._base = ""
        self._names: tuple[str, ...] = ()
        """The name of our FIFO, if we have one; two while it is renamed, and after Ctrl-C in between."""
        self._subjects: AbstractSet[int] | None = None
        self._is_subscribed = False
        self._is_watched = False
        """Whether a loop of the program watches our descriptor: it stays ready until `drain`."""
        self._read_end = -1
        self._write_end = -1
        self._open: list[int] = []
        """Both ends, to be closed."""
        self._poll: select.poll | None = None
        self._finalizer: weakref.finalize[..., Waiter] | None = None
        self._others: frozenset[int] = frozenset()
        self._fallback = threading.Lock()  # no event: Ctrl-C could leave its lock taken, and `wake` would hang
        self._fallback.acquire()
        self._ends = threading.RLock()

    # -- subscribing -----------------------------------------------------------------------------------------

    def subscribe(self, subjects: AbstractSet[int] | None = None) -> bool:
        """
        Be notified of these subjects from now on, of everything when they are None.

        True when that is new: then look at the log once more before waiting, because what was committed before does
        not notify us.
        """
        if self._is_subscribed:
            if subjects == self._subjects:
                return False
            self._rename(subjects)
        else:
            self._make_fifo(subjects)
        self._subjects, self._is_subscribed = subjects, True
        return True

    def _make_fifo(self, subjects: AbstractSet[int] | None) -> None:
        folder = self._folder
        if folder is None or not hasattr(os, "mkfifo"):
            return
        base = self._base = f"{os.getpid()}-{next(_numbers)}-{time.monotonic_ns()}"
        hidden, name = f".{base}", fifo_name(base, subjects)
        if self._finalizer is None:
            # A dropped reader leaves its file; the next writer finds nobody at the other end, and removes it.
            self._finalizer = weakref.finalize(self, close_files, self._open)
            self._finalizer.atexit = False
        try:
            folder.make()
            self._open.extend(map(call, (partial(folder.make_fifo, hidden, os.O_RDONLY),)))
            self._names = (hidden,)
            self._open.extend(map(call, (partial(folder.open_fifo, hidden, os.O_WRONLY),)))
            self._read_end, self._write_end = self._open
            folder.rename(hidden, name)
            self._names = (name,)
            note_change(folder)
        except unless_interrupted(OSError):
            self.close()  # no FIFOs here; wait() polls
            return
        self._poll = self._polling(self._others)

    def _rename(self, subjects: AbstractSet[int] | None) -> None:
        folder = self._folder
        if not self._names or folder is None:
            return
        name = fifo_name(self._base, subjects)
        self._names = (name, *(known for known in self._names if known != name))
        for known in self._names[1:]:
            with suppress(OSError):  # it is not that one, or somebody removed it
                folder.rename(known, name)
        self._names = (name,)
        with suppress(OSError):
            note_change(folder)

    # -- waiting ---------------------------------------------------------------------------------------------

    @property
    def is_notified(self) -> bool:
        """Whether notifications end a wait; where there are no FIFOs it only looks at the time."""
        return self._poll is not None

    def watch(self, descriptors: AbstractSet[int]) -> None:
        """Let a wait end also when the other side of one of these pipes is gone."""
        if descriptors == self._others:
            return
        others = frozenset(descriptors)
        poll = None if self._poll is None else self._polling(others)
        self._poll, self._others = (
            poll,
            others,
        )  # both or none: a closed descriptor that stays registered is always ready

    def _polling(self, others: frozenset[int]) -> select.poll:
        poll = select.poll()
        poll.register(self._read_end, select.POLLIN)
        for descriptor in others:
            poll.register(descriptor, 0)
        return poll

    def wait_until(self, until_s: float, seen: int | None) -> None:
        """
        Wait for a notification, `wake()`, the end of a watched pipe, or a moment of the monotonic clock.

        If the newest commit is another than `seen`, it ends within 100 ms even if the notification was lost.
        """
        # Nothing but this runs while nothing happens: ten times a second, for each consumer that waits.
        wait, monotonic = self.wait, self._monotonic
        now_s = monotonic()
        is_unchanged = self._glance(-1 if seen is None else seen)
        glance_end_s = now_s + GLANCE_SECONDS
        while not wait(until_s - now_s):
            now_s = monotonic()
            if seen is not None and not (is_unchanged() and now_s < glance_end_s):
                if self._last_transaction() != seen:
                    break
                is_unchanged, glance_end_s = self._glance(seen), now_s + GLANCE_SECONDS
            if now_s >= until_s:
                break

    def sleep(self, deadline_s: float | None, longest_s: float, seen: int) -> bool:
        """
        Wait for a commit of anything, as `wait_until` does, for `longest_s` at most; False after the deadline.

        The first call subscribes to everything and returns at once: look at the log once more.
        """
        now_s = self._monotonic()
        if deadline_s is not None and now_s >= deadline_s:
            return False
        if not self.subscribe(None):
            until_s = now_s + longest_s
            self.wait_until(until_s if deadline_s is None else min(until_s, deadline_s), None if seen < 0 else seen)
        return True

    def wait(self, seconds: float) -> bool:
        """
        Wait once, `RECHECK_SECONDS` at most; False when nothing but time passed.

        The time may be over already: a thread that has computed how long to wait may be off the processor before it
        waits. Ctrl-C works.
        """
        if seconds > RECHECK_SECONDS:
            seconds = RECHECK_SECONDS
        elif seconds < 0:  # poll() takes a negative time for "without end"
            seconds = 0.0
        if self._poll is None:
            return self._fallback.acquire(timeout=min(seconds, _NO_FIFO_SECONDS))
        if not self._poll.poll(seconds * 1000):
            return False
        if not self._is_watched:
            self.drain()
        return True

    def wake(self) -> None:
        """End a wait that runs now, or else the next one; the descriptor is ready."""
        with suppress(RuntimeError):  # it was woken before, and has not noticed yet
            self._fallback.release()
        with self._ends:  # else close() may give the number of our end to another file
            if self._write_end >= 0:
                with suppress(OSError):
                    os.write(self._write_end, b"\0")

    # -- a loop of the program -------------------------------------------------------------------------------

    def fileno(self) -> int | None:
        """
        The descriptor that becomes readable with a notification, and stays so until `drain`; None without a FIFO.

        It is readable at first. Subscribe before.
        """
        if self._read_end < 0:
            return None
        if not self._is_watched:
            self._is_watched = True
            self.wake()
        return self._read_end

    def drain(self) -> bool:
        """
        Take the notifications that have come; whether there were any.

        Look at the log after it, not before: what is committed later is ready again.
        """
        try:
            return bool(os.read(self._read_end, 65536))
        except unless_interrupted(OSError):  # none, or it was closed
            return False

    # -- ending ----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Remove the FIFO."""
        self._poll = None
        folder = self._folder
        if folder is not None:
            for name in self._names:
                with suppress(OSError):
                    folder.remove(name)
        self._names = ()
        self._close_ends()

    def forget(self) -> None:
        """Close a child's copies of our ends after a fork, and leave the file, which is the parent's."""
        self._ends = threading.RLock()  # a thread that did not come along may have held the other
        self._close_ends()

    def _close_ends(self) -> None:
        with self._ends:
            self._read_end = self._write_end = -1
            self._poll = None
            close_files(self._open)
