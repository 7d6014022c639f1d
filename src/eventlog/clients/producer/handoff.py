"""
The signals between the sending threads and the sender thread of a producer.

The sender thread sleeps until a batch is open or a commit is wanted, and is woken. A commit is two things: filling
a transaction, many short calls that each need the interpreter's lock in between, and the sync, one long call that does
not. Beside a busy thread each of the short calls would wait for `sys.getswitchinterval()`; so the sending thread
stands aside while the sender thread fills, and goes on during the sync (docs/decisions/0004-send-path.md).
"""

from __future__ import annotations

import threading
from collections import deque

from eventlog.interruptions import suppress

_ASIDE_SECONDS = 0.05
"""A thread that stands aside goes on after this, whatever happens: a slow disk must not stop a producer with room."""


class Handoff:
    """The wakeup of the sender thread, and the place where sending threads wait for it to begin its sync."""

    def __init__(self, *, is_loops: bool = False) -> None:
        self.is_loops = is_loops
        """Whether an event loop sends: it stands aside for nobody."""
        self.reset()

    def reset(self) -> None:
        """Start without a sender thread: at first, and in a forked child."""
        self.thread: threading.Thread | None = None
        """The sender thread, once it runs."""
        self.is_idle = True
        """Whether the sender thread sleeps until it is told of an open batch."""
        self.is_wanted = False
        """Whether somebody asked for a commit that has not begun."""
        self.is_filling = False
        """Whether the sender thread fills a transaction now."""
        self.is_sealing_wanted = False
        """Whether the open batches are to be stored with the next commit."""
        # Not a condition: Ctrl-C could leave its lock taken, and the sender thread would wait forever.
        self._aside: deque[threading.Lock] = deque()
        # A plain lock: releasing it takes no other lock, so the garbage collector may do it anywhere.
        self._wakeup = threading.Lock()
        self._wakeup.acquire()

    @property
    def is_running(self) -> bool:
        """Whether there is a sender thread: none could be had, or Ctrl-C or a lack of memory has ended it."""
        return self.thread is not None and self.thread.is_alive()

    @property
    def has_other_thread(self) -> bool:
        """Whether there is a sender thread, and this is another one."""
        thread = self.thread
        return thread is not None and thread is not threading.current_thread() and thread.is_alive()

    # -- for sending threads ---------------------------------------------------------------------------------

    def tell_open(self) -> None:
        """Tell the sender thread that a batch is open, if it does not know of another."""
        if self.is_idle:
            self.is_idle = False
            self.wake()

    def ask(self) -> None:
        """Ask for a commit as soon as the sender thread is free."""
        self.is_wanted = True
        self.wake()

    def ask_for_all(self) -> None:
        """Ask for a commit of all that was sent, open batches too."""
        self.is_sealing_wanted = True
        self.ask()

    def stand_aside(self) -> None:
        """Wait until the sender thread begins its sync, or has nothing to commit."""
        if self.is_loops:
            return
        aside = threading.Lock()
        aside.acquire()
        self._aside.append(aside)
        aside.acquire(timeout=_ASIDE_SECONDS)

    def wake(self) -> None:
        """Wake the sender thread."""
        with suppress(RuntimeError):  # it was released before, and the thread has not woken up yet
            self._wakeup.release()

    # -- for the sender thread -------------------------------------------------------------------------------

    def sleep(self, timeout: float | None = None) -> None:
        """Sleep until `wake` is called, for at most `timeout` seconds."""
        self._wakeup.acquire(timeout=-1 if timeout is None else min(timeout, threading.TIMEOUT_MAX))

    def begin(self) -> None:
        """Note that the sender thread fills a transaction."""
        self.is_wanted = False
        self.is_filling = True

    def let_go(self) -> None:
        """Note that it syncs now, or is done; the threads that stood aside go on."""
        self.is_filling = False
        while self._aside:
            self._aside.popleft().release()
