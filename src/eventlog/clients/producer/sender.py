"""
The thread that stores what a producer left waiting for longer than its linger, and how a producer ends.

A producer that sends fast stands aside for this thread each time a megabyte is full (`clients/producer/handoff.py`). It
is a daemon: a program that ends without `close()` is flushed at the interpreter's exit, from the main thread. Knows
nothing of records.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
import weakref

from eventlog.clients.producer.accumulator import Accumulator
from eventlog.clients.producer.handoff import Handoff
from eventlog.store.store import Store


class Sender:
    """
    Waits for open batches to grow old, and has them stored.

    Holds the store open until everything is stored, even when the log and the producer are gone before.
    """

    def __init__(self, accumulator: Accumulator, store: Store) -> None:
        import logging  # now: once a callback has failed, there may be no file left to open

        self.logger = logging.getLogger("eventlog")
        self._accumulator = accumulator
        self._clock = store.clock
        self._committer = store.committer
        self._held = [store]
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        self._is_orphan = False
        self._is_idle = True
        self._handoff = Handoff()
        self._hang_bell()
        accumulator.on_open = self.arm
        accumulator.on_due = self.hand_over
        store.hold()
        store.on_fork(self)
        _UNENDED.add(self)

    def arm(self) -> None:
        """
        Says that a batch was opened; the first call starts the thread.

        Belongs to whoever holds the lock of the batches.
        """
        if self._is_idle:
            self._is_idle = False
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="eventlog-sender", daemon=True)
                self._thread.start()
            else:
                self._ring()

    def hand_over(self) -> bool:
        """
        Has what is queued committed, soon and by the sender thread if there is one.

        False when a round runs already: what is queued now is not in it, and room is left to go on.
        """
        thread, handoff = self._thread, self._handoff
        if thread is None or thread is threading.current_thread() or not thread.is_alive():
            return self._committer.commit_queued(0.0)
        is_busy = self._committer.is_busy
        if not handoff.is_filling:
            handoff.ask()
            self._ring()
            if is_busy:
                return False
        handoff.stand_aside()
        return True

    def end(self, timeout: float | None) -> None:
        """
        Stores what waits, stops the thread, and lets go of the store.

        Waits for at most twice the `timeout`; raises what `Accumulator.flush` raises, and has ended all the same.
        """
        self._accumulator.refuse_closed()
        try:
            self._accumulator.flush(timeout)
        finally:
            self._is_stopping = True
            self._ring()
            thread = self._thread
            if thread is not None and thread is not threading.current_thread():
                thread.join(timeout)
            self._let_go()

    def abandon(self) -> None:
        """
        Has the thread end by itself, because the producer was forgotten.

        The garbage collector calls this, from whatever a thread is doing, maybe a commit: so it waits for nothing.
        """
        self._is_orphan = True
        if self._thread is None:
            self._let_go()  # nothing was ever sent
        else:
            self._ring()

    def _after_fork(self) -> None:
        """Leaves the records to the parent's thread; the child has none."""
        self._thread = None
        self._handoff = Handoff()
        self._hang_bell()
        self._accumulator.refuse_forked()
        self._let_go()

    def is_abandoned_in(self, store: Store) -> bool:
        """Whether this stores what a forgotten producer left for a log."""
        return self._is_orphan and store in self._held

    def _let_go(self) -> None:
        _UNENDED.discard(self)
        with contextlib.suppress(IndexError):  # two threads may end a producer, and one of them lets go
            self._held.pop().release()

    def _hang_bell(self) -> None:
        # A plain lock: ringing it takes no other lock, so the garbage collector may do it anywhere.
        self._bell = threading.Lock()
        self._bell.acquire()
        self._is_idle = True

    def _ring(self) -> None:
        with contextlib.suppress(RuntimeError):  # it was rung before, and nobody has heard it yet
            self._bell.release()

    def _run(self) -> None:
        accumulator = self._accumulator
        while not self._is_stopping:
            if self._is_orphan:
                _end_quietly(self)
                return
            if self._handoff.is_wanted:
                self._store()
                continue
            deadline_s = accumulator.next_deadline()
            if deadline_s is None:
                self._is_idle = True
                if accumulator.next_deadline() is None:  # who opens a batch from here on rings
                    self._bell.acquire()
                self._is_idle = False
                continue
            left_s = deadline_s - self._clock.monotonic()
            if left_s > 0:
                self._bell.acquire(timeout=min(left_s, threading.TIMEOUT_MAX))
                continue  # by now the producer may have stored it by itself
            accumulator.seal_all(older_than_s=deadline_s - accumulator.linger)
            self._store()

    def _store(self) -> None:
        self._handoff.begin()
        try:
            self._accumulator.commit_oldest(None, before_flush=self._handoff.let_go)
        finally:
            self._handoff.let_go()


_UNENDED: weakref.WeakSet[Sender] = weakref.WeakSet()


def end_abandoned(store: Store) -> None:
    """Stores what forgotten producers left for a log; raises as `Sender.end`."""
    for sender in list(_UNENDED):
        if sender.is_abandoned_in(store):
            sender.end(None)


def _end_quietly(sender: Sender) -> None:
    try:
        sender.end(None)
    except Exception:
        sender.logger.exception("a producer was not closed, and not everything that it was given could be stored")


@atexit.register
def _end_all() -> None:
    for sender in list(_UNENDED):
        _end_quietly(sender)
